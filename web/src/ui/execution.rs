//! One execution: how it stands and why, its checks, what it started and when, what went in and came out, and what can
//! be done with it. The journal and the log have pages of their own.

mod actions;
mod journal;
mod log;
mod timeline;

use askama::Template;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Engine, JournalPlace, Role};

use super::frame::{Frame, View, page};
use super::run::Run;
use super::words::{Document, Moment, Standing, Took, text, time};
use crate::caller::InReach;
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::Answer;

use timeline::Timeline;

pub(super) fn operations() -> Vec<Operation> {
    let own = vec![Operation::page("/ui/executions/{id}", show).role(Role::Viewer)];
    [own, journal::operations(), log::operations(), actions::operations()].into_iter().flatten().collect()
}

/// Children on one page of the timeline.
const CHILDREN: u32 = 200;

/// Rows of a journal that are looked through for checks.
const JOURNAL_ROWS_MAX: usize = 20_000;

/// Checks that are shown.
const CHECKS_MAX: usize = 500;

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
}

impl Head {
    pub(super) async fn read(engine: &Engine, id: &str, frame: &Frame, tab: &'static str) -> Answer<Self> {
        let row = engine.execution(id).await?;
        let parent = match row["parent_id"].as_str() {
            Some(parent) => engine.execution(parent).await.ok().map(|row| Run::of(&row, frame.now)),
            None => None,
        };
        Ok(Self { run: Run::of(&row, frame.now), parent, has_ended: row["ended_at"].is_string(), row, tab })
    }

    /// A call of a connector: it has no log, no journal and no way to be steered.
    pub(super) fn is_connection(&self) -> bool {
        self.row["type"] == "CONNECTION"
    }

    pub(super) fn id(&self) -> &str {
        text(&self.row, "id")
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
    checks: Vec<Check>,
    failed_checks: usize,
    timeline: Timeline,
    /// The cursor of the next page of children.
    next: Option<String>,
    attempts: Vec<Attempt>,
}

impl View for Execution {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// An assertion of the flow, with its evidence.
struct Check {
    name: String,
    standing: Standing,
    message: String,
    took: Option<Took>,
    data: Value,
    section: String,
}

/// An attempt of a call before the last one.
struct Attempt {
    began: Moment,
    code: String,
    message: String,
}

async fn show(
    InReach(engine): InReach,
    frame: Frame,
    InPath(id): InPath<String>,
    InQuery(query): InQuery<ExecutionQuery>,
) -> Answer<Response> {
    let head = Head::read(&engine, &id, &frame, "summary").await?;
    let (children, next) = children(&engine, &head, query.cursor).await?;
    let timeline = Timeline::new(&head.row, &children, frame.now);
    let checks = if head.is_connection() { Vec::new() } else { checks(&engine, &id).await? };
    let flow = match text(&head.row, "flow_id") {
        "" => None,
        native if native.starts_with("native:") => Some(native.to_owned()),
        flow => engine.record(Kind::Flow, flow).await.ok().map(|flow| text(&flow, "name").to_owned()),
    };
    let attempts = head.row["attempts"].as_array().into_iter().flatten().map(|attempt| Attempt {
        began: Moment { at: time(attempt, "began"), now: frame.now },
        code: text(attempt, "code").to_owned(),
        message: text(attempt, "message").to_owned(),
    });
    let attempts = attempts.collect();
    let failed_checks = checks.iter().filter(|check| check.standing.class == "bad").count();
    Ok(page(&Execution { flow, checks, failed_checks, timeline, next, attempts, head, frame }))
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

/// The checks in its journal, in their order.
async fn checks(engine: &Engine, id: &str) -> Answer<Vec<Check>> {
    let mut reader = engine.journal_from(id, JournalPlace::default());
    let (mut checks, mut rows) = (Vec::new(), 0);
    let mut section = String::new();
    loop {
        let page = reader.page(1000).await?;
        if page.is_empty() || rows >= JOURNAL_ROWS_MAX || checks.len() >= CHECKS_MAX {
            return Ok(checks);
        }
        rows += page.len();
        for (record, _) in page {
            let args = &record["args"];
            match text(&record, "kind") {
                "section" => section = text(args, "name").to_owned(),
                "check" => checks.push(Check {
                    name: text(args, "name").to_owned(),
                    standing: Standing::of(text(args, "outcome")),
                    message: text(args, "message").to_owned(),
                    took: args["duration_ms"].as_u64().map(|ms| Took(std::time::Duration::from_millis(ms))),
                    data: args["data"].clone(),
                    section: section.clone(),
                }),
                _ => {}
            }
        }
    }
}
