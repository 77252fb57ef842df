//! Which host keys are trusted: those that the inputs name, and no others.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use russh::client::Handler;
use russh::keys::ssh_key::Fingerprint;
use russh::keys::{Algorithm, HashAlg, PublicKey, PublicKeyOrCertificate};
use surefoot_connector_api::{CallError, ErrorClass};

use super::HostInputs;
use crate::inputs::invalid;

/// The host keys that a call trusts.
#[derive(Debug)]
pub(super) enum TrustedKeys {
    /// Any: the inputs say so explicitly.
    Any,
    /// These.
    Only(Vec<TrustedKey>),
}

/// One host key that is trusted.
#[derive(Debug)]
pub(super) enum TrustedKey {
    Key(Box<PublicKey>),
    Fingerprint(Fingerprint),
}

impl TrustedKeys {
    /// What the inputs say.
    pub(super) fn from_inputs(inputs: &HostInputs) -> Result<Self, CallError> {
        let text = match (inputs.hostkey.as_deref().map(str::trim), inputs.hostkey_check) {
            (_, false) => return Ok(Self::Any),
            (None | Some(""), true) => {
                return Err(invalid(
                    "input `hostkey` is needed: the host's public key, as `ssh-keyscan HOST` prints it; \
                     or set `hostkey_check` to false to trust any host",
                ));
            }
            (Some(text), true) => text,
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys = lines.map(parse_line).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(unusable()) } else { Ok(Self::Only(keys)) }
    }

    /// The algorithms to ask the server for, so that it shows the key we know and not another one that it also has.
    /// None where any may come.
    pub(super) fn algorithms(&self) -> Option<Cow<'static, [Algorithm]>> {
        let Self::Only(keys) = self else { return None };
        let mut algorithms = Vec::new();
        for key in keys {
            match key {
                TrustedKey::Fingerprint(_) => return None,
                TrustedKey::Key(key) if key.algorithm().is_rsa() => algorithms.extend([
                    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
                    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
                ]),
                TrustedKey::Key(key) => algorithms.push(key.algorithm()),
            }
        }
        Some(algorithms.into())
    }

    fn accept(&self, key: &PublicKey) -> bool {
        let same = |trusted: &TrustedKey| match trusted {
            TrustedKey::Key(trusted) => trusted.key_data() == key.key_data(),
            TrustedKey::Fingerprint(trusted) => key.fingerprint(trusted.algorithm()) == *trusted,
        };
        match self {
            Self::Any => true,
            Self::Only(keys) => keys.iter().any(same),
        }
    }
}

fn parse_line(line: &str) -> Result<TrustedKey, CallError> {
    if line.starts_with('@') {
        return Err(invalid(
            "input `hostkey`: lines that begin with `@` (authorities, revoked keys) are not supported",
        ));
    }
    if line.starts_with("SHA256:") || line.starts_with("SHA512:") {
        return Fingerprint::from_str(line).map(TrustedKey::Fingerprint).map_err(|_| unusable());
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    // With or without the names of hosts in front.
    words
        .windows(2)
        .take(2)
        .find_map(|pair| PublicKey::from_openssh(&pair.join(" ")).ok())
        .map(|key| TrustedKey::Key(Box::new(key)))
        .ok_or_else(unusable)
}

fn unusable() -> CallError {
    invalid(
        "input `hostkey` is neither a public key (`ssh-ed25519 AAAA…`), nor a line of known_hosts, nor a fingerprint \
         (`SHA256:…`)",
    )
}

/// What a connection has shown as the host's key; shared between the connection and the one who waits for it.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenKey(Arc<OnceLock<Seen>>);

#[derive(Debug)]
struct Seen {
    fingerprint: String,
    accepted: bool,
}

impl SeenKey {
    /// The fingerprint, once a key was shown.
    pub(super) fn fingerprint(&self) -> Option<&str> {
        self.0.get().map(|seen| seen.fingerprint.as_str())
    }

    /// The error if the key was not one of the trusted ones.
    pub(super) fn rejection(&self, hostname: &str) -> Option<CallError> {
        let seen = self.0.get().filter(|seen| !seen.accepted)?;
        let message = format!(
            "the host key of {hostname} is {}, which is not the one in `hostkey`; somebody may be in between, or the \
             host was set up anew",
            seen.fingerprint
        );
        Some(CallError::not_sent(ErrorClass::Untrusted, message))
    }
}

/// Decides about the host's key during the handshake.
pub(super) struct HostKeyCheck {
    pub(super) trusted: TrustedKeys,
    pub(super) seen: SeenKey,
}

impl Handler for HostKeyCheck {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else {
            // We never ask for certificates, so a host that sends one does not keep to the protocol.
            return Ok(false);
        };
        let accepted = self.trusted.accept(key);
        let fingerprint = format!("{} ({})", key.fingerprint(HashAlg::Sha256), key.algorithm());
        // Set before: the host was asked for its key a second time, and the first one stands.
        let _ = self.seen().set(Seen { fingerprint, accepted });
        Ok(accepted)
    }
}

impl HostKeyCheck {
    fn seen(&self) -> &OnceLock<Seen> {
        &self.seen.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G2sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    fn trusted(hostkey: &str) -> Result<TrustedKeys, CallError> {
        let inputs = serde_json::json!({
            "hostname": "h", "username": "u", "password": "p", "hostkey": hostkey,
        });
        TrustedKeys::from_inputs(&serde_json::from_value(inputs).expect("inputs"))
    }

    #[test]
    fn every_form_accepts_its_key_and_no_other() {
        let key = PublicKey::from_openssh(KEY).expect("a key");
        let other = PublicKey::from_openssh(OTHER).expect("a key");
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        for form in [
            KEY.to_owned(),
            format!("{KEY} a comment"),
            format!("[host.example.com]:2222,10.0.0.1 {KEY} a comment"),
            format!("|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak= {KEY}"),
            format!("# host.example.com:22 SSH-2.0\n\n{KEY}\n"),
            fingerprint,
        ] {
            let trusted = trusted(&form).expect(&form);
            assert!(trusted.accept(&key), "{form}");
            assert!(!trusted.accept(&other), "{form}");
        }
        let both = trusted(&format!("{OTHER}\n{KEY}")).expect("two lines");
        assert!(both.accept(&key) && both.accept(&other));
    }

    #[test]
    fn nothing_usable_is_refused() {
        for form in [
            "",
            "  \n",
            "# nothing",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            "SHA256:short",
            "MD5:aa:bb",
            "@cert-authority * x y",
        ] {
            let error = trusted(form).expect_err(form);
            assert_eq!(error.class, ErrorClass::InvalidInput, "{form}");
            assert!(error.message.contains("`hostkey`"), "{error}");
        }
    }
}
