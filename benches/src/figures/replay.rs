//! Replay of a Rust guest: how long an execution that has given up its instance takes from a signal until its next
//! call, with a short and with a long journal. An entry is a host call that the journal has; a step has two.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::{Value, json};
use surefoot_engine::Clock;

use crate::Bench;
use crate::database::Database;
use crate::lab::Lab;
use crate::pairs::median;
use crate::report::{Figure, Target};
use crate::timing::Stopwatch;

/// Host calls of one step.
const CALLS: u64 = 2;

/// Nothing here takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// The figures of this group.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let (short, long) = bench.scale.pick((1000, 100_000), (1000, 100_000), (20, 200));
    let runs = bench.scale.pick(20, 10, 1);
    // The instance goes at once when nothing is there to be done.
    let configure = |config: &mut surefoot_engine::Config| config.idle_before_parking = Duration::from_millis(10);
    let lab = Lab::open_with(&bench.folder, configure).await?;
    let (without, busy_without) = resumption(&lab, 0, runs).await?;
    let of_short = resumption(&lab, short, runs).await?.0 - without;
    let (of_long, busy) = resumption(&lab, long, bench.scale.pick(5, 2, 1)).await?;
    let (of_long, busy) = (of_long - without, busy - busy_without);
    lab.close().await?;
    let micros = |milliseconds: f64, entries: u64| milliseconds * 1000.0 / entries as f64;
    let each = Figure::new("replay-entry-of-many", micros(of_long, long), "µs").beside(micros(of_short, short));
    Ok(vec![
        Figure::new("replay-resume-without-entries", without, "ms").note("signal, instance, one commit"),
        each.target(Target::RatioUpTo(1.2)).note(format!("{long} entries beside {short}")),
        Figure::new("replay-entries", long as f64 / of_long * 1000.0, "/s").target(Target::ValueFrom(500_000.0)),
        Figure::new("replay-processor", micros(busy, long), "µs").note("processor time of an entry, both threads"),
    ])
}

/// Milliseconds from the signal until the next call of executions with that many entries, and of processor time in it.
async fn resumption(lab: &Lab, entries: u64, runs: usize) -> Result<(f64, f64)> {
    let input = json!({ "mode": "replay", "count": entries / CALLS });
    let ids = lab.start_all(std::iter::repeat_n(input, runs)).await?;
    let database = Database::open(&lab.database())?;
    let watch = Stopwatch::start();
    for id in &ids {
        while !database.has_given_up_its_instance(id)? {
            ensure!(watch.elapsed() < PATIENCE, "execution {id} does not come to rest");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let (mut durations, mut busy) = (Vec::new(), Vec::new());
    for id in &ids {
        lab.probe.clear();
        let (sent, busy_before) = (Clock::System.now(), processor_milliseconds()?);
        lab.engine.signal(id, "go", Value::Null, "bench", None).await?;
        lab.probe.until(1).await;
        busy.push(processor_milliseconds()? - busy_before);
        let noted = lab.probe.take();
        let next = noted.first().context("a call was noted")?;
        durations.push(next.at.since(sent).as_secs_f64() * 1000.0);
        lab.all_ended(std::slice::from_ref(id)).await?;
    }
    Ok((median(&durations), median(&busy)))
}

/// Processor time that this process has had: what other processes of the machine take is not in it.
fn processor_milliseconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1000.0)
}
