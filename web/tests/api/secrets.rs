//! Secrets over the API: written by admins, read by nobody, used by connectors.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::Server;

const SECRET: &str = "correct \"horse\" bätterie";

async fn everything(server: &Server) -> String {
    let mut shown = String::new();
    for path in ["secrets", "secrets?deleted=true", "connectors", "executions", "audit", "settings"] {
        shown += &server.get(&format!("/api/v1/{path}")).await.json(200).to_string();
    }
    let rows = server.get("/api/v1/executions").await.json(200);
    for row in rows["rows"].as_array().unwrap() {
        for what in ["", "/journal", "/log"] {
            let path = format!("/api/v1/executions/{}{what}", row["id"].as_str().unwrap());
            shown += &server.get(&path).await.json(200).to_string();
        }
    }
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_written_and_never_read() {
    let server = Server::local();
    let fields = json!({"name": "db", "value": SECRET, "description": "of the database"});
    let made = server.post("/api/v1/secrets", fields).await.json(201);
    assert_eq!((&made["version"], &made["description"]), (&json!(1), &json!("of the database")));
    assert!(made["value"].is_null() && made["value_set_at"].is_string(), "{made}");

    let described = server.patch("/api/v1/secrets/db", json!({"description": "of another one"})).await.json(200);
    assert_eq!((&described["version"], &described["value_set_at"]), (&json!(1), &made["value_set_at"]));
    let rotated = server.patch("/api/v1/secrets/db", json!({"value": format!("{SECRET}!")})).await.json(200);
    assert_eq!((&rotated["version"], &rotated["description"]), (&json!(2), &json!("of another one")));
    let revision = rotated["revision"].clone();
    let stale = json!({"value": "a third one", "revision": revision.as_i64().unwrap() - 1});
    server.patch("/api/v1/secrets/db", stale).await.problem(409, "conflict");
    server.patch("/api/v1/secrets/db", json!({"value": "a third one", "revision": revision})).await.json(200);

    server.send(Method::DELETE, "/api/v1/secrets/db", "").await.json(200);
    server.get("/api/v1/secrets/db").await.problem(404, "not_found");
    let id = made["id"].as_str().unwrap();
    let restored = server.post(&format!("/api/v1/secrets/{id}/restore"), json!({})).await.json(200);
    assert_eq!(restored["version"], 3);
    server.send(Method::DELETE, "/api/v1/secrets/db?permanently=true", "").await.json(200);

    let shown = everything(&server).await;
    assert!(!shown.contains("horse") && !shown.contains("a third one"), "{shown}");
    let audit = server.get("/api/v1/audit?order=created_at").await.json(200);
    let told: Vec<_> = audit["rows"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(told, ["create", "update", "update", "update", "delete", "restore", "delete_permanently"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_no_secret_is_refused() {
    let server = Server::local();
    for wrong in [
        json!({"name": "s"}),
        json!({"name": "s", "value": ""}),
        json!({"name": "s", "value": null}),
        json!({"name": "s", "value": 7}),
        json!({"name": "a b", "value": "long enough"}),
        json!({"name": "s", "value": "x".repeat((64 << 10) + 1)}),
        json!({"name": "s", "value": "long enough", "version": 7}),
    ] {
        server.post("/api/v1/secrets", wrong).await.problem(422, "invalid");
    }
    server.post("/api/v1/secrets", json!({"name": "s", "value": "long enough"})).await.json(201);
    server.post("/api/v1/secrets", json!({"name": "s", "value": "long enough"})).await.problem(409, "conflict");
    server.patch("/api/v1/secrets/s", json!({"value": null})).await.problem(422, "invalid");
    server.patch("/api/v1/secrets/none", json!({"value": "long enough"})).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_uses_a_secret_that_nobody_sees() {
    let server = Server::local();
    server.post("/api/v1/secrets", json!({"name": "pw", "value": SECRET})).await.json(201);
    let config = json!({"text": "secret(pw)", "password": "secret(pw)"});
    let shown = server.create("connectors", "c", json!({"type": "probe", "config": config})).await;
    assert_eq!(shown["config"], json!({"text": "secret(pw)", "password": "secret(pw)"}), "a reference is shown");
    let result = server.post("/api/v1/connectors/c/test", json!({})).await.json(200);
    assert_eq!(result["output"], json!({"text": "***", "has_password": true}), "it was used, and echoed: {result}");

    // What a call passes in clear may come from anybody.
    let result = server.post("/api/v1/connectors/c/test", json!({"inputs": {"text": "secret(pw)"}})).await.json(200);
    assert_eq!(result["output"]["text"], "secret(pw)");
    let inputs = json!({"inputs": {"password": "tried-in-vain", "fail": "no tried-in-vain here"}});
    let result = server.post("/api/v1/connectors/c/test", inputs).await.json(200);
    assert_eq!(result["error"]["message"], "no *** here");

    // The secret stays as long as a connector names it. What a call passes may name one that is not there.
    let named = json!({"inputs": {"password": "secret(gone)"}});
    let result = server.post("/api/v1/connectors/c/test", named).await.json(200);
    let message = result["error"]["message"].as_str().unwrap();
    assert!(message.contains("there is no secret `gone`"), "{result}");
    let shown = everything(&server).await;
    assert!(!shown.contains("horse"), "{shown}");
    // The input is what the caller gave.
    assert_eq!(shown.matches("in-vain").count(), 2, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_a_project_is_for_its_connectors() {
    let server = Server::local();
    let project = server.create("projects", "mine", json!({})).await["id"].clone();
    let secret = json!({"name": "pw", "value": SECRET, "project_id": project});
    server.post("/api/v1/secrets", secret).await.json(201);
    let config = json!({"type": "probe", "config": {"password": "secret(pw)"}});
    server.create("connectors", "c", config).await;
    let test = async || server.post("/api/v1/connectors/c/test", json!({})).await.json(200);
    let refused = test().await;
    assert!(refused["error"]["message"].as_str().unwrap().contains("belongs to another project"), "{refused}");
    server.patch("/api/v1/connectors/c", json!({"project_id": project})).await.json(200);
    assert_eq!(test().await["output"]["has_password"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_input_is_shown_as_stars_and_kept() {
    let server = Server::local();
    let config = |password: Value| json!({"type": "probe", "config": {"text": "hunter2 it is", "password": password}});
    server
        .post("/api/v1/connectors", json!({"name": "c", "type": "probe", "config": {"password": "***"}}))
        .await
        .problem(422, "invalid");
    let shown = server.create("connectors", "c", config(json!("hunter2"))).await;
    assert_eq!(shown["config"]["password"], "***");
    let shown = server.patch("/api/v1/connectors/c", config(json!("***"))).await.json(200);
    assert_eq!(shown["config"]["password"], "***");
    let result = server.post("/api/v1/connectors/c/test", json!({})).await.json(200);
    assert_eq!(result["output"], json!({"text": "*** it is", "has_password": true}));
    let shown = server.patch("/api/v1/connectors/c", json!({"config": {"text": "hunter2 it is"}})).await.json(200);
    assert!(shown["config"]["password"].is_null());
    let result = server.post("/api/v1/connectors/c/test", json!({})).await.json(200);
    assert_eq!(result["output"], json!({"text": "hunter2 it is", "has_password": false}), "nothing knows it now");
}
