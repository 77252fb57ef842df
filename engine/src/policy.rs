//! What the engine does around a call of a connector: how long an attempt may take, when it is tried again, and for how
//! long a result may serve others. Nothing is performed here.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use surefoot_connector_api::{CallError, Effect, ErrorClass, Sent};

use crate::clock::Timestamp;
use crate::id::Entropy;

/// The policy of a call: that of the stored connector, with the parts that the call brings in place of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallPolicy {
    /// How long one attempt may take, milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// When a failed attempt is followed by another.
    #[serde(default)]
    pub retry: Option<Retry>,
    /// Of a call that reads: how old the result of an equal call may be that serves instead, milliseconds.
    #[serde(default)]
    pub cache_ms: Option<u64>,
}

/// When a failed attempt is followed by another. Of a write only an attempt is repeated of which it is certain that
/// nothing was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, the first included: 1 to 100.
    pub attempts: u32,
    /// Pause after the first attempt, milliseconds; it doubles from one attempt to the next. Half of each pause is left
    /// to chance.
    #[serde(default = "backoff_ms")]
    pub backoff_ms: u64,
    /// The longest pause, milliseconds.
    #[serde(default = "backoff_max_ms")]
    pub backoff_max_ms: u64,
    /// The classes of failures that are tried again.
    #[serde(default = "classes")]
    pub on: Vec<ErrorClass>,
    /// No attempt begins later than that after the first one, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

const ATTEMPTS_MAX: u32 = 100;

/// A call may rest no longer than that between two attempts, milliseconds: a flow that wants to wait longer sleeps.
const PAUSE_MAX: u64 = 3_600_000;

fn backoff_ms() -> u64 {
    1000
}

fn backoff_max_ms() -> u64 {
    60_000
}

fn classes() -> Vec<ErrorClass> {
    vec![ErrorClass::Network, ErrorClass::Timeout, ErrorClass::StaleTarget]
}

impl CallPolicy {
    /// The fields of a connector's record that are its policy.
    pub(crate) const FIELDS: [&str; 3] = ["timeout_ms", "retry", "cache_ms"];

    /// The policy in a document, checked; other members of it are passed over.
    pub(crate) fn of(document: &Map<String, Value>) -> Result<Self, String> {
        let mut own = Map::new();
        for field in Self::FIELDS {
            if let Some(value) = document.get(field).filter(|value| !value.is_null()) {
                own.insert(field.to_owned(), value.clone());
            }
        }
        if own.is_empty() {
            return Ok(Self::default());
        }
        serde_path_to_error::deserialize::<_, Self>(Value::Object(own))
            .map_err(|error| match error.path().to_string().as_str() {
                "." => error.inner().to_string(),
                path => format!("`{path}`: {}", error.inner()),
            })?
            .checked()
    }

    /// The policy that a call brings, as text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let policy: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        policy.checked()
    }

    /// With the parts of `over` in place of its own.
    pub(crate) fn overridden(self, over: Self) -> Self {
        Self {
            timeout_ms: over.timeout_ms.or(self.timeout_ms),
            retry: over.retry.or(self.retry),
            cache_ms: over.cache_ms.or(self.cache_ms),
        }
    }

    fn checked(self) -> Result<Self, String> {
        if self.timeout_ms == Some(0) {
            return Err("`timeout_ms` must be at least 1".into());
        }
        if let Some(retry) = &self.retry {
            if !(1..=ATTEMPTS_MAX).contains(&retry.attempts) {
                return Err(format!("`retry.attempts` must be from 1 to {ATTEMPTS_MAX}, not {}", retry.attempts));
            }
            if retry.backoff_ms > PAUSE_MAX || retry.backoff_max_ms > PAUSE_MAX {
                return Err(format!(
                    "pauses of `retry` are at most {PAUSE_MAX} ms; let the flow sleep for longer ones"
                ));
            }
            if retry.on.is_empty() {
                return Err("`retry.on` names no class of failures; leave `retry` out instead".into());
            }
        }
        Ok(self)
    }
}

impl Retry {
    /// When the attempt after `attempt` (from 1) begins, if there is to be one.
    pub(crate) fn again_at(
        &self,
        (effect, error): (Effect, &CallError),
        attempt: u32,
        first: Timestamp,
        now: Timestamp,
        entropy: &Entropy,
    ) -> Option<Timestamp> {
        let is_safe = effect != Effect::Write || error.sent == Sent::No;
        if attempt >= self.attempts || !is_safe || !self.on.contains(&error.class) {
            return None;
        }
        let pause = self.backoff_ms.saturating_mul(1 << (attempt - 1).min(32)).min(self.backoff_max_ms);
        let chance = u64::from_le_bytes(entropy.bytes32()[..8].try_into().expect("8 of 32 bytes"));
        let pause = pause - pause / 2 + chance % (pause / 2 + 1);
        let at = now.after(Duration::from_millis(pause));
        let latest = self.deadline_ms.map(|deadline| first.after(Duration::from_millis(deadline)));
        latest.is_none_or(|latest| at <= latest).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(document: Value) -> Result<CallPolicy, String> {
        CallPolicy::of(document.as_object().unwrap())
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (document, says) in [
            (json!({"retry": {"attempts": 0}}), "`retry.attempts` must be from 1 to 100, not 0"),
            (json!({"retry": {"attempts": 2, "on": []}}), "`retry.on` names no class of failures"),
            (json!({"retry": {"attempts": 2, "on": ["neverland"]}}), "`retry.on[0]`: unknown variant `neverland`"),
            (json!({"retry": {"attempts": 2, "back_off": 1}}), "`retry.back_off`: unknown field `back_off`"),
            (json!({"retry": {"attempts": 2, "backoff_ms": 3_600_001}}), "let the flow sleep"),
            (json!({"retry": {}}), "missing field `attempts`"),
            (json!({"timeout_ms": 0}), "`timeout_ms` must be at least 1"),
            (json!({"timeout_ms": "1 s"}), "`timeout_ms`: invalid type"),
        ] {
            let said = of(document.clone()).unwrap_err();
            assert!(said.contains(says), "{document}: {said}");
        }
        assert_eq!(of(json!({"name": "x", "retry": null})).unwrap(), CallPolicy::default());
        assert!(CallPolicy::parse(r#"{"timeout": 1}"#).unwrap_err().contains("unknown field `timeout`"));
    }

    #[test]
    fn a_call_brings_its_own_parts() {
        let stored = of(json!({"timeout_ms": 5, "retry": {"attempts": 2}, "cache_ms": 7})).unwrap();
        let own = of(json!({"retry": {"attempts": 9}})).unwrap();
        let both = stored.overridden(own);
        assert_eq!((both.timeout_ms, both.retry.unwrap().attempts, both.cache_ms), (Some(5), 9, Some(7)));
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_half_of_each_is_chance() {
        let retry = of(json!({"retry": {"attempts": 100, "backoff_ms": 100, "backoff_max_ms": 1000}})).unwrap().retry;
        let (retry, entropy) = (retry.unwrap(), Entropy::seeded(1));
        let lost = CallError::unknown(ErrorClass::Network, "lost");
        let now = Timestamp(1_000_000);
        for (attempt, longest) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (99, 1000)] {
            let pauses: Vec<u64> = (0..200)
                .map(|_| {
                    let at = retry.again_at((Effect::Read, &lost), attempt, now, now, &entropy).unwrap();
                    u64::try_from(at.since(now).as_millis()).unwrap()
                })
                .collect();
            assert!(pauses.iter().all(|pause| (longest / 2..=longest).contains(pause)), "{attempt}: {pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{attempt}: {pauses:?}");
        }
        assert_eq!(retry.again_at((Effect::Read, &lost), 100, now, now, &entropy), None);
    }

    /// DESIGN: a failed write is tried again only when nothing was sent.
    #[test]
    fn a_write_that_may_have_happened_is_never_tried_again() {
        let retry = of(json!({"retry": {"attempts": 2, "deadline_ms": 500}})).unwrap().retry.unwrap();
        let (now, entropy) = (Timestamp(1_000_000), Entropy::seeded(1));
        let again = |effect, error: CallError| retry.again_at((effect, &error), 1, now, now, &entropy).is_some();
        let network = ErrorClass::Network;
        // The pause of a second is longer than the deadline.
        assert!(!again(Effect::Read, CallError::unknown(network, "")));
        let retry = Retry { deadline_ms: Some(1000), ..retry };
        let again = |effect, error: CallError| retry.again_at((effect, &error), 1, now, now, &entropy).is_some();
        for effect in [Effect::Read, Effect::Idempotent] {
            assert!(again(effect, CallError::unknown(network, "")));
            assert!(!again(effect, CallError::unknown(ErrorClass::Auth, "")), "it is not among the classes");
        }
        assert!(again(Effect::Write, CallError::not_sent(network, "")));
        assert!(!again(Effect::Write, CallError::unknown(network, "")));
        assert!(!again(Effect::Write, CallError::rejected(network, "")));
    }
}
