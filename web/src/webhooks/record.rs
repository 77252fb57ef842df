//! What a webhook's record says about who may call it, and how.

use axum::http::Method;
use serde_json::Value;
use surefoot_engine::{Engine, EngineError};

use super::input::Call;
use crate::access::has_digest;
use crate::problem::{Answer, Problem};

/// The methods that a webhook may have.
const METHODS: [&str; 6] = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"];

/// A webhook that is enabled.
pub(crate) struct Webhook {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Name or id of the flow.
    pub(crate) flow_id: String,
    methods: Vec<&'static str>,
    is_key_required: bool,
    key_sha256: Option<String>,
}

impl Webhook {
    /// The enabled webhook with that name or id. One that is not enabled is not there.
    pub(crate) fn find(engine: &Engine, name: &str) -> Answer<Self> {
        match engine.webhook_for_call(name) {
            Ok(record) if record["is_enabled"] == true => Ok(Self::from_record(&record)),
            // Not the engine's own text: it names webhooks that are near.
            Ok(_) | Err(EngineError::Refused(_)) => {
                let problem = Problem::not_found(format!("there is no webhook `{name}`"));
                Err(problem.hint("a webhook answers once it exists and is enabled"))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn from_record(record: &Value) -> Self {
        let text = |field: &str| record[field].as_str().map(str::to_owned);
        Self {
            id: text("id").unwrap_or_default(),
            name: text("name").unwrap_or_default(),
            flow_id: text("flow_id").unwrap_or_default(),
            methods: methods(&record["methods"]),
            is_key_required: record["is_key_required"] != false,
            key_sha256: text("key_sha256").filter(|digest| !digest.is_empty()),
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

    /// 401 when the call does not show the key that it must, 403 when there is none to show.
    pub(crate) fn check_key(&self, call: &Call) -> Answer<()> {
        if !self.is_key_required {
            return Ok(());
        }
        let Some(digest) = &self.key_sha256 else {
            let problem = Problem::forbidden(format!("webhook `{}` requires a key and has none yet", self.name));
            let hint = "set one with POST /api/v1/webhooks/NAME/key, or allow calls without: `is_key_required` false";
            return Err(problem.hint(hint));
        };
        match call.keys().any(|key| has_digest(key, digest)) {
            true => Ok(()),
            false => {
                let problem = Problem::unauthorized(format!("webhook `{}` requires its key", self.name));
                let hint = "send it as header `X-Surefoot-Key` or `Authorization: Bearer KEY`, as `key` in the query, \
                            or as field `key` of a JSON document or a form";
                Err(problem.hint(hint))
            }
        }
    }

    /// Whether a `key` among the parameters of a call may be the key. Where there is none, and none is required, the
    /// word is the caller's own.
    pub(crate) fn has_key(&self) -> bool {
        self.is_key_required || self.key_sha256.is_some()
    }
}

/// POST alone unless the record has a list.
fn methods(field: &Value) -> Vec<&'static str> {
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
        let has_key = |record: Value| Webhook::from_record(&record).has_key();
        assert!(has_key(json!({})));
        assert!(has_key(json!({ "is_key_required": true })));
        assert!(has_key(json!({ "is_key_required": false, "key_sha256": "ab" })));
        assert!(!has_key(json!({ "is_key_required": false })));
        assert!(!has_key(json!({ "is_key_required": false, "key_sha256": null })));
    }
}
