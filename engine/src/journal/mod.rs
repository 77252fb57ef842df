//! The journal: the ordered record of an execution's host calls and their results.
//!
//! Journal types are serialised here and nowhere else. A record is one byte of format version and a MessagePack map, so
//! that every engine can read what any earlier one wrote; a newer format is refused.
//!
//! Format history: `1`, since 0.1.0.

mod call;
mod record;

pub use call::{Call, CallKind, Digest, Digester, canonical};
pub use record::{
    ConnectionStart, Ended, EndedFlow, Failure, HostError, Limits, Outcome, Record, Reply, Started, Status,
};

/// The format that this engine writes.
pub const FORMAT: u8 = 1;

/// Why stored bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer engine.
    #[error("journal format {0} is newer than this engine's ({FORMAT}); start the engine that wrote it")]
    Newer(u8),
    /// Not a record at all.
    #[error("the journal record is damaged: {0}")]
    Damaged(String),
}

/// How deep a document may be nested. What stores or answers it wraps it a few levels deeper, and readers stop at 127.
const DEPTH_MAX: usize = 100;

/// Whether a document is nested deeper than any reader must cope with.
pub fn is_too_deep(value: &serde_json::Value) -> bool {
    fn deeper_than(value: &serde_json::Value, levels: usize) -> bool {
        let Some(below) = levels.checked_sub(1) else { return true };
        match value {
            serde_json::Value::Array(items) => items.iter().any(|item| deeper_than(item, below)),
            serde_json::Value::Object(members) => members.values().any(|member| deeper_than(member, below)),
            _ => false,
        }
    }
    deeper_than(value, DEPTH_MAX)
}

/// A record as stored bytes.
pub fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.push(FORMAT);
    rmp_serde::encode::write_named(&mut bytes, record).expect("records have no unserialisable parts");
    debug_assert!(decode(&bytes).is_ok(), "a record that was written can be read");
    bytes
}

/// The record that `bytes` hold.
pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    match bytes.split_first() {
        None => Err(DecodeError::Damaged("it is empty".into())),
        Some((&FORMAT, rest)) => rmp_serde::from_slice(rest).map_err(|error| DecodeError::Damaged(error.to_string())),
        Some((&newer, _)) if newer > FORMAT => Err(DecodeError::Newer(newer)),
        Some((other, _)) => Err(DecodeError::Damaged(format!("format {other} never existed"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;

    /// Journals out there hold exactly such bytes.
    #[test]
    fn format_1_never_changes() {
        let reply = Reply::Ended(vec![Ended { id: "a.3".into(), result: None }]);
        let record = Record::Reply { n: 4, at: Timestamp(1_700_000_000_000_000), reply };
        assert_eq!(hex::encode(encode(&record)), "0181a17283a16e04a174cf00060a24181e4000a17281a1779181a169a3612e33");
        let outcome = Outcome::Success(json!({"rows": [1, "two", null]}));
        let record = Record::Settled { n: 3, began: Timestamp(1), at: Timestamp(2), outcome };
        assert_eq!(hex::encode(encode(&record)), "0181a16584a16e03a16201a17402a16f81a16f81a4726f77739301a374776fc0");
    }

    #[test]
    fn newer_and_damaged_records_are_told_apart() {
        assert!(matches!(decode(&[FORMAT + 1, 0]), Err(DecodeError::Newer(_))));
        for bytes in [&[][..], &[0], &[FORMAT], &[FORMAT, 0xc1]] {
            assert!(matches!(decode(bytes), Err(DecodeError::Damaged(_))), "{bytes:?}");
        }
    }
}
