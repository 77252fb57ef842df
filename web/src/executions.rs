//! Executions: show, follow, steer.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::{App, Stopping, Waited};
use crate::extract::{InOptionalJson, InPath, InQuery};
use crate::problem::{Answer, Problem};

/// How long a wait lasts that does not say, and at most, milliseconds.
const WAIT_MS: u64 = 30_000;
const WAIT_MS_MAX: u64 = 600_000;

/// Log lines a page, when the request does not say.
const LOG_LINES: u32 = 1000;

/// `GET /api/v1/executions/ID`: an execution or a connection.
pub(crate) async fn show(State(app): State<App>, InPath(id): InPath<String>) -> Answer<Json<Value>> {
    Ok(Json(app.engine().execution(&id).await?))
}

/// The query of a log.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogQuery {
    /// `call` of the last line that is known already; with `after_line`.
    after_call: Option<u32>,
    /// `line` of the same.
    after_line: Option<u32>,
    /// Lines at most.
    limit: Option<u32>,
}

/// `GET /api/v1/executions/ID/log`: `{lines}`, oldest first.
pub(crate) async fn log(
    State(app): State<App>,
    InPath(id): InPath<String>,
    InQuery(query): InQuery<LogQuery>,
) -> Answer<Json<Value>> {
    let after = match (query.after_call, query.after_line) {
        (Some(call), Some(line)) => Some((call, line)),
        (None, None) => None,
        _ => {
            return Err(Problem::invalid("after_call and after_line go together; give both, from the last line known"));
        }
    };
    let lines = app.engine().log(&id, after, query.limit.unwrap_or(LOG_LINES)).await?;
    Ok(Json(json!({ "lines": lines })))
}

/// `GET /api/v1/executions/ID/journal`: `{records}`.
pub(crate) async fn journal(State(app): State<App>, InPath(id): InPath<String>) -> Answer<Json<Value>> {
    let records = app.engine().journal(&id).await?;
    Ok(Json(json!({ "records": records })))
}

/// The query of a wait.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitQuery {
    /// How long, at most 10 minutes; longer counts as that.
    timeout_ms: Option<u64>,
}

/// `GET /api/v1/executions/ID/wait`: the row when the execution, or the one that took its place, has ended; or, with
/// `ended_at` null, when the time is over.
pub(crate) async fn wait(
    State(app): State<App>,
    stopping: Stopping,
    InPath(id): InPath<String>,
    InQuery(query): InQuery<WaitQuery>,
) -> Answer<Json<Value>> {
    let timeout = Duration::from_millis(query.timeout_ms.unwrap_or(WAIT_MS).min(WAIT_MS_MAX));
    match app.wait_ended(&id, timeout, &stopping).await? {
        Waited::Ended(row) => Ok(Json(row)),
        Waited::TimeOver => Ok(Json(last_of_chain(&app, id).await?)),
        Waited::Stopping => Err(Problem::stopping()),
    }
}

/// The execution that has taken the place of that one by continuing as new, or itself.
async fn last_of_chain(app: &App, id: String) -> Answer<Value> {
    let mut row = app.engine().execution(&id).await?;
    while let Some(next) = row["continued_as"].as_str() {
        row = app.engine().execution(next).await?;
    }
    Ok(row)
}

/// `POST /api/v1/executions/ID/cancel`.
pub(crate) async fn cancel(State(app): State<App>, InPath(id): InPath<String>) -> Answer<Json<Value>> {
    Ok(Json(app.complete(|engine| async move { engine.cancel(&id).await }).await?))
}

/// `POST /api/v1/executions/ID/pause`.
pub(crate) async fn pause(State(app): State<App>, InPath(id): InPath<String>) -> Answer<Json<Value>> {
    Ok(Json(app.complete(|engine| async move { engine.pause(&id).await }).await?))
}

/// `POST /api/v1/executions/ID/resume`.
pub(crate) async fn resume(State(app): State<App>, InPath(id): InPath<String>) -> Answer<Json<Value>> {
    Ok(Json(app.complete(|engine| async move { engine.resume(&id).await }).await?))
}

/// The body of a signal.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignalBody {
    /// What the waiting flow gets; null when it is missing.
    #[serde(default)]
    payload: Value,
    /// The signal's id: the same one again changes nothing.
    id: Option<String>,
}

/// `POST /api/v1/executions/ID/signals/NAME`: 202 with the signal's id, once that is durable.
pub(crate) async fn signal(
    State(app): State<App>,
    InPath((id, name)): InPath<(String, String)>,
    InOptionalJson(body): InOptionalJson<SignalBody>,
) -> Answer<(StatusCode, Json<Value>)> {
    let who = app.who();
    let sent = app.complete(|engine| async move { engine.signal(&id, &name, body.payload, who, body.id).await });
    let signal_id = sent.await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "id": signal_id }))))
}
