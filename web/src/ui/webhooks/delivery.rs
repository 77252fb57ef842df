//! One call of a webhook: what came, what its caller got, and delivering it again.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Value;
use surefoot_engine::Role;
use surefoot_engine::query::Kind;

use super::Head;
use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::InPath;
use crate::operation::Operation;
use crate::problem::Answer;
use crate::ui::frame::{Frame, View, page};
use crate::ui::run::Run;
use crate::ui::words::{Document, Size, text};
use crate::webhooks::answer;
use crate::webhooks::deliveries::{call_of, deliver_again};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::page("/ui/webhooks/{key}/calls/{id}", show).role(Role::Viewer),
        Operation::action("/ui/webhooks/{key}/calls/{id}/again", again).role(Role::Operator),
    ]
}

/// The longest answer that is shown, bytes.
const BODY_BYTES_MAX: usize = 4 << 20;

#[derive(Template)]
#[template(path = "delivery.html")]
struct Delivery {
    frame: Frame,
    head: Head,
    run: Run,
    input: Value,
    /// Names and values.
    headers: Vec<(String, String)>,
    files: Vec<File>,
    answer: Option<Answered>,
}

impl View for Delivery {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

impl Delivery {
    fn has_query(&self) -> bool {
        self.input["query"].as_object().is_some_and(|query| !query.is_empty())
    }
}

/// A file that came with the call.
struct File {
    name: String,
    size: Size,
    content_type: String,
}

/// What a caller who waits gets.
struct Answered {
    status: u16,
    reason: &'static str,
    headers: Vec<(String, String)>,
    body: Value,
}

impl Answered {
    async fn of(row: &Value) -> Option<Self> {
        answer::status_of(row)?;
        let response = answer::of_ended(text(row, "id"), row);
        let (status, headers) = (response.status(), response.headers().clone());
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let body = match axum::body::to_bytes(response.into_body(), BODY_BYTES_MAX).await {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|_| match std::str::from_utf8(&bytes) {
                Ok("") => Value::Null,
                Ok(text) => text.into(),
                Err(_) => format!("{} bytes that are no text", bytes.len()).into(),
            }),
            Err(_) => "more than is shown here; the API has it, as the execution's response".into(),
        };
        let reason = status.canonical_reason().unwrap_or_default();
        Some(Self { status: status.as_u16(), reason, headers: headers.collect(), body })
    }
}

async fn show(
    State(app): State<App>,
    InReach(engine): InReach,
    frame: Frame,
    InPath((key, id)): InPath<(String, String)>,
) -> Answer<Response> {
    let head = Head::read(&app, &engine, &key, &frame, "call").await?;
    let mut row = call_of(&engine, &head.row, &id).await?;
    let answer = Answered::of(&row).await;
    let run = Run::of(&row, frame.now);
    let input = row["input"].take();
    let headers = input["headers"].as_object().into_iter().flatten();
    let headers = headers.map(|(name, _)| (name.clone(), text(&input["headers"], name).to_owned())).collect();
    let files = input["files"].as_array().into_iter().flatten().map(|file| File {
        name: text(file, "name").to_owned(),
        size: Size(file["size_bytes"].as_u64().unwrap_or_default()),
        content_type: text(file, "content_type").to_owned(),
    });
    let files = files.collect();
    Ok(page(&Delivery { frame, head, run, headers, files, input, answer }))
}

async fn again(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath((key, id)): InPath<(String, String)>,
) -> Answer<Response> {
    let webhook = engine.record(Kind::Webhook, &key).await?;
    let new = deliver_again(&app, engine, &webhook, id, caller).await?;
    Ok(Redirect::to(&format!("/ui/webhooks/{}/calls/{new}?done=started", text(&webhook, "id"))).into_response())
}
