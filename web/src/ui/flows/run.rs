//! Running a flow: a form made from the schema of its input, or the input as JSON.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::Value;
use surefoot_engine::{Deadline, Role, StartRequest};

use super::Head;
use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::Answer;
use crate::schema_form::{FormHtml, SchemaForm, in_one_text, wrong_with};
use crate::ui::filled::Filled;
use crate::ui::forms::Fields;
use crate::ui::frame::{Frame, View, page_with};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::page("/ui/flows/{key}/run", ask).role(Role::Operator),
        Operation::action("/ui/flows/{key}/run", run).role(Role::Operator),
    ]
}

/// What the names of the fields of the input begin with.
const PREFIX: &str = "in.";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunQuery {
    /// `1`: the input as JSON, although there is a form.
    raw: Option<String>,
}

impl RunQuery {
    fn is_raw(&self, head: &Head) -> bool {
        self.raw.as_deref() == Some("1") || head.row["input_schema"].is_null()
    }
}

#[derive(Template)]
#[template(path = "flow-run.html")]
struct AskRun {
    frame: Frame,
    head: Head,
    form: Filled,
    /// The fields of the input; none where it is written as JSON.
    fields: Option<FormHtml>,
}

impl View for AskRun {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

impl AskRun {
    fn new(frame: Frame, head: Head, form: Filled, is_raw: bool) -> Self {
        let entered = form.was_sent().then(|| form.entered());
        let fields = (!is_raw).then(|| schema_form(&head).html(entered, form.wrong()));
        Self { frame, head, form, fields }
    }
}

fn schema_form(head: &Head) -> SchemaForm<'_> {
    SchemaForm::within(&head.row["input_schema"], PREFIX)
}

async fn ask(
    InReach(engine): InReach,
    frame: Frame,
    InPath(key): InPath<String>,
    InQuery(query): InQuery<RunQuery>,
) -> Answer<Response> {
    let head = Head::read(&engine, &key, &frame, "run").await?;
    let is_raw = query.is_raw(&head);
    let form = Filled::with([("input", "{}".to_owned())]);
    Ok(page_with(StatusCode::OK, &AskRun::new(frame, head, form, is_raw)))
}

async fn run(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    InPath(key): InPath<String>,
    InQuery(query): InQuery<RunQuery>,
    fields: Fields,
) -> Answer<Response> {
    let head = Head::read(&engine, &key, &frame, "run").await?;
    let is_raw = query.is_raw(&head);
    let mut form = Filled::sent(&fields);
    let request = StartRequest {
        flow: head.id.clone(),
        input: input(&head, &mut form, is_raw),
        name: form.text("name").as_str().map(str::to_owned),
        by: caller.who,
        deadline: deadline(&mut form),
        priority: form.number("priority").as_i64(),
        ..StartRequest::default()
    };
    if form.is_right() {
        match app.complete(engine, |engine| async move { engine.start(request).await }).await {
            Ok((id, _)) => return Ok(Redirect::to(&format!("/ui/executions/{id}?done=started")).into_response()),
            Err(problem) => form.refused(problem)?,
        }
    }
    Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &AskRun::new(frame, head, form, is_raw)))
}

/// The input that was entered, which is held against the schema.
fn input(head: &Head, form: &mut Filled, is_raw: bool) -> Value {
    let schema = &head.row["input_schema"];
    if is_raw {
        let input = form.json("input");
        let wrong = if schema.is_null() { Vec::new() } else { wrong_with(schema, &input) };
        if form.is_right() && !wrong.is_empty() {
            form.refuse("input", in_one_text(&wrong));
        }
        return input;
    }
    match schema_form(head).read(form.entered()) {
        Ok(input) => {
            form.refuse_all(wrong_with(schema, &input));
            input
        }
        Err(wrong) => {
            form.refuse_all(wrong);
            Value::Null
        }
    }
}

fn deadline(form: &mut Filled) -> Option<Deadline> {
    let text = form.text("deadline");
    match text.as_str()?.parse() {
        Ok(deadline) => Some(deadline),
        Err(error) => {
            form.refuse("deadline", format!("{error}"));
            None
        }
    }
}
