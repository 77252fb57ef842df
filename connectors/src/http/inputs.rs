//! What users write, and the request that follows from it. Second names and defaults are resolved here and nowhere
//! else.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use surefoot_connector_api::{CallError, SigningSecret, workspace_file_name};
use url::Url;

use super::multipart::{self, Part, PartInput};
use crate::inputs::{EffectName, either, invalid};
use crate::schema::{Seconds, Secret};

const TIMEOUT: Seconds = Seconds(60.0);
const REDIRECTS_MAX: u32 = 10;
const RESPONSE_BYTES_MAX: u64 = 1 << 20;
/// Headers that frame the message or belong to the connection, which are not the caller's.
const OWN_HEADERS: [HeaderName; 7] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::EXPECT,
];

/// Inputs of the connector type `http`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpInputs {
    /// The method; `GET` if not given.
    method: Option<MethodName>,
    /// Where the request goes: `https://api.example.com/v1/items` or with `http://`. A user name and password do not
    /// belong here; see `username`.
    url: Option<String>,
    /// The same as `url`, for a stored connector whose calls give the `path`.
    base_url: Option<String>,
    /// A path below that of the `url`: `items/7`.
    path: Option<String>,
    /// Parameters of the query by name; a list gives one parameter for each of its values.
    query: Option<BTreeMap<String, OneOrMany<Scalar>>>,
    /// The same as `query`.
    params: Option<BTreeMap<String, OneOrMany<Scalar>>>,
    /// Parameters of the query that are secret, such as an API key. Not sent on to another host.
    #[schemars(extend("writeOnly" = true))]
    secret_query: Option<BTreeMap<String, String>>,
    /// Headers by name.
    headers: Option<BTreeMap<String, String>>,
    /// Headers that are secret, such as `X-Api-Key`. Not sent on to another host.
    #[schemars(extend("writeOnly" = true))]
    secret_headers: Option<BTreeMap<String, String>>,
    /// Body of the request as JSON: any value. At most one of `json`, `text`, `form`, `multipart` and `file` may be
    /// given.
    json: Option<Value>,
    /// Body of the request as text.
    text: Option<String>,
    /// Body of the request as the fields of a form (`application/x-www-form-urlencoded`).
    form: Option<BTreeMap<String, OneOrMany<Scalar>>>,
    /// The same as `form`.
    urlencoded: Option<BTreeMap<String, OneOrMany<Scalar>>>,
    /// Body of the request as a form with files (`multipart/form-data`): its parts, in order, at most 100. Each has a
    /// `name`, and a `value` or a `file` of the workspace, which is streamed.
    multipart: Option<Vec<PartInput>>,
    /// Body of the request from a file of the workspace, `surefoot:NAME` (or `cloudomation:NAME`); it is streamed.
    file: Option<String>,
    /// User name for basic authentication.
    username: Option<String>,
    /// Password for basic authentication; empty if not given.
    password: Option<Secret>,
    /// Token for bearer authentication.
    token: Option<Secret>,
    /// Which statuses of the answer are a success: numbers such as 201, or classes such as `2xx`. `2xx` if not given.
    /// Any other status is an error with that status as `peer_code`.
    expect: Option<OneOrMany<ExpectedStatus>>,
    /// The same as `expect`.
    expected_status_code: Option<OneOrMany<ExpectedStatus>>,
    /// File of the workspace that takes the body of the answer, `surefoot:NAME` (or `cloudomation:NAME`); it is
    /// streamed. If not given, the body is in the output.
    dst: Option<String>,
    /// How many bytes the body of an answer in the output may have; 1 MiB by default. More are an error.
    #[schemars(range(max = 16_777_216))]
    response_bytes_max: Option<u64>,
    /// How many redirects are followed; 10 by default. Credentials are not sent on to another host.
    #[schemars(range(max = 100))]
    max_redirects: Option<u32>,
    /// False is the same as `max_redirects` 0: a redirect is an answer like any other.
    allow_redirects: Option<bool>,
    /// Certificates (PEM text) of the authorities that may have issued the server's certificate. If not given, those
    /// that the machine trusts.
    server_ca: Option<String>,
    /// The same as `server_ca`.
    cacert: Option<String>,
    /// Certificate of the client (PEM text, followed by its intermediate ones), for servers that ask for one.
    client_cert: Option<String>,
    /// Private key (PEM text, not encrypted) of `client_cert`.
    client_key: Option<Secret>,
    /// The request is signed with it by the specification Standard Webhooks, so that who gets it knows from whom it is:
    /// `whsec_` and 24 to 64 bytes in base64. Not for a body from a `file` or of `multipart`, and not sent on to
    /// another host.
    signing_secret: Option<Secret>,
    /// Header `webhook-id`, by which who gets a request twice knows it again. Of a signed request that changes
    /// something it is made by the engine if not given.
    message_id: Option<String>,
    /// What performing the call twice would mean, where the method does not tell: `read` for a search by POST.
    #[schemars(with = "Option<EffectName>")]
    #[expect(dead_code, reason = "the effect is read from the raw inputs, before the call")]
    effect: Option<String>,
    /// Seconds that connecting may take, TLS included; 60 by default.
    connect_timeout: Option<Seconds>,
    /// Seconds that may pass without a byte sent or received; 60 by default. How long the whole call may take is the
    /// call's own timeout.
    socket_timeout: Option<Seconds>,
    /// The same as `socket_timeout`.
    read_timeout: Option<Seconds>,
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum MethodName {
    #[default]
    Get,
    Head,
    Options,
    Put,
    Delete,
    Post,
    Patch,
}

/// A value of a parameter or field.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Scalar {
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(String),
}

/// One value or a list of them.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// A status, or a class of them.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum ExpectedStatus {
    Code(#[schemars(range(min = 200, max = 599))] u16),
    Class(#[schemars(regex(pattern = "^[2-5]xx$"))] String),
}

/// The request that a call makes, and what it expects.
pub(super) struct Plan {
    pub(super) method: Method,
    /// Without the secret parts of the query.
    pub(super) url: Url,
    pub(super) secret_query: BTreeMap<String, String>,
    pub(super) headers: HeaderMap,
    /// What proves who we are; for the host of `url` only.
    pub(super) credentials: HeaderMap,
    pub(super) body: Body,
    /// What the request is signed with.
    pub(super) signing_secret: Option<SigningSecret>,
    pub(super) message_id: Option<String>,
    pub(super) expected: Expected,
    pub(super) dst: Option<String>,
    pub(super) response_bytes_max: u64,
    pub(super) redirects_max: u32,
    pub(super) server_ca: Option<String>,
    /// Certificate and key; for the host of `url` only.
    pub(super) identity: Option<(String, Secret)>,
    pub(super) connect_limit: Duration,
    pub(super) socket_limit: Duration,
    /// Texts that must not stand in an error, also when the server repeats them.
    secrets: Vec<String>,
}

/// Body of a request.
pub(super) enum Body {
    None,
    Held { content_type: &'static str, bytes: Bytes },
    Parts(Vec<Part>),
    File(String),
}

/// Which statuses are a success.
pub(super) struct Expected(Vec<ExpectedStatus>);

impl Expected {
    pub(super) fn contains(&self, status: StatusCode) -> bool {
        if self.0.is_empty() {
            return status.is_success();
        }
        self.0.iter().any(|expected| match expected {
            ExpectedStatus::Code(code) => *code == status.as_u16(),
            ExpectedStatus::Class(class) => class.as_bytes().first() == status.as_str().as_bytes().first(),
        })
    }
}

impl Plan {
    /// The request that the inputs ask for. Inputs that do not fit together are `InvalidInput`.
    pub(super) fn new(mut inputs: HttpInputs) -> Result<Self, CallError> {
        let method = method(inputs.method.unwrap_or_default());
        let url = address(&mut inputs)?;
        let body = body(&mut inputs)?;
        let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&method);
        if is_safe && !matches!(body, Body::None) {
            return Err(invalid(format!("a {method} request has no body; give `method`, such as POST")));
        }
        let dst = inputs.dst.as_deref().map(|dst| file_name("dst", dst)).transpose()?;
        if dst.is_some() && method == Method::HEAD {
            return Err(invalid("the answer to HEAD has no body; drop `dst`"));
        }
        let signing_secret = signing_secret(inputs.signing_secret.as_ref(), &body)?;
        let mut secrets = Vec::new();
        let headers = header_map("headers", inputs.headers.take().unwrap_or_default())?;
        if matches!(body, Body::Parts(_)) && headers.contains_key(header::CONTENT_TYPE) {
            return Err(invalid("the header `Content-Type` is made by `multipart`; drop it"));
        }
        let credentials = credentials(&mut inputs, &headers, &mut secrets)?;
        let secret_query = inputs.secret_query.take().unwrap_or_default();
        secrets.extend(secret_query.values().cloned());
        secrets.retain(|secret| !secret.is_empty());
        // The longer ones first, since one may stand in another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let expected = either([("expect", inputs.expect), ("expected_status_code", inputs.expected_status_code)])?;
        let socket_limit = either([("socket_timeout", inputs.socket_timeout), ("read_timeout", inputs.read_timeout)])?;
        let follows = inputs.allow_redirects.unwrap_or(true);
        Ok(Self {
            method,
            url,
            secret_query,
            headers,
            credentials,
            body,
            signing_secret,
            message_id: inputs.message_id.take(),
            expected: Expected(expected.map_or_else(Vec::new, OneOrMany::into_vec)),
            dst,
            response_bytes_max: inputs.response_bytes_max.unwrap_or(RESPONSE_BYTES_MAX),
            redirects_max: if follows { inputs.max_redirects.unwrap_or(REDIRECTS_MAX) } else { 0 },
            server_ca: either([("server_ca", inputs.server_ca), ("cacert", inputs.cacert)])?,
            identity: match (inputs.client_cert, inputs.client_key) {
                (None, None) => None,
                (Some(certificate), Some(key)) => Some((certificate, key)),
                _ => return Err(invalid("`client_cert` and `client_key` belong together; give both")),
            },
            connect_limit: inputs.connect_timeout.unwrap_or(TIMEOUT).duration(),
            socket_limit: socket_limit.unwrap_or(TIMEOUT).duration(),
            secrets,
        })
    }

    /// `text` without the secrets of this call, which a server may repeat.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

fn signing_secret(secret: Option<&Secret>, body: &Body) -> Result<Option<SigningSecret>, CallError> {
    let Some(secret) = secret else { return Ok(None) };
    if matches!(body, Body::File(_) | Body::Parts(_)) {
        return Err(invalid(
            "a body from a `file` or of `multipart` cannot be signed; give `json`, `text` or `form`, or drop \
             `signing_secret`",
        ));
    }
    let parsed = SigningSecret::parse(secret.reveal());
    Ok(Some(parsed.map_err(|error| invalid(format!("input `signing_secret`: {error}")))?))
}

fn method(name: MethodName) -> Method {
    match name {
        MethodName::Get => Method::GET,
        MethodName::Head => Method::HEAD,
        MethodName::Options => Method::OPTIONS,
        MethodName::Put => Method::PUT,
        MethodName::Delete => Method::DELETE,
        MethodName::Post => Method::POST,
        MethodName::Patch => Method::PATCH,
    }
}

fn address(inputs: &mut HttpInputs) -> Result<Url, CallError> {
    let text = either([("url", inputs.url.take()), ("base_url", inputs.base_url.take())])?;
    let text = text.ok_or_else(|| invalid("input `url` is missing"))?;
    let mut url = Url::parse(text.trim()).map_err(|error| invalid(format!("input `url` is no address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid("input `url` must begin with http:// or https:// and name a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("input `url` must not hold a user or password; give `username` and `password`"));
    }
    url.set_fragment(None);
    if let Some(path) = inputs.path.as_deref() {
        if path.contains(['?', '#']) {
            return Err(invalid("input `path` must not hold `?` or `#`; give parameters in `query`"));
        }
        let path = format!("{}/{}", url.path().trim_end_matches('/'), path.trim_start_matches('/'));
        url.set_path(&path);
    }
    let query = either([("query", inputs.query.take()), ("params", inputs.params.take())])?.unwrap_or_default();
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs(query));
    }
    Ok(url)
}

fn body(inputs: &mut HttpInputs) -> Result<Body, CallError> {
    let form = either([("form", inputs.form.take()), ("urlencoded", inputs.urlencoded.take())])?;
    let held = |content_type, text: String| Body::Held { content_type, bytes: text.into() };
    let mut bodies = Vec::new();
    bodies.extend(inputs.json.take().map(|value| Ok(held("application/json", value.to_string()))));
    bodies.extend(inputs.text.take().map(|text| Ok(held("text/plain; charset=utf-8", text))));
    bodies.extend(form.map(|fields| {
        let mut encoder = url::form_urlencoded::Serializer::new(String::new());
        encoder.extend_pairs(pairs(fields));
        Ok(held("application/x-www-form-urlencoded", encoder.finish()))
    }));
    bodies.extend(inputs.multipart.take().map(|parts| multipart::parts(parts).map(Body::Parts)));
    bodies.extend(inputs.file.as_deref().map(|file| file_name("file", file).map(Body::File)));
    if bodies.len() > 1 {
        return Err(invalid("at most one of `json`, `text`, `form`, `multipart` and `file` can be the body"));
    }
    bodies.pop().unwrap_or(Ok(Body::None))
}

pub(super) fn file_name(input: &str, location: &str) -> Result<String, CallError> {
    let name = workspace_file_name(location).filter(|name| !name.is_empty());
    name.map(str::to_owned)
        .ok_or_else(|| invalid(format!("input `{input}` must name a file of the workspace, as `surefoot:NAME`")))
}

fn header_map(input: &str, headers: BTreeMap<String, String>) -> Result<HeaderMap, CallError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let known = HeaderName::try_from(name.as_str());
        let known = known.map_err(|_| invalid(format!("input `{input}`: `{name}` is no name of a header")))?;
        if OWN_HEADERS.contains(&known) {
            return Err(invalid(format!("input `{input}`: the header `{name}` is set by the connector itself")));
        }
        let value = HeaderValue::try_from(value.trim());
        let value = value.map_err(|_| invalid(format!("input `{input}`: the value of `{name}` cannot be sent")))?;
        map.insert(known, value);
    }
    Ok(map)
}

/// The headers that prove who we are. Their values, and what goes into them, are added to `secrets`.
fn credentials(
    inputs: &mut HttpInputs,
    headers: &HeaderMap,
    secrets: &mut Vec<String>,
) -> Result<HeaderMap, CallError> {
    let given = inputs.secret_headers.take().unwrap_or_default();
    secrets.extend(given.values().map(|value| value.trim().to_owned()));
    let mut map = header_map("secret_headers", given)?;
    let authorization = match (inputs.token.take(), inputs.username.take(), inputs.password.take()) {
        (None, None, None) => None,
        (Some(token), None, None) => {
            secrets.push(token.reveal().to_owned());
            Some(format!("Bearer {}", token.reveal()))
        }
        (None, Some(username), password) => {
            let password = password.as_ref().map_or("", Secret::reveal);
            let both = STANDARD.encode(format!("{username}:{password}"));
            secrets.extend([password.to_owned(), both.clone()]);
            Some(format!("Basic {both}"))
        }
        (None, None, Some(_)) => return Err(invalid("input `password` needs `username`")),
        (Some(_), ..) => return Err(invalid("give either `token`, or `username` and `password`")),
    };
    if let Some(authorization) = authorization {
        if map.contains_key(header::AUTHORIZATION) || headers.contains_key(header::AUTHORIZATION) {
            return Err(invalid(
                "the header `Authorization` is also made from `token` or `username`; give one of them",
            ));
        }
        let value = HeaderValue::try_from(authorization);
        let value = value.map_err(|_| invalid("input `token` has a character that cannot be sent"))?;
        map.insert(header::AUTHORIZATION, value);
    }
    for value in map.values_mut() {
        // So that no debug output shows it.
        value.set_sensitive(true);
    }
    Ok(map)
}

fn pairs(fields: BTreeMap<String, OneOrMany<Scalar>>) -> impl Iterator<Item = (String, String)> {
    fields.into_iter().flat_map(|(name, values)| {
        values.into_vec().into_iter().map(move |value| (name.clone(), value.into_text())).collect::<Vec<_>>()
    })
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

impl Scalar {
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(value) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan(inputs: Value) -> Result<Plan, CallError> {
        Plan::new(serde_json::from_value(inputs).expect("inputs of the right types"))
    }

    #[test]
    fn the_address_is_made_of_its_parts() {
        for (inputs, url) in [
            (json!({ "url": "http://h" }), "http://h/"),
            (json!({ "url": "https://h:443/a/?x=1#part" }), "https://h/a/?x=1"),
            (json!({ "base_url": "https://h/v1/", "path": "/items/7" }), "https://h/v1/items/7"),
            (json!({ "base_url": "https://h/v1", "path": "a b/ü" }), "https://h/v1/a%20b/%C3%BC"),
            (json!({ "url": "http://h/?a=1", "query": { "b": [2, true, "c&d"] } }), "http://h/?a=1&b=2&b=true&b=c%26d"),
            (json!({ "url": "http://h", "params": { "n": 1.5 } }), "http://h/?n=1.5"),
        ] {
            assert_eq!(plan(inputs.clone()).expect("a plan").url.as_str(), url, "{inputs}");
        }
    }

    #[test]
    fn inputs_that_do_not_fit_together_are_refused() {
        for (inputs, hint) in [
            (json!({}), "`url` is missing"),
            (json!({ "url": "http://a", "base_url": "http://b" }), "`url` and `base_url`"),
            (json!({ "url": "ftp://h/" }), "http://"),
            (json!({ "url": "no address" }), "no address"),
            (json!({ "url": "http://u:p@h/" }), "`username`"),
            (json!({ "url": "http://h", "path": "a?b=1" }), "`query`"),
            (json!({ "url": "http://h", "json": 1 }), "GET request has no body"),
            (json!({ "url": "http://h", "method": "POST", "json": 1, "text": "a" }), "at most one"),
            (json!({ "url": "http://h", "method": "POST", "file": "name" }), "`surefoot:NAME`"),
            (json!({ "url": "http://h", "method": "POST", "multipart": [] }), "1 to 100 parts"),
            (json!({ "url": "http://h", "multipart": [{"name": "a", "value": 1}] }), "GET request has no body"),
            (
                json!({
                    "url": "http://h", "method": "POST", "multipart": [{"name": "a", "value": 1}],
                    "headers": { "content-type": "multipart/form-data" },
                }),
                "`Content-Type` is made by `multipart`",
            ),
            (
                json!({
                    "url": "http://h", "method": "POST", "multipart": [{"name": "a", "value": 1}],
                    "signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                }),
                "cannot be signed",
            ),
            (json!({ "url": "http://h", "method": "HEAD", "dst": "surefoot:a" }), "HEAD"),
            (json!({ "url": "http://h", "headers": { "Content-Length": "1" } }), "itself"),
            (json!({ "url": "http://h", "headers": { "a b": "1" } }), "no name"),
            (json!({ "url": "http://h", "headers": { "a": "1\r\nb: 2" } }), "cannot be sent"),
            (json!({ "url": "http://h", "password": "p" }), "`username`"),
            (json!({ "url": "http://h", "token": "t", "username": "u" }), "either"),
            (json!({ "url": "http://h", "token": "t", "headers": { "authorization": "x" } }), "`Authorization`"),
            (json!({ "url": "http://h", "client_cert": "c" }), "both"),
        ] {
            let error = plan(inputs.clone()).err().unwrap_or_else(|| panic!("{inputs} is a plan"));
            assert!(error.message.contains(hint), "{inputs}: {error}");
        }
    }

    #[test]
    fn secrets_are_taken_out_of_texts_in_the_form_in_which_they_were_sent() {
        let plan = plan(json!({
            "url": "http://h", "username": "user", "password": "secret", "secret_query": { "key": "secret-key" },
            "secret_headers": { "x-key": " header-key " },
        }));
        let text = "secret secret-key header-key dXNlcjpzZWNyZXQ= user";
        assert_eq!(plan.expect("a plan").without_secrets(text), "*** *** *** *** user");
    }

    #[test]
    fn statuses_are_expected_by_number_or_class() {
        let expects = |expect: Value, status: u16| {
            let inputs = json!({ "url": "http://h", "expect": expect });
            plan(inputs).expect("a plan").expected.contains(StatusCode::from_u16(status).expect("a status"))
        };
        assert!(expects(Value::Null, 204) && !expects(Value::Null, 304));
        assert!(expects(json!(404), 404) && !expects(json!(404), 200));
        assert!(expects(json!(["2xx", 409]), 409) && expects(json!(["2xx", 409]), 299));
        assert!(!expects(json!("4xx"), 200) && expects(json!("4xx"), 499));
    }
}
