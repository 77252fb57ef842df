//! Inputs that several connectors have in common: a second name for the same thing, and the override of the effect.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use surefoot_connector_api::{CallError, Effect, ErrorClass, Inputs};

/// The one value among inputs that mean the same. Two of them at once are refused, since either could be the one meant.
///
/// ```text
/// either([("hostname", inputs.hostname), ("host", inputs.host)])
/// ```
pub(crate) fn either<T, const N: usize>(synonyms: [(&'static str, Option<T>); N]) -> Result<Option<T>, CallError> {
    let mut found: Option<(&'static str, T)> = None;
    for (name, value) in synonyms {
        let Some(value) = value else { continue };
        if let Some((other, _)) = found {
            return Err(invalid(format!("inputs `{other}` and `{name}` mean the same; give one of them")));
        }
        found = Some((name, value));
    }
    Ok(found.map(|(_, value)| value))
}

/// Inputs that cannot be used; nothing was sent.
pub(crate) fn invalid(message: impl Into<String>) -> CallError {
    CallError::not_sent(ErrorClass::InvalidInput, message)
}

/// The effect that the call named in its input `effect`, if it did.
pub(crate) fn effect_override(inputs: &Inputs) -> Option<Effect> {
    Effect::deserialize(inputs.get("effect")?).ok()
}

/// Stands for [`Effect`] in schemas: `#[schemars(with = "Option<EffectName>")]`.
pub(crate) struct EffectName;

impl JsonSchema for EffectName {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Effect".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": [Effect::Read, Effect::Idempotent, Effect::Write] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn synonyms_may_be_given_once() {
        assert_eq!(either([("hostname", Some("a")), ("host", None)]).unwrap(), Some("a"));
        assert_eq!(either([("hostname", None), ("host", Some("b"))]).unwrap(), Some("b"));
        assert_eq!(either::<&str, 2>([("hostname", None), ("host", None)]).unwrap(), None);
        let error = either([("hostname", Some("a")), ("host", Some("a"))]).expect_err("both are given");
        assert_eq!(error.class, ErrorClass::InvalidInput);
        assert!(error.message.contains("`hostname` and `host`"), "{error}");
    }

    #[test]
    fn every_effect_of_the_schema_is_understood() {
        let schema = EffectName::json_schema(&mut SchemaGenerator::default()).to_value();
        for value in schema["enum"].as_array().unwrap() {
            let inputs = Inputs::from_iter([("effect".to_owned(), value.clone())]);
            assert_eq!(json!(effect_override(&inputs).unwrap()), *value);
        }
        assert_eq!(effect_override(&Inputs::new()), None);
    }
}
