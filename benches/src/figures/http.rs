//! Executions through HTTP: the binary serves, this process calls its webhook and waits for the answer, which is the
//! flow's output.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::Bench;
use crate::floor::Floor;
use crate::lab::Work;
use crate::load::{self, Load, Until};
use crate::pairs::{Pairs, median, percentile};
use crate::report::{Figure, Target};
use crate::scale::Scale;
use crate::served::{self, Served};
use crate::timing::millis;

/// Callers of the figure about throughput, and steps of each execution.
const CALLERS: u64 = 32;
const STEPS: u64 = 10;

/// About what one step journals; the time of a commit does not depend on the exact number.
const BYTES: usize = 256;

/// The figures of this group.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir_in(&bench.folder)?;
    let data = folder.path().join("data");
    served::prepare(&data).await?;
    let server = Served::start(&bench.binary, &data).await?;
    let floor = Floor::open(&bench.folder)?;
    warm_up(&server, bench.scale).await?;
    let mut figures = one_step(bench, &server, &floor).await?;
    figures.extend(ten_steps(bench, &server, &floor).await?);
    server.stop().await?;
    Ok(figures)
}

async fn warm_up(server: &Served, scale: Scale) -> Result<()> {
    let calls = Until::Calls(scale.pick(2000, 500, 20));
    load::call(&server.webhook(&steps(STEPS), true)?, CALLERS, calls).await.map(drop)
}

/// One caller, executions of one step, against one commit at a time.
async fn one_step(bench: &Bench, server: &Served, floor: &Floor) -> Result<Vec<Figure>> {
    let calls = bench.scale.pick(500, 300, 10);
    let target = server.webhook(&steps(1), true)?;
    let mut latencies = Vec::new();
    let pairs = Pairs::take(
        bench.scale.pairs(),
        async || {
            let load = load::call(&target, 1, Until::Calls(calls)).await?;
            latencies.extend(&load.latencies);
            Ok(load.latency(50.0))
        },
        async || {
            let commits = floor.commits(calls as usize, BYTES).await?;
            Ok(median(&commits.into_iter().map(millis).collect::<Vec<_>>()))
        },
    );
    let pairs = pairs.await?;
    let above = Figure::new("http-one-step-p50-above-one-commit", median(&pairs.differences()), "ms");
    let high = Figure::new("http-one-step-p99", percentile(&latencies, 99.0), "ms");
    Ok(vec![
        above.target(Target::ValueUnder(1.0)).note("median of the pairs' differences"),
        Figure::of_pairs("http-one-step-p50", &pairs, "ms").note("beside one commit"),
        high.note(format!("less one commit: {:.2} ms", percentile(&latencies, 99.0) - pairs.reference())),
    ])
}

/// Callers that wait for executions of ten steps, against as many writers of the floor, ten writes each. And what an
/// execution takes of the processors, which a busy machine changes less than the rate.
async fn ten_steps(bench: &Bench, server: &Served, floor: &Floor) -> Result<Vec<Figure>> {
    let sample = bench.scale.sample();
    let (mut processors, mut each) = (Vec::new(), Vec::new());
    let pairs = Pairs::take(
        bench.scale.pairs(),
        async || {
            let before = server.processor_time()?;
            let load = executions(server, bench.scale).await?;
            each.push(millis(server.processor_time()?.saturating_sub(before)) / load.latencies.len() as f64);
            processors.push(load.processors());
            Ok(load.rate())
        },
        async || Ok(floor.rate(CALLERS, BYTES, sample).await? / STEPS as f64),
    );
    let figure = Figure::of_pairs("http-ten-steps-32-callers", &pairs.await?, "executions/s");
    let figure = figure.note(format!("load generator: {:.2} processors; beside ten floor writes", median(&processors)));
    let processor = Figure::new("http-ten-steps-processor", median(&each), "ms");
    Ok(vec![figure, processor.note("time of the server's processors for each execution")])
}

/// One sample of executions of ten steps.
async fn executions(server: &Served, scale: Scale) -> Result<Load> {
    let target = server.webhook(&steps(STEPS), true)?;
    load::call(&target, CALLERS, Until::Elapsed(scale.sample() * scale.pick(3, 2, 1))).await
}

fn steps(count: u64) -> Value {
    Work { executions: 1, is_write: false }.input(0, count)
}

/// The same calls of two workspaces in turn: one that is burdened with history, and one that is not. Both are closed.
pub(crate) async fn beside_an_empty_one(bench: &Bench, burdened: &Path, empty: &Path) -> Result<Vec<Figure>> {
    let burdened = Served::start(&bench.binary, burdened).await?;
    let empty = Served::start(&bench.binary, empty).await?;
    for server in [&burdened, &empty] {
        warm_up(server, bench.scale).await?;
    }
    let rates = Pairs::take(
        bench.scale.pairs(),
        async || Ok(executions(&burdened, bench.scale).await?.rate()),
        async || Ok(executions(&empty, bench.scale).await?.rate()),
    );
    let rates = rates.await?;
    let calls = Until::Calls(bench.scale.pick(500, 300, 10));
    let latency = async |server: &Served| -> Result<f64> {
        Ok(load::call(&server.webhook(&steps(1), true)?, 1, calls).await?.latency(50.0))
    };
    let latencies =
        Pairs::take(bench.scale.pairs(), async || latency(&burdened).await, async || latency(&empty).await).await?;
    burdened.stop().await?;
    empty.stop().await?;
    Ok(vec![
        Figure::of_pairs("million-http-ten-steps", &rates, "executions/s").target(Target::RatioFrom(0.8)),
        Figure::of_pairs("million-http-one-step-p50", &latencies, "ms").target(Target::RatioUpTo(1.2)),
    ])
}

/// A body with another mode of the guest.
pub(crate) fn sleep(seconds: u64) -> Value {
    json!({ "mode": "sleep", "seconds": seconds })
}
