//! How executions went over time.

use std::time::Duration;

/// The least status of an answer that says that what was tested does not work, although the run came to its end.
pub const UNSUCCESSFUL: u16 = 500;

/// How the executions went that were created in one span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many succeeded.
    pub succeeded: u64,
    /// How many failed, or answered that what they test did.
    pub failed: u64,
    /// How many were cancelled, or have not ended.
    pub others: u64,
    /// How long the middle one took of those that began and ended; none where none did.
    pub median: Option<Duration>,
}

impl Tally {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.succeeded + self.failed + self.others
    }
}
