//! What somebody with a token sees.

use axum::http::StatusCode;
use axum::response::Response;

use super::Shown;
use crate::page::{escaped, page};
use crate::problem::Problem;
use crate::schema_form::{Entered, SchemaForm, Wrong};

/// What is asked, with a form; above it what was wrong with the answer before.
pub(super) fn of_form(
    shown: &Shown,
    form: &SchemaForm<'_>,
    entered: Option<&Entered>,
    wrong: &[Wrong],
    problem: Option<&Problem>,
) -> Response {
    let status = problem.map_or(StatusCode::OK, Problem::status);
    let problem =
        problem.map(|problem| format!("<p class=\"problem\" role=\"alert\">{}</p>", escaped(problem.detail())));
    let until = shown.expires_at.as_ref().map(|at| format!("<p>It can be answered until {}.</p>", escaped(at)));
    // Without an action it goes to the address of the page, which has the token.
    let body = format!(
        "{}{}<form method=\"post\">{}<button>Answer</button></form>",
        problem.unwrap_or_default(),
        until.unwrap_or_default(),
        form.html(entered, wrong)
    );
    page(status, heading(shown), &body)
}

/// That the answer was taken.
pub(super) fn of_thanks(shown: &Shown) -> Response {
    let at = shown.answered_at.as_deref().unwrap_or_default();
    page(StatusCode::OK, heading(shown), &format!("<p>Your answer was recorded at {}.</p>", escaped(at)))
}

/// That nothing can be answered any more.
pub(super) fn of_end(shown: &Shown) -> Response {
    let text = |text: &Option<String>| escaped(text.as_deref().unwrap_or_default());
    let (status, why) = match shown.status.as_str() {
        "answered" => {
            let (by, at) = (text(&shown.answered_by), text(&shown.answered_at));
            (StatusCode::OK, format!("It was answered by {by} at {at}."))
        }
        "expired" => (StatusCode::GONE, format!("It could be answered until {}.", text(&shown.expires_at))),
        _ => (StatusCode::GONE, "Nobody waits for an answer any more.".to_owned()),
    };
    page(status, heading(shown), &format!("<p>{why}</p>"))
}

/// Why a request was not done.
pub(super) fn of_problem(problem: &Problem) -> Response {
    page(problem.status(), "This cannot be answered", &format!("<p>{}</p>", escaped(problem.detail())))
}

fn heading(shown: &Shown) -> &str {
    if shown.message.is_empty() { &shown.name } else { &shown.message }
}
