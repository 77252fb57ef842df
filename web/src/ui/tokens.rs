//! Tokens of programs: made, shown once, taken back.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Value;
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Role, Timestamp};

use super::audit::moment;
use super::filled::Filled;
use super::forms::Fields;
use super::frame::{Frame, View, page};
use super::pages::{AskPage, FormPage, OncePage};
use super::record::Names;
use super::table::{ListQuery, Listing};
use super::users::ROLES;
use super::words::{Standing, text, time};
use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::Answer;
use crate::schema_form::FormHtml;
use crate::tokens::{TokenBody, make};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::page("/ui/tokens", list).role(Role::Admin),
        Operation::page("/ui/tokens/new", ask_new).role(Role::Admin),
        Operation::action("/ui/tokens/new", create).role(Role::Admin),
        Operation::page("/ui/tokens/{key}/delete", ask_delete).role(Role::Admin),
        Operation::action("/ui/tokens/{key}/delete", delete).role(Role::Admin),
    ]
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct Tokens {
    frame: Frame,
    list: Listing,
    names: Names,
}

impl View for Tokens {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn list(InReach(engine): InReach, frame: Frame, InQuery(query): InQuery<ListQuery>) -> Answer<Response> {
    let list = Listing::read(&engine, Kind::Token, &query, None).await?;
    let names = Names::read(&engine, &[Kind::Project]).await?;
    Ok(page(&Tokens { frame, list, names }))
}

/// Whether a token is good.
fn standing(row: &Value, now: Timestamp) -> Standing {
    match time(row, "expires_at").is_some_and(|at| at <= now) {
        true => Standing::of("expired"),
        false => Standing { word: "Good", class: "good" },
    }
}

fn inputs(filled: &Filled, names: &Names) -> Vec<FormHtml> {
    vec![
        filled.line("name", "Name", "What it is called in lists and in the audit log"),
        filled.choice("role", "Role", "", &ROLES[1..]),
        filled.one_of("project_id", "Project", "Where it has its role; empty: everywhere", names.all(Kind::Project)),
        filled.moment("expires_at", "Good until, UTC", "Empty: until it is deleted"),
        filled.line("description", "Description", "What it is for"),
    ]
}

fn form_new(frame: Frame) -> FormPage {
    FormPage::new(frame, "A new token", "Create", "/ui/tokens")
}

async fn ask_new(InReach(engine): InReach, frame: Frame) -> Answer<Response> {
    let names = Names::read(&engine, &[Kind::Project]).await?;
    let filled = Filled::with([("role", "operator".to_owned())]);
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
    let optional = |field: &str| filled.text(field).as_str().map(str::to_owned);
    // What is no time is refused where tokens are made.
    let expires_at = optional("expires_at").map(|at| moment(&at).map_or(at, |at| at.to_string()));
    let (project_id, description) = (optional("project_id"), optional("description"));
    let (name, role) = (filled.required("name"), filled.required("role"));
    if filled.is_right() {
        let body = TokenBody { name, role, expires_at, description, project_id };
        match make(&app, engine, &caller, body).await {
            Ok((row, secret)) => {
                let title = format!("The token {}", text(&row, "name"));
                let about = "Programs send it as the header `Authorization: Bearer TOKEN`.".to_owned();
                return Ok(page(&OncePage { frame, title, about, secret, back: "/ui/tokens".to_owned() }));
            }
            Err(problem) => filled.refused(problem)?,
        }
    }
    Ok(form_new(frame).show(&filled, inputs(&filled, &names)))
}

async fn ask_delete(InReach(engine): InReach, frame: Frame, InPath(key): InPath<String>) -> Answer<Response> {
    let row = engine.record(Kind::Token, &key).await?;
    let (name, id) = (text(&row, "name").to_owned(), text(&row, "id").to_owned());
    let about = "Whoever uses it is refused from then on. Nobody can bring it back.".to_owned();
    let (title, back) = ("Take this token back?", "/ui/tokens".to_owned());
    Ok(page(&AskPage { frame, title, name, id, about, submit: "Take it back", back }))
}

async fn delete(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(key): InPath<String>,
) -> Answer<Response> {
    let delete = |engine: Engine| async move { engine.delete(Kind::Token, &key, true, &caller.who).await };
    app.complete(engine, delete).await?;
    Ok(Redirect::to("/ui/tokens?done=gone").into_response())
}
