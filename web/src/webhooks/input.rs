//! What a call brings, and what the flow sees of it: everything but keys and credentials.

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, PROXY_AUTHORIZATION};
use axum::http::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::access::bearer_token;
use crate::extract::{parse_json, read_body};
use crate::problem::{Answer, Problem};

/// One of the headers that may carry the key.
const KEY: HeaderName = HeaderName::from_static("x-surefoot-key");

/// Name of the key in the query and in a body.
const KEY_NAME: &str = "key";

/// Headers that a flow never sees.
const HIDDEN: [HeaderName; 4] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, KEY];

/// A call of a webhook. It has no `Debug`: the key stands in it.
pub(crate) struct Call {
    method: String,
    /// Below `/call`, without the slash before it.
    path: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    content: Answer<Content>,
}

/// A body, by its content type.
enum Content {
    /// There is none.
    Nothing,
    /// JSON, or the fields of a form.
    Document(Value),
    /// Any other; base64 when it is no text.
    Text(String),
}

impl Call {
    /// Reads a request, body and all. That a body is not what it says to be is told by
    /// [`into_input`](Self::into_input): who has no key does not learn it.
    pub(crate) async fn read(path: String, request: Request, body_bytes_max: usize) -> Answer<Self> {
        let method = request.method().as_str().to_owned();
        let query = pairs(request.uri().query().unwrap_or_default().as_bytes());
        let headers = request.headers().clone();
        let body = read_body(request, body_bytes_max).await?;
        let content = Content::parse(&headers, &body);
        Ok(Self { method, path, query, headers, content })
    }

    /// Everything that may be the key.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        let in_query = self.query.iter().filter(|(name, _)| name == KEY_NAME).map(|(_, value)| value.as_str());
        let in_header = self.headers.get(KEY).and_then(|value| value.to_str().ok());
        let in_body = match &self.content {
            Ok(Content::Document(document)) => document[KEY_NAME].as_str(),
            _ => None,
        };
        in_query.chain(in_header).chain(bearer_token(&self.headers)).chain(in_body)
    }

    /// Whether the caller wants no more than the id of the execution: `?async=1`.
    pub(crate) fn is_async(&self) -> Answer<bool> {
        match self.query.iter().find(|(name, _)| name == "async").map(|(_, value)| value.as_str()) {
            None | Some("0" | "false") => Ok(false),
            Some("" | "1" | "true") => Ok(true),
            Some(other) => Err(Problem::malformed(format!("async is 1 or 0, not `{other}`"))),
        }
    }

    /// The input of the flow. With `without_key`, `key` is taken out of query and body too.
    pub(crate) fn into_input(self, without_key: bool) -> Answer<Value> {
        let mut query = self.query;
        if without_key {
            query.retain(|(name, _)| name != KEY_NAME);
        }
        let (json, body) = match self.content? {
            Content::Nothing => (Value::Null, Value::Null),
            Content::Text(text) => (Value::Null, Value::String(text)),
            Content::Document(mut document) => {
                if without_key && let Some(object) = document.as_object_mut() {
                    object.remove(KEY_NAME);
                }
                (document, Value::Null)
            }
        };
        let (query, headers) = (object_of(query), shown_headers(&self.headers));
        Ok(json!({
            "method": self.method, "path": self.path, "query": query, "headers": headers, "json": json, "body": body,
        }))
    }
}

impl Content {
    fn parse(headers: &HeaderMap, body: &Bytes) -> Answer<Self> {
        let ty = headers.get(CONTENT_TYPE).and_then(|ty| ty.to_str().ok()).unwrap_or_default();
        let ty = ty.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if body.is_empty() {
            Ok(Self::Nothing)
        } else if ty == "application/json" || ty == "text/json" || ty.ends_with("+json") {
            parse_json(body).map(Self::Document)
        } else if ty == "application/x-www-form-urlencoded" {
            Ok(Self::Document(Value::Object(object_of(pairs(body)))))
        } else {
            let text = std::str::from_utf8(body).map_or_else(|_| STANDARD.encode(body), str::to_owned);
            Ok(Self::Text(text))
        }
    }
}

fn pairs(encoded: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded).into_owned().collect()
}

/// A name that comes once has its value, one that comes again a list of them.
fn object_of(pairs: Vec<(String, String)>) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, value) in pairs {
        match object.get_mut(&name) {
            None => {
                object.insert(name, Value::String(value));
            }
            Some(Value::Array(values)) => values.push(Value::String(value)),
            Some(single) => *single = Value::Array(vec![single.take(), Value::String(value)]),
        }
    }
    object
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
    use axum::body::Body;

    use super::*;

    async fn call(ty: &str, query: &str, body: impl Into<Body>) -> Call {
        let request = Request::post(format!("/call?{query}")).header(CONTENT_TYPE, ty).body(body.into()).unwrap();
        Call::read("a/b".to_owned(), request, 1000).await.unwrap()
    }

    #[tokio::test]
    async fn bodies_arrive_by_their_type() {
        let cases: [(&str, &[u8], Value, Value); 8] = [
            ("application/json", br#"{"a": [1]}"#, json!({"a": [1]}), Value::Null),
            ("application/json; charset=utf-8", b"7", json!(7), Value::Null),
            ("application/cloudevents+json", b"[]", json!([]), Value::Null),
            (
                "application/x-www-form-urlencoded",
                b"a=1&b=x%20y&b=z",
                json!({"a": "1", "b": ["x y", "z"]}),
                Value::Null,
            ),
            ("text/plain", "häh".as_bytes(), Value::Null, json!("häh")),
            ("application/octet-stream", &[0xff, 0x00], Value::Null, json!("/wA=")),
            ("", b"{}", Value::Null, json!("{}")),
            ("application/json", b"", Value::Null, Value::Null),
        ];
        for (ty, sent, json, body) in cases {
            let input = call(ty, "", sent.to_vec()).await.into_input(true).unwrap();
            assert_eq!((&input["json"], &input["body"]), (&json, &body), "{ty}");
        }
        assert!(call("application/json", "", "{").await.into_input(true).is_err());
    }

    #[tokio::test]
    async fn the_input_has_these_fields_and_no_others() {
        let input = call("text/plain", "a=1&a=2&b=%C3%A4", "").await.into_input(true).unwrap();
        let headers = json!({"content-type": "text/plain"});
        let expected = json!({
            "method": "POST", "path": "a/b", "query": {"a": ["1", "2"], "b": "ä"}, "headers": headers,
            "json": null, "body": null,
        });
        assert_eq!(input, expected);
    }

    #[tokio::test]
    async fn keys_are_found_everywhere_and_shown_nowhere() {
        let request = Request::post("/call?key=in-query&x=1")
            .header("X-Surefoot-Key", "in-header")
            .header("Authorization", "bearer in-bearer")
            .header("Cookie", "session=secret")
            .header("X-Other", "1")
            .header("X-Other", "2")
            .header("Content-Type", "application/json")
            .body(Body::from(r#"{"key": "in-body", "y": 2}"#))
            .unwrap();
        let call = Call::read(String::new(), request, 1000).await.unwrap();
        assert_eq!(call.keys().collect::<Vec<_>>(), ["in-query", "in-header", "in-bearer", "in-body"]);
        let input = call.into_input(true).unwrap();
        assert_eq!(input["query"], json!({"x": "1"}));
        assert_eq!(input["json"], json!({"y": 2}));
        assert_eq!(input["headers"], json!({"content-type": "application/json", "x-other": "1, 2"}));
    }

    #[tokio::test]
    async fn where_no_key_is_used_the_word_belongs_to_the_caller() {
        let input = call("application/json", "key=q", r#"{"key": "PROJ-1"}"#).await.into_input(false).unwrap();
        assert_eq!(input["json"], json!({"key": "PROJ-1"}));
        assert_eq!(input["query"], json!({"key": "q"}));
    }

    #[tokio::test]
    async fn asynchronous_when_asked_for() {
        for (query, expected) in
            [("", false), ("async=0", false), ("async=1", true), ("async", true), ("async=true", true)]
        {
            assert_eq!(call("", query, "").await.is_async().unwrap(), expected, "{query}");
        }
        assert!(call("", "async=perhaps", "").await.is_async().is_err());
    }
}
