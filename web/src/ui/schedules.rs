//! Schedules: the list with what comes next, and one of them. The form that makes and changes one, and the calendar
//! of what comes, have modules of their own.

mod calendar;
mod edit;
mod times;

use std::collections::HashMap;

use askama::Template;
use axum::response::Response;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Explanation, Role, Times};

use super::commands::quoted;
use super::frame::{Frame, View, page};
use super::overview;
use super::record::{self, Done, Names, path_of};
use super::run::Run;
use super::table::{ListQuery, Listing};
use super::words::{Moment, Standing, text};
use crate::caller::InReach;
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::Answer;

pub(super) fn operations() -> Vec<Operation> {
    let own = vec![
        Operation::page("/ui/schedules", list).role(Role::Viewer),
        Operation::page("/ui/schedules/{key}", show).role(Role::Viewer),
    ];
    let shared = record::operations(Kind::Schedule);
    [own, edit::operations(), calendar::operations(), shared].into_iter().flatten().collect()
}

/// Runs of the short list, and times to come.
const RUNS: u32 = 10;
const TIMES: usize = 10;

/// The flow that the built-in scheduler is.
const BUILT_IN: &str = "native:cron";

#[derive(Template)]
#[template(path = "schedules.html")]
struct Schedules {
    frame: Frame,
    list: Listing,
    schedules: Vec<Row>,
}

impl View for Schedules {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// A row of the list.
struct Row {
    id: String,
    name: String,
    description: String,
    standing: Standing,
    /// Why it disabled itself.
    reason: String,
    is_enabled: bool,
    flow: String,
    /// When, in words.
    words: String,
    next: Option<Next>,
    may_enable: bool,
}

/// A time to come.
struct Next {
    /// On the clocks of the schedule's zone.
    local: Option<String>,
    at: Moment,
}

impl Next {
    fn all(explanation: &Explanation, frame: &Frame) -> Vec<Self> {
        let next = |named: &surefoot_engine::NamedTime| Self {
            local: Some(times::local(named)),
            at: Moment { at: named.utc.parse().ok(), now: frame.now },
        };
        explanation.times.iter().map(next).collect()
    }
}

/// What a schedule says about its times, as far as the built-in scheduler decides them.
enum When {
    BuiltIn {
        explanation: Explanation,
        setting: Value,
    },
    /// A flow decides.
    Own,
    /// There are no times, and why.
    Wrong(String),
}

impl When {
    async fn read(engine: &Engine, schedule: &Value, frame: &Frame, count: usize) -> Answer<Self> {
        if !is_built_in(engine, text(schedule, "scheduler_id")).await {
            return Ok(Self::Own);
        }
        let Some(key) = schedule["setting_id"].as_str() else {
            return Ok(Self::Wrong("it has no setting, which says when".to_owned()));
        };
        let setting = match engine.record(Kind::Setting, key).await {
            Ok(setting) => setting,
            Err(error) => return Ok(Self::Wrong(crate::problem::Problem::from(error).detail().to_owned())),
        };
        Ok(match Times::of_setting(&setting["value"]) {
            Ok(times) => Self::BuiltIn { explanation: times.explain(frame.now, count), setting },
            Err(error) => Self::Wrong(error.to_string()),
        })
    }
}

/// Whether times there are those of pages anyway.
fn is_utc(zone: &str) -> bool {
    zone == "UTC"
}

/// Whether a scheduler, by its name or id, is the one that is built in.
async fn is_built_in(engine: &Engine, scheduler: &str) -> bool {
    // One that is not there decides nothing.
    engine.record(Kind::Scheduler, scheduler).await.is_ok_and(|scheduler| scheduler["flow_id"] == BUILT_IN)
}

async fn list(InReach(engine): InReach, frame: Frame, InQuery(query): InQuery<ListQuery>) -> Answer<Response> {
    let list = Listing::read(&engine, Kind::Schedule, &query, None).await?;
    let names = Names::read(&engine, &[Kind::Flow]).await?;
    let waiting = waiting(&engine).await?;
    let mut schedules = Vec::new();
    for row in list.rows.iter().filter(|_| !list.trash) {
        let is_enabled = row["is_enabled"] == true;
        let (words, mut next) = match When::read(&engine, row, &frame, 1).await? {
            When::BuiltIn { explanation, .. } => {
                let next = Next::all(&explanation, &frame).into_iter().next();
                // Pages tell times in UTC anyway.
                let is_local = !is_utc(&explanation.time_zone);
                let next = next.map(|next| Next { local: next.local.filter(|_| is_local), ..next });
                (explanation.words, next)
            }
            When::Own => {
                let at = waiting.get(text(row, "id")).and_then(|at| at.parse().ok());
                let next = at.map(|at| Next { local: None, at: Moment { at: Some(at), now: frame.now } });
                (format!("As {} decides", text(row, "scheduler_id")), next)
            }
            When::Wrong(reason) => (reason, None),
        };
        if !is_enabled {
            next = None;
        }
        schedules.push(Row {
            id: text(row, "id").to_owned(),
            name: text(row, "name").to_owned(),
            description: text(row, "description").to_owned(),
            standing: Standing::of_enabled(is_enabled),
            reason: [text(row, "disabled_reason"), text(row, "last_error")].concat(),
            is_enabled,
            flow: names.of(Kind::Flow, text(row, "flow_id")).to_owned(),
            words,
            next,
            may_enable: frame.may_for("operator", row),
        });
    }
    Ok(page(&Schedules { frame, list, schedules }))
}

/// For when the iterations that have not begun are planned, by schedule.
async fn waiting(engine: &Engine) -> Answer<HashMap<String, String>> {
    let filter = json!({"field": "status", "op": "eq", "value": "SCHEDULED"});
    let (rows, _) = overview::rows(engine, filter, "scheduled_for", 1000).await?;
    let planned = rows.iter().map(|row| (text(row, "schedule_id").to_owned(), text(row, "scheduled_for").to_owned()));
    Ok(planned.collect())
}

#[derive(Template)]
#[template(path = "schedule.html")]
struct Schedule {
    frame: Frame,
    row: Value,
    standing: Standing,
    is_enabled: bool,
    may_enable: bool,
    may_edit: bool,
    flow: Named,
    scheduler: Named,
    setting: Option<Named>,
    project: String,
    when: When,
    next: Vec<Next>,
    /// What happens to times that are missed, and to runs that overlap.
    policies: Vec<String>,
    runs: Vec<Run>,
}

impl View for Schedule {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

impl Schedule {
    fn path(&self, below: &str) -> String {
        path_of(Kind::Schedule, text(&self.row, "id")) + below
    }

    fn word(&self) -> String {
        quoted(text(&self.row, "name"))
    }

    /// Why there are no times.
    fn trouble(&self) -> Option<&str> {
        match (&self.when, text(&self.row, "disabled_reason"), text(&self.row, "last_error")) {
            (When::Wrong(reason), ..) => Some(reason),
            (_, "", "") => None,
            (_, "", reason) | (_, reason, _) => Some(reason),
        }
    }

    /// When, in words, and in which zone.
    fn words(&self) -> Option<(&str, &str)> {
        match &self.when {
            When::BuiltIn { explanation, .. } => Some((&explanation.words, &explanation.time_zone)),
            When::Own | When::Wrong(_) => None,
        }
    }
}

/// A record that this one names.
struct Named {
    name: String,
    /// None of what has no page.
    path: Option<String>,
}

impl Named {
    async fn read(engine: &Engine, kind: Kind, key: &str) -> Self {
        let name = |name: &str, path| Self { name: name.to_owned(), path };
        match engine.record(kind, key).await {
            Ok(record) => name(text(&record, "name"), Some(path_of(kind, text(&record, "id")))),
            Err(_) => name(key, None),
        }
    }
}

async fn show(
    InReach(engine): InReach,
    frame: Frame,
    InPath(key): InPath<String>,
    InQuery(_): InQuery<Done>,
) -> Answer<Response> {
    let row = engine.record(Kind::Schedule, &key).await?;
    let when = When::read(&engine, &row, &frame, TIMES).await?;
    let (next, policies) = match &when {
        When::BuiltIn { explanation, setting } => (Next::all(explanation, &frame), times::policies(&setting["value"])),
        When::Own | When::Wrong(_) => (Vec::new(), Vec::new()),
    };
    let of_it = json!({"field": "schedule_id", "op": "eq", "value": row["id"]});
    let (runs, _) = overview::rows(&engine, of_it, "-created_at", RUNS).await?;
    let flow = Named::read(&engine, Kind::Flow, text(&row, "flow_id")).await;
    // There is no page of a scheduler.
    let scheduler = Named { path: None, ..Named::read(&engine, Kind::Scheduler, text(&row, "scheduler_id")).await };
    let setting = match row["setting_id"].as_str() {
        Some(key) => Some(Named::read(&engine, Kind::Setting, key).await),
        None => None,
    };
    let project = match row["project_id"].as_str() {
        Some(id) => text(&engine.record(Kind::Project, id).await?, "name").to_owned(),
        None => String::new(),
    };
    let is_enabled = row["is_enabled"] == true;
    Ok(page(&Schedule {
        standing: Standing::of_enabled(is_enabled),
        is_enabled,
        may_enable: frame.may_for("operator", &row),
        may_edit: frame.may_for("author", &row),
        flow,
        scheduler,
        setting,
        project,
        when,
        next,
        policies,
        runs: Run::all(&runs, frame.now),
        row,
        frame,
    }))
}
