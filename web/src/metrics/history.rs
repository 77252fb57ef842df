//! What the server remembers of its own figures: a sample now and then, in memory, for the plots of the system page.
//! Who wants more history asks `/metrics` and keeps it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use surefoot_engine::{Engine, EngineResult, Figures, Timestamp};

use super::process;

/// Between two samples.
pub(crate) const INTERVAL: Duration = Duration::from_secs(90);

/// Samples that are kept: an hour.
pub(crate) const SAMPLES_MAX: usize = 40;

/// What was so at a time.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Timestamp,
    pub(crate) figures: Figures,
    /// What of the process is in memory, bytes; none where that cannot be found out.
    pub(crate) memory_bytes: Option<u64>,
}

impl Sample {
    pub(crate) async fn take(engine: &Engine) -> EngineResult<Self> {
        let mut figures = engine.figures().await?;
        // What there may be much of is for `/metrics` alone.
        (figures.executions_ended, figures.calls) = (Vec::new(), Vec::new());
        Ok(Self { at: engine.now(), figures, memory_bytes: process::memory_bytes() })
    }

    /// How many executions that have not ended are in one of these states.
    pub(crate) fn active(&self, states: &[&str]) -> u64 {
        let found = self.figures.executions_active.iter().filter(|(state, _)| states.contains(state));
        found.map(|(_, count)| count).sum()
    }

    pub(crate) fn unended(&self) -> u64 {
        self.figures.executions_active.iter().map(|(_, count)| count).sum()
    }
}

/// The last samples.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<VecDeque<Sample>>);

impl History {
    pub(super) fn add(&self, sample: Sample) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// The oldest first.
    pub(super) fn all(&self) -> Vec<Sample> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
