//! The connector `echo`.

use std::time::Duration;

use serde_json::{Value, json};
use surefoot_connector_api::{CallError, Connector, Effect, ErrorClass, Sent};
use surefoot_connectors::echo::Echo;
use surefoot_tests::connector_harness::{CallOptions, TestFiles, call, call_with};

async fn echo(inputs: Value) -> Result<Value, CallError> {
    call(&Echo, &TestFiles::new(), inputs).await
}

#[tokio::test]
async fn gives_back_any_value() {
    for value in [json!(1), json!("text"), json!([1, { "a": null }]), json!({ "deep": { "er": [] } }), Value::Null] {
        assert_eq!(echo(json!({ "value": value })).await.unwrap(), json!({ "value": value }));
    }
    assert_eq!(echo(json!({})).await.unwrap(), json!({ "value": null }));
}

#[tokio::test(start_paused = true)]
async fn waits_as_long_as_told_and_otherwise_not_at_all() {
    let start = tokio::time::Instant::now();
    echo(json!({ "value": 1, "delay_ms": 0 })).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    echo(json!({ "value": 1, "delay_ms": 1500 })).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(1500));
}

#[tokio::test]
async fn fails_on_demand() {
    let fail = json!({ "class": "stale_target", "message": "moved", "sent": "rejected" });
    let error = echo(json!({ "value": 1, "fail": fail })).await.expect_err("told to fail");
    assert_eq!((error.class, error.sent), (ErrorClass::StaleTarget, Sent::Rejected));
    assert_eq!(error.message, "moved");
}

#[tokio::test]
async fn is_dropped_when_the_time_is_over() {
    let options = CallOptions { timeout: Duration::from_millis(50), ..CallOptions::default() };
    let start = tokio::time::Instant::now();
    let inputs = json!({ "value": 1, "delay_ms": 60_000 });
    let error = call_with(&Echo, &TestFiles::new(), inputs, &options).await.expect_err("too slow");
    assert_eq!(error.class, ErrorClass::Timeout);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn refuses_inputs_that_it_does_not_know() {
    for inputs in [json!({ "valeu": 1 }), json!({ "delay_ms": -1 }), json!({ "fail": { "class": "no such" } })] {
        let error = echo(inputs.clone()).await.expect_err("not in the schema");
        assert_eq!(error.class, ErrorClass::InvalidInput, "{inputs}");
    }
}

#[test]
fn has_the_effect_that_the_call_names() {
    let effect = |inputs: Value| Echo.effect(inputs.as_object().unwrap());
    assert_eq!(effect(json!({ "value": 1 })), Effect::Read);
    assert_eq!(effect(json!({ "effect": "idempotent" })), Effect::Idempotent);
    assert_eq!(effect(json!({ "effect": "write" })), Effect::Write);
}

#[test]
fn all_types_are_known_by_name_and_describe_themselves() {
    let all = surefoot_connectors::all();
    let names: Vec<&str> = all.iter().map(|connector| connector.type_name()).collect();
    assert_eq!(names, ["echo", "ftp", "http", "mssql", "mysql", "postgres", "scp", "sftp", "smtp", "ssh"]);
    for connector in all {
        assert!(!connector.description().is_empty());
        for schema in [connector.input_schema(), connector.output_schema()] {
            assert_eq!(schema["type"], "object", "{}", connector.type_name());
            assert_eq!(schema["additionalProperties"], false, "{}", connector.type_name());
            assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        }
    }
}
