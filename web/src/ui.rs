//! The web UI under `/ui`: pages that are made here, of what the engine says, for who may see it.
//!
//! A page is one module, one view struct and one template. [`frame`] has what all pages share, [`words`] how a status,
//! a time, a duration is shown, [`forms`] what a form sends, [`pages`] forms and questions that need no template of
//! their own. Reading works without scripts, and so do the forms; the one script (`assets/surefoot.js`) asks for the
//! page anew when an event says that something changed, and exchanges the parts that are marked as live. So there is
//! one way of showing something, and it is here.
//!
//! Invariant: everything that comes from outside is escaped by the templates. What need not be is a type of [`words`].

mod account;
mod approvals;
mod assets;
mod audit;
mod bulk;
mod commands;
mod compare;
mod connectors;
mod execution;
mod executions;
mod files;
mod filled;
mod filter;
mod flows;
pub(crate) mod forms;
mod frame;
mod login;
mod notifications;
mod overview;
mod pages;
mod plot;
mod projects;
mod record;
mod run;
mod schedules;
mod secrets;
mod settings;
mod system;
mod table;
mod tokens;
mod users;
mod views;
mod webhooks;
mod words;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use crate::caller::Caller;
use crate::extract::percent_encoded;
use crate::operation::Operation;
use crate::problem::Problem;

use frame::Frame;

/// Below it are all pages but the login.
pub(crate) const PATH: &str = "/ui";

/// All pages, what their forms send, and what pages load.
pub(crate) fn operations() -> Vec<Operation> {
    [
        vec![Operation::page("/", async || Redirect::to(PATH))],
        assets::operations(),
        login::operations(),
        overview::operations(),
        executions::operations(),
        execution::operations(),
        compare::operations(),
        bulk::operations(),
        views::operations(),
        flows::operations(),
        schedules::operations(),
        webhooks::operations(),
        connectors::operations(),
        approvals::operations(),
        files::operations(),
        settings::operations(),
        projects::operations(),
        notifications::operations(),
        secrets::operations(),
        users::operations(),
        tokens::operations(),
        account::operations(),
        audit::operations(),
        system::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether what is there is for people.
pub(crate) fn is_at(path: &str) -> bool {
    path.strip_prefix(PATH).is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// Shows what went wrong with a page as a page; leads who is not logged in to the login, and back from there.
pub(crate) async fn errors(request: Request, next: Next) -> Response {
    if !is_at(request.uri().path()) {
        return next.run(request).await;
    }
    let only_looks = matches!(*request.method(), Method::GET | Method::HEAD);
    let there = request.uri().path_and_query().map_or(PATH, |there| there.as_str()).to_owned();
    let mut response = next.run(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    if problem.status() == StatusCode::UNAUTHORIZED {
        let back = if only_looks { there } else { PATH.to_owned() };
        return Redirect::to(&format!("/login?next={}", percent_encoded(&back))).into_response();
    }
    let caller = response.extensions_mut().remove::<Caller>();
    frame::of_problem(Frame::for_problem(caller.as_ref()), &problem)
}
