//! Steps per second of 1, 32 and 512 executions, beside as many writers of the floor. The floor commits once a step,
//! with as many bytes as the engine journals in one; a write step has two commits, and its targets know that.

use anyhow::{Result, ensure};

use crate::Bench;
use crate::database::Database;
use crate::floor::Floor;
use crate::lab::{Lab, Work};
use crate::pairs::Pairs;
use crate::report::{Figure, Target};

/// Executions at one time, and the share of the floor that must be reached.
const READS: &[(u64, f64)] = &[(1, 0.7), (32, 0.5), (512, 0.5)];
const WRITES: &[(u64, f64)] = &[(1, 0.35), (32, 0.3)];

/// The figures of steps, or of write steps.
pub(crate) async fn measure(bench: &Bench, is_write: bool) -> Result<Vec<Figure>> {
    let (rows, prefix) = if is_write { (WRITES, "write-steps") } else { (READS, "steps") };
    let mut figures = Vec::new();
    for &(executions, target) in rows {
        let work = Work { executions, is_write };
        let (lab, floor) = (Lab::open(&bench.folder).await?, Floor::open(&bench.folder)?);
        let bytes = bytes_of_a_step(&lab, is_write).await?;
        let sample = bench.scale.sample();
        // How much is done in a sample, after a little of it to warm up.
        let rate = lab.step_rate(work, 2000_u64.div_ceil(executions).min(bench.scale.pick(2000, 2000, 20))).await?;
        let count = ((rate * sample.as_secs_f64()) as u64).div_ceil(executions).max(10);
        let pairs = Pairs::take(
            bench.scale.pairs(),
            async || lab.step_rate(work, count).await,
            async || floor.rate(executions, bytes, sample).await,
        );
        let pairs = pairs.await?;
        lab.close().await?;
        let note = format!("{bytes} journal bytes a step");
        let figure = Figure::of_pairs(format!("{prefix}-{executions}"), &pairs, "/s");
        figures.push(figure.target(Target::RatioFrom(target)).note(note));
    }
    Ok(figures)
}

/// The journal bytes of one step, from the difference between a run with more and a run with fewer.
async fn bytes_of_a_step(lab: &Lab, is_write: bool) -> Result<usize> {
    let (fewer, more) = (100, 200);
    let work = Work { executions: 1, is_write };
    let mut bytes = Vec::new();
    for count in [fewer, more] {
        let id = lab.start(work.input(0, count)).await?;
        lab.all_ended(std::slice::from_ref(&id)).await?;
        bytes.push(Database::open(&lab.database())?.journal_bytes(&id)?);
    }
    ensure!(bytes[1] > bytes[0], "a step left nothing in the journal");
    Ok(usize::try_from((bytes[1] - bytes[0]) / (more - fewer))?)
}
