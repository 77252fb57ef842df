//! The calls of a connector: the newest, how long they took, and how those ended that failed. They stand in the
//! journals of the newest executions, which are read for this; so they have a page of their own.

use std::collections::BTreeMap;

use askama::Template;
use axum::response::Response;
use serde_json::{Value, json};
use surefoot_engine::query::{LIMIT_MAX, Tally};
use surefoot_engine::{Role, Tallied, Timestamp};

use super::Head;
use crate::caller::InReach;
use crate::extract::InPath;
use crate::operation::Operation;
use crate::problem::Answer;
use crate::ui::frame::{Frame, View, page};
use crate::ui::overview;
use crate::ui::plot::Bars;
use crate::ui::run::{Run, standing};
use crate::ui::words::{Took, text, time};

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::page("/ui/connectors/{key}/calls", show).role(Role::Viewer)]
}

/// Calls that are listed.
const CALLS: usize = 50;

#[derive(Template)]
#[template(path = "connector-calls.html")]
struct Calls {
    frame: Frame,
    head: Head,
    runs: Vec<Run>,
    /// How many were found.
    count: usize,
    outcomes: Option<Bars>,
    durations: Option<Bars>,
    /// By code, how many calls failed so.
    failures: Vec<(String, usize)>,
    /// The median, and what one in twenty took longer than.
    median: Option<Took>,
    slow: Option<Took>,
}

impl View for Calls {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn show(InReach(engine): InReach, frame: Frame, InPath(key): InPath<String>) -> Answer<Response> {
    let head = Head::read(&engine, &key, &frame, "calls").await?;
    let connections = json!({"field": "type", "op": "eq", "value": "CONNECTION"});
    let (rows, _) = overview::rows(&engine, connections, "-created_at", LIMIT_MAX).await?;
    let rows: Vec<Value> = rows.into_iter().filter(|row| row["connector_id"] == head.id.as_str()).collect();
    let mut failures = BTreeMap::new();
    for row in rows.iter().filter(|row| !text(row, "error_code").is_empty()) {
        *failures.entry(text(row, "error_code").to_owned()).or_insert(0) += 1;
    }
    let mut failures: Vec<_> = failures.into_iter().collect();
    failures.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let took = |row: &Value| Took::between(time(row, "started_at"), Some(time(row, "ended_at")?), frame.now);
    let mut all: Vec<_> = rows.iter().filter_map(took).map(|took| took.0).collect();
    all.sort();
    let at = |share: usize| all.get((all.len() * share / 100).min(all.len().saturating_sub(1))).copied().map(Took);
    let oldest = rows.last().and_then(|row| time(row, "created_at"));
    let plots = oldest.map(|oldest| overview::plots(&tallied(&rows, oldest, frame.now)));
    let (outcomes, durations) = plots.unzip();
    Ok(page(&Calls {
        runs: Run::all(&rows[..rows.len().min(CALLS)], frame.now),
        count: rows.len(),
        outcomes,
        durations,
        failures,
        median: at(50),
        slow: at(95),
        head,
        frame,
    }))
}

/// How the calls went over time. They stand in journals, where the database counts nothing.
fn tallied(rows: &[Value], since: Timestamp, until: Timestamp) -> Tallied {
    let columns = i64::from(overview::COLUMNS);
    let width = ((until.0 - since.0) / columns).max(1);
    let (mut tallies, mut took) = (vec![Tally::default(); columns as usize], vec![Vec::new(); columns as usize]);
    for row in rows {
        let Some(created) = time(row, "created_at") else { continue };
        let column = usize::try_from((created.0 - since.0) / width).unwrap_or(0).min(tallies.len() - 1);
        match standing(row).class {
            "good" => tallies[column].succeeded += 1,
            "bad" => tallies[column].failed += 1,
            _ => tallies[column].others += 1,
        }
        if let (Some(started), Some(ended)) = (time(row, "started_at"), time(row, "ended_at")) {
            took[column].push(ended.since(started));
        }
    }
    for (tally, mut took) in tallies.iter_mut().zip(took) {
        took.sort();
        tally.median = took.get(took.len() / 2).copied();
    }
    Tallied { since, until, spans: tallies }
}
