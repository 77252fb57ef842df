//! How values are encrypted at rest: AES-256-GCM with a fresh nonce, bound to the place where they stand. Nothing of
//! this file knows what the values are for.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use serde_json::Value;

use crate::id::Entropy;
use crate::key;
use crate::store::sealed::Place;
use crate::store::{StoreError, StoreResult};

/// What a key is made of has at least this many bytes.
const KEY_BYTES_MIN: usize = 16;

/// The first byte of a sealed value: how the rest is to be read.
const FORM: u8 = 1;

/// The key of the secrets of a workspace.
#[derive(Clone)]
pub struct SecretsKey([u8; 32]);

/// What was given as a key is too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key of the secrets has less than {KEY_BYTES_MIN} bytes; make one with `openssl rand -hex 32`")]
pub struct WeakKey;

impl fmt::Debug for SecretsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl SecretsKey {
    /// From random text or bytes. White space around them does not count.
    ///
    /// # Errors
    /// When there are less than 16 bytes.
    pub fn new(material: &[u8]) -> Result<Self, WeakKey> {
        match material.trim_ascii() {
            material if material.len() < KEY_BYTES_MIN => Err(WeakKey),
            material => Ok(Self::derived(material)),
        }
    }

    /// The key of a workspace whose owner gave none: made from the file `key`.
    pub(crate) fn of_workspace(key: &[u8; 32]) -> Self {
        Self::derived(key)
    }

    /// Never change: what is out there would not open.
    fn derived(material: &[u8]) -> Self {
        let mut key = [0; 32];
        let pseudo_random = hkdf::Salt::new(hkdf::HKDF_SHA256, b"surefoot").extract(material);
        let expanded = pseudo_random.expand(&[b"secrets at rest"], hkdf::HKDF_SHA256);
        expanded.and_then(|okm| okm.fill(&mut key)).expect("HKDF-SHA-256 gives 32 bytes");
        Self(key)
    }

    /// A number that tells keys apart and nothing of them.
    pub(crate) fn check_value(&self) -> i64 {
        key::check_value(&self.0)
    }
}

/// Seals values and opens them.
pub(crate) struct Vault {
    key: LessSafeKey,
    entropy: Entropy,
}

impl Vault {
    pub(crate) fn new(key: &SecretsKey, entropy: Entropy) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &key.0).expect("AES-256 takes 32 bytes");
        Self { key: LessSafeKey::new(key), entropy }
    }

    /// What may be stored at that place.
    pub(crate) fn seal(&self, place: &Place, value: &Value) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&self.entropy.bytes32()[..NONCE_LEN]);
        let mut bytes = value.to_string().into_bytes();
        let place = Aad::from(bound(place));
        let sealed = self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), place, &mut bytes);
        sealed.expect("AES-GCM takes less than 64 GiB");
        [&[FORM][..], &nonce, &bytes].concat()
    }

    /// What was sealed for that place.
    ///
    /// # Errors
    /// `Damaged` when it was sealed with another key or for another place, or is not what was stored.
    pub(crate) fn open(&self, place: &Place, sealed: &[u8]) -> StoreResult<Value> {
        let opened = || {
            let (nonce, bytes) = sealed.strip_prefix(&[FORM])?.split_first_chunk::<NONCE_LEN>()?;
            let mut bytes = bytes.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let text = self.key.open_in_place(nonce, Aad::from(bound(place)), &mut bytes).ok()?;
            serde_json::from_slice(text).ok()
        };
        opened().ok_or_else(|| {
            let Place { kind, id, name, .. } = place;
            StoreError::Damaged(format!("`{name}` of {kind} {id} cannot be decrypted; set it again"))
        })
    }
}

/// No two places have the same: each part comes with its length.
fn bound(place: &Place) -> Vec<u8> {
    let Place { kind, id, name, version } = place;
    let mut bytes = version.to_le_bytes().to_vec();
    for part in [kind, id, name] {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(id: &str, name: &str, version: i64) -> Place {
        Place { kind: "secret".into(), id: id.into(), name: name.into(), version }
    }

    #[test]
    fn a_value_opens_with_its_key_at_its_place_alone() {
        let key = SecretsKey::of_workspace(&[7; 32]);
        let vault = Vault::new(&key, Entropy::System);
        let here = place("a", "value", 1);
        let sealed = vault.seal(&here, &"geheim".into());
        assert_eq!(vault.open(&here, &sealed).unwrap(), "geheim");
        assert_ne!(vault.seal(&here, &"geheim".into()), sealed, "each time a nonce of its own");
        for other in [place("b", "value", 1), place("a", "valu", 1), place("a", "value", 2), place("av", "alue", 1)] {
            assert!(matches!(vault.open(&other, &sealed), Err(StoreError::Damaged(_))), "{other:?}");
        }
        let other = Vault::new(&SecretsKey::new(b"another key, long enough").unwrap(), Entropy::System);
        assert!(other.open(&here, &sealed).is_err());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(vault.open(&here, &damaged).is_err(), "byte {at}");
            assert!(vault.open(&here, &sealed[..at]).is_err(), "{at} bytes");
        }
    }

    /// Databases out there hold what these keys sealed.
    #[test]
    fn keys_never_change() {
        let key = SecretsKey::new(b" 0123456789abcdef\n").unwrap();
        assert_eq!(key.check_value(), SecretsKey::new(b"0123456789abcdef").unwrap().check_value());
        let known = [-1_594_568_652_398_457_963, -3_223_270_798_411_257_116];
        assert_eq!([key.check_value(), SecretsKey::of_workspace(&[7; 32]).check_value()], known);
        assert_eq!(SecretsKey::new(b" 0123456789abcde\n").unwrap_err(), WeakKey);
        assert_eq!(format!("{key:?}"), "***");
    }
}
