//! Contents of files.

use axum::body::Body;
use axum::http::{Method, Request};
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::json;
use surefoot_web::{Access, Options};

use crate::support::{Server, send};

#[tokio::test(flavor = "multi_thread")]
async fn contents_come_back_and_are_never_shown_in_place() {
    let server = Server::local();
    let path = "/api/v1/files/logs%2F%C3%BC%20%22x%22.html/content";
    let stored = server.send(Method::PUT, path, "<script>").await.json(200);
    assert_eq!((&stored["name"], &stored["size_bytes"]), (&json!("logs/ü \"x\".html"), &json!(8)));

    let reply = server.get(path).await;
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"<script>"[..]));
    assert_eq!(reply.header("content-type"), "application/octet-stream");
    assert_eq!(reply.header("content-length"), "8");
    let disposition = "attachment; filename*=UTF-8''logs%2F%C3%BC%20%22x%22.html";
    assert_eq!(reply.header("content-disposition"), disposition);
    assert_eq!(reply.header("content-security-policy"), "sandbox");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");

    let record = server.get("/api/v1/files/logs%2F%C3%BC%20%22x%22.html").await.json(200);
    assert_eq!(record, stored);
    let head = server.send(Method::HEAD, path, "").await;
    assert_eq!((head.status.as_u16(), head.body.len(), head.header("content-length")), (200, 0, "8"));
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_may_be_longer_than_other_bodies() {
    let server = Server::local();
    let router = server.with(Options { body_bytes_max: 10, ..Options::new(Access::Local) });
    let chunks = (0..64).map(|n| Ok::<_, std::io::Error>(Bytes::from(vec![n; 65_536])));
    let body = Body::from_stream(futures::stream::iter(chunks));
    let stored = send(&router, Request::put("/api/v1/files/long/content").body(body).unwrap()).await.json(200);
    assert_eq!(stored["size_bytes"], 64 * 65_536);
    let content = server.get("/api/v1/files/long/content").await.body;
    assert_eq!(content.len(), 64 * 65_536);
    assert!(content.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at / 65_536));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_changes_nothing() {
    let server = Server::local();
    let path = "/api/v1/files/f/content";
    server.send(Method::PUT, path, "old").await.json(200);
    let cut = futures::stream::iter([Ok(Bytes::from("ne"))]).chain(futures::stream::iter([Err("reset")]));
    let text = server.send(Method::PUT, path, Body::from_stream(cut)).await.problem(400, "invalid");
    assert!(text.contains("ended before its end"), "{text}");
    assert_eq!(server.get(path).await.body, "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_files_and_wrong_names() {
    let server = Server::local();
    server.get("/api/v1/files/none/content").await.problem(404, "not_found");
    server.get("/api/v1/files/none").await.problem(404, "not_found");
    server.send(Method::PUT, "/api/v1/files/%00/content", "x").await.problem(422, "invalid");
    server.send(Method::PUT, "/api/v1/files/f/content", "x").await.json(200);
    let gone = server.send(Method::DELETE, "/api/v1/files/f", "").await.json(200);
    assert_eq!(gone, json!({ "deleted": true }));
    server.get("/api/v1/files/f/content").await.problem(404, "not_found");
}
