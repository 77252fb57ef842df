//! What names contents and components: records of files, journals, flows, versions, executions.
//!
//! A content is named by the records of files, those in the trash too, and by the journals that read it, which a replay
//! reads again. A component is named by flows, those in the trash too, by versions, and by executions.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};
use serde::de::IgnoredAny;

use super::executions::Key;
use super::{StoreResult, journal};
use crate::clock::Timestamp;
use crate::journal::Record;

/// What can be collected. Its number stands in the table `unnamed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Content = 0,
    Component = 1,
}

/// Notes that the journal of an execution reads a content, in the transaction that writes the journal.
pub(crate) fn note_read(connection: &Connection, key: Key, sha256: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO content_reads (execution, sha256) VALUES (?1, ?2)")?
        .execute(params![key.0, sha256])?;
    Ok(())
}

/// Executions whose journals one [`search`] reads at most.
const SEARCH_MAX: i64 = 50;

/// Whether there are journals that may read contents without a note of it.
pub(crate) fn is_unsearched(connection: &Connection) -> StoreResult<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT (SELECT value FROM meta WHERE key = 'reads_searched')
             < (SELECT value FROM meta WHERE key = 'reads_unsearched')",
    )?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// Reads from some journals which contents they read. Returns what to note, and up to which execution it is complete.
///
/// # Errors
/// When a journal cannot be read: then nobody knows what it needs.
pub(crate) fn search(connection: &Connection) -> StoreResult<(Vec<(Key, String)>, i64)> {
    let bound = |key: &str| {
        let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
        statement.query_row([key], |row| row.get::<_, i64>(0))
    };
    let (after, last) = (bound("reads_searched")?, bound("reads_unsearched")?);
    let mut statement = connection
        .prepare_cached("SELECT rowid FROM executions WHERE rowid > ?1 AND rowid <= ?2 ORDER BY rowid LIMIT ?3")?;
    let keys = statement
        .query_map(params![after, last, SEARCH_MAX], |row| row.get(0).map(Key))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut reads = Vec::new();
    for key in &keys {
        let mut records: Vec<Record<IgnoredAny>> = Vec::new();
        for row in journal::row_ids(connection, *key)? {
            journal::read_row(connection, row, &mut records)?;
            reads.extend(records.iter().filter_map(Record::content_read).map(|sha256| (*key, sha256.to_owned())));
            records.clear();
        }
    }
    reads.dedup();
    let complete = if (keys.len() as i64) < SEARCH_MAX { last } else { keys.last().map_or(last, |key| key.0) };
    Ok((reads, complete))
}

/// Stores what [`search`] found.
pub(crate) fn note_searched(connection: &Connection, reads: &[(Key, String)], complete: i64) -> StoreResult<()> {
    // An execution that was deleted meanwhile needs nothing any more.
    let mut note = connection.prepare_cached(
        "INSERT OR IGNORE INTO content_reads (execution, sha256) SELECT rowid, ?2 FROM executions WHERE rowid = ?1",
    )?;
    for (key, sha256) in reads {
        note.execute(params![key.0, sha256])?;
    }
    connection.execute("UPDATE meta SET value = ?1 WHERE key = 'reads_searched'", [complete])?;
    Ok(())
}

/// When contents and components were collected last.
pub(crate) fn collected_at(connection: &Connection) -> StoreResult<Timestamp> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = 'collected_at'")?;
    Ok(Timestamp(statement.query_row([], |row| row.get(0))?))
}

/// Notes that they have been collected.
pub(crate) fn set_collected_at(connection: &Connection, now: Timestamp) -> StoreResult<()> {
    connection.execute("UPDATE meta SET value = ?1 WHERE key = 'collected_at'", [now.0])?;
    Ok(())
}

/// Those of the contents that nothing names.
pub(crate) fn unnamed_contents(connection: &Connection, contents: &[String]) -> StoreResult<Vec<String>> {
    let mut named = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM records INDEXED BY records_content
                 WHERE kind = 'file' AND data ->> '$.sha256' = ?1)
             OR EXISTS (SELECT 1 FROM content_reads WHERE sha256 = ?1)",
    )?;
    let mut unnamed = Vec::new();
    for content in contents {
        if !named.query_row([content], |row| row.get::<_, bool>(0))? {
            unnamed.push(content.clone());
        }
    }
    Ok(unnamed)
}

/// Notes which of `looked_at` nothing names now, and returns those that nothing has named since `by`.
pub(crate) fn note_unnamed(
    connection: &Connection,
    sort: Sort,
    looked_at: &[String],
    unnamed: &[String],
    now: Timestamp,
    by: Timestamp,
) -> StoreResult<Vec<String>> {
    let mut forget = connection.prepare_cached("DELETE FROM unnamed WHERE kind = ?1 AND sha256 = ?2")?;
    let mut note = connection.prepare_cached(
        "INSERT INTO unnamed (kind, sha256, since) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET since = min(since, excluded.since) RETURNING since",
    )?;
    let still: BTreeSet<&String> = unnamed.iter().collect();
    let mut due = Vec::new();
    for digest in looked_at {
        if !still.contains(digest) {
            forget.execute(params![sort as i64, digest])?;
            continue;
        }
        let since: i64 = note.query_row(params![sort as i64, digest, now.0], |row| row.get(0))?;
        if since <= by.0 {
            due.push(digest.clone());
        }
    }
    Ok(due)
}

/// Whether one of them was noted as unnamed.
pub(crate) fn is_noted(connection: &Connection, sort: Sort, digests: &[String]) -> StoreResult<bool> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM unnamed WHERE kind = ?1 AND sha256 = ?2")?;
    for digest in digests {
        if statement.exists(params![sort as i64, digest])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Forgets that nothing names them, because they are about to be deleted.
pub(crate) fn forget_unnamed(connection: &Connection, sort: Sort, digests: &[String]) -> StoreResult<()> {
    let mut forget = connection.prepare_cached("DELETE FROM unnamed WHERE kind = ?1 AND sha256 = ?2")?;
    for digest in digests {
        forget.execute(params![sort as i64, digest])?;
    }
    Ok(())
}

/// Versions that may go when no execution names them: flow and digest. They are the present version of no flow, in the
/// trash or not, and were deployed no later than `by`, or their flow is gone.
pub(crate) fn superseded_versions(
    connection: &Connection,
    by: Option<Timestamp>,
) -> StoreResult<Vec<(String, String)>> {
    let mut statement = connection.prepare_cached(
        "SELECT flow_id, digest FROM versions LEFT JOIN records ON kind = 'flow' AND id = flow_id
         WHERE id IS NULL OR (deployed_at <= ?1 AND coalesce(data ->> '$.version', '') <> digest)",
    )?;
    let rows = statement.query_map([by.map(|by| by.0)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Those of the digests that neither a version nor a flow names.
pub(crate) fn unnamed_components(connection: &Connection, digests: &[String]) -> StoreResult<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT digest FROM versions UNION SELECT data ->> '$.version' FROM records
         WHERE kind = 'flow' AND data ->> '$.version' IS NOT NULL",
    )?;
    let named = statement.query_map([], |row| row.get(0))?.collect::<Result<BTreeSet<String>, _>>()?;
    Ok(digests.iter().filter(|digest| !named.contains(*digest)).cloned().collect())
}

/// Executions that one [`versions_after`] looks at.
const LOOK_MAX: u32 = 500;

/// The versions that the next executions after `key` name, whether they have ended or not; and the last of them, none
/// when there are no more.
pub(crate) fn versions_after(connection: &Connection, key: i64) -> StoreResult<(Vec<String>, Option<i64>)> {
    let mut statement = connection.prepare_cached(
        "SELECT version, max(rowid) FROM
             (SELECT rowid, version FROM executions WHERE rowid > ?1 ORDER BY rowid LIMIT ?2) GROUP BY version",
    )?;
    let rows = statement
        .query_map(params![key, LOOK_MAX], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    let last = rows.iter().map(|(_, last)| *last).max();
    Ok((rows.into_iter().map(|(version, _)| version).collect(), last))
}

/// Whether an execution after `key` names that version.
pub(crate) fn is_version_used_after(connection: &Connection, key: i64, digest: &str) -> StoreResult<bool> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM executions WHERE rowid > ?1 AND version = ?2")?;
    Ok(statement.exists(params![key, digest])?)
}

/// Deletes the version of a flow unless it is the present one again.
pub(crate) fn delete_version(connection: &Connection, flow_id: &str, digest: &str) -> StoreResult<()> {
    connection
        .prepare_cached(
            "DELETE FROM versions WHERE flow_id = ?1 AND digest = ?2 AND NOT EXISTS
                 (SELECT 1 FROM records WHERE kind = 'flow' AND id = ?1 AND data ->> '$.version' = ?2)",
        )?
        .execute([flow_id, digest])?;
    Ok(())
}
