//! What a webhook's record says about who may call it, and how.

use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode};
use bytes::Bytes;
use serde_json::Value;
use surefoot_connector_api::SigningSecret;
use surefoot_engine::{Engine, EngineError, Rights, Timestamp, WebhookCredential};

use super::content;
use super::input::Head;
use super::signature::{Claim, Unsigned};
use crate::access::has_digest;
use crate::caller::is_good_until;
use crate::extract::read_body_of;
use crate::problem::{Answer, Problem};

/// Length of a body that is read for the key in it, bytes.
const KEY_BODY_BYTES_MAX: usize = 1 << 20;

/// The methods that a webhook may have.
pub(crate) const METHODS: [&str; 6] = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"];

/// A webhook that is enabled.
pub(crate) struct Webhook {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Name or id of the flow.
    pub(crate) flow_id: String,
    /// Those of who saved it.
    pub(crate) rights: Rights,
    methods: Vec<&'static str>,
    is_key_required: bool,
    /// Digests of the keys that are good now.
    keys: Vec<String>,
    is_signature_required: bool,
    /// What calls may be signed with now.
    secrets: Vec<SigningSecret>,
}

impl Webhook {
    /// The enabled webhook with that name or id. One that is not enabled is not there.
    pub(crate) fn find(engine: &Engine, name: &str) -> Answer<Self> {
        match engine.webhook_for_call(name) {
            Ok(record) if record["is_enabled"] == true => Ok(Self::from_record(&record, engine.now())),
            // Not the engine's own text: it names webhooks that are near.
            Ok(_) | Err(EngineError::Refused(_)) => {
                let problem = Problem::not_found(format!("there is no webhook `{name}`"));
                Err(problem.hint("a webhook answers once it exists and is enabled"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The id of the webhook with that name or id, whether it is enabled or not.
    pub(crate) fn id_of(engine: &Engine, name: &str) -> Option<String> {
        engine.webhook_for_call(name).ok()?["id"].as_str().map(str::to_owned)
    }

    fn from_record(record: &Value, now: Timestamp) -> Self {
        let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
        let (keys, secrets) =
            (good(record, WebhookCredential::Key, now), good(record, WebhookCredential::SigningSecret, now));
        Self {
            id: text("id"),
            name: text("name"),
            flow_id: text("flow_id"),
            rights: Rights::of_saved(record),
            methods: methods(&record["methods"]),
            is_key_required: record["is_key_required"] != false,
            keys: keys.into_iter().map(str::to_owned).collect(),
            is_signature_required: record["is_signature_required"].as_bool().unwrap_or(!secrets.is_empty()),
            // What is none was refused when it was set. Nothing is signed with it.
            secrets: secrets.into_iter().filter_map(|secret| SigningSecret::parse(secret).ok()).collect(),
        }
    }

    /// 405 when the webhook does not have this method.
    pub(crate) fn check_method(&self, method: &Method) -> Answer<()> {
        if self.methods.contains(&method.as_str()) {
            return Ok(());
        }
        let detail = format!("webhook `{}` has no method {method}; it has {}", self.name, self.methods.join(", "));
        let hint = "set `methods` of the webhook to a list such as [\"POST\", \"GET\"]";
        Err(Problem::method_not_allowed(detail, Some(&self.methods)).hint(hint))
    }

    /// Reads the body of a call as far as the caller may make us: nothing of who has shown in the head already that
    /// they may not call, and little of who has yet to show it in the body. With it the id of a signed call, where
    /// calls must be signed.
    ///
    /// # Errors
    /// 401 when the call does not show what it must, 403 when there is nothing to show, 413 when it is too long.
    pub(crate) async fn admit(
        &self,
        head: &Head,
        body: Body,
        now: Timestamp,
        bytes_max: usize,
    ) -> Answer<(Bytes, Option<String>)> {
        let claim = self.claim(head, now)?;
        let is_key_shown = self.is_key_in(head)?;
        let body = match is_key_shown || claim.is_some() {
            true => read_body_of(&head.headers, body, bytes_max).await?,
            false => self.read_for_key(&head.headers, body, bytes_max).await?,
        };
        let signed_id = match claim {
            Some(claim) => Some(claim.verify(&body, &self.secrets).map_err(|reason| self.unsigned(&reason))?),
            None => None,
        };
        if !is_key_shown {
            let key = content::key_in(&head.headers, &body).await.ok_or_else(|| self.keyless())?;
            self.is_key(&key).then_some(()).ok_or_else(|| self.keyless())?;
        }
        Ok((body, signed_id))
    }

    /// A body that was sent by nobody known yet, and may show the key.
    async fn read_for_key(&self, headers: &HeaderMap, body: Body, bytes_max: usize) -> Answer<Bytes> {
        if bytes_max <= KEY_BODY_BYTES_MAX {
            return read_body_of(headers, body, bytes_max).await;
        }
        read_body_of(headers, body, KEY_BODY_BYTES_MAX).await.map_err(|problem| match problem.status() {
            StatusCode::PAYLOAD_TOO_LARGE => problem.hint(
                "send the key as header `X-Surefoot-Key` or `Authorization: Bearer KEY`: then the body may be longer",
            ),
            _ => problem,
        })
    }

    /// Whether the head shows the key, or none is wanted. 401 when nothing shows it and the body cannot.
    fn is_key_in(&self, head: &Head) -> Answer<bool> {
        if !self.is_key_required {
            return Ok(true);
        }
        if self.keys.is_empty() {
            let problem = Problem::forbidden(format!("webhook `{}` requires a key and has none yet", self.name));
            let hint = "set one with POST /api/v1/webhooks/NAME/key, or allow calls without: `is_key_required` false";
            return Err(problem.hint(hint));
        }
        match head.keys().any(|key| self.is_key(key)) {
            false if !content::may_have_key(&head.headers) => Err(self.keyless()),
            is_shown => Ok(is_shown),
        }
    }

    fn is_key(&self, key: &str) -> bool {
        self.keys.iter().any(|digest| has_digest(key, digest))
    }

    fn keyless(&self) -> Problem {
        let hint = "send it as header `X-Surefoot-Key` or `Authorization: Bearer KEY`, as `key` in the query, or as \
                    field `key` of a JSON document or a form";
        Problem::unauthorized(format!("webhook `{}` requires its key", self.name)).hint(hint)
    }

    /// What a call says of its signature, where calls must be signed; 401 when it says nothing, 403 when none can be.
    fn claim<'a>(&self, head: &'a Head, now: Timestamp) -> Answer<Option<Claim<'a>>> {
        if !self.is_signature_required {
            return Ok(None);
        }
        if self.secrets.is_empty() {
            let problem = Problem::forbidden(format!("webhook `{}` requires signatures and has no secret", self.name));
            return Err(problem.hint("set one with POST /api/v1/webhooks/NAME/signing-secret"));
        }
        Claim::of(&head.headers, now).map(Some).map_err(|reason| self.unsigned(&reason))
    }

    fn unsigned(&self, reason: &Unsigned) -> Problem {
        Problem::unauthorized(format!("the call of webhook `{}` is refused: {reason}", self.name))
            .hint("sign calls as the specification Standard Webhooks says, with the webhook's secret")
    }

    /// Whether a `key` among the parameters of a call may be the key. Where there is none, and none is required, the
    /// word is the caller's own.
    pub(crate) fn has_key(&self) -> bool {
        self.is_key_required || !self.keys.is_empty()
    }
}

/// The values of a record that are good at a time: the present one, and the one before until its time is over.
fn good(record: &Value, credential: WebhookCredential, now: Timestamp) -> Vec<&str> {
    let (present, old) = credential.fields();
    let old = &record[old];
    let is_good = old["until"].as_str().is_some_and(|until| is_good_until(until, now));
    let values = [record[present].as_str(), old["value"].as_str().filter(|_| is_good)];
    values.into_iter().flatten().filter(|value| !value.is_empty()).collect()
}

/// POST alone unless the record has a list.
pub(crate) fn methods(field: &Value) -> Vec<&'static str> {
    let Some(listed) = field.as_array() else {
        return vec!["POST"];
    };
    let is_listed =
        |method: &&str| listed.iter().filter_map(Value::as_str).any(|name| name.eq_ignore_ascii_case(method));
    METHODS.into_iter().filter(is_listed).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn post_alone_unless_listed() {
        assert_eq!(methods(&Value::Null), ["POST"]);
        assert_eq!(methods(&json!("GET")), ["POST"]);
        assert_eq!(methods(&json!(["put", "GET", "TRACE", 1])), ["GET", "PUT"]);
        assert_eq!(methods(&json!([])), [""; 0]);
    }

    #[test]
    fn a_key_is_required_unless_the_record_says_no() {
        let has_key = |record: Value| Webhook::from_record(&record, Timestamp(0)).has_key();
        assert!(has_key(json!({})));
        assert!(has_key(json!({ "is_key_required": true })));
        assert!(has_key(json!({ "is_key_required": false, "key_sha256": "ab" })));
        assert!(!has_key(json!({ "is_key_required": false })));
        assert!(!has_key(json!({ "is_key_required": false, "key_sha256": null })));
    }

    #[test]
    fn an_old_key_is_good_until_its_time_is_over() {
        let record = json!({"key_sha256": "new", "old_key": {"value": "old", "until": "1970-01-01T00:00:01Z"}});
        let at = |micros: i64| good(&record, WebhookCredential::Key, Timestamp(micros));
        assert_eq!(at(999_999), ["new", "old"]);
        assert_eq!(at(1_000_000), ["new"]);
        let damaged = json!({"key_sha256": "new", "old_key": {"value": "old", "until": "soon"}});
        assert_eq!(good(&damaged, WebhookCredential::Key, Timestamp(0)), ["new"]);
    }

    #[test]
    fn signatures_are_required_once_there_is_a_secret_unless_the_record_says_no() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let required = |record: Value| Webhook::from_record(&record, Timestamp(0)).is_signature_required;
        assert!(!required(json!({})) && required(json!({ "signing_secret": secret })));
        assert!(required(json!({ "signing_secret": "damaged" })), "and then nothing is signed");
        assert!(required(json!({ "is_signature_required": true })));
        assert!(!required(json!({ "is_signature_required": false, "signing_secret": secret })));
    }
}
