//! The table of journals: rows of all executions in the order of their commits, each naming the one before it of the
//! same execution.
//!
//! A commit that serves many executions writes a few full pages at the table's end, not a page for each of them. A row
//! holds one record or more: what one execution queued for one commit.

mod onwards;

use std::collections::HashSet;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};
use serde::de::{DeserializeOwned, IgnoredAny};

use super::executions::Key;
use super::{StoreError, StoreResult};
use crate::journal::{DecodeError, Record, decode_row};

pub(crate) use onwards::Onwards;

/// The first row of the journal of an execution, with one record. Returns its number, which `active` is to have.
pub(crate) fn begin(connection: &Connection, key: Key, record: &Record) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("INSERT INTO journal (execution, previous, records) VALUES (?1, NULL, ?2)")?
        .execute(params![key.0, crate::journal::encode(record)])?;
    Ok(connection.last_insert_rowid())
}

/// Appends a row to the journal of an execution.
pub(crate) fn append_row(connection: &Connection, key: Key, row: &[u8]) -> rusqlite::Result<()> {
    let linked = connection
        .prepare_cached(
            "INSERT INTO journal (execution, previous, records)
             SELECT ?1, journal_tail, ?2 FROM active WHERE execution = ?1",
        )?
        .execute(params![key.0, row])?;
    let table = if linked == 1 {
        "UPDATE active SET journal_tail = ?2 WHERE execution = ?1"
    } else {
        // What a call brought back after its execution had ended.
        connection
            .prepare_cached(
                "INSERT INTO journal (execution, previous, records)
                 SELECT ?1, journal_tail, ?2 FROM executions WHERE rowid = ?1",
            )?
            .execute(params![key.0, row])?;
        "UPDATE executions SET journal_tail = ?2 WHERE rowid = ?1"
    };
    connection.prepare_cached(table)?.execute(params![key.0, connection.last_insert_rowid()])?;
    Ok(())
}

/// Appends a copy of a row of another journal to that of an execution that has not ended.
pub(crate) fn append_copy(connection: &Connection, key: Key, row: i64) -> StoreResult<()> {
    let copied = connection
        .prepare_cached(
            "INSERT INTO journal (execution, previous, records)
             SELECT active.execution, active.journal_tail, journal.records FROM active JOIN journal ON journal.id = ?2
             WHERE active.execution = ?1",
        )?
        .execute(params![key.0, row])?;
    if copied != 1 {
        return Err(missing(row));
    }
    connection
        .prepare_cached("UPDATE active SET journal_tail = ?2 WHERE execution = ?1")?
        .execute(params![key.0, connection.last_insert_rowid()])?;
    Ok(())
}

/// Appends one record to the journal of an execution, in a row of its own.
pub(crate) fn append(connection: &Connection, key: Key, record: &Record) -> rusqlite::Result<()> {
    append_row(connection, key, &crate::journal::encode(record))
}

/// The whole journal of an execution, in order.
pub(crate) fn read(connection: &Connection, key: Key) -> StoreResult<Vec<Record>> {
    let mut records = Vec::new();
    for id in row_ids(connection, key)? {
        read_row(connection, id, &mut records)?;
    }
    Ok(records)
}

/// The number of the last row of a journal.
pub(crate) fn tail(connection: &Connection, key: Key) -> StoreResult<Option<i64>> {
    let mut tail = connection.prepare_cached(
        "SELECT coalesce((SELECT journal_tail FROM active WHERE execution = ?1),
             (SELECT journal_tail FROM executions WHERE rowid = ?1))",
    )?;
    Ok(tail.query_row([key.0], |row| row.get(0))?)
}

/// Rows of others that are stepped over before the next row is searched for.
const STEPS_MAX: u32 = 4;

/// The numbers of the rows of a journal, in order.
pub(crate) fn row_ids(connection: &Connection, key: Key) -> StoreResult<Vec<i64>> {
    row_ids_since(connection, key, i64::MIN)
}

/// The numbers of the rows of a journal that are not below `since`, in order. Reads no others.
pub(crate) fn row_ids_since(connection: &Connection, key: Key, since: i64) -> StoreResult<Vec<i64>> {
    // The rows of an execution that worked alone stand side by side: a step is much cheaper than a search.
    let mut downwards =
        connection.prepare_cached("SELECT id, execution, previous FROM journal WHERE id <= ?1 ORDER BY id DESC")?;
    let mut next = tail(connection, key)?;
    let mut ids = Vec::new();
    while let Some(searched) = next.filter(|id| *id >= since) {
        let mut rows = downwards.query([searched])?;
        let mut steps = 0;
        while let Some(wanted) = next.filter(|id| *id >= since)
            && steps <= STEPS_MAX
        {
            let Some(row) = rows.next()? else { return Err(missing(wanted)) };
            let (id, execution): (i64, i64) = (row.get(0)?, row.get(1)?);
            if id > wanted {
                steps += 1;
                continue;
            }
            if (id, execution) != (wanted, key.0) {
                return Err(missing(wanted));
            }
            steps = 0;
            ids.push(id);
            next = row.get(2)?;
            if next.is_some_and(|next| next >= id) {
                return Err(StoreError::Damaged(format!("row {id} of the journal names a later one as its previous")));
            }
        }
    }
    ids.reverse();
    Ok(ids)
}

fn missing(id: i64) -> StoreError {
    StoreError::Damaged(format!("row {id} of the journal is missing"))
}

/// Numbers of the calls of a journal that began connections, and of those whose connections have ended.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub(crate) begun: HashSet<u32>,
    pub(crate) ended: HashSet<u32>,
}

/// The connections of a journal, which is read row by row.
pub(crate) fn connections(connection: &Connection, key: Key) -> StoreResult<Connections> {
    let (mut found, mut records) = (Connections::default(), Vec::<Record<IgnoredAny>>::new());
    for id in row_ids(connection, key)? {
        read_row(connection, id, &mut records)?;
        for record in records.drain(..) {
            match record {
                Record::Call { n, connection: Some(_), .. } => _ = found.begun.insert(n),
                Record::Settled { n, .. } => _ = found.ended.insert(n),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Adds the records of a row to `records`, with the arguments of calls as an `A`.
pub(crate) fn read_row<A: DeserializeOwned>(
    connection: &Connection,
    id: i64,
    records: &mut Vec<Record<A>>,
) -> StoreResult<()> {
    let mut statement = connection.prepare_cached("SELECT records FROM journal WHERE id = ?1")?;
    let mut rows = statement.query([id])?;
    let Some(row) = rows.next()? else {
        return Err(missing(id));
    };
    decode(row.get_ref(0)?, records)
}

fn decode<A: DeserializeOwned>(stored: ValueRef<'_>, records: &mut Vec<Record<A>>) -> StoreResult<()> {
    let bytes = stored.as_blob().map_err(|error| StoreError::Damaged(error.to_string()))?;
    decode_row(bytes, records).map_err(|error| match error {
        // Of a newer engine: left as it is, for that engine.
        DecodeError::Newer(_) => StoreError::Failed(error.to_string()),
        DecodeError::Damaged(_) => StoreError::Damaged(error.to_string()),
    })
}
