//! Calls of webhooks that were refused: the last ones of each, in memory. A flood of them costs no write of the store
//! and a bounded piece of memory. Nothing that was sent is kept but the method: neither path, query, headers nor body,
//! where keys may stand.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use surefoot_engine::query::Kind;
use surefoot_engine::{Role, Timestamp};

use super::record::Webhook;
use crate::app::App;
use crate::caller::InReach;
use crate::extract::InPath;
use crate::operation::Operation;
use crate::peers::ClientAddress;
use crate::problem::{Answer, Problem};

/// Refusals that are kept of one webhook.
const OF_ONE_MAX: usize = 50;

/// Webhooks of which refusals are kept; of more, those go that were refused least recently.
const WEBHOOKS_MAX: usize = 200;

/// Length of a text that is kept, characters.
const TEXT_CHARS_MAX: usize = 300;

/// The list of them.
pub(crate) fn operation() -> Operation {
    Operation::get("/api/v1/webhooks/{key}/refusals", list)
        .role(Role::Viewer)
        .summary("The last calls of a webhook that were refused, the newest first; a restart forgets them")
        .answers::<Refusals>(StatusCode::OK)
}

/// The refused calls of one webhook.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Refusals {
    rows: Vec<Refusal>,
    /// Since when calls are remembered: the start of the server.
    since: String,
}

/// A call that was refused, or several in a row that differ in nothing but their time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Refusal {
    /// When it came, the last of them.
    pub(crate) at: String,
    /// When the first of them came.
    first_at: String,
    /// How many came.
    pub(crate) times: u64,
    pub(crate) method: String,
    /// The address that called; null over the socket of the data folder.
    pub(crate) client: Option<String>,
    /// Of the answer.
    pub(crate) status: u16,
    /// Of the answer.
    code: String,
    /// Why, as the caller was told.
    pub(crate) detail: String,
}

impl Refusal {
    fn is_like(&self, other: &Self) -> bool {
        (self.status, &self.client, &self.method, &self.detail)
            == (other.status, &other.client, &other.method, &other.detail)
    }
}

/// The last calls of webhooks that were refused. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Refused(Arc<Mutex<HashMap<String, Kept>>>);

/// Of one webhook, the newest last.
#[derive(Debug, Default)]
struct Kept {
    rows: VecDeque<Refusal>,
    /// Time of the newest.
    at: Timestamp,
}

impl Refused {
    /// Notes a call of the webhook with that id.
    fn note(&self, webhook: &str, now: Timestamp, method: &Method, client: Option<IpAddr>, problem: &Problem) {
        let short = |text: &str| text.chars().take(TEXT_CHARS_MAX).collect::<String>();
        let refusal = Refusal {
            at: now.to_string(),
            first_at: now.to_string(),
            times: 1,
            method: short(method.as_str()),
            client: client.map(|ip| ip.to_string()),
            status: problem.status().as_u16(),
            code: problem.code().to_owned(),
            detail: short(problem.detail()),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= WEBHOOKS_MAX && !all.contains_key(webhook) {
            let oldest = all.iter().min_by_key(|(_, kept)| kept.at).map(|(id, _)| id.clone());
            oldest.and_then(|id| all.remove(&id));
        }
        let Kept { rows, at } = all.entry(webhook.to_owned()).or_default();
        *at = now;
        match rows.back_mut() {
            Some(last) if last.is_like(&refusal) => {
                last.times += 1;
                last.at = refusal.at;
            }
            _ => rows.push_back(refusal),
        }
        if rows.len() > OF_ONE_MAX {
            rows.pop_front();
        }
    }

    /// Those of the webhook with that id, the newest first.
    pub(crate) fn of(&self, webhook: &str) -> Vec<Refusal> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(webhook).map(|kept| kept.rows.iter().rev().cloned().collect()).unwrap_or_default()
    }
}

/// Notes that a call was refused, if there is a webhook of that name.
pub(crate) fn note(app: &App, name: &str, method: &Method, client: ClientAddress, problem: &Problem) {
    if let Some(id) = Webhook::id_of(app.whole_engine(), name) {
        app.options().refused.note(&id, app.whole_engine().now(), method, client.ip, problem);
    }
}

async fn list(
    State(app): State<App>,
    InReach(engine): InReach,
    InPath(webhook): InPath<String>,
) -> Answer<Json<Refusals>> {
    let webhook = engine.record(Kind::Webhook, &webhook).await?;
    let rows = app.options().refused.of(webhook["id"].as_str().unwrap_or_default());
    Ok(Json(Refusals { rows, since: app.since().to_string() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn note(refused: &Refused, webhook: &str, second: i64, detail: &str) {
        refused.note(webhook, Timestamp(second * SECOND), &Method::POST, None, &Problem::unauthorized(detail));
    }

    #[test]
    fn a_flood_of_the_same_is_one_row_and_what_came_before_stays() {
        let refused = Refused::default();
        note(&refused, "w", 0, "other");
        for second in 1..=1000 {
            note(&refused, "w", second, "key");
        }
        let rows = refused.of("w");
        let shown: Vec<_> = rows.iter().map(|row| (row.detail.as_str(), row.times)).collect();
        assert_eq!(shown, [("key", 1000), ("other", 1)]);
        let at = |second| Timestamp(second * SECOND).to_string();
        assert_eq!((&rows[0].first_at, &rows[0].at), (&at(1), &at(1000)));
        assert_eq!(refused.of("v"), []);
    }

    #[test]
    fn memory_is_bounded_in_rows_in_webhooks_and_in_texts() {
        let refused = Refused::default();
        for n in 0..200 {
            note(&refused, "w", n, &format!("{n} {}", "ä".repeat(100_000)));
        }
        let rows = refused.of("w");
        assert_eq!((rows.len(), rows[0].detail.chars().count()), (OF_ONE_MAX, TEXT_CHARS_MAX));
        assert!(rows[0].detail.starts_with("199 ") && rows[OF_ONE_MAX - 1].detail.starts_with("150 "));
        for n in 0..1000 {
            note(&refused, &n.to_string(), 1000 + n, "key");
        }
        assert_eq!(refused.0.lock().unwrap().len(), WEBHOOKS_MAX);
        assert!(refused.of("w").is_empty() && refused.of("999").len() == 1);
    }
}
