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
use crate::ui::words::{Exact, Excerpt, Moment, Size, Standing, Took, text, time};

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::page("/ui/executions/{id}/journal", show).role(Role::Viewer)]
}

/// Records a page, and where they are shown as they are recorded, too.
const RECORDS: usize = 100;
const RAW_RECORDS: usize = 50;

/// Rows of the journal that are read at a time; a row has one record or many.
const ROWS_AT_ONCE: usize = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalQuery {
    /// `row.of_row.records` of the last record of the page before.
    after: Option<String>,
    /// `1`: with the records as programs get them.
    raw: Option<String>,
}

#[derive(Template)]
#[template(path = "journal.html")]
struct Journal {
    frame: Frame,
    head: Head,
    entries: Vec<Entry>,
    next: Option<String>,
    /// Whether each record is shown as programs get it, too.
    is_raw: bool,
    /// The query of this page with that, or without.
    other: String,
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
    /// What it is, in words: a call by its kind, the answer of one, the end of a connection.
    what: String,
    /// What it was about, in short: a connector, a flow, a check, a file.
    subject: String,
    at: Moment,
    /// What was passed.
    args: Value,
    /// What came back.
    result: Value,
    /// Why nothing did.
    error: String,
    /// How it went, as far as that is known.
    standing: Option<Standing>,
    /// The record as it is told to programs, without what was passed.
    raw: Vec<Value>,
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
    fn of(record: &Value, head: &Head, frame: &Frame) -> Self {
        let (ty, kind) = (text(record, "record"), text(record, "kind"));
        let what = match ty {
            "call" => words_of(kind),
            "reply" => "answer".to_owned(),
            "settled" => "end of the call".to_owned(),
            other => other.to_owned(),
        };
        let args = if ty == "started" { &head.row["input"] } else { &record["args"] };
        let is_pending = ty == "call" && (kind == "start_connection" || record["reply"].is_null());
        let is_started = kind == "start_connection" && record["error"].is_null();
        Self {
            seq: record["seq"].as_u64().unwrap_or_default(),
            call: record["call"].as_u64(),
            what,
            subject: subject(&record["args"]).to_owned(),
            at: Moment { at: time(record, "at"), now: frame.now },
            args: args.clone(),
            // That a connection was started is no result of it.
            result: if is_started { Value::Null } else { record["result"].clone() },
            error: text(record, "error").to_owned(),
            standing: match (ty, record["error"].is_string()) {
                ("started", _) => None,
                // A check says itself how it went.
                ("call", false) if kind == "check" => Some(Standing::of(text(&record["args"], "outcome"))),
                (_, true) => Some(Standing::of("error")),
                _ if is_pending => (!head.has_ended).then(|| Standing::of("WAITING")),
                _ => Some(Standing::of("success")),
            },
            raw: vec![without_args(record)],
            took: Took::between(time(record, "began"), time(record, "at"), frame.now),
            attempts: record["attempts"].as_array().map_or(0, Vec::len),
            effect: text(record, "effect").to_owned(),
            is_outcome: matches!(ty, "reply" | "settled"),
            restart: record["call"].as_u64().filter(|call| *call > 0 && ty == "call"),
        }
    }

    /// The length of what came back, as text.
    fn size(&self) -> Size {
        Size(self.result.to_string().len() as u64)
    }

    fn raw(&self) -> Value {
        self.raw.iter().cloned().collect()
    }
}

/// What a call does, for people.
fn words_of(kind: &str) -> String {
    let known = WORDS.iter().find(|(known, _)| *known == kind);
    known.map_or_else(|| kind.replace('_', " "), |(_, words)| (*words).to_owned())
}

/// The calls of the contract.
const WORDS: [(&str, &str); 25] = [
    ("get", "asks about itself"),
    ("check", "checks"),
    ("metric", "measures"),
    ("section", "begins the section"),
    ("sleep", "sleeps"),
    ("sleep_until", "sleeps until a time"),
    ("poll", "waits before it looks again"),
    ("start_connection", "calls the connector"),
    ("start_flow", "starts the flow"),
    ("wait", "waits for what it started"),
    ("cancel", "cancels"),
    ("wait_signal", "waits for the signal"),
    ("on_end", "says what is done at its end"),
    ("record_get", "reads the record"),
    ("record_save", "saves the record"),
    ("record_delete", "deletes the record"),
    ("record_query", "looks for records"),
    ("file_stat", "looks for the file"),
    ("file_read", "reads the file"),
    ("file_write", "writes the file"),
    ("file_delete", "deletes the file"),
    ("ask", "asks"),
    ("wait_answer", "waits for the answer"),
    ("lock", "takes the lock"),
    ("unlock", "gives back the lock"),
];

/// A record without what stands beside it already.
fn without_args(record: &Value) -> Value {
    let mut record = record.clone();
    for field in ["args", "result", "error"] {
        record.as_object_mut().map(|record| record.remove(field));
    }
    record
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
                (call.result, call.error, call.standing) = (entry.result, entry.error, entry.standing);
                call.raw.extend(entry.raw);
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
    let is_raw = query.raw.as_deref() == Some("1");
    let records_max = if is_raw { RAW_RECORDS } else { RECORDS };
    while records.len() <= records_max {
        let more = reader.page(ROWS_AT_ONCE).await?;
        if more.is_empty() {
            break;
        }
        records.extend(more);
    }
    let has_more = records.len() > records_max;
    records.truncate(records_max);
    let last = records.last().map(|(_, place)| *place);
    let entries = merged(records.iter().map(|(record, _)| Entry::of(record, &head, &frame)));
    let next = last.filter(|_| has_more).map(|place| format!("{}.{}.{}", place.row, place.of_row, place.records));
    let next = next.map(|place| address(Some(&place), is_raw));
    let other = address(query.after.as_deref(), !is_raw);
    Ok(page(&Journal { frame, head, entries, next, is_raw, other }))
}

/// The query of a page of the journal.
fn address(after: Option<&str>, is_raw: bool) -> String {
    let pairs = [after.map(|after| ("after", after)), is_raw.then_some(("raw", "1"))];
    form_urlencoded::Serializer::new(String::from("?")).extend_pairs(pairs.into_iter().flatten()).finish()
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
