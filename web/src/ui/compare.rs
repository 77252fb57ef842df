//! Two executions side by side: what they ran with, what they got and checked and called, and what changed in the
//! workspace between them.

mod difference;

use askama::Template;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Engine, Role};

use super::execution::{Head, Story};
use super::frame::{Frame, View, page};
use super::run::{Run, are_unsuccessful};
use super::words::{Excerpt, Moment, text, time};
use crate::caller::InReach;
use crate::extract::InQuery;
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

pub(super) use difference::Comparison;
use difference::Seen;

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::page("/ui/compare", show).role(Role::Viewer)]
}

/// Calls of each that are compared.
const CALLS_MAX: u32 = 1000;

/// Records of a kind that are told to have changed.
const CHANGED_MAX: u32 = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompareQuery {
    /// The earlier one. Without it, the last good run of the other one's flow before that one.
    a: Option<String>,
    /// The later one.
    b: String,
}

#[derive(Template)]
#[template(path = "compare.html")]
struct Compare {
    frame: Frame,
    head: Head,
    /// The earlier one, and what is different; none where there is no earlier one.
    comparison: Option<Comparison>,
    /// What changed in the workspace between their beginnings.
    changed: Vec<Changed>,
    /// Others of the same flow, to compare with.
    others: Vec<Run>,
}

impl View for Compare {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// A record that was changed between two runs.
pub(super) struct Changed {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) by: String,
    pub(super) at: Moment,
}

async fn show(InReach(engine): InReach, frame: Frame, InQuery(query): InQuery<CompareQuery>) -> Answer<Response> {
    let frame = frame.within("/ui/executions");
    let head = Head::read(&engine, query.b.trim(), &frame, "compare").await?;
    if head.is_connection() {
        return Err(Problem::invalid(
            "a call of a connector cannot be compared; compare the executions that made them",
        ));
    }
    let others = rows(&engine, of_same_flow(&head.row), 20).await?;
    let others = Run::all(&others, frame.now).into_iter().filter(|run| run.id != head.id()).collect();
    let earlier = match query.a.as_deref().map(str::trim).filter(|a| !a.is_empty()) {
        Some(id) => Some(engine.execution(id).await?),
        None => last_good(&engine, &head.row).await?,
    };
    let (comparison, changed) = match earlier {
        Some(earlier) => {
            let changed = changed_between(&engine, &earlier, &head.row, &frame).await?;
            let story = Story::read(&engine, head.id()).await?;
            (Some(compare(&engine, earlier, &head.row, &story, &frame).await?), changed)
        }
        None => (None, Vec::new()),
    };
    Ok(page(&Compare { frame, head, comparison, changed, others }))
}

/// Compares an execution, whose story is known, with an earlier one.
pub(super) async fn compare(
    engine: &Engine,
    earlier: Value,
    later: &Value,
    story: &Story,
    frame: &Frame,
) -> Answer<Comparison> {
    let earlier_story = Story::read(engine, text(&earlier, "id")).await?;
    let calls = [calls_of(engine, &earlier).await?, calls_of(engine, later).await?];
    let [before, after] = [(&earlier, &earlier_story, &calls[0]), (later, story, &calls[1])]
        .map(|(row, story, calls)| Seen { row, story, calls });
    Ok(Comparison::new(&before, &after, frame.now))
}

/// The last run of the same flow that went well before that one was created.
pub(super) async fn last_good(engine: &Engine, row: &Value) -> Answer<Option<Value>> {
    let filter = json!({"and": [
        of_same_flow(row),
        {"field": "status", "op": "eq", "value": "ENDED_SUCCESS"},
        {"not": are_unsuccessful()},
        {"field": "created_at", "op": "lt", "value": row["created_at"]},
    ]});
    match rows(engine, filter, 1).await?.first() {
        Some(found) => Ok(Some(engine.execution(text(found, "id")).await?)),
        None => Ok(None),
    }
}

/// Built-in flows do many things: of those the ones with the same name.
fn of_same_flow(row: &Value) -> Value {
    let flow = json!({"field": "flow_id", "op": "eq", "value": row["flow_id"]});
    match text(row, "flow_id").starts_with("native:") {
        true => json!({"and": [flow, {"field": "name", "op": "eq", "value": row["name"]}]}),
        false => flow,
    }
}

async fn rows(engine: &Engine, filter: Value, limit: u32) -> Answer<Vec<Value>> {
    let call = QueryCall {
        kind: Kind::Execution.as_str().to_owned(),
        filter: Some(filter),
        limit: Some(limit),
        ..QueryCall::default()
    };
    Ok(engine.outline(call).await?.rows)
}

/// What it called, in the order of the calls.
async fn calls_of(engine: &Engine, row: &Value) -> Answer<Vec<Value>> {
    let call = QueryCall {
        kind: Kind::Execution.as_str().to_owned(),
        filter: Some(json!({"field": "parent_id", "op": "eq", "value": row["id"]})),
        order: Some("created_at".to_owned()),
        limit: Some(CALLS_MAX),
        deleted: row["deleted_at"].is_string(),
        ..QueryCall::default()
    };
    Ok(engine.outline(call).await?.rows)
}

/// What flows use and somebody changed between the beginnings of two runs.
pub(super) async fn changed_between(
    engine: &Engine,
    earlier: &Value,
    later: &Value,
    frame: &Frame,
) -> Answer<Vec<Changed>> {
    let mut changed = Vec::new();
    for kind in [Kind::Flow, Kind::Connector, Kind::Setting, Kind::File] {
        let between = json!({"and": [
            {"field": "modified_at", "op": "gt", "value": earlier["created_at"]},
            {"field": "modified_at", "op": "lt", "value": later["created_at"]},
        ]});
        let call = QueryCall {
            kind: kind.as_str().to_owned(),
            filter: Some(between),
            order: Some("-modified_at".to_owned()),
            limit: Some(CHANGED_MAX),
            ..QueryCall::default()
        };
        changed.extend(engine.query(call).await?.rows.iter().map(|row| Changed {
            kind: kind.as_str(),
            name: text(row, "name").to_owned(),
            by: text(row, "modified_by").to_owned(),
            at: Moment { at: time(row, "modified_at"), now: frame.now },
        }));
    }
    Ok(changed)
}
