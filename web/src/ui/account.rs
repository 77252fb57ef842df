//! One's own account: the password, where one is logged in, the tokens that one made.

use askama::Template;
use axum::extract::State;
use axum::http::Extensions;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Value, json};
use surefoot_engine::query::{Kind, LIMIT_MAX};
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Engine, Role};

use super::filled::Filled;
use super::forms::Fields;
use super::frame::{Frame, View, page};
use super::pages::FormPage;
use super::record::Done;
use super::users::SessionRow;
use super::words::text;
use crate::app::App;
use crate::caller::Caller;
use crate::extract::{InPath, InQuery};
use crate::operation::{Needs, Operation};
use crate::problem::Answer;
use crate::schema_form::FormHtml;
use crate::sessions::{self, PasswordBody};

/// The page.
pub(super) const PATH: &str = "/ui/account";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::page(PATH, show).needs(Needs::Known),
        Operation::page(format!("{PATH}/password"), ask_password).needs(Needs::Known),
        Operation::action(format!("{PATH}/password"), change_password).needs(Needs::Known),
        Operation::action(format!("{PATH}/sessions/{{id}}/end"), end_session).needs(Needs::Known),
    ]
}

#[derive(Template)]
#[template(path = "account.html")]
struct Account {
    frame: Frame,
    /// Where who looks is logged in; none for who has no session.
    sessions: Option<Vec<SessionRow>>,
    /// Below it a session is ended.
    end: &'static str,
    /// Roles in projects: names and roles.
    in_projects: Vec<(String, Role)>,
    in_workspace: Option<Role>,
    /// The tokens that they made; none for who may make none.
    tokens: Option<Vec<Value>>,
}

impl View for Account {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn show(State(app): State<App>, caller: Caller, frame: Frame, InQuery(_): InQuery<Done>) -> Answer<Response> {
    let sessions = match caller.session() {
        Some(_) => {
            let own = sessions::of_caller(&app, &caller, true).await?;
            Some(own.into_iter().map(|session| SessionRow::of(session, &frame)).collect())
        }
        None => None,
    };
    let mut in_projects = Vec::new();
    for (id, role) in caller.rights.in_projects() {
        let project = app.whole_engine().record(Kind::Project, id).await;
        in_projects.push((project.map_or_else(|_| id.to_owned(), |row| text(&row, "name").to_owned()), role));
    }
    let in_workspace = caller.rights.in_workspace();
    let tokens = if caller.rights.highest() == Some(Role::Admin) { Some(tokens(&app, &caller).await?) } else { None };
    Ok(page(&Account { frame, sessions, end: "/ui/account/sessions", in_projects, in_workspace, tokens }))
}

/// The newest tokens that somebody made, in the projects where they may see them.
async fn tokens(app: &App, caller: &Caller) -> Answer<Vec<Value>> {
    let call = QueryCall {
        kind: Kind::Token.as_str().to_owned(),
        filter: Some(json!({"field": "created_by", "op": "eq", "value": caller.who})),
        limit: Some(LIMIT_MAX),
        ..QueryCall::default()
    };
    let admin = Caller { needed: Role::Admin, ..caller.clone() };
    Ok(app.engine_for(&admin).query(call).await?.rows)
}

fn inputs(filled: &Filled) -> Vec<FormHtml> {
    vec![
        filled.password("password", "Present password", "", "current-password"),
        filled.password("new_password", "New password", "12 characters or more", "new-password"),
        filled.password("repeated", "The new one again", "", "new-password"),
    ]
}

fn form(frame: Frame) -> FormPage {
    let page = FormPage::new(frame, "Change your password", "Change it", PATH);
    page.about("You stay logged in here, and are logged out everywhere else.")
}

async fn ask_password(frame: Frame) -> Response {
    let filled = Filled::default();
    form(frame).show(&filled, inputs(&filled))
}

async fn change_password(
    State(app): State<App>,
    caller: Caller,
    extensions: Extensions,
    frame: Frame,
    fields: Fields,
) -> Answer<Response> {
    let mut filled = Filled::sent(&fields);
    let entered = |name: &str| fields.get(name).unwrap_or_default().to_owned();
    let (password, new_password) = (entered("password"), entered("new_password"));
    for (name, value) in [("password", &password), ("new_password", &new_password)] {
        if value.is_empty() {
            filled.refuse(name, "it is missing");
        }
    }
    if new_password != entered("repeated") {
        filled.refuse("repeated", "the two are not the same");
    }
    if filled.is_right() {
        let body = PasswordBody { password, new_password };
        match sessions::change(&app, &caller, &extensions, body).await {
            Ok(()) => return Ok(Redirect::to(&format!("{PATH}?done=password")).into_response()),
            Err(problem) => filled.refused(problem)?,
        }
    }
    Ok(form(frame).show(&filled, inputs(&filled)))
}

/// Ends one of one's own sessions; whoever ends the one that they use has to log in again.
async fn end_session(State(app): State<App>, caller: Caller, InPath(id): InPath<String>) -> Answer<Response> {
    if let Some(session) = caller.session() {
        let user_id = session.user_id().to_owned();
        let end =
            |engine: Engine| async move { engine.end_session(&id, Some(&user_id), "end_session", &caller.who).await };
        app.complete(app.whole_engine().clone(), end).await?;
    }
    Ok(Redirect::to(&format!("{PATH}?done=ended")).into_response())
}
