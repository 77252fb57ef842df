//! What schedules would start in a period, without starting it.
//!
//! The times of the built-in scheduler follow from its setting. Any other scheduler is really run: in a workspace of
//! its own, made for this and removed after it, with copies of the records, without connectors, with a clock that jumps
//! from one time that something waits for to the next, and with flows that only say that they were started.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::{Clock, ManualClock, Timestamp};
use crate::core::Config;
use crate::engine::{Engine, EngineError, EngineResult, WriterMode, create_folder, io};
use crate::grant::Grant;
use crate::native::NativeFlow;
use crate::people::{Rights, Role};
use crate::query::{Kind, Query};
use crate::retention::Retention;
use crate::schedules::is_built_in;
use crate::session::{End, QueryCall, Session};
use crate::store::executions::{self, ActiveState};
use crate::store::places::Place;
use crate::store::{StoreError, StoreResult, records};
use crate::times::Plan;

/// Starts that are listed, at most. Where there are more, each schedule has its share.
const STARTS_MAX: usize = 10_000;

/// Jumps of the clock, at most.
const JUMPS_MAX: usize = 20_000;

/// How long running schedulers may really take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands for every flow that a scheduler starts.
const STAND_IN: &str = "native:stand-in";

/// What would happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DryRun {
    /// What would be started, in order of time.
    pub starts: Vec<Start>,
    /// Schedulers that would fail, and why.
    pub problems: Vec<Problem>,
    /// Schedules that would start more than is listed of them.
    pub cut: Vec<Cut>,
    /// Whether this is all: there is a limit on the number of starts, and on the time that a scheduler takes.
    pub is_complete: bool,
}

/// A schedule of which not every start is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Cut {
    /// Its name.
    pub schedule: String,
    /// How many of its starts are listed, the first ones.
    pub listed: usize,
    /// At least so many more there would be.
    pub more: usize,
}

/// One execution that would be started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Start {
    /// When, in UTC.
    pub at: String,
    /// By which schedule, its name.
    pub schedule: String,
    /// Which flow, its name.
    pub flow: String,
}

/// A scheduler that would fail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Problem {
    /// When, in UTC.
    pub at: String,
    /// Of which schedule, its name.
    pub schedule: String,
    /// Why.
    pub message: String,
}

impl Engine {
    /// What these schedules would start from `from` until `to`, whether they are enabled or not; without any, all that
    /// are enabled. Nothing that is under way is looked at: neither runs that would overlap nor times that were missed.
    ///
    /// # Errors
    /// When there is no such schedule, and when the period ends before it begins.
    pub async fn dry_run(&self, from: Timestamp, to: Timestamp, schedules: Vec<String>) -> EngineResult<DryRun> {
        if to < from {
            return Err(StoreError::invalid(format!("the period ends at {to}, before it begins at {from}")).into());
        }
        let grant = self.grant.clone();
        let (built_in, own) = self.read(move |_, connection| chosen(connection, &grant, &schedules)).await?;
        let mut found = DryRun { is_complete: true, ..DryRun::default() };
        let planned = self.read(move |_, connection| planned(connection, &built_in, from, to)).await?;
        found.add(planned);
        if !own.is_empty() {
            found.add(self.rehearse(own, from, to).await?);
        }
        found.starts.sort();
        found.problems.sort();
        found.share_out(STARTS_MAX);
        Ok(found)
    }

    /// Runs schedulers in a workspace of their own.
    async fn rehearse(&self, schedules: Vec<Value>, from: Timestamp, to: Timestamp) -> EngineResult<DryRun> {
        let folder = Folder(self.data().join("blobs/staging").join(format!("dry-run-{}", self.core.new_id())));
        create_folder(&folder.0)?;
        let copies = self.read(|_, connection| copies(connection)).await?;
        let clock = ManualClock::new(from);
        let mut config = Config::new(&folder.0);
        config.clock = Clock::Manual(clock.clone());
        config.limits = self.core.config.limits;
        config.schedule_retry_delay = self.core.config.schedule_retry_delay;
        config.idle_before_parking = Duration::ZERO;
        config.reserve_bytes = 0;
        config.retention = Retention { age: None, executions_max: None, bytes_max: None, ..Retention::default() };
        let stand_in: (String, Arc<dyn NativeFlow>) = ("stand-in".into(), Arc::new(StandIn));
        let engine = Engine::open_with(config, Vec::new(), vec![stand_in], WriterMode::Thread)?;
        let rehearsal = Rehearsal { engine, clock };
        let played = rehearsal.play(self, copies, schedules, to).await;
        rehearsal.engine.shutdown(Duration::from_secs(5)).await?;
        played
    }
}

impl DryRun {
    fn add(&mut self, other: Self) {
        self.starts.extend(other.starts);
        self.problems.extend(other.problems);
        self.is_complete &= other.is_complete;
    }

    /// Keeps the first starts of each schedule, `max` in all: one that starts much takes nothing from those that start
    /// little.
    fn share_out(&mut self, max: usize) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for start in &self.starts {
            *counts.entry(start.schedule.clone()).or_default() += 1;
        }
        let mut sizes: Vec<usize> = counts.values().copied().collect();
        sizes.sort_unstable();
        let (mut left, mut share) = (max, usize::MAX);
        for (index, size) in sizes.iter().enumerate() {
            let fair = left / (sizes.len() - index);
            if *size > fair {
                share = fair;
                break;
            }
            left -= size;
        }
        let mut kept: BTreeMap<String, usize> = BTreeMap::new();
        self.starts.retain(|start| {
            let of_it = kept.entry(start.schedule.clone()).or_default();
            *of_it += 1;
            *of_it <= share
        });
        let cut = counts.into_iter().filter(|(_, count)| *count > share);
        self.cut = cut.map(|(schedule, count)| Cut { schedule, listed: share, more: count - share }).collect();
        self.is_complete &= self.cut.is_empty();
    }
}

/// The schedules that were asked for: those of the built-in scheduler, and the others.
fn chosen(connection: &Connection, grant: &Grant, keys: &[String]) -> StoreResult<(Vec<Value>, Vec<Value>)> {
    let mut chosen = Vec::new();
    for key in keys {
        chosen.push(grant.record(connection, Kind::Schedule, key)?);
    }
    if keys.is_empty() {
        let filter = Some(json!({"field": "is_enabled", "op": "eq", "value": true}));
        let mut call = QueryCall { kind: "schedule".into(), filter, ..QueryCall::default() };
        loop {
            let page = records::list(connection, &Query { projects: grant.projects(), ..call.parse()? })?;
            chosen.extend(page.rows);
            call.cursor = page.next;
            if call.cursor.is_none() {
                break;
            }
        }
    }
    let (mut built_in, mut own) = (Vec::new(), Vec::new());
    for schedule in chosen {
        if is_built_in(connection, &schedule)? { built_in.push(schedule) } else { own.push(schedule) }
    }
    Ok((built_in, own))
}

/// What the built-in scheduler would start.
fn planned(connection: &Connection, schedules: &[Value], from: Timestamp, to: Timestamp) -> StoreResult<DryRun> {
    let mut found = DryRun { is_complete: true, ..DryRun::default() };
    for schedule in schedules {
        let name = text(schedule, "name");
        let setting = records::get(connection, Kind::Setting, &text(schedule, "setting_id"))?.unwrap_or_default();
        let plan = match Plan::parse(&setting["value"]) {
            Ok(plan) => plan,
            Err(error) => {
                let problem = Problem { at: from.to_string(), schedule: name, message: error.to_string() };
                found.problems.push(problem);
                continue;
            }
        };
        let flow = flow_name(connection, &text(schedule, "flow_id"))?;
        // `from` is part of the period.
        let first = plan.times.next(Timestamp(from.0.saturating_sub(1)));
        let times = std::iter::successors(first, |time| plan.times.next(*time)).take_while(|time| *time <= to);
        let start = |at: Timestamp| Start { at: at.to_string(), schedule: name.clone(), flow: flow.clone() };
        let before = found.starts.len();
        // One more than there may be tells that there are more.
        found.starts.extend(times.take(STARTS_MAX + 1).map(start));
        found.is_complete &= found.starts.len() - before <= STARTS_MAX;
    }
    Ok(found)
}

fn flow_name(connection: &Connection, key: &str) -> StoreResult<String> {
    Ok(records::get(connection, Kind::Flow, key)?.map_or_else(|| key.to_owned(), |flow| text(&flow, "name")))
}

fn text(record: &Value, field: &str) -> String {
    record[field].as_str().unwrap_or_default().to_owned()
}

/// A record as it is stored.
struct Stored {
    kind: String,
    id: String,
    name: String,
    data: String,
}

/// The records that a scheduler may ask for. Connectors, and what is in files, stay where they are.
fn copies(connection: &Connection) -> StoreResult<Vec<Stored>> {
    let mut statement = connection.prepare(
        "SELECT kind, id, name, data FROM records
         WHERE kind IN ('flow', 'project', 'schedule', 'scheduler', 'setting') AND deleted_at IS NULL",
    )?;
    let rows = statement
        .query_map([], |row| Ok(Stored { kind: row.get(0)?, id: row.get(1)?, name: row.get(2)?, data: row.get(3)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A workspace made for one dry run.
struct Rehearsal {
    engine: Engine,
    clock: Arc<ManualClock>,
}

impl Rehearsal {
    async fn play(
        &self,
        original: &Engine,
        copies: Vec<Stored>,
        schedules: Vec<Value>,
        to: Timestamp,
    ) -> EngineResult<DryRun> {
        let flows = self.copy(copies, &schedules).await?;
        for flow in flows {
            self.install(original, &flow).await?;
        }
        for schedule in &schedules {
            let fields = json!({"is_enabled": true}).as_object().cloned().unwrap_or_default();
            // As an operator does it: the schedule goes on to act as who saved it.
            let engine = self.engine.on_behalf(Rights::everywhere(Role::Operator), Role::Operator);
            engine.save(Kind::Schedule, &text(schedule, "id"), fields, "dry run").await?;
        }
        let is_complete = tokio::time::timeout(PATIENCE, self.jump(to)).await.unwrap_or(Ok(false))?;
        let mut found = self.engine.read(|_, connection| happened(connection)).await?;
        found.is_complete = is_complete;
        Ok(found)
    }

    /// Copies the records: no schedule is enabled, and nothing but the schedulers of these runs as what it is. Returns
    /// the versions of those.
    async fn copy(&self, copies: Vec<Stored>, schedules: &[Value]) -> EngineResult<Vec<String>> {
        let wanted: Vec<String> = schedules.iter().map(|schedule| text(schedule, "scheduler_id")).collect();
        let now = self.engine.now();
        let copy = move |connection: &Connection| {
            for copy in &copies {
                let sql = "INSERT OR REPLACE INTO records
                     (kind, id, name, revision, created_at, created_by, modified_at, modified_by, data)
                     VALUES (?1, ?2, ?3, 1, ?4, '', ?4, '', ?5)";
                connection.execute(sql, params![copy.kind, copy.id, copy.name, now.0, copy.data])?;
            }
            let mut kept = BTreeMap::new();
            for key in &wanted {
                let scheduler = records::require(connection, Kind::Scheduler, key)?;
                let flow = records::require(connection, Kind::Flow, &text(&scheduler, "flow_id"))?;
                kept.insert(text(&flow, "id"), text(&flow, "version"));
            }
            connection.execute_batch(&format!(
                "UPDATE records SET data = json_set(data, '$.version', '{STAND_IN}') WHERE kind = 'flow';
                 UPDATE records SET data = json_set(data, '$.is_enabled', json('false')) WHERE kind = 'schedule';"
            ))?;
            let restore = "UPDATE records SET data = json_set(data, '$.version', ?2) WHERE kind = 'flow' AND id = ?1";
            for (id, version) in &kept {
                connection.execute(restore, [id, version])?;
            }
            Ok(kept.into_values().filter(|version| !version.starts_with("native:")).collect())
        };
        self.engine.write(copy).await
    }

    /// Makes a component of the original workspace one of this.
    async fn install(&self, original: &Engine, version: &str) -> EngineResult<()> {
        let path = original.data().join("components").join(format!("{version}.wasm"));
        let core = self.engine.core.clone();
        let install = move || {
            let component = std::fs::read(&path).map_err(io("reading", &path))?;
            core.host.install(&component).map(drop).map_err(EngineError::from)
        };
        let installed = tokio::task::spawn_blocking(install).await;
        installed.map_err(|error| EngineError::Failed(error.to_string()))?
    }

    /// Moves the clock from one due time to the next until `to`. False when there are too many.
    async fn jump(&self, to: Timestamp) -> EngineResult<bool> {
        for _ in 0..JUMPS_MAX {
            match self.settled().await? {
                Some(due) if due <= to => self.clock.set(due),
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Waits until everything waits. Returns the next due time, if something has one.
    async fn settled(&self) -> EngineResult<Option<Timestamp>> {
        let mut changes = self.engine.changes();
        let mut was_quiet = false;
        loop {
            let (is_quiet, due) = self.engine.read(|core, connection| quiet(connection, core.now())).await?;
            // Twice: between the end of an execution and the waking of who waits for it nothing seems to be at work.
            if is_quiet && was_quiet && !self.engine.core.writer.has_work() {
                return Ok(due);
            }
            was_quiet = is_quiet;
            // A change that is not told is found by looking again.
            let _ = tokio::time::timeout(Duration::from_millis(2), changes.recv()).await;
        }
    }
}

/// Whether everything that has not ended waits, and until when.
fn quiet(connection: &Connection, now: Timestamp) -> StoreResult<(bool, Option<Timestamp>)> {
    let active = executions::active(connection)?;
    let waits = |one: &executions::Active| match (one.state, one.due) {
        _ if one.is_overdue(now) => false,
        _ if one.place == Some(Place::Awaited) => !one.cancel,
        (_, Some(due)) => due > now && !one.cancel,
        (ActiveState::Parked | ActiveState::Paused, None) => !one.cancel,
        _ => false,
    };
    Ok((active.iter().all(waits), active.iter().flat_map(|one| [one.due, one.deadline]).flatten().min()))
}

/// What the schedulers started, and which of them failed.
fn happened(connection: &Connection) -> StoreResult<DryRun> {
    let mut found = DryRun::default();
    let mut statement = connection.prepare(
        "SELECT coalesce(run.started_at, run.created_at), iteration.name, coalesce(flow.name, run.flow_id)
         FROM executions run JOIN executions iteration ON iteration.id = run.parent_id
         LEFT JOIN records flow ON flow.kind = 'flow' AND flow.id = run.flow_id
         WHERE iteration.type = 'SCHEDULE' AND run.version = ?1",
    )?;
    let starts = statement.query_map([STAND_IN], |row| {
        Ok(Start { at: Timestamp(row.get(0)?).to_string(), schedule: row.get(1)?, flow: row.get(2)? })
    })?;
    found.starts = starts.collect::<Result<_, _>>()?;
    let mut statement = connection.prepare(
        "SELECT ended_at, name, error_message FROM executions WHERE type = 'SCHEDULE' AND status = 'ENDED_ERROR'",
    )?;
    let problems = statement.query_map([], |row| {
        Ok(Problem { at: Timestamp(row.get(0)?).to_string(), schedule: row.get(1)?, message: row.get(2)? })
    })?;
    found.problems = problems.collect::<Result<_, _>>()?;
    Ok(found)
}

/// Ends at once.
struct StandIn;

#[async_trait]
impl NativeFlow for StandIn {
    async fn run(&self, _session: Arc<Session>, _input: Value) -> Result<Value, End> {
        Ok(Value::Null)
    }
}

/// A folder that goes with its owner. What a death of the process leaves is removed at the next start.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "what is left of a dry run cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_starts_much_takes_nothing_from_the_others() {
        let starts = |schedule: &str, count: usize| {
            let start = |second: usize| Start {
                at: Timestamp(second as i64 * 1_000_000).to_string(),
                schedule: schedule.to_owned(),
                flow: String::new(),
            };
            (0..count).map(start).collect::<Vec<_>>()
        };
        let shared = |max: usize, all: &[(&str, usize)]| {
            let starts = all.iter().flat_map(|(name, count)| starts(name, *count)).collect();
            let mut found = DryRun { starts, is_complete: true, ..DryRun::default() };
            found.starts.sort();
            found.share_out(max);
            let listed = |name: &str| found.starts.iter().filter(|start| start.schedule == name).count();
            let listed: Vec<_> = all.iter().map(|(name, _)| listed(name)).collect();
            let cut: Vec<_> = found.cut.iter().map(|cut| (cut.schedule.clone(), cut.listed, cut.more)).collect();
            (listed, cut, found.is_complete)
        };
        assert_eq!(shared(10, &[("a", 4), ("b", 6)]), (vec![4, 6], vec![], true));
        let cut = vec![("a".to_owned(), 5, 95), ("c".to_owned(), 5, 3)];
        assert_eq!(shared(12, &[("a", 100), ("b", 2), ("c", 8)]), (vec![5, 2, 5], cut, false));
        assert_eq!(shared(10, &[("a", 11)]).0, [10]);
    }
}
