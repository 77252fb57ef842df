//! Flows: deploy, run, versions.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use surefoot_engine::query::Kind;
use surefoot_engine::{Deadline, FlowVersion, Role, StartRequest};

use crate::COMPONENT_BYTES_MAX;
use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InOptionalJson, InPath, read_body};
use crate::openapi;
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

/// What there is about flows, besides their records.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/api/v1/flows/{key}/deploy", deploy)
            .role(Role::Author)
            .summary("Make a component the present version of a flow, which is created where there is none")
            .bytes_body("application/wasm")
            .answers_of(StatusCode::OK, || openapi::record_reference(Kind::Flow)),
        Operation::post("/api/v1/flows/{key}/run", run)
            .role(Role::Operator)
            .summary("Start a flow; the answer comes once that is durable")
            .optional_body::<RunBody>()
            .answers::<StartedExecution>(StatusCode::CREATED),
        Operation::get("/api/v1/flows/{key}/versions", versions)
            .role(Role::Viewer)
            .summary("The versions of a flow, newest first")
            .answers::<Versions>(StatusCode::OK),
        Operation::get("/api/v1/flows/{key}/component", component)
            .role(Role::Viewer)
            .summary("The component of a flow's present version")
            .answers_bytes(StatusCode::OK, "application/wasm"),
    ]
}

/// An execution that was started.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct StartedExecution {
    id: String,
}

impl StartedExecution {
    /// The answer: 201, with the place of the execution.
    pub(crate) fn answer(id: String) -> Response {
        let location = [(LOCATION, format!("/api/v1/executions/{id}"))];
        (StatusCode::CREATED, location, Json(Self { id })).into_response()
    }
}

/// The versions of a flow.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Versions {
    rows: Vec<FlowVersion>,
}

async fn deploy(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(name): InPath<String>,
    request: Request,
) -> Answer<Json<Value>> {
    let component = read_body(request, COMPONENT_BYTES_MAX).await?;
    let flow =
        app.complete(engine, |engine| async move { engine.deploy(&name, component.into(), &caller.who).await }).await?;
    Ok(Json(flow))
}

async fn versions(InReach(engine): InReach, InPath(key): InPath<String>) -> Answer<Json<Versions>> {
    Ok(Json(Versions { rows: engine.versions(&key).await? }))
}

async fn component(InReach(engine): InReach, InPath(key): InPath<String>) -> Answer<Response> {
    let component = engine.component(&key).await?;
    let headers = [(CONTENT_TYPE, "application/wasm"), (CONTENT_DISPOSITION, "attachment")];
    Ok((headers, component).into_response())
}

/// The body of a run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunBody {
    /// What the flow gets; null when it is missing.
    #[serde(default)]
    input: Value,
    /// The execution's display name; the flow's when it is missing.
    name: Option<String>,
    /// When it is ended that has not ended: RFC 3339, or a duration such as `2h 30m`. What the flow says when it is
    /// missing.
    deadline: Option<String>,
    /// Among those that wait for a place of the flow, from -100 to 100. What the flow says when it is missing.
    priority: Option<i64>,
}

async fn run(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(flow): InPath<String>,
    InOptionalJson(body): InOptionalJson<RunBody>,
) -> Answer<Response> {
    let deadline = body.deadline.map(|text| text.parse::<Deadline>()).transpose();
    let deadline = deadline.map_err(|error| Problem::invalid(error.to_string()))?;
    let by = caller.who;
    let request = StartRequest {
        flow,
        input: body.input,
        name: body.name,
        by,
        deadline,
        priority: body.priority,
        ..StartRequest::default()
    };
    let (id, _) = app.complete(engine, |engine| async move { engine.start(request).await }).await?;
    Ok(StartedExecution::answer(id))
}
