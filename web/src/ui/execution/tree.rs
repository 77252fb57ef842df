//! The tree that an execution is part of: what stands above it, and all flows below the top, level by level.

use std::collections::HashMap;

use askama::Template;
use axum::response::Response;
use serde_json::{Value, json};
use surefoot_engine::query::{Kind, LIMIT_MAX};
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Engine, Role};

use super::Head;
use crate::caller::InReach;
use crate::extract::InPath;
use crate::operation::Operation;
use crate::problem::Answer;
use crate::ui::frame::{Frame, View, page};
use crate::ui::run::Run;
use crate::ui::words::text;

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::page("/ui/executions/{id}/tree", show).role(Role::Viewer)]
}

/// Executions of a tree that are shown, and how far one may stand below the top.
const SHOWN_MAX: usize = 300;
const DEPTH_MAX: usize = 64;

#[derive(Template)]
#[template(path = "tree.html")]
struct Tree {
    frame: Frame,
    head: Head,
    /// From the top down, each before what it started.
    nodes: Vec<Node>,
    is_cut: bool,
}

impl View for Tree {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// An execution, and how far below the top it stands.
struct Node {
    run: Run,
    depth: usize,
}

async fn show(InReach(engine): InReach, frame: Frame, InPath(id): InPath<String>) -> Answer<Response> {
    let head = Head::read(&engine, &id, &frame, "tree").await?;
    let top = top(&engine, &head.row).await?;
    let (mut below, is_cut) = below(&engine, &top).await?;
    let mut nodes = Vec::new();
    lay_out(top, 0, &mut below, &frame, &mut nodes);
    Ok(page(&Tree { frame, head, nodes, is_cut }))
}

/// What stands above all, as far as who looks may see it.
async fn top(engine: &Engine, row: &Value) -> Answer<Value> {
    let mut top = row.clone();
    for _ in 0..DEPTH_MAX {
        let Some(parent) = top["parent_id"].as_str() else { break };
        match engine.execution(parent).await {
            Ok(parent) => top = parent,
            Err(_) => break,
        }
    }
    Ok(top)
}

/// Everything below, by what started it, and whether there is more than is shown.
async fn below(engine: &Engine, top: &Value) -> Answer<(HashMap<String, Vec<Value>>, bool)> {
    let (mut below, mut count) = (HashMap::<String, Vec<Value>>::new(), 0);
    let mut level = vec![text(top, "id").to_owned()];
    for _ in 0..DEPTH_MAX {
        let call = QueryCall {
            kind: Kind::Execution.as_str().to_owned(),
            filter: Some(json!({"and": [
                {"field": "type", "op": "neq", "value": "CONNECTION"},
                {"field": "parent_id", "op": "in", "value": level},
            ]})),
            order: Some("created_at".to_owned()),
            limit: Some(LIMIT_MAX),
            deleted: top["deleted_at"].is_string(),
            ..QueryCall::default()
        };
        let page = engine.outline(call).await?;
        let room = SHOWN_MAX - count;
        let is_cut = page.next.is_some() || page.rows.len() > room;
        level = Vec::new();
        for row in page.rows.into_iter().take(room) {
            level.push(text(&row, "id").to_owned());
            below.entry(text(&row, "parent_id").to_owned()).or_default().push(row);
        }
        count += level.len();
        if is_cut || level.is_empty() {
            return Ok((below, is_cut));
        }
    }
    Ok((below, true))
}

fn lay_out(row: Value, depth: usize, below: &mut HashMap<String, Vec<Value>>, frame: &Frame, nodes: &mut Vec<Node>) {
    let children = below.remove(text(&row, "id")).unwrap_or_default();
    nodes.push(Node { run: Run::of(&row, frame.now), depth });
    for child in children {
        lay_out(child, depth + 1, below, frame, nodes);
    }
}
