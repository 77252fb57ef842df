//! Flows: the list, and one flow: how its runs went, what it uses and what starts it. Its versions, its settings and
//! the form that runs it have pages of their own.

mod run;
mod settings;
mod versions;

use std::collections::BTreeSet;
use std::time::Duration;

use askama::Template;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Engine, JournalPlace, Role};

use super::commands::quoted;
use super::frame::{Frame, View, page};
use super::overview::{self, RANGES};
use super::plot::Bars;
use super::record::{self, Dependent, Names, dependents, path_of};
use super::run::Run;
use super::table::{ListQuery, Listing};
use super::words::{Moment, Size, duration_text, text};
use crate::caller::InReach;
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::Answer;

pub(super) fn operations() -> Vec<Operation> {
    let own = vec![
        Operation::page("/ui/flows", list).role(Role::Viewer),
        Operation::page("/ui/flows/{key}", show).role(Role::Viewer),
    ];
    let shared = record::operations(Kind::Flow);
    [own, run::operations(), versions::operations(), settings::operations(), shared].into_iter().flatten().collect()
}

/// Runs of the short list.
const RUNS: usize = 10;

/// Runs whose journals are looked through for what the flow uses, and rows of each; a row has a few records.
const JOURNALS: usize = 3;
const JOURNAL_ROWS: usize = 200;

#[derive(Template)]
#[template(path = "flows.html")]
struct Flows {
    frame: Frame,
    list: Listing,
    flows: Vec<Row>,
}

impl View for Flows {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// A row of the list.
struct Row {
    id: String,
    name: String,
    description: String,
    project: String,
    version: String,
    size: Option<Size>,
    limits: Vec<String>,
    last: Option<Run>,
    may_run: bool,
}

/// What stands at the top of every page about one flow.
struct Head {
    row: Value,
    id: String,
    name: String,
    tab: &'static str,
    may_run: bool,
    may_edit: bool,
}

impl Head {
    async fn read(engine: &Engine, key: &str, frame: &Frame, tab: &'static str) -> Answer<Self> {
        let row = engine.record(Kind::Flow, key).await?;
        let (id, name) = (text(&row, "id").to_owned(), text(&row, "name").to_owned());
        let (may_run, may_edit) = (frame.may_for("operator", &row), frame.may_for("author", &row));
        Ok(Self { row, id, name, tab, may_run, may_edit })
    }

    fn is_deployed(&self) -> bool {
        !text(&self.row, "version").is_empty()
    }

    /// The page of it, or one below.
    fn path(&self, below: &str) -> String {
        path_of(Kind::Flow, &self.id) + below
    }

    /// Its name, as a word of a command.
    fn word(&self) -> String {
        quoted(&self.name)
    }
}

async fn list(InReach(engine): InReach, frame: Frame, InQuery(query): InQuery<ListQuery>) -> Answer<Response> {
    let list = Listing::read(&engine, Kind::Flow, &query, None).await?;
    let names = Names::read(&engine, &[Kind::Project]).await?;
    let mut flows = Vec::new();
    for row in list.rows.iter().filter(|_| !list.trash) {
        let last = runs(&engine, text(row, "id"), 1).await?;
        flows.push(Row {
            id: text(row, "id").to_owned(),
            name: text(row, "name").to_owned(),
            description: text(row, "description").to_owned(),
            project: names.of(Kind::Project, text(row, "project_id")).to_owned(),
            version: text(row, "version").chars().take(12).collect(),
            size: row["size_bytes"].as_u64().map(Size),
            limits: limits(row),
            last: last.first().map(|last| Run::of(last, frame.now)),
            may_run: frame.may_for("operator", row) && !text(row, "version").is_empty(),
        });
    }
    Ok(page(&Flows { frame, list, flows }))
}

/// What holds its executions back, in words.
fn limits(row: &Value) -> Vec<String> {
    let number = |field: &str| row[field].as_i64();
    let deadline = row["deadline_ms"].as_u64().map(|millis| duration_text(Duration::from_millis(millis)));
    [
        number("max_concurrent").map(|max| format!("at most {max} at one time")),
        number("priority").filter(|priority| *priority != 0).map(|priority| format!("priority {priority}")),
        deadline.map(|deadline| format!("deadline {deadline}")),
        row["role"].as_str().map(|role| format!("role {role}")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn runs_of(flow: &str) -> Value {
    json!({"field": "flow_id", "op": "eq", "value": flow})
}

/// Executions of a flow, the newest first, without their documents.
async fn runs(engine: &Engine, flow: &str, limit: u32) -> Answer<Vec<Value>> {
    Ok(overview::rows(engine, runs_of(flow), "-created_at", limit).await?.0)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowQuery {
    range: Option<String>,
    #[serde(rename = "done")]
    _done: Option<String>,
}

#[derive(Template)]
#[template(path = "flow.html")]
struct Flow {
    frame: Frame,
    head: Head,
    limits: Vec<String>,
    project: String,
    runs: Vec<Run>,
    range: &'static str,
    outcomes: Bars,
    durations: Bars,
    /// When the plots were counted, where that was earlier.
    counted: Option<Moment>,
    connectors: Vec<Used>,
    dependents: Vec<Dependent>,
}

impl View for Flow {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// A connector that runs have called.
struct Used {
    name: String,
    /// Its page; none of a type without a stored configuration.
    path: Option<String>,
}

async fn show(
    InReach(engine): InReach,
    frame: Frame,
    InPath(key): InPath<String>,
    InQuery(query): InQuery<FlowQuery>,
) -> Answer<Response> {
    let head = Head::read(&engine, &key, &frame, "summary").await?;
    let range = RANGES.iter().find(|(name, ..)| Some(*name) == query.range.as_deref()).unwrap_or(&RANGES[2]);
    let past = engine.tally(runs_of(&head.id), range.2, overview::COLUMNS).await?;
    let (outcomes, durations) = overview::plots(&past);
    let counted = overview::earlier(&past, &frame);
    let newest = runs(&engine, &head.id, RUNS as u32).await?;
    let connectors = connectors(&engine, &newest).await?;
    let dependents = dependents(&engine, Kind::Flow, &head.row).await?;
    let project = match head.row["project_id"].as_str() {
        Some(id) => text(&engine.record(Kind::Project, id).await?, "name").to_owned(),
        None => String::new(),
    };
    Ok(page(&Flow {
        limits: limits(&head.row),
        project,
        runs: Run::all(&newest, frame.now),
        range: range.0,
        outcomes,
        durations,
        counted,
        connectors,
        dependents,
        head,
        frame,
    }))
}

/// The connectors that the newest runs have called, as far as the beginnings of their journals say.
async fn connectors(engine: &Engine, runs: &[Value]) -> Answer<Vec<Used>> {
    let mut named = BTreeSet::new();
    for run in runs.iter().take(JOURNALS) {
        let mut reader = engine.journal_from(text(run, "id"), JournalPlace::default());
        let records = reader.page(JOURNAL_ROWS).await?;
        let calls = records.iter().filter(|(record, _)| text(record, "kind") == "start_connection");
        named.extend(calls.map(|(record, _)| text(&record["args"], "connector").to_owned()));
    }
    let names: Vec<&str> = named.iter().map(String::as_str).collect();
    let filter = json!({"or": [
        {"field": "name", "op": "in", "value": names},
        {"field": "id", "op": "in", "value": names},
    ]});
    let call = QueryCall { kind: Kind::Connector.as_str().to_owned(), filter: Some(filter), ..QueryCall::default() };
    let known = if names.is_empty() { Vec::new() } else { engine.query(call).await?.rows };
    let used = named.iter().map(|name| {
        let is_it = |row: &&Value| row["name"] == name.as_str() || row["id"] == name.as_str();
        let found = known.iter().find(is_it);
        Used {
            name: found.map_or(name.as_str(), |row| text(row, "name")).to_owned(),
            path: found.map(|row| path_of(Kind::Connector, text(row, "id"))),
        }
    });
    Ok(used.collect())
}
