//! Notifications: trying a rule. Everything else is as with every kind of record.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use surefoot_engine::Role;

use crate::app::{App, Stopping};
use crate::caller::{Caller, InReach};
use crate::connectors::{Tested, tested};
use crate::extract::InPath;
use crate::operation::Operation;
use crate::problem::Answer;

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/api/v1/notifications/{key}/test", test)
            .role(Role::Author)
            .summary("Send a test message the way that a notification goes, once, whether or not it is enabled")
            .answers::<Tested>(StatusCode::OK),
    ]
}

/// A message that is not delivered is an answer, not a problem: `ok` is false.
async fn test(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    stopping: Stopping,
    InPath(key): InPath<String>,
) -> Answer<Json<Tested>> {
    let start = |engine: surefoot_engine::Engine| async move { engine.test_notification(&key, &caller.who).await };
    let id = app.complete(engine.clone(), start).await?;
    tested(&app, &engine, id, &stopping).await
}
