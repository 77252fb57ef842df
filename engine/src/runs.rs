//! What a schedule of the built-in scheduler starts: one execution for each time, and what becomes of those that would
//! overlap. Everything here is part of a transaction of the writer.

use rusqlite::Connection;
use serde_json::json;

use crate::clock::Timestamp;
use crate::core::Core;
use crate::grant::Grant;
use crate::id;
use crate::people::Role;
use crate::planted::{Bug, is_planted};
use crate::query::Kind;
use crate::store::executions::{self, Execution, Key};
use crate::store::schedules::{self, ScheduleState};
use crate::store::{StoreError, StoreResult, records};
use crate::times::Overlap;

/// A run that is to start.
#[derive(Clone, Debug)]
pub(crate) struct RunRequest {
    /// The flow, by name or id.
    pub(crate) flow: String,
    /// The time that it is for.
    pub(crate) at: Timestamp,
    pub(crate) overlap: Overlap,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    /// The execution that runs, or ran, for that time.
    Started(String),
    /// Left out, because this execution had not ended.
    Skipped(String),
}

/// Starts the run, unless it must wait for another one: none then, and nothing is changed. Also the executions that
/// follow from it.
pub(crate) fn start(
    core: &Core,
    connection: &Connection,
    iteration: &Execution,
    request: &RunRequest,
) -> StoreResult<Option<(Ran, Vec<Key>)>> {
    let Some(schedule_id) = &iteration.schedule_id else {
        return Err(StoreError::invalid("`native:cron` is a scheduler: name it in a schedule, and enable that"));
    };
    let id = if is_planted(Bug::RunIdRandom) { core.new_id() } else { id::run_id(schedule_id, request.at) };
    if executions::key_of(connection, &id)?.is_some() {
        // Another iteration started it: the clock was set back, or the schedule was disabled and enabled again.
        return Ok(Some((Ran::Started(id), Vec::new())));
    }
    let mut woken = Vec::new();
    if request.overlap != Overlap::Allow {
        let unended = schedules::unended_runs(connection, schedule_id)?;
        match (request.overlap, unended.first()) {
            (Overlap::Queue, Some(_)) => return Ok(None),
            (Overlap::Skip, Some((_, id))) => return Ok(Some((Ran::Skipped(id.clone()), Vec::new()))),
            _ => {}
        }
        for (key, _) in unended {
            executions::request_cancel(connection, key)?;
            woken.push(key);
        }
    }
    let input = json!({"schedule_id": schedule_id, "scheduled_for": request.at.to_string()});
    let by = format!("execution {}", iteration.id);
    let grant = Grant::of_execution(&iteration.acts_as, Role::Operator);
    grant.check_start(connection, &request.flow, &input)?;
    let mut new = core.new_flow_execution(connection, id.clone(), &request.flow, input, &by, grant.rights())?;
    new.started.depth = iteration.depth + 1;
    new.parent_id = Some(iteration.id.clone());
    new.orphan = true;
    new.schedule_id = Some(schedule_id.clone());
    woken.push(executions::insert(connection, &new, core.now())?);
    Ok(Some((Ran::Started(id), woken)))
}

/// The iteration that waits for a run of its schedule to end, if there is one that may.
pub(crate) fn waiting_iteration(connection: &Connection, run: &Execution) -> StoreResult<Option<Key>> {
    let Some(schedule_id) = run.schedule_id.as_ref().filter(|_| !run.is_schedule) else { return Ok(None) };
    match schedules::state(connection, schedule_id)? {
        Some(state) => executions::key_of(connection, &state.execution_id),
        None => Ok(None),
    }
}

/// Disables the schedule of an iteration, which ends as it would have, if it is the live one.
pub(crate) fn retire(core: &Core, connection: &Connection, iteration: &Execution, reason: &str) -> StoreResult<()> {
    let Some(schedule_id) = &iteration.schedule_id else { return Ok(()) };
    let Some(state) = schedules::state(connection, schedule_id)?.filter(|state| state.execution_id == iteration.id)
    else {
        return Ok(());
    };
    let fields = json!({"is_enabled": false, "disabled_reason": reason});
    let stamp = core.stamp(&format!("execution {}", iteration.id));
    records::set_computed(connection, Kind::Schedule, schedule_id, &fields, &stamp)?;
    schedules::set_state(connection, schedule_id, &ScheduleState { execution_id: String::new(), ..state })
}
