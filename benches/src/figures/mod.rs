//! The figures, by group: one file each.

mod steps;

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;

use crate::Bench;
use crate::report::Figure;

/// Figures that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Steps per second, beside the floor
    Steps,
    /// Write steps per second, beside the floor
    WriteSteps,
}

impl Group {
    /// All, in the order of a run.
    pub(crate) const ALL: &[Self] = &[Self::Steps, Self::WriteSteps];

    /// Measures them.
    pub(crate) async fn measure(self, bench: &Bench) -> Result<Vec<Figure>> {
        match self {
            Self::Steps => steps::measure(bench, false).await,
            Self::WriteSteps => steps::measure(bench, true).await,
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}
