//! `kill -9` of the binary with many executions at work, and how long it takes from the start of the next process until
//! the journals grow again.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::Bench;
use crate::database::{self, Database, Progress};
use crate::load::{self, Until};
use crate::pairs::{largest, median};
use crate::report::{Figure, Target};
use crate::served::{self, Served};
use crate::timing::Stopwatch;

/// Between two looks into the database.
const LOOK: Duration = Duration::from_millis(2);

/// Nothing here takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// The figures of this group.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let in_flight = bench.scale.pick(1000, 1000, 20);
    let (mut first, mut all) = (Vec::new(), Vec::new());
    for _ in 0..bench.scale.pairs() {
        let (one, every) = round(bench, in_flight).await?;
        first.push(one);
        all.push(every);
    }
    let note = format!("{in_flight} in flight; worst {:.0} ms", largest(&first));
    Ok(vec![
        Figure::new("crash-first-progress", median(&first), "ms").target(Target::ValueUnder(1000.0)).note(note),
        Figure::new("crash-all-progress", median(&all), "ms").note("until each of them has gone on"),
    ])
}

/// Milliseconds until one, and until all have gone on after a kill.
async fn round(bench: &Bench, in_flight: u64) -> Result<(f64, f64)> {
    let folder = tempfile::tempdir_in(&bench.folder)?;
    let data = folder.path().join("data");
    served::prepare(&data).await?;
    let server = Served::start(&bench.binary, &data).await?;
    let endless = json!({ "mode": "steps", "count": 400_000 });
    load::call(&server.webhook(&endless, false)?, 32, Until::Calls(in_flight)).await?;
    until(&Database::open(&data.join("surefoot.db"))?, |progress| progress.begun() == in_flight).await?;
    server.kill().await?;
    let before = database::progress_of_a_dead(&data)?;
    ensure!(before.count() == in_flight, "not all were in flight when the process was killed");

    let watch = Stopwatch::start();
    let server = Served::start(&bench.binary, &data).await?;
    // Not earlier: who opens the database first does the recovery of its log, which is the server's to do.
    let database = Database::open(&data.join("surefoot.db"))?;
    until(&database, |progress| progress.beyond(&before) > 0).await?;
    let first = watch.seconds() * 1000.0;
    until(&database, |progress| progress.beyond(&before) == in_flight).await?;
    let all = watch.seconds() * 1000.0;
    server.kill().await?;
    Ok((first, all))
}

async fn until(database: &Database, condition: impl Fn(&Progress) -> bool) -> Result<()> {
    let watch = Stopwatch::start();
    while !condition(&database.progress()?) {
        ensure!(watch.elapsed() < PATIENCE, "the executions do not go on");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
