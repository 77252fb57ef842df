//! Which host calls there are, and the digest by which a replay recognises one.

use std::hash::Hasher;

use hmac::{Hmac, KeyInit, Mac};
use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use sha2::Sha256;
use siphasher::sip128::{Hasher128, SipHasher24};
use strum::{EnumString, FromRepr, IntoStaticStr};

/// The host calls that leave an entry. Their numbers are part of the digest: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr, FromRepr)]
#[repr(u8)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the contract's own; its documentation is in flow.wit")]
pub enum CallKind {
    Get = 1,
    Check = 2,
    Metric = 3,
    Section = 4,
    Sleep = 5,
    SleepUntil = 6,
    Poll = 7,
    StartConnection = 8,
    StartFlow = 9,
    Wait = 10,
    Cancel = 11,
    WaitSignal = 12,
    OnEnd = 13,
    RecordGet = 14,
    RecordSave = 15,
    RecordDelete = 16,
    RecordQuery = 17,
    FileStat = 18,
    FileRead = 19,
    FileWrite = 20,
    FileDelete = 21,
    Ask = 22,
    WaitAnswer = 23,
    Lock = 24,
    Unlock = 25,
}

/// A number in journals, a name for people.
impl Serialize for CallKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.serialize_str(self.into()),
            false => serializer.serialize_u8(*self as u8),
        }
    }
}

impl<'de> Deserialize<'de> for CallKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CallKindVisitor)
    }
}

/// Takes both: format 1 has names.
struct CallKindVisitor;

impl Visitor<'_> for CallKindVisitor {
    type Value = CallKind;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the number or the name of a host call")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<CallKind, E> {
        let kind = u8::try_from(number).ok().and_then(CallKind::from_repr);
        kind.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<CallKind, E> {
        name.parse().map_err(|_| E::invalid_value(Unexpected::Str(name), &self))
    }
}

/// How the digests of an execution's calls are made. It stands in the journal's first record, since every replay has to
/// make them the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
#[repr(u8)]
pub enum DigestVersion {
    /// The first 16 bytes of an HMAC-SHA256 of documents in their canonical form.
    #[default]
    Canonical = 1,
    /// SipHash-2-4 with 128 bits, of documents as their text was passed.
    Text = 2,
}

impl DigestVersion {
    /// Of executions that begin now.
    pub const NEWEST: Self = Self::Text;
}

impl From<DigestVersion> for u8 {
    fn from(version: DigestVersion) -> Self {
        version as Self
    }
}

impl TryFrom<u8> for DigestVersion {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        let known = [Self::Canonical, Self::Text].into_iter().find(|version| *version as u8 == number);
        known.ok_or_else(|| format!("digests of version {number} never existed"))
    }
}

/// Keyed by the workspace: inputs may hold secrets, and the digest must not give them away.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(#[serde(with = "serde_bytes")] [u8; 16]);

impl Digest {
    /// Itself, to be looked up by.
    pub(crate) fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A call as the guest made it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which call.
    pub kind: CallKind,
    /// Of exactly what the guest passed.
    pub digest: Digest,
    /// What it passed, redacted, for people.
    pub args: Value,
}

/// Computes digests with the workspace's key.
#[derive(Clone)]
pub struct Digester {
    mac: Hmac<Sha256>,
    sip: SipHasher24,
}

impl Digester {
    /// With the workspace's key.
    pub fn new(key: &[u8; 32]) -> Self {
        let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        let mut of_sip = mac.clone();
        of_sip.update(b"digests of calls");
        Self { mac, sip: SipHasher24::new_with_key(&truncated(of_sip)) }
    }

    /// The digest of a call: `parts` are exactly what the guest passed, in order.
    ///
    /// SipHash is a pseudorandom function: without the key its values tell nothing of what they are of, and another
    /// call has the same 128 bits once in 2¹²⁸ times. Calls are short, and of those it takes less than half the time of
    /// an HMAC.
    pub fn digest<'a>(
        &self,
        version: DigestVersion,
        kind: CallKind,
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Digest {
        match version {
            DigestVersion::Canonical => {
                let mut mac = self.mac.clone();
                feed(kind, parts, |bytes| mac.update(bytes));
                Digest(truncated(mac))
            }
            DigestVersion::Text => {
                let mut sip = self.sip;
                feed(kind, parts, |bytes| sip.write(bytes));
                Digest(sip.finish128().as_bytes())
            }
        }
    }

    /// The key that every attempt of one write carries, secret to everybody but its peer.
    pub fn idempotency_key(&self, execution: &str, call: u32) -> String {
        let mut mac = self.mac.clone();
        mac.update(b"idempotency");
        mac.update(execution.as_bytes());
        mac.update(&call.to_le_bytes());
        hex::encode(truncated(mac))
    }

    /// What only who was told it can show, to answer the question with that id.
    pub fn approval_token(&self, id: &str) -> String {
        let mut mac = self.mac.clone();
        mac.update(b"approval");
        mac.update(id.as_bytes());
        hex::encode(truncated(mac))
    }
}

/// What a digest is of: no two calls that differ are the same bytes.
fn feed<'a>(kind: CallKind, parts: impl IntoIterator<Item = &'a [u8]>, mut take: impl FnMut(&[u8])) {
    take(&[kind as u8]);
    for part in parts {
        take(&(part.len() as u64).to_le_bytes());
        take(part);
    }
}

/// JSON text whose bytes depend on the value alone: object keys sorted, no space.
///
/// Digests are made from this, so it must never change. A map's own order would depend on how serde_json was built.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut text = Vec::with_capacity(128);
    write_canonical(value, &mut text);
    text
}

/// Like [`canonical`], of the members of an object.
pub fn canonical_object(object: &Map<String, Value>) -> Vec<u8> {
    let mut text = Vec::with_capacity(128);
    write_canonical_object(object, &mut text);
    text
}

fn write_canonical_object(object: &Map<String, Value>, text: &mut Vec<u8>) {
    let mut members: Vec<_> = object.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    text.push(b'{');
    for (index, (name, member)) in members.into_iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        write_plain(name, text);
        text.push(b':');
        write_canonical(member, text);
    }
    text.push(b'}');
}

fn write_canonical(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::Object(object) => write_canonical_object(object, text),
        Value::Array(items) => {
            text.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                write_canonical(item, text);
            }
            text.push(b']');
        }
        scalar => write_plain(scalar, text),
    }
}

fn write_plain(value: &(impl Serialize + ?Sized), text: &mut Vec<u8>) {
    serde_json::to_writer(text, value).expect("strings and scalars are plain JSON, and memory takes them");
}

fn truncated(mac: Hmac<Sha256>) -> [u8; 16] {
    let bytes = mac.finalize().into_bytes();
    let mut digest = [0; 16];
    digest.copy_from_slice(&bytes[..16]);
    digest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn canonical_text_is_fixed() {
        let value = json!({"b": [1, 2.5, null, true], "a": {"z": "\"ü\n", "y": {}}});
        assert_eq!(canonical(&value), r#"{"a":{"y":{},"z":"\"ü\n"},"b":[1,2.5,null,true]}"#.as_bytes());
    }

    /// Stored in every journal: a change here makes every execution that is under way fail as nondeterministic.
    #[test]
    fn digests_are_fixed() {
        for (version, expected) in [
            (DigestVersion::Canonical, "ce220b5756be8e3eb421be2c61a7dd12"),
            (DigestVersion::Text, "d48f4a92f41db93946058e1caada6790"),
        ] {
            let of = |key: u8, kind, parts: [&[u8]; 2]| Digester::new(&[key; 32]).digest(version, kind, parts);
            let digest = of(7, CallKind::Sleep, [b"ab", b""]);
            assert_eq!(format!("{digest:?}"), expected);
            assert_ne!(digest, of(7, CallKind::Sleep, [b"a", b"b"]));
            assert_ne!(digest, of(7, CallKind::Poll, [b"ab", b""]));
            assert_ne!(digest, of(8, CallKind::Sleep, [b"ab", b""]));
        }
    }
}
