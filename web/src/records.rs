//! Records of every kind: list, show, create, update, enable, delete, restore.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use surefoot_engine::query::{Kind, Page};
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Engine, Role};

use crate::access::Caller;
use crate::app::App;
use crate::extract::{InJson, InPath, InQuery, percent_encoded};
use crate::openapi;
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

/// What every kind of record has.
pub(crate) fn operations() -> Vec<Operation> {
    Kind::ALL.iter().flat_map(|(kind, ..)| operations_of(*kind)).collect()
}

/// Executions are started, not created; files are written through their content.
fn operations_of(kind: Kind) -> Vec<Operation> {
    let name = kind.as_str();
    let all = format!("/api/v1/{name}s");
    let one = format!("{all}/{{{}}}", if kind == Kind::Execution { "id" } else { "key" });
    let row = || openapi::record_reference(kind);
    let rows = json!({"type": "array", "items": row()});
    let page = json!({
        "type": "object",
        "properties": {
            "rows": rows,
            "next": { "type": ["string", "null"], "description": "the `cursor` of the next page; null after the last" },
        },
        "required": ["rows", "next"],
        "additionalProperties": false,
    });
    let mut operations = vec![
        Operation::get(all.clone(), move |app, query| list(kind, app, query))
            .role(Role::Viewer)
            .summary(format!("A page of {name}s, the newest first"))
            .query::<ListQuery>()
            .answers_of(StatusCode::OK, page),
        Operation::post(format!("{one}/restore"), move |app, id| restore(kind, app, id))
            .role(Role::Author)
            .summary(format!("Take one of the {name}s out of the trash, by its id"))
            .answers_of(StatusCode::OK, row()),
    ];
    operations.push(
        Operation::delete(one.clone(), move |app, caller, key, query| delete(kind, app, caller, key, query))
            .role(Role::Author)
            .summary(format!("Move one of the {name}s to the trash, or delete it for good; none is no error"))
            .query::<DeleteQuery>()
            .answers::<Deleted>(StatusCode::OK),
    );
    if kind == Kind::Execution {
        return operations;
    }
    operations.push(
        Operation::get(one.clone(), move |app, key| show(kind, app, key))
            .role(Role::Viewer)
            .summary(format!("One of the {name}s, by name or id"))
            .answers_of(StatusCode::OK, row()),
    );
    if kind != Kind::File {
        operations.push(
            Operation::post(all, move |app, caller, fields| create(kind, app, caller, fields))
                .role(Role::Author)
                .summary(format!("Create a {name}; one of that name is a conflict"))
                .body_of(openapi::writable(kind, true))
                .answers_of(StatusCode::CREATED, row()),
        );
        operations.push(
            Operation::patch(one.clone(), move |app, caller, key, fields| update(kind, app, caller, key, fields))
                .role(Role::Author)
                .summary(format!("Change the fields given of one of the {name}s; null removes one"))
                .body_of(openapi::writable(kind, false))
                .answers_of(StatusCode::OK, row()),
        );
    }
    if kind.field("is_enabled").is_ok() {
        for (action, is_enabled) in [("enable", true), ("disable", false)] {
            operations.push(
                Operation::post(format!("{one}/{action}"), move |app, caller, key| {
                    enable(kind, is_enabled, app, caller, key)
                })
                .role(Role::Operator)
                .summary(format!("{} one of the {name}s", if is_enabled { "Enable" } else { "Disable" }))
                .answers_of(StatusCode::OK, row()),
            );
        }
    }
    operations
}

/// The query of a list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// In the query language, as JSON.
    filter: Option<String>,
    /// A field, descending with a leading `-`.
    order: Option<String>,
    /// Rows a page, 1 to 1000.
    limit: Option<u32>,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Rows in the trash instead of the others.
    #[serde(default)]
    deleted: bool,
}

async fn list(kind: Kind, State(app): State<App>, InQuery(query): InQuery<ListQuery>) -> Answer<Json<Page>> {
    let filter = query.filter.as_deref().map(serde_json::from_str::<Value>).transpose();
    let filter = filter.map_err(|error| Problem::malformed(format!("the filter is not JSON: {error}")))?;
    let ListQuery { order, limit, cursor, deleted, .. } = query;
    let call = QueryCall { kind: kind.as_str().to_owned(), filter, order, limit, cursor, deleted };
    Ok(Json(app.engine().query(call).await?))
}

async fn show(kind: Kind, State(app): State<App>, InPath(key): InPath<String>) -> Answer<Json<Value>> {
    Ok(Json(app.engine().record(kind, &key).await?))
}

async fn create(
    kind: Kind,
    State(app): State<App>,
    caller: Caller,
    InJson(mut fields): InJson<Map<String, Value>>,
) -> Answer<Response> {
    let Some(Value::String(name)) = fields.remove("name") else {
        return Err(Problem::invalid(format!("a new {} needs a `name`, a text", kind.as_str())));
    };
    if fields.contains_key("revision") {
        return Err(Problem::invalid("a new record has no `revision` yet"));
    }
    let create = |engine: Engine| async move { engine.create(kind, &name, fields, &caller.who).await };
    let record = app.complete(create).await?;
    let id = record["id"].as_str().unwrap_or_default();
    let location = [(LOCATION, format!("/api/v1/{}s/{}", kind.as_str(), percent_encoded(id)))];
    Ok((StatusCode::CREATED, location, Json(record)).into_response())
}

async fn update(
    kind: Kind,
    State(app): State<App>,
    caller: Caller,
    InPath(key): InPath<String>,
    InJson(fields): InJson<Map<String, Value>>,
) -> Answer<Json<Value>> {
    let update = |engine: Engine| async move { engine.update(kind, &key, fields, &caller.who).await };
    Ok(Json(app.complete(update).await?))
}

async fn enable(
    kind: Kind,
    is_enabled: bool,
    State(app): State<App>,
    caller: Caller,
    InPath(key): InPath<String>,
) -> Answer<Json<Value>> {
    let fields = Map::from_iter([("is_enabled".to_owned(), is_enabled.into())]);
    let update = |engine: Engine| async move { engine.update(kind, &key, fields, &caller.who).await };
    Ok(Json(app.complete(update).await?))
}

/// The query of a delete.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteQuery {
    /// For good instead of to the trash.
    #[serde(default)]
    permanently: bool,
}

/// The answer to a delete.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Deleted {
    /// False when there was nothing to delete.
    deleted: bool,
}

/// Of an execution the whole tree goes.
async fn delete(
    kind: Kind,
    State(app): State<App>,
    caller: Caller,
    InPath(key): InPath<String>,
    InQuery(DeleteQuery { permanently }): InQuery<DeleteQuery>,
) -> Answer<Json<Deleted>> {
    let delete = |engine: Engine| async move { engine.delete(kind, &key, permanently, &caller.who).await };
    Ok(Json(Deleted { deleted: app.complete(delete).await? }))
}

/// Of an execution the whole tree comes back.
async fn restore(kind: Kind, State(app): State<App>, InPath(id): InPath<String>) -> Answer<Json<Value>> {
    let restored = app.complete(|engine| async move { engine.restore(kind, &id).await }).await?;
    Ok(Json(restored))
}
