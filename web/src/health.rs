//! Whether the server can do its work.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

/// Health.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/healthz", health)
            .summary("Whether the server can do its work; 503 while it recovers from a failed commit")
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

async fn health(State(app): State<App>) -> Answer<Json<Health>> {
    match app.engine().is_degraded() {
        true => Err(Problem::degraded(app.engine())),
        false => Ok(Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })),
    }
}

/// While the engine recovers nothing new is taken; looking is still allowed. (For webhooks also a GET is something new:
/// they look themselves.)
pub(crate) async fn refuse_while_degraded(State(app): State<App>, request: Request, next: Next) -> Response {
    let only_looks = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !only_looks && app.engine().is_degraded() {
        return Problem::degraded(app.engine()).into_response();
    }
    next.run(request).await
}
