//! Executions: show, follow, steer.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, LogLine, RestartVersion, Role};

use crate::app::{App, Stopping, Waited};
use crate::caller::{Caller, InReach};
use crate::extract::{InJson, InOptionalJson, InPath, InQuery};
use crate::flows::StartedExecution;
use crate::openapi;
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

/// What there is about executions, besides lists of them.
pub(crate) fn operations() -> Vec<Operation> {
    let row = || openapi::record_reference(Kind::Execution);
    let below = |rest: &str| format!("/api/v1/executions/{{id}}{rest}");
    let steer = |operation: Operation, summary: &str| {
        operation.role(Role::Operator).summary(summary).answers_of(StatusCode::OK, row)
    };
    vec![
        Operation::get(below(""), show)
            .role(Role::Viewer)
            .summary("An execution, or a connection")
            .answers_of(StatusCode::OK, row),
        Operation::get(below("/log"), log)
            .role(Role::Viewer)
            .summary("A page of the log, oldest line first")
            .query::<LogQuery>()
            .answers::<LogPage>(StatusCode::OK),
        Operation::get(below("/journal"), journal)
            .role(Role::Viewer)
            .summary("The journal: every host call with its result, as the execution saw it")
            .answers::<Journal>(StatusCode::OK),
        Operation::get(below("/wait"), wait)
            .role(Role::Viewer)
            .summary("The row when the execution, or the one that took its place, has ended, or when the time is over")
            .query::<WaitQuery>()
            .answers_of(StatusCode::OK, row),
        steer(Operation::post(below("/cancel"), cancel), "End it at its next host call, and what it waits for"),
        steer(Operation::post(below("/pause"), pause), "Let nothing reach it until it is resumed"),
        steer(Operation::post(below("/resume"), resume), "Let it go on"),
        Operation::post(below("/rerun"), rerun)
            .role(Role::Operator)
            .summary("Start its flow anew, in the flow's present version, with the same input or another one")
            .optional_body::<RerunBody>()
            .answers::<StartedExecution>(StatusCode::CREATED),
        Operation::post(below("/restart"), restart)
            .role(Role::Operator)
            .summary("Start its flow once more from one of its calls, with the results of the calls before that one")
            .body::<RestartBody>()
            .answers::<StartedExecution>(StatusCode::CREATED),
        Operation::post(below("/signals/{name}"), signal)
            .role(Role::Operator)
            .summary("Send it a signal, or the answer to what it asks under that name; durable when the answer comes")
            .optional_body::<SignalBody>()
            .answers::<SentSignal>(StatusCode::ACCEPTED),
    ]
}

/// How long a wait lasts that does not say, and at most, milliseconds.
const WAIT_MS: u64 = 30_000;
const WAIT_MS_MAX: u64 = 600_000;

/// Log lines a page, when the request does not say.
const LOG_LINES: u32 = 1000;

async fn show(InReach(engine): InReach, InPath(id): InPath<String>) -> Answer<Json<Value>> {
    Ok(Json(engine.execution(&id).await?))
}

/// The query of a log.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogQuery {
    /// `call` of the last line that is known already; with `after_line`.
    after_call: Option<u32>,
    /// `line` of the same.
    after_line: Option<u32>,
    /// Lines at most.
    limit: Option<u32>,
}

/// A page of a log.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct LogPage {
    lines: Vec<LogLine>,
}

async fn log(
    InReach(engine): InReach,
    InPath(id): InPath<String>,
    InQuery(query): InQuery<LogQuery>,
) -> Answer<Json<LogPage>> {
    let after = match (query.after_call, query.after_line) {
        (Some(call), Some(line)) => Some((call, line)),
        (None, None) => None,
        _ => {
            return Err(Problem::invalid("after_call and after_line go together; give both, from the last line known"));
        }
    };
    let lines = engine.log(&id, after, query.limit.unwrap_or(LOG_LINES)).await?;
    Ok(Json(LogPage { lines }))
}

/// A journal.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Journal {
    records: Vec<Value>,
}

async fn journal(InReach(engine): InReach, InPath(id): InPath<String>) -> Answer<Json<Journal>> {
    Ok(Json(Journal { records: engine.journal(&id).await? }))
}

/// The query of a wait.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitQuery {
    /// How long, at most 10 minutes; longer counts as that.
    timeout_ms: Option<u64>,
}

/// When the time is over `ended_at` is null.
async fn wait(
    State(app): State<App>,
    InReach(engine): InReach,
    stopping: Stopping,
    InPath(id): InPath<String>,
    InQuery(query): InQuery<WaitQuery>,
) -> Answer<Json<Value>> {
    let timeout = Duration::from_millis(query.timeout_ms.unwrap_or(WAIT_MS).min(WAIT_MS_MAX));
    match app.wait_ended(&engine, &id, timeout, &stopping).await? {
        Waited::Ended(row) => Ok(Json(row)),
        Waited::TimeOver => Ok(Json(last_of_chain(&engine, id).await?)),
        Waited::Stopping => Err(Problem::stops_before(&id)),
    }
}

/// The execution that has taken the place of that one by continuing as new, or itself.
async fn last_of_chain(engine: &Engine, id: String) -> Answer<Value> {
    let mut row = engine.execution(&id).await?;
    while let Some(next) = row["continued_as"].as_str() {
        row = engine.execution(next).await?;
    }
    Ok(row)
}

async fn cancel(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(id): InPath<String>,
) -> Answer<Json<Value>> {
    Ok(Json(app.complete(engine, |engine| async move { engine.cancel(&id, &caller.who).await }).await?))
}

async fn pause(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(id): InPath<String>,
) -> Answer<Json<Value>> {
    Ok(Json(app.complete(engine, |engine| async move { engine.pause(&id, &caller.who).await }).await?))
}

async fn resume(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(id): InPath<String>,
) -> Answer<Json<Value>> {
    Ok(Json(app.complete(engine, |engine| async move { engine.resume(&id, &caller.who).await }).await?))
}

/// The body of a rerun.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RerunBody {
    /// What the flow gets; what it got before when it is missing.
    #[serde(default, deserialize_with = "given")]
    input: Option<Value>,
}

/// Tells a null that was given from nothing.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

async fn rerun(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(id): InPath<String>,
    InOptionalJson(RerunBody { input }): InOptionalJson<RerunBody>,
) -> Answer<Response> {
    let started = app.complete(engine, |engine| async move { engine.rerun(&id, input, &caller.who).await }).await?;
    Ok(StartedExecution::answer(started))
}

/// The body of a restart.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestartBody {
    /// The number of the first call that is made anew, from 1; the journal has the numbers.
    from: u32,
    /// The version of the flow that runs: `same`, that of the old execution, when it is missing.
    #[serde(default)]
    version: RestartVersion,
}

async fn restart(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(id): InPath<String>,
    InJson(RestartBody { from, version }): InJson<RestartBody>,
) -> Answer<Response> {
    let restart = move |engine: Engine| async move { engine.restart(&id, from, version, &caller.who).await };
    Ok(StartedExecution::answer(app.complete(engine, restart).await?))
}

/// The body of a signal.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignalBody {
    /// What the waiting flow gets; null when it is missing.
    #[serde(default)]
    payload: Value,
    /// The signal's id: the same one again changes nothing.
    id: Option<String>,
}

/// A signal that was sent.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct SentSignal {
    id: String,
}

async fn signal(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath((id, name)): InPath<(String, String)>,
    InOptionalJson(body): InOptionalJson<SignalBody>,
) -> Answer<(StatusCode, Json<SentSignal>)> {
    let send = move |engine: Engine| async move { engine.signal(&id, &name, body.payload, &caller.who, body.id).await };
    let id = app.complete(engine, send).await?;
    Ok((StatusCode::ACCEPTED, Json(SentSignal { id })))
}
