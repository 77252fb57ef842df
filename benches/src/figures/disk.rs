//! Bytes that a step leaves on disk: how much the database grows, indexes and half-empty pages included, once its log
//! has been written back.

use anyhow::Result;

use crate::Bench;
use crate::database;
use crate::lab::{Lab, Work};
use crate::report::{Figure, Target};

/// What a step passes and gets: `{"value":0}`, twice.
const PAYLOAD: f64 = 22.0;

/// The figures of this group.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for executions in [1, 32] {
        let steps: u64 = bench.scale.pick(50_000, 10_000, 320);
        let work = Work { executions, is_write: false };
        let mut sizes = [0, 0];
        let lab = Lab::open(&bench.folder).await?;
        let lab = lab.reopen_after(|database| store(&mut sizes[0], database::size(database))).await?;
        lab.step_rate(work, steps / executions).await?;
        let lab = lab.reopen_after(|database| store(&mut sizes[1], database::size(database))).await?;
        lab.close().await?;
        let each = (sizes[1] as f64 - sizes[0] as f64) / (steps / executions * executions) as f64;
        let figure = Figure::new(format!("bytes-of-a-step-{executions}"), each - PAYLOAD, "bytes");
        figures.push(figure.target(Target::ValueUnder(200.0)).note(format!("without {PAYLOAD} of payload")));
    }
    Ok(figures)
}

fn store(place: &mut u64, size: Result<u64>) -> Result<()> {
    *place = size?;
    Ok(())
}
