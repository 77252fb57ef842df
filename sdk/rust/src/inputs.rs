//! Inputs whose shape is not fixed.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::json_text;

/// The inputs of an execution by name. A flow whose inputs have a fixed shape takes a `struct` of its own that
/// derives `Deserialize` instead.
///
/// ```
/// use surefoot::prelude::*;
///
/// let inputs = Inputs::from_iter([("seconds", json!(3))]);
/// assert_eq!(inputs.get::<u64>("seconds")?, 3);
/// assert_eq!(inputs.get_or("name", "nobody".to_owned())?, "nobody");
/// assert_eq!(inputs.get::<u64>("minutes").unwrap_err().to_string(), "invalid input: `minutes` is missing");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Inputs {
    map: Map<String, Value>,
}

impl Inputs {
    /// The input `name`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if it is missing or of another shape.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        self.find(name)?.ok_or_else(|| Error::InvalidInput(format!("`{name}` is missing")))
    }

    /// The input `name`, or `default` if it is missing or null.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if it is of another shape.
    pub fn get_or<T: DeserializeOwned>(&self, name: &str, default: T) -> Result<T> {
        Ok(self.find(name)?.unwrap_or(default))
    }

    /// All inputs.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.map
    }

    fn find<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(value) = self.map.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
        json_text::from_value(&format!("`{name}`"), value.clone()).map(Some).map_err(|error| match error {
            Error::UnexpectedData(text) => Error::InvalidInput(text),
            other => other,
        })
    }
}

impl<K: Into<String>> FromIterator<(K, Value)> for Inputs {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(inputs: I) -> Self {
        Self { map: inputs.into_iter().map(|(name, value)| (name.into(), value)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_shape_is_an_error_even_with_a_default() {
        let inputs = Inputs::from_iter([("seconds", json!("three")), ("name", Value::Null)]);
        let expected = "invalid input: `seconds`: invalid type: string \"three\", expected u64";
        assert_eq!(inputs.get::<u64>("seconds").unwrap_err().to_string(), expected);
        assert_eq!(inputs.get_or("seconds", 1_u64).unwrap_err().to_string(), expected);
        assert_eq!(inputs.get_or("name", 1_u64), Ok(1));
    }
}
