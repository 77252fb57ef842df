//! Problem documents (RFC 9457): the only form of an answer that is not a success, and the one place where errors of
//! the engine become such answers.

use std::fmt::Display;
use std::io::ErrorKind;
use std::time::Duration;

use axum::Json;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use surefoot_engine::{ComponentError, Engine, EngineError, Refusal};

/// After how long a caller may try again what the server cannot do at the moment, seconds.
const RETRY_AFTER_SECONDS: u16 = 5;

/// The result of a handler.
pub(crate) type Answer<T = Response> = Result<T, Problem>;

/// Why a request was not done. Boxed, because most results are none.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Problem(Box<Document>);

#[derive(Clone, Debug, Serialize)]
struct Document {
    #[serde(rename = "type")]
    ty: &'static str,
    title: &'static str,
    status: u16,
    code: String,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_id: Option<String>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem with a stable code for programs and a text for people, a fragment that says what to do.
    pub(crate) fn new(status: StatusCode, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self(Box::new(Document {
            ty: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: code.into(),
            detail: detail.into(),
            hint: None,
            execution_id: None,
            headers: Vec::new(),
        }))
    }

    /// 400: the request cannot even be read.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", detail)
    }

    /// 401.
    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 401: nobody said who calls.
    pub(crate) fn no_token() -> Self {
        Self::unauthorized("the API needs a token, or a session")
            .hint("send `Authorization: Bearer TOKEN`, or log in: POST /api/v1/sessions")
    }

    /// 403.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 404.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 405. `allowed` are the methods that the resource has; without them the router knows them and adds the header.
    pub(crate) fn method_not_allowed(detail: impl Into<String>, allowed: Option<&[&str]>) -> Self {
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
        match allowed.map(|methods| HeaderValue::from_str(&methods.join(","))) {
            Some(Ok(methods)) => problem.header(ALLOW, methods),
            _ => problem,
        }
    }

    /// 429.
    pub(crate) fn too_many_requests(retry_after: Duration) -> Self {
        // Rounded up: who comes back after that finds room.
        let seconds = u16::try_from(retry_after.as_secs() + 1).unwrap_or(u16::MAX);
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "this address sends too many requests")
            .hint("send fewer, or ask an admin to raise `limits.address_requests_per_second_max`")
            .header(RETRY_AFTER, seconds.into())
    }

    /// 413.
    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let detail = format!("the body is longer than {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", detail)
    }

    /// 429: the same was tried too often.
    pub(crate) fn too_often(detail: impl Into<String>, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_tries", detail)
            .hint(format!("try again in {seconds} s"))
            .header(RETRY_AFTER, seconds.into())
    }

    /// 422: the request can be read and is wrong.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    /// 503 while the engine recovers.
    pub(crate) fn degraded(engine: &Engine) -> Self {
        if engine.is_disk_full() {
            return Self::no_room("degraded");
        }
        Self::recovering()
    }

    fn recovering() -> Self {
        Self::unavailable("degraded", "the store failed and is recovering; nothing new is taken meanwhile")
    }

    /// 503 until somebody makes room.
    fn no_room(code: &str) -> Self {
        Self::unavailable(code, "the disk of the data folder is full, and nothing new is taken")
            .hint("make room on that disk; the server goes on by itself")
    }

    /// 503 because the server stops.
    pub(crate) fn stopping() -> Self {
        Self::unavailable("stopping", "the server stops; what runs goes on when it is started again")
    }

    /// 503 because the server stops before the end of that execution. To come again with the same request could begin
    /// another one.
    pub(crate) fn stops_before(id: &str) -> Self {
        let detail = "the server stops before the execution has ended; it goes on when the server is started again";
        let hint = format!(
            "do not start another one: ask /api/v1/executions/{id}/wait, or repeat a call with the same Idempotency-Key"
        );
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail).hint(hint).execution(id)
    }

    fn unavailable(code: &str, detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).header(RETRY_AFTER, RETRY_AFTER_SECONDS.into())
    }

    /// 500. What happened is for the log, not for the caller.
    pub(crate) fn internal(error: &dyn Display) -> Self {
        tracing::error!(%error, "a request failed inside");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something failed inside; the server's log says what")
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What happened, for programs.
    pub(crate) fn code(&self) -> &str {
        &self.0.code
    }

    /// What happened, for people.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What to do.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The execution that it is about.
    pub(crate) fn of_execution(&self) -> Option<&str> {
        self.0.execution_id.as_deref()
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn execution(mut self, id: &str) -> Self {
        self.0.execution_id = Some(id.to_owned());
        self
    }

    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused(Refusal::NotFound(text)) => Self::not_found(text),
            EngineError::Refused(Refusal::Conflict(text)) => Self::new(StatusCode::CONFLICT, "conflict", text),
            EngineError::Refused(Refusal::Invalid(text)) => Self::invalid(text),
            EngineError::Refused(Refusal::Forbidden(text)) => Self::forbidden(text),
            EngineError::Refused(Refusal::Busy(text)) => Self::unavailable("busy", &text),
            EngineError::Refused(Refusal::Gone(text)) => Self::new(StatusCode::GONE, "gone", text),
            EngineError::Component(ComponentError::Invalid(text)) => Self::invalid(text),
            EngineError::Unavailable(reason) => {
                tracing::error!(reason, "the store is not available");
                Self::recovering()
            }
            EngineError::DiskFull => Self::no_room("degraded"),
            EngineError::Damaged(text) => {
                tracing::error!(%text, "something stored is damaged");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged", text)
                    .hint("`surefoot doctor` says what is damaged, and what to do")
            }
            EngineError::Io { source, .. } | EngineError::Component(ComponentError::Io { source, .. })
                if source.kind() == ErrorKind::StorageFull =>
            {
                tracing::error!("the disk is full");
                Self::no_room("disk_full")
            }
            error @ (EngineError::Component(ComponentError::Io { .. } | ComponentError::Damaged(_))
            | EngineError::Held { .. }
            | EngineError::Io { .. }
            | EngineError::Failed(_)) => Self::internal(&error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(&self)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.headers_mut().extend(self.0.headers.clone());
        // Pages show it in their own way.
        response.extensions_mut().insert(self);
        response
    }
}
