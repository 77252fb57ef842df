//! The REST API over real HTTP, with a real flow: deploy, run, follow.

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use surefoot_tests::workspace::{Server, Workspace};

async fn ask(server: &Server, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Result<Value> {
    let answer = server.api(method, path).body(body).send().await?.error_for_status()?;
    Ok(serde_json::from_slice(&answer.bytes().await?)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_deployed_run_and_followed() -> Result<()> {
    let workspace = Workspace::open()?;
    let server = workspace.serve().await?;
    let component = std::fs::read(xtask::flows::component("hello")?)?;
    let size = component.len();
    let flow = ask(&server, Method::POST, "flows/my%2Fflow/deploy", component.clone()).await?;
    assert_eq!((&flow["name"], &flow["size_bytes"]), (&json!("my/flow"), &json!(size)));
    let again = ask(&server, Method::POST, "flows/my%2Fflow/deploy", component).await?;
    assert_eq!(again["version"], flow["version"]);
    let versions = ask(&server, Method::GET, "flows/my%2Fflow/versions", "").await?;
    assert_eq!(versions["rows"].as_array().map(Vec::len), Some(1), "{versions}");
    assert_eq!((&versions["rows"][0]["is_present"], &versions["rows"][0]["digest"]), (&json!(true), &flow["version"]));

    let body = json!({"input": {"n": 1}, "name": "first"}).to_string();
    let started = ask(&server, Method::POST, "flows/my%2Fflow/run", body).await?;
    let id = started["id"].as_str().unwrap();
    let row = ask(&server, Method::GET, &format!("executions/{id}/wait?timeout_ms=60000"), "").await?;
    assert_eq!((&row["status"], &row["output"]), (&json!("ENDED_SUCCESS"), &json!({"n": 1})));
    assert_eq!((&row["name"], &row["created_by"]), (&json!("first"), &json!("api")));

    let log = ask(&server, Method::GET, &format!("executions/{id}/log"), "").await?;
    let line = &log["lines"][0];
    assert_eq!(line["message"], "hello with 1 inputs");
    let after = format!("executions/{id}/log?after_call={}&after_line={}", line["call"], line["line"]);
    assert_eq!(ask(&server, Method::GET, &after, "").await?, json!({ "lines": Value::Array(Vec::new()) }));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_of_the_server_and_second_tokens_are_refused() -> Result<()> {
    let workspace = Workspace::open()?;
    let server = workspace.serve().await?;
    let refused = server.api(Method::GET, "flows").header("Host", "evil.example").send().await?;
    assert_eq!(refused.status(), StatusCode::MISDIRECTED_REQUEST);
    let refused = server.webhook(Method::POST, "hook", "").header("Host", "evil.example").send().await?;
    assert_eq!(refused.status(), StatusCode::MISDIRECTED_REQUEST);
    // Beside the right one: which of the two counts must not depend on who reads them.
    let refused = server.api(Method::GET, "flows").header("Authorization", "Bearer wrong").send().await?;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(server.api(Method::GET, "flows").send().await?.status(), StatusCode::OK);
    Ok(())
}
