//! The first page: what runs, what failed last, what comes next, and how it went over time.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot_engine::query::{Kind, LIMIT_MAX, Tally};
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Engine, Role, Tallied, Timestamp};

use super::frame::{Frame, View, page};
use super::plot::{Bar, Bars};
use super::run::{Run, are_unsuccessful};
use super::words::{Moment, text};
use crate::app::App;
use crate::caller::InReach;
use crate::extract::InQuery;
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::page(super::PATH, show).role(Role::Viewer)]
}

/// Rows of each short list.
const ROWS: u32 = 8;

/// Columns of the plots.
pub(super) const COLUMNS: u32 = 24;

/// How far back the plots look: what the address says, what people read, how long that is.
pub(super) const RANGES: [(&str, &str, Duration); 3] = [
    ("hour", "Last hour", Duration::from_secs(3600)),
    ("day", "Last 24 hours", Duration::from_secs(86_400)),
    ("week", "Last 7 days", Duration::from_secs(604_800)),
];

/// What the query asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OverviewQuery {
    range: Option<String>,
    #[serde(rename = "done")]
    _done: Option<String>,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    /// How many stand so, with the filter that lists them.
    counts: Vec<Number>,
    active: Vec<Run>,
    failed: Vec<Run>,
    upcoming: Vec<Run>,
    range: &'static str,
    outcomes: Bars,
    durations: Bars,
    /// When the plots were counted, where that was earlier.
    counted: Option<Moment>,
    /// Whether anything has ever run here.
    is_empty: bool,
    /// Why nothing new is taken.
    trouble: Option<&'static str>,
}

impl View for Overview {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// One number of the first row.
struct Number {
    label: &'static str,
    /// The picture and the colour.
    class: &'static str,
    filter: String,
    count: usize,
    /// Whether there are more than were counted.
    is_more: bool,
}

async fn show(
    State(app): State<App>,
    InReach(engine): InReach,
    frame: Frame,
    InQuery(query): InQuery<OverviewQuery>,
) -> Answer<Response> {
    let range = RANGES.iter().find(|(name, ..)| Some(*name) == query.range.as_deref()).unwrap_or(&RANGES[1]);
    let mut counts = Vec::new();
    let mut active = Vec::new();
    for (status, label, class) in [
        ("RUNNING", "Running", "running"),
        ("WAITING", "Waiting", "waiting"),
        ("QUEUED", "Queued", "queued"),
        ("PAUSED", "Paused", "paused"),
    ] {
        let rows = rows(&engine, with_status(status), "-created_at", LIMIT_MAX).await?;
        let filter = format!("status={status}");
        counts.push(Number { label, class, filter, count: rows.0.len(), is_more: rows.1 });
        active.extend(rows.0);
    }
    active.sort_by(|one, other| text(other, "created_at").cmp(text(one, "created_at")));
    active.retain(|row| row["parent_id"].is_null());
    active.truncate(ROWS as usize);
    let failed = failed(&engine).await?;
    let (upcoming, _) = rows(&engine, with_status("SCHEDULED"), "scheduled_for", ROWS).await?;
    let past = engine.tally(top_level(), range.2, COLUMNS).await?;
    let (outcomes, durations) = plots(&past);
    let counted = earlier(&past, &frame);
    let is_empty = past.spans.iter().all(|tally| tally.count() == 0)
        && failed.is_empty()
        && active.is_empty()
        && upcoming.is_empty();
    let now = frame.now;
    Ok(page(&Overview {
        trouble: trouble(&app),
        counts,
        active: Run::all(&active, now),
        failed: Run::all(&failed, now),
        upcoming: Run::all(&upcoming, now),
        range: range.0,
        outcomes,
        durations,
        counted,
        is_empty,
        frame,
    }))
}

/// The last ones that failed, or that answered that what they test did.
async fn failed(engine: &Engine) -> Answer<Vec<Value>> {
    // Each has an index of its own.
    let mut failed = Vec::new();
    for which in [with_status("ENDED_ERROR"), are_unsuccessful()] {
        failed.extend(rows(engine, json!({"and": [which, top_level()]}), "-created_at", ROWS).await?.0);
    }
    failed.sort_by(|one, other| text(other, "created_at").cmp(text(one, "created_at")));
    failed.truncate(ROWS as usize);
    Ok(failed)
}

/// Why nothing new is taken.
pub(super) fn trouble(app: &App) -> Option<&'static str> {
    let engine = app.whole_engine();
    match (engine.is_disk_full(), engine.is_degraded()) {
        (true, _) => Some("The disk of the data folder is full. Nothing new is taken until there is room."),
        (false, true) => Some("The store failed and is recovering. Nothing new is taken meanwhile."),
        (false, false) => None,
    }
}

fn with_status(status: &str) -> Value {
    json!({"field": "status", "op": "eq", "value": status})
}

/// What was not started by another execution.
fn top_level() -> Value {
    json!({"and": [
        {"field": "parent_id", "op": "is_null", "value": true},
        {"field": "type", "op": "eq", "value": "FLOW"},
    ]})
}

pub(super) async fn rows(engine: &Engine, filter: Value, order: &str, limit: u32) -> Answer<(Vec<Value>, bool)> {
    let call = QueryCall {
        kind: Kind::Execution.as_str().to_owned(),
        filter: Some(filter),
        order: Some(order.to_owned()),
        limit: Some(limit),
        ..QueryCall::default()
    };
    let page = engine.outline(call).await.map_err(Problem::from)?;
    Ok((page.rows, page.next.is_some()))
}

/// When that was counted, where it was not just now.
pub(super) fn earlier(tallied: &Tallied, frame: &Frame) -> Option<Moment> {
    (tallied.until < frame.now).then(|| frame.moment_at(Some(tallied.until)))
}

/// How runs ended, and how long they took, by when they were created. Where none ended there is no median, and none is
/// drawn.
pub(super) fn plots(Tallied { since, until, spans }: &Tallied) -> (Bars, Bars) {
    let width = (until.0 - since.0) / i64::try_from(spans.len()).unwrap_or(i64::MAX).max(1);
    let label = |index: usize| {
        let at = Timestamp(since.0 + width * index as i64).to_string();
        // The day and the minute.
        at.get(5..16).unwrap_or_default().replace('T', " ")
    };
    let bars = |values: &dyn Fn(&Tally) -> Vec<f64>| {
        spans.iter().enumerate().map(|(index, tally)| Bar { label: label(index), values: values(tally) }).collect()
    };
    let outcomes = Bars {
        title: "Runs by outcome".to_owned(),
        series: vec![("Succeeded", "good"), ("Failed", "bad"), ("Others", "neutral")],
        bars: bars(&|tally| [tally.succeeded, tally.failed, tally.others].map(|count| count as f64).to_vec()),
        unit: "",
    };
    let durations = Bars {
        title: "Median duration".to_owned(),
        series: vec![("Median", "accent")],
        bars: bars(&|tally| tally.median.iter().map(Duration::as_secs_f64).collect()),
        unit: "s",
    };
    (outcomes, durations)
}
