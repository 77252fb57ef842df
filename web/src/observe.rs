//! What is told of every request: a line and a span with its id, method, path, route, client, status and time; and what
//! is counted. Never the query, the headers or a body: keys of webhooks may stand there.

use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use surefoot_engine::Entropy;
use tokio::time::Instant;
use tracing::Instrument;

use crate::app::App;
use crate::approve;
use crate::peers::Peer;
use crate::webhooks;

/// Names a request, in its answer and in every line that is logged of it.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Length of an id that a proxy gives, bytes.
const REQUEST_ID_MAX: usize = 64;

/// For how long browsers ask for HTTPS only, once they had it: a year.
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// What machines ask for again and again.
const ROUTINE: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Finds out who calls, refuses who calls too often, runs the request in a span of its own. No answer is to be taken
/// for another type than it says.
pub(crate) async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
    let client = app.options().peers.client(peer, request.headers_mut());
    request.extensions_mut().insert(client);
    let id = request_id(request.headers(), peer.ip != client.ip);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let path = shown(request.uri().path());
    let span =
        tracing::info_span!("request", id, %method, path, client = client.ip.map(tracing::field::display::<IpAddr>));
    let in_flight = app.options().metrics.request();
    async {
        let mut response = match app.admit(client) {
            Ok(()) => next.run(request).await,
            Err(problem) => {
                let (mut parts, _) = request.into_parts();
                webhooks::note_too_often(&app, &mut parts, client, &problem).await;
                problem.into_response()
            }
        };
        drop(in_flight);
        let (status, elapsed) = (response.status(), began.elapsed());
        let route = route.as_ref().map_or("none", MatchedPath::as_str);
        app.options().metrics.answered(&method, route, status, elapsed);
        let (status, ms) = (status.as_u16(), elapsed.as_secs_f64() * 1e3);
        if response.status().is_server_error() {
            tracing::warn!(status, route, ms, "answered");
        } else if ROUTINE.contains(&route) {
            tracing::debug!(status, route, ms, "answered");
        } else {
            tracing::info!(status, route, ms, "answered");
        }
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if peer.has_tls {
            headers.insert(STRICT_TRANSPORT_SECURITY, HTTPS_ONLY);
        }
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(REQUEST_ID, id);
        }
        response
    }
    .instrument(span)
    .await
}

/// The id that a trusted proxy gave, or one of our own: of this process, and counted.
fn request_id(headers: &HeaderMap, is_from_proxy: bool) -> String {
    static PROCESS: LazyLock<String> = LazyLock::new(|| hex::encode(&Entropy::System.bytes32()[..4]));
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let is_plain = |id: &&str| id.len() <= REQUEST_ID_MAX && id.bytes().all(|byte| byte.is_ascii_graphic());
    let given = headers.get(REQUEST_ID).filter(|_| is_from_proxy).and_then(|id| id.to_str().ok());
    match given.filter(|id| !id.is_empty()).filter(is_plain) {
        Some(id) => id.to_owned(),
        None => format!("{}-{:x}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed)),
    }
}

/// The path, without the token of a link that is good once, or of a question.
fn shown(path: &str) -> &str {
    let links = ["/setup/", approve::PATH];
    links.into_iter().find(|link| path.starts_with(link)).unwrap_or(path)
}
