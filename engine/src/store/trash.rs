//! The trash: trees on their way into it and back, by a user's wish or by the rules of [`retention`](super::retention).
//!
//! A tree is in the trash as a whole. Its root is marked last and named by the table `trash` first, so that what a
//! crash leaves half done is found.

use rusqlite::{Connection, OptionalExtension, params};

use super::executions::{self, Key};
use super::trees::{self, Budget, Walk};
use super::{Refusal, StoreError, StoreResult};
use crate::clock::Timestamp;

/// States in the table `trash`.
pub(super) const ENTERING: i64 = 0;
pub(super) const INSIDE: i64 = 1;
pub(super) const LEAVING: i64 = 2;
pub(super) const PURGING: i64 = 3;

/// Puts the tree of a root into the trash, or out of the database, because a user says so. What is more than a step is
/// left to the next ones. The caller knows from [`require_ended`] that the tree has ended. False when it is not there.
pub(crate) fn delete(
    connection: &Connection,
    id: &str,
    permanently: bool,
    now: Timestamp,
    step_units: u64,
) -> StoreResult<bool> {
    let Some(key) = executions::key_of(connection, id)? else {
        return Ok(false);
    };
    require_root(connection, key, id)?;
    let state = state_of(connection, key)?;
    if state.is_some() && !permanently {
        return Ok(false);
    }
    if state.is_none() {
        connection
            .prepare_cached("INSERT INTO trash (root, state, deleted_at) VALUES (?1, ?2, ?3)")?
            .execute(params![key.0, ENTERING, now.0])?;
    }
    let mut budget = Budget::new(step_units);
    if permanently {
        // No restore from here on. The steps do the rest: whether something is still at work is theirs to know.
        connection.prepare_cached("UPDATE trash SET state = ?2 WHERE root = ?1")?.execute(params![key.0, PURGING])?;
        mark_members_of_purged(connection, key, id, now, &mut budget)?;
    } else {
        mark_members(connection, key, Some(now.0), &mut Walk::below(id), &mut budget)?;
    }
    Ok(true)
}

/// So that lists show as few as possible of what is about to go.
fn mark_members_of_purged(
    connection: &Connection,
    root: Key,
    id: &str,
    now: Timestamp,
    budget: &mut Budget,
) -> StoreResult<()> {
    trees::mark(connection, root, Some(now.0), budget)?;
    let mut walk = Walk::below(id);
    while !budget.is_spent() {
        let members = walk.next(connection, budget)?;
        if members.is_empty() {
            break;
        }
        for member in members.iter().filter(|member| member.deleted_at.is_none()) {
            trees::mark(connection, member.key, Some(now.0), budget)?;
        }
    }
    Ok(())
}

/// Takes the tree of a root out of the trash. It counts as if it had ended now.
pub(crate) fn restore(connection: &Connection, id: &str, now: Timestamp, step_units: u64) -> StoreResult<()> {
    let absent =
        || StoreError::Refused(Refusal::NotFound(format!("there is no execution with id `{id}` in the trash")));
    let key = executions::key_of(connection, id)?.ok_or_else(absent)?;
    require_root(connection, key, id)?;
    match state_of(connection, key)? {
        None | Some(LEAVING) => return Err(absent()),
        Some(PURGING) => {
            return Err(StoreError::Refused(Refusal::Conflict(format!(
                "execution {id} is being deleted for good and cannot be restored"
            ))));
        }
        Some(_) => {}
    }
    connection
        .prepare_cached("UPDATE executions SET tree_ends_after = ?2 WHERE rowid = ?1")?
        .execute(params![key.0, now.0])?;
    connection.prepare_cached("UPDATE trash SET state = ?2 WHERE root = ?1")?.execute(params![key.0, LEAVING])?;
    mark_members(connection, key, None, &mut Walk::below(id), &mut Budget::new(step_units))?;
    Ok(())
}

/// Whether an execution is in the trash or on its way, with the tree that it belongs to.
pub(crate) fn holds(connection: &Connection, key: Key) -> StoreResult<bool> {
    Ok(state_of(connection, trees::root_of(connection, key)?.0)?.is_some())
}

/// Whether that is the root of a tree that was deleted for good. Its rows may stay for a while: the newest of all does
/// until there is a newer one, and what is still at work until it has ended.
pub(crate) fn is_being_purged(connection: &Connection, id: &str) -> StoreResult<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM executions JOIN trash ON trash.root = executions.rowid WHERE executions.id = ?1 AND state = ?2",
    )?;
    Ok(statement.exists(params![id, PURGING])?)
}

fn state_of(connection: &Connection, root: Key) -> StoreResult<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT state FROM trash WHERE root = ?1")?;
    Ok(statement.query_row([root.0], |row| row.get(0)).optional()?)
}

fn require_root(connection: &Connection, key: Key, id: &str) -> StoreResult<()> {
    let (root, root_id) = trees::root_of(connection, key)?;
    if root == key {
        return Ok(());
    }
    Err(StoreError::Refused(Refusal::Conflict(format!(
        "execution {id} belongs to the tree of {root_id}; only whole trees come and go"
    ))))
}

/// Refuses when something in the tree of a root has not ended. It reads the whole tree: for a reader. What it finds out
/// stays so, since what has ended starts nothing.
pub(crate) fn require_ended(connection: &Connection, id: &str) -> StoreResult<()> {
    let unended = |unended: &str| {
        let text = format!("execution {unended} has not ended; cancel it, or wait for its end");
        Err(StoreError::Refused(Refusal::Conflict(text)))
    };
    let mut root = connection.prepare_cached("SELECT 1 FROM executions WHERE id = ?1 AND ended_at IS NULL")?;
    if root.exists([id])? {
        return unended(id);
    }
    let (mut walk, mut budget) = (Walk::below(id), Budget::new(0));
    loop {
        let members = walk.next(connection, &mut budget)?;
        if members.is_empty() {
            break;
        }
        if let Some(member) = members.iter().find(|member| member.ended_at.is_none()) {
            return unended(&member.id);
        }
    }
    match end_of_chain(connection, id)? {
        ChainEnd::Unended => unended(&executions::last_of_chain(connection, id)?),
        ChainEnd::At(_) | ChainEnd::NotItsHead => Ok(()),
    }
}

/// Marks or unmarks the rest of a tree, its root last. Returns how many, and whether that was all.
pub(super) fn mark_members(
    connection: &Connection,
    root: Key,
    deleted_at: Option<i64>,
    walk: &mut Walk,
    budget: &mut Budget,
) -> StoreResult<(u64, bool)> {
    let mut count = 0;
    loop {
        if budget.is_spent() {
            return Ok((count, false));
        }
        let members = walk.next(connection, budget)?;
        if members.is_empty() {
            break;
        }
        // After a crash the walk begins anew, over members that have their mark.
        for member in members.iter().filter(|member| member.deleted_at.is_some() != deleted_at.is_some()) {
            trees::mark(connection, member.key, deleted_at, budget)?;
            count += 1;
        }
    }
    trees::mark(connection, root, deleted_at, budget)?;
    match deleted_at {
        Some(_) => connection
            .prepare_cached("UPDATE trash SET state = ?2 WHERE root = ?1")?
            .execute(params![root.0, INSIDE])?,
        None => connection.prepare_cached("DELETE FROM trash WHERE root = ?1")?.execute([root.0])?,
    };
    Ok((count + 1, true))
}

pub(super) enum ChainEnd {
    /// It continued as nothing, or something continued as it.
    NotItsHead,
    Unended,
    At(i64),
}

/// The first of a chain of executions that each continued as the next stays until the last has ended, because its id
/// is how others know the chain. The ones between go by themselves.
pub(super) fn end_of_chain(connection: &Connection, id: &str) -> StoreResult<ChainEnd> {
    let mut is_head = connection.prepare_cached(
        "SELECT 1 FROM executions AS head WHERE id = ?1 AND continued_as IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM executions WHERE continued_as = head.id)",
    )?;
    if !is_head.exists([id])? {
        return Ok(ChainEnd::NotItsHead);
    }
    let last = executions::last_of_chain(connection, id)?;
    let ended_at: Option<i64> = connection
        .prepare_cached("SELECT ended_at FROM executions WHERE id = ?1")?
        .query_row([last], |row| row.get(0))?;
    Ok(ended_at.map_or(ChainEnd::Unended, ChainEnd::At))
}
