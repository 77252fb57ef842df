//! Settings: values that flows share, and who holds one as a lock.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Role, Timestamp};

use super::filled::Filled;
use super::forms::Fields;
use super::frame::{Frame, View, page};
use super::pages::{AskPage, FormPage};
use super::record::{self, Done, Names, done, path_of};
use super::table::{ListQuery, Listing};
use super::words::{Document, Moment, text, time};
use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::Answer;
use crate::schema_form::FormHtml;

pub(super) fn operations() -> Vec<Operation> {
    let own = vec![
        Operation::page("/ui/settings", list).role(Role::Viewer),
        Operation::page("/ui/settings/new", ask_new).role(Role::Author),
        Operation::action("/ui/settings/new", create).role(Role::Author),
        Operation::page("/ui/settings/{key}", show).role(Role::Viewer),
        Operation::page("/ui/settings/{key}/edit", ask_edit).role(Role::Author),
        Operation::action("/ui/settings/{key}/edit", update).role(Role::Author),
        Operation::page("/ui/settings/{key}/unlock", ask_unlock).role(Role::Operator),
        Operation::action("/ui/settings/{key}/unlock", unlock).role(Role::Operator),
    ];
    own.into_iter().chain(record::operations(Kind::Setting)).collect()
}

/// What of a value stands in a list, characters.
const SHOWN_MAX: usize = 80;

/// The execution that holds a setting as a lock.
struct Lock {
    execution_id: String,
    since: Moment,
    waiters: u64,
}

impl Lock {
    fn of(row: &Value, now: Timestamp) -> Option<Self> {
        let held = row.get("locked_by").filter(|held| held.is_object())?;
        Some(Self {
            execution_id: text(held, "execution_id").to_owned(),
            since: Moment { at: time(held, "since"), now },
            waiters: held["waiters"].as_u64().unwrap_or_default(),
        })
    }
}

/// The beginning of a value.
fn beginning(value: &Value) -> String {
    let all = value.to_string();
    match all.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{} …", &all[..end]),
        None => all,
    }
}

#[derive(Template)]
#[template(path = "settings.html")]
struct Settings {
    frame: Frame,
    list: Listing,
    names: Names,
}

impl View for Settings {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn list(InReach(engine): InReach, frame: Frame, InQuery(query): InQuery<ListQuery>) -> Answer<Response> {
    let list = Listing::read(&engine, Kind::Setting, &query, None).await?;
    let names = Names::read(&engine, &[Kind::Project]).await?;
    Ok(page(&Settings { frame, list, names }))
}

#[derive(Template)]
#[template(path = "setting.html")]
struct Setting {
    frame: Frame,
    row: Value,
    lock: Option<Lock>,
    names: Names,
}

impl View for Setting {
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
    let row = engine.record(Kind::Setting, &key).await?;
    let names = Names::read(&engine, &[Kind::Project]).await?;
    Ok(page(&Setting { lock: Lock::of(&row, frame.now), frame, row, names }))
}

fn inputs(filled: &Filled, names: &Names) -> Vec<FormHtml> {
    vec![
        filled.hidden("revision"),
        filled.line("name", "Name", "By which flows find it"),
        filled.lines("value", "Value, JSON", "Any document: a number, a text in quotes, an object"),
        filled.line("description", "Description", ""),
        filled.one_of("project_id", "Project", "Empty: of none", names.all(Kind::Project)),
    ]
}

/// What was entered, as fields of the record.
fn read(filled: &mut Filled) -> Map<String, Value> {
    let value = filled.json("value");
    let (description, project) = (filled.text("description"), filled.text("project_id"));
    Map::from_iter([
        ("value".to_owned(), value),
        ("description".to_owned(), description),
        ("project_id".to_owned(), project),
    ])
}

fn form_new(frame: Frame) -> FormPage {
    FormPage::new(frame, "A new setting", "Create", "/ui/settings")
}

async fn ask_new(InReach(engine): InReach, frame: Frame) -> Answer<Response> {
    let names = Names::read(&engine, &[Kind::Project]).await?;
    let filled = Filled::default();
    Ok(form_new(frame).show(&filled, inputs(&filled, &names)))
}

async fn create(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    fields: Fields,
) -> Answer<Response> {
    let names = Names::read(&engine, &[Kind::Project]).await?;
    let mut filled = Filled::sent(&fields);
    let name = filled.required("name");
    let mut values = read(&mut filled);
    values.retain(|_, value| !value.is_null());
    if filled.is_right() {
        let create = |engine: Engine| async move { engine.create(Kind::Setting, &name, values, &caller.who).await };
        match app.complete(engine, create).await {
            Ok(row) => return Ok(done(Kind::Setting, &row, "created")),
            Err(problem) => filled.refused(problem)?,
        }
    }
    Ok(form_new(frame).show(&filled, inputs(&filled, &names)))
}

fn form_edit(frame: Frame, row: &Value) -> FormPage {
    let title = format!("Change the setting {}", text(row, "name"));
    FormPage::new(frame, title, "Save", path_of(Kind::Setting, text(row, "id")))
}

async fn ask_edit(InReach(engine): InReach, frame: Frame, InPath(key): InPath<String>) -> Answer<Response> {
    let mut row = engine.record(Kind::Setting, &key).await?;
    let names = Names::read(&engine, &[Kind::Project]).await?;
    row["project_id"] = names.of(Kind::Project, text(&row, "project_id")).into();
    let value = serde_json::to_string_pretty(&row["value"]).unwrap_or_default();
    let filled = Filled::of(&row, &["revision", "name", "description", "project_id"]);
    let filled = filled.and(vec![("value".to_owned(), value)]);
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
    let row = engine.record(Kind::Setting, &key).await?;
    let names = Names::read(&engine, &[Kind::Project]).await?;
    let mut filled = Filled::sent(&fields);
    let name = filled.required("name");
    let mut values = read(&mut filled);
    values.extend([("name".to_owned(), json!(name)), ("revision".to_owned(), filled.number("revision"))]);
    if filled.is_right() {
        let update = |engine: Engine| async move { engine.update(Kind::Setting, &key, values, &caller.who).await };
        match app.complete(engine, update).await {
            Ok(row) => return Ok(done(Kind::Setting, &row, "saved")),
            Err(problem) => filled.refused(problem)?,
        }
    }
    Ok(form_edit(frame, &row).show(&filled, inputs(&filled, &names)))
}

async fn ask_unlock(InReach(engine): InReach, frame: Frame, InPath(key): InPath<String>) -> Answer<Response> {
    let row = engine.record(Kind::Setting, &key).await?;
    let (name, id) = (text(&row, "name").to_owned(), text(&row, "id").to_owned());
    let about = match Lock::of(&row, frame.now) {
        Some(Lock { execution_id, waiters, .. }) => format!(
            "The execution {execution_id} holds it. It is not told, goes on, and believes to have the lock; {waiters} \
             wait for it, and the first of them gets it. To cancel the execution is often the better way."
        ),
        None => "Nobody holds it.".to_owned(),
    };
    let back = path_of(Kind::Setting, &id);
    let title = "Take this lock away?";
    Ok(page(&AskPage { frame, title, name, id, about, submit: "Take it away", back }))
}

async fn unlock(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(key): InPath<String>,
) -> Answer<Response> {
    let row = app.complete(engine, |engine| async move { engine.unlock(&key, &caller.who).await }).await?;
    Ok(done(Kind::Setting, &row, "unlocked"))
}
