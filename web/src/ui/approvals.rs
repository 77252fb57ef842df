//! What executions ask: of whom, until when, with a form of what is asked for, and who answered. An answer is shown
//! once more before it counts, because it cannot be taken back.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Engine, Role, Timestamp};

use super::filled::Filled;
use super::forms::Fields;
use super::frame::{Frame, View, page, page_with};
use super::record::Done;
use super::table::{ListQuery, Listing};
use super::words::{Document, Moment, Standing, text, time};
use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::Answer;
use crate::schema_form::{FormHtml, SchemaForm};

pub(super) fn operations() -> Vec<Operation> {
    let below = |rest: &str| format!("/ui/approvals/{{id}}{rest}");
    vec![
        Operation::page("/ui/approvals", list).role(Role::Viewer),
        Operation::page(below(""), show).role(Role::Viewer),
        Operation::action(below("/confirm"), confirm).role(Role::Operator),
        Operation::action(below("/change"), change).role(Role::Operator),
        Operation::action(below("/answer"), answer).role(Role::Operator),
    ]
}

/// Filters that people want again and again. Without one only open questions are shown.
const VIEWS: [(&str, &str); 3] =
    [("Open", ""), ("Answered", "status=answered"), ("All", "status=open,answered,expired,closed")];

/// A question, as pages show it.
pub(super) struct Asked {
    pub(super) id: String,
    name: String,
    /// What is asked; the name where nothing is said.
    pub(super) message: String,
    standing: Standing,
    is_open: bool,
    execution_id: String,
    execution_name: String,
    asked: Moment,
    pub(super) until: Option<Moment>,
    /// Who may answer.
    pub(super) of_whom: String,
    /// By whom and when it was answered.
    answered: Option<(String, Moment)>,
}

impl Asked {
    fn of(row: &Value, now: Timestamp) -> Self {
        let (name, message) = (text(row, "name"), text(row, "message"));
        let expires_at = time(row, "expires_at");
        // Whoever asked may not have looked yet.
        let status = match text(row, "status") {
            "open" if expires_at.is_some_and(|at| at <= now) => "expired",
            status => status,
        };
        let moment = |field: &str| Moment { at: time(row, field), now };
        let by = text(row, "answered_by");
        Self {
            id: text(row, "id").to_owned(),
            name: name.to_owned(),
            message: if message.is_empty() { name } else { message }.to_owned(),
            standing: Standing::of(status),
            is_open: status == "open",
            execution_id: text(row, "execution_id").to_owned(),
            execution_name: text(row, "execution_name").to_owned(),
            asked: moment("created_at"),
            until: expires_at.map(|at| Moment { at: Some(at), now }),
            of_whom: of_whom(row),
            answered: (!by.is_empty()).then(|| (by.to_owned(), moment("answered_at"))),
        }
    }
}

/// The open questions of an execution, each with whether who looks may answer.
pub(super) async fn open_of(engine: &Engine, execution: &Value, frame: &Frame) -> Answer<Vec<(Asked, bool)>> {
    let call = QueryCall {
        kind: Kind::Approval.as_str().to_owned(),
        filter: Some(json!({"and": [
            {"field": "execution_id", "op": "eq", "value": execution["id"]},
            {"field": "status", "op": "eq", "value": "open"},
        ]})),
        order: Some("created_at".to_owned()),
        ..QueryCall::default()
    };
    let rows = engine.query(call).await?.rows;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let flow = engine.record(Kind::Flow, text(execution, "flow_id")).await.unwrap_or_default();
    let asked = rows.iter().map(|row| (Asked::of(row, frame.now), may_answer(frame, row, &flow)));
    Ok(asked.filter(|(asked, _)| asked.is_open).collect())
}

fn words<'a>(row: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    row[field].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Where nobody is named, operators may.
fn of_whom(row: &Value) -> String {
    let roles = words(row, "roles").map(|role| format!("the role {role}"));
    let named: Vec<_> = roles.chain(words(row, "users").map(str::to_owned)).collect();
    if named.is_empty() { "the role operator".to_owned() } else { named.join(", or ") }
}

/// Whether who looks may answer. The engine has the last word; here nobody is led to what it would refuse.
fn may_answer(frame: &Frame, row: &Value, flow: &Value) -> bool {
    if !frame.may_for("operator", flow) {
        return false;
    }
    let named: Vec<_> = words(row, "users").collect();
    let mut roles: Vec<_> = words(row, "roles").collect();
    if named.is_empty() && roles.is_empty() {
        roles.push("operator");
    }
    named.contains(&frame.who.as_str()) || roles.into_iter().any(|role| frame.may_for(role, flow))
}

#[derive(Template)]
#[template(path = "approvals.html")]
struct Approvals {
    frame: Frame,
    list: Listing,
    all: Vec<Asked>,
    views: [(&'static str, &'static str); VIEWS.len()],
}

impl View for Approvals {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn list(InReach(engine): InReach, frame: Frame, InQuery(query): InQuery<ListQuery>) -> Answer<Response> {
    let is_open = json!({"field": "status", "op": "eq", "value": "open"});
    let always = query.filter.as_deref().unwrap_or_default().trim().is_empty().then_some(is_open);
    let list = Listing::read(&engine, Kind::Approval, &query, always).await?;
    let all = list.rows.iter().map(|row| Asked::of(row, frame.now)).collect();
    Ok(page(&Approvals { frame, list, all, views: VIEWS }))
}

#[derive(Template)]
#[template(path = "approval.html")]
struct Approval {
    frame: Frame,
    asked: Asked,
    row: Value,
    may_answer: bool,
    form: Option<FormHtml>,
    trouble: Option<String>,
}

impl View for Approval {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// A question, and the flow that asks; null where that is gone.
struct Found {
    row: Value,
    flow: Value,
}

impl Found {
    async fn read(engine: &Engine, id: &str) -> Answer<Self> {
        let row = engine.approval(id).await?;
        let execution = engine.execution(text(&row, "execution_id")).await?;
        let flow = engine.record(Kind::Flow, text(&execution, "flow_id")).await.unwrap_or_default();
        Ok(Self { row, flow })
    }

    /// What an answer must be. Without a schema any is taken, and written as JSON.
    fn schema(&self) -> Value {
        match &self.row["schema"] {
            Value::Null => json!({"title": "Answer, JSON", "default": true}),
            schema => schema.clone(),
        }
    }

    /// The page, with what stands in its form.
    fn page(self, frame: Frame, filled: &Filled) -> Response {
        let asked = Asked::of(&self.row, frame.now);
        let may_answer = may_answer(&frame, &self.row, &self.flow);
        let schema = self.schema();
        let entered = filled.was_sent().then(|| filled.entered());
        let form = (asked.is_open && may_answer).then(|| SchemaForm::new(&schema).html(entered, filled.wrong()));
        let status = if filled.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        let view = Approval { frame, asked, row: self.row, may_answer, form, trouble: filled.trouble() };
        page_with(status, &view)
    }

    /// The answer that was entered, if it fits.
    fn read_answer(&self, filled: &mut Filled) -> Option<Value> {
        let schema = self.schema();
        let form = SchemaForm::new(&schema);
        match form.read(filled.entered()) {
            Ok(answer) => {
                filled.refuse_all(form.check(&answer));
                filled.is_right().then_some(answer)
            }
            Err(wrong) => {
                filled.refuse_all(wrong);
                None
            }
        }
    }
}

async fn show(
    InReach(engine): InReach,
    frame: Frame,
    InPath(id): InPath<String>,
    InQuery(_): InQuery<Done>,
) -> Answer<Response> {
    Ok(Found::read(&engine, &id).await?.page(frame, &Filled::default()))
}

/// The answer, once more, before it counts.
#[derive(Template)]
#[template(path = "approval-confirm.html")]
struct Confirm {
    frame: Frame,
    asked: Asked,
    answer: Value,
    /// What was entered, to be sent again.
    entered: Vec<(String, String)>,
}

impl View for Confirm {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn confirm(
    InReach(engine): InReach,
    frame: Frame,
    InPath(id): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    let found = Found::read(&engine, &id).await?;
    let mut filled = Filled::sent(&fields);
    Ok(match found.read_answer(&mut filled) {
        Some(answer) => {
            let asked = Asked::of(&found.row, frame.now);
            page(&Confirm { frame, asked, answer, entered: fields.pairs().to_vec() })
        }
        None => found.page(frame, &filled),
    })
}

/// The form again, as it was filled in.
async fn change(
    InReach(engine): InReach,
    frame: Frame,
    InPath(id): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    Ok(Found::read(&engine, &id).await?.page(frame, &Filled::sent(&fields)))
}

async fn answer(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    InPath(id): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    let found = Found::read(&engine, &id).await?;
    let mut filled = Filled::sent(&fields);
    let Some(payload) = found.read_answer(&mut filled) else { return Ok(found.page(frame, &filled)) };
    let back = format!("/ui/approvals/{id}?done=answered");
    let give = |engine: Engine| async move { engine.answer(&id, payload, &caller.who).await };
    match app.complete(engine, give).await {
        Ok(_) => Ok(Redirect::to(&back).into_response()),
        Err(problem) if problem.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            filled.refused(problem)?;
            Ok(found.page(frame, &filled))
        }
        Err(problem) => Err(problem),
    }
}

#[cfg(test)]
mod tests;
