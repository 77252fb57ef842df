//! The figures, by group: one file each.

mod crash;
mod disk;
mod fairness;
mod http;
mod million;
mod process;
mod replay;
mod sleepers;
mod steps;
mod wakeups;

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
    /// Bytes on disk for a step
    Disk,
    /// Executions through HTTP
    Http,
    /// The same with a million ended executions
    Million,
    /// First progress after `kill -9`
    Crash,
    /// Lateness of wake-ups
    Wakeups,
    /// A hundred thousand sleeping executions
    Sleepers,
    /// Replay of short and long journals
    Replay,
    /// Fairness, and a loop of short sleeps
    Fairness,
    /// The binary at rest
    Process,
}

impl Group {
    /// Measures them.
    pub(crate) async fn measure(self, bench: &Bench) -> Result<Vec<Figure>> {
        match self {
            Self::Steps => steps::measure(bench, false).await,
            Self::WriteSteps => steps::measure(bench, true).await,
            Self::Disk => disk::measure(bench).await,
            Self::Http => http::measure(bench).await,
            Self::Million => million::measure(bench).await,
            Self::Crash => crash::measure(bench).await,
            Self::Wakeups => wakeups::measure(bench).await,
            Self::Sleepers => sleepers::measure(bench).await,
            Self::Replay => replay::measure(bench).await,
            Self::Fairness => fairness::measure(bench).await,
            Self::Process => process::measure(bench).await,
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}
