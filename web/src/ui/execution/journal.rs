//! The journal of an execution: every call with what it passed and what it got.

use std::collections::HashMap;

use askama::Template;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use surefoot_engine::{JournalPlace, Role};

use super::Head;
use crate::caller::InReach;
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::{Answer, Problem};
use crate::ui::frame::{Frame, View, page};
use crate::ui::words::{Exact, Excerpt, Moment, Took, text, time};

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::page("/ui/executions/{id}/journal", show).role(Role::Viewer)]
}

/// Records a page.
const RECORDS: usize = 100;

/// Rows of the journal that are read at a time; a row has one record or many.
const ROWS_AT_ONCE: usize = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalQuery {
    /// `row.of_row.records` of the last record of the page before.
    after: Option<String>,
}

#[derive(Template)]
#[template(path = "journal.html")]
struct Journal {
    frame: Frame,
    head: Head,
    entries: Vec<Entry>,
    next: Option<String>,
}

impl View for Journal {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// A record of the journal. The answer to a call, and its end, stand with the call where that is on the same page.
struct Entry {
    /// Its number in the journal.
    seq: u64,
    /// The number of its call.
    call: Option<u64>,
    /// What it is: a call by its kind, the answer of one, the end of a connection.
    what: String,
    /// What it was about, in short: a connector, a flow, a check, a file.
    subject: String,
    at: Moment,
    /// What was passed.
    args: Value,
    /// What came back.
    result: Value,
    /// From the call to its answer, or from the begin of its last attempt to its end.
    took: Option<Took>,
    attempts: usize,
    effect: String,
    /// Whether it is what came of a call.
    is_outcome: bool,
    /// The number of a call that one can restart from.
    restart: Option<u64>,
}

impl Entry {
    fn of(record: &Value, frame: &Frame) -> Self {
        let what = match text(record, "record") {
            "call" => text(record, "kind").replace('_', " "),
            "reply" => "answer".to_owned(),
            "settled" => "end of the call".to_owned(),
            other => other.to_owned(),
        };
        let result = if record["outcome"].is_null() { &record["reply"] } else { &record["outcome"] };
        let args = if text(record, "record") == "started" { &record["limits"] } else { &record["args"] };
        Self {
            seq: record["seq"].as_u64().unwrap_or_default(),
            call: record["call"].as_u64(),
            what,
            subject: subject(&record["args"]).to_owned(),
            at: Moment { at: time(record, "at"), now: frame.now },
            args: args.clone(),
            result: result.clone(),
            took: Took::between(time(record, "began"), time(record, "at"), frame.now),
            attempts: record["attempts"].as_array().map_or(0, Vec::len),
            effect: text(record, "effect").to_owned(),
            is_outcome: matches!(text(record, "record"), "reply" | "settled"),
            restart: record["call"].as_u64().filter(|call| *call > 0 && text(record, "record") == "call"),
        }
    }
}

/// The first name that the arguments of a call have.
fn subject(args: &Value) -> &str {
    let names = ["name", "connector", "flow", "setting", "key", "field", "message"];
    names.into_iter().map(|field| text(args, field)).find(|name| !name.is_empty()).unwrap_or_default()
}

/// Puts what came of calls to them.
fn merged(records: impl Iterator<Item = Entry>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut calls = HashMap::new();
    for entry in records {
        let known = entry.call.filter(|_| entry.is_outcome).and_then(|call| calls.get(&call).copied());
        match known.and_then(|index: usize| entries.get_mut(index)) {
            Some(call) => {
                call.took = entry.took.or_else(|| Took::between(call.at.at, entry.at.at, entry.at.now));
                call.attempts = entry.attempts;
                call.result = entry.result;
            }
            None => {
                if let Some(call) = entry.call.filter(|_| !entry.is_outcome) {
                    calls.insert(call, entries.len());
                }
                entries.push(entry);
            }
        }
    }
    entries
}

async fn show(
    InReach(engine): InReach,
    frame: Frame,
    InPath(id): InPath<String>,
    InQuery(query): InQuery<JournalQuery>,
) -> Answer<Response> {
    let head = Head::read(&engine, &id, &frame, "journal").await?;
    let place = query.after.as_deref().map_or(Ok(JournalPlace::default()), parse)?;
    let mut reader = engine.journal_from(&id, place);
    let mut records = Vec::new();
    while records.len() <= RECORDS {
        let more = reader.page(ROWS_AT_ONCE).await?;
        if more.is_empty() {
            break;
        }
        records.extend(more);
    }
    let has_more = records.len() > RECORDS;
    records.truncate(RECORDS);
    let last = records.last().map(|(_, place)| *place);
    let entries = merged(records.iter().map(|(record, _)| Entry::of(record, &frame)));
    let next = last.filter(|_| has_more).map(|place| format!("{}.{}.{}", place.row, place.of_row, place.records));
    Ok(page(&Journal { frame, head, entries, next }))
}

fn parse(text: &str) -> Answer<JournalPlace> {
    let wrong = || Problem::invalid("`after` is not a place that a page of this journal gave");
    let parts: Vec<&str> = text.split('.').collect();
    let [row, of_row, records] = parts.try_into().map_err(|_| wrong())?;
    let place = (|| {
        Some(JournalPlace { row: row.parse().ok()?, of_row: of_row.parse().ok()?, records: records.parse().ok()? })
    })();
    place.ok_or_else(wrong)
}
