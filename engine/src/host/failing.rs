//! Components that cannot be read: when to look for each of them again.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Timestamp;

/// The wait after the first failure. It doubles with each one.
const WAIT_FIRST: Duration = Duration::from_secs(1);

/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// See the module. By digest.
#[derive(Debug, Default)]
pub(super) struct Failing(HashMap<String, Failure>);

#[derive(Debug)]
struct Failure {
    wait: Duration,
    again: Timestamp,
}

impl Failing {
    /// When to look again; none for a component that has not failed.
    pub(super) fn not_before(&self, digest: &str) -> Option<Timestamp> {
        self.0.get(digest).map(|failure| failure.again)
    }

    /// It cannot be read. Returns when to look again.
    pub(super) fn failed(&mut self, digest: &str, now: Timestamp) -> Timestamp {
        let before = self.0.get(digest).map(|failure| failure.wait);
        let wait = before.map_or(WAIT_FIRST, |before| (2 * before).min(WAIT_MAX));
        let again = now.after(wait);
        self.0.insert(digest.to_owned(), Failure { wait, again });
        again
    }

    /// It could be read.
    pub(super) fn is_good(&mut self, digest: &str) {
        self.0.remove(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_minute_and_begins_anew() {
        let mut failing = Failing::default();
        assert_eq!(failing.not_before("a"), None);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let again = Timestamp(0).after(Duration::from_secs(seconds));
            assert_eq!(failing.failed("a", Timestamp(0)), again);
            assert_eq!(failing.not_before("a"), Some(again));
        }
        assert_eq!(failing.not_before("b"), None);
        failing.is_good("a");
        assert_eq!(failing.failed("a", Timestamp(0)), Timestamp(0).after(WAIT_FIRST));
    }
}
