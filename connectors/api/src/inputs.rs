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
        let known = self.schema["properties"].as_object();
        for name in inputs.as_object().into_iter().flat_map(Map::keys) {
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
        let validator = self
            .validator
            .as_ref()
            .map_err(|error| InputError::Invalid(format!("the connector's schema is broken: {error}")))?;
        if validator.is_valid(inputs) {
            return Ok(());
        }
        let Some(error) = validator.iter_errors(inputs).next() else { return Ok(()) };
        let at = error.instance_path().to_string();
        let at = at.trim_start_matches('/');
        // The message of the library quotes the value, which may be a secret.
        let text = error.masked().to_string();
        Err(InputError::Invalid(if at.is_empty() { text } else { format!("input `{at}`: {text}") }))
    }

    /// `inputs` with every secret replaced by `"***"`.
    pub fn redact(&self, inputs: &Inputs) -> Inputs {
        let shown = |(name, value): (&String, &Value)| {
            (name.clone(), if self.is_secret(name) { Value::from("***") } else { value.clone() })
        };
        inputs.iter().map(shown).collect()
    }
}
