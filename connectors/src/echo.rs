//! `echo`: gives back what it gets, after a delay, or fails on demand. For demonstrations, tests and benchmarks.
//!
//! It opens no connection. Without a delay it sets no timer and never yields, so that a benchmark with it measures the
//! engine and not the connector.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, ErrorClass, Inputs, Sent};

use crate::inputs::{EffectName, effect_override};
use crate::schema;

/// The connector type `echo`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

/// Inputs of a call.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EchoInputs {
    /// What the output `value` gives back: any JSON. Absent: null.
    #[serde(default)]
    #[schemars(default)]
    #[expect(dead_code, reason = "taken out of the inputs before the rest of them is read")]
    value: Value,
    /// How long the call takes, in milliseconds; at most a day. 0 or absent: no time at all.
    #[schemars(range(max = 86_400_000))]
    delay_ms: Option<u64>,
    /// The effect that the engine assumes: `read` (default), `idempotent` or `write`.
    #[schemars(with = "Option<EffectName>")]
    #[expect(dead_code, reason = "read by `Connector::effect`")]
    effect: Option<Effect>,
    /// Makes the call fail, after the delay.
    fail: Option<Fail>,
}

/// The failure that a call asks for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fail {
    /// The class of the error.
    #[schemars(schema_with = "error_class_schema")]
    class: ErrorClass,
    /// The message of the error.
    message: String,
    /// What the error says about the effect.
    #[schemars(schema_with = "sent_schema")]
    sent: Sent,
}

/// Outputs of a call.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct EchoOutputs {
    /// The input `value`.
    value: Value,
}

static INPUT_SCHEMA: LazyLock<Value> = LazyLock::new(schema::schema_of::<EchoInputs>);
static OUTPUT_SCHEMA: LazyLock<Value> = LazyLock::new(schema::schema_of::<EchoOutputs>);

#[async_trait]
impl Connector for Echo {
    fn type_name(&self) -> &'static str {
        "echo"
    }

    fn description(&self) -> &'static str {
        "Gives back its input, for demonstrations, tests and benchmarks"
    }

    fn input_schema(&self) -> Value {
        INPUT_SCHEMA.clone()
    }

    fn output_schema(&self) -> Value {
        OUTPUT_SCHEMA.clone()
    }

    fn effect(&self, inputs: &Inputs) -> Effect {
        effect_override(inputs).unwrap_or(Effect::Read)
    }

    async fn call(&self, _: &CallContext<'_>, mut inputs: Inputs) -> Result<Value, CallError> {
        let value = inputs.remove("value").unwrap_or_default();
        if !inputs.is_empty() {
            let rest: EchoInputs = schema::parse(&inputs)?;
            if let Some(delay_ms) = rest.delay_ms.filter(|delay_ms| *delay_ms > 0) {
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            }
            if let Some(Fail { class, message, sent }) = rest.fail {
                return Err(CallError { class, sent, message, peer_code: None });
            }
        }
        Ok(json!({ "value": value }))
    }
}

fn error_class_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": ALL_CLASSES.map(ErrorClass::code) })
}

fn sent_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": [Sent::No, Sent::Rejected, Sent::Unknown] })
}

const ALL_CLASSES: [ErrorClass; 11] = [
    ErrorClass::Network,
    ErrorClass::Auth,
    ErrorClass::StaleTarget,
    ErrorClass::Untrusted,
    ErrorClass::Egress,
    ErrorClass::NotFound,
    ErrorClass::Refused,
    ErrorClass::Protocol,
    ErrorClass::InvalidInput,
    ErrorClass::Timeout,
    ErrorClass::Storage,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_offers_what_the_parser_takes() {
        let schema = Echo.input_schema();
        let fail = &schema["properties"]["fail"];
        let fail = fail.get("anyOf").map_or(fail, |choices| &choices[0]);
        for class in fail["properties"]["class"]["enum"].as_array().unwrap() {
            for sent in fail["properties"]["sent"]["enum"].as_array().unwrap() {
                let fail = Fail::deserialize(json!({ "class": class, "message": "m", "sent": sent })).unwrap();
                assert_eq!(json!(fail.class), *class);
                assert_eq!(json!(fail.sent), *sent);
            }
        }
    }
}
