//! The same again with a million ended executions in the database, in turn with an empty one: nothing on the way of a
//! step may touch what has ended.

use anyhow::Result;

use super::http;
use crate::Bench;
use crate::database;
use crate::lab::{Lab, Work};
use crate::pairs::Pairs;
use crate::report::{Figure, Target};
use crate::timing::Stopwatch;

/// The figures of this group.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let count = bench.scale.pick(1_000_000, 200_000, 1000);
    let watch = Stopwatch::start();
    let burdened = Lab::open(&bench.folder).await?;
    let ended = burdened.start(Work { executions: 1, is_write: false }.input(0, 1)).await?;
    burdened.all_ended(std::slice::from_ref(&ended)).await?;
    let burdened = burdened.reopen_after(|database| database::multiply(database, &ended, count)).await?;
    let building = format!("{count} ended executions, made in {:.0} s", watch.seconds());
    let empty = Lab::open(&bench.folder).await?;
    let mut figures = Vec::new();
    for executions in [1, 32, 512] {
        let work = Work { executions, is_write: false };
        let warm = bench.scale.pick(2000, 2000, 20);
        let rate = empty.step_rate(work, 2000_u64.div_ceil(executions).min(warm)).await?;
        let steps = ((rate * bench.scale.sample().as_secs_f64()) as u64).div_ceil(executions).max(10);
        let pairs = Pairs::take(
            bench.scale.pairs(),
            async || burdened.step_rate(work, steps).await,
            async || empty.step_rate(work, steps).await,
        );
        let figure = Figure::of_pairs(format!("million-steps-{executions}"), &pairs.await?, "/s");
        figures.push(figure.target(Target::RatioFrom(0.8)).note(&building));
    }
    let (burdened, empty) = (burdened.leave().await?, empty.leave().await?);
    figures.extend(http::beside_an_empty_one(bench, &burdened.data(), &empty.data()).await?);
    Ok(figures)
}
