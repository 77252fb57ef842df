//! Webhooks: a name under which HTTP callers start a flow and get its response.
//!
//! The caller is told of success only by a flow that ended well and said so: a start that failed, a flow that failed
//! or was cancelled, a deadline, a server that stops are never a 2xx. A call without an answer goes on without its
//! caller; one with an `Idempotency-Key`, or a signed one with its id, can be made again and joins the first.

pub(crate) mod answer;
mod content;
pub(crate) mod credentials;
pub(crate) mod deliveries;
mod input;
pub(crate) mod record;
pub(crate) mod refused;
mod signature;

use std::collections::HashMap;

use axum::Json;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use surefoot_engine::{Attachments, EngineError, Role, StartRequest};

use crate::app::{App, Stopping, Waited};
use crate::extract::InPath;
use crate::operation::Operation;
use crate::peers::ClientAddress;
use crate::problem::{Answer, Problem};
use content::{Content, Upload};
use input::Head;
use record::Webhook;
pub use refused::Refused;

/// Below this webhooks are called.
const CALLS: &str = "/api/latest/webhook/";

/// On every answer to a call that started or joined an execution: its id.
const EXECUTION: HeaderName = HeaderName::from_static("x-surefoot-execution");

/// Calls of webhooks, what callers must show, and what became of calls.
pub(crate) fn operations() -> Vec<Operation> {
    let methods = [Method::DELETE, Method::GET, Method::HEAD, Method::PATCH, Method::POST, Method::PUT];
    let calls = ["", "/", "/{*path}"].into_iter().map(|below| {
        let path = format!("{CALLS}{{name}}/call{below}");
        Operation::any(methods.to_vec(), path, call)
            .summary("Start the webhook's flow, and answer as the flow says")
            .query_of(call_query)
            .optional_bytes_body("*/*")
    });
    calls.chain(credentials::operations()).chain(deliveries::operations()).chain([refused::operation()]).collect()
}

/// The parameters that are not for the flow alone.
fn call_query() -> Value {
    let is_async = "1: answer 202 with `{id, url}` at once, and not with what the flow says";
    let key = "the webhook's key, which may also stand in the header `X-Surefoot-Key`, in `Authorization: Bearer`, \
               or in the field `key` of a JSON document or a form";
    json!({"properties": {
        "async": {"type": "string", "enum": ["0", "1", "true", "false", ""], "description": is_async},
        "key": {"type": "string", "description": key},
    }})
}

async fn call(
    State(app): State<App>,
    stopping: Stopping,
    InPath(mut parameters): InPath<HashMap<String, String>>,
    request: Request,
) -> Response {
    let name = parameters.remove("name").unwrap_or_default();
    let path = parameters.remove("path").unwrap_or_default();
    let client = request.extensions().get::<ClientAddress>().copied().unwrap_or_default();
    let method = request.method().clone();
    let mut response = match start(&app, &name, path, request).await {
        Err(problem) => {
            refused::note(&app, &name, &method, client, &problem);
            problem.into_response()
        }
        Ok(Started { id, is_async: true }) => {
            let url = format!("/api/v1/executions/{id}");
            let body = Json(json!({ "id": id, "url": url }));
            with_execution(&id, (StatusCode::ACCEPTED, [(LOCATION, url)], body).into_response())
        }
        Ok(Started { id, is_async: false }) => with_execution(&id, finish(&app, &stopping, &id).await),
    };
    // Answers share the origin of the API: a page among them gets no rights there.
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    response
}

/// Notes that the request came too often, if it is a call of a webhook.
pub(crate) async fn note_too_often(app: &App, parts: &mut Parts, client: ClientAddress, problem: &Problem) {
    let is_call = parts.extensions.get::<MatchedPath>().is_some_and(|route| route.as_str().starts_with(CALLS));
    if !is_call {
        return;
    }
    if let Ok(InPath(parameters)) = InPath::<HashMap<String, String>>::from_request_parts(parts, &()).await
        && let Some(name) = parameters.get("name")
    {
        refused::note(app, name, &parts.method, client, problem);
    }
}

/// The execution that a call started or joined; durable.
struct Started {
    id: String,
    is_async: bool,
}

async fn start(app: &App, name: &str, path: String, request: Request) -> Answer<Started> {
    if app.whole_engine().is_degraded() {
        return Err(Problem::degraded(app.whole_engine()));
    }
    let webhook = Webhook::find(app.whole_engine(), name)?;
    webhook.check_method(request.method())?;
    let (head, body) = Head::of(path, request);
    let (now, bytes_max) = (app.whole_engine().now(), app.options().body_bytes_max);
    let (body, signed_id) = webhook.admit(&head, body, now, bytes_max).await?;
    let is_async = head.is_async()?;
    // Nobody but the sender can change what is signed: whoever repeats a call that he overheard gets the first answer.
    let idempotency_key = match signed_id {
        Some(id) => Some(format!("{}:{id}", signature::ID)),
        None => head.idempotency_key()?,
    };
    let content = Content::parse(&head.headers, &body).await?;
    let (mut input, uploads) = head.into_input(content, webhook.has_key());
    if surefoot_engine::journal::is_too_deep(&input) {
        return Err(Problem::malformed("the body is nested too deep"));
    }
    let attachments = attach(app, uploads, &mut input).await?;
    let request = StartRequest {
        flow: webhook.flow_id.clone(),
        input,
        by: format!("webhook {}", webhook.name),
        webhook_id: Some(webhook.id.clone()),
        idempotency_key,
        attachments,
        ..StartRequest::default()
    };
    let engine = app.whole_engine().on_behalf(webhook.rights.clone(), Role::Operator);
    match engine.start(request).await {
        Ok((id, is_new)) => {
            tracing::info!(webhook = webhook.name, execution = id, is_new, "webhook called");
            Ok(Started { id, is_async })
        }
        Err(EngineError::Refused(reason)) => {
            // What is wrong with the flow concerns the owner of the webhook and not its callers.
            tracing::warn!(webhook = webhook.name, %reason, "a webhook could not start its flow");
            let detail = format!("webhook `{}` could not start its flow", webhook.name);
            let hint = "the server's log says why; often the flow does not exist or was never deployed, or who saved \
                        the webhook last may not start it";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "start_failed", detail).hint(hint))
        }
        Err(error) => Err(error.into()),
    }
}

/// Stores the files of a call, and says in the input what they are.
async fn attach(app: &App, uploads: Vec<Upload>, input: &mut Value) -> Answer<Option<Attachments>> {
    if uploads.is_empty() {
        return Ok(None);
    }
    let (mut attachments, mut files) = (app.whole_engine().attachments(), Vec::new());
    for Upload { field, file_name, content_type, content } in uploads {
        let stored = app.whole_engine().attach(&mut attachments, &file_name, content).await?;
        files.push(json!({
            "field": field, "file_name": file_name, "content_type": content_type, "name": stored.name,
            "size_bytes": stored.size_bytes, "sha256": stored.sha256,
        }));
    }
    input["files"] = files.into();
    Ok(Some(attachments))
}

async fn finish(app: &App, stopping: &Stopping, id: &str) -> Response {
    let deadline = app.options().webhook_deadline;
    match app.wait_ended(app.whole_engine(), id, deadline, stopping).await {
        Ok(Waited::Ended(row)) => answer::of_ended(id, &row),
        Ok(Waited::TimeOver) => {
            let detail = format!("the flow has not ended within {} s; it runs on", deadline.as_secs_f64());
            let hint = format!("see /api/v1/executions/{id}, or repeat the call with the same Idempotency-Key");
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail).hint(hint).execution(id).into_response()
        }
        Ok(Waited::Stopping) => Problem::stops_before(id).into_response(),
        Err(problem) => problem.execution(id).into_response(),
    }
}

fn with_execution(id: &str, mut response: Response) -> Response {
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(EXECUTION, id);
    }
    response
}
