//! The journal: the ordered record of an execution's host calls and their results.
//!
//! Journal types are serialised here and nowhere else. A row is one byte of format version and one MessagePack map per
//! record, so that every engine can read what any earlier one wrote; a newer format is refused.
//!
//! Format history:
//! - `1`, the first: one record a row.
//! - `2`: several records a row. Kinds of calls are numbers. Of an id that belongs to the execution itself only the
//!   part from the dot on is kept, and records leave out what the rest of them says: arguments, and the answer to a
//!   start. Since then calls may have a policy, and their ends attempts; both are left out where there are none. An
//!   execution has rights; those to everything, which all had before, are left out.
//! - `3`: the first record says how the digests of calls are made; in older ones it is [`DigestVersion::Canonical`].

mod call;
mod output;
mod record;
mod shown;

use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use call::{Call, CallKind, Digest, DigestVersion, Digester, canonical, canonical_object};
pub use output::Output;
pub use record::{
    Attempt, ConnectionStart, Ended, EndedFlow, Failure, HostError, Limits, Origin, Outcome, Record, Reply, Started,
    Status,
};

pub use shown::{shown, shown_args, shown_attempt, start_args, wait_args};

/// The format that this engine writes.
pub const FORMAT: u8 = 3;

/// The oldest format that it reads.
const FORMAT_OLDEST: u8 = 1;

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
        Some((&(FORMAT_OLDEST..=FORMAT), rest)) => rest,
        Some((&newer, _)) if newer > FORMAT => return Err(DecodeError::Newer(newer)),
        Some((other, _)) => return Err(DecodeError::Damaged(format!("format {other} never existed"))),
    };
    // From a slice nothing is copied; but a decoder of one does not say where it is: a mark of ours ends the records.
    let mut bytes = Vec::with_capacity(rest.len() + 1);
    bytes.extend_from_slice(rest);
    bytes.push(END);
    let mut decoder = rmp_serde::Deserializer::from_read_ref(&bytes[..]);
    let damaged = |error: rmp_serde::decode::Error| DecodeError::Damaged(error.to_string());
    let before = records.len();
    while let Some(mut record) = Option::<Record<A>>::deserialize(&mut decoder).map_err(damaged)? {
        if let Record::Call { n, connection: Some(_), reply: reply @ None, .. } = &mut record {
            *reply = Some(Reply::Id(crate::id::relative(*n)));
        }
        records.push(record);
    }
    // It was the mark only if nothing comes after it.
    match <()>::deserialize(&mut decoder) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) if records.len() > before => Ok(()),
        _ => Err(DecodeError::Damaged("there is something else than records".into())),
    }
}

/// What stands in place of a record after the last one while they are decoded: nil.
const END: u8 = 0xc0;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;

    fn samples(digests: DigestVersion) -> [Record; 4] {
        let reply = Reply::Ended(vec![Ended { id: "a.3".into(), result: None }]);
        let digest = Digester::new(&[7; 32]).digest(DigestVersion::Canonical, CallKind::Sleep, []);
        let (kind, at) = (CallKind::Sleep, Timestamp(1_700_000_000_000_000));
        [
            Record::Reply { n: 4, at, reply },
            Record::Settled {
                n: 3,
                began: Timestamp(1),
                at: Timestamp(2),
                outcome: Outcome::Success(json!({"rows": [1, "two", null]}).into()).into(),
                attempts: Vec::new(),
                cached_at: None,
            },
            Record::Call { n: 4, kind, digest, args: json!(null), at, due: None, connection: None, reply: None },
            Record::Started(Started {
                at,
                entropy: vec![7; 4],
                version: "native:x".into(),
                limits: Limits::default(),
                end_actions: Vec::new(),
                depth: 0,
                origins: Vec::new(),
                inherited: Vec::new(),
                digests,
                locks: Vec::new(),
                engine: "0.1.0".into(),
                acts_as: crate::people::Rights::of_executions(),
            }),
        ]
    }

    /// Journals out there hold exactly such bytes.
    const FORMAT_1: [&str; 4] = [
        "0181a17283a16e04a174cf00060a24181e4000a17281a1779181a169a3612e33",
        "0181a16584a16e03a16201a17402a16f81a16f81a4726f77739301a374776fc0",
        "0181a16385a16e04a16ba5736c656570a164c4107fe75638ea586856b74bdb6ef40a7d17a161c0a174cf00060a24181e4000",
        "0181a17385a174cf00060a24181e4000a165c40407070707a176a86e61746976653a78a16c8ab06d656d6f72795f62797465\
         735f6d6178ce10000000aa6370755f6d735f6d6178cd7530a963616c6c735f6d6178ce000f4240b17061796c6f61645f6279\
         7465735f6d6178ce01000000b0646570656e64656e636965735f6d6178cd2710ac6368696c6472656e5f6d6178cd2710a964\
         657074685f6d617864ad6c6f675f6c696e65735f6d6178ce000186a0ad6c6f675f62797465735f6d6178ce04000000b06f75\
         747075745f62797465735f6d6178ce01000000a167a5302e312e30",
    ];
    const FORMAT_2: [&str; 4] = [
        "0281a17283a16e04a174cf00060a24181e4000a17281a1779181a169a3612e33",
        "0281a16584a16e03a16201a17402a16f81a16f81a4726f77739301a374776fc0",
        "0281a16385a16e04a16b05a164c4107fe75638ea586856b74bdb6ef40a7d17a161c0a174cf00060a24181e4000",
        "0281a17385a174cf00060a24181e4000a165c40407070707a176a86e61746976653a78a16c8ab06d656d6f72795f62797465\
         735f6d6178ce10000000aa6370755f6d735f6d6178cd7530a963616c6c735f6d6178ce000f4240b17061796c6f61645f6279\
         7465735f6d6178ce01000000b0646570656e64656e636965735f6d6178cd2710ac6368696c6472656e5f6d6178cd2710a964\
         657074685f6d617864ad6c6f675f6c696e65735f6d6178ce000186a0ad6c6f675f62797465735f6d6178ce04000000b06f75\
         747075745f62797465735f6d6178ce01000000a167a5302e312e30",
    ];

    const FORMAT_3: [&str; 4] = [
        "0381a17283a16e04a174cf00060a24181e4000a17281a1779181a169a3612e33",
        "0381a16584a16e03a16201a17402a16f81a16f81a4726f77739301a374776fc0",
        "0381a16385a16e04a16b05a164c4107fe75638ea586856b74bdb6ef40a7d17a161c0a174cf00060a24181e4000",
        "0381a17386a174cf00060a24181e4000a165c40407070707a176a86e61746976653a78a16c8ab06d656d6f72795f62797465\
         735f6d6178ce10000000aa6370755f6d735f6d6178cd7530a963616c6c735f6d6178ce000f4240b17061796c6f61645f6279\
         7465735f6d6178ce01000000b0646570656e64656e636965735f6d6178cd2710ac6368696c6472656e5f6d6178cd2710a964\
         657074685f6d617864ad6c6f675f6c696e65735f6d6178ce000186a0ad6c6f675f62797465735f6d6178ce04000000b06f75\
         747075745f62797465735f6d6178ce01000000a16802a167a5302e312e30",
    ];

    #[test]
    fn format_3_never_changes() {
        assert_eq!(samples(DigestVersion::NEWEST).map(|record| hex::encode(encode(&record))), FORMAT_3);
    }

    #[test]
    fn every_format_is_read() {
        for (format, digests) in [
            (FORMAT_1, DigestVersion::Canonical),
            (FORMAT_2, DigestVersion::Canonical),
            (FORMAT_3, DigestVersion::Text),
        ] {
            let mut records = Vec::new();
            format.iter().for_each(|row| decode_row(&hex::decode(row).unwrap(), &mut records).unwrap());
            assert_eq!(records, samples(digests));
        }
    }

    #[test]
    fn digests_of_a_newer_version_are_damage_and_not_another_version() {
        let row = hex::decode(FORMAT_3[3].replace("a16802", "a16803")).unwrap();
        assert!(matches!(decode_row::<()>(&row, &mut Vec::new()), Err(DecodeError::Damaged(_))));
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

    /// Whatever is on the disk, reading it says so and nothing worse: chance, and records with chance in them.
    #[test]
    fn soak_random_bytes_are_damaged_and_nothing_else() {
        use rand_core::{Rng, SeedableRng};
        let cases = std::env::var("SUREFOOT_FUZZ_CASES").map_or(2_000, |cases| cases.parse().expect("a number"));
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let outcome = Outcome::Success(json!({"rows": [1, "two", null, {"deep": [[], {}]}]}).into()).into();
        let (began, at) = (Timestamp(1), Timestamp(2));
        let whole = encode(&Record::Settled { n: 3, began, at, outcome, attempts: Vec::new(), cached_at: None });
        let mut damaged = 0;
        for _ in 0..cases {
            let mut bytes = whole.clone();
            for _ in 0..=random.next_u32() % 4 {
                let at = 1 + random.next_u32() as usize % (bytes.len() - 1);
                bytes[at] = random.next_u32() as u8;
            }
            bytes.truncate(1 + random.next_u32() as usize % (2 * bytes.len()));
            damaged += u32::from(decode_row::<()>(&bytes, &mut Vec::new()).is_err());
            random.fill_bytes(&mut bytes[1..]);
            damaged += u32::from(decode_row::<()>(&bytes, &mut Vec::new()).is_err());
        }
        assert!(damaged > cases, "most of them are no records: {damaged}");
    }

    #[test]
    fn newer_and_damaged_records_are_told_apart() {
        assert!(matches!(decode_row::<()>(&[FORMAT + 1, 0], &mut Vec::new()), Err(DecodeError::Newer(_))));
        let whole = encode(&Record::Reply { n: 1, at: Timestamp(7), reply: Reply::Unit });
        let and = |rest: &[u8]| [&whole[..], rest].concat();
        let cut = whole[..whole.len() - 1].to_vec();
        let nothing = [vec![], vec![0], vec![FORMAT], vec![FORMAT, 0xc1], vec![FORMAT, END], cut];
        // A nil within the row is not the end of it, whatever comes after.
        let more = [and(&[END]), and(&[END, 0x91]), and(&[END, 0xda]), [&and(&[END])[..], &whole[1..]].concat()];
        for bytes in nothing.into_iter().chain(more) {
            let decoded = decode_row::<()>(&bytes, &mut Vec::new());
            assert!(matches!(decoded, Err(DecodeError::Damaged(_))), "{bytes:?}");
        }
    }
}
