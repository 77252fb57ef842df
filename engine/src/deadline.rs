//! When an execution is ended that has not ended by itself: how that is said, and what time it means.

use std::str::FromStr;
use std::time::Duration;

use crate::clock::Timestamp;

/// The longest time that an execution may be given, milliseconds: 100 years.
pub(crate) const MILLIS_MAX: i64 = 100 * 366 * 24 * 60 * 60 * 1000;

/// A deadline as it is asked for. Its text form is a time in RFC 3339, or a duration such as `90s`, `15m` or `2h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// At that time.
    At(Timestamp),
    /// That long after the execution was created, or after the time before which it must not begin.
    After(Duration),
}

/// A text that is no deadline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no deadline; write a duration such as 90s, 15m or 2h 30m, or a time such as 2030-01-31T12:00:00Z")]
pub struct InvalidDeadline(String);

impl Deadline {
    /// The time that is meant for an execution that is created now.
    pub(crate) fn for_one_created(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::After(duration) => now.after(duration),
        }
    }
}

impl FromStr for Deadline {
    type Err = InvalidDeadline;

    fn from_str(text: &str) -> Result<Self, InvalidDeadline> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        let duration = text.parse::<jiff::SignedDuration>().ok().and_then(|signed| Duration::try_from(signed).ok());
        let allowed = |duration: &Duration| (1..=MILLIS_MAX.unsigned_abs().into()).contains(&duration.as_millis());
        duration.filter(allowed).map(Self::After).ok_or_else(|| InvalidDeadline(text.to_owned()))
    }
}

#[cfg(test)]
mod tests;
