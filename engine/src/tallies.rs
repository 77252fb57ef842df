//! Executions counted over time, for plots. A workspace may have millions, a page that is live asks again with every
//! event, and each count reads them all: one that took long serves for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::engine::{Engine, EngineResult};
use crate::query::{Kind, Query, Tally};
use crate::session::QueryCall;
use crate::store::tally;

/// A count that took less is made anew each time.
const SHORT: Duration = Duration::from_millis(100);

/// One that took longer serves for so many times as long: counting takes a twentieth of a processor, however many look.
const SERVES_TIMES: u32 = 20;

/// Counts that are kept.
const KEPT_MAX: usize = 64;

/// How executions went from one moment until another.
#[derive(Clone, Debug)]
pub struct Tallied {
    /// When the first span begins.
    pub since: Timestamp,
    /// When it was counted.
    pub until: Timestamp,
    /// In order of time, all of the same length.
    pub spans: Vec<Tally>,
}

/// What was counted: where, which, over how long, in how many spans.
type What = (Option<Vec<String>>, String, Duration, u32);

/// What is kept of what was counted. Whoever counts holds it, so that nobody counts the same at the same time.
#[derive(Default)]
pub(crate) struct Tallies(tokio::sync::Mutex<HashMap<What, (Instant, Arc<Tallied>)>>);

impl Engine {
    /// How the executions of a filter went that were created within `period` until now, in that many spans of time. Of
    /// a busy workspace it may be what was counted some seconds ago. Calls of connectors that flows made are not among
    /// them.
    pub async fn tally(&self, filter: Value, period: Duration, spans: u32) -> EngineResult<Arc<Tallied>> {
        let (projects, spans) = (self.grant.projects(), spans.max(1));
        let what = (projects.clone(), filter.to_string(), period, spans);
        let mut kept = self.core.tallies.0.lock().await;
        let began = Instant::now();
        kept.retain(|_, (until, _)| *until > began);
        if let Some((_, tallied)) = kept.get(&what) {
            return Ok(tallied.clone());
        }
        let until = self.now();
        let since = until.before(period);
        let width = ((until.0 - since.0) / i64::from(spans)).max(1);
        let query =
            QueryCall { kind: Kind::Execution.as_str().to_owned(), filter: Some(filter), ..QueryCall::default() };
        let count = self.read(move |_, connection| {
            tally::of(connection, &Query { projects, ..query.parse()? }, since, width, spans)
        });
        let tallied = Arc::new(Tallied { since, until, spans: count.await? });
        let took = began.elapsed();
        if took >= SHORT && kept.len() < KEPT_MAX {
            kept.insert(what, (Instant::now() + took * SERVES_TIMES, tallied.clone()));
        }
        Ok(tallied)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::Config;

    /// Only for who may see the same.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_took_long_to_count_serves_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(Config::new(folder.path()), Vec::new()).unwrap();
        let filter = json!({"field": "type", "op": "eq", "value": "FLOW"});
        let counted = |tallied: &Tallied| tallied.spans.iter().map(Tally::count).sum::<u64>();
        let period = Duration::from_secs(60);
        let before = engine.tally(filter.clone(), period, 3).await.unwrap();
        assert_eq!((before.spans.len(), counted(&before)), (3, 0));
        let many = Tally { succeeded: 7, ..Tally::default() };
        let known = Arc::new(Tallied { spans: vec![many], ..(*before).clone() });
        let keep = |serves: Duration| {
            let what = (None, filter.to_string(), period, 3);
            let entry = (Instant::now() + serves, known.clone());
            async { engine.core.tallies.0.lock().await.insert(what, entry) }
        };
        keep(Duration::from_secs(3600)).await;
        assert_eq!(counted(&engine.tally(filter.clone(), period, 3).await.unwrap()), 7);
        assert_eq!(counted(&engine.tally(filter.clone(), period, 4).await.unwrap()), 0);
        keep(Duration::ZERO).await;
        assert_eq!(counted(&engine.tally(filter.clone(), period, 3).await.unwrap()), 0);
    }
}
