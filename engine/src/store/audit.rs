//! The oldest entries of the audit log, which go.

use rusqlite::Connection;

use super::StoreResult;
use super::trees::unsigned;
use crate::clock::Timestamp;

/// When the oldest entry was written.
pub(crate) fn oldest(connection: &Connection) -> StoreResult<Option<Timestamp>> {
    let mut statement = connection.prepare_cached("SELECT min(created_at) FROM audit")?;
    Ok(statement.query_row([], |row| row.get::<_, Option<i64>>(0))?.map(Timestamp))
}

/// How many entries were written no later.
pub(crate) fn count(connection: &Connection, until: Timestamp) -> StoreResult<u64> {
    let mut statement = connection.prepare_cached("SELECT count(*) FROM audit WHERE created_at <= ?1")?;
    Ok(statement.query_row([until.0], |row| unsigned(row, 0))?)
}

/// Deletes so many entries at most that were written no later, the oldest first. Returns how many.
pub(crate) fn delete(connection: &Connection, until: Timestamp, max: usize) -> StoreResult<usize> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM audit WHERE rowid IN (
             SELECT rowid FROM audit WHERE created_at <= ?1 ORDER BY created_at, id LIMIT ?2)",
    )?;
    Ok(statement.execute((until.0, i64::try_from(max).unwrap_or(i64::MAX)))?)
}
