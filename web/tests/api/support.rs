//! A router on a workspace of its own, without a network, and a connector that does what it is told.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use futures::StreamExt as _;
use serde_json::{Value, json};
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, ErrorClass, Inputs, Message};
use surefoot_engine::{Clock, Config, Engine};
use surefoot_web::{Access, Options, router};
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::conformance;

/// The router under test, and its workspace.
pub(crate) struct Server {
    pub(crate) router: Router,
    engine: Engine,
    _data: TempDir,
}

/// An answer, read to its end.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Server {
    pub(crate) fn local() -> Self {
        Self::new(Options::new(Access::Local))
    }

    pub(crate) fn new(options: Options) -> Self {
        Self::at(options, Clock::System)
    }

    /// With that clock.
    pub(crate) fn at(options: Options, clock: Clock) -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = Config { clock, ..Config::new(data.path()) };
        let engine = Engine::open(config, vec![Arc::new(Probe)]).unwrap();
        Self { router: router(engine.clone(), options), engine, _data: data }
    }

    /// The engine under it.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The same workspace behind other options.
    pub(crate) fn with(&self, options: Options) -> Router {
        router(self.engine.clone(), options)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, Body::empty()).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: impl Into<Body>) -> Reply {
        self.request(Request::builder().method(method).uri(path).body(body.into()).unwrap()).await
    }

    /// Creates a record, and gives it back.
    pub(crate) async fn create(&self, kinds: &str, name: &str, mut fields: Value) -> Value {
        fields["name"] = name.into();
        self.post(&format!("/api/v1/{kinds}"), fields).await.json(201)
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send(Method::PATCH, path, body.to_string()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(Method::POST, path, body.to_string()).await
    }

    pub(crate) async fn request(&self, request: Request<Body>) -> Reply {
        send(&self.router, request).await
    }

    /// The row of an execution, as soon as it waits.
    pub(crate) async fn until_waiting(&self, id: &str) -> Value {
        let waiting = async {
            loop {
                let row = self.get(&format!("/api/v1/executions/{id}")).await.json(200);
                if row["status"] == "WAITING" || row["ended_at"].is_string() {
                    return row;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it waits")
    }

    /// Starts the built-in flow that calls the probe with these inputs; its id.
    pub(crate) async fn start_probe(&self, inputs: Value) -> String {
        let body = json!({"input": {"connector": "type:probe", "inputs": inputs}});
        let started = self.post("/api/v1/flows/native:connect/run", body).await;
        started.json(201)["id"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Reply {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    // A stream that has no end has a beginning.
    let body = match path.as_str() {
        "/api/v1/executions/events" if parts.status == 200 => {
            body.into_data_stream().next().await.expect("it begins").unwrap()
        }
        _ => axum::body::to_bytes(body, usize::MAX).await.unwrap(),
    };
    conformance::check(&method, &path, parts.status, &parts.headers, &body);
    Reply { status: parts.status, headers: parts.headers, body }
}

impl Reply {
    /// The document of an answer with that status.
    #[track_caller]
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The text of a problem with that status and code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> String {
        let problem = self.json(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!((&problem["type"], &problem["status"]), (&json!("about:blank"), &json!(status)), "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
        assert!(problem["title"].is_string(), "{problem}");
        format!("{}; {}", problem["detail"].as_str().unwrap(), problem["hint"].as_str().unwrap_or_default())
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name} in {:?}", self.headers)).to_str().unwrap()
    }
}

/// A document as a value in a query.
pub(crate) fn encoded(document: &Value) -> String {
    percent_encoded(&document.to_string())
}

/// A text as a value in a query, a part of a path, or a value of a form.
pub(crate) fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Gives back its inputs; fails with `fail`; never ends with `hang`.
struct Probe;

#[async_trait]
impl Connector for Probe {
    fn type_name(&self) -> &'static str {
        "probe"
    }

    fn description(&self) -> &'static str {
        "Does what it is told"
    }

    fn input_schema(&self) -> Value {
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "text": {"type": "string"},
                "password": {"type": "string", "writeOnly": true},
                "fail": {"type": "string"},
                "hang": {"type": "boolean"},
            },
        })
    }

    fn output_schema(&self) -> Value {
        json!({"type": "object"})
    }

    fn effect(&self, _: &Inputs) -> Effect {
        Effect::Read
    }

    fn delivery(&self, _: &Inputs, message: &Message<'_>) -> Result<Inputs, String> {
        Ok(Inputs::from_iter([("text".to_owned(), message.subject.into())]))
    }

    async fn call(&self, _: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        if inputs.contains_key("hang") {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        match inputs.get("fail").and_then(Value::as_str) {
            Some(message) => Err(CallError::not_sent(ErrorClass::Refused, message)),
            None => Ok(json!({"text": inputs.get("text"), "has_password": inputs.contains_key("password")})),
        }
    }
}
