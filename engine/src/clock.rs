//! Time. Nothing else in the engine reads a clock.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// Microseconds since the Unix epoch, UTC. Its text form is RFC 3339 with six decimals and `Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// That much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// That much earlier.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long until `self`, from `now`; zero when it has passed.
    pub fn since(self, now: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(now.0)).unwrap_or(0))
    }

    /// From milliseconds since the Unix epoch.
    pub fn from_millis(millis: u64) -> Self {
        Self(i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1000))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp:.6}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        text.parse::<jiff::Timestamp>().map(|timestamp| Self(timestamp.as_microsecond()))
    }
}

/// Where the engine reads the time and waits for it.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that moves only when it is told to, for simulations.
    Manual(Arc<ManualClock>),
}

/// See [`Clock::Manual`].
#[derive(Debug, Default)]
pub struct ManualClock {
    micros: AtomicI64,
    moved: Notify,
}

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn new(start: Timestamp) -> Arc<Self> {
        Arc::new(Self { micros: AtomicI64::new(start.0), moved: Notify::new() })
    }

    /// Sets the time and wakes who waits for it.
    pub fn set(&self, now: Timestamp) {
        self.micros.store(now.0, Ordering::SeqCst);
        self.moved.notify_waiters();
    }
}

/// The longest uninterrupted wait. A machine that slept, or whose clock was set, is noticed after at most this long.
const WAIT_MAX: Duration = Duration::from_secs(1);

impl Clock {
    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
            }
            Self::Manual(clock) => Timestamp(clock.micros.load(Ordering::SeqCst)),
        }
    }

    /// Returns when `due` has come, by the wall clock.
    pub async fn wait_until(&self, due: Timestamp) {
        loop {
            match self {
                Self::System => {
                    let rest = due.since(self.now());
                    if rest.is_zero() {
                        return;
                    }
                    tokio::time::sleep(rest.min(WAIT_MAX)).await;
                }
                Self::Manual(clock) => {
                    let moved = clock.moved.notified();
                    if self.now() >= due {
                        return;
                    }
                    moved.await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_with_six_decimals() {
        let timestamp = Timestamp(1_700_000_000_000_001);
        assert_eq!(timestamp.to_string(), "2023-11-14T22:13:20.000001Z");
        assert_eq!(timestamp.to_string().parse::<Timestamp>().unwrap(), timestamp);
        assert_eq!(Timestamp(1_700_000_000_000_000).to_string(), "2023-11-14T22:13:20.000000Z");
    }
}
