//! How late executions wake that sleep until a time: a thousand of them, due one after the other within one second.
//! Each has given up its instance meanwhile; it is late until it performs its next call.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use surefoot_engine::{Clock, Timestamp};

use crate::Bench;
use crate::lab::Lab;
use crate::pairs::{largest, percentile};
use crate::report::{Figure, Target};

/// The figures of this group.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let count: u64 = bench.scale.pick(1000, 1000, 50);
    // Long enough that all are asleep when the first is due.
    let ahead = bench.scale.pick(Duration::from_secs(5), Duration::from_secs(3), Duration::from_secs(1));
    let lab = Lab::open(&bench.folder).await?;
    let mut late = Vec::new();
    for _ in 0..bench.scale.pick(5, 1, 1) {
        let first = Clock::System.now().after(ahead).0.cast_unsigned();
        let due = |n: u64| first + n * 1_000_000 / count;
        let ids = lab.start_all((0..count).map(|n| json!({ "mode": "wake-at", "due": due(n) }))).await?;
        ensure!(Clock::System.now().0.cast_unsigned() < first, "starting {count} executions took too long");
        lab.all_ended(&ids).await?;
        late.extend(lab.probe.take().into_iter().map(|noted| {
            let due = Timestamp(noted.tag.cast_signed());
            noted.at.since(due).as_secs_f64() * 1000.0
        }));
    }
    lab.close().await?;
    let figure = |name: &str, percent| Figure::new(name, percentile(&late, percent), "ms");
    Ok(vec![
        figure("wake-up-late-p50", 50.0),
        figure("wake-up-late-p99", 99.0).target(Target::ValueUnder(50.0)),
        Figure::new("wake-up-late-max", largest(&late), "ms").note(format!("{} wake-ups", late.len())),
    ])
}
