//! Flows, as far as that goes without a component; the rest is in the end-to-end tests.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_component_is_refused() {
    let server = Server::local();
    for body in ["", "not a component", "\0asm\x01\0\0\0"] {
        server.send(Method::POST, "/api/v1/flows/f/deploy", body).await.problem(422, "invalid");
    }
    server.get("/api/v1/flows/f").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_deployed_flows_run() {
    let server = Server::local();
    server.post("/api/v1/flows/my-flow/run", json!({})).await.problem(404, "not_found");
    server.create("flows", "my-flow", json!({})).await;
    let text = server.post("/api/v1/flows/my-flow/run", json!({})).await.problem(422, "invalid");
    assert!(text.contains("deploy"), "{text}");
    let text = server.post("/api/v1/flows/my-flwo/run", json!({})).await.problem(404, "not_found");
    assert!(text.contains("did you mean `my-flow`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_takes_input_and_name_and_nothing_else() {
    let server = Server::local();
    let path = "/api/v1/flows/native%3Aconnect/run";
    let body = json!({"input": {"connector": "type:probe", "inputs": {"text": "x"}}, "name": "my run"});
    let started = server.post(path, body.clone()).await;
    let id = started.json(201)["id"].as_str().unwrap().to_owned();
    assert_eq!(started.header("location"), format!("/api/v1/executions/{id}"));
    let row = server.get(&format!("/api/v1/executions/{id}")).await.json(200);
    assert_eq!((&row["name"], &row["input"], &row["created_by"]), (&json!("my run"), &body["input"], &json!("local")));

    server.send(Method::POST, path, "").await.json(201);
    server.post(path, json!({"inputs": {}})).await.problem(422, "invalid");
    server.post(path, json!([])).await.problem(422, "invalid");
    server.send(Method::POST, path, "{").await.problem(400, "invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_of_a_flow_without_one() {
    let server = Server::local();
    server.get("/api/v1/flows/f/versions").await.problem(404, "not_found");
    server.create("flows", "f", json!({})).await;
    assert_eq!(server.get("/api/v1/flows/f/versions").await.json(200), json!({ "rows": Value::Array(Vec::new()) }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_of_an_input_is_a_schema() {
    let server = Server::local();
    let schema = json!({"type": "object", "properties": {"host": {"type": "string"}}});
    let flow = server.create("flows", "f", json!({ "input_schema": schema })).await;
    assert_eq!(flow["input_schema"], schema);
    for wrong in
        [json!({"type": 3}), json!("object"), json!([]), json!({"pattern": "("}), json!({"x": "y".repeat(70_000)})]
    {
        let text = server.patch("/api/v1/flows/f", json!({ "input_schema": wrong })).await.problem(422, "invalid");
        assert!(text.contains("`input_schema` of a flow"), "{text}");
    }
    let flow = server.patch("/api/v1/flows/f", json!({ "input_schema": null })).await.json(200);
    assert!(flow["input_schema"].is_null(), "{flow}");
}
