//! How many connections one address has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::peers::counted_as;

/// Counts the connections of each address. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection's; given back when it is dropped.
pub(super) struct Place {
    places: Places,
    ip: IpAddr,
}

impl Places {
    /// None when the address has that many already.
    pub(super) fn take(&self, ip: IpAddr, max: usize) -> Option<Place> {
        let ip = counted_as(ip);
        let mut counts = self.lock();
        let count = counts.entry(ip).or_default();
        // An entry is never left behind at zero.
        if *count >= max.max(1) {
            return None;
        }
        *count += 1;
        Some(Place { places: self.clone(), ip })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.places.lock().entry(self.ip) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back_and_nothing_is_left() {
        let (places, one, other) = (Places::default(), "192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let (first, second) = (places.take(one, 2).unwrap(), places.take(one, 2).unwrap());
        assert!(places.take(one, 2).is_none() && places.take(other, 2).is_some());
        drop(first);
        assert!(places.take(one, 2).is_some());
        drop(second);
        assert!(places.lock().is_empty());
    }
}
