//! Users: who may log in, with which roles, and where they are logged in.

use std::collections::HashMap;

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Map, Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Link, Role, Session};

use super::filled::Filled;
use super::forms::Fields;
use super::frame::{Frame, View, page};
use super::pages::{AskPage, FormPage, OncePage};
use super::record::{self, Done, Names, done, path_of};
use super::table::{ListQuery, Listing};
use super::words::{Moment, Standing, text};
use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::Answer;
use crate::schema_form::FormHtml;
use crate::setup;

pub(super) fn operations() -> Vec<Operation> {
    let one = |rest: &str| format!("/ui/users/{{key}}{rest}");
    let own = [
        Operation::page("/ui/users", list),
        Operation::page("/ui/users/new", ask_new),
        Operation::action("/ui/users/new", create),
        Operation::page(one(""), show),
        Operation::page(one("/edit"), ask_edit),
        Operation::action(one("/edit"), update),
        Operation::page(one("/reset"), ask_reset),
        Operation::action(one("/reset"), reset),
        Operation::action(one("/log-out"), log_out),
        Operation::action(one("/sessions/{id}/end"), end_session),
    ];
    let own = own.into_iter().map(|operation| operation.workspace_role(Role::Admin));
    own.chain(record::operations(Kind::User)).collect()
}

/// The roles, and what people read.
pub(super) const ROLES: [(&str, &str); 5] = [
    ("", "none"),
    ("viewer", "viewer: looks"),
    ("operator", "operator: runs, cancels, approves"),
    ("author", "author: deploys flows, changes records"),
    ("admin", "admin: people, secrets, audit log"),
];

#[derive(Template)]
#[template(path = "users.html")]
struct Users {
    frame: Frame,
    list: Listing,
    names: Names,
}

impl View for Users {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn list(InReach(engine): InReach, frame: Frame, InQuery(query): InQuery<ListQuery>) -> Answer<Response> {
    let list = Listing::read(&engine, Kind::User, &query, None).await?;
    let names = Names::read(&engine, &[Kind::Project]).await?;
    Ok(page(&Users { frame, list, names }))
}

/// What somebody may do, in words.
fn roles_of(row: &Value, names: &Names) -> String {
    let in_workspace = row["role"].as_str().map(|role| format!("{role} in the workspace"));
    let in_projects = row["project_roles"].as_object().into_iter().flatten();
    let in_projects = in_projects
        .filter_map(|(project, role)| Some(format!("{} in {}", role.as_str()?, names.of(Kind::Project, project))));
    let all: Vec<_> = in_workspace.into_iter().chain(in_projects).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// A session, as lists show it.
pub(super) struct SessionRow {
    pub(super) id: String,
    pub(super) is_current: bool,
    pub(super) address: String,
    pub(super) program: String,
    pub(super) began: Moment,
    pub(super) seen: Moment,
}

impl SessionRow {
    pub(super) fn of(session: Session, frame: &Frame) -> Self {
        let moment = |text: &str| Moment { at: text.parse().ok(), now: frame.now };
        Self {
            began: moment(&session.created_at),
            seen: moment(&session.last_seen_at),
            id: session.id,
            is_current: session.is_current,
            address: session.address,
            program: session.user_agent,
        }
    }
}

#[derive(Template)]
#[template(path = "user.html")]
struct User {
    frame: Frame,
    row: Value,
    names: Names,
    sessions: Vec<SessionRow>,
    /// Below it a session is ended.
    end: String,
}

impl View for User {
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
    let row = engine.record(Kind::User, &key).await?;
    let names = Names::read(&engine, &[Kind::Project]).await?;
    let sessions = engine.sessions(Some(text(&row, "id"))).await?;
    let sessions = sessions.into_iter().map(|session| SessionRow::of(session, &frame)).collect();
    let end = format!("{}/sessions", path_of(Kind::User, text(&row, "id")));
    Ok(page(&User { frame, row, names, sessions, end }))
}

/// The name of the field for a role in a project.
fn role_field(index: usize) -> String {
    format!("role_in_{index}")
}

/// The fields of a user. Each project has one for the role there.
fn inputs(filled: &Filled, projects: &[String]) -> Vec<FormHtml> {
    let mut inputs = vec![
        filled.hidden("revision"),
        filled.line("name", "Name", "To log in with"),
        filled.line("display_name", "Name for people", ""),
        filled.choice("role", "Role in the whole workspace", "", &ROLES),
    ];
    for (index, project) in projects.iter().enumerate() {
        inputs.push(filled.choice(&role_field(index), &format!("Role in the project {project}"), "", &ROLES));
    }
    inputs
}

/// What was entered, as fields of the record; for a new one without what is none.
fn read(filled: &Filled, projects: &[String]) -> Map<String, Value> {
    let roles = projects
        .iter()
        .enumerate()
        .filter_map(|(index, project)| Some((project.clone(), Value::from(filled.text(&role_field(index)).as_str()?))));
    Map::from_iter([
        ("display_name".to_owned(), filled.text("display_name")),
        ("role".to_owned(), filled.text("role")),
        ("project_roles".to_owned(), Value::Object(roles.collect())),
    ])
}

async fn projects(engine: &Engine) -> Answer<Vec<String>> {
    Ok(Names::read(engine, &[Kind::Project]).await?.all(Kind::Project))
}

fn form_new(frame: Frame) -> FormPage {
    let page = FormPage::new(frame, "A new user", "Create", "/ui/users");
    page.about("They get a link that is good once, and set their own password with it. Nobody else learns it.")
}

async fn ask_new(InReach(engine): InReach, frame: Frame) -> Answer<Response> {
    let (filled, projects) = (Filled::default(), projects(&engine).await?);
    Ok(form_new(frame).show(&filled, inputs(&filled, &projects)))
}

async fn create(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    headers: HeaderMap,
    fields: Fields,
) -> Answer<Response> {
    let (mut filled, projects) = (Filled::sent(&fields), projects(&engine).await?);
    let name = filled.required("name");
    let mut values = read(&filled, &projects);
    values.retain(|_, value| !value.is_null());
    if filled.is_right() {
        let create = |engine: Engine| async move { engine.create_user(&name, values, None, &caller.who).await };
        match app.complete(engine, create).await {
            Ok((row, link)) => return Ok(with_link(frame, &headers, &row, link.as_ref())),
            Err(problem) => filled.refused(problem)?,
        }
    }
    Ok(form_new(frame).show(&filled, inputs(&filled, &projects)))
}

/// The link with which somebody sets a password. It is in no address and no log.
fn with_link(frame: Frame, headers: &HeaderMap, row: &Value, link: Option<&Link>) -> Response {
    let back = path_of(Kind::User, text(row, "id"));
    let Some(link) = link else { return Redirect::to(&back).into_response() };
    // As the browser reached this server, if it says so.
    let origin = headers.get("origin").and_then(|origin| origin.to_str().ok()).filter(|origin| *origin != "null");
    let title = format!("A link for {}", text(row, "name"));
    let about = format!(
        "Send it to them. With it they set their password, once, until {}. A mail program that looks at links uses \
         nothing up.",
        link.expires_at
    );
    let secret = format!("{}{}", origin.unwrap_or_default(), setup::path(&link.token));
    page(&OncePage { frame, title, about, secret, back })
}

fn form_edit(frame: Frame, row: &Value) -> FormPage {
    let title = format!("Change the user {}", text(row, "name"));
    FormPage::new(frame, title, "Save", path_of(Kind::User, text(row, "id")))
}

async fn ask_edit(InReach(engine): InReach, frame: Frame, InPath(key): InPath<String>) -> Answer<Response> {
    let row = engine.record(Kind::User, &key).await?;
    let names = Names::read(&engine, &[Kind::Project]).await?;
    let projects = names.all(Kind::Project);
    let has: HashMap<&str, &str> = row["project_roles"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(project, role)| Some((names.of(Kind::Project, project), role.as_str()?)))
        .collect();
    let roles = projects
        .iter()
        .enumerate()
        .filter_map(|(index, project)| Some((role_field(index), (*has.get(project.as_str())?).to_owned())));
    let filled = Filled::of(&row, &["revision", "name", "display_name", "role"]).and(roles.collect());
    Ok(form_edit(frame, &row).show(&filled, inputs(&filled, &projects)))
}

async fn update(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    InPath(key): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    let row = engine.record(Kind::User, &key).await?;
    let (mut filled, projects) = (Filled::sent(&fields), projects(&engine).await?);
    let name = filled.required("name");
    let mut values = read(&filled, &projects);
    values.extend([("name".to_owned(), json!(name)), ("revision".to_owned(), filled.number("revision"))]);
    if filled.is_right() {
        let update = |engine: Engine| async move { engine.update(Kind::User, &key, values, &caller.who).await };
        match app.complete(engine, update).await {
            Ok(row) => return Ok(done(Kind::User, &row, "saved")),
            Err(problem) => filled.refused(problem)?,
        }
    }
    Ok(form_edit(frame, &row).show(&filled, inputs(&filled, &projects)))
}

async fn ask_reset(InReach(engine): InReach, frame: Frame, InPath(key): InPath<String>) -> Answer<Response> {
    let row = engine.record(Kind::User, &key).await?;
    let (name, id) = (text(&row, "name").to_owned(), text(&row, "id").to_owned());
    let about =
        "Their password is good no more, and they are logged out everywhere. You get a link with which they set \
                 another one."
            .to_owned();
    let back = path_of(Kind::User, &id);
    let title = "Take this user's password away?";
    Ok(page(&AskPage { frame, title, name, id, about, submit: "Take it away, and make a link", back }))
}

async fn reset(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    headers: HeaderMap,
    InPath(key): InPath<String>,
) -> Answer<Response> {
    let reset = |engine: Engine| async move { engine.reset_user(&key, &caller.who).await };
    let (row, link) = app.complete(engine, reset).await?;
    Ok(with_link(frame, &headers, &row, Some(&link)))
}

async fn log_out(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(key): InPath<String>,
) -> Answer<Response> {
    let back = format!("{}?done=logged-out", path_of(Kind::User, &key));
    app.complete(engine, |engine| async move { engine.end_sessions(&key, &caller.who).await }).await?;
    Ok(Redirect::to(&back).into_response())
}

async fn end_session(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath((key, id)): InPath<(String, String)>,
) -> Answer<Response> {
    let user = engine.record(Kind::User, &key).await?;
    let user_id = text(&user, "id").to_owned();
    let end = |engine: Engine| async move { engine.end_session(&id, Some(&user_id), "end_session", &caller.who).await };
    app.complete(engine, end).await?;
    Ok(done(Kind::User, &user, "ended"))
}
