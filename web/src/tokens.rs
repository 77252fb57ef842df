//! Tokens of the API. They are listed, shown and deleted like every record; here they are made.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Role};

use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::InJson;
use crate::openapi;
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

pub(crate) fn operations() -> Vec<Operation> {
    let made = || {
        json!({
            "type": "object",
            "properties": {
                "record": openapi::record_reference(Kind::Token),
                "token": { "type": "string", "description": "shown this once, and stored nowhere" },
            },
            "required": ["record", "token"],
            "additionalProperties": false,
        })
    };
    vec![
        Operation::post("/api/v1/tokens", create)
            .role(Role::Admin)
            .summary("Make a token; it is in the answer, and can never be seen again")
            .body::<TokenBody>()
            .answers_of(StatusCode::CREATED, made),
    ]
}

/// A token to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenBody {
    /// What it is called, in lists and in the audit log.
    pub(crate) name: String,
    /// `viewer`, `operator`, `author` or `admin`.
    pub(crate) role: String,
    /// RFC 3339. Without it the token is good until it is deleted.
    pub(crate) expires_at: Option<String>,
    /// What it is for.
    pub(crate) description: Option<String>,
    /// Name or id of a project: there it has its role, and nowhere else.
    pub(crate) project_id: Option<String>,
}

async fn create(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InJson(body): InJson<TokenBody>,
) -> Answer<(StatusCode, Json<Value>)> {
    let (record, token) = make(&app, engine, &caller, body).await?;
    Ok((StatusCode::CREATED, Json(json!({ "record": record, "token": token }))))
}

/// Makes one: its record, and the token, which nobody can learn again.
pub(crate) async fn make(app: &App, engine: Engine, caller: &Caller, body: TokenBody) -> Answer<(Value, String)> {
    if let Some(text) = &body.expires_at {
        let at = text.parse::<surefoot_engine::Timestamp>();
        if at.is_ok_and(|at| at <= engine.now()) {
            return Err(Problem::invalid("`expires_at` lies in the past; such a token would never be good"));
        }
    }
    let mut fields = Map::from_iter([("role".to_owned(), Value::from(body.role))]);
    fields.extend(body.expires_at.map(|at| ("expires_at".to_owned(), at.into())));
    fields.extend(body.description.map(|text| ("description".to_owned(), text.into())));
    fields.extend(body.project_id.map(|project| ("project_id".to_owned(), project.into())));
    let who = caller.who.clone();
    app.complete(engine, |engine| async move { engine.create_token(&body.name, fields, &who).await }).await
}
