//! What a flow is for, where it belongs, and how its executions are limited.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value};
use surefoot_engine::query::Kind;
use surefoot_engine::{Deadline, Engine, Role};

use super::Head;
use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::InPath;
use crate::operation::Operation;
use crate::problem::Answer;
use crate::ui::filled::Filled;
use crate::ui::forms::Fields;
use crate::ui::frame::{Frame, View, page_with};
use crate::ui::record::{Names, done};
use crate::ui::words::duration_text;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::page("/ui/flows/{key}/settings", ask).role(Role::Author),
        Operation::action("/ui/flows/{key}/settings", save).role(Role::Author),
    ]
}

/// What is sent, and what people read.
const ROLES: &[(&str, &str)] = &[
    ("", "author, as without a limit"),
    ("viewer", "viewer: look"),
    ("operator", "operator: run, cancel, approve"),
    ("author", "author: change records"),
];

#[derive(Template)]
#[template(path = "flow-settings.html")]
struct Settings {
    frame: Frame,
    head: Head,
    form: Filled,
    projects: Vec<String>,
}

impl View for Settings {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn ask(InReach(engine): InReach, frame: Frame, InPath(key): InPath<String>) -> Answer<Response> {
    let head = Head::read(&engine, &key, &frame, "settings").await?;
    let names = Names::read(&engine, &[Kind::Project]).await?;
    let fields = ["description", "max_concurrent", "priority", "role", "input_schema", "revision"];
    let deadline = head.row["deadline_ms"].as_u64().map(std::time::Duration::from_millis).map(duration_text);
    let project = head.row["project_id"].as_str().map(|id| names.of(Kind::Project, id).to_owned());
    let own = [("deadline", deadline), ("project_id", project)];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.unwrap_or_default()));
    let form = Filled::of(&head.row, &fields).and(own.collect());
    Ok(page_with(StatusCode::OK, &Settings { frame, head, form, projects: names.all(Kind::Project) }))
}

async fn save(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    InPath(key): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    let head = Head::read(&engine, &key, &frame, "settings").await?;
    let mut form = Filled::sent(&fields);
    let changes = changes(&mut form);
    if form.is_right() {
        let id = head.id.clone();
        let update = |engine: Engine| async move { engine.update(Kind::Flow, &id, changes, &caller.who).await };
        match app.complete(engine.clone(), update).await {
            Ok(record) => return Ok(done(Kind::Flow, &record, "saved")),
            Err(problem) => form.refused(problem)?,
        }
    }
    let projects = Names::read(&engine, &[Kind::Project]).await?.all(Kind::Project);
    Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &Settings { frame, head, form, projects }))
}

fn changes(form: &mut Filled) -> Map<String, Value> {
    let deadline = match form.text("deadline").as_str().map(str::parse::<Deadline>) {
        None => Value::Null,
        Some(Ok(Deadline::After(after))) => u64::try_from(after.as_millis()).unwrap_or(u64::MAX).into(),
        Some(_) => {
            form.refuse("deadline", "it is no duration; write one such as 90s, 15m or 2h 30m");
            Value::Null
        }
    };
    let all = [
        ("description", form.text("description")),
        // The engine takes a name, too.
        ("project_id", form.text("project_id")),
        ("deadline_ms", deadline),
        ("max_concurrent", form.number("max_concurrent")),
        ("priority", form.number("priority")),
        ("role", form.text("role")),
        ("input_schema", form.json("input_schema")),
        ("revision", form.number("revision")),
    ];
    // A revision that is not there is none; any other field is removed by a null.
    all.into_iter()
        .filter(|(name, value)| *name != "revision" || !value.is_null())
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
