//! How a workspace knows its own key, without keeping it: a value in the database that only this key makes.

use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::upkeep::KEY;

/// What to do about a key that cannot be used.
pub(crate) const BRING_IT_BACK: &str = "bring back the file `key` from a backup";

/// The value for a key: a part of a MAC, which tells nothing of the key.
pub(crate) fn check_value(key: &[u8; 32]) -> i64 {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(b"the key of this workspace");
    let bytes: [u8; 32] = mac.finalize().into_bytes().into();
    i64::from_be_bytes(*bytes.first_chunk().expect("a MAC is longer than that"))
}

/// The key in a data folder; none when there is none of the right length.
pub(crate) fn key_of(data: &Path) -> Option<[u8; 32]> {
    std::fs::read(data.join(KEY)).ok()?.as_slice().try_into().ok()
}

/// The value for the key in a data folder, if there is one.
pub(crate) fn check_value_of(data: &Path) -> Option<i64> {
    key_of(data).map(|key| check_value(&key))
}

#[cfg(test)]
mod tests {
    /// Databases out there hold it.
    #[test]
    fn the_check_value_never_changes() {
        assert_eq!(super::check_value(&[7; 32]), -2_681_369_434_283_327_471);
        assert_ne!(super::check_value(&[7; 32]), super::check_value(&[8; 32]));
    }
}
