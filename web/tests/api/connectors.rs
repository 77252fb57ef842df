//! Connector types, and trying a connector.

use serde_json::json;

use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn types_tell_their_schemas() {
    let types = Server::local().get("/api/v1/connector-types").await.json(200);
    let rows = types["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["type"]), (1, &json!("probe")));
    assert_eq!(rows[0]["input_schema"]["properties"]["password"]["writeOnly"], true);
    assert!(rows[0]["description"].is_string() && rows[0]["output_schema"].is_object());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_calls_the_connector_with_what_is_stored() {
    let server = Server::local();
    let fields = json!({"type": "probe", "config": {"text": "stored", "password": "hunter2"}});
    server.create("connectors", "c", fields).await;
    let result = server.post("/api/v1/connectors/c/test", json!({})).await.json(200);
    assert_eq!((&result["ok"], &result["output"]), (&json!(true), &json!({"text": "stored", "has_password": true})));
    assert!(result["duration_ms"].is_u64() && result["error"].is_null(), "{result}");
    let id = result["execution_id"].as_str().unwrap();
    server.get(&format!("/api/v1/executions/{id}")).await.json(200);

    let result = server.post("/api/v1/connectors/c/test", json!({"inputs": {"text": "mine"}})).await.json(200);
    assert_eq!(result["output"]["text"], "mine");
    let result = server.post("/api/v1/connectors/type:probe/test", json!({"inputs": {"text": "bare"}})).await.json(200);
    assert_eq!(result["output"], json!({"text": "bare", "has_password": false}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_is_an_answer() {
    let server = Server::local();
    let body = json!({"inputs": {"fail": "no such user"}});
    let result = server.post("/api/v1/connectors/type:probe/test", body).await.json(200);
    assert_eq!((&result["ok"], &result["error"]["code"]), (&json!(false), &json!("refused")));
    assert!(result["error"]["message"].as_str().unwrap().contains("no such user"), "{result}");
    assert!(result["output"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_connectors_and_wrong_bodies() {
    let server = Server::local();
    server.post("/api/v1/connectors/none/test", json!({})).await.problem(404, "not_found");
    server.post("/api/v1/connectors/type:probe/test", json!({"input": {}})).await.problem(422, "invalid");
    server.post("/api/v1/connectors/type:probe/test", json!({"inputs": []})).await.problem(422, "invalid");
    let result = server.post("/api/v1/connectors/type:none/test", json!({})).await.json(200);
    assert_eq!(result["ok"], false, "{result}");
}
