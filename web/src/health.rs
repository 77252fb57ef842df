//! Whether the server can do its work.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::{App, Stopping};
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

/// Health.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/healthz", health)
            .summary("Whether the server answers at all: if not, it must be started again")
            .answers::<Health>(StatusCode::OK),
        Operation::get("/readyz", readiness)
            .summary("Whether the server takes work; 503 with the reason while it recovers, has no room, or stops")
            .answers::<Health>(StatusCode::OK),
    ]
}

/// A server that is well.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Health {
    status: &'static str,
    version: &'static str,
}

async fn health() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

async fn readiness(State(app): State<App>, stopping: Stopping) -> Answer<Json<Health>> {
    if stopping.begun.is_cancelled() {
        return Err(Problem::stopping());
    }
    if app.whole_engine().is_degraded() || app.whole_engine().is_disk_full() {
        return Err(Problem::degraded(app.whole_engine()));
    }
    Ok(health().await)
}

/// While the engine recovers nothing new is taken; looking is still allowed. (For webhooks also a GET is something new:
/// they look themselves.)
pub(crate) async fn refuse_while_degraded(State(app): State<App>, request: Request, next: Next) -> Response {
    let only_looks = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !only_looks && app.whole_engine().is_degraded() {
        return Problem::degraded(app.whole_engine()).into_response();
    }
    next.run(request).await
}
