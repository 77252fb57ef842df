//! How many requests one address may send: a bucket of tokens for each, in bounded memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::peers::counted_as;

/// Seconds' worth of requests that may come at once.
const BURST_SECONDS: u32 = 10;

/// Addresses that are remembered, twice at most.
const ADDRESSES_MAX: usize = 16_384;

/// See the module.
pub(crate) struct Rate {
    /// What one request takes of a bucket.
    cost: Duration,
    buckets: Mutex<Buckets>,
}

/// A bucket is the time at which it is full again. When there are too many, those that were not asked for since the
/// last time go: they are full, or will be soon.
#[derive(Default)]
struct Buckets {
    recent: HashMap<IpAddr, Instant>,
    older: HashMap<IpAddr, Instant>,
}

impl Rate {
    /// At most that many requests a second, at least one.
    pub(crate) fn new(per_second: u32) -> Self {
        Self { cost: Duration::from_secs(1) / per_second.max(1), buckets: Mutex::default() }
    }

    /// Takes a request's tokens.
    ///
    /// # Errors
    /// When there are too few: after how long there will be enough.
    pub(crate) fn take(&self, ip: IpAddr, now: Instant) -> Result<(), Duration> {
        let ip = counted_as(ip);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = buckets.recent.get(&ip).or_else(|| buckets.older.get(&ip)).copied();
        let full_at = full_at.map_or(now, |at| at.max(now)) + self.cost;
        let burst = Duration::from_secs(BURST_SECONDS.into()).max(self.cost);
        let too_early = (full_at - now).saturating_sub(burst);
        if !too_early.is_zero() {
            return Err(too_early);
        }
        if buckets.recent.len() >= ADDRESSES_MAX {
            buckets.older = std::mem::take(&mut buckets.recent);
        }
        buckets.recent.insert(ip, full_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(n).into()
    }

    #[test]
    fn a_burst_passes_and_then_as_many_as_come_in() {
        let (rate, start) = (Rate::new(2), Instant::now());
        for _ in 0..20 {
            rate.take(ip(1), start).unwrap();
        }
        assert_eq!(rate.take(ip(1), start), Err(Duration::from_millis(500)));
        assert_eq!(rate.take(ip(2), start), Ok(()), "each address has its own");
        let later = start + Duration::from_millis(500);
        assert_eq!((rate.take(ip(1), later), rate.take(ip(1), later).is_err()), (Ok(()), true));
        let much_later = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| rate.take(ip(1), much_later).is_ok()).count(), 20);
    }

    #[test]
    fn memory_is_bounded_and_who_is_busy_is_not_forgotten() {
        let (rate, now) = (Rate::new(1), Instant::now());
        for n in 0..100_000 {
            rate.take(ip(n), now).unwrap();
            if n % 10_000 == 0 {
                let _ = rate.take(ip(u32::MAX), now);
            }
        }
        let buckets = rate.buckets.lock().unwrap();
        assert!(buckets.recent.len() + buckets.older.len() <= 2 * ADDRESSES_MAX);
        drop(buckets);
        assert!(rate.take(ip(u32::MAX), now).is_err());
    }
}
