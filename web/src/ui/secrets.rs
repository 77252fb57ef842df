//! Secrets: their names and ages. A value goes in and never comes out.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value};
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Role};

use super::filled::Filled;
use super::forms::Fields;
use super::frame::{Frame, View, page};
use super::pages::FormPage;
use super::record::{self, Done, Names, done, path_of};
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
        Operation::page("/ui/secrets", list).role(Role::Admin),
        Operation::page("/ui/secrets/new", ask_new).role(Role::Admin),
        Operation::action("/ui/secrets/new", create).role(Role::Admin),
        Operation::page("/ui/secrets/{key}", show).role(Role::Admin),
        Operation::page("/ui/secrets/{key}/rotate", ask_rotate).role(Role::Admin),
        Operation::action("/ui/secrets/{key}/rotate", rotate).role(Role::Admin),
    ];
    own.into_iter().chain(record::operations(Kind::Secret)).collect()
}

#[derive(Template)]
#[template(path = "secrets.html")]
struct Secrets {
    frame: Frame,
    list: Listing,
    names: Names,
}

impl View for Secrets {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn list(InReach(engine): InReach, frame: Frame, InQuery(query): InQuery<ListQuery>) -> Answer<Response> {
    let list = Listing::read(&engine, Kind::Secret, &query, None).await?;
    let names = Names::read(&engine, &[Kind::Project]).await?;
    Ok(page(&Secrets { frame, list, names }))
}

#[derive(Template)]
#[template(path = "secret.html")]
struct Secret {
    frame: Frame,
    row: Value,
    names: Names,
}

impl View for Secret {
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
    let row = engine.record(Kind::Secret, &key).await?;
    let names = Names::read(&engine, &[Kind::Project]).await?;
    Ok(page(&Secret { frame, row, names }))
}

const VALUE_NOTE: &str = "Shown to nobody from now on, not even to you";

fn inputs(filled: &Filled, names: &Names) -> Vec<FormHtml> {
    vec![
        filled.line("name", "Name", "By which connectors find it: letters, digits, _, - and ."),
        filled.secret("value", "Value", VALUE_NOTE),
        filled.line("description", "Description", ""),
        filled.one_of(
            "project_id",
            "Project",
            "For connectors of that project alone; empty: for all",
            names.all(Kind::Project),
        ),
    ]
}

/// The value as it is to be kept. A single line loses its end; of several, such as those of a key, nothing is lost.
fn value(filled: &mut Filled) -> Value {
    // Browsers end lines with both.
    let text = filled.value("value").replace("\r\n", "\n");
    let text = match text.strip_suffix('\n') {
        Some(line) if !line.contains('\n') => line.to_owned(),
        _ => text,
    };
    if text.is_empty() {
        filled.refuse("value", "it is missing");
    }
    text.into()
}

fn form_new(frame: Frame) -> FormPage {
    FormPage::new(frame, "A new secret", "Create", "/ui/secrets")
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
    let (name, value) = (filled.required("name"), value(&mut filled));
    let values = ["description", "project_id"].map(|field| (field.to_owned(), filled.text(field)));
    let mut values: Map<_, _> = values.into_iter().filter(|(_, value)| !value.is_null()).collect();
    values.insert("value".to_owned(), value);
    if filled.is_right() {
        let create = |engine: Engine| async move { engine.create(Kind::Secret, &name, values, &caller.who).await };
        match app.complete(engine, create).await {
            Ok(row) => return Ok(done(Kind::Secret, &row, "created")),
            Err(problem) => filled.refused(problem)?,
        }
    }
    Ok(form_new(frame).show(&filled, inputs(&filled, &names)))
}

fn form_rotate(frame: Frame, row: &Value) -> FormPage {
    let title = format!("A new value for {}", text(row, "name"));
    let page = FormPage::new(frame, title, "Set it", path_of(Kind::Secret, text(row, "id")));
    page.about("Calls that start after that use it. A call under way keeps the value that it began with.")
}

async fn ask_rotate(InReach(engine): InReach, frame: Frame, InPath(key): InPath<String>) -> Answer<Response> {
    let row = engine.record(Kind::Secret, &key).await?;
    let filled = Filled::default();
    Ok(form_rotate(frame, &row).show(&filled, vec![filled.secret("value", "Value", VALUE_NOTE)]))
}

async fn rotate(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    InPath(key): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    let row = engine.record(Kind::Secret, &key).await?;
    let mut filled = Filled::sent(&fields);
    let values = Map::from_iter([("value".to_owned(), value(&mut filled))]);
    if filled.is_right() {
        let update = |engine: Engine| async move { engine.update(Kind::Secret, &key, values, &caller.who).await };
        match app.complete(engine, update).await {
            Ok(row) => return Ok(done(Kind::Secret, &row, "rotated")),
            Err(problem) => filled.refused(problem)?,
        }
    }
    Ok(form_rotate(frame, &row).show(&filled, vec![filled.secret("value", "Value", VALUE_NOTE)]))
}
