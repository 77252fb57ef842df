//! What an answer means, and its body, to a file or inline.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
use hyper::{Response, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use surefoot_connector_api::{CallContext, CallError, ErrorClass};

use super::content::Content;
use super::fate::Fate;
use super::inputs::Plan;
use super::redirect::Hop;
use super::request;
use crate::tally::Tally;

/// How much of an unexpected answer is read, in bytes. An error shows less.
const EXCERPT_BYTES_MAX: usize = 16 * 1024;

/// What a call returns. The body is in `dst`, or in one of `json`, `text` and `base64`, or there is none.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpOutput {
    /// Status of the answer.
    status_code: u16,
    /// Headers of the answer by name, in lower case. A list where a header came several times.
    headers: BTreeMap<String, HeaderText>,
    /// Length of the body in bytes.
    size_bytes: u64,
    /// With `dst`: SHA-256 of the body, in lower-case hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// The body, where its type is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
    /// The body, where it is any other text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The body as Base64, where it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// The text of a header.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
enum HeaderText {
    One(String),
    Many(Vec<String>),
}

/// What to do with an answer.
pub(super) enum Answer {
    /// It is the call's.
    Final(HttpOutput),
    /// The same thing is to be asked for elsewhere.
    Elsewhere { status: StatusCode, next: Hop },
}

/// Receives an answer to its end, unless it sends us on or is a failure.
pub(super) async fn receive(
    context: &CallContext<'_>,
    plan: &Plan,
    hop: &Hop,
    fate: &Fate,
    response: Response<Incoming>,
    may_follow: bool,
) -> Result<Answer, CallError> {
    let (mut head, body) = response.into_parts();
    let body = Content::of(body, &mut head.headers, request::may_be_packed(plan, hop));
    let status = head.status;
    if !plan.expected.contains(status) {
        match hop.next(status, &head.headers) {
            Ok(Some(next)) if may_follow => return Ok(Answer::Elsewhere { status, next }),
            Ok(Some(_)) if plan.redirects_max > 0 => {
                let message = format!("{} redirects were not enough; see `max_redirects`", plan.redirects_max);
                return Err(fate.refused(ErrorClass::Refused, status, message));
            }
            Err((class, why)) if may_follow => {
                return Err(fate.refused(class, status, format!("the redirect is not followed: {why}")));
            }
            _ => return Err(unexpected(plan, hop, fate, status, body).await),
        }
    }
    let mut output = HttpOutput {
        status_code: status.as_u16(),
        headers: texts(&head.headers),
        size_bytes: 0,
        sha256: None,
        json: None,
        text: None,
        base64: None,
    };
    match &plan.dst {
        Some(file) => to_file(context, fate, body, file, &mut output).await?,
        None => inline(plan, fate, body, &head.headers, &mut output).await?,
    }
    Ok(Answer::Final(output))
}

async fn to_file(
    context: &CallContext<'_>,
    fate: &Fate,
    mut body: Content,
    file: &str,
    output: &mut HttpOutput,
) -> Result<(), CallError> {
    let mut sink = context.files.write(file).await.map_err(|error| fate.own(error))?;
    let mut tally = Tally::default();
    while let Some(chunk) = body.next(fate).await? {
        tally.add(&chunk);
        sink.write(chunk).await.map_err(|error| fate.own(error))?;
    }
    sink.finish().await.map_err(|error| fate.own(error))?;
    output.size_bytes = tally.size_bytes();
    output.sha256 = Some(tally.sha256());
    Ok(())
}

async fn inline(
    plan: &Plan,
    fate: &Fate,
    mut body: Content,
    headers: &HeaderMap,
    output: &mut HttpOutput,
) -> Result<(), CallError> {
    let most = plan.response_bytes_max;
    let too_long = || {
        let message = format!(
            "the body of the answer is longer than {most} bytes; name a file for it in `dst`, or raise \
             `response_bytes_max`"
        );
        fate.lost(ErrorClass::InvalidInput, message)
    };
    if body.size_bytes_min() > most {
        return Err(too_long());
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.next(fate).await? {
        if bytes.len() as u64 + chunk.len() as u64 > most {
            return Err(too_long());
        }
        bytes.extend_from_slice(&chunk);
    }
    output.size_bytes = bytes.len() as u64;
    if bytes.is_empty() {
        return Ok(());
    }
    let kind = ContentType::of(headers);
    output.json = if kind.is_json { serde_json::from_slice(&bytes).ok() } else { None };
    if output.json.is_none() {
        match kind.decode(&bytes) {
            Some(text) => output.text = Some(text),
            None => output.base64 = Some(STANDARD.encode(&bytes)),
        }
    }
    Ok(())
}

/// The error for a status that was not expected, with the beginning of what the server says about it.
async fn unexpected(plan: &Plan, hop: &Hop, fate: &Fate, status: StatusCode, mut body: Content) -> CallError {
    let mut bytes = BytesMut::new();
    // An excerpt that breaks off is an excerpt still.
    while let Ok(Some(chunk)) = body.next(fate).await {
        bytes.extend_from_slice(&chunk[..chunk.len().min(EXCERPT_BYTES_MAX)]);
        if bytes.len() >= EXCERPT_BYTES_MAX {
            break;
        }
    }
    let excerpt = plan.without_secrets(&String::from_utf8_lossy(&bytes));
    let host = hop.url.host_str().unwrap_or_default();
    let separator = if excerpt.trim().is_empty() { "" } else { ": " };
    let message = format!("{host} answered the {} with {status}{}{separator}{excerpt}", hop.method, hint(status));
    fate.refused(class_of(status), status, message)
}

fn class_of(status: StatusCode) -> ErrorClass {
    match status.as_u16() {
        401 | 407 => ErrorClass::Auth,
        404 | 410 => ErrorClass::NotFound,
        // Too slow, too early, too often, or something on the way does not work: later it may be different.
        408 | 425 | 429 | 502..=504 => ErrorClass::Network,
        _ => ErrorClass::Refused,
    }
}

fn hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "; check `token`, or `username` and `password`",
        _ => "",
    }
}

fn texts(headers: &HeaderMap) -> BTreeMap<String, HeaderText> {
    let text = |name: &header::HeaderName| {
        let values = headers.get_all(name).into_iter();
        let mut texts: Vec<String> =
            values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        if texts.len() == 1 { HeaderText::One(texts.remove(0)) } else { HeaderText::Many(texts) }
    };
    headers.keys().map(|name| (name.as_str().to_owned(), text(name))).collect()
}

/// What a body is, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct ContentType {
    is_json: bool,
    is_latin1: bool,
}

impl ContentType {
    fn of(headers: &HeaderMap) -> Self {
        let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
        let kind = parts.next().unwrap_or_default();
        let charset = parts.find_map(|part| Some(part.strip_prefix("charset=")?.trim_matches('"').to_owned()));
        Self {
            is_json: kind == "application/json" || kind == "text/json" || kind.ends_with("+json"),
            is_latin1: charset.is_some_and(|charset| matches!(charset.as_str(), "iso-8859-1" | "latin1")),
        }
    }

    /// The text that the bytes are, if they are one.
    fn decode(&self, bytes: &[u8]) -> Option<String> {
        if self.is_latin1 {
            return Some(bytes.iter().copied().map(char::from).collect());
        }
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &'static str) -> ContentType {
        ContentType::of(&HeaderMap::from_iter([(header::CONTENT_TYPE, text.parse().expect("a header"))]))
    }

    #[test]
    fn types_of_content() {
        for text in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"] {
            assert!(kind(text).is_json, "{text}");
        }
        for text in ["", "text/plain", "application/jsonp", "application/jsonl"] {
            assert!(!kind(text).is_json, "{text}");
        }
        assert_eq!(kind("text/plain; charset=\"ISO-8859-1\"").decode(b"\xe4").as_deref(), Some("ä"));
        assert_eq!(kind("text/plain").decode(b"\xe4"), None);
    }

    #[test]
    fn a_header_that_comes_several_times_is_a_list() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("a", "1"), ("set-cookie", "x=1, y"), ("set-cookie", "z=2")] {
            headers.append(name, value.parse().expect("a header"));
        }
        let texts = texts(&headers);
        assert_eq!(texts["a"], HeaderText::One("1".into()));
        assert_eq!(texts["set-cookie"], HeaderText::Many(vec!["x=1, y".into(), "z=2".into()]));
    }
}
