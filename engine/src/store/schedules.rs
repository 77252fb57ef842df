//! The live iteration of each enabled schedule, and the versions of flows.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::StoreResult;
use super::executions::Key;
use crate::clock::Timestamp;

/// Which iteration of a schedule is alive.
#[derive(Clone, Debug, PartialEq)]
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

/// Ids of the enabled schedules that have a setting, which they name by id or by name.
pub(crate) fn enabled_with_setting(connection: &Connection, setting: &Value) -> StoreResult<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT id FROM records WHERE kind = 'schedule' AND data ->> '$.setting_id' IN (?1, ?2) AND deleted_at IS NULL
             AND data ->> '$.is_enabled' ORDER BY rowid",
    )?;
    let ids = statement.query_map([setting["id"].as_str(), setting["name"].as_str()], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Iterations that have not ended, of the schedules that have a setting.
pub(crate) fn unended_with_setting(connection: &Connection, setting_id: &str) -> StoreResult<Vec<Key>> {
    let mut statement = connection.prepare_cached(
        "SELECT executions.rowid FROM records setting
         JOIN records schedule
             ON schedule.kind = 'schedule' AND schedule.data ->> '$.setting_id' IN (setting.id, setting.name)
         JOIN executions ON executions.schedule_id = schedule.id
         WHERE setting.kind = 'setting' AND setting.id = ?1 AND executions.ended_at IS NULL
             AND executions.type = 'SCHEDULE'",
    )?;
    let keys = statement.query_map([setting_id], |row| row.get(0).map(Key))?.collect::<Result<Vec<_>, _>>()?;
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
