//! What is logged of a webhook call. A test program of its own: the subscriber is for the whole process.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use surefoot_engine::{Config, Engine};
use surefoot_web::{Access, Options, router};
use tower::ServiceExt as _;
use tracing::Level;

const CALL: &str = "/api/latest/webhook/w/call";

/// Takes what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn send(router: &Router, request: axum::http::request::Builder, body: Value) -> StatusCode {
    router.clone().oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_has_the_key() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_max_level(Level::TRACE).with_writer(move || writer.clone()).init();
    let data = tempfile::tempdir().unwrap();
    let engine = Engine::open(Config::new(data.path()), Vec::new()).unwrap();
    let router = router(engine, Options::new(Access::Local));
    let webhook = json!({"name": "w", "flow_id": "native:connect", "is_enabled": true});
    assert_eq!(send(&router, Request::post("/api/v1/webhooks"), webhook).await, 201);
    assert_eq!(send(&router, Request::post("/api/v1/webhooks/w/key"), json!({ "key": "hunter2" })).await, 200);

    for (key, status) in [("hunter2", 500), ("hunter2-and-more", 401)] {
        let request = Request::post(format!("{CALL}/below?key={key}"))
            .header("x-surefoot-key", key)
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json");
        assert_eq!(send(&router, request, json!({ "key": key })).await, status);
    }
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("/api/latest/webhook/w/call/below") && logged.contains("webhook called"), "{logged}");
    assert!(!logged.contains("hunter2"), "{logged}");
}
