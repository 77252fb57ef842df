//! What a call brings, and what the flow sees of it: everything but keys and credentials.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use axum::http::{HeaderMap, HeaderName};
use serde_json::{Map, Value, json};

use super::content::{Content, KEY_NAME, Upload, object_of, pairs};
use super::signature::SIGNATURE;
use crate::access::bearer_token;
use crate::problem::{Answer, Problem};

/// One of the headers that may carry the key.
const KEY: HeaderName = HeaderName::from_static("x-surefoot-key");

/// Starts an execution once, however often a call with the same value is repeated.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Length of an idempotency key, bytes.
const IDEMPOTENCY_KEY_MAX: usize = 255;

/// Headers that a flow never sees.
const HIDDEN: [HeaderName; 5] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, KEY, HeaderName::from_static(SIGNATURE)];

/// A call of a webhook without its body. It has no `Debug`: the key stands in it.
pub(crate) struct Head {
    method: String,
    /// Below `/call`, without the slash before it.
    path: String,
    query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
}

impl Head {
    /// Of a request, with the body that is still to be read.
    pub(crate) fn of(path: String, request: Request) -> (Self, Body) {
        let (parts, body) = request.into_parts();
        let query = pairs(parts.uri.query().unwrap_or_default().as_bytes()).collect();
        (Self { method: parts.method.as_str().to_owned(), path, query, headers: parts.headers }, body)
    }

    /// Everything in it that may be the key.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        let in_query = self.query.iter().filter(|(name, _)| name == KEY_NAME).map(|(_, value)| value.as_str());
        let in_header = self.headers.get(KEY).and_then(|value| value.to_str().ok());
        in_query.chain(in_header).chain(bearer_token(&self.headers))
    }

    /// Whether the caller wants no more than the id of the execution: `?async=1`.
    pub(crate) fn is_async(&self) -> Answer<bool> {
        match self.query.iter().find(|(name, _)| name == "async").map(|(_, value)| value.as_str()) {
            None | Some("0" | "false") => Ok(false),
            Some("" | "1" | "true") => Ok(true),
            Some(other) => Err(Problem::malformed(format!("async is 1 or 0, not `{other}`"))),
        }
    }

    /// What a repeated call has again.
    pub(crate) fn idempotency_key(&self) -> Answer<Option<String>> {
        let mut values = self.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        match value.to_str() {
            Ok(key) if values.next().is_none() && !key.is_empty() && key.len() <= IDEMPOTENCY_KEY_MAX => {
                Ok(Some(key.to_owned()))
            }
            _ => Err(Problem::malformed(format!(
                "Idempotency-Key must be given once, with 1 to {IDEMPOTENCY_KEY_MAX} printable ASCII characters"
            ))),
        }
    }

    /// The input of the flow, with an empty list of `files`, and what belongs there. With `without_key`, `key` is taken
    /// out of query and body too.
    pub(crate) fn into_input(self, content: Content, without_key: bool) -> (Value, Vec<Upload>) {
        let Content { mut json, body, files } = content;
        let mut query = self.query;
        if without_key {
            query.retain(|(name, _)| name != KEY_NAME);
            if let Some(object) = json.as_object_mut() {
                object.remove(KEY_NAME);
            }
        }
        let (query, headers) = (object_of(query), shown_headers(&self.headers));
        let is_base64 = body.as_ref().is_some_and(|body| body.is_base64);
        let input = json!({
            "method": self.method, "path": self.path, "query": query, "headers": headers, "json": json,
            "body": body.map(|body| body.text), "body_is_base64": is_base64, "files": [],
        });
        (input, files)
    }
}

/// Names in lower case; values of a name that comes again are joined, as HTTP has it.
fn shown_headers(headers: &HeaderMap) -> Map<String, Value> {
    let shown = headers.keys().filter(|name| !HIDDEN.contains(name));
    let joined = |name: &HeaderName| {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        Value::String(values.collect::<Vec<_>>().join(", "))
    };
    shown.map(|name| (name.as_str().to_owned(), joined(name))).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::header::CONTENT_TYPE;

    use super::*;

    async fn input(request: Request, without_key: bool) -> (Value, Vec<Upload>) {
        let (head, body) = Head::of("a/b".to_owned(), request);
        let body = axum::body::to_bytes(body, 1000).await.unwrap();
        let content = Content::parse(&head.headers, &body).await.unwrap();
        head.into_input(content, without_key)
    }

    fn post(ty: &str, query: &str, body: &'static str) -> Request {
        Request::post(format!("/call?{query}")).header(CONTENT_TYPE, ty).body(body.into()).unwrap()
    }

    #[tokio::test]
    async fn the_input_has_these_fields_and_no_others() {
        let (input, files) = input(post("text/plain", "a=1&a=2&b=%C3%A4", ""), true).await;
        let headers = json!({"content-type": "text/plain"});
        let expected = json!({
            "method": "POST", "path": "a/b", "query": {"a": ["1", "2"], "b": "ä"}, "headers": headers,
            "json": null, "body": null, "body_is_base64": false, "files": [],
        });
        assert_eq!((input, files.len()), (expected, 0));
    }

    #[tokio::test]
    async fn keys_are_found_in_the_head_and_shown_nowhere() {
        let request = || {
            Request::post("/call?key=in-query&x=1")
                .header("X-Surefoot-Key", "in-header")
                .header("Authorization", "bearer in-bearer")
                .header("Cookie", "session=secret")
                .header("Webhook-Signature", "v1,signature")
                .header("X-Other", "1")
                .header("X-Other", "2")
                .header("Content-Type", "application/json")
                .body(Body::from(r#"{"key": "in-body", "y": 2}"#))
                .unwrap()
        };
        let (head, _) = Head::of(String::new(), request());
        assert_eq!(head.keys().collect::<Vec<_>>(), ["in-query", "in-header", "in-bearer"]);
        let (input, _) = input(request(), true).await;
        assert_eq!(input["query"], json!({"x": "1"}));
        assert_eq!(input["json"], json!({"y": 2}));
        assert_eq!(input["headers"], json!({"content-type": "application/json", "x-other": "1, 2"}));
    }

    #[tokio::test]
    async fn where_no_key_is_used_the_word_belongs_to_the_caller() {
        let (input, _) = input(post("application/json", "key=q", r#"{"key": "PROJ-1"}"#), false).await;
        assert_eq!(input["json"], json!({"key": "PROJ-1"}));
        assert_eq!(input["query"], json!({"key": "q"}));
    }

    #[test]
    fn asynchronous_when_asked_for() {
        for (query, expected) in
            [("", false), ("async=0", false), ("async=1", true), ("async", true), ("async=true", true)]
        {
            assert_eq!(Head::of(String::new(), post("", query, "")).0.is_async().unwrap(), expected, "{query}");
        }
        assert!(Head::of(String::new(), post("", "async=perhaps", "")).0.is_async().is_err());
    }
}
