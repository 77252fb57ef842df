//! What must hold when everything has ended.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use surefoot_connector_api::Sent;

use super::plan::Plan;
use super::script::{end_by, end_key};
use super::told;
use super::world::World;
use crate::clock::Timestamp;
use crate::engine::Engine;
use crate::id;
use crate::journal::{self, CallKind, Outcome, Record, Reply};
use crate::people::{Rights, Role};
use crate::store::{self, StoreResult, executions};

/// How much there was to find.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Findings {
    pub(super) calls: u32,
    pub(super) interrupted: u32,
    pub(super) writes: u32,
    pub(super) signals: u32,
    pub(super) continued: u32,
    pub(super) iterations: u32,
    pub(super) cancelled: u32,
    pub(super) restarted: u32,
    pub(super) overdue: u32,
    /// Locks that were got, of which some were waited for, and given up by a call.
    pub(super) locked: u32,
    pub(super) waited: u32,
    pub(super) unlocked: u32,
}

pub(super) struct Execution {
    pub(super) id: String,
    pub(super) row: Value,
    journal: Vec<Record>,
    /// Lines of its log that the guest wrote.
    lines: usize,
}

impl Execution {
    /// The id of the execution that made call number `n`.
    fn maker(&self, n: u32) -> &str {
        match self.journal.first() {
            Some(Record::Started(started)) => started.maker(&self.id, n),
            _ => &self.id,
        }
    }

    /// Whether call number `n` was taken over from another execution.
    fn has_taken_over(&self, n: u32) -> bool {
        self.maker(n) != self.id
    }
}

/// Ids and journals, as bytes.
pub(super) type Journals = Vec<(String, Vec<u8>)>;

pub(super) type Checked<T> = Result<T, String>;

macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
pub(super) use ensure;

/// Checks everything. Returns the journals as bytes, by id.
pub(super) fn check(
    engine: &Engine,
    world: &World,
    roots: &BTreeMap<u32, (String, Value)>,
    plan: &Plan,
) -> Checked<(Findings, Journals)> {
    let read = |connection: &Connection| -> StoreResult<_> {
        let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        let locks: u32 = connection.query_row("SELECT count(*) FROM locks", [], |row| row.get(0))?;
        Ok((sound, read_all(connection)?, signals(connection)?, told::read(connection)?, locks))
    };
    let (sound, all, signals, untold, locks) =
        engine.core.readers.read(read).map_err(|error| format!("the store is damaged: {error}"))?;
    ensure!(sound == "ok", "the database is damaged: {sound}");
    let mut findings = Findings::default();
    for execution in &all {
        well_formed(execution, &mut findings)?;
        ended_well(execution, world)?;
        effects_happened_once(execution, world, &mut findings)?;
        actions_happened(execution, &all, world)?;
        beginning_is_the_same(execution, &all)?;
        log_is_whole(execution, &all, world)?;
    }
    everything_is_explained(&all, roots)?;
    rights_are_handed_on(&all)?;
    nobody_else_called(&all, world)?;
    signals_agree(&all, &signals, world, &mut findings)?;
    ensure!(locks == 0, "nothing runs, and {locks} locks are held or waited for");
    locks_exclude(&all, world, &mut findings)?;
    iterations_follow(&all, plan, &mut findings)?;
    no_time_is_lost(&all, plan)?;
    if plan.with_notifications {
        told::check(&all, &untold)?;
    }
    let bytes = |one: &Execution| (one.id.clone(), one.journal.iter().flat_map(journal::encode).collect());
    Ok((findings, all.iter().map(bytes).collect()))
}

fn read_all(connection: &Connection) -> StoreResult<Vec<Execution>> {
    let mut statement = connection.prepare("SELECT id FROM executions ORDER BY created_at")?;
    let ids = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    let mut all = Vec::new();
    for id in ids {
        let (key, row) = executions::get(connection, &id)?.expect("listed above");
        let lines = store::logs::list(connection, key, None, u32::MAX)?;
        let lines = lines.iter().filter(|line| line.source == "log").count();
        all.push(Execution { id, row, journal: store::journal::read(connection, key)?, lines });
    }
    Ok(all)
}

/// Of each signal the execution that has it and the call that used it.
fn signals(connection: &Connection) -> StoreResult<BTreeMap<String, (String, Option<u32>)>> {
    let mut statement = connection.prepare(
        "SELECT signals.id, executions.id, used_by_call FROM signals
         JOIN executions ON executions.rowid = signals.execution",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Calls stand in order, each with at most one answer; each connection ends at most once; time does not go back.
fn well_formed(execution: &Execution, findings: &mut Findings) -> Checked<()> {
    let Execution { id, journal, .. } = execution;
    let (mut calls, mut answered, mut settled) = (0, HashSet::new(), HashSet::new());
    let mut clock = Timestamp(0);
    for (seq, record) in journal.iter().enumerate() {
        let at = match record {
            Record::Started(started) => {
                ensure!(seq == 0, "{id} starts twice");
                started.at
            }
            Record::Call { n, at, reply, .. } => {
                ensure!(*n == calls, "call {n} of {id} stands where {calls} belongs");
                calls += 1;
                ensure!(reply.is_none() || answered.insert(*n), "call {n} of {id} is answered twice");
                *at
            }
            Record::Reply { n, at, .. } => {
                ensure!(*n < calls, "call {n} of {id} is answered before it is made");
                ensure!(answered.insert(*n), "call {n} of {id} is answered twice");
                *at
            }
            Record::Settled { n, .. } => {
                ensure!(*n < calls, "connection {n} of {id} ends before it begins");
                ensure!(settled.insert(*n), "connection {n} of {id} ends twice");
                clock
            }
        };
        ensure!(at >= clock, "the time of {id} goes back from {clock} to {at}");
        clock = at;
    }
    findings.calls += calls;
    Ok(())
}

fn ended_well(execution: &Execution, world: &World) -> Checked<()> {
    let Execution { id, row, .. } = execution;
    let (status, code) = (row["status"].as_str().unwrap_or_default(), row["error_code"].as_str().unwrap_or_default());
    let fine = matches!((status, code), ("ENDED_SUCCESS", "") | ("ENDED_CANCELLED", _) | ("ENDED_ERROR", "stopped"))
        || (told::is_of_notify(row) && code == "interrupted");
    let fine = fine || (code == "deadline" && row["deadline"].is_string());
    ensure!(fine, "{id} ended with {status}: {}", row["error_message"]);
    if let Some(version) = world.version(id) {
        ensure!(row["version"] == version.as_str(), "{id} ran {version} and says {}", row["version"]);
    }
    Ok(())
}

/// Whether it was ended by others, wherever it was.
fn was_cut(execution: &Execution) -> bool {
    execution.row["status"] == "ENDED_CANCELLED" || execution.row["error_code"] == "deadline"
}

/// A write that is recorded as done was done once, an interrupted one at most once, one that was not sent never.
fn effects_happened_once(execution: &Execution, world: &World, findings: &mut Findings) -> Checked<()> {
    for record in &execution.journal {
        let Record::Call { n, connection: Some(start), .. } = record else { continue };
        // A notification knows its message, and not the connection.
        let is_message = told::is_of_notify(&execution.row);
        let id = if is_message { execution.id.clone() } else { id::connection_id(execution.maker(*n), *n) };
        let times = world.performed(&id);
        let outcome = execution.journal.iter().find_map(|record| match record {
            Record::Settled { n: of, outcome, .. } if of == n => Some(&**outcome),
            _ => None,
        });
        if start.effect != surefoot_connector_api::Effect::Write {
            ensure!(!matches!(outcome, Some(Outcome::Success(_))) || times > 0, "{id} succeeded and never happened");
            continue;
        }
        findings.writes += 1;
        let fine = match outcome {
            Some(Outcome::Interrupted) => {
                findings.interrupted += 1;
                times <= 1
            }
            Some(Outcome::Cancelled) => times == 0,
            Some(Outcome::Failed(error)) if error.sent == Sent::No => times == 0,
            Some(Outcome::Success(_) | Outcome::Failed(_)) if start.retry_on_interrupt => times >= 1,
            Some(Outcome::Success(_) | Outcome::Failed(_)) => times == 1,
            // Its execution was cancelled, and then the process died.
            None => times <= 1 || start.retry_on_interrupt,
        };
        ensure!(fine, "write {id} was performed {times} times and ended as {outcome:?}");
        ensure!(outcome.is_some() || was_cut(execution), "write {id} never ended");
    }
    Ok(())
}

/// What was to happen at the end did, once.
fn actions_happened(execution: &Execution, all: &[Execution], world: &World) -> Checked<()> {
    let mut last = execution;
    while let Some(next) = all.iter().find(|one| last.row["continued_as"] == one.id.as_str()) {
        last = next;
    }
    for record in &execution.journal {
        let Record::Call { n, kind: CallKind::OnEnd, .. } = record else { continue };
        let key = end_by(&end_key(execution.maker(*n), *n), &last.id);
        ensure!(world.has_fired(&key), "`{key}` never happened");
    }
    Ok(())
}

/// What was restarted from a call has the calls before it as they were, and how the connections ended that they began.
fn beginning_is_the_same(execution: &Execution, all: &[Execution]) -> Checked<()> {
    let Some(old) = all.iter().find(|one| execution.row["restarted_from"] == one.id.as_str()) else { return Ok(()) };
    let before = execution.row["restarted_from_call"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
    let calls = |one: &Execution| -> Vec<Record> {
        let is_of_calls = |record: &&Record| match record {
            Record::Call { n, .. } | Record::Reply { n, .. } => *n < before,
            Record::Started(_) | Record::Settled { .. } => false,
        };
        one.journal.iter().filter(is_of_calls).cloned().collect()
    };
    ensure!(calls(execution) == calls(old), "{} does not begin as {} did", execution.id, old.id);
    for record in old.journal.iter().filter(|record| matches!(record, Record::Settled { n, .. } if *n < before)) {
        ensure!(execution.journal.contains(record), "{} has not taken over {record:?} of {}", execution.id, old.id);
    }
    Ok(())
}

/// Each line that the guest logged is there, once. What was cancelled may have lost its last ones with its process; if
/// it was restarted, it may have taken over lines and come to an end before its guest came to them.
fn log_is_whole(execution: &Execution, all: &[Execution], world: &World) -> Checked<()> {
    let Execution { id, lines, .. } = execution;
    let logged = world.lines(id);
    let old = all.iter().find(|one| execution.row["restarted_from"] == one.id.as_str());
    let at_most = logged.max(old.map_or(0, |old| old.lines));
    let may_differ = was_cut(execution) && *lines <= at_most;
    ensure!(*lines == logged || may_differ, "{id} logged {logged} lines, and {lines} are there");
    Ok(())
}

/// Every execution was started by somebody, and whatever was started is there.
fn everything_is_explained(all: &[Execution], roots: &BTreeMap<u32, (String, Value)>) -> Checked<()> {
    let mut there: BTreeSet<&str> = all.iter().map(|execution| execution.id.as_str()).collect();
    ensure!(there.len() == all.len(), "an execution is there twice");
    for (key, (id, _)) in roots {
        ensure!(there.remove(id.as_str()), "the caller with key {key} was told {id}, which is not there");
    }
    let mut runs = BTreeSet::new();
    for execution in all {
        for record in &execution.journal {
            let (Record::Call { n, kind: CallKind::StartFlow, reply: Some(Reply::Id(child)), .. }
            | Record::Reply { n, reply: Reply::Id(child), .. }) = record
            else {
                continue;
            };
            if execution.has_taken_over(*n) {
                continue;
            }
            let is_run = execution.row["flow_id"] == "native:cron";
            let expected = if is_run { run_id(all, child) } else { id::child_id(&execution.id, *n) };
            ensure!(*child == expected, "{child} is not the id of child {n} of {}", execution.id);
            // Two iterations may name the same run.
            let is_there = there.remove(child.as_str()) || (is_run && runs.contains(child));
            ensure!(is_there, "child {n} of {} is not there", execution.id);
            runs.insert(child);
        }
        if let Some(next) = execution.row["continued_as"].as_str() {
            ensure!(there.remove(next), "{} was continued as {next}, which is not there", execution.id);
        }
        let of_end = |index| id::child_id(&format!("{}/end", execution.id), index);
        for index in (0..32).take_while(|index| all.iter().any(|one| one.id == of_end(*index))) {
            there.remove(of_end(index).as_str());
        }
        let is_restart = execution.row["restarted_from"].is_string();
        if execution.row["type"] == "SCHEDULE" || is_restart || told::is_explained(execution) {
            there.remove(execution.id.as_str());
        }
    }
    ensure!(there.is_empty(), "nobody started {there:?}");
    Ok(())
}

/// What is called for an execution is called after that is there for good.
fn nobody_else_called(all: &[Execution], world: &World) -> Checked<()> {
    let there: BTreeSet<&str> = all.iter().map(|one| one.id.as_str()).collect();
    for connection in world.all_performed() {
        let execution = id::parse_connection_id(&connection).map_or(connection.as_str(), |(parent, _)| parent);
        ensure!(there.contains(execution), "{connection} was performed for an execution that never came to be");
    }
    Ok(())
}

/// The rights of who starts what nothing else starts: enough for everything, and others than those of schedules.
pub(super) fn starter() -> Rights {
    Rights::new(Some(Role::Author), BTreeMap::from([("nowhere".to_owned(), Role::Viewer)]))
}

/// Who starts an execution gives it their rights, and it gives them on to what it starts and to what continues it.
fn rights_are_handed_on(all: &[Execution]) -> Checked<()> {
    let rights = |one: &Execution| match one.journal.first() {
        Some(Record::Started(started)) => Ok(started.acts_as.clone()),
        other => Err(format!("the journal of {} begins with {other:?}", one.id)),
    };
    for execution in all {
        let before = all.iter().find(|one| one.row["continued_as"] == execution.id.as_str());
        let parent = all.iter().find(|one| execution.row["parent_id"] == one.id.as_str());
        let expected = match before.or(parent) {
            Some(giver) => rights(giver)?,
            None if execution.row["type"] == "SCHEDULE" || told::is_of_notify(&execution.row) => {
                Rights::of_executions()
            }
            None => starter(),
        };
        ensure!(rights(execution)? == expected, "{} has other rights than it was given", execution.id);
    }
    Ok(())
}

/// The id that what a schedule started must have: of its schedule and its time.
fn run_id(all: &[Execution], id: &str) -> String {
    let run = all.iter().find(|one| one.id == id).map(|run| &run.row);
    let text = |field: &str| run.and_then(|run| run["input"][field].as_str()).unwrap_or_default();
    text("scheduled_for").parse().map_or_else(|_| "none".into(), |at| id::run_id(text("schedule_id"), at))
}

/// Signals that are used are used by the entries that name them; none is lost.
fn signals_agree(
    all: &[Execution],
    signals: &BTreeMap<String, (String, Option<u32>)>,
    world: &World,
    findings: &mut Findings,
) -> Checked<()> {
    let mut named = BTreeMap::new();
    for execution in all {
        for record in &execution.journal {
            let Record::Reply { n, reply: Reply::Signal(id, ..), .. } = record else { continue };
            if execution.has_taken_over(*n) {
                continue;
            }
            let other = named.insert(id.clone(), (execution.id.clone(), Some(*n)));
            ensure!(other.is_none(), "signal {id} was used twice");
        }
    }
    findings.signals += u32::try_from(named.len()).unwrap_or(u32::MAX);
    for (id, by) in signals.iter().filter(|(_, (_, call))| call.is_some()) {
        ensure!(
            named.get(id) == Some(by),
            "signal {id} says that it is used by {by:?}, the journal {:?}",
            named.get(id)
        );
    }
    for id in named.keys().chain(&world.told_signals()) {
        ensure!(signals.contains_key(id), "signal {id} is lost");
    }
    Ok(())
}

/// What was done under a lock outside was done by one holder after the other. A call that was under way when its
/// execution was cut goes on, and may do so when the next one has the lock.
fn locks_exclude(all: &[Execution], world: &World, findings: &mut Findings) -> Checked<()> {
    let cut: BTreeSet<&str> = all.iter().filter(|one| was_cut(one)).map(|one| one.id.as_str()).collect();
    for done in world.critical() {
        let mut holders: Vec<&str> = Vec::new();
        for critical in done.iter().filter(|critical| !cut.contains(critical.execution.as_str())) {
            if holders.last() != Some(&critical.since.as_str()) {
                ensure!(!holders.contains(&critical.since.as_str()), "two held a lock at one time: {done:?}");
                holders.push(&critical.since);
            }
        }
    }
    for record in all.iter().flat_map(|execution| &execution.journal) {
        match record {
            Record::Call { kind: CallKind::Lock, reply: Some(Reply::Json(_)), .. } => findings.locked += 1,
            Record::Call { kind: CallKind::Lock, reply: None, .. } => findings.waited += 1,
            Record::Call { kind: CallKind::Unlock, reply: Some(Reply::Json(_)), .. } => findings.unlocked += 1,
            _ => {}
        }
    }
    Ok(())
}

/// Each iteration of a schedule follows the one before, and gets what it returned.
fn iterations_follow(all: &[Execution], plan: &Plan, findings: &mut Findings) -> Checked<()> {
    let mut schedules: BTreeMap<&str, Vec<&Execution>> = BTreeMap::new();
    for execution in all.iter().filter(|execution| execution.row["type"] == "SCHEDULE") {
        schedules.entry(execution.row["schedule_id"].as_str().unwrap_or_default()).or_default().push(execution);
    }
    ensure!(schedules.len() == usize::from(plan.with_cron) + usize::from(plan.with_pacer), "a schedule never began");
    for iterations in schedules.values() {
        for (index, pair) in iterations.windows(2).enumerate() {
            let (before, after) = (&pair[0].row, &pair[1].row);
            ensure!(after["input"]["iteration"] == index + 2, "iteration {} is not {}", after["input"], index + 2);
            ensure!(before["status"] == "ENDED_SUCCESS", "an iteration ended as {before}");
            ensure!(after["input"]["previous"] == before["output"], "{after} does not follow {before}");
        }
        findings.iterations += u32::try_from(iterations.len()).unwrap_or(u32::MAX);
    }
    let count = |test: &dyn Fn(&Value) -> bool| all.iter().filter(|one| test(&one.row)).count();
    findings.continued += u32::try_from(count(&|row| row["continued_as"].is_string())).unwrap_or(u32::MAX);
    findings.cancelled += u32::try_from(count(&|row| row["status"] == "ENDED_CANCELLED")).unwrap_or(u32::MAX);
    findings.restarted += u32::try_from(count(&|row| row["restarted_from"].is_string())).unwrap_or(u32::MAX);
    findings.overdue += u32::try_from(count(&|row| row["error_code"] == "deadline")).unwrap_or(u32::MAX);
    Ok(())
}

/// Where every missed time is made up for, there is a run for each, however often the process died.
fn no_time_is_lost(all: &[Execution], plan: &Plan) -> Checked<()> {
    if plan.cron_setting()["missed"] != "run_all" {
        return Ok(());
    }
    let times = all.iter().filter_map(|one| one.row["input"]["scheduled_for"].as_str()?.parse::<Timestamp>().ok());
    let times: BTreeSet<Timestamp> = times.collect();
    for (time, next) in times.iter().zip(times.iter().skip(1)) {
        ensure!(next.since(*time) == Duration::from_secs(10), "nothing ran between {time} and {next}");
    }
    Ok(())
}

impl Findings {
    pub(super) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.interrupted += other.interrupted;
        self.writes += other.writes;
        self.signals += other.signals;
        self.continued += other.continued;
        self.iterations += other.iterations;
        self.cancelled += other.cancelled;
        self.restarted += other.restarted;
        self.overdue += other.overdue;
        self.locked += other.locked;
        self.waited += other.waited;
        self.unlocked += other.unlocked;
    }
}
