//! Streams of events.

use axum::body::Body;
use axum::http::Request;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::{Server, send};

/// An event as it came: id, name, document.
pub(crate) type Event = (String, String, Value);

pub(crate) fn parse(text: &str) -> Vec<Event> {
    let field = |event: &str, name: &str| {
        event.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap_or_default().to_owned()
    };
    let events = text.split("\n\n").filter(|event| event.contains("data: "));
    let parsed = events.map(|event| {
        let data = serde_json::from_str(&field(event, "data")).unwrap();
        (field(event, "id"), field(event, "event"), data)
    });
    parsed.collect()
}

async fn events(server: &Server, path: &str, last_event_id: Option<&str>) -> Vec<Event> {
    let mut request = Request::get(path);
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    let reply = send(&server.router, request.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.status, 200);
    parse(std::str::from_utf8(&reply.body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_everything_and_goes_on_from_any_event() {
    let server = Server::local();
    let id = server.start_probe(json!({"text": "hello"})).await;
    server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200);
    let journal = server.get(&format!("/api/v1/executions/{id}/journal")).await.json(200);
    let path = format!("/api/v1/executions/{id}/events?journal=true");
    let all = events(&server, &path, None).await;
    let of_journal: Vec<&Value> = all.iter().filter(|event| event.1 == "journal").map(|event| &event.2).collect();
    assert_eq!(json!(of_journal), journal["records"]);
    assert!(of_journal.len() > 2, "{of_journal:?}");
    let last = all.last().unwrap();
    assert_eq!((last.1.as_str(), &last.2["status"]), ("execution", &json!("ENDED_SUCCESS")));
    for (place, event) in all.iter().enumerate() {
        let rest = events(&server, &path, Some(&event.0)).await;
        let expected = if place + 1 == all.len() { &all[place..] } else { &all[place + 1..] };
        assert_eq!(rest, expected, "after event {place}");
    }
    let without_journal = events(&server, &format!("/api/v1/executions/{id}/events"), None).await;
    assert_eq!(without_journal.len(), 1, "{without_journal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_comes_while_the_stream_is_open() {
    let server = Server::local();
    let id = server.start_probe(json!({"hang": true})).await;
    let request = Request::get(format!("/api/v1/executions/{id}/events")).body(Body::empty()).unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    let mut stream = response.into_body().into_data_stream();
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(parse(std::str::from_utf8(&first).unwrap())[0].2["ended_at"], Value::Null);
    server.post(&format!("/api/v1/executions/{id}/cancel"), Value::Null).await.json(200);
    let mut rest = Vec::new();
    while let Some(chunk) = stream.next().await {
        rest.extend_from_slice(&chunk.unwrap());
    }
    let last = parse(std::str::from_utf8(&rest).unwrap()).pop().unwrap();
    assert_eq!((last.1.as_str(), &last.2["status"]), ("execution", &json!("ENDED_CANCELLED")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_nothing_is_refused() {
    let server = Server::local();
    server.get("/api/v1/executions/nowhere/events").await.problem(404, "not_found");
    let id = server.start_probe(json!({})).await;
    let path = format!("/api/v1/executions/{id}/events");
    server.get(&format!("{path}?jornal=1")).await.problem(422, "invalid");
    for wrong in ["7", "", "1.2_x", "-_1.2.3.4"] {
        let request = Request::get(&path).header("last-event-id", wrong).body(Body::empty()).unwrap();
        server.request(request).await.problem(400, "invalid");
    }
}
