//! The live iteration of each enabled schedule, and the versions of flows.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::executions::Key;
use super::{StoreResult, places};
use crate::clock::Timestamp;
use crate::query::Kind;

/// Which iteration of a schedule is alive.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ScheduleState {
    pub(crate) iteration: i64,
    /// Iterations in a row that did not succeed.
    pub(crate) errors: i64,
    pub(crate) execution_id: String,
}

pub(crate) fn state(connection: &Connection, schedule_id: &str) -> StoreResult<Option<ScheduleState>> {
    let mut statement = connection
        .prepare_cached("SELECT iteration, errors, execution_id FROM schedule_states WHERE schedule_id = ?1")?;
    Ok(statement
        .query_row([schedule_id], |row| {
            Ok(ScheduleState { iteration: row.get(0)?, errors: row.get(1)?, execution_id: row.get(2)? })
        })
        .optional()?)
}

pub(crate) fn set_state(connection: &Connection, schedule_id: &str, state: &ScheduleState) -> StoreResult<()> {
    connection.prepare_cached("INSERT OR REPLACE INTO schedule_states VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        schedule_id,
        state.iteration,
        state.errors,
        state.execution_id
    ])?;
    Ok(())
}

/// Iterations of a schedule that have not ended.
pub(crate) fn unended(connection: &Connection, schedule_id: &str) -> StoreResult<Vec<Key>> {
    let mut statement = connection.prepare_cached(
        "SELECT rowid FROM executions WHERE schedule_id = ?1 AND ended_at IS NULL AND type = 'SCHEDULE'",
    )?;
    let keys = statement.query_map([schedule_id], |row| row.get(0).map(Key))?.collect::<Result<Vec<_>, _>>()?;
    Ok(keys)
}

/// What a schedule started and has not ended, the oldest first: numbers and ids.
pub(crate) fn unended_runs(connection: &Connection, schedule_id: &str) -> StoreResult<Vec<(Key, String)>> {
    let mut statement = connection.prepare_cached(
        "SELECT rowid, id FROM executions WHERE schedule_id = ?1 AND ended_at IS NULL AND type = 'FLOW' ORDER BY rowid",
    )?;
    let runs = statement.query_map([schedule_id], |row| Ok((Key(row.get(0)?), row.get(1)?)))?;
    Ok(runs.collect::<Result<_, _>>()?)
}

/// The field by which schedules name records of a kind, if they do.
fn term(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Flow => Some("flow_id"),
        Kind::Setting => Some("setting_id"),
        Kind::Scheduler => Some("scheduler_id"),
        Kind::Project => Some("project_id"),
        _ => None,
    }
}

/// Ids of the enabled schedules that have this flow, setting, scheduler or project, which they name by id or by name.
pub(crate) fn enabled_with(connection: &Connection, kind: Kind, record: &Value) -> StoreResult<Vec<String>> {
    let Some(term) = term(kind) else { return Ok(Vec::new()) };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id FROM records WHERE kind = 'schedule' AND data ->> '$.{term}' IN (?1, ?2) AND deleted_at IS NULL
             AND data ->> '$.is_enabled' ORDER BY rowid"
    ))?;
    let ids = statement.query_map([record["id"].as_str(), record["name"].as_str()], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Whether anything follows for executions from a change of a record of that kind.
pub(crate) fn may_concern(kind: Kind) -> bool {
    kind == Kind::Schedule || term(kind).is_some()
}

/// Executions that a change of a record concerns: iterations of a schedule, or of the schedules that have it, and what
/// waits for a place of a flow.
pub(crate) fn concerned(connection: &Connection, kind: Kind, id: &str) -> StoreResult<Vec<Key>> {
    let mut keys = match kind {
        Kind::Schedule => return unended(connection, id),
        Kind::Flow => places::holders(connection, id)?,
        _ => Vec::new(),
    };
    let Some(term) = term(kind) else { return Ok(keys) };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT executions.rowid FROM records named
         JOIN records schedule
             ON schedule.kind = 'schedule' AND schedule.data ->> '$.{term}' IN (named.id, named.name)
         JOIN executions ON executions.schedule_id = schedule.id
         WHERE named.kind = ?1 AND named.id = ?2 AND executions.ended_at IS NULL AND executions.type = 'SCHEDULE'"
    ))?;
    for key in statement.query_map([kind.as_str(), id], |row| row.get(0).map(Key))? {
        keys.push(key?);
    }
    Ok(keys)
}

/// Adds a version of a flow. The same one again changes nothing.
pub(crate) fn add_version(
    connection: &Connection,
    flow_id: &str,
    digest: &str,
    size_bytes: u64,
    now: Timestamp,
    who: &str,
) -> StoreResult<()> {
    connection.prepare_cached("INSERT OR IGNORE INTO versions VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        flow_id,
        digest,
        i64::try_from(size_bytes).unwrap_or(i64::MAX),
        now.0,
        who
    ])?;
    Ok(())
}

/// Versions of a flow, newest first: digest, size in bytes, when, by whom.
pub(crate) fn versions(connection: &Connection, flow_id: &str) -> StoreResult<Vec<(String, i64, Timestamp, String)>> {
    let mut statement = connection.prepare_cached(
        "SELECT digest, size_bytes, deployed_at, deployed_by FROM versions WHERE flow_id = ?1 ORDER BY \
             deployed_at DESC",
    )?;
    let rows = statement
        .query_map([flow_id], |row| Ok((row.get(0)?, row.get(1)?, Timestamp(row.get(2)?), row.get(3)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(rows)
}
