//! Input rules that all connectors share: merge, validate, redact.

use serde_json::{Map, Value};

use crate::Inputs;

/// Why inputs were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// An input that the schema does not know.
    #[error("unknown input `{name}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    Extra {
        /// What was passed.
        name: String,
        /// The nearest known input, when one is near.
        nearest: Option<String>,
    },
    /// A missing input, or one of the wrong shape.
    #[error("{0}")]
    Invalid(String),
}

/// Stored configuration overridden by the call's inputs. A `null` in the call removes the stored value.
pub fn merge(stored: &Inputs, call: &Inputs) -> Inputs {
    let mut merged = stored.clone();
    for (name, value) in call {
        if value.is_null() {
            merged.remove(name);
        } else {
            merged.insert(name.clone(), value.clone());
        }
    }
    merged
}

/// What a schema says about inputs, made ready once: a call is checked in microseconds.
#[derive(Debug)]
pub struct InputRules {
    schema: Value,
    validator: Result<jsonschema::Validator, String>,
}

/// Longer names are shown in part, and not compared: that takes time and memory with the product of both lengths.
const NAME_BYTES_MAX: usize = 256;

impl InputRules {
    /// The rules of a connector's input schema.
    pub fn new(schema: Value) -> Self {
        let validator = jsonschema::validator_for(&schema).map_err(|error| error.to_string());
        Self { schema, validator }
    }

    /// The schema.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Whether the input holds a secret (`writeOnly` in the schema).
    pub fn is_secret(&self, name: &str) -> bool {
        self.schema["properties"][name]["writeOnly"] == Value::Bool(true)
    }

    /// Checks `inputs` against the schema.
    pub fn validate(&self, inputs: &Value) -> Result<(), InputError> {
        self.check_names(inputs.as_object().into_iter().flat_map(Map::keys))?;
        self.check_values(inputs, false)
    }

    fn check_names<'a>(&self, names: impl Iterator<Item = &'a String>) -> Result<(), InputError> {
        let known = self.schema["properties"].as_object();
        for name in names {
            if !known.is_some_and(|known| known.contains_key(name)) {
                let nearest = known
                    .into_iter()
                    .filter(|_| name.len() <= NAME_BYTES_MAX)
                    .flat_map(|known| known.keys())
                    .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
                    .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 3))
                    .min()
                    .map(|(_, candidate)| candidate.clone());
                return Err(InputError::Extra { name: name.chars().take(NAME_BYTES_MAX).collect(), nearest });
            }
        }
        Ok(())
    }

    /// Checks inputs that are stored: each for itself, since a call may bring what is missing. What is no secret shows
    /// no password.
    pub fn validate_stored(&self, inputs: &Inputs) -> Result<(), InputError> {
        self.check_names(inputs.keys())?;
        if let Some((name, _)) = inputs.iter().find(|(name, value)| !self.is_secret(name) && has_password(value)) {
            return Err(InputError::Invalid(format!(
                "input `{name}`: an address with a password in it would be shown; leave the password out, and \
                 give it in an input that is secret"
            )));
        }
        // A reference is replaced by its value, which nobody knows yet; what is redacted is stored already.
        let is_known =
            |value: &Value| value.as_str().is_none_or(|text| text != REDACTED && secret_reference(text).is_none());
        let known = inputs.iter().filter(|(_, value)| is_known(value) && !value.is_null());
        let known = known.map(|(name, value)| (name.clone(), value.clone()));
        self.check_values(&Value::Object(known.collect()), true)
    }

    fn check_values(&self, inputs: &Value, is_part: bool) -> Result<(), InputError> {
        let validator = self
            .validator
            .as_ref()
            .map_err(|error| InputError::Invalid(format!("the connector's schema is broken: {error}")))?;
        if validator.is_valid(inputs) {
            return Ok(());
        }
        // What is wrong with the inputs as a whole is what belongs together.
        let mut errors = validator.iter_errors(inputs);
        let error = errors.find(|error| !is_part || !error.instance_path().to_string().is_empty());
        let Some(error) = error else { return Ok(()) };
        let at = error.instance_path().to_string();
        let at = at.trim_start_matches('/');
        // The message of the library quotes the value, which may be a secret.
        let text = error.masked().to_string();
        Err(InputError::Invalid(if at.is_empty() { text } else { format!("input `{at}`: {text}") }))
    }

    /// `inputs` with every secret replaced by `"***"`. What only names a secret of the workspace stays.
    pub fn redact(&self, inputs: &Inputs) -> Inputs {
        let is_shown =
            |name: &str, value: &Value| !self.is_secret(name) || value.as_str().and_then(secret_reference).is_some();
        let shown = |(name, value): (&String, &Value)| {
            (name.clone(), if is_shown(name, value) { value.clone() } else { REDACTED.into() })
        };
        inputs.iter().map(shown).collect()
    }
}

/// Whether it is an address such as `https://name:password@host`.
fn has_password(value: &Value) -> bool {
    let authority = value.as_str().and_then(|text| text.split_once("://")?.1.split(['/', '?', '#']).next());
    let user = authority.and_then(|authority| authority.rsplit_once('@'));
    user.is_some_and(|(user, _)| user.contains(':'))
}

/// What stands in the place of a secret wherever something is shown or recorded.
pub const REDACTED: &str = "***";

/// The name in `secret(NAME)`, a text that stands for the value of a secret of the workspace; none in any other text.
pub fn secret_reference(text: &str) -> Option<&str> {
    text.strip_prefix("secret(")?.strip_suffix(')').filter(|name| is_secret_name(name))
}

/// Whether a secret may have that name: letters and digits of ASCII, `_`, `-` and `.`.
pub fn is_secret_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_the_whole_text() {
        assert_eq!(secret_reference("secret(db-password.v2)"), Some("db-password.v2"));
        for other in ["", "secret()", "secret(a b)", "secret(a)b", " secret(a)", "secret(a", "secret(a))", "Secret(a)"]
        {
            assert_eq!(secret_reference(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_stored_is_checked_as_far_as_it_goes() {
        let schema = serde_json::json!({
            "properties": {"url": {"type": "string"}, "port": {"type": "integer"}, "password": {"writeOnly": true}},
            "required": ["url"],
        });
        let rules = InputRules::new(schema);
        let refused = |inputs: Value| {
            let checked = rules.validate_stored(inputs.as_object().expect("an object"));
            checked.err().map(|error| error.to_string()).unwrap_or_default()
        };
        for good in [
            serde_json::json!({}),
            serde_json::json!({"port": 1, "password": "***"}),
            serde_json::json!({"port": "secret(port)", "url": null}),
            serde_json::json!({"url": "https://user@host/a:b@c"}),
            serde_json::json!({"password": "https://user:word@host"}),
        ] {
            assert_eq!(refused(good.clone()), "", "{good}");
        }
        assert!(refused(serde_json::json!({"prot": 1})).contains("did you mean `port`"));
        assert!(refused(serde_json::json!({"port": "one"})).contains("input `port`"));
        let shown = refused(serde_json::json!({"url": "https://user:hunter2@host/"}));
        assert!(shown.contains("input `url`") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn secrets_are_redacted_and_their_names_are_not() {
        let schema = serde_json::json!({"properties": {"user": {}, "password": {"writeOnly": true}}});
        let rules = InputRules::new(schema);
        let redact = |value: Value| Value::Object(rules.redact(value.as_object().expect("an object")));
        for (inputs, shown) in [
            (serde_json::json!({"user": "u", "password": "p"}), serde_json::json!({"user": "u", "password": "***"})),
            (serde_json::json!({"password": "secret(a)"}), serde_json::json!({"password": "secret(a)"})),
            (serde_json::json!({"password": {"a": "secret(a)"}}), serde_json::json!({"password": "***"})),
        ] {
            assert_eq!(redact(inputs), shown);
        }
    }
}
