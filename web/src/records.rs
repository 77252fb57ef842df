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

use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InJson, InPath, InQuery, percent_encoded};
use crate::openapi;
use crate::operation::{Needs, Operation};
use crate::problem::{Answer, Problem};

/// What every kind of record has.
pub(crate) fn operations() -> Vec<Operation> {
    Kind::ALL.iter().flat_map(|(kind, ..)| operations_of(*kind)).collect()
}

/// Executions are started, not created, and what they ask is answered; files are written through their content; tokens
/// are made by `tokens`, users by `users`; the audit log is only read.
fn operations_of(kind: Kind) -> Vec<Operation> {
    let mut operations = reading(kind);
    if !matches!(kind, Kind::Approval | Kind::Audit) {
        operations.extend(deleting(kind));
    }
    if !matches!(kind, Kind::Approval | Kind::Execution | Kind::File | Kind::Token | Kind::Audit) {
        operations.push(updating(kind));
        operations.extend((kind != Kind::User).then(|| creating(kind)));
    }
    if kind.field("is_enabled").is_ok() {
        operations.extend(enabling(kind));
    }
    operations
}

/// The paths of all and of one.
fn paths(kind: Kind) -> (String, String) {
    let all = format!("/api/v1/{}", kind.plural());
    let one = format!("{all}/{{{}}}", if kind == Kind::Execution { "id" } else { "key" });
    (all, one)
}

/// What is about people is for admins alone; what of that is in no project, for those of the whole workspace.
pub(crate) fn needs(kind: Kind, otherwise: Role) -> Needs {
    match kind.is_about_people() {
        true if kind.has_project() => Needs::Role(Role::Admin),
        true => Needs::WorkspaceRole(Role::Admin),
        false => Needs::Role(otherwise),
    }
}

/// The fields of a record that is to be enabled, or not.
pub(crate) fn enabled(is_enabled: bool) -> Map<String, Value> {
    Map::from_iter([("is_enabled".to_owned(), is_enabled.into())])
}

fn reading(kind: Kind) -> Vec<Operation> {
    let ((all, one), names) = (paths(kind), kind.plural());
    let page = move || {
        json!({
            "type": "object",
            "properties": {
                "rows": {"type": "array", "items": openapi::record_reference(kind)},
                "next": {
                    "type": ["string", "null"],
                    "description": "the `cursor` of the next page; null after the last",
                },
            },
            "required": ["rows", "next"],
            "additionalProperties": false,
        })
    };
    let listed = Operation::get(all, move |engine, query| list(kind, engine, query))
        .needs(needs(kind, Role::Viewer))
        .summary(format!("A page of {names}, the newest first"))
        .query::<ListQuery>()
        .answers_of(StatusCode::OK, page);
    if kind.is_of_executions() {
        return vec![listed];
    }
    let shown = Operation::get(one, move |engine, key| show(kind, engine, key))
        .needs(needs(kind, Role::Viewer))
        .summary(format!("One of the {names}, by name or id"))
        .answers_of(StatusCode::OK, move || openapi::record_reference(kind));
    vec![listed, shown]
}

/// A token that was taken back is gone: nobody can bring it back.
fn deleting(kind: Kind) -> Vec<Operation> {
    let ((_, one), names) = (paths(kind), kind.plural());
    let handler = move |app, engine, caller, key, query| delete(kind, app, engine, caller, key, query);
    let deleted = Operation::delete(one.clone(), handler)
        .needs(needs(kind, Role::Author))
        .summary(format!("Move one of the {names} to the trash, or delete it for good; none is no error"))
        .query::<DeleteQuery>()
        .answers::<Deleted>(StatusCode::OK);
    if kind == Kind::Token {
        return vec![deleted];
    }
    let handler = move |app, engine, caller, id| restore(kind, app, engine, caller, id);
    let restored = Operation::post(format!("{one}/restore"), handler)
        .needs(needs(kind, Role::Author))
        .summary(format!("Take one of the {names} out of the trash, by its id"))
        .answers_of(StatusCode::OK, move || openapi::record_reference(kind));
    vec![deleted, restored]
}

fn creating(kind: Kind) -> Operation {
    let (all, _) = paths(kind);
    Operation::post(all, move |app, engine, caller, fields| create(kind, app, engine, caller, fields))
        .needs(needs(kind, Role::Author))
        .summary(format!("Create a {}; one of that name is a conflict", kind.as_str()))
        .body_of(move || openapi::writable(kind, true))
        .answers_of(StatusCode::CREATED, move || openapi::record_reference(kind))
}

fn updating(kind: Kind) -> Operation {
    let (_, one) = paths(kind);
    Operation::patch(one, move |app, engine, caller, key, fields| update(kind, app, engine, caller, key, fields))
        .needs(needs(kind, Role::Author))
        .summary(format!("Change the fields given of one of the {}; null removes one", kind.plural()))
        .body_of(move || openapi::writable(kind, false))
        .answers_of(StatusCode::OK, move || openapi::record_reference(kind))
}

fn enabling(kind: Kind) -> [Operation; 2] {
    let (_, one) = paths(kind);
    [("enable", "Enable", true), ("disable", "Disable", false)].map(|(action, word, is_enabled)| {
        let handler = move |app, engine, caller, key| enable(kind, is_enabled, app, engine, caller, key);
        Operation::post(format!("{one}/{action}"), handler)
            .needs(needs(kind, Role::Operator))
            .summary(format!("{word} one of the {}", kind.plural()))
            .answers_of(StatusCode::OK, move || openapi::record_reference(kind))
    })
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

/// The filter of a list, as it stands in a query.
pub(crate) fn parsed_filter(text: Option<&str>) -> Answer<Option<Value>> {
    let filter = text.map(serde_json::from_str).transpose();
    filter.map_err(|error| Problem::malformed(format!("the filter is not JSON: {error}")))
}

async fn list(kind: Kind, InReach(engine): InReach, InQuery(query): InQuery<ListQuery>) -> Answer<Json<Page>> {
    let filter = parsed_filter(query.filter.as_deref())?;
    let ListQuery { order, limit, cursor, deleted, .. } = query;
    let call = QueryCall { kind: kind.as_str().to_owned(), filter, order, limit, cursor, deleted };
    Ok(Json(engine.query(call).await?))
}

async fn show(kind: Kind, InReach(engine): InReach, InPath(key): InPath<String>) -> Answer<Json<Value>> {
    Ok(Json(engine.record(kind, &key).await?))
}

async fn create(
    kind: Kind,
    State(app): State<App>,
    InReach(engine): InReach,
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
    let record = app.complete(engine, create).await?;
    let id = record["id"].as_str().unwrap_or_default();
    let location = [(LOCATION, format!("/api/v1/{}/{}", kind.plural(), percent_encoded(id)))];
    Ok((StatusCode::CREATED, location, Json(record)).into_response())
}

async fn update(
    kind: Kind,
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(key): InPath<String>,
    InJson(fields): InJson<Map<String, Value>>,
) -> Answer<Json<Value>> {
    let update = |engine: Engine| async move { engine.update(kind, &key, fields, &caller.who).await };
    Ok(Json(app.complete(engine, update).await?))
}

async fn enable(
    kind: Kind,
    is_enabled: bool,
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(key): InPath<String>,
) -> Answer<Json<Value>> {
    let update = |engine: Engine| async move { engine.update(kind, &key, enabled(is_enabled), &caller.who).await };
    Ok(Json(app.complete(engine, update).await?))
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
    InReach(engine): InReach,
    caller: Caller,
    InPath(key): InPath<String>,
    InQuery(DeleteQuery { permanently }): InQuery<DeleteQuery>,
) -> Answer<Json<Deleted>> {
    let delete = |engine: Engine| async move { engine.delete(kind, &key, permanently, &caller.who).await };
    Ok(Json(Deleted { deleted: app.complete(engine, delete).await? }))
}

/// Of an execution the whole tree comes back.
async fn restore(
    kind: Kind,
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(id): InPath<String>,
) -> Answer<Json<Value>> {
    let restore = |engine: Engine| async move { engine.restore(kind, &id, &caller.who).await };
    Ok(Json(app.complete(engine, restore).await?))
}
