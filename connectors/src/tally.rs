//! What has flowed through a transfer: its length and its SHA-256.

use sha2::{Digest, Sha256};

/// Counts and hashes the bytes of one transfer while they pass.
#[derive(Clone, Default)]
pub(crate) struct Tally {
    size_bytes: u64,
    hash: Sha256,
}

impl Tally {
    /// Takes the next bytes into account.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }

    /// The bytes so far.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The SHA-256 of all bytes, in lower-case hexadecimal.
    pub(crate) fn sha256(self) -> String {
        hex::encode(self.hash.finalize())
    }
}
