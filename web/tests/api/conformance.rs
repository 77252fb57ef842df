//! Holds every answer in these tests against the OpenAPI document: an operation, status, media type or field that the
//! document does not have fails the test that met it.

use std::sync::LazyLock;

use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

static DOCUMENT: LazyLock<Value> = LazyLock::new(surefoot_web::openapi);

/// Panics unless the document describes that answer.
#[track_caller]
pub(crate) fn check(method: &Method, path: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) {
    let operation = operation(method, path);
    let responses = match operation {
        Some(operation) => &operation["responses"],
        // What is not there is answered with a problem, whatever was asked for.
        None => {
            assert!(status.is_client_error() || status.is_server_error(), "{method} {path} is not described");
            &operation_of(&DOCUMENT["paths"]["/healthz"], &Method::GET).expect("it is there")["responses"]
        }
    };
    let class = format!("{}XX", status.as_u16() / 100);
    let response = [status.as_str(), &class, "default"].iter().find_map(|key| responses.get(*key));
    let response = response.unwrap_or_else(|| panic!("{method} {path}: the status {status} is not described"));
    if response.get("content").is_none() || *method == Method::HEAD {
        return;
    }
    let media_type = headers["content-type"].to_str().unwrap();
    let content = &response["content"];
    let schema = content.get(media_type).unwrap_or_else(|| panic!("{method} {path}: {media_type} is not described"));
    if media_type.ends_with("json") {
        let answer: Value = serde_json::from_slice(body).unwrap();
        let mut whole = schema["schema"].clone();
        whole["components"] = DOCUMENT["components"].clone();
        let validator = jsonschema::draft202012::new(&whole).unwrap();
        let wrong: Vec<String> =
            validator.iter_errors(&answer).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{method} {path} {status} answers not as described: {wrong:?}\n{answer:#}");
    }
}

fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let mut fitting: Vec<(&String, &Value)> = paths.iter().filter(|(template, _)| fits(template, path)).collect();
    // A fixed word is nearer than a parameter.
    fitting.sort_by_key(|(template, _)| template.matches('{').count());
    fitting.into_iter().find_map(|(_, item)| operation_of(item, method))
}

fn operation_of<'a>(item: &'a Value, method: &Method) -> Option<&'a Value> {
    let method = if *method == Method::HEAD { "get".to_owned() } else { method.as_str().to_ascii_lowercase() };
    item.get(method)
}

fn fits(template: &str, path: &str) -> bool {
    if let Some(base) = template.strip_suffix("{path}") {
        return fits_exactly(
            base,
            &path.split('/').take(base.split('/').count() - 1).fold(String::new(), |all, part| all + part + "/"),
        );
    }
    fits_exactly(template, path)
}

fn fits_exactly(template: &str, path: &str) -> bool {
    let (wanted, given): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    wanted.len() == given.len()
        && wanted
            .iter()
            .zip(given)
            .all(|(wanted, given)| (wanted.starts_with('{') && !given.is_empty()) || *wanted == given)
}

#[test]
fn the_document_is_whole() {
    let document = &*DOCUMENT;
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id), "{method} {path}: {id} is there twice");
            let in_path = operation["parameters"].as_array().unwrap().iter().filter(|one| one["in"] == "path");
            assert_eq!(in_path.count(), path.matches('{').count(), "{method} {path}");
            let is_open = operation.get("security") == Some(&json!([]));
            let begins = *method == "post" && ["/api/v1/sessions", "/api/v1/setup"].contains(&path.as_str());
            let is_guarded = path.starts_with("/api/v1/") || path == "/metrics";
            assert_eq!(is_open, begins || !is_guarded, "{method} {path}");
        }
    }
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name} is named and not there");
    }
}

#[test]
fn what_is_not_described_is_noticed() {
    let header =
        |value: &'static str| HeaderMap::from_iter([("content-type".parse().unwrap(), value.parse().unwrap())]);
    let checked = |method: Method, path: &'static str, status: u16, ty: &'static str, body: &'static str| {
        let status = StatusCode::from_u16(status).unwrap();
        std::panic::catch_unwind(move || check(&method, path, status, &header(ty), body.as_bytes())).is_ok()
    };
    let good = r#"{"status": "ok", "version": "1"}"#;
    assert!(checked(Method::GET, "/healthz", 200, "application/json", good));
    assert!(!checked(Method::GET, "/healthz", 202, "application/json", good));
    assert!(!checked(Method::GET, "/healthz", 200, "text/html", good));
    assert!(!checked(Method::GET, "/healthz", 200, "application/json", r#"{"status": "ok", "version": "1", "x": 1}"#));
    assert!(!checked(Method::GET, "/healthy", 200, "application/json", good));
    assert!(!checked(Method::GET, "/api/v1/flows/f", 404, "application/problem+json", r#"{"code": "not_found"}"#));
    assert!(!checked(Method::GET, "/api/v1/flows/f", 200, "application/json", r#"{"id": "1", "name": "f"}"#));
}
