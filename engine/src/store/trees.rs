//! Trees of executions: walking down one in pieces, and taking one out of the database piece by piece.
//!
//! A tree is an execution without a parent, its root, and all its descendants. It may have a million members, and one
//! member a journal of a million rows: nothing here does more in one call than its [`Budget`] allows, or one row.

use rusqlite::{Connection, OptionalExtension, params};

use super::executions::Key;
use super::{StoreError, StoreResult};

/// How much one step may still do. The unit is about the cost of reading one small row, 1 µs.
#[derive(Debug)]
pub(crate) struct Budget(u64);

/// Bytes of a row that cost one unit: a page.
const PAGE_BYTES: u64 = 4096;

impl Budget {
    pub(crate) fn new(units: u64) -> Self {
        Self(units)
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.0 == 0
    }

    pub(crate) fn spend(&mut self, units: u64) {
        self.0 = self.0.saturating_sub(units);
    }

    /// A row of so many bytes, written or deleted.
    fn spend_row(&mut self, units: u64, bytes: u64) {
        self.spend(units + bytes / PAGE_BYTES);
    }
}

/// A member of a tree.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) key: Key,
    pub(crate) id: String,
    pub(crate) created_at: i64,
    pub(crate) ended_at: Option<i64>,
    pub(crate) deleted_at: Option<i64>,
}

/// A walk over the descendants of an execution, parents first, that stops and goes on. Only of trees that have ended,
/// or as long as they have: in others children change their parents.
#[derive(Debug)]
pub(crate) struct Walk {
    /// Parents whose children are still to come: id, and `created_at` of the child that came last.
    parents: Vec<(String, i64)>,
}

/// Children that one piece of a walk has at most.
const PIECE_MAX: u32 = 100;

impl Walk {
    /// Below the execution with that id.
    pub(crate) fn below(id: &str) -> Self {
        Self { parents: vec![(id.to_owned(), i64::MIN)] }
    }

    /// The next members; none at all after the last.
    pub(crate) fn next(&mut self, connection: &Connection, budget: &mut Budget) -> StoreResult<Vec<Member>> {
        let mut statement = connection.prepare_cached(
            "SELECT rowid, id, created_at, ended_at, deleted_at FROM executions
             WHERE parent_id = ?1 AND created_at > ?2 ORDER BY created_at LIMIT ?3",
        )?;
        while let Some((parent, after)) = self.parents.pop() {
            let rows = statement.query_map(params![parent, after, PIECE_MAX], |row| {
                Ok(Member {
                    key: Key(row.get(0)?),
                    id: row.get(1)?,
                    created_at: row.get(2)?,
                    ended_at: row.get(3)?,
                    deleted_at: row.get(4)?,
                })
            })?;
            let children = rows.collect::<Result<Vec<_>, _>>()?;
            budget.spend(2 + 2 * children.len() as u64);
            let Some(last) = children.last() else { continue };
            if children.len() == PIECE_MAX as usize {
                self.parents.push((parent, last.created_at));
            }
            self.parents.extend(children.iter().map(|child| (child.id.clone(), i64::MIN)));
            return Ok(children);
        }
        Ok(Vec::new())
    }
}

/// The root of the tree that an execution belongs to, and that root's id.
pub(crate) fn root_of(connection: &Connection, key: Key) -> StoreResult<(Key, String)> {
    let mut up = connection.prepare_cached(
        "SELECT parent.rowid, parent.id FROM executions AS child
         JOIN executions AS parent ON parent.id = child.parent_id
         WHERE child.rowid = ?1",
    )?;
    let mut id = connection.prepare_cached("SELECT id FROM executions WHERE rowid = ?1")?;
    let mut found = (key, id.query_row([key.0], |row| row.get(0))?);
    while let Some(parent) = up.query_row([found.0.0], |row| Ok((Key(row.get(0)?), row.get(1)?))).optional()? {
        found = parent;
    }
    Ok(found)
}

/// The root of the newest execution. Its tree stays whatever its age: the row with the largest number is never deleted,
/// so that numbers are not used twice and the next `created_at` is later than all before.
pub(crate) fn newest_root(connection: &Connection) -> StoreResult<Option<Key>> {
    let newest: Option<i64> =
        connection.prepare_cached("SELECT max(rowid) FROM executions")?.query_row([], |row| row.get(0))?;
    newest.map(|newest| Ok(root_of(connection, Key(newest))?.0)).transpose()
}

/// Puts a member into the trash, or takes it out of there.
pub(crate) fn mark(connection: &Connection, key: Key, deleted_at: Option<i64>, budget: &mut Budget) -> StoreResult<()> {
    let bytes: u64 = connection
        .prepare_cached(
            "UPDATE executions SET deleted_at = ?2 WHERE rowid = ?1
             RETURNING octet_length(input) + octet_length(output)",
        )?
        .query_row(params![key.0, deleted_at], |row| unsigned(row, 0))?;
    budget.spend_row(10, bytes);
    Ok(())
}

/// A tree on its way out of the database, leaves first, so that what is left can always be found from its root.
#[derive(Debug)]
pub(crate) struct Purge {
    /// From the root down to where the work is.
    path: Vec<(Key, String)>,
}

/// How far a purge came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purged {
    /// The tree is gone.
    Whole,
    /// The budget is spent.
    Part,
    /// Something is still at work for a member; another time.
    Busy,
}

impl Purge {
    pub(crate) fn of(root: Key, id: String) -> Self {
        Self { path: vec![(root, id)] }
    }

    /// The tree's root; none when it is gone.
    pub(crate) fn root(&self) -> Option<Key> {
        self.path.first().map(|(key, _)| *key)
    }

    /// Goes on. Adds the executions that are gone to `gone`.
    pub(crate) fn advance(
        &mut self,
        connection: &Connection,
        budget: &mut Budget,
        is_busy: &dyn Fn(Key) -> bool,
        gone: &mut u64,
    ) -> StoreResult<Purged> {
        let mut child = connection
            .prepare_cached("SELECT rowid, id FROM executions WHERE parent_id = ?1 ORDER BY created_at LIMIT 1")?;
        while let Some((key, id)) = self.path.last() {
            if budget.is_spent() {
                return Ok(Purged::Part);
            }
            budget.spend(2);
            if let Some(child) = child.query_row([id], |row| Ok((Key(row.get(0)?), row.get(1)?))).optional()? {
                self.path.push(child);
                continue;
            }
            if is_busy(*key) {
                return Ok(Purged::Busy);
            }
            require_ended(connection, *key, id)?;
            if !delete_belongings(connection, *key, budget)? {
                return Ok(Purged::Part);
            }
            delete_row(connection, *key, id, self.path.len() == 1, budget)?;
            *gone += 1;
            self.path.pop();
        }
        Ok(Purged::Whole)
    }
}

/// The last line of defence: whatever led here, nothing that has not ended is deleted.
fn require_ended(connection: &Connection, key: Key, id: &str) -> StoreResult<()> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM executions WHERE rowid = ?1 AND ended_at IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM active WHERE execution = ?1)",
    )?;
    match statement.exists([key.0])? {
        true => Ok(()),
        false => Err(StoreError::Damaged(format!("execution {id} is in the trash and has not ended; it stays"))),
    }
}

/// Deletes what belongs to an execution. False when something is left because the budget is spent.
fn delete_belongings(connection: &Connection, key: Key, budget: &mut Budget) -> StoreResult<bool> {
    if !delete_journal(connection, key, budget)? {
        return Ok(false);
    }
    let all = delete_rest(connection, key, budget)?;
    if !all {
        connection.prepare_cached("UPDATE executions SET journal_tail = NULL WHERE rowid = ?1")?.execute([key.0])?;
    }
    Ok(all)
}

/// Logs, signals, approvals, what is known of reads, and the files that came with its start, in the trash or not.
fn delete_rest(connection: &Connection, key: Key, budget: &mut Budget) -> StoreResult<bool> {
    for (few, delete) in [
        (
            "SELECT call, line, octet_length(message) + octet_length(fields) FROM logs WHERE execution = ?1
             ORDER BY call, line LIMIT 100",
            "DELETE FROM logs WHERE execution = ?1 AND call = ?2 AND line = ?3",
        ),
        (
            "SELECT rowid, 0, octet_length(payload) FROM signals WHERE execution = ?1 LIMIT 100",
            "DELETE FROM signals WHERE execution = ?1 AND rowid = ?2 AND ?3 = 0",
        ),
        (
            "SELECT rowid, 0, octet_length(message) + coalesce(octet_length(schema), 0) FROM approvals
             WHERE execution = ?1 LIMIT 100",
            "DELETE FROM approvals WHERE execution = ?1 AND rowid = ?2 AND ?3 = 0",
        ),
        (
            "SELECT sha256, 0, 64 FROM content_reads WHERE execution = ?1 LIMIT 100",
            "DELETE FROM content_reads WHERE execution = ?1 AND sha256 = ?2 AND ?3 = 0",
        ),
        (
            // `/` is the sign after `.`: the ids between are those of the execution with a dot and a number.
            "SELECT rowid, 0, octet_length(data) FROM records WHERE kind = 'file'
                 AND id > (SELECT id || '.' FROM executions WHERE rowid = ?1)
                 AND id < (SELECT id || '/' FROM executions WHERE rowid = ?1)
             LIMIT 100",
            "DELETE FROM records WHERE ?1 > 0 AND rowid = ?2 AND ?3 = 0",
        ),
    ] {
        loop {
            let mut few = connection.prepare_cached(few)?;
            let rows = few.query_map([key.0], |row| {
                Ok((row.get::<_, rusqlite::types::Value>(0)?, row.get::<_, i64>(1)?, unsigned(row, 2)?))
            })?;
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            if rows.is_empty() {
                break;
            }
            let mut delete = connection.prepare_cached(delete)?;
            for (first, second, bytes) in rows {
                if budget.is_spent() {
                    return Ok(false);
                }
                delete.execute(params![key.0, first, second])?;
                budget.spend_row(2, bytes);
            }
        }
    }
    Ok(true)
}

/// Deletes a journal, the newest row first, as far as the budget goes. What is left is a journal whose end is missing.
fn delete_journal(connection: &Connection, key: Key, budget: &mut Budget) -> StoreResult<bool> {
    let mut tail: Option<i64> = connection
        .prepare_cached("SELECT journal_tail FROM executions WHERE rowid = ?1")?
        .query_row([key.0], |row| row.get(0))?;
    let mut delete = connection.prepare_cached(
        "DELETE FROM journal WHERE id = ?1 AND execution = ?2 RETURNING previous, octet_length(records)",
    )?;
    while let Some(id) = tail {
        if budget.is_spent() {
            connection
                .prepare_cached("UPDATE executions SET journal_tail = ?2 WHERE rowid = ?1")?
                .execute(params![key.0, id])?;
            return Ok(false);
        }
        let found = delete.query_row([id, key.0], |row| Ok((row.get(0)?, unsigned(row, 1)?))).optional()?;
        let (previous, bytes) = found.unwrap_or_else(|| {
            tracing::warn!(execution = key.0, row = id, "a row of a journal to be deleted is missing");
            (None, 0)
        });
        budget.spend_row(3, bytes);
        tail = previous;
    }
    Ok(true)
}

fn delete_row(connection: &Connection, key: Key, id: &str, is_root: bool, budget: &mut Budget) -> StoreResult<()> {
    // What continued as this one continues as what this one continued as: the first id of a chain keeps its meaning.
    connection
        .prepare_cached(
            "UPDATE executions SET continued_as = (SELECT continued_as FROM executions WHERE rowid = ?1)
             WHERE continued_as = ?2",
        )?
        .execute(params![key.0, id])?;
    if is_root {
        connection.prepare_cached("DELETE FROM trash WHERE root = ?1")?.execute([key.0])?;
    }
    let bytes: u64 = connection
        .prepare_cached("DELETE FROM executions WHERE rowid = ?1 RETURNING octet_length(input) + octet_length(output)")?
        .query_row([key.0], |row| unsigned(row, 0))?;
    budget.spend_row(25, bytes);
    Ok(())
}

/// A count or a size: SQLite's numbers have a sign, these have none.
pub(super) fn unsigned(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(index)?).unwrap_or(0))
}
