//! What ended long ago goes: to the trash, and out of the database. In steps that are small whatever there is.
//!
//! The tables say all: each [`step`] is one transaction that picks what goes next, or goes on with what is unfinished.
//! A [`Sweep`] is what is remembered between two steps, in memory only; without it a tree is begun anew. Nothing is
//! decided from memory: that a tree has ended is checked in the transaction that marks it, or before, because a tree
//! that has ended stays so.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::executions::Key;
use super::sizes::used_bytes;
use super::trash::{self, ChainEnd, ENTERING, INSIDE, LEAVING, PURGING};
use super::trees::{self, Budget, Purge, Purged, Walk};
use super::{StoreError, StoreResult};
use crate::clock::Timestamp;

/// What one step may do at leisure: 30 small trees, about 1 ms. Others wait for the transaction that it is part of.
pub(crate) const STEP_UNITS: u64 = 1000;

/// Which trees have to go, as of one pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The time of the pass.
    pub(crate) now: Timestamp,
    /// Trees that ended no later go to the trash.
    pub(crate) ended_by: Option<Timestamp>,
    /// What came into the trash no later goes for good.
    pub(crate) trashed_by: Option<Timestamp>,
    /// Bytes of the database in use, above which the oldest goes for good.
    pub(crate) bytes_max: Option<u64>,
    /// What one step may do: [`STEP_UNITS`], or more in a hurry.
    pub(crate) step_units: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    work: Option<Work>,
    /// How many executions there are above the limit, where there is one; negative below it. What leaves the trash
    /// counts again.
    excess: Option<i64>,
    /// Trees in the trash that cannot be purged at the moment.
    passed_over: HashSet<Key>,
    /// What was done so far, executions.
    pub(crate) done: Done,
}

impl Sweep {
    /// One that also lets executions go because there are too many, see [`Sweep::excess`].
    pub(crate) fn of_excess(excess: Option<i64>) -> Self {
        Self { excess, ..Self::default() }
    }

    /// What is under way is begun anew: others changed the trash.
    pub(crate) fn forget_work(&mut self) {
        self.work = None;
    }
}

/// How many executions were moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Into the trash.
    pub(crate) trashed: u64,
    /// Out of it.
    pub(crate) restored: u64,
    /// Out of the database.
    pub(crate) purged: u64,
}

#[derive(Debug)]
enum Work {
    /// Looking whether all of a tree has ended, and when.
    Verify { root: Root, latest: i64, walk: Walk },
    /// Marking or unmarking its members.
    Mark { root: Key, deleted_at: Option<i64>, walk: Walk },
    /// Deleting it.
    Purge(Purge),
}

#[derive(Clone, Debug)]
pub(super) struct Root {
    key: Key,
    id: String,
    /// It stands in the order of going by this time.
    pub(super) place: i64,
}

/// Does one step. False when nothing is left to do.
pub(crate) fn step(
    connection: &Connection,
    rules: &Rules,
    sweep: &mut Sweep,
    is_busy: &dyn Fn(Key) -> bool,
) -> StoreResult<bool> {
    let mut budget = Budget::new(rules.step_units);
    let mut known = Known::default();
    while !budget.is_spent() {
        let work = match sweep.work.take() {
            Some(work) => work,
            None => match pick(connection, rules, sweep, &mut known)? {
                Some(work) => work,
                None => return Ok(false),
            },
        };
        budget.spend(10);
        sweep.work = advance(connection, rules, sweep, work, &mut budget, is_busy)?;
    }
    Ok(true)
}

/// Whether a step would find something to do. For a reader: an empty step would be a write for nothing.
pub(crate) fn is_due(connection: &Connection, rules: &Rules, sweep: &Sweep) -> StoreResult<bool> {
    Ok(sweep.work.is_some() || pick(connection, rules, sweep, &mut Known::default())?.is_some())
}

/// What stays so within one transaction: what is unfinished when a tree is picked is unfinished from before.
#[derive(Default)]
struct Known {
    nothing_is_unfinished: bool,
    newest: Option<Option<Key>>,
}

/// What to do next: first what is unfinished, then what the rules say.
fn pick(connection: &Connection, rules: &Rules, sweep: &Sweep, known: &mut Known) -> StoreResult<Option<Work>> {
    let newest = match known.newest {
        Some(newest) => newest,
        None => *known.newest.insert(trees::newest_root(connection)?),
    };
    if !known.nothing_is_unfinished {
        if let Some(work) = pick_unfinished(connection, sweep, newest)? {
            return Ok(Some(work));
        }
        known.nothing_is_unfinished = true;
    }
    let purge = |by| -> StoreResult<Option<Work>> {
        let found = trashed(connection, INSIDE, by, &sweep.passed_over, newest)?;
        Ok(found.map(|(root, id, _)| Work::Purge(Purge::of(root, id))))
    };
    if let Some(by) = rules.trashed_by
        && let Some(work) = purge(by.0)?
    {
        return Ok(Some(work));
    }
    if let Some(by) = rules.ended_by
        && let Some(root) = oldest(connection, by.0.min(rules.now.0 - 1))?
    {
        return verify(root);
    }
    if sweep.excess > Some(0)
        && let Some(root) = oldest(connection, rules.now.0 - 1)?
    {
        return verify(root);
    }
    if rules.bytes_max.is_some_and(|max| used_bytes(connection).is_ok_and(|used| used > max)) {
        if let Some(work) = purge(i64::MAX)? {
            return Ok(Some(work));
        }
        if let Some(root) = oldest(connection, rules.now.0 - 1)? {
            return verify(root);
        }
    }
    Ok(None)
}

fn pick_unfinished(connection: &Connection, sweep: &Sweep, newest: Option<Key>) -> StoreResult<Option<Work>> {
    for (state, is_entering) in [(ENTERING, true), (LEAVING, false)] {
        if let Some((root, id, at)) = trashed(connection, state, i64::MAX, &HashSet::new(), None)? {
            let deleted_at = is_entering.then_some(at);
            return Ok(Some(Work::Mark { root, deleted_at, walk: Walk::below(&id) }));
        }
    }
    let purging = trashed(connection, PURGING, i64::MAX, &sweep.passed_over, newest)?;
    Ok(purging.map(|(root, id, _)| Work::Purge(Purge::of(root, id))))
}

fn verify(root: Root) -> StoreResult<Option<Work>> {
    let walk = Walk::below(&root.id);
    Ok(Some(Work::Verify { latest: root.place, walk, root }))
}

/// The first tree in the order of going that stands there by a time no later than `by`.
pub(super) fn oldest(connection: &Connection, by: i64) -> StoreResult<Option<Root>> {
    let mut statement = connection.prepare_cached(
        "SELECT rowid, id, coalesce(tree_ends_after, ended_at) FROM executions INDEXED BY executions_trees
         WHERE parent_id IS NULL AND ended_at IS NOT NULL AND deleted_at IS NULL
             AND coalesce(tree_ends_after, ended_at) <= ?1
         ORDER BY coalesce(tree_ends_after, ended_at) LIMIT 1",
    )?;
    let root = |row: &rusqlite::Row<'_>| Ok(Root { key: Key(row.get(0)?), id: row.get(1)?, place: row.get(2)? });
    Ok(statement.query_row([by], root).optional()?)
}

/// The tree that came into that state first, no later than `by`: root, its id, when.
fn trashed(
    connection: &Connection,
    state: i64,
    by: i64,
    passed_over: &HashSet<Key>,
    newest: Option<Key>,
) -> StoreResult<Option<(Key, String, i64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT root, (SELECT id FROM executions WHERE rowid = root), deleted_at FROM trash
         WHERE state = ?1 AND deleted_at <= ?2 ORDER BY deleted_at",
    )?;
    let mut rows = statement.query(params![state, by])?;
    while let Some(row) = rows.next()? {
        let root = Key(row.get(0)?);
        if !passed_over.contains(&root) && newest != Some(root) {
            return Ok(Some((root, row.get(1)?, row.get(2)?)));
        }
    }
    Ok(None)
}

/// Goes on with some work. Returns it while it is unfinished.
fn advance(
    connection: &Connection,
    rules: &Rules,
    sweep: &mut Sweep,
    work: Work,
    budget: &mut Budget,
    is_busy: &dyn Fn(Key) -> bool,
) -> StoreResult<Option<Work>> {
    match work {
        Work::Verify { root, latest, walk } => advance_verify(connection, rules, root, latest, walk, budget),
        Work::Mark { root, deleted_at, mut walk } => {
            let (count, finished) = trash::mark_members(connection, root, deleted_at, &mut walk, budget)?;
            let change = i64::try_from(count).unwrap_or(i64::MAX);
            match deleted_at {
                Some(_) => {
                    sweep.done.trashed += count;
                    sweep.excess = sweep.excess.map(|excess| excess.saturating_sub(change));
                }
                None => {
                    sweep.done.restored += count;
                    sweep.excess = sweep.excess.map(|excess| excess.saturating_add(change));
                }
            }
            Ok((!finished).then_some(Work::Mark { root, deleted_at, walk }))
        }
        Work::Purge(mut purge) => {
            let root = purge.root();
            let purged = match purge.advance(connection, budget, is_busy, &mut sweep.done.purged) {
                // Of one tree that cannot go: the others do.
                Err(StoreError::Damaged(reason)) => {
                    tracing::error!(%reason, "a tree is not deleted; see `surefoot doctor`");
                    Purged::Busy
                }
                purged => purged?,
            };
            if let Some(root) = root
                && purged != Purged::Whole
            {
                connection
                    .prepare_cached("UPDATE trash SET state = ?2 WHERE root = ?1 AND state <> ?2")?
                    .execute(params![root.0, PURGING])?;
            }
            match (purged, root) {
                (Purged::Part, _) => return Ok(Some(Work::Purge(purge))),
                (Purged::Busy, Some(root)) => drop(sweep.passed_over.insert(root)),
                _ => {}
            }
            Ok(None)
        }
    }
}

fn advance_verify(
    connection: &Connection,
    rules: &Rules,
    root: Root,
    mut latest: i64,
    mut walk: Walk,
    budget: &mut Budget,
) -> StoreResult<Option<Work>> {
    // The end of a tree with something unended in it will be later than now.
    let later = |place: i64| -> StoreResult<Option<Work>> {
        connection
            .prepare_cached("UPDATE executions SET tree_ends_after = ?2 WHERE rowid = ?1")?
            .execute(params![root.key.0, place])?;
        Ok(None)
    };
    loop {
        if budget.is_spent() {
            return Ok(Some(Work::Verify { root, latest, walk }));
        }
        let members = walk.next(connection, budget)?;
        if members.is_empty() {
            break;
        }
        for member in members {
            match member.ended_at {
                Some(ended_at) => latest = latest.max(ended_at),
                None => return later(rules.now.0),
            }
        }
    }
    match trash::end_of_chain(connection, &root.id)? {
        ChainEnd::Unended => return later(rules.now.0),
        ChainEnd::At(ended_at) => latest = latest.max(ended_at),
        ChainEnd::NotItsHead => {}
    }
    if latest > root.place {
        return later(latest);
    }
    connection.prepare_cached("INSERT INTO trash (root, state, deleted_at) VALUES (?1, ?2, ?3)")?.execute(params![
        root.key.0,
        ENTERING,
        rules.now.0
    ])?;
    Ok(Some(Work::Mark { root: root.key, deleted_at: Some(rules.now.0), walk: Walk::below(&root.id) }))
}

#[cfg(test)]
mod tests;
