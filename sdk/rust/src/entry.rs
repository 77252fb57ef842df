//! Where the host enters a flow. The attribute's code calls [`enter`]; nobody else does.

use std::any::Any;
use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::execution::Execution;
use crate::system::System;
use crate::{host, json_text};

/// Why an execution fails, as the host is told.
#[derive(Debug, PartialEq, Eq)]
pub struct Ending {
    /// Stable, for programs.
    code: &'static str,
    /// What the user sees.
    text: String,
}

/// Reads the inputs and calls the handler. A failure ends the execution with its code; without a host, and so in
/// tests, it is the error.
pub fn enter<I: DeserializeOwned>(
    inputs: &str,
    handler: impl FnOnce(&System, &Execution, I) -> Result<String, Ending>,
) -> Result<String, String> {
    #[cfg(target_family = "wasm")]
    end_on_panic();
    let output = match read_inputs(inputs) {
        Ok(inputs) => handler(&System::new(), &Execution::new(), inputs),
        Err(error) => Err(Ending::from(error)),
    };
    output.map_err(
        |Ending { code, text }| {
            if cfg!(target_family = "wasm") { host::end_error(code, &text) } else { text }
        },
    )
}

/// The output of a handler that returns a value.
pub fn returned_value<T: Serialize>(output: T) -> Result<String, Ending> {
    serde_json::to_string(&output).map_err(|error| Ending {
        code: "invalid_output",
        text: format!("the output cannot be written as JSON: {error}"),
    })
}

/// The output of a handler that returns a `Result`. An error of this crate keeps its code; of any other it is
/// `error`, and the text has the error's whole chain where its `{:#}` shows it.
pub fn returned_result<T: Serialize, E: Display + 'static>(result: Result<T, E>) -> Result<String, Ending> {
    match result {
        Ok(output) => returned_value(output),
        Err(error) => {
            let code = (&error as &dyn Any).downcast_ref().map_or("error", Error::code);
            Err(Ending { code, text: format!("{error:#}") })
        }
    }
}

impl From<Error> for Ending {
    fn from(error: Error) -> Self {
        Self { code: error.code(), text: error.to_string() }
    }
}

/// An absent document counts as an empty object, and an empty object as `()`.
fn read_inputs<I: DeserializeOwned>(text: &str) -> Result<I, Error> {
    let text = if text.trim().is_empty() { "null" } else { text };
    let value = match json_text::decode("the inputs", text)? {
        Value::Null => Value::Object(Map::new()),
        value => value,
    };
    let nothing = value.as_object().is_some_and(Map::is_empty);
    json_text::from_value("the inputs", value).or_else(|error| {
        let unit = if nothing { serde_json::from_value(Value::Null).ok() } else { None };
        unit.ok_or(match error {
            Error::UnexpectedData(text) => Error::InvalidInput(text),
            other => other,
        })
    })
}

/// A panic would end the guest with a bare `unreachable`. The hook ends the execution first, with the panic's
/// message and place.
#[cfg(target_family = "wasm")]
fn end_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("panic with a payload that is not text");
        let text = match info.location() {
            Some(place) => format!("{message} at {place}"),
            None => message.to_owned(),
        };
        host::end_error("panic", &text)
    }));
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::inputs::Inputs;

    #[derive(Deserialize)]
    struct Sleep {
        seconds: u64,
    }

    fn seconds(inputs: &str) -> Result<String, String> {
        enter(inputs, |_, _, inputs: Sleep| returned_value(inputs.seconds))
    }

    #[test]
    fn typed_inputs_reach_the_handler() {
        assert_eq!(seconds(r#"{"seconds": 3}"#), Ok("3".into()));
    }

    #[test]
    fn wrong_inputs_say_what_and_where() {
        let cases = [
            (r#"{"seconds": "x"}"#, "invalid input: the inputs at `seconds`: invalid type: string \"x\", expected u64"),
            ("{}", "invalid input: the inputs: missing field `seconds`"),
            ("", "invalid input: the inputs: missing field `seconds`"),
        ];
        for (inputs, expected) in cases {
            assert_eq!(seconds(inputs), Err(expected.into()));
        }
        assert!(seconds("{").unwrap_err().starts_with("unexpected data: the inputs"));
    }

    #[test]
    fn no_inputs_are_an_empty_object_or_unit() {
        for text in ["", "null", "{}"] {
            assert_eq!(enter(text, |_, _, inputs: Inputs| returned_value(inputs)), Ok("{}".into()));
            assert_eq!(enter(text, |_, _, (): ()| returned_value(())), Ok("null".into()));
        }
    }

    #[test]
    fn results_become_output_or_code_and_text() {
        let failed = |code, text: &str| Err(Ending { code, text: text.into() });
        assert_eq!(returned_result(Ok::<_, Error>(json!({ "a": 1 }))), Ok(r#"{"a":1}"#.into()));
        assert_eq!(returned_result(Err::<(), _>(Error::other("no rows"))), failed("error", "no rows"));
        let missing = Error::NotFound("file `x`".into());
        assert_eq!(returned_result(Err::<(), _>(missing)), failed("not_found", "not found: file `x`"));
        let boxed: Result<(), Box<dyn std::error::Error>> = Err("not ours".into());
        assert_eq!(returned_result(boxed), failed("error", "not ours"));
        let keyed_by_list = std::collections::HashMap::from([(vec![1], 2)]);
        let text = "the output cannot be written as JSON: key must be a string";
        assert_eq!(returned_value(keyed_by_list), failed("invalid_output", text));
    }
}
