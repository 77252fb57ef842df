//! Records of every kind: list, show, save, delete, restore.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use surefoot_engine::query::{Kind, Page};
use surefoot_engine::session::QueryCall;

use crate::app::App;
use crate::extract::{InJson, InPath, InQuery};
use crate::problem::{Answer, Problem};

/// The query of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// In the query language, as JSON.
    filter: Option<String>,
    /// A field, descending with a leading `-`.
    order: Option<String>,
    /// Rows a page.
    limit: Option<u32>,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Rows in the trash instead of the others.
    #[serde(default)]
    deleted: bool,
}

/// `GET /api/v1/KINDs`: one page, `{rows, next}`.
pub(crate) async fn list(kind: Kind, State(app): State<App>, InQuery(query): InQuery<ListQuery>) -> Answer<Json<Page>> {
    let filter = query.filter.as_deref().map(serde_json::from_str::<Value>).transpose();
    let filter = filter.map_err(|error| Problem::malformed(format!("the filter is not JSON: {error}")))?;
    let ListQuery { order, limit, cursor, deleted, .. } = query;
    let call = QueryCall { kind: kind.as_str().to_owned(), filter, order, limit, cursor, deleted };
    Ok(Json(app.engine().query(call).await?))
}

/// `GET /api/v1/KINDs/KEY`.
pub(crate) async fn show(kind: Kind, State(app): State<App>, InPath(key): InPath<String>) -> Answer<Json<Value>> {
    Ok(Json(app.engine().record(kind, &key).await?))
}

/// `PUT /api/v1/KINDs/KEY`: creates the record or updates the fields given.
pub(crate) async fn save(
    kind: Kind,
    State(app): State<App>,
    InPath(key): InPath<String>,
    InJson(fields): InJson<Map<String, Value>>,
) -> Answer<Json<Value>> {
    let who = app.who();
    let saved = app.complete(|engine| async move { engine.save(kind, &key, fields, who).await }).await?;
    Ok(Json(saved))
}

/// The query of a delete.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteQuery {
    /// For good instead of to the trash.
    #[serde(default)]
    permanently: bool,
}

/// `DELETE /api/v1/KINDs/KEY`. Deleting what is not there is no error. Of an execution the whole tree goes.
pub(crate) async fn delete(
    kind: Kind,
    State(app): State<App>,
    InPath(key): InPath<String>,
    InQuery(DeleteQuery { permanently }): InQuery<DeleteQuery>,
) -> Answer<Json<Value>> {
    let who = app.who();
    let deleted = app.complete(|engine| async move { engine.delete(kind, &key, permanently, who).await }).await?;
    Ok(Json(json!({ "deleted": deleted })))
}

/// `POST /api/v1/KINDs/ID/restore`: takes a record, or the tree of an execution, out of the trash, by id.
pub(crate) async fn restore(kind: Kind, State(app): State<App>, InPath(id): InPath<String>) -> Answer<Json<Value>> {
    let restored = app.complete(|engine| async move { engine.restore(kind, &id).await }).await?;
    Ok(Json(restored))
}
