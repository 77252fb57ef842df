//! How calls are signed, by the specification Standard Webhooks: an HMAC over the call's id, its time and its body,
//! with a secret that both sides have.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Header with the id of a call: whoever sends it again keeps it.
pub const ID: &str = "webhook-id";
/// Header with the time of a call, seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// Header with the signatures of a call.
pub const SIGNATURE: &str = "webhook-signature";

/// Lengths of a secret, bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// What calls are signed with. It has no `Debug`.
pub struct SigningSecret(Vec<u8>);

impl SigningSecret {
    /// From `whsec_` and base64; without the prefix too, which is how some senders show it.
    ///
    /// # Errors
    /// A fragment that says what a secret looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let encoded = text.strip_prefix("whsec_").unwrap_or(text);
        match STANDARD.decode(encoded) {
            Ok(secret) if SECRET_BYTES.contains(&secret.len()) => Ok(Self(secret)),
            _ => Err(format!(
                "a signing secret is `whsec_` and {} to {} bytes in base64",
                SECRET_BYTES.start(),
                SECRET_BYTES.end()
            )),
        }
    }

    /// The signature of a call.
    pub fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The signature of a call, as its header has it.
    pub fn header(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        format!("v1,{}", STANDARD.encode(self.sign(id, timestamp, body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_24_to_64_bytes() {
        let of = |length: usize| SigningSecret::parse(&format!("whsec_{}", STANDARD.encode(vec![7; length])));
        assert!(of(24).is_ok() && of(64).is_ok() && SigningSecret::parse(&STANDARD.encode([7; 24])).is_ok());
        assert!(of(23).is_err() && of(65).is_err() && SigningSecret::parse("whsec_not-base64").is_err());
    }

    /// The example of the specification's libraries.
    #[test]
    fn the_specifications_example_is_what_we_sign() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = secret.header("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
