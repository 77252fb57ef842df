//! What executions ask, for those who have an account: they are listed like records, and answered here.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Role};

use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InJson, InPath};
use crate::openapi;
use crate::operation::{Needs, Operation};
use crate::problem::Answer;

/// Showing one, and answering it.
pub(crate) fn operations() -> Vec<Operation> {
    let row = || openapi::record_reference(Kind::Approval);
    vec![
        Operation::get("/api/v1/approvals/{id}", show)
            .needs(Needs::Role(Role::Viewer))
            .summary("What an execution asks, and what became of it")
            .answers_of(StatusCode::OK, row),
        Operation::post("/api/v1/approvals/{id}/answer", answer)
            .needs(Needs::Role(Role::Operator))
            .summary("Answer what an execution asks; the first answer counts, and the same one again changes nothing")
            .body::<AnswerBody>()
            .answers_of(StatusCode::OK, row),
    ]
}

/// An answer.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerBody {
    /// It must fit the schema of what is asked; null when it is missing.
    #[serde(default)]
    pub(crate) payload: Value,
}

async fn show(InReach(engine): InReach, InPath(id): InPath<String>) -> Answer<Json<Value>> {
    Ok(Json(engine.approval(&id).await?))
}

async fn answer(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(id): InPath<String>,
    InJson(AnswerBody { payload }): InJson<AnswerBody>,
) -> Answer<Json<Value>> {
    let answer = move |engine: Engine| async move { engine.answer(&id, payload, &caller.who).await };
    Ok(Json(app.complete(engine, answer).await?))
}
