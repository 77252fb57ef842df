//! A call's body, taken apart by its content type. All of it stands in memory, bounded by the server's limit for
//! bodies; how much a body may be made of is bounded here.

use std::borrow::Cow;
use std::fmt;

use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use multer::{Field, Multipart};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::extract::parse_json;
use crate::problem::{Answer, Problem};

/// Name of the key in the query and in a body.
pub(crate) const KEY_NAME: &str = "key";

/// Fields of a form, files among them.
const FIELDS_MAX: usize = 1000;

/// Files of one call.
const FILES_MAX: usize = 100;

/// What is no text stands in the input as base64 up to this length, bytes; what is longer comes as a file.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// What a body holds.
#[derive(Default)]
pub(crate) struct Content {
    /// A JSON document, or the fields of a form.
    pub(crate) json: Value,
    /// Any other that is short, or text.
    pub(crate) body: Option<Raw>,
    pub(crate) files: Vec<Upload>,
}

/// A body that is no document.
pub(crate) struct Raw {
    pub(crate) text: String,
    /// Whether `text` is base64 of what came.
    pub(crate) is_base64: bool,
}

/// A file of a form, or a body that is none and too long to be shown.
pub(crate) struct Upload {
    /// The form's field.
    pub(crate) field: Option<String>,
    /// As the caller said.
    pub(crate) file_name: String,
    /// As the caller said.
    pub(crate) content_type: Option<String>,
    pub(crate) content: Bytes,
}

/// What a body is, by what its sender says.
enum Form {
    Json,
    UrlEncoded,
    Multipart,
    Bytes,
}

/// The content type as it was sent.
fn content_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|ty| ty.to_str().ok()).unwrap_or_default()
}

impl Form {
    fn of(content_type: &str) -> Self {
        match &*content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase() {
            "application/json" | "text/json" => Self::Json,
            ty if ty.ends_with("+json") => Self::Json,
            "application/x-www-form-urlencoded" => Self::UrlEncoded,
            "multipart/form-data" => Self::Multipart,
            _ => Self::Bytes,
        }
    }
}

/// Whether a body of that type has fields, of which one may be the key.
pub(crate) fn may_have_key(headers: &HeaderMap) -> bool {
    !matches!(Form::of(content_type(headers)), Form::Bytes)
}

/// The field `key` of a document or a form, if it is one text. Of nothing else anything is kept: whoever has no key
/// makes the server read a body and not build one.
pub(crate) async fn key_in(headers: &HeaderMap, body: &Bytes) -> Option<String> {
    let ty = content_type(headers);
    match Form::of(ty) {
        Form::Json => serde_json::from_slice::<KeyOf>(body).ok()?.0,
        Form::UrlEncoded => {
            let mut keys = form_urlencoded::parse(body).take(FIELDS_MAX).filter(|(name, _)| name == KEY_NAME);
            let (_, key) = keys.next()?;
            keys.next().is_none().then(|| key.into_owned())
        }
        Form::Multipart => {
            let mut parts = Multipart::new(in_one_piece(body), multer::parse_boundary(ty).ok()?);
            let mut key = None;
            while let Some(part) = parts.next_field().await.ok()? {
                if part.index() >= FIELDS_MAX {
                    return None;
                }
                if part.file_name().is_none() && part.name() == Some(KEY_NAME) {
                    let (_, text) = text_of(part).await.ok()?;
                    if key.replace(text).is_some() {
                        return None;
                    }
                }
            }
            key
        }
        Form::Bytes => None,
    }
}

/// The field `key` of a JSON object. The others are read over.
struct KeyOf(Option<String>);

impl<'de> Deserialize<'de> for KeyOf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = KeyOf;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KeyOf, A::Error> {
                let mut key = None;
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    match &*name {
                        KEY_NAME => key = serde_json::from_str(map.next_value::<&RawValue>()?.get()).ok(),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(KeyOf(key))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

fn in_one_piece(body: &Bytes) -> impl futures::Stream<Item = Result<Bytes, std::convert::Infallible>> + use<> {
    futures::stream::iter([Ok(body.clone())])
}

impl Content {
    /// By content type.
    pub(crate) async fn parse(headers: &HeaderMap, body: &Bytes) -> Answer<Self> {
        refuse_encoded(headers)?;
        if body.is_empty() {
            return Ok(Self::default());
        }
        let ty = content_type(headers);
        match Form::of(ty) {
            Form::Json => Ok(Self { json: parse_json(body)?, ..Self::default() }),
            Form::UrlEncoded => {
                let fields: Vec<_> = pairs(body).take(FIELDS_MAX + 1).collect();
                check_number(fields.len(), FIELDS_MAX, "fields")?;
                Ok(Self { json: Value::Object(object_of(fields)), ..Self::default() })
            }
            Form::Multipart => {
                let boundary = multer::parse_boundary(ty).map_err(|error| not_multipart(&error))?;
                Self::from_parts(boundary, body).await
            }
            Form::Bytes => Ok(Self::from_bytes(ty, body)),
        }
    }

    fn from_bytes(ty: &str, bytes: &Bytes) -> Self {
        let (text, is_base64) = match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), false),
            Err(_) if bytes.len() <= INLINE_BYTES_MAX => (STANDARD.encode(bytes), true),
            Err(_) => {
                let content_type = (!ty.is_empty()).then(|| ty.to_owned());
                let upload = Upload { field: None, file_name: "body".to_owned(), content_type, content: bytes.clone() };
                return Self { files: vec![upload], ..Self::default() };
            }
        };
        Self { body: Some(Raw { text, is_base64 }), ..Self::default() }
    }

    async fn from_parts(boundary: String, body: &Bytes) -> Answer<Self> {
        let mut parts = Multipart::new(in_one_piece(body), boundary);
        let (mut fields, mut files) = (Vec::new(), Vec::new());
        while let Some(part) = parts.next_field().await.map_err(|error| not_multipart(&error))? {
            check_number(fields.len() + files.len() + 1, FIELDS_MAX, "fields")?;
            match part.file_name() {
                Some(_) => files.extend(file_of(part).await?),
                None => fields.push(text_of(part).await?),
            }
            check_number(files.len(), FILES_MAX, "files")?;
        }
        Ok(Self { json: Value::Object(object_of(fields)), body: None, files })
    }
}

/// None for what a browser sends where no file was chosen.
async fn file_of(part: Field<'_>) -> Answer<Option<Upload>> {
    let field = name_of(&part)?;
    let file_name = part.file_name().unwrap_or_default().to_owned();
    let content_type = part.content_type().map(ToString::to_string);
    let content = part.bytes().await.map_err(|error| not_multipart(&error))?;
    let is_there = !file_name.is_empty() || !content.is_empty();
    Ok(is_there.then_some(Upload { field: Some(field), file_name, content_type, content }))
}

async fn text_of(part: Field<'_>) -> Answer<(String, String)> {
    let field = name_of(&part)?;
    let bytes = part.bytes().await.map_err(|error| not_multipart(&error))?;
    match String::from_utf8(bytes.into()) {
        Ok(text) => Ok((field, text)),
        Err(_) => {
            let problem = Problem::malformed(format!("the field `{field}` is no text in UTF-8"));
            Err(problem.hint("send what is no text as a file: with a `filename`"))
        }
    }
}

fn name_of(part: &Field<'_>) -> Answer<String> {
    let unnamed = || Problem::malformed(format!("part {} of the body has no `name`", part.index() + 1));
    part.name().filter(|name| !name.is_empty()).map(str::to_owned).ok_or_else(unnamed)
}

fn not_multipart(error: &multer::Error) -> Problem {
    Problem::malformed(format!("the body is no multipart form: {error}"))
}

fn check_number(number: usize, max: usize, what: &str) -> Answer<()> {
    if number <= max {
        return Ok(());
    }
    let detail = format!("the body has more than {max} {what}");
    Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", detail))
}

/// A compressed body could be as large as it likes.
fn refuse_encoded(headers: &HeaderMap) -> Answer<()> {
    let encoded = |value: &&HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    let Some(encoding) = headers.get_all(CONTENT_ENCODING).iter().find(encoded) else {
        return Ok(());
    };
    let detail = format!("bodies with the Content-Encoding {encoding:?} are not read");
    let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail);
    Err(problem.hint("send the body as it is").header(ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

/// The fields of a form, or of a query.
pub(crate) fn pairs(encoded: &[u8]) -> impl Iterator<Item = (String, String)> {
    form_urlencoded::parse(encoded).into_owned()
}

/// A name that comes once has its value, one that comes again a list of them.
pub(crate) fn object_of(pairs: Vec<(String, String)>) -> Map<String, Value> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn parse(ty: &str, body: impl Into<Bytes>) -> Answer<Content> {
        Content::parse(&HeaderMap::from_iter([(CONTENT_TYPE, ty.parse().unwrap())]), &body.into()).await
    }

    async fn refused(ty: &str, body: impl Into<Bytes>) -> Value {
        let Err(problem) = parse(ty, body).await else { panic!("{ty} is taken") };
        serde_json::to_value(problem).unwrap()
    }

    #[tokio::test]
    async fn documents_forms_and_texts_arrive_by_their_type() {
        let cases: [(&str, &[u8], Value, Option<&str>); 7] = [
            ("application/json", br#"{"a": [1]}"#, json!({"a": [1]}), None),
            ("application/json; charset=utf-8", b"7", json!(7), None),
            ("application/cloudevents+json", b"[]", json!([]), None),
            ("application/x-www-form-urlencoded", b"a=1&b=x%20y&b=z", json!({"a": "1", "b": ["x y", "z"]}), None),
            ("text/plain", "häh".as_bytes(), Value::Null, Some("häh")),
            ("", b"{}", Value::Null, Some("{}")),
            ("application/json", b"", Value::Null, None),
        ];
        for (ty, sent, json, body) in cases {
            let content = parse(ty, sent.to_vec()).await.unwrap();
            assert_eq!((&content.json, content.body.as_ref().map(|raw| raw.text.as_str())), (&json, body), "{ty}");
            assert!(content.files.is_empty() && content.body.is_none_or(|raw| !raw.is_base64), "{ty}");
        }
    }

    #[tokio::test]
    async fn what_is_no_text_is_base64_while_it_is_short() {
        let short = parse("application/octet-stream", vec![0xff, 0x00]).await.unwrap();
        let body = short.body.unwrap();
        assert_eq!((body.text.as_str(), body.is_base64, short.files.len()), ("/wA=", true, 0));
        let bytes = vec![0xff; INLINE_BYTES_MAX + 1];
        let long = parse("image/png", bytes.clone()).await.unwrap();
        assert!(long.body.is_none());
        let [Upload { field: None, file_name, content_type, content }] = &long.files[..] else { panic!() };
        assert_eq!(
            (file_name.as_str(), content_type.as_deref(), &content[..]),
            ("body", Some("image/png"), &bytes[..])
        );
    }

    #[tokio::test]
    async fn a_multipart_form_has_fields_and_files() {
        let body = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
             --x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nzwei\r\n\
             --x\r\nContent-Disposition: form-data; name=\"none\"; filename=\"\"\r\n\r\n\r\n\
             --x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a b.txt\"\r\n\
             Content-Type: text/plain\r\n\r\nline\r\n--y\r\n\r\n--x--\r\n";
        let content = parse("multipart/form-data; boundary=x", body).await.unwrap();
        assert_eq!(content.json, json!({"a": ["1", "zwei"]}));
        let [Upload { field, file_name, content_type, content }] = &content.files[..] else { panic!() };
        assert_eq!((field.as_deref(), file_name.as_str()), (Some("f"), "a b.txt"));
        assert_eq!((content_type.as_deref(), &content[..]), (Some("text/plain"), &b"line\r\n--y\r\n"[..]));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_refused_with_its_place() {
        let part =
            |head: &str, text: &str| format!("--x\r\nContent-Disposition: form-data{head}\r\n\r\n{text}\r\n--x--\r\n");
        let mut latin = part("; name=\"ort\"", "K?ln").into_bytes();
        let place = latin.iter().position(|byte| *byte == b'?').unwrap();
        latin[place] = 0xf6;
        let many = "a=1&".repeat(FIELDS_MAX + 1);
        let file = "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n1\r\n";
        let files = file.repeat(FILES_MAX + 1) + "--x--\r\n";
        let cases: [(&str, Vec<u8>, u64, &str); 8] = [
            ("application/json", b"{\"a\":\n]".to_vec(), 400, "line 2 column 1"),
            ("application/json", vec![b'"', 0xff, b'"'], 400, "column"),
            ("multipart/form-data", b"--x--".to_vec(), 400, "boundary"),
            ("multipart/form-data; boundary=x", b"--x\r\n".to_vec(), 400, "multipart"),
            ("multipart/form-data; boundary=x", part("", "1").into_bytes(), 400, "part 1 of the body has no `name`"),
            ("multipart/form-data; boundary=x", latin, 400, "the field `ort` is no text"),
            ("multipart/form-data; boundary=x", files.into_bytes(), 413, "more than 100 files"),
            ("application/x-www-form-urlencoded", many.into_bytes(), 413, "more than 1000 fields"),
        ];
        for (ty, body, status, reason) in cases {
            let problem = refused(ty, body).await;
            assert_eq!(problem["status"], status, "{problem}");
            assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
        }
    }

    #[tokio::test]
    async fn the_key_in_a_body_is_one_text_and_what_the_flow_would_see_as_the_key() {
        let part = |head: &str, text: &str| {
            format!("--x\r\nContent-Disposition: form-data; name=\"key\"{head}\r\n\r\n{text}\r\n")
        };
        let multipart = |parts: &[String]| parts.concat() + "--x--\r\n";
        let (form, json) = ("multipart/form-data; boundary=x", "application/json");
        let encoded = "application/x-www-form-urlencoded";
        let cases = [
            (json, r#"{"a": {"key": "inner"}, "\u006bey": "k\u0031", "z": [[[]]]}"#.to_owned(), Some("k1")),
            (json, r#"{"key": "first", "key": "last"}"#.to_owned(), Some("last")),
            ("application/x+json", r#" {"key": "k"} "#.to_owned(), Some("k")),
            (json, r#"{"key": 7}"#.to_owned(), None),
            (json, r#"{"key": ["k"]}"#.to_owned(), None),
            (json, r#"["k"]"#.to_owned(), None),
            (json, r#""k""#.to_owned(), None),
            (json, r#"{"key": "k"} x"#.to_owned(), None),
            (json, r#"{"key": "k""#.to_owned(), None),
            (json, String::new(), None),
            (encoded, "a=1&key=k%31".to_owned(), Some("k1")),
            (encoded, "key=k&key=k".to_owned(), None),
            (form, multipart(&[part("", "k")]), Some("k")),
            (form, multipart(&[part("; filename=\"key\"", "k")]), None),
            (form, multipart(&[part("", "k"), part("", "k")]), None),
            (form, part("", "k"), None),
            ("text/plain", r#"{"key": "k"}"#.to_owned(), None),
        ];
        for (ty, body, expected) in cases {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, ty.parse().unwrap())]);
            let body = Bytes::from(body);
            let found = key_in(&headers, &body).await;
            assert_eq!(found.as_deref(), expected, "{ty}: {body:?}");
            assert!(may_have_key(&headers) || found.is_none(), "{ty}");
            let shown = Content::parse(&headers, &body).await.map(|content| content.json);
            assert_eq!(found.as_deref(), shown.ok().as_ref().and_then(|json| json[KEY_NAME].as_str()), "{body:?}");
        }
    }

    #[tokio::test]
    async fn a_compressed_body_is_not_read() {
        let headers = |encoding: &str| HeaderMap::from_iter([(CONTENT_ENCODING, encoding.parse().unwrap())]);
        let Err(problem) = Content::parse(&headers("gzip"), &Bytes::from("x")).await else { panic!() };
        assert_eq!(serde_json::to_value(problem).unwrap()["status"], 415);
        assert!(Content::parse(&headers("Identity"), &Bytes::from("x")).await.is_ok());
    }
}
