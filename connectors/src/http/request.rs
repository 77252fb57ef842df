//! The request of one hop: its target, headers and body.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::TryStreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use surefoot_connector_api::{CallContext, CallError, signature};
use url::{Position, Url};

use super::inputs::{Body, Plan};
use super::multipart::{self, Sending};
use super::redirect::Hop;
use crate::inputs::invalid;

/// A body that is sent; its errors are those of the file store.
pub(super) type RequestBody = UnsyncBoxBody<Bytes, CallError>;

/// The header by which a server that knows it tells a repeated request from a new one.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Headers of the caller that prove who we are even where they were not marked as secret.
const CREDENTIALS: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

/// The request of a hop. A file that is to be sent is opened anew for each.
pub(super) async fn build(
    context: &CallContext<'_>,
    plan: &Plan,
    hop: &Hop,
) -> Result<Request<RequestBody>, CallError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("surefoot/", env!("CARGO_PKG_VERSION"))));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    let packed = if may_be_packed(plan, hop) { "gzip" } else { "identity" };
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(packed));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let body = if hop.with_body { body(context, plan, &mut headers).await? } else { nothing() };
    if [Method::POST, Method::PUT, Method::PATCH].contains(&hop.method) && !headers.contains_key(header::CONTENT_TYPE) {
        // Where a body would have a meaning, some servers insist on hearing that there is none.
        headers.insert(header::CONTENT_LENGTH, 0.into());
    }
    headers.extend(plan.headers.clone());
    if hop.trusted {
        headers.extend(plan.credentials.clone());
        add_idempotency_key(context, hop, &mut headers)?;
        sign(context, plan, hop, &mut headers)?;
    } else {
        CREDENTIALS.iter().for_each(|name| drop(headers.remove(name)));
    }
    headers.insert(header::HOST, header_value(&hop.url[Position::BeforeHost..Position::AfterPort])?);
    let mut request = Request::new(body);
    *request.method_mut() = hop.method.clone();
    *request.uri_mut() = target(plan, hop)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Whether we ask for an answer that is packed, and unpack it. Who asks for something else gets that, as it comes; and
/// neither a part of a body, nor what is only said of one, is packed for itself.
pub(super) fn may_be_packed(plan: &Plan, hop: &Hop) -> bool {
    let has_own = |name| plan.headers.contains_key(&name) || plan.credentials.contains_key(&name);
    hop.method != Method::HEAD && !has_own(header::ACCEPT_ENCODING) && !has_own(header::RANGE)
}

/// Path and query, the secret part of it only for the host that the call named.
fn target(plan: &Plan, hop: &Hop) -> Result<Uri, CallError> {
    let mut url: Url = hop.url.clone();
    if hop.trusted && hop.url == plan.url && !plan.secret_query.is_empty() {
        url.query_pairs_mut().extend_pairs(&plan.secret_query);
    }
    let target = &url[Position::BeforePath..Position::AfterQuery];
    target.parse().map_err(|_| invalid("the path and query of the address cannot be sent"))
}

async fn body(context: &CallContext<'_>, plan: &Plan, headers: &mut HeaderMap) -> Result<RequestBody, CallError> {
    match &plan.body {
        Body::None => Ok(nothing()),
        Body::Held { content_type, bytes } => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            Ok(Full::new(bytes.clone()).map_err(|never| match never {}).boxed_unsync())
        }
        Body::Parts(parts) => {
            let Sending { content_type, size_bytes, content } = multipart::open(context, parts).await?;
            headers.insert(header::CONTENT_TYPE, header_value(&content_type)?);
            headers.insert(header::CONTENT_LENGTH, size_bytes.into());
            Ok(StreamBody::new(content.map_ok(Frame::data)).boxed_unsync())
        }
        Body::File(name) => {
            let (size_bytes, content) = context.files.read(name).await?;
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            // hyper keeps to it: neither more nor less is sent as if it were the whole.
            headers.insert(header::CONTENT_LENGTH, size_bytes.into());
            Ok(StreamBody::new(content.map_ok(Frame::data)).boxed_unsync())
        }
    }
}

fn nothing() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// For the methods that are not idempotent by themselves, unless the caller has a key of his own.
fn add_idempotency_key(context: &CallContext<'_>, hop: &Hop, headers: &mut HeaderMap) -> Result<(), CallError> {
    let wanted = [Method::POST, Method::PATCH].contains(&hop.method) && !context.idempotency_key.is_empty();
    if wanted && !headers.contains_key(IDEMPOTENCY_KEY) {
        let mut value = header_value(context.idempotency_key)?;
        value.set_sensitive(true);
        headers.insert(IDEMPOTENCY_KEY, value);
    }
    Ok(())
}

/// Names the message, and signs it with the time of this attempt: who gets it looks at both.
fn sign(context: &CallContext<'_>, plan: &Plan, hop: &Hop, headers: &mut HeaderMap) -> Result<(), CallError> {
    let id = match (&plan.message_id, &plan.signing_secret) {
        (None, None) => return Ok(()),
        (Some(id), _) => id.as_str(),
        (None, Some(_)) if context.idempotency_key.is_empty() => {
            return Err(invalid("a signed request that changes nothing needs a `message_id`"));
        }
        (None, Some(_)) => context.idempotency_key,
    };
    let named = HeaderValue::try_from(id).map_err(|_| invalid("input `message_id` cannot be sent as a header"))?;
    let timestamp = unix_seconds().to_string();
    if let Some(secret) = &plan.signing_secret {
        let body = match &plan.body {
            Body::Held { bytes, .. } if hop.with_body => &bytes[..],
            _ => &[],
        };
        headers.insert(signature::SIGNATURE, header_value(&secret.header(id, &timestamp, body))?);
    }
    headers.insert(signature::ID, named);
    headers.insert(signature::TIMESTAMP, header_value(&timestamp)?);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "who gets the request compares it with a clock, and no replay reads it")]
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn header_value(text: &str) -> Result<HeaderValue, CallError> {
    HeaderValue::try_from(text).map_err(|_| invalid("the host of the address cannot be sent as a header"))
}
