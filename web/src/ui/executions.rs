//! The list of executions: those that come, those that are under way, those that have ended.

use askama::Template;
use axum::response::Response;
use surefoot_engine::Role;
use surefoot_engine::query::Kind;

use super::frame::{Frame, View, page};
use super::run::Run;
use super::table::{ListQuery, Listing};
use crate::caller::InReach;
use crate::extract::InQuery;
use crate::operation::Operation;
use crate::problem::Answer;

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::page("/ui/executions", list).role(Role::Viewer)]
}

/// Filters that people want again and again.
const VIEWS: [(&str, &str); 6] = [
    ("All runs", "parent_id=null"),
    ("Under way", "status=RUNNING,WAITING,QUEUED,PAUSED"),
    ("Failed", "status=ENDED_ERROR parent_id=null"),
    ("Coming up", "status=SCHEDULED"),
    ("Paused", "status=PAUSED"),
    ("Everything", ""),
];

#[derive(Template)]
#[template(path = "executions.html")]
struct Executions {
    frame: Frame,
    list: Listing,
    runs: Vec<Run>,
    views: [(&'static str, &'static str); VIEWS.len()],
}

impl View for Executions {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn list(InReach(engine): InReach, frame: Frame, InQuery(query): InQuery<ListQuery>) -> Answer<Response> {
    let list = Listing::read(&engine, Kind::Execution, &query, None).await?;
    let runs = Run::all(&list.rows, frame.now);
    Ok(page(&Executions { frame, list, runs, views: VIEWS }))
}
