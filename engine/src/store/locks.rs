//! Settings as locks: which execution holds one, who waits for it, who is next.
//!
//! All of it is part of the transaction that makes the call's entry, or ends the execution: a lock that becomes free is
//! given on in the same commit. Nobody looks whether it is free now and then, and none is lost in a crash. That two
//! executions hold one is refused by the database itself.

use rusqlite::{Connection, OptionalExtension, params};

use super::executions::Key;
use super::{Refusal, StoreError, StoreResult};
use crate::clock::Timestamp;
use crate::planted::{Bug, is_planted};

/// What the message of an execution that waits for a lock begins with.
const WAITS: &str = "waits for the lock";

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) key: Key,
    /// Of the execution.
    pub(crate) id: String,
    pub(crate) since: Timestamp,
}

/// A setting, as a lock.
#[derive(Clone, Debug)]
pub(crate) struct Lock {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// What came of asking for a lock.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    /// It is held.
    Held,
    /// It is waited for.
    Awaited,
    /// That one holds it, and nobody wants to wait.
    Busy(Holder),
    /// To wait would be for ever: what stands in the way.
    Deadlock(String),
}

/// What came of waiting for a lock.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It was given: the id of the setting.
    Given(String),
    /// Not yet.
    Waits,
    /// Not in time: the name of the setting, and who holds it.
    TimedOut(String, Option<Holder>),
    /// Somebody took it away before it was known that it was given.
    TakenAway,
}

/// Asks for a lock, or for one that the execution holds once more. `waits` says whether it is waited for.
pub(crate) fn acquire(
    connection: &Connection,
    lock: &Lock,
    key: Key,
    call: u32,
    now: Timestamp,
    waits: bool,
) -> StoreResult<Acquired> {
    let held = match holder(connection, &lock.id)? {
        Some(held) if held.key == key => {
            connection
                .prepare_cached("UPDATE locks SET depth = depth + 1 WHERE setting = ?1 AND execution = ?2")?
                .execute(params![lock.id, key.0])?;
            return Ok(Acquired::Held);
        }
        held => held,
    };
    if let Some(held) = &held {
        if !waits {
            return Ok(Acquired::Busy(held.clone()));
        }
        if let Some(way) = circle(connection, key, held)? {
            return Ok(Acquired::Deadlock(way));
        }
    }
    let waits = held.is_some();
    connection
        .prepare_cached(
            "INSERT INTO locks (setting, execution, place, call, depth, since, said)
             VALUES (?1, ?2, ?3, ?4, 1, ?5, coalesce((SELECT message FROM executions WHERE rowid = ?2), ''))",
        )?
        .execute(params![lock.id, key.0, !waits, call, now.0])?;
    if waits {
        show(connection, key, call)?;
        return Ok(Acquired::Awaited);
    }
    Ok(Acquired::Held)
}

/// Says of an execution what it waits for, if it does.
pub(crate) fn show(connection: &Connection, key: Key, call: u32) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE executions SET message = ?3 || ' `' || records.name || '`' FROM locks
             JOIN records ON records.kind = 'setting' AND records.id = locks.setting
             WHERE executions.rowid = ?1 AND locks.execution = ?1 AND locks.call = ?2 AND locks.place = 0",
        )?
        .execute(params![key.0, call, WAITS])?;
    Ok(())
}

/// The message is again what it was before the wait.
fn show_no_more(connection: &Connection, key: Key, said: &str) -> StoreResult<()> {
    connection
        .prepare_cached("UPDATE executions SET message = ?2 WHERE rowid = ?1 AND message LIKE ?3 || ' `%'")?
        .execute(params![key.0, said, WAITS])?;
    Ok(())
}

/// Who holds the lock with that id.
pub(crate) fn holder(connection: &Connection, setting: &str) -> StoreResult<Option<Holder>> {
    let mut statement = connection.prepare_cached(
        "SELECT locks.execution, coalesce(executions.id, ''), locks.since FROM locks
         LEFT JOIN executions ON executions.rowid = locks.execution WHERE setting = ?1 AND place = 1",
    )?;
    let read =
        |row: &rusqlite::Row<'_>| Ok(Holder { key: Key(row.get(0)?), id: row.get(1)?, since: Timestamp(row.get(2)?) });
    Ok(statement.query_row([setting], read).optional()?)
}

/// Why that holder waits, by way of others, for what `key` holds. An execution waits for one lock at a time, so there
/// is one way to follow; and since nobody begins to wait who would close it to a circle, it has an end.
fn circle(connection: &Connection, key: Key, held: &Holder) -> StoreResult<Option<String>> {
    let mut awaited = connection.prepare_cached(
        "SELECT setting, coalesce(records.name, setting) FROM locks
         LEFT JOIN records ON records.kind = 'setting' AND records.id = locks.setting
         WHERE execution = ?1 AND place = 0",
    )?;
    let (mut next, mut way) = (held.clone(), Vec::new());
    loop {
        let row = awaited.query_row([next.key.0], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
        let Some((setting, name)) = row.optional()? else { return Ok(None) };
        way.push(format!("execution {} waits for `{name}`", next.id));
        match holder(connection, &setting)? {
            Some(held) if held.key == key => return Ok(Some(way.join(", whose holder "))),
            Some(held) => next = held,
            None => return Ok(None),
        }
    }
}

/// Whether a wait is over, or may be.
pub(crate) fn is_decided(connection: &Connection, key: Key, call: u32) -> StoreResult<bool> {
    let mut statement =
        connection.prepare_cached("SELECT 1 FROM locks WHERE execution = ?1 AND call = ?2 AND place = 0")?;
    Ok(!statement.exists(params![key.0, call])?)
}

/// Ends the wait of call number `call`, if it is over.
pub(crate) fn conclude(connection: &Connection, key: Key, call: u32, timed_out: bool) -> StoreResult<Waited> {
    let mut statement = connection.prepare_cached(
        "SELECT locks.rowid, setting, place, said, coalesce(records.name, setting) FROM locks
         LEFT JOIN records ON records.kind = 'setting' AND records.id = locks.setting
         WHERE execution = ?1 AND call = ?2",
    )?;
    let row = statement.query_row(params![key.0, call], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, row.get(3)?, row.get(4)?))
    });
    let Some((rowid, setting, place, said, name)): Option<(_, _, _, String, String)> = row.optional()? else {
        return Ok(Waited::TakenAway);
    };
    if place > 0 || is_planted(Bug::LockTakenAtWaking) {
        return Ok(Waited::Given(setting));
    }
    if !timed_out {
        return Ok(Waited::Waits);
    }
    connection.prepare_cached("DELETE FROM locks WHERE rowid = ?1")?.execute([rowid])?;
    show_no_more(connection, key, &said)?;
    Ok(Waited::TimedOut(name, holder(connection, &setting)?))
}

/// Gives up a lock, or undoes one of several calls that asked for it. Returns who has it now, if somebody waited.
pub(crate) fn release(connection: &Connection, lock: &Lock, key: Key, now: Timestamp) -> StoreResult<Option<Key>> {
    let mut statement =
        connection.prepare_cached("SELECT depth FROM locks WHERE setting = ?1 AND execution = ?2 AND place > 0")?;
    let depth: Option<i64> = statement.query_row(params![lock.id, key.0], |row| row.get(0)).optional()?;
    match depth {
        None => {
            let others = match holder(connection, &lock.id)? {
                Some(other) => format!("execution {} does", other.id),
                None => "nobody does".to_owned(),
            };
            Err(StoreError::Refused(Refusal::Conflict(format!(
                "this execution does not hold the lock `{}`, {others}: it never locked it, has unlocked it already, \
                 or somebody took the lock away",
                lock.name
            ))))
        }
        Some(depth) if depth > 1 => {
            connection
                .prepare_cached("UPDATE locks SET depth = depth - 1 WHERE setting = ?1 AND execution = ?2")?
                .execute(params![lock.id, key.0])?;
            Ok(None)
        }
        Some(_) => {
            connection
                .prepare_cached("DELETE FROM locks WHERE setting = ?1 AND execution = ?2")?
                .execute(params![lock.id, key.0])?;
            give(connection, &lock.id, now)
        }
    }
}

/// Gives a lock that nobody holds to who has waited longest.
pub(crate) fn give(connection: &Connection, setting: &str, now: Timestamp) -> StoreResult<Option<Key>> {
    let mut first = connection.prepare_cached(
        "UPDATE locks SET place = ?3, since = ?2 WHERE rowid =
             (SELECT min(rowid) FROM locks WHERE setting = ?1 AND place = 0)
         RETURNING execution, said",
    )?;
    let mut to = |place: i64| {
        let row = first.query_row(params![setting, now.0, place], |row| Ok((Key(row.get(0)?), row.get(1)?)));
        StoreResult::Ok(row.optional()?)
    };
    let given: Option<(Key, String)> = to(1)?;
    if is_planted(Bug::LockGivenTwice) {
        to(2)?;
    }
    if let Some((key, said)) = &given {
        show_no_more(connection, *key, said)?;
    }
    Ok(given.map(|(key, _)| key))
}

/// At the end of an execution: gives up what it holds, and leaves every line. Returns who has something now.
pub(crate) fn release_all(connection: &Connection, key: Key, now: Timestamp) -> StoreResult<Vec<Key>> {
    let mut statement =
        connection.prepare_cached("DELETE FROM locks WHERE execution = ?1 RETURNING setting, place, rowid")?;
    let rows = statement.query_map([key.0], |row| Ok((row.get::<_, i64>(2)?, row.get(0)?, row.get::<_, i64>(1)?)))?;
    let mut left: Vec<(i64, String, i64)> = rows.collect::<Result<_, _>>()?;
    left.sort_unstable();
    let mut given = Vec::new();
    for (_, setting, _) in left.into_iter().filter(|(.., place)| *place > 0) {
        given.extend(give(connection, &setting, now)?);
    }
    Ok(given)
}

/// Takes a lock away from whoever holds it, and gives it on. None when nobody does.
pub(crate) fn take_away(
    connection: &Connection,
    lock: &Lock,
    now: Timestamp,
) -> StoreResult<Option<(Holder, Option<Key>)>> {
    let Some(held) = holder(connection, &lock.id)? else { return Ok(None) };
    connection.prepare_cached("DELETE FROM locks WHERE setting = ?1 AND place = 1")?.execute([&lock.id])?;
    Ok(Some((held, give(connection, &lock.id, now)?)))
}

/// The ids of the settings that an execution holds.
pub(crate) fn held(connection: &Connection, key: Key) -> StoreResult<Vec<String>> {
    let mut statement =
        connection.prepare_cached("SELECT setting FROM locks WHERE execution = ?1 AND place > 0 ORDER BY rowid")?;
    let rows = statement.query_map([key.0], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What an execution holds is held from now on by the one that takes its place.
pub(crate) fn move_all(connection: &Connection, from: Key, to: Key) -> StoreResult<()> {
    connection
        .prepare_cached("UPDATE locks SET execution = ?2, call = NULL, depth = 0 WHERE execution = ?1 AND place > 0")?
        .execute(params![from.0, to.0])?;
    Ok(())
}

/// Refuses to change a setting that another execution than `by` has locked.
pub(crate) fn check_change(connection: &Connection, lock: &Lock, by: Option<Key>) -> StoreResult<()> {
    match holder(connection, &lock.id)? {
        Some(held) if Some(held.key) != by => {
            let (name, Holder { id, since, .. }) = (&lock.name, held);
            Err(StoreError::Refused(Refusal::Conflict(format!(
                "setting `{name}` is locked by execution {id} since {since}: lock it first, wait until that one has \
                 ended, or take the lock away with `surefoot setting unlock {name}`"
            ))))
        }
        _ => Ok(()),
    }
}

/// Refuses to delete a setting that another execution than `by` has locked, or that somebody waits for. What `by` holds
/// goes with it.
pub(crate) fn check_delete(connection: &Connection, lock: &Lock, by: Option<Key>) -> StoreResult<()> {
    check_change(connection, lock, by)?;
    let waiting = waiting(connection, &lock.id)?;
    if waiting > 0 {
        let text = format!("setting `{}` cannot be deleted: {waiting} executions wait for its lock", lock.name);
        return Err(StoreError::Refused(Refusal::Conflict(text)));
    }
    connection.prepare_cached("DELETE FROM locks WHERE setting = ?1")?.execute([&lock.id])?;
    Ok(())
}

/// How many executions wait for a lock.
fn waiting(connection: &Connection, setting: &str) -> StoreResult<i64> {
    let mut statement = connection.prepare_cached("SELECT count(*) FROM locks WHERE setting = ?1 AND place = 0")?;
    Ok(statement.query_row([setting], |row| row.get(0))?)
}

/// Who holds a record of the table `records` as a lock, as users see it; null for nobody. `since` is a number.
pub(crate) const LOCKED_BY: &str = "(SELECT json_object('execution_id', executions.id, 'since', locks.since, 'waiters',
         (SELECT count(*) FROM locks AS others WHERE others.setting = records.id AND others.place = 0))
     FROM locks JOIN executions ON executions.rowid = locks.execution
     WHERE locks.setting = records.id AND locks.place = 1)";

impl Lock {
    /// The lock that a setting's record is.
    pub(crate) fn of(setting: &serde_json::Value) -> Self {
        let text = |field: &str| setting[field].as_str().unwrap_or_default().to_owned();
        Self { id: text("id"), name: text("name") }
    }
}
