//! Results of calls that read, kept for a while to serve equal calls whose policy allows it. In memory alone: after a
//! restart every call is made anew.

use std::sync::Mutex;
use std::time::Duration;

use hashlink::LruCache;

use crate::clock::Timestamp;
use crate::core::lock;
use crate::journal::{Digest, Output};

/// How many results are kept.
const RESULTS_MAX: usize = 1000;

/// Larger ones are not kept, bytes of JSON.
const RESULT_BYTES_MAX: usize = 64 << 10;

/// A result, and when it was got.
type Result = (Timestamp, Output);

/// See the module.
pub(crate) struct ResultCache(Mutex<LruCache<[u8; 16], Result>>);

impl ResultCache {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::new(RESULTS_MAX)))
    }

    /// The result of an equal call that is no older than that, and when it was got.
    pub(crate) fn get(&self, call: Digest, now: Timestamp, age: Duration) -> Option<Result> {
        let mut results = lock(&self.0);
        let (at, result) = results.get(&call.bytes())?;
        // A clock that was set back makes nothing fresh.
        (*at <= now && now.since(*at) <= age).then(|| (*at, result.clone()))
    }

    pub(crate) fn put(&self, call: Digest, at: Timestamp, result: &Output) {
        if result.text().len() <= RESULT_BYTES_MAX {
            lock(&self.0).insert(call.bytes(), (at, result.clone()));
        }
    }
}
