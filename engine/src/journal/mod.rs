//! The journal: the ordered record of an execution's host calls and their results.
//!
//! Journal types are serialised here and nowhere else. A row is one byte of format version and one MessagePack map per
//! record, so that every engine can read what any earlier one wrote; a newer format is refused.
//!
//! Format history: `1`, since 0.1.0.

mod call;
mod record;

use std::io::Cursor;

use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use call::{Call, CallKind, Digest, Digester, canonical, canonical_object};
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

/// A row with one record, as stored bytes.
pub fn encode(record: &Record) -> Vec<u8> {
    let mut row = new_row();
    encode_onto(&mut row, record);
    row
}

/// A row without records so far.
pub fn new_row() -> Vec<u8> {
    let mut row = Vec::with_capacity(256);
    row.push(FORMAT);
    row
}

/// Adds a record to the end of a row.
pub fn encode_onto(row: &mut Vec<u8>, record: &Record) {
    let start = row.len();
    rmp_serde::encode::write_named(row, record).expect("records have no unserialisable parts");
    debug_assert!(rmp_serde::from_slice::<Record>(&row[start..]).is_ok(), "a record that was written can be read");
}

/// Adds the records that a row holds to `records`, with the arguments of calls as an `A`: a replay does not need them.
pub fn decode_row<A: DeserializeOwned>(row: &[u8], records: &mut Vec<Record<A>>) -> Result<(), DecodeError> {
    let rest = match row.split_first() {
        None => return Err(DecodeError::Damaged("it is empty".into())),
        Some((&FORMAT, rest)) => rest,
        Some((&newer, _)) if newer > FORMAT => return Err(DecodeError::Newer(newer)),
        Some((other, _)) => return Err(DecodeError::Damaged(format!("format {other} never existed"))),
    };
    let mut decoder = rmp_serde::Deserializer::new(Cursor::new(rest));
    loop {
        records.push(Record::<A>::deserialize(&mut decoder).map_err(|error| DecodeError::Damaged(error.to_string()))?);
        if decoder.position() == rest.len() as u64 {
            return Ok(());
        }
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
        let outcome = Outcome::Success(json!({"rows": [1, "two", null]})).into();
        let record = Record::Settled { n: 3, began: Timestamp(1), at: Timestamp(2), outcome };
        assert_eq!(hex::encode(encode(&record)), "0181a16584a16e03a16201a17402a16f81a16f81a4726f77739301a374776fc0");
    }

    #[test]
    fn a_row_holds_several_records() {
        let records: Vec<_> = (0..3).map(|n| Record::Reply { n, at: Timestamp(7), reply: Reply::Unit }).collect();
        let mut row = new_row();
        records.iter().for_each(|record| encode_onto(&mut row, record));
        let mut decoded = Vec::new();
        decode_row(&row, &mut decoded).unwrap();
        assert_eq!(decoded, records);
        row.pop();
        assert!(matches!(decode_row::<()>(&row, &mut Vec::new()), Err(DecodeError::Damaged(_))));
    }

    #[test]
    fn newer_and_damaged_records_are_told_apart() {
        assert!(matches!(decode_row::<()>(&[FORMAT + 1, 0], &mut Vec::new()), Err(DecodeError::Newer(_))));
        for bytes in [&[][..], &[0], &[FORMAT], &[FORMAT, 0xc1]] {
            let decoded = decode_row::<()>(bytes, &mut Vec::new());
            assert!(matches!(decoded, Err(DecodeError::Damaged(_))), "{bytes:?}");
        }
    }
}
