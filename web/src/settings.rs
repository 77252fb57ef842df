//! Settings as locks, beyond what every record has.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Role};

use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::InPath;
use crate::openapi;
use crate::operation::Operation;
use crate::problem::Answer;

/// Taking a lock away. Who may cancel the execution that holds it may do that, too.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/api/v1/settings/{key}/unlock", unlock)
            .role(Role::Operator)
            .summary("Take the lock of a setting from the execution that holds it, and give it to the next one")
            .answers_of(StatusCode::OK, || openapi::record_reference(Kind::Setting)),
    ]
}

async fn unlock(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(key): InPath<String>,
) -> Answer<Json<Value>> {
    let unlock = |engine: Engine| async move { engine.unlock(&key, &caller.who).await };
    Ok(Json(app.complete(engine, unlock).await?))
}
