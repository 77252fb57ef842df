//! Streams of events of lists of executions.

use std::collections::{BTreeMap, VecDeque};

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::{Method, Request};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::events::{Event, parse};
use crate::remote::Remote;
use crate::support::{Server, encoded};

const PATH: &str = "/api/v1/executions/events";

/// One who follows a list, as a page does that shows it.
struct Reader {
    stream: BodyDataStream,
    text: String,
    waiting: VecDeque<Event>,
    last_id: String,
    /// What it shows, by id.
    shown: BTreeMap<String, Value>,
}

impl Reader {
    async fn open(router: &Router, path: &str, headers: &[(&str, &str)]) -> Self {
        let request = Request::get(path).header("host", "localhost");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let (waiting, shown) = (VecDeque::new(), BTreeMap::new());
        let stream = response.into_body().into_data_stream();
        Self { stream, text: String::new(), waiting, last_id: String::new(), shown }
    }

    /// The next event that says something; none at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        while self.waiting.is_empty() {
            self.text += std::str::from_utf8(&self.stream.next().await?.unwrap()).unwrap();
            if let Some((whole, rest)) = self.text.rsplit_once("\n\n") {
                self.waiting = parse(&format!("{whole}\n\n")).into();
                self.text = rest.to_owned();
            }
        }
        let event = self.waiting.pop_front()?;
        self.last_id.clone_from(&event.0);
        Some(event)
    }

    /// Shows what comes until `is_enough`.
    async fn until(&mut self, is_enough: impl Fn(&BTreeMap<String, Value>) -> bool) {
        while !is_enough(&self.shown) {
            let (_, name, document) = self.next().await.expect("the stream has no end");
            let id = document["id"].as_str().unwrap_or_default().to_owned();
            match name.as_str() {
                "execution" => drop(self.shown.insert(id, document)),
                "removed" => drop(self.shown.remove(&id)),
                other => panic!("an event {other}"),
            }
        }
    }

    async fn is_reset(&mut self) {
        let (id, name, document) = self.next().await.expect("a reset");
        assert_eq!((name.as_str(), &document, id.is_empty()), ("reset", &json!({}), false));
    }
}

async fn list(server: &Server, filter: &Value) -> BTreeMap<String, Value> {
    let page = server.get(&format!("/api/v1/executions?filter={}", encoded(filter))).await.json(200);
    let rows = page["rows"].as_array().unwrap().iter();
    rows.map(|row| (row["id"].as_str().unwrap().to_owned(), row.clone())).collect()
}

fn everything() -> Value {
    json!({"and": []})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_in_a_list_comes_and_goes_on_behind_any_event() {
    let server = Server::local();
    let mut reader = Reader::open(&server.router, PATH, &[]).await;
    reader.is_reset().await;
    let begin = reader.last_id.clone();
    let (first, second) = (server.start_probe(json!({"text": "a"})).await, server.start_probe(json!({})).await);
    for id in [&first, &second] {
        server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200);
    }
    let all = list(&server, &everything()).await;
    reader.until(|shown| *shown == all).await;

    // A connection that breaks loses nothing, wherever it was.
    let mut again = Reader::open(&server.router, PATH, &[("last-event-id", &begin)]).await;
    again.until(|shown| *shown == all).await;
    let mut behind = Reader::open(&server.router, PATH, &[("last-event-id", &reader.last_id)]).await;

    // The trash and back, and for good.
    let path = format!("/api/v1/executions/{first}");
    server.send(Method::DELETE, &path, "").await.json(200);
    reader.until(|shown| shown.len() == 1).await;
    assert_eq!(behind.next().await.map(|event| event.1).as_deref(), Some("removed"), "only what is new comes");
    server.post(&format!("{path}/restore"), json!({})).await.json(200);
    reader.until(|shown| *shown == all).await;
    server.send(Method::DELETE, &format!("{path}?permanently=true"), "").await.json(200);
    reader.until(|shown| !shown.contains_key(&first)).await;
    assert_eq!(reader.shown, list(&server, &everything()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_shows_what_the_list_shows_and_says_what_leaves_it() {
    let server = Server::local();
    let unended = json!({"field": "ended_at", "op": "is_null"});
    let named = json!({"field": "name", "op": "eq", "value": "wanted"});
    let of = |filter: &Value| format!("{PATH}?filter={}", encoded(filter));
    let mut of_unended = Reader::open(&server.router, &of(&unended), &[]).await;
    let mut of_named = Reader::open(&server.router, &of(&named), &[]).await;
    of_unended.is_reset().await;
    of_named.is_reset().await;
    let id = server.start_probe(json!({"hang": true})).await;
    of_unended.until(|shown| shown.contains_key(&id)).await;
    server.post(&format!("/api/v1/executions/{id}/cancel"), Value::Null).await.json(200);
    of_unended.until(|shown| !shown.contains_key(&id)).await;
    assert_eq!(of_unended.shown, list(&server, &unended).await);

    let run = json!({"input": {"connector": "type:probe", "inputs": {}}, "name": "wanted"});
    server.post("/api/v1/flows/native:connect/run", run).await.json(201);
    let (_, name, document) = of_named.next().await.unwrap();
    assert_eq!((name.as_str(), &document["name"]), ("execution", &json!("wanted")), "others never were in that list");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_what_the_caller_may_look_at_until_they_may_no_more() {
    let remote = Remote::new();
    let project = |name: &'static str| remote.server.create("projects", name, json!({}));
    let (a, b) = (project("a").await["id"].clone(), project("b").await["id"].clone());
    remote.server.create("connectors", "of-a", json!({"type": "probe", "project_id": a})).await;
    let token = async |project: &Value| {
        let fields = json!({"role": "viewer", "project_id": project});
        remote.token(&format!("of {project}"), fields).await
    };
    let open =
        async |token: &str| Reader::open(&remote.router, PATH, &[("authorization", &format!("Bearer {token}"))]).await;
    remote.user("ada", json!({"role": "viewer"})).await;
    let session = remote.log_in("ada").await;
    let mut by_a = open(&token(&a).await).await;
    let mut by_b = open(&token(&b).await).await;
    let mut by_ada = Reader::open(&remote.router, PATH, &[("cookie", &session.cookie)]).await;
    for reader in [&mut by_a, &mut by_b, &mut by_ada] {
        reader.is_reset().await;
    }
    let run = json!({"input": {"connector": "of-a", "inputs": {}}});
    let id = remote.server.post("/api/v1/flows/native:connect/run", run).await.json(201)["id"].clone();
    let id = id.as_str().unwrap();
    let has_ended = |shown: &BTreeMap<String, Value>| shown.get(id).is_some_and(|row| row["ended_at"].is_string());
    by_a.until(has_ended).await;
    by_ada.until(has_ended).await;

    // Who may look at other things than before is to load the list anew.
    remote.server.patch("/api/v1/users/ada", json!({"role": null, "project_roles": {"b": "viewer"}})).await.json(200);
    by_ada.is_reset().await;
    remote.server.patch("/api/v1/connectors/of-a", json!({"project_id": b})).await.json(200);
    remote.server.send(Method::DELETE, &format!("/api/v1/executions/{id}"), "").await.json(200);
    // The first that they hear of it: nothing came while it was in the other project.
    for reader in [&mut by_b, &mut by_ada] {
        let (_, name, document) = reader.next().await.unwrap();
        assert_eq!((name.as_str(), document), ("removed", json!({"id": id})));
    }
    remote.server.patch("/api/v1/users/ada", json!({"is_enabled": false})).await.json(200);
    assert_eq!(by_ada.next().await, None, "who may not look hears nothing more");
    for name in [&a, &b] {
        let path = format!("/api/v1/tokens/{}", crate::support::percent_encoded(&format!("of {name}")));
        remote.server.send(Method::DELETE, &path, "").await.json(200);
    }
    assert_eq!((by_a.next().await, by_b.next().await), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_cannot_be_followed_is_refused_and_one_that_is_too_old_begins_anew() {
    let server = Server::local();
    server.get(&format!("{PATH}?filter=x")).await.problem(400, "invalid");
    for wrong in
        [json!({"field": "stat", "op": "eq", "value": 1}), json!({"field": "type", "op": "eq", "value": "CONNECTION"})]
    {
        server.get(&format!("{PATH}?filter={}", encoded(&wrong))).await.problem(422, "invalid");
    }
    server.get(&format!("{PATH}?order=name")).await.problem(422, "invalid");
    for wrong in ["", "7", ".7", "x.", "x.y", "a/b.7", "x.7.7"] {
        let request = Request::get(PATH).header("last-event-id", wrong).body(Body::empty()).unwrap();
        server.request(request).await.problem(400, "invalid");
    }
    let mut reader = Reader::open(&server.router, PATH, &[("last-event-id", "of-before.3")]).await;
    reader.is_reset().await;
    let (opening, position) = reader.last_id.rsplit_once('.').unwrap();
    for id in [format!("{opening}.0"), format!("{opening}.{}", position.parse::<u64>().unwrap() + 1)] {
        Reader::open(&server.router, PATH, &[("last-event-id", &id)]).await.is_reset().await;
    }
}
