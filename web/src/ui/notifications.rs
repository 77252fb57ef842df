//! Notifications: rules that say who is told of what, and a way to try them.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Map, Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Role};

use super::filled::Filled;
use super::forms::Fields;
use super::frame::{Frame, View, page};
use super::pages::FormPage;
use super::record::{self, Done, Names, done, path_of};
use super::table::{ListQuery, Listing};
use super::words::{Standing, Took, text};
use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::Answer;
use crate::schema_form::FormHtml;

pub(super) fn operations() -> Vec<Operation> {
    let own = vec![
        Operation::page("/ui/notifications", list).role(Role::Viewer),
        Operation::page("/ui/notifications/new", ask_new).role(Role::Author),
        Operation::action("/ui/notifications/new", create).role(Role::Author),
        Operation::page("/ui/notifications/{key}", show).role(Role::Viewer),
        Operation::page("/ui/notifications/{key}/edit", ask_edit).role(Role::Author),
        Operation::action("/ui/notifications/{key}/edit", update).role(Role::Author),
        Operation::action("/ui/notifications/{key}/test", test).role(Role::Author),
    ];
    own.into_iter().chain(record::operations(Kind::Notification)).collect()
}

/// What rules tell of: the word of the record, what people read.
const OCCASIONS: [(&str, &str); 3] = [
    ("failure", "A flow fails that was well"),
    ("recovery", "A flow is well again"),
    ("approval", "An execution asks somebody"),
];

/// The kinds whose records a rule names.
const NAMED: [Kind; 3] = [Kind::Project, Kind::Flow, Kind::Connector];

#[derive(Template)]
#[template(path = "notifications.html")]
struct Notifications {
    frame: Frame,
    list: Listing,
    names: Names,
}

impl View for Notifications {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn list(InReach(engine): InReach, frame: Frame, InQuery(query): InQuery<ListQuery>) -> Answer<Response> {
    let list = Listing::read(&engine, Kind::Notification, &query, None).await?;
    let names = Names::read(&engine, &NAMED).await?;
    Ok(page(&Notifications { frame, list, names }))
}

/// A list in a record as text: of what, or to whom.
fn joined(value: &Value, between: &str) -> String {
    match value {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(between),
        one => one.as_str().unwrap_or_default().to_owned(),
    }
}

/// Of which flows a rule tells.
fn of_which(row: &Value, names: &Names) -> String {
    match (text(row, "flow_id"), text(row, "project_id")) {
        ("", "") => "all flows".to_owned(),
        ("", project) => format!("flows in {}", names.of(Kind::Project, project)),
        (flow, _) => names.of(Kind::Flow, flow).to_owned(),
    }
}

fn is_enabled(row: &Value) -> bool {
    row["is_enabled"] == true
}

#[derive(Template)]
#[template(path = "notification.html")]
struct Notification {
    frame: Frame,
    row: Value,
    names: Names,
    repeated: Option<Took>,
}

impl View for Notification {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn show(
    InReach(engine): InReach,
    frame: Frame,
    InPath(key): InPath<String>,
    InQuery(_): InQuery<Done>,
) -> Answer<Response> {
    let row = engine.record(Kind::Notification, &key).await?;
    let names = Names::read(&engine, &NAMED).await?;
    let repeated = row["repeat_after_ms"].as_u64().map(|ms| Took(Duration::from_millis(ms)));
    Ok(page(&Notification { frame, row, names, repeated }))
}

fn inputs(filled: &Filled, names: &Names) -> Vec<FormHtml> {
    let mut inputs = vec![filled.hidden("revision"), filled.line("name", "Name", "")];
    inputs.extend(OCCASIONS.map(|(name, label)| filled.check(name, label, "")));
    inputs.extend([
        filled.one_of("connector_id", "Connector", "Of type smtp or http; it delivers", names.all(Kind::Connector)),
        filled.lines("to", "To", "Addresses of mails, one a line; empty: as the connector says"),
        filled.one_of("flow_id", "Flow", "Empty: all of them", names.all(Kind::Flow)),
        filled.one_of("project_id", "Project", "Of the flows in it alone", names.all(Kind::Project)),
        filled.whole_number("repeat_minutes", "Tell again of further failures, minutes", "Empty: never"),
        filled.check("is_link_sent", "Send the link that answers a question", "Whoever has it can answer"),
        filled.line("description", "Description", ""),
    ]);
    inputs
}

/// What was entered, as fields of the record.
fn read(filled: &mut Filled) -> Map<String, Value> {
    let on: Vec<_> = OCCASIONS.iter().map(|(name, _)| *name).filter(|name| filled.is_checked(name)).collect();
    if on.is_empty() {
        filled.refuse("failure", "tick at least one of the three");
    }
    let to: Vec<_> = filled.value("to").lines().map(str::trim).filter(|to| !to.is_empty()).map(Value::from).collect();
    let repeat =
        filled.number("repeat_minutes").as_i64().map_or(Value::Null, |minutes| minutes.saturating_mul(60_000).into());
    if filled.required("connector_id").is_empty() {
        // It was refused just now.
        return Map::new();
    }
    let mut fields = Map::from_iter([
        ("on".to_owned(), json!(on)),
        ("to".to_owned(), if to.is_empty() { Value::Null } else { to.into() }),
        ("repeat_after_ms".to_owned(), repeat),
        ("is_link_sent".to_owned(), filled.is_checked("is_link_sent").into()),
    ]);
    for field in ["connector_id", "flow_id", "project_id", "description"] {
        fields.insert(field.to_owned(), filled.text(field));
    }
    fields
}

fn form_new(frame: Frame) -> FormPage {
    let page = FormPage::new(frame, "A new notification", "Create", "/ui/notifications");
    page.about("It is disabled until you enable it: try it first.")
}

async fn ask_new(InReach(engine): InReach, frame: Frame) -> Answer<Response> {
    let names = Names::read(&engine, &NAMED).await?;
    let ticked = || "true".to_owned();
    let filled = Filled::with([("failure", ticked()), ("recovery", ticked()), ("is_link_sent", ticked())]);
    Ok(form_new(frame).show(&filled, inputs(&filled, &names)))
}

async fn create(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    fields: Fields,
) -> Answer<Response> {
    let names = Names::read(&engine, &NAMED).await?;
    let mut filled = Filled::sent(&fields);
    let name = filled.required("name");
    let mut values = read(&mut filled);
    values.retain(|_, value| !value.is_null());
    if filled.is_right() {
        let create =
            |engine: Engine| async move { engine.create(Kind::Notification, &name, values, &caller.who).await };
        match app.complete(engine, create).await {
            Ok(row) => return Ok(done(Kind::Notification, &row, "created")),
            Err(problem) => filled.refused(problem)?,
        }
    }
    Ok(form_new(frame).show(&filled, inputs(&filled, &names)))
}

fn form_edit(frame: Frame, row: &Value) -> FormPage {
    let title = format!("Change the notification {}", text(row, "name"));
    FormPage::new(frame, title, "Save", path_of(Kind::Notification, text(row, "id")))
}

async fn ask_edit(InReach(engine): InReach, frame: Frame, InPath(key): InPath<String>) -> Answer<Response> {
    let mut row = engine.record(Kind::Notification, &key).await?;
    let names = Names::read(&engine, &NAMED).await?;
    for (kind, field) in [(Kind::Project, "project_id"), (Kind::Flow, "flow_id"), (Kind::Connector, "connector_id")] {
        row[field] = names.of(kind, text(&row, field)).into();
    }
    row["is_link_sent"] = (row["is_link_sent"] != false).into();
    row["to"] = joined(&row["to"], "\n").into();
    if let Some(ms) = row["repeat_after_ms"].as_u64() {
        row["repeat_minutes"] = ms.div_ceil(60_000).into();
    }
    for (name, _) in OCCASIONS {
        row[name] = row["on"].as_array().is_some_and(|on| on.iter().any(|word| word == name)).into();
    }
    let fields = [
        "revision",
        "name",
        "failure",
        "recovery",
        "approval",
        "connector_id",
        "to",
        "flow_id",
        "project_id",
        "repeat_minutes",
        "is_link_sent",
        "description",
    ];
    let filled = Filled::of(&row, &fields);
    Ok(form_edit(frame, &row).show(&filled, inputs(&filled, &names)))
}

async fn update(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    InPath(key): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    let row = engine.record(Kind::Notification, &key).await?;
    let names = Names::read(&engine, &NAMED).await?;
    let mut filled = Filled::sent(&fields);
    let name = filled.required("name");
    let mut values = read(&mut filled);
    values.extend([("name".to_owned(), json!(name)), ("revision".to_owned(), filled.number("revision"))]);
    if filled.is_right() {
        let update = |engine: Engine| async move { engine.update(Kind::Notification, &key, values, &caller.who).await };
        match app.complete(engine, update).await {
            Ok(row) => return Ok(done(Kind::Notification, &row, "saved")),
            Err(problem) => filled.refused(problem)?,
        }
    }
    Ok(form_edit(frame, &row).show(&filled, inputs(&filled, &names)))
}

/// Sends a test message, and leads to the execution that delivers it: there is how it went.
async fn test(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(key): InPath<String>,
) -> Answer<Response> {
    let start = |engine: Engine| async move { engine.test_notification(&key, &caller.who).await };
    let id = app.complete(engine, start).await?;
    Ok(Redirect::to(&format!("/ui/executions/{id}?done=started")).into_response())
}
