//! Between values and the JSON text of the contract. Says in every error which value was meant.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};

/// Writes a value as JSON text. `what` names the value in the error.
pub(crate) fn encode<T: Serialize + ?Sized>(what: &str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| unwritable(what, &error))
}

/// Turns a value into a JSON value. `what` names the value in the error.
pub(crate) fn to_value<T: Serialize>(what: impl FnOnce() -> String, value: T) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| unwritable(&what(), &error))
}

/// Reads a value from JSON text that came from the host.
pub(crate) fn decode<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).or_else(|_| {
        // Once more, for the place of what is wrong.
        let mut reader = serde_json::Deserializer::from_str(text);
        serde_path_to_error::deserialize(&mut reader).map_err(|error| unreadable(what, error))
    })
}

/// Reads a value from a JSON value.
pub(crate) fn from_value<T: DeserializeOwned>(what: &str, value: Value) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| unreadable(what, error))
}

/// Reads a value of any shape; for evidence and log fields, where a value that cannot be written must not
/// end the flow: the reason takes its place.
pub(crate) fn to_value_or_reason<T: Serialize>(value: T) -> Value {
    serde_json::to_value(value).unwrap_or_else(|error| Value::String(format!("cannot be written as JSON: {error}")))
}

fn unwritable(what: &str, error: &serde_json::Error) -> Error {
    Error::InvalidInput(format!("{what} cannot be written as JSON: {error}"))
}

fn unreadable(what: &str, error: serde_path_to_error::Error<serde_json::Error>) -> Error {
    let path = error.path().to_string();
    let place = if path == "." { String::new() } else { format!(" at `{path}`") };
    Error::UnexpectedData(format!("{what}{place}: {}", error.inner()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn an_unreadable_value_names_itself_and_the_place() {
        let error = from_value::<HashMap<String, u8>>("setting `retention`", json!({ "days": "ten" })).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unexpected data: setting `retention` at `days`: invalid type: string \"ten\", expected u8"
        );
    }

    #[test]
    fn an_unwritable_value_is_an_error_for_inputs_and_a_reason_for_evidence() {
        let keyed_by_list = HashMap::from([(vec![1], 2)]);
        let error = encode("input `map`", &keyed_by_list).unwrap_err();
        assert_eq!(error.to_string(), "invalid input: input `map` cannot be written as JSON: key must be a string");
        assert_eq!(to_value_or_reason(&keyed_by_list), json!("cannot be written as JSON: key must be a string"));
    }
}
