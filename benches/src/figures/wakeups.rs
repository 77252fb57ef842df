//! How late executions wake that sleep until a time: a thousand of them, due one after the other within one second.
//! Each has given up its instance meanwhile; it is late until it performs its next call.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;
use surefoot_engine::{Clock, Timestamp};

use crate::Bench;
use crate::database::Database;
use crate::lab::Lab;
use crate::pairs::{largest, percentile};
use crate::probe::Noted;
use crate::report::{Figure, Target};

/// In microseconds.
const SECOND: u64 = 1_000_000;

/// The figures of this group.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let count = bench.scale.pick(1000, 1000, 50);
    let lab = Lab::open(&bench.folder).await?;
    let mut late = Vec::new();
    for _ in 0..bench.scale.pick(5, 1, 1) {
        late.extend(round(&lab, count).await?);
    }
    lab.close().await?;
    let figure = |name: &str, percent| Figure::new(name, percentile(&late, percent), "ms");
    Ok(vec![
        figure("wake-up-late-p50", 50.0),
        figure("wake-up-late-p99", 99.0).target(Target::ValueUnder(50.0)),
        Figure::new("wake-up-late-max", largest(&late), "ms").note(format!("{} wake-ups", late.len())),
    ])
}

/// How late each of `count` executions was, milliseconds. All are asleep when the first is due; where that takes
/// longer, they are given more time.
async fn round(lab: &Lab, count: u64) -> Result<Vec<f64>> {
    let database = Database::open(&lab.database())?;
    let now = || Clock::System.now().0.cast_unsigned();
    for ahead in [2, 4, 8, 16, 32, 64] {
        let first = now() + ahead * SECOND;
        let ids = lab.start_all((0..count).map(|n| json!({ "mode": "wake-at", "due": first + n * SECOND / count })));
        let ids = ids.await?;
        while database.asleep()? < count && now() < first {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let in_time = now() < first;
        lab.all_ended(&ids).await?;
        let noted = lab.probe.take();
        if in_time {
            let late = |noted: Noted| noted.at.since(Timestamp(noted.tag.cast_signed())).as_secs_f64() * 1000.0;
            return Ok(noted.into_iter().map(late).collect());
        }
    }
    bail!("{count} executions do not fall asleep within a minute");
}
