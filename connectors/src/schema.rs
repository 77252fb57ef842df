//! Inputs and outputs as types: the schema that users see is derived from the struct that the connector reads, so the
//! two cannot drift apart.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use surefoot_connector_api::{CallError, ErrorClass, Inputs};

/// The JSON Schema (draft 2020-12) of `T`, with nested types written in place.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Reads validated inputs into the connector's own type.
pub(crate) fn parse<T: DeserializeOwned>(inputs: &Inputs) -> Result<T, CallError> {
    // The messages of serde quote values of the wrong type; validation has run before, so no secret gets here.
    T::deserialize(Value::Object(inputs.clone()))
        .map_err(|error| CallError::not_sent(ErrorClass::InvalidInput, format!("cannot use the inputs: {error}")))
}

/// A password or key. Its schema carries `writeOnly`, and it prints as `***`.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    /// The secret itself, for the one place that sends it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "writeOnly": true })
    }
}

/// A time limit in seconds, more than none, at most a day.
#[derive(Clone, Copy, Debug, Deserialize, serde::Serialize)]
#[serde(transparent)]
pub(crate) struct Seconds(pub(crate) f64);

impl Seconds {
    /// The limit as a duration; the schema keeps nonsense out, and the clamp keeps it from a panic.
    pub(crate) fn duration(self) -> Duration {
        Duration::from_secs_f64(self.0.clamp(0.001, 86_400.0))
    }
}

impl JsonSchema for Seconds {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Seconds".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "exclusiveMinimum": 0, "maximum": 86400 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the schema counts")]
    struct Example {
        /// The password.
        password: Option<Secret>,
    }

    #[test]
    fn a_secret_is_marked_described_and_never_printed() {
        let schema = schema_of::<Example>();
        assert_eq!(schema["properties"]["password"]["writeOnly"], true, "{schema:#}");
        assert_eq!(schema["properties"]["password"]["description"], "The password.");
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(format!("{:?}", Secret("pw".into())), "***");
    }
}
