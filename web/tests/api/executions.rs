//! Executions, with the built-in flow that calls one connector.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Reply, Server, encoded};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_followed_to_its_end() {
    let server = Server::local();
    let id = server.start_probe(json!({"text": "hello"})).await;
    let row = server.get(&format!("/api/v1/executions/{id}/wait?timeout_ms=60000")).await.json(200);
    assert_eq!((&row["status"], &row["output"]["text"]), (&json!("ENDED_SUCCESS"), &json!("hello")));
    assert_eq!(server.get(&format!("/api/v1/executions/{id}")).await.json(200), row);
    let listed = server.get("/api/v1/executions?limit=1").await.json(200);
    assert_eq!(listed["rows"][0]["id"], id.as_str());

    let journal = server.get(&format!("/api/v1/executions/{id}/journal")).await.json(200);
    assert_eq!(journal["records"][0]["record"], "started");
    assert!(!journal.to_string().contains("entropy"), "{journal}");
    let log = server.get(&format!("/api/v1/executions/{id}/log?after_call=0&after_line=0&limit=5")).await.json(200);
    assert!(log["lines"].is_array());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_with_its_time() {
    let server = Server::local();
    let id = server.start_probe(json!({"hang": true})).await;
    let began = Instant::now();
    let row = server.get(&format!("/api/v1/executions/{id}/wait?timeout_ms=50")).await.json(200);
    assert_eq!((&row["id"], &row["ended_at"]), (&json!(id), &Value::Null));
    assert!(began.elapsed() >= Duration::from_millis(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_what_has_not_ended() {
    let server = Server::local();
    let run = async |deadline: &str| {
        let body = json!({"input": {"connector": "type:probe", "inputs": {"hang": true}}, "deadline": deadline});
        server.post("/api/v1/flows/native:connect/run", body).await
    };
    let id = run("50ms").await.json(201)["id"].as_str().unwrap().to_owned();
    let row = server.get(&format!("/api/v1/executions/{id}/wait?timeout_ms=60000")).await.json(200);
    assert_eq!((&row["status"], &row["error_code"]), (&json!("ENDED_ERROR"), &json!("deadline")));
    assert!(row["deadline"].as_str() > row["created_at"].as_str(), "{row}");
    for (wrong, hint) in [("soon", "write a duration such as 90s"), ("2020-01-01T00:00:00Z", "has passed already")] {
        let problem = run(wrong).await.problem(422, "invalid");
        assert!(problem.contains(hint), "{problem}");
    }
    server.create("flows", "f", json!({"deadline_ms": 1000, "max_concurrent": 3, "priority": -100})).await;
    for (field, value) in [("max_concurrent", 0), ("priority", 101), ("priority", -101)] {
        server.patch("/api/v1/flows/f", json!({ field: value })).await.problem(422, "invalid");
    }
    let body = json!({"input": {"connector": "type:probe", "inputs": {}}, "priority": 7});
    let id = server.post("/api/v1/flows/native:connect/run", body).await.json(201)["id"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&format!("/api/v1/executions/{id}")).await.json(200)["priority"], 7);
    let problem = server.post("/api/v1/flows/native:connect/run", json!({"priority": 101})).await;
    assert!(problem.problem(422, "invalid").contains("-100 to 100"));
    server.patch("/api/v1/flows/f", json!({"deadline_ms": 0})).await.problem(422, "invalid");
    assert_eq!(server.patch("/api/v1/flows/f", json!({"deadline_ms": null})).await.json(200).get("deadline_ms"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_resume_cancel() {
    let server = Server::local();
    let id = server.start_probe(json!({"hang": true})).await;
    let steer = async |action: &str| server.send(Method::POST, &format!("/api/v1/executions/{id}/{action}"), "").await;
    steer("pause").await.json(200);
    steer("resume").await.json(200);
    steer("resume").await.problem(409, "conflict");
    steer("cancel").await.json(200);
    let row = server.get(&format!("/api/v1/executions/{id}/wait?timeout_ms=60000")).await.json(200);
    assert_eq!(row["status"], "ENDED_CANCELLED");
    for action in ["pause", "resume", "cancel"] {
        let text = steer(action).await.problem(409, "conflict");
        assert!(text.contains("ENDED_CANCELLED"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_are_accepted_once_durable_and_refused_after_the_end() {
    let server = Server::local();
    let id = server.start_probe(json!({"hang": true})).await;
    let path = format!("/api/v1/executions/{id}/signals/approved%2F1");
    let sent = server.post(&path, json!({"payload": {"by": "me"}, "id": "s-1"})).await.json(202);
    assert_eq!(sent, json!({ "id": "s-1" }));
    let generated = server.send(Method::POST, &path, "").await.json(202);
    assert!(!generated["id"].as_str().unwrap().is_empty());
    server.post(&path, json!({"paylaod": 1})).await.problem(422, "invalid");

    server.send(Method::POST, &format!("/api/v1/executions/{id}/cancel"), "").await.json(200);
    server.get(&format!("/api/v1/executions/{id}/wait?timeout_ms=60000")).await.json(200);
    server.post(&path, json!({})).await.problem(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_executions_and_wrong_queries() {
    let server = Server::local();
    for path in ["", "/log", "/journal", "/wait?timeout_ms=1"] {
        server.get(&format!("/api/v1/executions/none{path}")).await.problem(404, "not_found");
    }
    for path in ["cancel", "pause", "resume", "signals/s"] {
        server.send(Method::POST, &format!("/api/v1/executions/none/{path}"), "").await.problem(404, "not_found");
    }
    for query in ["log?after_call=1", "log?after_line=1", "log?limit=-1", "log?tail=1", "wait?timeout=1"] {
        server.get(&format!("/api/v1/executions/none/{query}")).await.problem(422, "invalid");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_goes_to_the_trash_and_comes_back() {
    let server = Server::local();
    let id = server.start_probe(json!({"hang": true})).await;
    let path = format!("/api/v1/executions/{id}");
    let delete = async |query: &str| server.send(Method::DELETE, &format!("{path}{query}"), "").await;
    let refusal = delete("").await.problem(409, "conflict");
    assert!(refusal.contains("has not ended"), "{refusal}");
    server.send(Method::POST, &format!("{path}/cancel"), "").await.json(200);
    server.get(&format!("{path}/wait?timeout_ms=60000")).await.json(200);

    let rows = async |query: &str| server.get(&format!("/api/v1/executions{query}")).await.json(200)["rows"].clone();
    assert_eq!(delete("").await.json(200), json!({"deleted": true}));
    assert_eq!(delete("").await.json(200), json!({"deleted": false}), "it is in the trash already");
    assert_eq!(rows("").await, json!([]));
    assert_eq!(rows("?deleted=true").await[0]["id"], id.as_str());
    assert!(server.get(&path).await.json(200)["deleted_at"].is_string(), "it can be looked at by id");
    let connection = "filter=%7B%22field%22%3A%22type%22%2C%22op%22%3A%22eq%22%2C%22value%22%3A%22CONNECTION%22%7D";
    assert_eq!(rows(&format!("?{connection}")).await, json!([]), "its connections went with it");
    assert_eq!(rows(&format!("?deleted=true&{connection}")).await[0]["parent_id"], id.as_str());

    let restore = format!("{path}/restore");
    assert!(server.send(Method::POST, &restore, "").await.json(200)["deleted_at"].is_null());
    server.send(Method::POST, &restore, "").await.problem(404, "not_found");
    assert_eq!(rows("").await[0]["id"], id.as_str());
    assert_eq!(server.send(Method::DELETE, "/api/v1/executions/none", "").await.json(200), json!({"deleted": false}));

    let system = server.get("/api/v1/system").await.json(200);
    assert_eq!((&system["executions_ended"], &system["executions_trashed"]), (&json!(1), &json!(0)));
    let bytes = |field: &str| system[field].as_u64().unwrap();
    assert!(0 < bytes("database_used_bytes") && bytes("database_used_bytes") <= bytes("database_bytes"), "{system}");
    assert_eq!(system["retention"]["executions_max"], 1_000_000);

    // Whatever is left of it for a while: the newest row of all stays until there is a newer one.
    assert_eq!(delete("?permanently=true").await.json(200), json!({"deleted": true}));
    for (method, below) in
        [(Method::GET, ""), (Method::GET, "/log"), (Method::GET, "/journal"), (Method::POST, "/rerun")]
    {
        server.send(method, &format!("{path}{below}"), "").await.problem(404, "not_found");
    }
    assert_eq!(delete("?permanently=true").await.json(200), json!({"deleted": false}));
    assert_eq!((rows("").await, rows("?deleted=true").await), (json!([]), json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_is_run_again_with_the_same_input_or_another() {
    let server = Server::local();
    let first = server.start_probe(json!({"text": "first"})).await;
    let path = format!("/api/v1/executions/{first}/rerun");
    let output = async |reply: Reply| {
        let id = reply.json(201)["id"].as_str().unwrap().to_owned();
        assert_eq!(reply.header("location"), format!("/api/v1/executions/{id}"));
        assert_ne!(id, first);
        server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200)["output"]["text"].clone()
    };
    assert_eq!(output(server.send(Method::POST, &path, "").await).await, "first");
    let edited = json!({"input": {"connector": "type:probe", "inputs": {"text": "second"}}});
    assert_eq!(output(server.post(&path, edited).await).await, "second");
    server.post("/api/v1/executions/nowhere/rerun", json!({})).await.problem(404, "not_found");
    let of_first = json!({"and": [
        {"field": "type", "op": "eq", "value": "CONNECTION"},
        {"field": "parent_id", "op": "eq", "value": first},
    ]});
    let path_of_connections = format!("/api/v1/executions?filter={}", encoded(&of_first));
    let connections = server.get(&path_of_connections).await.json(200);
    let connection = connections["rows"][0]["id"].as_str().unwrap();
    server.post(&format!("/api/v1/executions/{connection}/rerun"), json!({})).await.problem(422, "invalid");
    // A null that is given is an input, which this flow cannot use.
    let null = server.post(&path, json!({"input": null})).await.json(201)["id"].clone();
    let row = server.get(&format!("/api/v1/executions/{}/wait", null.as_str().unwrap())).await.json(200);
    assert_eq!((&row["input"], &row["status"]), (&Value::Null, &json!("ENDED_ERROR")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_goes_on_from_one_of_its_calls() {
    let server = Server::local();
    let first = server.start_probe(json!({"text": "first"})).await;
    let old = server.get(&format!("/api/v1/executions/{first}/wait")).await.json(200);
    let path = format!("/api/v1/executions/{first}/restart");
    for body in [json!({"from": 1}), json!({"from": 2, "version": "same"}), json!({"from": 1, "version": "newest"})] {
        let reply = server.post(&path, body.clone()).await;
        let id = reply.json(201)["id"].as_str().unwrap().to_owned();
        assert_eq!(reply.header("location"), format!("/api/v1/executions/{id}"));
        let row = server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200);
        assert_eq!((&row["status"], &row["output"]), (&json!("ENDED_SUCCESS"), &old["output"]), "{body}");
        assert_eq!((&row["restarted_from"], &row["restarted_from_call"]), (&json!(first), &body["from"]));
        let journal = server.get(&format!("/api/v1/executions/{id}/journal")).await.json(200);
        assert_eq!(journal["records"][0]["taken_from"], json!([{"execution": first, "before": body["from"]}]));
    }
    let of_first = json!({"field": "restarted_from", "op": "eq", "value": first});
    let restarts = server.get(&format!("/api/v1/executions?filter={}", encoded(&of_first))).await.json(200);
    assert_eq!(restarts["rows"].as_array().unwrap().len(), 3);

    for (body, hint) in [
        (json!({"from": 0}), "a rerun"),
        (json!({"from": 3}), "can be restarted from call 1 to 2"),
        (json!({}), "from"),
        (json!({"from": -1}), "u32"),
        (json!({"from": 1, "version": "old"}), "newest"),
    ] {
        let problem = server.post(&path, body).await.problem(422, "invalid");
        assert!(problem.contains(hint), "{problem}");
    }
    let restart = async |id: &str| server.post(&format!("/api/v1/executions/{id}/restart"), json!({"from": 1})).await;
    restart("nowhere").await.problem(404, "not_found");
    let problem = restart(&format!("{first}.0")).await.problem(422, "invalid");
    assert!(problem.contains(&format!("it is call 0 of execution {first}")), "{problem}");
    let running = server.start_probe(json!({"hang": true})).await;
    let problem = restart(&running).await.problem(409, "conflict");
    assert!(problem.contains("has not ended"), "{problem}");
}
