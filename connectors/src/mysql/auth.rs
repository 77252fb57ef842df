//! How a password is proved to the server, method by method.

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The methods of servers that are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// By SHA-1, the default of MariaDB and of MySQL before 8.
    Native,
    /// By SHA-256, the default of MySQL since 8. A server that does not remember the password asks for it in clear.
    CachingSha2,
    /// In clear; used with LDAP, PAM and clouds.
    Clear,
}

impl Method {
    /// The method of that name.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"mysql_native_password" => Some(Self::Native),
            b"caching_sha2_password" => Some(Self::CachingSha2),
            b"mysql_clear_password" | b"sha256_password" => Some(Self::Clear),
            _ => None,
        }
    }

    /// Its name in the protocol.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Native => "mysql_native_password",
            Self::CachingSha2 => "caching_sha2_password",
            Self::Clear => "mysql_clear_password",
        }
    }

    /// The proof for the server's `challenge`; none where the password would have to be shown, which only an encrypted
    /// connection may see.
    pub(super) fn proof(self, password: &str, challenge: &[u8], encrypted: bool) -> Option<Vec<u8>> {
        match self {
            Self::Clear if encrypted => Some(in_clear(password)),
            Self::Clear => None,
            _ if password.is_empty() => Some(Vec::new()),
            Self::Native => Some(native(password, challenge)),
            Self::CachingSha2 => Some(caching_sha2(password, challenge)),
        }
    }
}

/// The password as it is shown.
pub(super) fn in_clear(password: &str) -> Vec<u8> {
    [password.as_bytes(), b"\0"].concat()
}

fn native(password: &str, challenge: &[u8]) -> Vec<u8> {
    let once = Sha1::digest(password);
    let twice = Sha1::digest(once);
    let mask = Sha1::new().chain_update(challenge).chain_update(twice).finalize();
    once.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect()
}

fn caching_sha2(password: &str, challenge: &[u8]) -> Vec<u8> {
    let once = Sha256::digest(password);
    let twice = Sha256::digest(once);
    let mask = Sha256::new().chain_update(twice).chain_update(challenge).finalize();
    once.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &[u8] = b"twenty bytes of salt";

    /// What a server does that knows nothing but the hash of the hash.
    #[test]
    fn a_server_can_check_the_proofs() {
        let proof = Method::CachingSha2.proof("secret", CHALLENGE, false).unwrap();
        let stored = Sha256::digest(Sha256::digest("secret"));
        let mask = Sha256::new().chain_update(stored).chain_update(CHALLENGE).finalize();
        let once: Vec<u8> = proof.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
        assert_eq!(Sha256::digest(once), stored);

        let proof = Method::Native.proof("secret", CHALLENGE, false).unwrap();
        let stored = Sha1::digest(Sha1::digest("secret"));
        let mask = Sha1::new().chain_update(CHALLENGE).chain_update(stored).finalize();
        let once: Vec<u8> = proof.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
        assert_eq!(Sha1::digest(once), stored);
    }

    #[test]
    fn a_password_is_shown_on_an_encrypted_connection_only() {
        assert_eq!(Method::Clear.proof("secret", CHALLENGE, false), None);
        assert_eq!(Method::Clear.proof("secret", CHALLENGE, true).unwrap(), b"secret\0");
    }

    #[test]
    fn no_password_is_no_proof() {
        for method in [Method::Native, Method::CachingSha2] {
            assert_eq!(method.proof("", CHALLENGE, false).unwrap(), b"");
            assert_eq!(Method::named(method.name().as_bytes()), Some(method));
        }
    }
}
