//! Whether the server can do its work.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::app::App;
use crate::problem::{Answer, Problem};

/// `GET /healthz`: 200, or 503 while the engine recovers from a failed commit.
pub(crate) async fn health(State(app): State<App>) -> Answer<Json<Value>> {
    match app.engine().is_degraded() {
        true => Err(Problem::degraded(app.engine())),
        false => Ok(Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))),
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
