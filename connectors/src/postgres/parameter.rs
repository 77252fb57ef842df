//! From JSON to the types of PostgreSQL: as text, which the server reads by the rules of the type that it expects.

use std::error::Error;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use serde_json::{Number, Value};
use surefoot_connector_api::CallError;
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type, to_sql_checked};

use super::values::without_domains;
use crate::inputs::invalid;

/// A parameter as the server gets it. It prints as `…`, since drivers log parameters.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Parameter(Option<String>);

/// The parameter that a JSON value stands for where the server expects `kind`. `position` counts from 1, as `$1` does.
pub(super) fn convert(position: usize, kind: &Type, value: &Value) -> Result<Parameter, CallError> {
    text(kind, value).map(Parameter).map_err(|why| invalid(format!("parameter {position} is {kind}: {why}")))
}

fn text(kind: &Type, value: &Value) -> Result<Option<String>, String> {
    let kind = without_domains(kind);
    let is_json = matches!(*kind, Type::JSON | Type::JSONB);
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::String(text) if *kind == Type::BYTEA => hexadecimal(text)?,
        Value::String(text) => text.clone(),
        Value::Number(number) => digits(kind, number),
        Value::Array(values) if !is_json => match kind.kind() {
            Kind::Array(element) => list(element, values)?,
            _ => return Err("a list is no such value".into()),
        },
        Value::Object(_) if !is_json => return Err("an object is no such value".into()),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }))
}

fn hexadecimal(base64: &str) -> Result<String, String> {
    let bytes = STANDARD.decode(base64).map_err(|error| format!("give it in base64 ({error})"))?;
    Ok(format!("\\x{}", hex::encode(bytes)))
}

/// A whole number stays one where it was computed as 3.0 on its way here.
fn digits(kind: &Type, number: &Number) -> String {
    let whole = matches!(*kind, Type::INT2 | Type::INT4 | Type::INT8 | Type::OID);
    match number.as_f64() {
        Some(value) if whole && number.is_f64() && value.fract() == 0.0 => format!("{value:.0}"),
        _ => number.to_string(),
    }
}

/// The text of an array: `{"a",NULL,{…}}`.
fn list(element: &Type, values: &[Value]) -> Result<String, String> {
    let items = values.iter().map(|value| match value {
        Value::Array(inner) if !matches!(*element, Type::JSON | Type::JSONB) => list(element, inner),
        value => Ok(text(element, value)?.map_or("NULL".into(), |text| quoted(&text))),
    });
    Ok(format!("{{{}}}", items.collect::<Result<Vec<_>, String>>()?.join(",")))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl ToSql for Parameter {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match &self.0 {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use surefoot_connector_api::ErrorClass;

    fn converted(kind: Type, value: Value) -> Option<String> {
        convert(1, &kind, &value).unwrap().0
    }

    #[test]
    fn values_become_text() {
        for (kind, value, text) in [
            (Type::INT4, json!(7), "7"),
            (Type::INT8, json!(3.0), "3"),
            (Type::NUMERIC, json!(3.5), "3.5"),
            (Type::NUMERIC, json!("12345678901234567890.123"), "12345678901234567890.123"),
            (Type::FLOAT8, json!(3.0), "3.0"),
            (Type::BOOL, json!(true), "true"),
            (Type::TEXT, json!("it's"), "it's"),
            (Type::BYTEA, json!("3q0="), "\\xdead"),
            (Type::JSONB, json!({ "a": [1, null] }), r#"{"a":[1,null]}"#),
            (Type::JSON, json!([1, "x"]), r#"[1,"x"]"#),
            (Type::JSON, json!("{\"b\":2}"), r#"{"b":2}"#),
            (Type::INT4_ARRAY, json!([1, null, 2.0]), r#"{"1",NULL,"2"}"#),
            (Type::TEXT_ARRAY, json!(["a\"b\\c", "NULL", ""]), r#"{"a\"b\\c","NULL",""}"#),
            (Type::TEXT_ARRAY, json!([["a"], ["b"]]), r#"{{"a"},{"b"}}"#),
            (Type::JSONB_ARRAY, json!([{ "a": 1 }, [2]]), r#"{"{\"a\":1}","[2]"}"#),
            (Type::BYTEA_ARRAY, json!(["3q0="]), r#"{"\\xdead"}"#),
        ] {
            assert_eq!(converted(kind, value).as_deref(), Some(text));
        }
        assert_eq!(converted(Type::INT4, Value::Null), None);
    }

    #[test]
    fn what_fits_nowhere_is_refused_with_its_position() {
        for (kind, value) in [
            (Type::INT4, json!([1])),
            (Type::TEXT, json!({ "a": 1 })),
            (Type::BYTEA, json!("no base64!")),
            (Type::TEXT_ARRAY, json!([{ "a": 1 }])),
        ] {
            let error = convert(2, &kind, &value).expect_err("unusable");
            assert_eq!(error.class, ErrorClass::InvalidInput);
            assert!(error.message.contains("parameter 2"), "{error}");
        }
    }

    #[test]
    fn a_parameter_is_never_printed() {
        let parameter = convert(1, &Type::TEXT, &json!("a secret")).unwrap();
        assert_eq!(format!("{parameter:?}"), "…");
    }
}
