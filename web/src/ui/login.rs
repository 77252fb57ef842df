//! Logging in and out with a browser.

use askama::Template;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{Extensions, HeaderMap};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::forms::Fields;
use super::frame::{Frame, View, page, page_with};
use crate::access::refuse_cross_site;
use crate::app::App;
use crate::caller::Caller;
use crate::extract::InQuery;
use crate::operation::{Needs, Operation};
use crate::problem::{Answer, Problem};
use crate::sessions;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::page("/login", show),
        Operation::action("/login", log_in),
        Operation::action("/ui/logout", log_out).needs(Needs::Known),
    ]
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    frame: Frame,
    /// Where to go afterwards.
    next: String,
    name: String,
    wrong: Option<Problem>,
}

impl View for Login {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginQuery {
    next: Option<String>,
}

async fn show(State(app): State<App>, InQuery(LoginQuery { next }): InQuery<LoginQuery>) -> Response {
    let next = own_page(next.as_deref());
    page(&Login { frame: Frame::open(&app, "/login"), next, name: String::new(), wrong: None })
}

async fn log_in(State(app): State<App>, headers: HeaderMap, extensions: Extensions, fields: Fields) -> Response {
    let next = own_page(fields.get("next"));
    let name = fields.text("name").unwrap_or_default().to_owned();
    let password = fields.get("password").unwrap_or_default();
    let begun = match refuse_cross_site(&headers) {
        Ok(()) => sessions::begin(&app, &headers, &extensions, &name, password).await,
        Err(problem) => Err(problem),
    };
    match begun {
        Ok((_, cookie)) => ([(SET_COOKIE, cookie)], Redirect::to(&next)).into_response(),
        Err(wrong) => {
            page_with(wrong.status(), &Login { frame: Frame::open(&app, "/login"), next, name, wrong: Some(wrong) })
        }
    }
}

async fn log_out(State(app): State<App>, caller: Caller) -> Answer<Response> {
    let (_, cookie) = sessions::end_current(&app, &caller).await?;
    Ok(([(SET_COOKIE, cookie)], Redirect::to("/login")).into_response())
}

/// A page of this server: where else the address of a login leads is somebody else's wish.
fn own_page(next: Option<&str>) -> String {
    let is_own = |next: &&str| super::is_at(next.split(['?', '#']).next().unwrap_or_default());
    let is_plain = |next: &&str| next.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'\\');
    next.filter(is_own).filter(is_plain).unwrap_or(super::PATH).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_pages_of_this_server_alone() {
        for own in ["/ui", "/ui/executions?filter=a%20b", "/ui/executions/1#log"] {
            assert_eq!(own_page(Some(own)), own);
        }
        for other in ["//evil.example/ui", "https://evil.example/ui", "/\\evil.example", "/uix", "/ui/\r\nx: y", ""] {
            assert_eq!(own_page(Some(other)), "/ui", "{other}");
        }
    }
}
