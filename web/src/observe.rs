//! What is told of every request: a span with method and path, and how it was answered. Never the query, the headers
//! or a body: keys of webhooks may stand there.

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

/// Runs the request in a span of its own. No answer is to be taken for another type than it says.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let span = tracing::info_span!("request", method = %request.method(), path = request.uri().path());
    async {
        let mut response = next.run(request).await;
        let status = response.status().as_u16();
        if response.status().is_server_error() {
            tracing::warn!(status, "answered");
        } else {
            tracing::debug!(status, "answered");
        }
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
    .instrument(span)
    .await
}
