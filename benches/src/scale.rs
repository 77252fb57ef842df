//! How much a run of the benchmark does: in full, quickly, or just enough to see that it works.

use std::time::Duration;

use serde::Serialize;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scale {
    /// What a comparison needs.
    Full,
    /// For a look while working on the engine.
    Quick,
    /// For the test that sees that everything runs.
    Smoke,
}

impl Scale {
    /// One of three values.
    pub(crate) fn pick<T>(self, full: T, quick: T, smoke: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
            Self::Smoke => smoke,
        }
    }

    /// Interleaved pairs behind each ratio.
    pub(crate) fn pairs(self) -> usize {
        self.pick(10, 3, 1)
    }

    /// How long one side of a pair is measured, about.
    pub(crate) fn sample(self) -> Duration {
        self.pick(Duration::from_secs(1), Duration::from_millis(700), Duration::from_millis(50))
    }
}
