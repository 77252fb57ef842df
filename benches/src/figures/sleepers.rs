//! What a hundred thousand executions cost that sleep for an hour: memory, threads, processor time, and the next start.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::http;
use crate::Bench;
use crate::database::Database;
use crate::load::{self, Until};
use crate::report::{Figure, Target};
use crate::served::{self, Served};
use crate::timing::{Stopwatch, millis};

const CALLERS: u64 = 32;

/// Nothing here takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// The figures of this group.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let count: u64 = bench.scale.pick(100_000, 10_000, 200);
    let watched = bench.scale.pick(Duration::from_secs(60), Duration::from_secs(10), Duration::from_secs(1));
    let folder = tempfile::tempdir_in(&bench.folder)?;
    let data = folder.path().join("data");
    served::prepare(&data).await?;

    let fresh = Served::start(&bench.binary, &data).await?;
    let memory_at_start = settled_memory(&fresh).await?;
    fresh.stop().await?;
    let idle = Served::start(&bench.binary, &data).await?;
    // What the first executions bring in is not theirs alone.
    load::call(&idle.webhook(&http::sleep(0), true)?, CALLERS, Until::Calls(10 * CALLERS)).await?;
    let (memory_before, threads_before) = (idle.memory()?, idle.threads()?);
    let starting = load::call(&idle.webhook(&http::sleep(3600), false)?, CALLERS, Until::Calls(count)).await?;
    until_asleep(&data, count).await?;
    let each = |memory: u64, before: u64| (memory as f64 - before as f64) / count as f64;
    let after = each(settled_memory(&idle).await?, memory_before);
    let threads = Figure::new("sleepers-threads", idle.threads()? as f64 - threads_before as f64, "more");
    let busy = share_of_processor(&idle, watched).await?;
    idle.stop().await?;

    let again = Served::start(&bench.binary, &data).await?;
    let ready = millis(again.ready_after());
    let after_restart = each(settled_memory(&again).await?, memory_at_start);
    again.stop().await?;
    let note = format!("{count} asleep, started at {:.0}/s", starting.rate());
    Ok(vec![
        Figure::new("sleeper-memory-after-start", after, "bytes").target(Target::ValueUnder(1024.0)).note(note),
        Figure::new("sleeper-memory-after-restart", after_restart, "bytes").target(Target::ValueUnder(1024.0)),
        threads.target(Target::ValueUnder(1.0)),
        Figure::new("sleepers-processor", busy * 100.0, "%")
            .target(Target::ValueUnder(0.1))
            .note(format!("over {} s", watched.as_secs())),
        Figure::new("sleepers-restart-to-ready", ready, "ms").target(Target::ValueUnder(2000.0)),
    ])
}

/// Returns when that many sleep and none of them has an instance any more.
async fn until_asleep(data: &std::path::Path, count: u64) -> Result<()> {
    let database = Database::open(&data.join("surefoot.db"))?;
    let watch = Stopwatch::start();
    while database.asleep()? < count {
        ensure!(watch.elapsed() < PATIENCE, "the executions do not fall asleep");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Resident memory once the process has nothing to do any more, bytes.
async fn settled_memory(server: &Served) -> Result<u64> {
    let mut busy = server.processor_time()?;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = server.processor_time()?;
        if now.saturating_sub(busy) < Duration::from_millis(5) {
            return server.memory();
        }
        busy = now;
    }
}

/// The share of one processor that the process takes while nothing is to be done.
async fn share_of_processor(server: &Served, watched: Duration) -> Result<f64> {
    let (watch, before) = (Stopwatch::start(), server.processor_time()?);
    tokio::time::sleep(watched).await;
    let used = server.processor_time()?.saturating_sub(before);
    Ok(used.as_secs_f64() / watch.seconds())
}
