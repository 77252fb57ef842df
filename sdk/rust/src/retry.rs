//! When something that failed is tried again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use serde::Serialize;

use crate::error::{Error, Result};

/// When something that failed is tried again: so many attempts, with pauses that double, for these classes of failures.
///
/// With [`Connection::retry`](crate::Connection::retry) the engine does it, within one call; of a write it repeats only
/// what it knows not to have been sent. With [`Execution::retry`](crate::Execution::retry) the flow does it, around
/// whatever it likes and with sleeps that survive a restart.
///
/// ```no_run
/// # use surefoot::prelude::*;
/// # fn example(this: &Execution) -> Result<()> {
/// let retry = Retry::attempts(5).backoff(Duration::from_millis(200)).deadline(Duration::from_secs(30));
/// let rows = this.connect("my-mssql-connector").input("fetchall", "SELECT 1").retry(retry).run()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retry {
    attempts: u32,
    backoff_ms: u64,
    backoff_max_ms: u64,
    on: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
}

impl Retry {
    /// So many attempts in all, the first included; pauses of a second, doubling up to a minute; after failures of the
    /// classes `network`, `timeout` and `stale_target`.
    pub fn attempts(attempts: u32) -> Self {
        let on = ["network", "timeout", "stale_target"].map(str::to_owned).to_vec();
        Self { attempts, backoff_ms: 1000, backoff_max_ms: 60_000, on, deadline_ms: None }
    }

    /// The pause after the first attempt; it doubles from one to the next. Half of each pause is left to chance.
    #[must_use]
    pub fn backoff(self, pause: Duration) -> Self {
        Self { backoff_ms: millis(pause), ..self }
    }

    /// The longest pause.
    #[must_use]
    pub fn backoff_max(self, pause: Duration) -> Self {
        Self { backoff_max_ms: millis(pause), ..self }
    }

    /// The codes of failures after which it is tried again, in place of the usual ones.
    #[must_use]
    pub fn on<S: Into<String>>(self, codes: impl IntoIterator<Item = S>) -> Self {
        Self { on: codes.into_iter().map(Into::into).collect(), ..self }
    }

    /// No attempt begins later than that after the first one.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline_ms: Some(millis(deadline)), ..self }
    }

    /// The pause after `attempt` (from 1) has failed with that error; none when it was the last. `begun` is how long
    /// ago the first one began.
    pub(crate) fn pause_after(&self, attempt: u32, error: &Error, begun: Duration) -> Option<Duration> {
        let is_wanted = error.failure().is_some_and(|failure| self.on.contains(&failure.code));
        if !is_wanted || attempt >= self.attempts {
            return None;
        }
        let longest = self.backoff_ms.saturating_mul(1 << (attempt - 1).min(32)).min(self.backoff_max_ms);
        // From the execution's journal, like all chance of a flow.
        let chance = RandomState::new().hash_one(attempt);
        let pause = longest - longest / 2 + chance % (longest / 2 + 1);
        let latest = self.deadline_ms.unwrap_or(u64::MAX);
        (millis(begun).saturating_add(pause) <= latest).then(|| Duration::from_millis(pause))
    }
}

/// Tries until it succeeds or the policy has enough; `pause` sleeps, `begun` tells the time since the first attempt.
pub(crate) fn until_it_succeeds<T>(
    retry: &Retry,
    mut attempt: impl FnMut(u32) -> Result<T>,
    begun: impl Fn() -> Duration,
    mut pause: impl FnMut(Duration, &Error),
) -> Result<T> {
    for number in 1.. {
        match attempt(number) {
            Ok(done) => return Ok(done),
            Err(error) => match retry.pause_after(number, &error, begun()) {
                Some(duration) => pause(duration, &error),
                None => return Err(error),
            },
        }
    }
    unreachable!("attempts are counted")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    fn failed(code: &str) -> Error {
        let (execution_id, name, message) = ("0197".into(), "read".into(), "lost".into());
        Error::DependencyFailed(Failure {
            execution_id,
            name,
            status: "ENDED_ERROR".into(),
            code: code.into(),
            message,
        })
    }

    /// The pauses between attempts of something that fails `fails` times.
    fn tried(retry: &Retry, code: &str, fails: u32) -> (Result<u32>, Vec<u64>) {
        let pauses = std::cell::RefCell::new(Vec::new());
        let attempt = |number| if number > fails { Ok(number) } else { Err(failed(code)) };
        let begun = || Duration::from_millis(pauses.borrow().iter().sum());
        let ended = until_it_succeeds(retry, attempt, begun, |pause, _| pauses.borrow_mut().push(millis(pause)));
        (ended, pauses.into_inner())
    }

    #[test]
    fn it_is_tried_until_it_succeeds_or_the_policy_has_enough() {
        let retry = Retry::attempts(4).backoff(Duration::from_millis(100)).backoff_max(Duration::from_millis(250));
        let (ended, pauses) = tried(&retry, "network", 3);
        assert_eq!((ended, pauses.len()), (Ok(4), 3));
        for (pause, longest) in pauses.into_iter().zip([100, 200, 250]) {
            assert!((longest / 2..=longest).contains(&pause), "{pause}");
        }
        assert_eq!(tried(&retry, "network", 4).0, Err(failed("network")));
        assert_eq!(tried(&retry, "unknown_outcome", 1), (Err(failed("unknown_outcome")), Vec::new()));
        assert_eq!(tried(&retry.clone().on(["auth"]), "auth", 1).0, Ok(2));
        let (ended, pauses) = tried(&retry.deadline(Duration::from_millis(120)), "network", 9);
        assert_eq!((ended, pauses.len()), (Err(failed("network")), 1), "the second pause would end after the deadline");
    }

    #[test]
    fn the_engine_reads_the_same_policy() {
        let retry = Retry::attempts(3).on(["network"]).deadline(Duration::from_secs(1));
        let expected = r#"{"attempts":3,"backoff_ms":1000,"backoff_max_ms":60000,"on":["network"],"deadline_ms":1000}"#;
        assert_eq!(serde_json::to_string(&retry).unwrap(), expected);
    }
}
