//! Where there is nothing, or not by that method, and bodies that are too long.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;
use surefoot_web::{Access, Options};

use crate::support::{Server, send};

#[tokio::test(flavor = "multi_thread")]
async fn health() {
    let server = Server::local();
    let health = server.get("/healthz").await;
    assert_eq!(health.json(200)["status"], "ok");
    assert!(health.json(200)["version"].as_str().unwrap().contains('.'));
    assert_eq!(health.header("x-content-type-options"), "nosniff");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_routes_name_near_ones() {
    let server = Server::local();
    assert!(server.get("/api/v1/flow").await.problem(404, "not_found").contains("/api/v1/flows"));
    assert!(
        server.get("/api/v1/execution/x/log").await.problem(404, "not_found").contains("/api/v1/executions/{id}/log")
    );
    for path in ["/favicon.ico", "/api/v2/flows", "//api/v1/flows", "/api/v1/flows/a/b/c/d"] {
        assert!(server.get(path).await.problem(404, "not_found").contains("/api/v1"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_methods_are_told_the_right_ones() {
    let server = Server::local();
    let cases = [
        (Method::POST, "/healthz", "GET,HEAD"),
        (Method::PUT, "/api/v1/flows", "GET,HEAD,POST"),
        (Method::PUT, "/api/v1/flows/x", "GET,HEAD,DELETE,PATCH"),
        (Method::PUT, "/api/v1/executions/x", "GET,HEAD,DELETE"),
        (Method::PUT, "/api/v1/files/x", "GET,HEAD,DELETE"),
        (Method::GET, "/api/v1/flows/x/run", "POST"),
        (Method::POST, "/api/v1/files/x/content", "PUT,GET,HEAD"),
    ];
    for (method, path, allowed) in cases {
        let reply = server.send(method, path, "").await;
        reply.problem(405, "method_not_allowed");
        let sorted = |list: &str| {
            let mut methods: Vec<String> = list.split(',').map(str::to_owned).collect();
            methods.sort();
            methods
        };
        assert_eq!(sorted(reply.header("allow")), sorted(allowed), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_a_limit() {
    let server = Server::local();
    let router = server.with(Options { body_bytes_max: 40, ..Options::new(Access::Local) });
    server.create("settings", "s", json!({})).await;
    let patch = |value: &str| {
        let body = json!({ "value": value }).to_string();
        Request::patch("/api/v1/settings/s").body(Body::from(body)).unwrap()
    };
    send(&router, patch("short")).await.json(200);
    send(&router, patch(&"x".repeat(40))).await.problem(413, "payload_too_large");
    assert_eq!(server.get("/api/v1/settings/s").await.json(200)["value"], "short");
}
