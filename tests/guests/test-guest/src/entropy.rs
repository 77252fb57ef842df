//! Everything by which two runs of an ordinary program differ.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use surefoot::prelude::*;

/// Draws from the order of a hash table, from its keys, and from three clocks.
#[expect(clippy::disallowed_methods, reason = "that both clocks are the journal's is what is tested")]
pub(crate) fn draw(this: &Execution) -> Value {
    let started = Instant::now();
    let order: Vec<u32> = (0..20).collect::<HashSet<u32>>().into_iter().collect();
    let micros = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_micros().to_string();
    json!({
        "order": order,
        "hash": RandomState::new().hash_one("the same text").to_string(),
        "system_time": micros(SystemTime::now()),
        "journal_time": micros(this.now()),
        "elapsed_ns": started.elapsed().as_nanos().to_string(),
    })
}
