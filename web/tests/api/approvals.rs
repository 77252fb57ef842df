//! What executions ask, where nothing is asked. Questions and answers over real HTTP are in the end-to-end tests, which
//! have flows that ask.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use surefoot_web::{Access, Options};

use crate::support::{Reply, Server};

const TOKEN: &str = "/approve/sfa_0123456789abcdef0123456789abcdef";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_of_nobody() {
    let server = Server::local();
    assert_eq!(server.get("/api/v1/approvals").await.json(200), json!({"rows": [], "next": null}));
    let open = crate::support::encoded(&json!({"field": "status", "op": "eq", "value": "open"}));
    let filtered = server.get(&format!("/api/v1/approvals?filter={open}&order=expires_at&deleted=true")).await;
    assert_eq!(filtered.json(200)["rows"], json!([]));
    let unknown = crate::support::encoded(&json!({"field": "token_sha256", "op": "eq", "value": ""}));
    server.get(&format!("/api/v1/approvals?filter={unknown}")).await.problem(422, "invalid");
    server.get("/api/v1/approvals/none").await.problem(404, "not_found");
    server.post("/api/v1/approvals/none/answer", json!({"payload": 1})).await.problem(404, "not_found");
    server.post("/api/v1/approvals/none/answer", json!({"paylaod": 1})).await.problem(422, "invalid");
    server.send(Method::DELETE, "/api/v1/approvals/none", "").await.problem(405, "method_not_allowed");
}

fn is_kept_private(reply: &Reply) {
    assert_eq!((reply.header("referrer-policy"), reply.header("cache-control")), ("no-referrer", "no-store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_token_is_refused_as_a_page_and_as_json() {
    let server = Server::local();
    let page = server.get(TOKEN).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (404, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    is_kept_private(&page);

    let request = |method, content_type: &str, body: &str| {
        let request = Request::builder().method(method).uri(TOKEN).header("accept", "application/json");
        request.header("content-type", content_type).body(Body::from(body.to_owned())).unwrap()
    };
    let refused = server.request(request(Method::GET, "", "")).await;
    refused.problem(404, "not_found");
    is_kept_private(&refused);
    let refused = server.request(request(Method::POST, "application/json", r#"{"payload": 1}"#)).await;
    refused.problem(404, "not_found");
    is_kept_private(&refused);
    server.request(request(Method::POST, "application/json", "{")).await.problem(400, "invalid");
    server.request(request(Method::POST, "text/plain", "go=true")).await.problem(400, "invalid");
    let form = server.request(request(Method::POST, "application/x-www-form-urlencoded", "go=true")).await;
    assert_eq!((form.status.as_u16(), form.header("content-type")), (404, "text/html; charset=utf-8"));
    server.send(Method::PUT, TOKEN, "").await.problem(405, "method_not_allowed");
}

/// Who mails links to the page has it answer on a name of its own; any other name is still refused.
#[tokio::test(flavor = "multi_thread")]
async fn no_token_of_the_api_is_asked_for_but_an_allowed_host() {
    let server = Server::local();
    let access = Access::Remote { hosts: vec!["surefoot.example".to_owned()], token_sha256: String::new() };
    let router = server.with(Options::new(access));
    let get = async |host: &str| {
        let request = Request::builder().uri(TOKEN).header("host", host).header("accept", "application/json");
        crate::support::send(&router, request.body(Body::empty()).unwrap()).await
    };
    get("surefoot.example").await.problem(404, "not_found");
    get("evil.example").await.problem(421, "misdirected");
}

#[test]
fn the_page_is_described_beside_its_json() {
    let document = surefoot_web::openapi();
    let responses = &document["paths"]["/approve/{token}"]["post"]["responses"];
    let types = |status: &str| -> Vec<&str> {
        responses[status]["content"].as_object().unwrap().keys().map(String::as_str).collect()
    };
    assert_eq!(types("200"), ["application/json", "text/html; charset=utf-8"]);
    assert_eq!(types("409"), ["application/problem+json", "text/html; charset=utf-8"]);
    assert_eq!(document["paths"]["/approve/{token}"]["get"]["security"], Value::Array(Vec::new()));
}
