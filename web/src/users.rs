//! Users. They are listed, shown, changed and deleted like every record; here they are made, and their passwords set
//! anew.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Link, Role};

use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InJson, InPath};
use crate::openapi;
use crate::operation::Operation;
use crate::problem::Answer;
use crate::setup;

/// Making users, and giving them a link to set their password.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/api/v1/users", create)
            .workspace_role(Role::Admin)
            .summary("Make a user; without a password there is a link, good once, with which to set it")
            .body::<UserBody>()
            .answers_of(StatusCode::CREATED, made),
        Operation::post("/api/v1/users/{key}/reset", reset)
            .workspace_role(Role::Admin)
            .summary("Take a user's password away, end their sessions, and make a link with which to set another one")
            .answers_of(StatusCode::OK, made),
    ]
}

fn made() -> Value {
    json!({
        "type": "object",
        "properties": {
            "record": openapi::record_reference(Kind::User),
            "link": {
                "type": ["object", "null"],
                "description": "good once; shown this once, and stored nowhere",
                "properties": {
                    "path": { "type": "string", "description": "at this server" },
                    "expires_at": { "type": "string", "format": "date-time" },
                },
                "required": ["path", "expires_at"],
                "additionalProperties": false,
            },
        },
        "required": ["record", "link"],
        "additionalProperties": false,
    })
}

fn answer(record: &Value, link: Option<&Link>) -> Value {
    let link = link.map(|link| json!({ "path": setup::path(&link.token), "expires_at": link.expires_at.to_string() }));
    json!({ "record": record, "link": link })
}

/// A user to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserBody {
    /// With which they log in.
    name: String,
    /// The name for people.
    display_name: Option<String>,
    /// `viewer`, `operator`, `author` or `admin`, in the whole workspace; none when it is missing.
    role: Option<String>,
    /// Roles in projects: an object of roles, by name or id of the project.
    project_roles: Option<Map<String, Value>>,
    /// False for one who cannot log in yet.
    is_enabled: Option<bool>,
    /// 12 characters or more. Better none: then nobody but the user knows it.
    password: Option<String>,
}

async fn create(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InJson(body): InJson<UserBody>,
) -> Answer<(StatusCode, Json<Value>)> {
    let fields = [
        ("display_name", body.display_name.map(Value::from)),
        ("role", body.role.map(Value::from)),
        ("project_roles", body.project_roles.map(Value::from)),
        ("is_enabled", body.is_enabled.map(Value::from)),
    ];
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    let create = |engine: Engine| async move {
        engine.create_user(&body.name, fields, body.password.as_deref(), &caller.who).await
    };
    let (record, link) = app.complete(engine, create).await?;
    Ok((StatusCode::CREATED, Json(answer(&record, link.as_ref()))))
}

async fn reset(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(key): InPath<String>,
) -> Answer<Json<Value>> {
    let reset = |engine: Engine| async move { engine.reset_user(&key, &caller.who).await };
    let (record, link) = app.complete(engine, reset).await?;
    Ok(Json(answer(&record, Some(&link))))
}
