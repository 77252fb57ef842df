//! What handlers take out of a request. Unlike axum's own extractors these refuse with problem documents, refuse
//! unknown fields (the types say so), and limit size and idle time of every body.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use crate::app::App;
use crate::problem::Problem;

/// For how long a body may be waited for. What comes earns more time, at [`BODY_BYTES_PER_SECOND_MIN`], up to that.
const BODY_WAIT_MAX: Duration = Duration::from_secs(30);

/// How fast a body must come. Each byte alone would keep a connection for ever.
const BODY_BYTES_PER_SECOND_MIN: u32 = 1024;

/// The parameters of the path, percent-decoded.
pub(crate) struct InPath<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::malformed(format!("the path is not valid: {}", rejection.body_text()))),
        }
    }
}

/// The query string.
pub(crate) struct InQuery<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                let text = rejection.body_text();
                let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                Err(Problem::invalid(format!("the query is not valid: {text}")))
            }
        }
    }
}

/// A body that is one JSON document, whatever its content type says.
pub(crate) struct InJson<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for InJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        parse_json(&read_body(request, app.options().body_bytes_max).await?).map(Self)
    }
}

/// Like [`InJson`]; no body at all counts as `{}`.
pub(crate) struct InOptionalJson<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for InOptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let body = read_body(request, app.options().body_bytes_max).await?;
        parse_json(if body.is_empty() { b"{}" } else { &body }).map(Self)
    }
}

/// What a form of a page sends, a small one.
pub(crate) struct InForm<T>(pub(crate) T);

/// Length of what a form sends, bytes.
const FORM_BYTES_MAX: usize = 64 << 10;

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for InForm<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body = read_body(request, FORM_BYTES_MAX).await?;
        let fields = form_urlencoded::parse(&body).map(|(name, value)| (name.into_owned(), Value::from(value)));
        let fields = Value::Object(fields.collect());
        serde_json::from_value(fields).map(Self).map_err(|error| Problem::malformed(format!("not this form: {error}")))
    }
}

/// A JSON document: 400 when it is none, 422 when it is another one than asked for.
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let document = serde_json::from_slice(bytes).map_err(|error| match error.is_data() {
        true => Problem::invalid(format!("the body does not fit: {error}")),
        false if bytes.is_empty() => Problem::malformed("the body is empty; it must be a JSON document"),
        false => Problem::malformed(format!("the body is not JSON: {error}")),
    })?;
    match too_big_integer(bytes) {
        None => Ok(document),
        Some(number) => Err(Problem::invalid(format!(
            "the number {number} is larger than 64 bits hold, and would be changed; send it as a text"
        ))),
    }
}

/// The first whole number in a JSON document that 64 bits do not hold: it would be read as another number, near it.
fn too_big_integer(json: &[u8]) -> Option<String> {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'-' | b'0'..=b'9')) {
        rest = &rest[at..];
        if rest[0] == b'"' {
            let mut is_escaped = false;
            let end = rest[1..].iter().position(|byte| {
                let is_end = *byte == b'"' && !is_escaped;
                is_escaped = *byte == b'\\' && !is_escaped;
                is_end
            });
            rest = &rest[end.map_or(rest.len(), |end| end + 2)..];
            continue;
        }
        let is_other = |byte: &u8| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let (number, after) = rest.split_at(rest.iter().position(is_other).unwrap_or(rest.len()));
        let number = String::from_utf8_lossy(number);
        let is_whole = !number.contains(['.', 'e', 'E']);
        if is_whole && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
            return Some(number.chars().take(NUMBER_CHARS_MAX).collect());
        }
        rest = after;
    }
    None
}

/// So much of a number is shown.
const NUMBER_CHARS_MAX: usize = 40;

/// The whole body of a request, at most that long.
pub(crate) async fn read_body(request: Request, bytes_max: usize) -> Result<Bytes, Problem> {
    let (parts, body) = request.into_parts();
    read_body_of(&parts.headers, body, bytes_max).await
}

/// The whole body that comes with these headers, at most that long.
pub(crate) async fn read_body_of(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(Problem::too_large(bytes_max));
    }
    let mut chunks = std::pin::pin!(chunks(body));
    let mut body = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(Problem::from)?;
        if body.len() + chunk.len() > bytes_max {
            return Err(Problem::too_large(bytes_max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Why a body ended before its end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum BodyCut {
    /// The connection ended, or what came over it was no body.
    #[error("the body ended before its end")]
    Broken,
    /// It did not come, or too slowly.
    #[error(
        "the body comes too slowly: {} s and a second for each {BODY_BYTES_PER_SECOND_MIN} bytes are over",
        BODY_WAIT_MAX.as_secs()
    )]
    Slow,
}

impl From<BodyCut> for Problem {
    fn from(cut: BodyCut) -> Self {
        match cut {
            BodyCut::Broken => Self::malformed(cut.to_string()),
            BodyCut::Slow => Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", cut.to_string()),
        }
    }
}

/// The chunks of a body; the first error is the last item.
pub(crate) fn chunks(body: Body) -> impl futures::Stream<Item = Result<Bytes, BodyCut>> + Send {
    futures::stream::unfold(Some((body.into_data_stream(), BODY_WAIT_MAX)), async |state| {
        // What the caller may still be waited for; while we are at work ourselves, nobody waits.
        let (mut stream, patience) = state?;
        let began = Instant::now();
        match tokio::time::timeout(patience, stream.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(chunk))) => {
                let earned = Duration::from_secs(1) * u32::try_from(chunk.len()).unwrap_or(u32::MAX);
                let earned = earned / BODY_BYTES_PER_SECOND_MIN;
                let patience = patience.saturating_sub(began.elapsed()) + earned;
                Some((Ok(chunk), Some((stream, patience.min(BODY_WAIT_MAX)))))
            }
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "a request body was cut");
                Some((Err(BodyCut::Broken), None))
            }
            Err(_) => Some((Err(BodyCut::Slow), None)),
        }
    })
}

/// As it stands in an address, and as RFC 8187 wants it in a header: everything but letters, digits, `-`, `.` and `_`
/// in percent form.
pub(crate) fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'-' | b'.' | b'_' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_kept_or_refused() {
        for kept in [
            "18446744073709551615",
            "-9223372036854775808",
            "1e400",
            "18446744073709551616.0",
            r#""18446744073709551616""#,
            r#"{"a\\": 1, "b\"18446744073709551616": [0, -1]}"#,
            "[]",
        ] {
            assert_eq!(too_big_integer(kept.as_bytes()), None, "{kept}");
        }
        for (text, number) in [
            ("18446744073709551616", "18446744073709551616"),
            ("-9223372036854775809", "-9223372036854775809"),
            (r#"{"a\\": "\"", "b": [1, 99999999999999999999]}"#, "99999999999999999999"),
        ] {
            assert_eq!(too_big_integer(text.as_bytes()).as_deref(), Some(number), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_is_given_up() {
        let never_ends = futures::stream::iter([Ok::<_, std::io::Error>("begin")]).chain(futures::stream::pending());
        let problem = read_body(Request::new(Body::from_stream(never_ends)), 100).await.unwrap_err();
        assert_eq!(problem_code(&problem), (408, "request_timeout".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_byte_by_byte_is_given_up_and_a_slow_one_is_not() {
        let comes = |bytes: &'static str, chunks: usize| {
            let chunks = futures::stream::iter(0..chunks).then(move |_| async move {
                tokio::time::sleep(Duration::from_secs(10)).await;
                Ok::<_, std::io::Error>(bytes)
            });
            read_body(Request::new(Body::from_stream(chunks)), usize::MAX)
        };
        let problem = comes("x", 10).await.unwrap_err();
        assert_eq!(problem_code(&problem), (408, "request_timeout".into()));
        let ten_seconds = std::str::from_utf8(&[b'x'; 10 * 1024]).map(str::to_owned).unwrap().leak();
        assert_eq!(comes(ten_seconds, 100).await.unwrap().len(), 1024 * 1000);
    }

    #[tokio::test]
    async fn a_body_that_breaks_is_malformed() {
        let breaks = futures::stream::iter([Ok("begin"), Err(std::io::Error::other("reset"))]);
        let problem = read_body(Request::new(Body::from_stream(breaks)), 100).await.unwrap_err();
        assert_eq!(problem_code(&problem), (400, "invalid".into()));
    }

    #[tokio::test]
    async fn a_long_body_is_refused_announced_or_not() {
        let announced = Request::builder().header(CONTENT_LENGTH, 5).body(Body::empty()).unwrap();
        for request in [announced, Request::new(Body::from("12345"))] {
            let problem = read_body(request, 4).await.unwrap_err();
            assert_eq!(problem_code(&problem), (413, "payload_too_large".into()));
        }
        assert_eq!(read_body(Request::new(Body::from("1234")), 4).await.unwrap(), "1234");
    }

    fn problem_code(problem: &Problem) -> (u64, String) {
        let problem = serde_json::to_value(problem).unwrap();
        (problem["status"].as_u64().unwrap(), problem["code"].as_str().unwrap().to_owned())
    }
}
