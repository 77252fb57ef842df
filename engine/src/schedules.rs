//! Keeps one SCHEDULE execution alive for every enabled schedule.
//!
//! A scheduler runs once for each iteration. After success the next iteration begins in the transaction of the end;
//! after an error or cancel it waits, longer with each failure in a row. Only disabling or deleting the schedule ends
//! that, or the built-in scheduler when there are no more times.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::core::Core;
use crate::grant::Grant;
use crate::id;
use crate::journal::Status;
use crate::people::{ACTS_AS, Rights, Role};
use crate::query::Kind;
use crate::session::QueryCall;
use crate::store::executions::{self, Execution, ExecutionType, Finish, Key};
use crate::store::records::LAST_ERROR;
use crate::store::schedules::{self, ScheduleState};
use crate::store::writer::guarded;
use crate::store::{StoreError, StoreResult, records, restored};
use crate::times::Plan;

/// The longest wait after failures.
const DELAY_MAX: Duration = Duration::from_secs(3600);

/// The shortest time between the beginnings of two iterations: a scheduler that returns at once must not spin.
const ITERATION_MIN: Duration = Duration::from_secs(1);

/// What the record of a schedule says of an error, at most, characters.
const ERROR_MAX: usize = 500;

/// The fields of a schedule whose change begins a new iteration.
pub(crate) const TERMS: [&str; 4] = ["scheduler_id", "setting_id", "flow_id", "project_id"];

/// Brings the executions of a schedule in line with its record, which was just saved, where there was another one
/// before, or is about to be deleted. Returns the iteration that it begins.
pub(crate) fn reconcile(
    core: &Core,
    connection: &Connection,
    before: Option<&Value>,
    schedule: &Value,
) -> StoreResult<Option<Key>> {
    let schedule_id = schedule["id"].as_str().unwrap_or_default();
    let state = schedules::state(connection, schedule_id)?;
    let live = match &state {
        Some(state) if !state.execution_id.is_empty() => {
            executions::get(connection, &state.execution_id)?.filter(|(_, row)| row["ended_at"].is_null())
        }
        _ => None,
    };
    let enabled = schedule["is_enabled"] == true;
    let has_same_rights = before.is_none_or(|before| before[ACTS_AS] == schedule[ACTS_AS]);
    let has_same_terms = |row: &Value| TERMS.iter().all(|term| row["input"][term] == schedule[term]);
    let unchanged = live.as_ref().is_some_and(|(_, row)| has_same_rights && has_same_terms(row));
    if enabled && unchanged {
        if let Some((key, _)) = live {
            // Whoever enables a schedule that was restored lets its iteration go on too.
            restored::resume_one(connection, key)?;
        }
        return Ok(None);
    }
    if enabled {
        check_plan(core, connection, schedule)?;
    }
    let state = state.unwrap_or_default();
    begin_anew(core, connection, schedule, state, live.map(|(key, _)| key))
}

/// Ends the live iteration, and begins another if the schedule is enabled.
fn begin_anew(
    core: &Core,
    connection: &Connection,
    schedule: &Value,
    mut state: ScheduleState,
    live: Option<Key>,
) -> StoreResult<Option<Key>> {
    if let Some(key) = live {
        // No longer the live iteration, so its end begins no other.
        executions::request_cancel(connection, key)?;
    }
    state.errors = 0;
    state.execution_id.clear();
    schedules::set_state(connection, schedule["id"].as_str().unwrap_or_default(), &state)?;
    let enabled = schedule["is_enabled"] == true;
    enabled.then(|| begin_iteration(core, connection, schedule, state, None, Value::Null, false)).transpose()
}

/// A setting was saved. If its value is another one, the built-in scheduler begins anew with it, at once; one that it
/// cannot use is refused. Schedulers of users read their settings when they want to.
pub(crate) fn setting_saved(
    core: &Core,
    connection: &Connection,
    before: Option<&Value>,
    setting: &Value,
) -> StoreResult<()> {
    if before.is_some_and(|before| before["value"] == setting["value"]) {
        return Ok(());
    }
    for id in schedules::enabled_with(connection, Kind::Setting, setting)? {
        let schedule = records::require(connection, Kind::Schedule, &id)?;
        if !is_built_in(connection, &schedule)? {
            continue;
        }
        check_plan(core, connection, &schedule).map_err(|error| match error {
            StoreError::Refused(refusal) => {
                StoreError::invalid(format!("the enabled schedule {} has this setting: {refusal}", schedule["name"]))
            }
            error => error,
        })?;
        if let Some(state) = schedules::state(connection, &id)? {
            let live = executions::key_of(connection, &state.execution_id)?;
            begin_anew(core, connection, &schedule, state, live)?;
        }
    }
    Ok(())
}

/// Whether the schedule has the built-in scheduler.
pub(crate) fn is_built_in(connection: &Connection, schedule: &Value) -> StoreResult<bool> {
    let key = schedule["scheduler_id"].as_str().unwrap_or_default();
    let scheduler = records::get(connection, Kind::Scheduler, key)?;
    Ok(scheduler.is_some_and(|scheduler| scheduler["flow_id"] == "native:cron"))
}

/// The built-in scheduler would fail for ever without a setting that has a next time.
fn check_plan(core: &Core, connection: &Connection, schedule: &Value) -> StoreResult<()> {
    let key = schedule["scheduler_id"].as_str().unwrap_or_default();
    records::require(connection, Kind::Scheduler, key)?;
    if !is_built_in(connection, schedule)? {
        return Ok(());
    }
    let setting = match schedule["setting_id"].as_str() {
        Some(key) => records::require(connection, Kind::Setting, key)?,
        None => Value::Null,
    };
    let now = core.now();
    let next = Plan::parse(&setting["value"]).and_then(|plan| match plan.times.next(now) {
        Some(_) => Ok(()),
        None => Err(plan.times.nothing_after(now)),
    });
    next.map_err(|error| StoreError::invalid(error.to_string()))
}

/// A flow, setting, scheduler or project was made, restored or moved: enabled schedules that have it, and that stand
/// still or wait because something was wrong, begin anew at once.
pub(crate) fn go_on(core: &Core, connection: &Connection, kind: Kind, record: &Value) -> StoreResult<()> {
    for id in schedules::enabled_with(connection, kind, record)? {
        let state = schedules::state(connection, &id)?;
        let Some(schedule) = records::by_id(connection, Kind::Schedule, &id)? else { continue };
        let live = match &state {
            Some(state) => executions::get(connection, &state.execution_id)?,
            None => None,
        };
        let live = live.filter(|(_, row)| row["ended_at"].is_null());
        // One that waits for its first moment follows one that failed, or was cancelled.
        let is_waiting = |row: &Value| row["status"] == "QUEUED" && !schedule[LAST_ERROR].is_null();
        if live.as_ref().is_some_and(|(_, row)| !is_waiting(row)) {
            continue;
        }
        let state = state.unwrap_or_default();
        let begin = |connection: &Connection| {
            check_plan(core, connection, &schedule)?;
            begin_anew(core, connection, &schedule, state.clone(), live.map(|(key, _)| key))
        };
        settle(core, connection, &schedule, begin)?;
    }
    Ok(())
}

/// Lets an enabled schedule begin, and says in its record when it cannot.
fn settle(
    core: &Core,
    connection: &Connection,
    schedule: &Value,
    begin: impl FnOnce(&Connection) -> StoreResult<Option<Key>>,
) -> StoreResult<Option<Key>> {
    let id = schedule["id"].as_str().unwrap_or_default();
    match guarded(connection, begin) {
        Ok(None) => Ok(None),
        Ok(begun) => set_last_error(core, connection, id, None).map(|()| begun),
        Err(StoreError::Refused(refusal)) => {
            tracing::error!(schedule = %schedule["name"], %refusal, "an enabled schedule cannot run");
            let text = format!("the schedule has no next iteration: {refusal}");
            set_last_error(core, connection, id, Some(&text)).map(|()| None)
        }
        Err(failed) => Err(failed),
    }
}

/// Says in the record of a schedule what is wrong with it, or that nothing is any more.
pub(crate) fn set_last_error(core: &Core, connection: &Connection, id: &str, error: Option<&str>) -> StoreResult<()> {
    let Some(schedule) = records::by_id(connection, Kind::Schedule, id)? else { return Ok(()) };
    let error = error.map(|text| text.chars().take(ERROR_MAX).collect::<String>());
    if schedule[LAST_ERROR].as_str() == error.as_deref() {
        return Ok(());
    }
    records::set_computed(connection, Kind::Schedule, id, &json!({ LAST_ERROR: error }), &core.stamp("surefoot"))
}

/// At the opening of the workspace: begins an iteration for enabled schedules that have none, because something they
/// need was missing.
pub(crate) fn reconcile_all(core: &Core, connection: &Connection) -> StoreResult<Vec<Key>> {
    let filter = json!({"field": "is_enabled", "op": "eq", "value": true});
    let (mut begun, mut cursor) = (Vec::new(), None);
    loop {
        let call = QueryCall { kind: "schedule".into(), filter: Some(filter.clone()), cursor, ..QueryCall::default() };
        let page = records::list(connection, &call.parse()?)?;
        for schedule in page.rows {
            let begin = |connection: &Connection| reconcile(core, connection, None, &schedule);
            begun.extend(settle(core, connection, &schedule, begin)?);
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(begun),
        }
    }
}

/// In the transaction of an iteration's end: begins the next.
pub(crate) fn after_iteration(
    core: &Core,
    connection: &Connection,
    schedule_id: &str,
    ended: &Execution,
    finish: &Finish,
) -> StoreResult<Option<Key>> {
    let Some(mut state) = schedules::state(connection, schedule_id)? else {
        return Ok(None);
    };
    if state.execution_id != ended.id {
        return Ok(None);
    }
    state.execution_id.clear();
    let succeeded = finish.status == Status::EndedSuccess;
    state.errors = match finish.status {
        Status::EndedSuccess => 0,
        // Somebody wanted that: nothing is wrong.
        Status::EndedCancelled => state.errors,
        _ => state.errors + 1,
    };
    let schedule =
        records::get(connection, Kind::Schedule, schedule_id)?.filter(|schedule| schedule["is_enabled"] == true);
    let Some(schedule) = schedule else {
        schedules::set_state(connection, schedule_id, &state)?;
        return Ok(None);
    };
    let now = core.now();
    let not_before = if succeeded {
        // `created_at` may be ahead of a clock that was set back.
        let earliest = ended.created_at.min(now).after(ITERATION_MIN);
        (earliest > now).then_some(earliest)
    } else {
        let doublings = match finish.status {
            Status::EndedCancelled => 0,
            _ => u32::try_from(state.errors - 1).unwrap_or(u32::MAX).min(16),
        };
        Some(now.after(core.config.schedule_retry_delay.saturating_mul(1 << doublings).min(DELAY_MAX)))
    };
    match finish.status {
        Status::EndedSuccess => set_last_error(core, connection, schedule_id, None)?,
        Status::EndedError => set_last_error(core, connection, schedule_id, Some(&finish.message))?,
        _ => {}
    }
    // What was dealt with before a failure is dealt with after it.
    let previous = if succeeded { finish.output.clone() } else { ended.input["previous"].clone() };
    begin_iteration(core, connection, &schedule, state, not_before, previous, true).map(Some)
}

/// `is_next`: it follows one that has ended.
fn begin_iteration(
    core: &Core,
    connection: &Connection,
    schedule: &Value,
    mut state: ScheduleState,
    not_before: Option<Timestamp>,
    previous: Value,
    is_next: bool,
) -> StoreResult<Key> {
    let schedule_id = schedule["id"].as_str().unwrap_or_default();
    // What bears a name may be another record by now than the one that was named. Of the flow that is found out here
    // when the schedule begins; later when it is to be started, so that the iteration fails and says so.
    let grant = Grant::of_execution(&Rights::of_saved(schedule), Role::Operator);
    let scheduler = grant.scheduler(connection, schedule["scheduler_id"].as_str().unwrap_or_default())?;
    for (kind, field) in [(Kind::Flow, "flow_id"), (Kind::Setting, "setting_id"), (Kind::Project, "project_id")] {
        if let Some(key) = schedule[field].as_str().filter(|_| kind != Kind::Flow || !is_next) {
            grant.record(connection, kind, key)?;
        }
    }
    state.iteration += 1;
    state.execution_id = id::iteration_id(schedule_id, u64::try_from(state.iteration).unwrap_or(0));
    let mut input = json!({
        "schedule_id": schedule_id,
        "schedule_name": schedule["name"],
        "iteration": state.iteration,
        "previous": previous,
    });
    for term in TERMS {
        input[term] = schedule[term].clone();
    }
    let flow = scheduler["flow_id"].as_str().unwrap_or_default();
    let by = format!("schedule {schedule_id}");
    let mut new = core.new_flow_execution(connection, state.execution_id.clone(), flow, input, &by, grant.rights())?;
    new.ty = ExecutionType::Schedule;
    new.name = schedule["name"].as_str().unwrap_or_default().to_owned();
    new.schedule_id = Some(schedule_id.to_owned());
    new.begin_at(not_before);
    let key = executions::insert(connection, &new, core.now())?;
    schedules::set_state(connection, schedule_id, &state)?;
    Ok(key)
}

#[cfg(test)]
mod tests;
