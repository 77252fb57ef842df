//! The pace of retention: how much it does in one write, and how long it rests after it.
//!
//! What has to go came in at some speed, and may go on coming in at that speed. With a small and fixed share of the
//! writer a workspace could stay above its limits for ever. So it is counted how many executions come and how many go,
//! and while not clearly more go, retention hurries, a stage at a time: first it rests less, until it has half of the
//! writer; then its steps become longer, which lets fewer commits of others go by between them; at last it rests less
//! again, until it has four fifths: a limit is kept, though those who go above it become slower. What others wait for
//! is never more than one such step.

use std::time::Duration;

use tokio::time::Instant;

use crate::core::{Core, lock};
use crate::store::retention::{Done, STEP_UNITS};
use crate::store::{Concerns, StoreResult, Urgency};

/// At leisure it rests after a step for so many times the duration of the step: it has a ninth of the writer at most.
const REST_FACTOR: u32 = 8;

/// Stages in which the rest is halved, until it is as long as the step.
const HALVINGS: u32 = 3;

/// Stages after those, in which the steps double.
const DOUBLINGS: u32 = 2;

/// Stages after those, in which the rest is halved again, until it is a quarter of the step.
const LAST_HALVINGS: u32 = 2;

const STAGE_MAX: u32 = HALVINGS + DOUBLINGS + LAST_HALVINGS;

/// So many times as many executions must go as come, or else there is another stage.
const GONE_FOR_EACH_NEW: u64 = 2;

/// The shortest rest.
const REST_MIN: Duration = Duration::from_millis(1);

/// Remembers from pass to pass how much of a hurry there is.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// None at leisure, at most [`STAGE_MAX`].
    stage: u32,
    /// Where the pass under way was when its progress was looked at last.
    last: Option<Progress>,
    /// Whether too few executions went at some time in the pass under way.
    is_behind: bool,
}

/// Where a pass is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) at: Instant,
    /// The number of the newest execution.
    pub(super) newest: i64,
    /// What went in this pass so far.
    pub(super) done: Done,
}

impl Pace {
    /// A pass begins at the pace at which the last one ended.
    pub(super) fn begin(&mut self) {
        self.last = None;
        self.is_behind = false;
    }

    /// A pass that was never behind shows that there is time: the next one is slower by a stage.
    pub(super) fn end(&mut self) {
        if !self.is_behind {
            self.stage = self.stage.saturating_sub(1);
        }
    }

    /// Looks, every `hurry_after` of a pass, whether enough went since it looked before.
    pub(super) fn look_at(&mut self, progress: Progress, hurry_after: Duration) {
        let last = *self.last.get_or_insert(progress);
        if progress.at.duration_since(last.at) < hurry_after {
            return;
        }
        self.last = Some(progress);
        let came = u64::try_from(progress.newest - last.newest).unwrap_or(0);
        // Into the trash, or out of it: what is still to be done in a pass may be the one or the other.
        let trashed = progress.done.trashed - last.done.trashed;
        let purged = progress.done.purged - last.done.purged;
        if trashed.max(purged) < came * GONE_FOR_EACH_NEW {
            self.stage = (self.stage + 1).min(STAGE_MAX);
            self.is_behind = true;
        }
    }

    /// What one step of a sweep may do, see [`STEP_UNITS`].
    pub(super) fn step_units(&self) -> u64 {
        STEP_UNITS << self.stage.saturating_sub(HALVINGS).min(DOUBLINGS)
    }

    /// How long to rest after a step that took so long.
    fn rest(&self, took: Duration) -> Duration {
        let halvings = self.stage.min(HALVINGS) + self.stage.saturating_sub(HALVINGS + DOUBLINGS);
        REST_MIN.max(took * REST_FACTOR / (1 << halvings))
    }
}

/// One small write, and a rest after it. While executions are at work it goes along with one of their commits, and adds
/// none that they would have to wait for.
pub(crate) async fn paced<T: Send + 'static>(
    core: &Core,
    write: impl FnOnce(&rusqlite::Connection) -> StoreResult<T> + Send + 'static,
) -> StoreResult<T> {
    let urgency = if lock(&core.residents).is_empty() { Urgency::Now } else { Urgency::Lazy };
    let measured = move |connection: &rusqlite::Connection| {
        let began = Instant::now();
        let value = write(connection)?;
        Ok((value, began, Instant::now()))
    };
    let (value, began, ended) = core.writer.submit(urgency, Concerns::None, measured).done().await?;
    // The writer has been there for others since the step ended: the commit that it is part of belongs to the rest.
    let rested = ended + lock(&core.attention.pace).rest(ended - began);
    tokio::select! {
        () = core.stopping.cancelled() => {}
        () = tokio::time::sleep_until(rested) => {}
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(10);
    const HURRY_AFTER: Duration = Duration::from_secs(10);

    /// A pass in which so many come, are trashed and are purged each ten seconds. Returns for how many times its
    /// duration a step rests, and how many units it has, at the beginning and after each ten seconds.
    fn pass(pace: &mut Pace, start: Instant, rates: &[(i64, u64, u64)]) -> Vec<(f64, u64)> {
        let mut progress = Progress { at: start, newest: 1_000_000, done: Done::default() };
        let seen = |pace: &Pace| (pace.rest(STEP).as_secs_f64() / STEP.as_secs_f64(), pace.step_units());
        pace.begin();
        pace.look_at(progress, HURRY_AFTER);
        let mut stages = vec![seen(pace)];
        for (came, trashed, purged) in rates {
            // In between it does not look, whatever has happened.
            let between = progress.at + HURRY_AFTER - Duration::from_millis(1);
            pace.look_at(Progress { at: between, newest: i64::MAX, ..progress }, HURRY_AFTER);
            assert_eq!(Some(&seen(pace)), stages.last());
            progress.at += HURRY_AFTER;
            progress.newest += came;
            progress.done.trashed += trashed;
            progress.done.purged += purged;
            pace.look_at(progress, HURRY_AFTER);
            stages.push(seen(pace));
        }
        pace.end();
        stages
    }

    #[test]
    fn it_hurries_in_stages_while_too_few_go_and_slows_down_by_passes_that_keep_up() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let calm = pass(&mut pace, start, &[(0, 0, 0), (1000, 2000, 0), (1000, 0, 2000), (0, 5000, 5000)]);
        assert_eq!(calm, [(8.0, 1000); 5], "twice as many go as come, or nothing comes: no hurry, however long");

        let rates = [[(1000, 1999, 0), (1, 0, 1)].as_slice(), &[(9, 8, 8); 6]].concat();
        let behind = pass(&mut pace, start, &rates);
        let less_rest = [(8.0, 1000), (4.0, 1000), (2.0, 1000), (1.0, 1000)];
        let hurried = [(1.0, 2000), (1.0, 4000), (0.5, 4000), (0.25, 4000), (0.25, 4000)];
        let message = "half of the writer, four times the work in a step, four fifths of the writer, and no more";
        assert_eq!(behind, [less_rest.as_slice(), &hurried].concat(), "{message}");

        let still = pass(&mut pace, start, &[(9, 0, 0)]);
        assert_eq!(still, [(0.25, 4000); 2], "what is behind at the end is so at the next beginning");
        let back: Vec<_> = (0..8).map(|_| pass(&mut pace, start, &[(1, 2, 0)])[1]).collect();
        let slower = [(0.25, 4000), (0.5, 4000), (1.0, 4000), (1.0, 2000), (1.0, 1000), (2.0, 1000), (4.0, 1000)];
        assert_eq!(back, [slower.as_slice(), &[(8.0, 1000)]].concat());
        assert_eq!(pace.rest(Duration::from_micros(1)), REST_MIN);
    }
}
