//! Answering with a token, without an account: a page with a form that needs no script, and the same as JSON.
//!
//! Looking uses nothing up: what scans mails opens every link. The token in the address is all that is asked for, so
//! the page tells no other site its address, and no browser sends anything along by itself that would count.

mod page;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use surefoot_engine::{ANSWER_BYTES_MAX, Engine, Timestamp};

use crate::app::App;
use crate::approvals::AnswerBody;
use crate::extract::{InPath, parse_json, read_body};
use crate::operation::Operation;
use crate::page::{HTML, private};
use crate::problem::{Answer, Problem};
use crate::schema_form::{SchemaForm, in_one_text};

/// Below it stands the token. What is logged of a request leaves out what follows.
pub(crate) const PATH: &str = "/approve/";

/// A form is longer than the answer that is made from it.
const BODY_BYTES_MAX: usize = 4 * ANSWER_BYTES_MAX;

pub(crate) fn operations() -> Vec<Operation> {
    let path = format!("{PATH}{{token}}");
    let pages = |operation: Operation, problems: &[StatusCode]| {
        let operation = operation.answers::<Shown>(StatusCode::OK).answers_bytes(StatusCode::OK, HTML);
        problems.iter().fold(operation, |operation, status| operation.answers_bytes(*status, HTML))
    };
    let late = [StatusCode::NOT_FOUND, StatusCode::GONE];
    let wrong = [StatusCode::BAD_REQUEST, StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY];
    vec![
        pages(Operation::get(path.clone(), show), &late)
            .summary("What is asked under a token: a page with a form, or JSON for who accepts that; uses nothing up"),
        pages(Operation::post(path, answer).body::<AnswerBody>(), &[&late[..], &wrong].concat())
            .summary("Answer with a token, as JSON or by the form of the page; the first answer counts"),
    ]
}

/// What whoever has the token may know.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Shown {
    /// The signal that the answer will be.
    name: String,
    /// What is asked.
    message: String,
    /// JSON Schema of the answer; null for any.
    schema: Value,
    /// `open`, `answered`, `expired` or `closed`.
    status: String,
    /// Until when it can be answered, RFC 3339; null for as long as the execution waits.
    expires_at: Option<String>,
    /// When it was answered, RFC 3339.
    answered_at: Option<String>,
    /// By whom.
    answered_by: Option<String>,
}

impl Shown {
    fn new(approval: &Value, now: Timestamp) -> Self {
        let optional = |field: &str| approval[field].as_str().map(str::to_owned);
        let text = |field: &str| optional(field).unwrap_or_default();
        let expires_at = optional("expires_at");
        let is_over = expires_at.as_ref().and_then(|at| at.parse().ok()).is_some_and(|at: Timestamp| at <= now);
        let status = text("status");
        Self {
            name: text("name"),
            message: text("message"),
            schema: approval["schema"].clone(),
            // Whoever asked may not have looked yet.
            status: if is_over && status == "open" { "expired".to_owned() } else { status },
            expires_at,
            answered_at: optional("answered_at"),
            answered_by: optional("answered_by"),
        }
    }
}

async fn show(State(app): State<App>, InPath(token): InPath<String>, headers: HeaderMap) -> Response {
    let found = app.whole_engine().approval_of_token(&token).await.map_err(Problem::from);
    let found = found.map(|approval| Shown::new(&approval, app.whole_engine().now()));
    if wants_json(&headers) {
        return private(found.map(Json).into_response());
    }
    match found {
        Err(problem) => page::of_problem(&problem),
        Ok(shown) if shown.status == "open" => page::of_form(&shown, &SchemaForm::new(&shown.schema), None, &[], None),
        Ok(shown) => page::of_end(&shown),
    }
}

async fn answer(State(app): State<App>, InPath(token): InPath<String>, request: Request) -> Response {
    let headers = request.headers().clone();
    let content_type = headers.get(CONTENT_TYPE).and_then(|ty| ty.to_str().ok()).unwrap_or_default();
    match content_type.split(';').next().unwrap_or_default().trim() {
        "application/x-www-form-urlencoded" => answer_form(&app, token, request).await,
        _ => private(answer_json(&app, token, request).await.into_response()),
    }
}

async fn answer_json(app: &App, token: String, request: Request) -> Answer<Json<Shown>> {
    let AnswerBody { payload } = parse_json(&read_body(request, BODY_BYTES_MAX).await?)?;
    Ok(Json(give(app, token, payload).await?))
}

async fn answer_form(app: &App, token: String, request: Request) -> Response {
    let shown = match app.whole_engine().approval_of_token(&token).await {
        Ok(approval) => Shown::new(&approval, app.whole_engine().now()),
        Err(error) => return page::of_problem(&error.into()),
    };
    let body = match read_body(request, BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(problem) => return page::of_problem(&problem),
    };
    let values: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    let form = SchemaForm::new(&shown.schema);
    let (given, wrong) = match form.read(&values) {
        Ok(payload) => {
            let wrong = form.check(&payload);
            (give(app, token, payload).await, wrong)
        }
        Err(wrong) => (Err(Problem::invalid(in_one_text(&wrong))), wrong),
    };
    match given {
        Ok(shown) => page::of_thanks(&shown),
        Err(problem) if problem.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            page::of_form(&shown, &form, Some(&values), &wrong, Some(&problem))
        }
        Err(problem) => page::of_problem(&problem),
    }
}

async fn give(app: &App, token: String, payload: Value) -> Answer<Shown> {
    let answer = move |engine: Engine| async move { engine.answer_by_token(&token, payload).await };
    let approval = app.complete(app.whole_engine().clone(), answer).await?;
    Ok(Shown::new(&approval, app.whole_engine().now()))
}

/// Browsers accept pages, programs say what they want.
fn wants_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accepted.contains("application/json") && !accepted.contains("text/html")
}
