//! Input rules that all connectors share: merge, validate, redact.

use serde_json::Value;

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

/// Checks `inputs` against a connector's input schema.
pub fn validate(schema: &Value, inputs: &Inputs) -> Result<(), InputError> {
    let known = schema["properties"].as_object();
    for name in inputs.keys() {
        if !known.is_some_and(|known| known.contains_key(name)) {
            let nearest = known
                .into_iter()
                .flat_map(|known| known.keys())
                .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
                .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 3))
                .min()
                .map(|(_, candidate)| candidate.clone());
            return Err(InputError::Extra { name: name.clone(), nearest });
        }
    }
    let validator = jsonschema::validator_for(schema)
        .map_err(|error| InputError::Invalid(format!("the connector's schema is broken: {error}")))?;
    let instance = Value::Object(inputs.clone());
    match validator.iter_errors(&instance).next() {
        None => Ok(()),
        Some(error) => {
            let at = error.instance_path().to_string();
            let at = at.trim_start_matches('/');
            // The message of the library quotes the value, which may be a secret.
            let text = error.masked().to_string();
            Err(InputError::Invalid(if at.is_empty() { text } else { format!("input `{at}`: {text}") }))
        }
    }
}

/// `inputs` with every secret (`writeOnly` in the schema) replaced by `"***"`.
pub fn redact(schema: &Value, inputs: &Inputs) -> Inputs {
    inputs
        .iter()
        .map(|(name, value)| {
            let secret = schema["properties"][name]["writeOnly"] == Value::Bool(true);
            (name.clone(), if secret { Value::from("***") } else { value.clone() })
        })
        .collect()
}
