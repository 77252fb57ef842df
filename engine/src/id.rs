//! Identifiers, and the workspace's entropy.

use std::sync::{Arc, Mutex};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use uuid::Uuid;

use crate::clock::Timestamp;

/// Where fresh randomness comes from: the operating system, or a seed in simulations.
#[derive(Clone)]
pub enum Entropy {
    /// The operating system.
    System,
    /// A reproducible stream.
    Seeded(Arc<Mutex<ChaCha8Rng>>),
}

impl Entropy {
    /// A reproducible stream.
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(Mutex::new(ChaCha8Rng::seed_from_u64(seed))))
    }

    /// 32 fresh bytes.
    pub fn bytes32(&self) -> [u8; 32] {
        match self {
            Self::System => {
                let mut bytes = [0; 32];
                getrandom::fill(&mut bytes).expect("the operating system has entropy");
                bytes
            }
            Self::Seeded(rng) => {
                let mut bytes = [0; 32];
                rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fill_bytes(&mut bytes);
                bytes
            }
        }
    }

    /// A fresh identifier, sortable by time.
    pub fn new_id(&self, now: Timestamp) -> String {
        let bytes = self.bytes32();
        let millis = u64::try_from(now.0 / 1000).unwrap_or(0);
        let mut random = [0; 10];
        random.copy_from_slice(&bytes[..10]);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string()
    }
}

/// The id of what call number `call` of `parent` started: the same on every replay.
pub(crate) fn child_id(parent: &str, call: u32) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("surefoot/{parent}/{call}").as_bytes()).to_string()
}

/// The id of the connection that call number `call` of `parent` made. It names its parent, so that no index is needed
/// to find it.
pub(crate) fn connection_id(parent: &str, call: u32) -> String {
    format!("{parent}.{call}")
}

/// The part of a connection's id by which its parent's journal names it.
pub(crate) fn relative(call: u32) -> String {
    format!(".{call}")
}

/// The number of the call in such a part; none for other ids.
pub(crate) fn parse_relative(id: &str) -> Option<u32> {
    id.strip_prefix('.')?.parse().ok()
}

/// Parent and call number of a connection's id; none for other ids.
pub(crate) fn parse_connection_id(id: &str) -> Option<(&str, u32)> {
    let (parent, call) = id.split_once('.')?;
    Some((parent, call.parse().ok()?))
}

/// The id of an iteration of a schedule.
pub(crate) fn iteration_id(schedule: &str, iteration: u64) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("surefoot/schedule/{schedule}/{iteration}").as_bytes()).to_string()
}

/// The id of the execution that tells of something by a rule: of the end of that execution, or of the question with
/// that id.
pub(crate) fn notification_id(rule: &str, cause: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("surefoot/notification/{rule}/{cause}").as_bytes()).to_string()
}

/// The id of what a schedule starts for a time: whoever starts it, and however often, it is one execution.
pub(crate) fn run_id(schedule: &str, at: Timestamp) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("surefoot/schedule/{schedule}/at/{}", at.0).as_bytes()).to_string()
}
