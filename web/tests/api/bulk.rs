//! Actions on all that match.

use serde_json::{Value, json};

use crate::support::Server;

async fn act(server: &Server, path: &str, body: Value) -> (Value, Value) {
    let done = server.post(&format!("/api/v1/bulk/{path}"), body).await.json(200);
    (done["matched"].clone(), done["done"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_match_are_cancelled_and_no_others() {
    let server = Server::local();
    let mut hanging = Vec::new();
    for _ in 0..3 {
        hanging.push(server.start_probe(json!({"hang": true})).await);
    }
    let other = server.start_probe(json!({"hang": true})).await;
    let ended = server.start_probe(json!({})).await;
    server.get(&format!("/api/v1/executions/{ended}/wait")).await.json(200);
    let ids: Vec<&String> = hanging.iter().chain([&ended]).collect();
    let filter = json!({"field": "id", "op": "in", "value": ids});

    let dry = act(&server, "executions/cancel", json!({"filter": filter, "dry_run": true})).await;
    assert_eq!(dry, (json!(4), json!(0)));
    let done = server.post("/api/v1/bulk/executions/cancel", json!({ "filter": filter })).await.json(200);
    assert_eq!((&done["matched"], &done["done"], &done["refused"]), (&json!(4), &json!(3), &json!(1)), "{done}");
    assert_eq!(done["refusals"][0]["id"], ended.as_str());
    assert!(done["refusals"][0]["reason"].as_str().unwrap().contains("ENDED_SUCCESS"), "{done}");
    for id in &hanging {
        let row = server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200);
        assert_eq!(row["status"], "ENDED_CANCELLED");
    }
    let row = server.get(&format!("/api/v1/executions/{other}")).await.json(200);
    assert_eq!(row["ended_at"], Value::Null);

    let gone = act(&server, "executions/delete", json!({ "filter": filter })).await;
    assert_eq!(gone, (json!(4), json!(4)));
    let row = server.get(&format!("/api/v1/executions/{ended}")).await.json(200);
    assert!(row["deleted_at"].is_string(), "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_one_is_done_to_many() {
    let server = Server::local();
    server.create("flows", "x", json!({})).await;
    for name in ["a", "b"] {
        server.create("webhooks", name, json!({"flow_id": "x"})).await;
    }
    let all = json!({"filter": {"and": []}});
    assert_eq!(act(&server, "webhooks/enable", all.clone()).await, (json!(2), json!(2)));
    assert_eq!(server.get("/api/v1/webhooks/a").await.json(200)["is_enabled"], true);
    assert_eq!(act(&server, "webhooks/disable", all).await, (json!(2), json!(2)));
    let paused = server.start_probe(json!({"hang": true})).await;
    let one = json!({"filter": {"field": "id", "op": "eq", "value": paused}});
    assert_eq!(act(&server, "executions/pause", one.clone()).await, (json!(1), json!(1)));
    assert_eq!(server.get(&format!("/api/v1/executions/{paused}")).await.json(200)["status"], "PAUSED");
    assert_eq!(act(&server, "executions/resume", one).await, (json!(1), json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_must_be_named_and_right() {
    let server = Server::local();
    let path = "/api/v1/bulk/executions/cancel";
    server.post(path, json!({})).await.problem(422, "invalid");
    server.post(path, json!({"filter": null})).await.problem(422, "invalid");
    let near = json!({"filter": {"field": "nmae", "op": "eq", "value": 1}});
    assert!(server.post(path, near).await.problem(422, "invalid").contains("did you mean `name`"));
    server.post("/api/v1/bulk/settings/delete", json!({"filter": {"and": []}})).await.problem(404, "not_found");
}
