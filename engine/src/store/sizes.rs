//! Numbers and sizes of what is in the database.

use std::path::Path;

use rusqlite::Connection;

use super::executions::ActiveState;
use super::trees::unsigned;
use super::{StoreResult, retention};

/// An upper bound of the number of executions, for nothing: from the first to the last.
pub(crate) fn numbers_span(connection: &Connection) -> StoreResult<u64> {
    let bound = |end: &str| {
        let mut statement = connection.prepare_cached(&format!("SELECT {end}(rowid) FROM executions"))?;
        statement.query_row([], |row| row.get::<_, Option<i64>>(0))
    };
    let (first, last) = (bound("min")?, bound("max")?);
    Ok(first.zip(last).map_or(0, |(first, last)| u64::try_from(last - first + 1).unwrap_or(0)))
}

/// The number of the newest execution.
pub(crate) fn newest_number(connection: &Connection) -> StoreResult<i64> {
    let mut statement = connection.prepare_cached("SELECT coalesce(max(rowid), 0) FROM executions")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// How many executions after that number, or all in all, stand outside of the trash; and the last number.
pub(crate) fn count_after(connection: &Connection, after: Option<i64>) -> StoreResult<(u64, i64)> {
    let newer = if after.is_some() { "rowid > ?1 AND" } else { "?1 IS NULL AND" };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT (SELECT count(*) FROM executions WHERE {newer} deleted_at IS NULL),
             (SELECT coalesce(max(rowid), 0) FROM executions)"
    ))?;
    Ok(statement.query_row([after], |row| Ok((unsigned(row, 0)?, row.get(1)?)))?)
}

/// How many executions have not ended.
pub(crate) fn count_active(connection: &Connection) -> StoreResult<u64> {
    Ok(connection.prepare_cached("SELECT count(*) FROM active")?.query_row([], |row| unsigned(row, 0))?)
}

/// How many executions have not ended, by their state.
pub(crate) fn count_active_by_state(connection: &Connection) -> StoreResult<Vec<(ActiveState, u64)>> {
    let mut statement = connection.prepare_cached("SELECT state, count(*) FROM active GROUP BY state")?;
    let rows = statement.query_map([], |row| Ok((ActiveState::from_number(row.get(0)?), unsigned(row, 1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many executions there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    pub(crate) all: u64,
    pub(crate) unended: u64,
    pub(crate) trashed: u64,
    /// By when the first tree stands in the order of going.
    pub(crate) oldest: Option<i64>,
}

/// Counts everything.
pub(crate) fn numbers(connection: &Connection) -> StoreResult<Numbers> {
    let mut statement = connection.prepare_cached(
        "SELECT (SELECT count(*) FROM executions), (SELECT count(*) FROM active),
             (SELECT count(*) FROM executions WHERE deleted_at IS NULL)",
    )?;
    let (all, unended, outside) =
        statement.query_row([], |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?, unsigned(row, 2)?)))?;
    let oldest = retention::oldest(connection, i64::MAX)?.map(|root| root.place);
    Ok(Numbers { all, unended, trashed: all.saturating_sub(outside), oldest })
}

/// Bytes of the database in use.
pub(crate) fn used_bytes(connection: &Connection) -> StoreResult<u64> {
    Ok(database_bytes(connection)?.used)
}

/// How large the database is, in bytes.
pub(crate) struct DatabaseBytes {
    pub(crate) all: u64,
    /// Without free pages.
    pub(crate) used: u64,
}

/// How large the database is, log included: its file may be shorter.
pub(crate) fn database_bytes(connection: &Connection) -> StoreResult<DatabaseBytes> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| unsigned(row, 0));
    let (pages, free, page_bytes) = (pragma("page_count")?, pragma("freelist_count")?, pragma("page_size")?);
    Ok(DatabaseBytes { all: pages * page_bytes, used: (pages - free) * page_bytes })
}

/// Pages that are free: of them, and of all.
pub(crate) fn free_pages(connection: &Connection) -> StoreResult<(u64, u64)> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| unsigned(row, 0));
    Ok((pragma("freelist_count")?, pragma("page_count")?))
}

/// Gives that many free pages at most back to the file system.
pub(crate) fn give_back(connection: &Connection, pages: u64) -> StoreResult<()> {
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    // Each of its steps gives back one page.
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Writes the log back into the database as far as nobody is in the way, which is what makes the file shorter. On a
/// connection of its own: neither the writer nor a reader waits for it.
pub(crate) fn write_back(path: &Path) -> StoreResult<()> {
    Ok(Connection::open(path)?.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
}
