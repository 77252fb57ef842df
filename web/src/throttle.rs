//! How often a password may be tried: for one name, and from one address.
//!
//! After a few failures each further one costs a wait, twice as long as the one before, up to a limit: nobody is locked
//! out for good, and a try that comes too early makes nothing longer. It is all in memory, for so many names and
//! addresses; the ones that failed longest ago are forgotten first.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use surefoot_engine::Timestamp;

/// Failures are forgotten when there was no other for so long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// Names, and addresses, that are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// The wait after the first failure that has one.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Failures that are noted one by one in the audit log; then one note tells of many.
const NOTED_AT_ONCE: u64 = 10;

/// After how long another failure is noted.
const NOTED_EVERY: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<Tries>);

#[derive(Default)]
struct Tries {
    names: Table<String>,
    addresses: Table<IpAddr>,
    notes: Notes,
}

/// What holds for a kind of key.
struct Rule {
    /// Failures that cost nothing.
    free: u32,
    wait_max: Duration,
}

/// Somebody else may try a name that is mine: I must get a turn.
const OF_NAME: Rule = Rule { free: 5, wait_max: Duration::from_secs(60) };

/// Many may share an address.
const OF_ADDRESS: Rule = Rule { free: 20, wait_max: Duration::from_secs(900) };

impl Throttle {
    /// Lets a try through, and counts it as a failure until [`succeeded`](Self::succeeded): who tries many at one time
    /// gains nothing.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn admit(&self, name: &str, address: Option<IpAddr>, now: Timestamp) -> Result<(), Duration> {
        let mut tries = self.lock();
        let wait = tries.names.wait(name, now).max(address.and_then(|address| tries.addresses.wait(&address, now)));
        if let Some(wait) = wait {
            return Err(wait);
        }
        tries.names.count(name.to_owned(), &OF_NAME, now);
        if let Some(address) = address {
            tries.addresses.count(address, &OF_ADDRESS, now);
        }
        Ok(())
    }

    /// The last try was none: the name begins anew, the address gets its try back and no more. Who has a password of
    /// their own does not buy tries of others' with it.
    pub(crate) fn succeeded(&self, name: &str, address: Option<IpAddr>) {
        let mut tries = self.lock();
        tries.names.0.remove(name);
        if let Some(failures) = address.and_then(|address| tries.addresses.0.get_mut(&address)) {
            failures.count = failures.count.saturating_sub(1);
            failures.blocked_until = Timestamp::default();
        }
    }

    /// The last try failed. How many failures are to be noted in the audit log now; none when it was noted often
    /// enough lately.
    pub(crate) fn failed(&self, now: Timestamp) -> Option<u64> {
        self.lock().notes.take(now)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Table<K>(HashMap<K, Failures>);

#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    last: Timestamp,
    blocked_until: Timestamp,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone + Eq + std::hash::Hash> Table<K> {
    fn wait<Q: Eq + std::hash::Hash + ?Sized>(&self, key: &Q, now: Timestamp) -> Option<Duration>
    where
        K: std::borrow::Borrow<Q>,
    {
        let failures = self.0.get(key).filter(|failures| failures.blocked_until > now)?;
        Some(failures.blocked_until.since(now))
    }

    fn count(&mut self, key: K, rule: &Rule, now: Timestamp) {
        if self.0.len() >= REMEMBERED_MAX && !self.0.contains_key(&key) {
            self.make_room(now);
        }
        let failures = self.0.entry(key).or_default();
        if failures.last.after(FORGOTTEN_AFTER) <= now {
            *failures = Failures::default();
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        if let Some(beyond) = failures.count.checked_sub(rule.free + 1) {
            let wait = FIRST_WAIT.saturating_mul(1 << beyond.min(20)).min(rule.wait_max);
            failures.blocked_until = now.after(wait);
        }
    }

    fn make_room(&mut self, now: Timestamp) {
        self.0.retain(|_, failures| failures.last.after(FORGOTTEN_AFTER) > now);
        if self.0.len() >= REMEMBERED_MAX {
            let oldest = self.0.iter().min_by_key(|(_, failures)| failures.last).map(|(key, _)| key.clone());
            oldest.map(|key| self.0.remove(&key));
        }
    }
}

/// How many failures there were since one was noted, and how many more may be noted one by one.
#[derive(Default)]
struct Notes {
    unnoted: u64,
    spent: u64,
    last: Timestamp,
}

impl Notes {
    fn take(&mut self, now: Timestamp) -> Option<u64> {
        self.unnoted += 1;
        let regained = now.since(self.last).as_secs() / NOTED_EVERY.as_secs();
        if regained > 0 {
            self.spent = self.spent.saturating_sub(regained);
            self.last = now;
        }
        if self.spent >= NOTED_AT_ONCE {
            return None;
        }
        self.spent += 1;
        Some(std::mem::take(&mut self.unnoted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000).after(Duration::from_secs(seconds))
    }

    const HOME: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    #[test]
    fn waits_double_up_to_a_limit_and_end() {
        let throttle = Throttle::default();
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..14 {
            while let Err(wait) = throttle.admit("eve", None, now) {
                assert_eq!(throttle.admit("eve", None, now), Err(wait), "a try that comes too early costs nothing");
                waits.push(wait.as_secs());
                now = now.after(wait);
            }
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(throttle.admit("adam", None, now), Ok(()));
        assert_eq!(throttle.admit("eve", None, now.after(FORGOTTEN_AFTER)), Ok(()));
        assert_eq!(throttle.admit("eve", None, now.after(FORGOTTEN_AFTER)), Ok(()));
    }

    #[test]
    fn many_names_from_one_address_wait_too() {
        let throttle = Throttle::default();
        let admitted = (0..100).filter(|n| throttle.admit(&n.to_string(), HOME, at(0)).is_ok()).count();
        assert_eq!(admitted, 21);
        // A password that is right gives that one try back, and not those of others.
        let throttle = Throttle::default();
        for n in 0..20 {
            assert!(throttle.admit(&n.to_string(), HOME, at(0)).is_ok());
        }
        for _ in 0..5 {
            assert!(throttle.admit("me", HOME, at(0)).is_ok());
            throttle.succeeded("me", HOME);
        }
        assert!(throttle.admit("a", HOME, at(0)).is_ok());
        assert!(throttle.admit("b", HOME, at(0)).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..REMEMBERED_MAX as u64 + 10 {
            assert!(throttle.admit(&n.to_string(), None, at(n / 100)).is_ok());
        }
        let tries = throttle.lock();
        assert_eq!(tries.names.0.len(), REMEMBERED_MAX);
        assert!(tries.names.0.contains_key(&(REMEMBERED_MAX + 9).to_string()));
    }

    #[test]
    fn a_flood_is_noted_now_and_then_with_its_size() {
        let throttle = Throttle::default();
        let noted: Vec<u64> = (0..1000).filter_map(|_| throttle.failed(at(0))).collect();
        assert_eq!(noted, [1; NOTED_AT_ONCE as usize]);
        assert_eq!(throttle.failed(at(10)), Some(1000 - NOTED_AT_ONCE + 1));
        assert_eq!(throttle.failed(at(10)), None);
    }
}
