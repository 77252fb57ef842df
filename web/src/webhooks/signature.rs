//! Whether a call is signed, by the specification Standard Webhooks. How calls are signed is in
//! [`surefoot_connector_api`], since our own are signed the same way.

use std::time::Duration;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use surefoot_connector_api::SigningSecret;
pub(crate) use surefoot_connector_api::signature::{ID, SIGNATURE, TIMESTAMP};
use surefoot_engine::Timestamp;

/// How far the time of a call may be from the server's.
const TOLERANCE: Duration = Duration::from_secs(300);

/// Length of a call's id, bytes.
const ID_MAX: usize = 255;

/// Why a call does not count as signed, a fragment for its caller.
pub(crate) type Unsigned = String;

/// What a call says of its signature, before anybody has looked whether that is true.
pub(crate) struct Claim<'a> {
    id: &'a str,
    timestamp: &'a str,
    signatures: &'a str,
}

impl<'a> Claim<'a> {
    /// The claim of a call whose time is near. It takes no body: who signs nothing needs to send none.
    pub(crate) fn of(headers: &'a HeaderMap, now: Timestamp) -> Result<Self, Unsigned> {
        let [id, timestamp, signatures] = [ID, TIMESTAMP, SIGNATURE].map(|name| {
            let mut values = headers.get_all(name).iter();
            match (values.next().map(|value| value.to_str()), values.next()) {
                (Some(Ok(value)), None) if !value.is_empty() => Ok(value),
                _ => Err(format!("it must be signed, and has not one header `{name}`")),
            }
        });
        let (id, timestamp, signatures) = (id?, timestamp?, signatures?);
        if id.len() > ID_MAX {
            return Err(format!("its `{ID}` is longer than {ID_MAX} bytes"));
        }
        check_time(timestamp, now)?;
        Ok(Self { id, timestamp, signatures })
    }

    /// The id of a call that is signed with one of these secrets. Whoever sends a call again keeps its id.
    pub(crate) fn verify(&self, body: &[u8], secrets: &[SigningSecret]) -> Result<String, Unsigned> {
        let signed: Vec<_> = secrets.iter().map(|secret| secret.sign(self.id, self.timestamp, body)).collect();
        let fits = |signature: &str| {
            let signature = signature.strip_prefix("v1,").and_then(|encoded| STANDARD.decode(encoded).ok());
            signature.is_some_and(|signature| signed.iter().any(|signed| signed.ct_eq(&signature).into()))
        };
        match self.signatures.split(' ').any(fits) {
            true => Ok(self.id.to_owned()),
            false => Err("its signature is not made with the secret of this webhook, for this body".to_owned()),
        }
    }
}

/// A call that somebody has kept is good for as long as the tolerance only.
fn check_time(timestamp: &str, now: Timestamp) -> Result<(), Unsigned> {
    let seconds: i64 =
        timestamp.parse().map_err(|_| format!("its `{TIMESTAMP}` is no number of seconds since 1970"))?;
    let at = Timestamp(seconds.saturating_mul(1_000_000));
    let apart = at.since(now).max(now.since(at));
    if apart > TOLERANCE {
        let direction = if at < now { "before" } else { "after" };
        let tolerance = TOLERANCE.as_secs();
        return Err(format!("its `{TIMESTAMP}` is more than {tolerance} s {direction} the server's time, {now}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const AT: Timestamp = Timestamp(1_614_265_330_000_000);

    fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
        let pairs = [(ID, id), (TIMESTAMP, timestamp), (SIGNATURE, signature)];
        pairs.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn verified(headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<String, Unsigned> {
        let other = SigningSecret::parse(&STANDARD.encode([7; 24])).unwrap();
        Claim::of(headers, now)?.verify(body, &[other, SigningSecret::parse(SECRET).unwrap()])
    }

    #[test]
    fn the_specifications_example_is_signed() {
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let of = |signature: &str| verified(&headers(id, "1614265330", signature), BODY, AT);
        assert_eq!(of(SIGNED).unwrap(), id);
        assert_eq!(of(&format!("v1,AAAA v2,{} v1a,x {SIGNED}", "A".repeat(40))).unwrap(), id);
        for wrong in [&SIGNED[..SIGNED.len() - 4], "v1,", "v1", &SIGNED[3..], &SIGNED.replace("v1", "v2")] {
            assert!(of(wrong).unwrap_err().contains("signature"), "{wrong}");
        }
        assert!(verified(&headers(id, "1614265330", SIGNED), b"{}", AT).is_err(), "another body");
        assert!(verified(&headers("msg_2", "1614265330", SIGNED), BODY, AT).is_err(), "another id");
        assert!(verified(&headers(id, "1614265331", SIGNED), BODY, AT).is_err(), "another time");
        let signed = headers(id, "1614265330", SIGNED);
        assert!(Claim::of(&signed, AT).unwrap().verify(BODY, &[]).is_err(), "no secret");
    }

    #[test]
    fn the_time_is_near_on_either_side() {
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let at = |now: Timestamp| verified(&headers(id, "1614265330", SIGNED), BODY, now);
        assert!(at(AT.after(TOLERANCE)).is_ok() && at(AT.before(TOLERANCE)).is_ok());
        let more = TOLERANCE + Duration::from_micros(1);
        assert!(at(AT.after(more)).unwrap_err().contains("300 s before"));
        assert!(at(AT.before(more)).unwrap_err().contains("300 s after"));
        for timestamp in ["", "now", "1614265330.5", "99999999999999999999", "-9223372036854775808"] {
            assert!(verified(&headers(id, timestamp, SIGNED), BODY, AT).is_err(), "{timestamp}");
        }
    }

    #[test]
    fn each_header_is_there_once() {
        let all = headers("a", "1614265330", SIGNED);
        for name in [ID, TIMESTAMP, SIGNATURE] {
            let mut less = all.clone();
            less.remove(name);
            assert!(verified(&less, BODY, AT).unwrap_err().contains(name));
            let mut more = all.clone();
            more.append(name, all[name].clone());
            assert!(verified(&more, BODY, AT).unwrap_err().contains(name));
        }
    }
}
