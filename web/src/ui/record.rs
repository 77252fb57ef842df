//! What pages about records share: the names of what they refer to, what refers to them, and the ways to enable,
//! disable, delete and restore one. What deletes asks first, and names what it hits.

use std::collections::HashMap;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot_engine::query::{Kind, LIMIT_MAX};
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Engine, Role};

use super::forms::Fields;
use super::frame::{Frame, View, page};
use super::words::{Standing, text};
use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InPath, percent_encoded};
use crate::operation::Operation;
use crate::problem::Answer;
use crate::records::{enabled, needs};

/// Deleting and restoring records of a kind, and enabling and disabling them where there is such a thing.
pub(super) fn operations(kind: Kind) -> Vec<Operation> {
    let below = |rest: &str| format!("{}/{{key}}/{rest}", path(kind));
    let may = |operation: Operation| operation.needs(needs(kind, Role::Author));
    let ask = move |engine, frame, key| ask_delete(kind, engine, frame, key);
    let delete = move |app, engine, caller, key, fields| delete(kind, app, engine, caller, key, fields);
    let restore = move |app, engine, caller, key| restore(kind, app, engine, caller, key);
    let mut operations = vec![
        may(Operation::page(below("delete"), ask)),
        may(Operation::action(below("delete"), delete)),
        may(Operation::action(below("restore"), restore)),
    ];
    if kind.field("is_enabled").is_ok() {
        for (action, is_enabled) in [("enable", true), ("disable", false)] {
            let enable = move |app, engine, caller, key| enable(kind, is_enabled, app, engine, caller, key);
            operations.push(Operation::action(below(action), enable).needs(needs(kind, Role::Operator)));
        }
    }
    operations
}

/// The page with all records of a kind.
pub(super) fn path(kind: Kind) -> String {
    format!("{}/{}", super::PATH, kind.plural())
}

/// The page of a record, by its name or id.
pub(super) fn path_of(kind: Kind, key: &str) -> String {
    format!("{}/{}", path(kind), percent_encoded(key))
}

/// Leads to the page of a record, which says what was done.
pub(super) fn done(kind: Kind, record: &Value, done: &str) -> Response {
    Redirect::to(&format!("{}?done={done}", path_of(kind, text(record, "id")))).into_response()
}

/// The query of a page that takes nothing but what was done before.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Done {
    #[serde(rename = "done")]
    _done: Option<String>,
}

/// The names of records, by their ids.
#[derive(Default)]
pub(super) struct Names(HashMap<(Kind, String), String>);

impl Names {
    /// Of these kinds: the first thousand of each, which is what lists of suggestions can hold.
    pub(super) async fn read(engine: &Engine, kinds: &[Kind]) -> Answer<Self> {
        let mut names = Self::default();
        for kind in kinds {
            let (kind, order, limit) = (*kind, Some("name".to_owned()), Some(LIMIT_MAX));
            let call = QueryCall { kind: kind.as_str().to_owned(), order, limit, ..QueryCall::default() };
            let rows = engine.query(call).await?.rows;
            let named = rows.iter().map(|row| ((kind, text(row, "id").to_owned()), text(row, "name").to_owned()));
            names.0.extend(named);
        }
        Ok(names)
    }

    /// What a record is called that another one names, by its name or id.
    pub(super) fn of<'a>(&'a self, kind: Kind, key: &'a str) -> &'a str {
        self.0.get(&(kind, key.to_owned())).map_or(key, String::as_str)
    }

    /// All names of a kind, in their order.
    pub(super) fn all(&self, kind: Kind) -> Vec<String> {
        let mut names: Vec<_> =
            self.0.iter().filter(|((of, _), _)| *of == kind).map(|(_, name)| name.clone()).collect();
        names.sort();
        names
    }
}

/// The id of a record that a form names; an empty text names none.
pub(super) async fn id_of(engine: &Engine, kind: Kind, key: &str) -> Answer<Value> {
    match key.trim() {
        "" => Ok(Value::Null),
        key if key.starts_with("native:") => Ok(key.into()),
        key => Ok(engine.record(kind, key).await?["id"].take()),
    }
}

/// Something that names a record.
pub(super) struct Dependent {
    /// What it is, for people.
    pub(super) what: &'static str,
    pub(super) name: String,
    /// Its page.
    pub(super) path: String,
    pub(super) standing: Option<Standing>,
}

/// By kind: which fields of which others name its records.
const NAMED_BY: [(Kind, Kind, &str); 7] = [
    (Kind::Flow, Kind::Schedule, "flow_id"),
    (Kind::Flow, Kind::Webhook, "flow_id"),
    (Kind::Flow, Kind::Notification, "flow_id"),
    (Kind::Flow, Kind::Scheduler, "flow_id"),
    (Kind::Setting, Kind::Schedule, "setting_id"),
    (Kind::Scheduler, Kind::Schedule, "scheduler_id"),
    (Kind::Connector, Kind::Notification, "connector_id"),
];

/// What names a record, a hundred of each kind at most.
pub(super) async fn dependents(engine: &Engine, kind: Kind, record: &Value) -> Answer<Vec<Dependent>> {
    let mut found = Vec::new();
    for (_, other, field) in NAMED_BY.iter().filter(|(of, ..)| *of == kind) {
        let filter = json!({"field": field, "op": "in", "value": [record["id"], record["name"]]});
        let (kind, filter, order) = (other.as_str(), Some(filter), Some("name".to_owned()));
        let call = QueryCall { kind: kind.to_owned(), filter, order, limit: Some(100), ..QueryCall::default() };
        for row in engine.query(call).await?.rows {
            found.push(Dependent {
                what: other.as_str(),
                name: text(&row, "name").to_owned(),
                path: path_of(*other, text(&row, "id")),
                standing: row["is_enabled"].as_bool().map(Standing::of_enabled),
            });
        }
    }
    Ok(found)
}

/// A question before something is deleted.
#[derive(Template)]
#[template(path = "record-delete.html")]
struct AskDelete {
    frame: Frame,
    kind: &'static str,
    name: String,
    id: String,
    dependents: Vec<Dependent>,
    /// Where the way back leads.
    back: String,
}

impl View for AskDelete {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn ask_delete(
    kind: Kind,
    InReach(engine): InReach,
    frame: Frame,
    InPath(key): InPath<String>,
) -> Answer<Response> {
    let record = engine.record(kind, &key).await?;
    let dependents = dependents(&engine, kind, &record).await?;
    let (name, id) = (text(&record, "name").to_owned(), text(&record, "id").to_owned());
    let back = path_of(kind, &id);
    Ok(page(&AskDelete { frame, kind: kind.as_str(), name, id, dependents, back }))
}

/// To the trash, or for good where the form says so.
async fn delete(
    kind: Kind,
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(key): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    let permanently = fields.get("permanently") == Some("1");
    app.complete(engine, |engine| async move { engine.delete(kind, &key, permanently, &caller.who).await }).await?;
    let done = if permanently { "gone" } else { "deleted" };
    Ok(Redirect::to(&format!("{}?done={done}", path(kind))).into_response())
}

async fn restore(
    kind: Kind,
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(id): InPath<String>,
) -> Answer<Response> {
    let record = app.complete(engine, |engine| async move { engine.restore(kind, &id, &caller.who).await }).await?;
    Ok(done(kind, &record, "restored"))
}

async fn enable(
    kind: Kind,
    is_enabled: bool,
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(key): InPath<String>,
) -> Answer<Response> {
    let update = |engine: Engine| async move { engine.update(kind, &key, enabled(is_enabled), &caller.who).await };
    let record = app.complete(engine, update).await?;
    Ok(done(kind, &record, if is_enabled { "enabled" } else { "disabled" }))
}
