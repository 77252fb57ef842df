//! Projects: groups of records, in which people and tokens have roles.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Engine, Role};

use super::filled::Filled;
use super::forms::Fields;
use super::frame::{Frame, View, page};
use super::pages::FormPage;
use super::record::{self, Done, Names, done, path, path_of};
use super::table::{ListQuery, Listing};
use super::words::text;
use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::Answer;
use crate::schema_form::FormHtml;

pub(super) fn operations() -> Vec<Operation> {
    let own = vec![
        Operation::page("/ui/projects", list).role(Role::Viewer),
        Operation::page("/ui/projects/new", ask_new).workspace_role(Role::Author),
        Operation::action("/ui/projects/new", create).workspace_role(Role::Author),
        Operation::page("/ui/projects/{key}", show).role(Role::Viewer),
        Operation::page("/ui/projects/{key}/edit", ask_edit).role(Role::Author),
        Operation::action("/ui/projects/{key}/edit", update).role(Role::Author),
    ];
    own.into_iter().chain(record::operations(Kind::Project)).collect()
}

#[derive(Template)]
#[template(path = "projects.html")]
struct Projects {
    frame: Frame,
    list: Listing,
}

impl View for Projects {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn list(InReach(engine): InReach, frame: Frame, InQuery(query): InQuery<ListQuery>) -> Answer<Response> {
    let list = Listing::read(&engine, Kind::Project, &query, None).await?;
    Ok(page(&Projects { frame, list }))
}

/// Kinds of records that pages list by their project, and what people call many of them.
const KINDS: [(Kind, &str); 8] = [
    (Kind::Flow, "Flows"),
    (Kind::Schedule, "Schedules"),
    (Kind::Webhook, "Webhooks"),
    (Kind::Connector, "Connectors"),
    (Kind::Setting, "Settings"),
    (Kind::File, "Files"),
    (Kind::Notification, "Notifications"),
    (Kind::Secret, "Secrets"),
];

/// What of a kind is counted at most.
const COUNTED_MAX: u32 = 100;

/// How many records of a kind are in a project.
struct Holding {
    label: &'static str,
    path: String,
    count: usize,
    is_more: bool,
}

#[derive(Template)]
#[template(path = "project.html")]
struct Project {
    frame: Frame,
    row: Value,
    /// As what is in it: a project is in itself.
    itself: Value,
    names: Names,
    holds: Vec<Holding>,
}

impl View for Project {
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
    let row = engine.record(Kind::Project, &key).await?;
    let id = text(&row, "id").to_owned();
    let mut holds = Vec::new();
    let itself = json!({ "project_id": id });
    for (kind, label) in
        KINDS.into_iter().filter(|(kind, _)| !kind.is_about_people() || frame.may_for("admin", &itself))
    {
        let filter = Some(json!({"field": "project_id", "op": "eq", "value": id}));
        let call =
            QueryCall { kind: kind.as_str().to_owned(), filter, limit: Some(COUNTED_MAX), ..QueryCall::default() };
        let found = engine.query(call).await?;
        let path = format!("{}?filter=project_id%3D{id}", path(kind));
        holds.push(Holding { label, path, count: found.rows.len(), is_more: found.next.is_some() });
    }
    Ok(page(&Project { frame, row, itself, names: Names::default(), holds }))
}

fn inputs(filled: &Filled) -> Vec<FormHtml> {
    vec![filled.hidden("revision"), filled.line("name", "Name", ""), filled.line("description", "Description", "")]
}

fn form_new(frame: Frame) -> FormPage {
    let page = FormPage::new(frame, "A new project", "Create", "/ui/projects");
    page.about("Records are grouped by projects. People and tokens may have a role in some of them alone.")
}

async fn ask_new(frame: Frame) -> Response {
    let filled = Filled::default();
    form_new(frame).show(&filled, inputs(&filled))
}

async fn create(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    fields: Fields,
) -> Answer<Response> {
    let mut filled = Filled::sent(&fields);
    let name = filled.required("name");
    let values = Map::from_iter([("description".to_owned(), filled.text("description"))]);
    if filled.is_right() {
        let create = |engine: Engine| async move { engine.create(Kind::Project, &name, values, &caller.who).await };
        match app.complete(engine, create).await {
            Ok(row) => return Ok(done(Kind::Project, &row, "created")),
            Err(problem) => filled.refused(problem)?,
        }
    }
    Ok(form_new(frame).show(&filled, inputs(&filled)))
}

fn form_edit(frame: Frame, row: &Value) -> FormPage {
    let title = format!("Change the project {}", text(row, "name"));
    FormPage::new(frame, title, "Save", path_of(Kind::Project, text(row, "id")))
}

async fn ask_edit(InReach(engine): InReach, frame: Frame, InPath(key): InPath<String>) -> Answer<Response> {
    let row = engine.record(Kind::Project, &key).await?;
    let filled = Filled::of(&row, &["revision", "name", "description"]);
    Ok(form_edit(frame, &row).show(&filled, inputs(&filled)))
}

async fn update(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    InPath(key): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    let row = engine.record(Kind::Project, &key).await?;
    let mut filled = Filled::sent(&fields);
    let (name, revision) = (filled.required("name"), filled.number("revision"));
    let values = Map::from_iter([
        ("name".to_owned(), json!(name)),
        ("description".to_owned(), filled.text("description")),
        ("revision".to_owned(), revision),
    ]);
    if filled.is_right() {
        let update = |engine: Engine| async move { engine.update(Kind::Project, &key, values, &caller.who).await };
        match app.complete(engine, update).await {
            Ok(row) => return Ok(done(Kind::Project, &row, "saved")),
            Err(problem) => filled.refused(problem)?,
        }
    }
    Ok(form_edit(frame, &row).show(&filled, inputs(&filled)))
}
