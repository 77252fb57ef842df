//! The OpenAPI document, made from the table of operations.

use std::sync::LazyLock;

use axum::Json;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use surefoot_engine::Role;
use surefoot_engine::query::{CONNECTION_FIELDS, Field, FieldType, Kind};

use crate::cookies;
use crate::operation::{Content, Needs, Operation};

/// `GET /api/v1/openapi.json`.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/openapi.json", show)
            .role(Role::Viewer)
            .summary("This document")
            .answers_of(StatusCode::OK, || json!({ "type": "object" })),
    ]
}

async fn show() -> Json<&'static Value> {
    Json(of_server())
}

/// What the server answers with. Made when somebody asks for the first time: it is large.
pub(crate) fn of_server() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| document(&crate::routes::operations()));
    &DOCUMENT
}

/// The document that describes these operations.
fn document(operations: &[Operation]) -> Value {
    let mut paths = Map::new();
    for operation in operations.iter().filter(|operation| !operation.is_page) {
        // OpenAPI has no wildcards: a parameter stands for the rest of the path.
        let path = operation.path.replace("{*", "{");
        let item = paths.entry(path).or_insert_with(|| json!({}));
        for method in &operation.methods {
            item[method.as_str().to_ascii_lowercase()] = described(operation, method.as_str());
        }
    }
    let schemas: Map<String, Value> = Kind::ALL
        .iter()
        .map(|(kind, ..)| (title(*kind), record(*kind)))
        .chain([("Problem".into(), problem())])
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Surefoot",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every answer that is not a success is a problem document (RFC 9457) with a stable `code`. \
                            Times are RFC 3339, in UTC, to the microsecond.",
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "session": {
                    "type": "apiKey", "in": "cookie", "name": cookies::SESSION,
                    "description": "Of `POST /api/v1/sessions`. What is not a GET also needs the header \
                                    `X-CSRF-Token`, with the token of that answer or of `GET /api/v1/me`.",
                },
            },
        },
    })
}

/// A reference to the schema of a kind's records.
pub(crate) fn record_reference(kind: Kind) -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", title(kind)) })
}

/// The fields of a kind that users may set; with a name, where a record is made.
pub(crate) fn writable(kind: Kind, is_new: bool) -> Value {
    let fields = kind.fields().filter(|field| field.writable).map(|field| (field.name.to_owned(), of_field(field)));
    let mut properties: Map<String, Value> = fields.collect();
    properties.insert("name".into(), json!({ "type": "string", "minLength": 1, "maxLength": 256 }));
    if is_new {
        let about = "chosen by the engine when it is missing";
        properties.insert("id".into(), json!({ "type": "string", "description": about }));
        json!({"type": "object", "properties": properties, "required": ["name"], "additionalProperties": false})
    } else {
        let about = "that the record must have; otherwise nothing changes and the answer is 409";
        properties.insert("revision".into(), json!({ "type": "integer", "description": about }));
        json!({"type": "object", "properties": properties, "additionalProperties": false})
    }
}

fn described(operation: &Operation, method: &str) -> Value {
    let mut described = json!({
        "operationId": operation_id(method, &operation.path),
        "tags": [tag(&operation.path)],
        "summary": operation.summary,
        "parameters": parameters(operation),
        "responses": responses(operation),
    });
    let (role, place) = operation.needs.described();
    described["x-surefoot-role"] = role.into();
    described["x-surefoot-role-in"] = place.into();
    if operation.needs == Needs::Nothing {
        described["security"] = json!([]);
    }
    if let Some(body) = operation.body.as_ref().filter(|_| !matches!(method, "GET" | "HEAD" | "DELETE")) {
        described["requestBody"] = json!({ "required": body.is_required, "content": content(&body.content) });
    }
    described
}

/// `get /api/v1/flows/{key}/versions` is `get_flows_key_versions`.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.trim_start_matches("/api/v1").split(|sign: char| !sign.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let slash = if path.ends_with('/') { "_slash" } else { "" };
    format!("{}_{}{slash}", method.to_ascii_lowercase(), words.join("_"))
}

fn tag(path: &str) -> &str {
    match path.strip_prefix("/api/v1/") {
        Some(rest) => rest.split(['/', '.']).next().unwrap_or_default(),
        None if path.contains("/webhook/") => "webhook calls",
        None if path.starts_with("/approve/") => "approvals",
        None => "operations",
    }
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let in_path = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(|name| {
        let name = name.trim_start_matches('*');
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
    });
    let query = operation.query.map(|describe| describe());
    let query = query.as_ref();
    let properties = query.and_then(|query| query["properties"].as_object()).into_iter().flatten();
    let in_query = properties.map(|(name, schema)| {
        let required =
            query.and_then(|query| query["required"].as_array()).is_some_and(|all| all.contains(&json!(name)));
        json!({ "name": name, "in": "query", "required": required, "schema": schema })
    });
    in_path.chain(in_query).collect()
}

fn responses(operation: &Operation) -> Value {
    if operation.answers.is_empty() {
        let about = "What the flow answers; 202 with `{id, url}` to `async=1`; or a problem document: 400, 401, \
                     403, 404, 405, 413, 415, 429, 500, 503, 504";
        return json!({ "default": { "description": about } });
    }
    let mut responses = Map::new();
    let reference = json!({ "$ref": "#/components/schemas/Problem" });
    let of_problem = json!({ "application/problem+json": { "schema": reference } });
    for (status, answer) in &operation.answers {
        // One status may come in several media types; a refusal always also as a problem.
        let before = if status.is_success() { json!({}) } else { of_problem.clone() };
        let described = responses.entry(status.as_str()).or_insert_with(
            || json!({ "description": status.canonical_reason().unwrap_or_default(), "content": before }),
        );
        if let (Some(all), Value::Object(more)) = (described["content"].as_object_mut(), content(answer)) {
            all.extend(more);
        }
    }
    let problem = json!({ "description": "A problem document", "content": of_problem });
    responses.insert("4XX".into(), problem.clone());
    responses.insert("5XX".into(), problem);
    Value::Object(responses)
}

fn content(content: &Content) -> Value {
    match content {
        Content::Json(describe) => json!({ "application/json": { "schema": describe() } }),
        Content::Bytes(media_type) => json!({ *media_type: { "schema": {} } }),
    }
}

/// The schema of a kind's records, as they are shown.
fn record(kind: Kind) -> Value {
    let of_connections = if kind == Kind::Execution { CONNECTION_FIELDS } else { &[] };
    let shown: Vec<&Field> = kind.fields().filter(|field| !field.hidden).chain(of_connections).collect();
    let properties: Map<String, Value> = shown.iter().map(|field| (field.name.to_owned(), of_field(field))).collect();
    let required: Vec<&str> = shown.iter().filter(|field| field.required).map(|field| field.name).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn of_field(field: &Field) -> Value {
    let nullable = |ty: &str| match field.required {
        true => json!({ "type": ty }),
        false => json!({ "type": [ty, "null"] }),
    };
    match field.ty {
        _ if field.name == "locked_by" => locked_by(),
        FieldType::Text => nullable("string"),
        FieldType::Integer => nullable("integer"),
        FieldType::Bool => nullable("boolean"),
        FieldType::Time => {
            let mut schema = nullable("string");
            schema["format"] = "date-time".into();
            schema
        }
        FieldType::Json => json!({}),
    }
}

/// Of a setting: missing while nobody holds it.
fn locked_by() -> Value {
    json!({
        "type": "object",
        "description": "the execution that holds the setting as a lock; missing while none does",
        "properties": {
            "execution_id": { "type": "string" },
            "since": { "type": "string", "format": "date-time" },
            "waiters": { "type": "integer", "description": "how many executions wait for it" },
        },
        "required": ["execution_id", "since", "waiters"],
        "additionalProperties": false,
    })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "code": { "type": "string", "description": "stable, for programs" },
            "detail": { "type": "string" },
            "hint": { "type": "string", "description": "what to do" },
            "execution_id": { "type": "string", "description": "the execution that it is about" },
        },
        "required": ["type", "title", "status", "code", "detail"],
        "additionalProperties": false,
    })
}

fn title(kind: Kind) -> String {
    let name = kind.as_str();
    name[..1].to_ascii_uppercase() + &name[1..]
}
