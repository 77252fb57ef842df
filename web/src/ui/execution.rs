//! One execution: how it stands and why, its checks, what it called and when, what went in and came out, what changed
//! since it last went well, and what can be done with it. The journal, the log and the tree have pages of their own.

mod actions;
mod journal;
mod log;
mod story;
mod timeline;
mod tree;

use askama::Template;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Engine, Role};

use super::approvals::{self, Asked};
use super::commands::{curl, quoted};
use super::compare::{self, Changed, Comparison};
use super::frame::{Frame, View, page};
use super::run::{Run, unsuccessful};
use super::words::{Document, Excerpt, Moment, text, time};
use crate::caller::InReach;
use crate::extract::{InPath, InQuery, percent_encoded};
use crate::operation::Operation;
use crate::problem::Answer;

pub(super) use story::{Check, Story};
use timeline::Timeline;

pub(super) fn operations() -> Vec<Operation> {
    let own = vec![Operation::page("/ui/executions/{id}", show).role(Role::Viewer)];
    [own, journal::operations(), log::operations(), tree::operations(), actions::operations()]
        .into_iter()
        .flatten()
        .collect()
}

/// Children on one page of the timeline.
const CHILDREN: u32 = 100;

/// What stands at the top of every page about one execution.
pub(super) struct Head {
    pub(super) run: Run,
    pub(super) row: Value,
    /// The execution that started it.
    pub(super) parent: Option<Run>,
    /// Whether it has ended.
    pub(super) has_ended: bool,
    /// Which of its pages this is.
    pub(super) tab: &'static str,
    /// What who looks may do where it is.
    role: Option<Role>,
}

impl Head {
    pub(super) async fn read(engine: &Engine, id: &str, frame: &Frame, tab: &'static str) -> Answer<Self> {
        let row = engine.execution(id).await?;
        let parent = match row["parent_id"].as_str() {
            Some(parent) => engine.execution(parent).await.ok().map(|row| Run::of(&row, frame.now)),
            None => None,
        };
        let role = engine.role_at(id).await?;
        let (run, has_ended) = (Run::of(&row, frame.now), row["ended_at"].is_string());
        Ok(Self { run, parent, has_ended, row, tab, role })
    }

    /// A call of a connector: it has no log, no journal and no way to be steered.
    pub(super) fn is_connection(&self) -> bool {
        self.row["type"] == "CONNECTION"
    }

    /// Whether it is a run of a flow, which can be run again, and compared with another one.
    pub(super) fn is_flow(&self) -> bool {
        self.row["type"] == "FLOW"
    }

    /// Whether it failed, or answered that what it tests did.
    pub(super) fn has_failed(&self) -> bool {
        self.run.standing.class == "bad"
    }

    pub(super) fn id(&self) -> &str {
        text(&self.row, "id")
    }

    /// The text that it answered, where that says that something failed.
    fn answer(&self) -> Option<&str> {
        unsuccessful(&self.row).and_then(|_| self.row["response"]["body"].as_str())
    }

    /// What an execution that has ended said it does, where that is not told already.
    fn last_words(&self) -> Option<&str> {
        let words = text(&self.row, "message");
        (self.has_ended && !words.is_empty() && words != self.run.reason).then_some(words)
    }

    /// Whether who looks may do that with it. In the trash nothing is done.
    pub(super) fn may_operate(&self) -> bool {
        self.role >= Some(Role::Operator) && !self.is_connection() && !self.row["deleted_at"].is_string()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExecutionQuery {
    /// Of the page of children.
    cursor: Option<String>,
    #[serde(rename = "done")]
    _done: Option<String>,
}

#[derive(Template)]
#[template(path = "execution.html")]
struct Execution {
    frame: Frame,
    head: Head,
    flow: Option<String>,
    /// What it asks, and whether who looks may answer.
    questions: Vec<(Asked, bool)>,
    story: Story,
    timeline: Timeline,
    /// The cursor of the next page of children.
    next: Option<String>,
    attempts: Vec<Attempt>,
    since: Option<Since>,
    /// The same for a terminal: what it is for, and the command.
    commands: Vec<(&'static str, String)>,
}

impl View for Execution {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// An attempt of a call before the last one.
struct Attempt {
    began: Moment,
    code: String,
    message: String,
}

/// What is different from when the flow last went well.
struct Since {
    comparison: Comparison,
    changed: Vec<Changed>,
}

async fn show(
    InReach(engine): InReach,
    frame: Frame,
    InPath(id): InPath<String>,
    InQuery(query): InQuery<ExecutionQuery>,
) -> Answer<Response> {
    let head = Head::read(&engine, &id, &frame, "summary").await?;
    let is_first = query.cursor.is_none();
    let (children, next) = children(&engine, &head, query.cursor).await?;
    let story = if head.is_connection() { Story::default() } else { Story::read(&engine, &id).await? };
    let timeline = Timeline::new(&head.row, &children, &story, frame.now, (is_first, next.is_none()));
    let flow = match text(&head.row, "flow_id") {
        "" => None,
        native if native.starts_with("native:") => Some(native.to_owned()),
        flow => engine.record(Kind::Flow, flow).await.ok().map(|flow| text(&flow, "name").to_owned()),
    };
    let questions = if head.has_ended { Vec::new() } else { approvals::open_of(&engine, &head.row, &frame).await? };
    let since = if head.has_failed() { since(&engine, &head, &story, &frame).await? } else { None };
    let attempts = head.row["attempts"].as_array().into_iter().flatten().map(|attempt| Attempt {
        began: Moment { at: time(attempt, "began"), now: frame.now },
        code: text(attempt, "code").to_owned(),
        message: text(attempt, "message").to_owned(),
    });
    let attempts = attempts.collect();
    let commands = commands(&frame, &head, flow.as_deref());
    Ok(page(&Execution { flow, questions, story, timeline, next, attempts, since, commands, head, frame }))
}

async fn since(engine: &Engine, head: &Head, story: &Story, frame: &Frame) -> Answer<Option<Since>> {
    if !head.is_flow() {
        return Ok(None);
    }
    let Some(good) = compare::last_good(engine, &head.row).await? else { return Ok(None) };
    let changed = compare::changed_between(engine, &good, &head.row, frame).await?;
    let comparison = compare::compare(engine, good, &head.row, story, frame).await?;
    Ok(Some(Since { comparison: Comparison { is_brief: true, ..comparison }, changed }))
}

/// What a terminal does the same with.
fn commands(frame: &Frame, head: &Head, flow: Option<&str>) -> Vec<(&'static str, String)> {
    let id = head.id();
    let mut commands = vec![("Show it", format!("surefoot execution show {id}"))];
    if !head.is_connection() {
        commands.push(("Follow its log", format!("surefoot execution log {id} --follow")));
    }
    if let Some(flow) = flow.filter(|_| head.is_flow() && head.may_operate()) {
        let input = &head.row["input"];
        let path = format!("/api/v1/flows/{}/run", percent_encoded(flow));
        let (words, body) = (quoted(&input.to_string()), json!({ "input": input }));
        commands.push(("Run the flow with the same input", format!("surefoot run {} --input {words}", quoted(flow))));
        commands.push(("The same with curl", curl(frame, "POST", &path, Some(&body))));
    } else {
        commands.push(("The same with curl", curl(frame, "GET", &format!("/api/v1/executions/{id}"), None)));
    }
    commands
}

/// What it started, the oldest first.
async fn children(engine: &Engine, head: &Head, cursor: Option<String>) -> Answer<(Vec<Value>, Option<String>)> {
    if head.is_connection() {
        return Ok((Vec::new(), None));
    }
    let call = QueryCall {
        kind: Kind::Execution.as_str().to_owned(),
        filter: Some(json!({"field": "parent_id", "op": "eq", "value": head.id()})),
        order: Some("created_at".to_owned()),
        limit: Some(CHILDREN),
        cursor,
        deleted: head.row["deleted_at"].is_string(),
    };
    let page = engine.outline(call).await?;
    Ok((page.rows, page.next))
}
