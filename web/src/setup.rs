//! Links that are good once: with one the first user of a workspace is made, or the password of a user is set. The API
//! does it with `POST /api/v1/setup`; the link itself leads a browser to a form that does the same, without scripts.
//!
//! Looking at a link uses nothing up: mail scanners look at all of them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, EngineError, LinkFor, Refusal};

use crate::app::App;
use crate::extract::{InForm, InJson, InPath};
use crate::openapi;
use crate::operation::Operation;
use crate::page::{HTML, escaped, page};
use crate::problem::{Answer, Problem};

/// The API's way, and the pages.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/api/v1/setup", set_up)
            .summary("Use a link up: make the first user, an admin, or set the password of the user it is for")
            .body::<SetupBody>()
            .answers_of(StatusCode::OK, || openapi::record_reference(Kind::User)),
        Operation::get("/setup/{token}", show)
            .summary("The form behind a link that is good once")
            .answers_bytes(StatusCode::OK, HTML)
            .answers_bytes(StatusCode::NOT_FOUND, HTML),
        Operation::post("/setup/{token}", submit)
            .summary("What the form sends")
            .bytes_body("application/x-www-form-urlencoded")
            .answers_bytes(StatusCode::OK, HTML)
            .answers_bytes(StatusCode::NOT_FOUND, HTML)
            .answers_bytes(StatusCode::UNPROCESSABLE_ENTITY, HTML),
    ]
}

/// The path of the form of a link that is good once.
pub fn path(token: &str) -> String {
    format!("/setup/{token}")
}

/// A link, and what to do with it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetupBody {
    /// What the link ends with.
    token: String,
    /// Of the first user; links of others know their name.
    name: Option<String>,
    /// 12 characters or more.
    password: String,
}

async fn set_up(State(app): State<App>, InJson(body): InJson<SetupBody>) -> Answer<Json<Value>> {
    let SetupBody { token, name, password } = body;
    let used = |engine: Engine| async move { engine.use_link(&token, name.as_deref(), &password).await };
    Ok(Json(app.complete(app.whole_engine().clone(), used).await?))
}

async fn show(State(app): State<App>, InPath(token): InPath<String>) -> Answer<Response> {
    let link = app.whole_engine().link_for(&token).await?;
    Ok(link.map_or_else(spent, |link| form(StatusCode::OK, &link, "")))
}

/// What the form has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Form {
    name: Option<String>,
    password: String,
    repeated: String,
}

async fn submit(
    State(app): State<App>,
    InPath(token): InPath<String>,
    InForm(Form { name, password, repeated }): InForm<Form>,
) -> Answer<Response> {
    let Some(link) = app.whole_engine().link_for(&token).await? else { return Ok(spent()) };
    if password != repeated {
        return Ok(form(StatusCode::UNPROCESSABLE_ENTITY, &link, "the two passwords are not the same"));
    }
    let used = |engine: Engine| async move { Ok(engine.use_link(&token, name.as_deref(), &password).await) };
    match app.complete(app.whole_engine().clone(), used).await? {
        Ok(user) => {
            let name = escaped(user["name"].as_str().unwrap_or_default());
            let text = format!(
                "<p>The password of <b>{name}</b> is set. This link is good no more.</p>\
                 <p><a href=\"/login\">Log in</a></p>"
            );
            Ok(page(StatusCode::OK, "Done", &text))
        }
        Err(EngineError::Refused(Refusal::NotFound(_))) => Ok(spent()),
        Err(EngineError::Refused(reason)) => Ok(form(StatusCode::UNPROCESSABLE_ENTITY, &link, &reason.to_string())),
        Err(error) => Err(Problem::from(error)),
    }
}

fn form(status: StatusCode, link: &LinkFor, wrong: &str) -> Response {
    let (heading, name) = match link {
        LinkFor::FirstUser => (
            "The first admin of this workspace".to_owned(),
            "<p><label>Name, to log in with<br><input name=\"name\" required maxlength=\"256\" \
             autocomplete=\"username\" autofocus></label></p>",
        ),
        LinkFor::User(name) => (format!("A password for {name}"), ""),
    };
    let wrong = if wrong.is_empty() {
        String::new()
    } else {
        format!("<p class=\"problem\" role=\"alert\">{}</p>", escaped(wrong))
    };
    let password = |name: &str, label: &str| {
        format!(
            "<p><label>{label}<br><input name=\"{name}\" type=\"password\" required minlength=\"12\" \
             autocomplete=\"new-password\"></label></p>"
        )
    };
    let body = format!(
        "{wrong}<form method=\"post\">{name}{}{}<p><button>Set</button></p></form>",
        password("password", "Password, 12 characters or more"),
        password("repeated", "The same again"),
    );
    page(status, &heading, &body)
}

fn spent() -> Response {
    let text = "<p>It was used, or its time is over. Ask an admin for a new one; \
                the link for the first admin is printed when the server starts.</p>";
    page(StatusCode::NOT_FOUND, "This link is good for nothing", text)
}
