//! Flows: deploy, run, versions.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot_engine::StartRequest;

use crate::COMPONENT_BYTES_MAX;
use crate::app::App;
use crate::extract::{InOptionalJson, InPath, read_body};
use crate::problem::Answer;

/// `POST /api/v1/flows/NAME/deploy`: the body, a component, becomes the flow's present version.
pub(crate) async fn deploy(
    State(app): State<App>,
    InPath(name): InPath<String>,
    request: Request,
) -> Answer<Json<Value>> {
    let component = read_body(request, COMPONENT_BYTES_MAX).await?;
    let who = app.who();
    let flow = app.complete(|engine| async move { engine.deploy(&name, component.into(), who).await }).await?;
    Ok(Json(flow))
}

/// `GET /api/v1/flows/KEY/versions`: `{rows}`, newest first.
pub(crate) async fn versions(State(app): State<App>, InPath(key): InPath<String>) -> Answer<Json<Value>> {
    let rows = app.engine().versions(&key).await?;
    Ok(Json(json!({ "rows": rows })))
}

/// The body of a run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunBody {
    /// What the flow gets; null when it is missing.
    #[serde(default)]
    input: Value,
    /// The execution's display name; the flow's when it is missing.
    name: Option<String>,
}

/// `POST /api/v1/flows/KEY/run`: 201 with the execution's id, once that is durable.
pub(crate) async fn run(
    State(app): State<App>,
    InPath(flow): InPath<String>,
    InOptionalJson(body): InOptionalJson<RunBody>,
) -> Answer<Response> {
    let by = app.who().to_owned();
    let request = StartRequest { flow, input: body.input, name: body.name, by, ..StartRequest::default() };
    let (id, _) = app.complete(|engine| async move { engine.start(request).await }).await?;
    let location = [(LOCATION, format!("/api/v1/executions/{id}"))];
    Ok((StatusCode::CREATED, location, Json(json!({ "id": id }))).into_response())
}
