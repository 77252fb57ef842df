//! What others notice of an execution that computes without pause, or of one with a million steps: the p99 of the time
//! between two steps of 32 executions. And what a loop of short sleeps costs at its end, beside its beginning.

use std::collections::HashMap;

use anyhow::Result;
use serde_json::json;
use surefoot_engine::Config;

use crate::Bench;
use crate::lab::{Lab, Work};
use crate::pairs::{Pairs, median, percentile};
use crate::report::{Figure, Target};
use crate::scale::Scale;

/// Executions whose steps are looked at.
const OTHERS: Work = Work { executions: 32, is_write: false };

/// The tag of the one that is a burden.
const BURDEN: u64 = 1000;

/// The figures of this group.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let lab = Lab::open_with(&bench.folder, without_limits).await?;
    let rate = lab.step_rate(OTHERS, bench.scale.pick(100, 100, 10)).await?;
    let count = ((rate * bench.scale.sample().as_secs_f64()) as u64).div_ceil(OTHERS.executions).max(10);
    let computing = Pairs::take(
        bench.scale.pairs(),
        async || {
            let burden = lab.start(json!({ "mode": "compute" })).await?;
            let latency = p99(&lab, count).await?;
            lab.engine.cancel(&burden, "test").await?;
            lab.engine.wait_ended(&burden, None).await?;
            Ok(latency)
        },
        async || p99(&lab, count).await,
    );
    let computing = Figure::of_pairs("fairness-p99-beside-computing", &computing.await?, "ms");
    let many = beside_many_steps(bench.scale, &lab, count).await?;
    lab.close().await?;
    Ok(vec![computing.target(Target::RatioUpTo(2.0)), many, sleeps(bench).await?])
}

/// Limits are not what is measured here.
fn without_limits(config: &mut Config) {
    config.limits.cpu_ms_max = 3_600_000;
    config.limits.calls_max = u32::MAX;
}

/// The others are measured before, beside and after the one with many steps: it cannot be stopped for a moment.
async fn beside_many_steps(scale: Scale, lab: &Lab, count: u64) -> Result<Figure> {
    let history: u64 = scale.pick(1_000_000, 50_000, 100);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..scale.pairs() {
        alone.push(p99(lab, count).await?);
    }
    lab.probe.clear();
    let burden = lab.start(json!({ "mode": "steps", "count": 100 * history, "tag": BURDEN })).await?;
    lab.probe.until(history).await;
    for _ in 0..scale.pairs() {
        beside.push(p99(lab, count).await?);
    }
    lab.engine.cancel(&burden, "test").await?;
    lab.engine.wait_ended(&burden, None).await?;
    for _ in 0..scale.pairs() {
        alone.push(p99(lab, count).await?);
    }
    let figure = Figure::new("fairness-p99-beside-many-steps", median(&beside), "ms").beside(median(&alone));
    Ok(figure.target(Target::RatioUpTo(2.0)).note(format!("one with {history} steps, going on")))
}

/// The p99 of the time between two steps of one execution, milliseconds, of 32 that do `count` steps each.
async fn p99(lab: &Lab, count: u64) -> Result<f64> {
    lab.probe.clear();
    let ids = lab.start_all((0..OTHERS.executions).map(|tag| OTHERS.input(tag, count))).await?;
    lab.all_ended(&ids).await?;
    let mut last = HashMap::new();
    let mut between = Vec::new();
    for noted in lab.probe.take().into_iter().filter(|noted| noted.tag < OTHERS.executions) {
        if let Some(before) = last.insert(noted.tag, noted.at) {
            between.push(noted.at.since(before).as_secs_f64() * 1000.0);
        }
    }
    Ok(percentile(&between, 99.0))
}

/// A sleep in the last tenth of a long loop, beside one in the first tenth.
async fn sleeps(bench: &Bench) -> Result<Figure> {
    let count: u64 = bench.scale.pick(10_000, 10_000, 100);
    let tenth = count / 10;
    let lab = Lab::open(&bench.folder).await?;
    let id = lab.start(json!({ "mode": "sleeps", "count": count, "milliseconds": 1, "mark_every": tenth })).await?;
    lab.all_ended(std::slice::from_ref(&id)).await?;
    let marks = lab.probe.take();
    lab.close().await?;
    let each = |n: usize| marks[n + 1].at.since(marks[n].at).as_secs_f64() * 1000.0 / tenth as f64;
    let figure = Figure::new("short-sleep-at-the-end", each(9), "ms").beside(each(0));
    Ok(figure.target(Target::RatioUpTo(1.2)).note(format!("1 ms, {count} times; beside the first tenth")))
}
