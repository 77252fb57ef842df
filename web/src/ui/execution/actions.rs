//! What can be done with an execution. What ends something asks first, and names what it ends.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use surefoot_engine::{Engine, EngineResult, RestartVersion, Role};

use super::{Head, Story};
use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::{Answer, Problem};
use crate::ui::approvals::{self, Asked};
use crate::ui::filled::Filled;
use crate::ui::forms::Fields;
use crate::ui::frame::{Frame, View, page, page_with};

pub(super) fn operations() -> Vec<Operation> {
    let below = |rest: &str| format!("/ui/executions/{{id}}/{rest}");
    vec![
        Operation::page(below("cancel"), ask_cancel).role(Role::Operator),
        Operation::action(below("cancel"), cancel).role(Role::Operator),
        Operation::action(below("pause"), pause).role(Role::Operator),
        Operation::action(below("resume"), resume).role(Role::Operator),
        Operation::page(below("signal"), ask_signal).role(Role::Operator),
        Operation::action(below("signal"), signal).role(Role::Operator),
        Operation::page(below("rerun"), ask_rerun).role(Role::Operator),
        Operation::action(below("rerun"), rerun).role(Role::Operator),
        Operation::page(below("restart"), ask_restart).role(Role::Operator),
        Operation::action(below("restart"), restart).role(Role::Operator),
    ]
}

/// A question before something is ended.
#[derive(Template)]
#[template(path = "execution-cancel.html")]
struct AskCancel {
    frame: Frame,
    head: Head,
}

impl View for AskCancel {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// A signal, and what it waits for.
#[derive(Template)]
#[template(path = "execution-signal.html")]
struct AskSignal {
    frame: Frame,
    head: Head,
    /// What it asks, and whether who looks may answer.
    questions: Vec<(Asked, bool)>,
    awaited: Vec<String>,
    form: Filled,
}

impl View for AskSignal {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// The input of the next run.
#[derive(Template)]
#[template(path = "execution-rerun.html")]
struct AskRerun {
    frame: Frame,
    head: Head,
    form: Filled,
}

impl View for AskRerun {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// From which call, and in which version, it is restarted.
#[derive(Template)]
#[template(path = "execution-restart.html")]
struct AskRestart {
    frame: Frame,
    head: Head,
    from: u32,
}

impl View for AskRestart {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn ask_cancel(InReach(engine): InReach, frame: Frame, InPath(id): InPath<String>) -> Answer<Response> {
    let head = Head::read(&engine, &id, &frame, "summary").await?;
    Ok(page(&AskCancel { frame, head }))
}

async fn cancel(app: State<App>, engine: InReach, caller: Caller, id: InPath<String>) -> Answer<Response> {
    steer(app, engine, caller, id, "cancelled", |engine, id, by| async move { engine.cancel(&id, &by).await }).await
}

async fn pause(app: State<App>, engine: InReach, caller: Caller, id: InPath<String>) -> Answer<Response> {
    steer(app, engine, caller, id, "paused", |engine, id, by| async move { engine.pause(&id, &by).await }).await
}

async fn resume(app: State<App>, engine: InReach, caller: Caller, id: InPath<String>) -> Answer<Response> {
    steer(app, engine, caller, id, "resumed", |engine, id, by| async move { engine.resume(&id, &by).await }).await
}

/// Does it, and leads back to the execution.
async fn steer<F, T>(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(id): InPath<String>,
    done: &str,
    act: impl FnOnce(Engine, String, String) -> F,
) -> Answer<Response>
where
    F: Future<Output = EngineResult<T>> + Send + 'static,
    T: Send + 'static,
{
    let back = format!("/ui/executions/{id}?done={done}");
    app.complete(engine, |engine| act(engine, id, caller.who)).await?;
    Ok(Redirect::to(&back).into_response())
}

impl AskSignal {
    async fn read(engine: &Engine, id: &str, frame: Frame, form: Option<Filled>) -> Answer<Self> {
        let head = Head::read(engine, id, &frame, "summary").await?;
        let awaited: Vec<String> = Story::read(engine, id).await?.awaited().map(str::to_owned).collect();
        let questions = if head.has_ended { Vec::new() } else { approvals::open_of(engine, &head.row, &frame).await? };
        let form = form.unwrap_or_else(|| Filled::with([("name", awaited.first().cloned().unwrap_or_default())]));
        Ok(Self { frame, head, questions, awaited, form })
    }
}

async fn ask_signal(InReach(engine): InReach, frame: Frame, InPath(id): InPath<String>) -> Answer<Response> {
    Ok(page(&AskSignal::read(&engine, &id, frame, None).await?))
}

async fn signal(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    InPath(id): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    let mut form = Filled::sent(&fields);
    let (name, payload) = (form.required("name"), form.json("payload"));
    if form.is_right() {
        let (by, to) = (caller.who, id.clone());
        let send = |engine: Engine| async move { engine.signal(&to, &name, payload, &by, None).await };
        match app.complete(engine.clone(), send).await {
            Ok(_) => return Ok(Redirect::to(&format!("/ui/executions/{id}?done=signalled")).into_response()),
            Err(problem) => form.refused(problem)?,
        }
    }
    let asked = AskSignal::read(&engine, &id, frame, Some(form)).await?;
    Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &asked))
}

async fn ask_rerun(InReach(engine): InReach, frame: Frame, InPath(id): InPath<String>) -> Answer<Response> {
    let head = Head::read(&engine, &id, &frame, "summary").await?;
    let input = serde_json::to_string_pretty(&head.row["input"]).unwrap_or_default();
    Ok(page(&AskRerun { frame, head, form: Filled::with([("input", input)]) }))
}

async fn rerun(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    InPath(id): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    let mut form = Filled::sent(&fields);
    // Nothing is the input that it had.
    let input = Some(form.json("input")).filter(|_| !form.text("input").is_null());
    if form.is_right() {
        let (by, of) = (caller.who, id.clone());
        let run = |engine: Engine| async move { engine.rerun(&of, input, &by).await };
        match app.complete(engine.clone(), run).await {
            Ok(new) => return Ok(Redirect::to(&format!("/ui/executions/{new}?done=started")).into_response()),
            Err(problem) => form.refused(problem)?,
        }
    }
    let head = Head::read(&engine, &id, &frame, "summary").await?;
    Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &AskRerun { frame, head, form }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RestartQuery {
    from: u32,
}

async fn ask_restart(
    InReach(engine): InReach,
    frame: Frame,
    InPath(id): InPath<String>,
    InQuery(RestartQuery { from }): InQuery<RestartQuery>,
) -> Answer<Response> {
    let head = Head::read(&engine, &id, &frame, "journal").await?;
    Ok(page(&AskRestart { frame, head, from }))
}

async fn restart(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(id): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    let from = fields.required("from", "The number of the call")?;
    let from = from.parse().map_err(|_| Problem::invalid("the number of the call is no whole number"))?;
    let version = match fields.get("version") {
        Some("newest") => RestartVersion::Newest,
        _ => RestartVersion::Same,
    };
    let new =
        app.complete(engine, |engine| async move { engine.restart(&id, from, version, &caller.who).await }).await?;
    Ok(Redirect::to(&format!("/ui/executions/{new}?done=started")).into_response())
}
