//! The list of executions: those that come, those that are under way, those that have ended.

use askama::Template;
use axum::response::Response;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Engine, Role};

use super::filter;
use super::frame::{Frame, View, page};
use super::run::Run;
use super::table::{ListQuery, Listing};
use super::views::{self, Saved};
use crate::bulk::BulkAction;
use crate::caller::InReach;
use crate::extract::InQuery;
use crate::operation::Operation;
use crate::problem::Answer;

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::page("/ui/executions", list).role(Role::Viewer)]
}

/// Filters that people want again and again.
const VIEWS: [(&str, &str); 6] = [
    ("Everything", ""),
    ("Runs", "parent_id=null"),
    ("Under way", "status=RUNNING,WAITING,QUEUED,PAUSED"),
    ("Failed", "status=ENDED_ERROR or response_status>=500 parent_id=null"),
    ("Coming up", "status=SCHEDULED"),
    ("Paused", "status=PAUSED"),
];

/// Those to come that stand above the others.
const UPCOMING_MAX: u32 = 5;

#[derive(Template)]
#[template(path = "executions.html")]
struct Executions {
    frame: Frame,
    list: Listing,
    /// What comes next stands above the others, the nearest below.
    upcoming: Vec<Run>,
    runs: Vec<Run>,
    views: [(&'static str, &'static str); VIEWS.len()],
    saved: Vec<Saved>,
    actions: Vec<BulkAction>,
}

impl View for Executions {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

impl Executions {
    /// Whether there may be more that come than those that are shown.
    fn has_more_upcoming(&self) -> bool {
        self.upcoming.len() == UPCOMING_MAX as usize
    }

    /// Whether this is one of the views that everybody has.
    fn is_known(&self) -> bool {
        self.views.iter().any(|(_, filter)| *filter == self.list.filter)
            || self.saved.iter().any(|saved| saved.query == self.list.filter)
    }
}

async fn list(
    InReach(engine): InReach,
    frame: Frame,
    InQuery(query): InQuery<ListQuery>,
    views::Kept(saved): views::Kept,
) -> Answer<Response> {
    let are_apart = query.order.is_none() && query.trash.is_none();
    let apart = json!({"field": "status", "op": "neq", "value": "SCHEDULED"});
    let mut list = Listing::read(&engine, Kind::Execution, &query, are_apart.then_some(apart)).await?;
    let upcoming = match are_apart && !list.is_further && list.wrong.is_none() {
        true => upcoming(&engine, &list.document).await?,
        false => Vec::new(),
    };
    let (upcoming, runs) = (Run::all(&upcoming, frame.now), Run::all(&list.rows, frame.now));
    list.rows.clear();
    let actions = BulkAction::of(Kind::Execution).filter(|action| frame.may(action.role.as_str())).collect();
    Ok(page(&Executions { frame, list, upcoming, runs, views: VIEWS, saved, actions }))
}

/// Those to come that match, the nearest last. When a filter asks for them alone, all that fit on a page.
async fn upcoming(engine: &Engine, filter: &Value) -> Answer<Vec<Value>> {
    let scheduled = json!({"field": "status", "op": "eq", "value": "SCHEDULED"});
    let limit = if *filter == scheduled { super::table::ROWS } else { UPCOMING_MAX };
    let call = QueryCall {
        kind: Kind::Execution.as_str().to_owned(),
        filter: filter::both(Some(scheduled), Some(filter.clone()).filter(|filter| !filter.is_null())),
        order: Some("scheduled_for".to_owned()),
        limit: Some(limit),
        ..QueryCall::default()
    };
    let mut rows = engine.outline(call).await?.rows;
    rows.reverse();
    Ok(rows)
}
