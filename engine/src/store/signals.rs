//! Signals: durable when they are sent, buffered until a wait takes them. One that answers a question
//! (see [`approvals`](super::approvals)) is for the wait for that answer alone.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

use super::executions::Key;
use super::{Refusal, StoreError, StoreResult};
use crate::clock::Timestamp;
use crate::people::{Role, Sender};
use crate::planted::{Bug, is_planted};

/// A signal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Signal {
    pub(crate) id: String,
    pub(crate) payload: Value,
    pub(crate) sender: Sender,
}

/// Stores a signal, perhaps one that answers a question. The same one again changes nothing; its id for anything else
/// is refused.
pub(crate) fn insert(
    connection: &Connection,
    key: Key,
    name: &str,
    signal: &Signal,
    approval: Option<&str>,
    now: Timestamp,
) -> StoreResult<()> {
    let Signal { id, payload, sender } = signal;
    let role = sender.role.map(Role::as_str);
    let stored = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO signals (id, execution, name, payload, sender, sent_at, role, approval)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![id, key.0, name, payload.to_string(), sender.who, now.0, role, approval])?;
    if stored == 1 {
        return Ok(());
    }
    let same = connection
        .prepare_cached("SELECT 1 FROM signals WHERE id = ?1 AND execution = ?2 AND name = ?3 AND approval IS ?4")?
        .exists(params![id, key.0, name, approval])?;
    if same {
        return Ok(());
    }
    Err(StoreError::Refused(Refusal::Conflict(format!("signal id `{id}` was used for something else"))))
}

/// Takes the oldest unused signal of that name for call number `call`.
pub(crate) fn take(connection: &Connection, key: Key, name: &str, call: u32) -> StoreResult<Option<Signal>> {
    let mut statement = connection.prepare_cached(
        "UPDATE signals SET used_by_call = ?3 WHERE rowid =
             (SELECT rowid FROM signals
              WHERE execution = ?1 AND name = ?2 AND used_by_call IS NULL AND approval IS NULL ORDER BY rowid LIMIT 1)
         RETURNING id, payload, sender, role",
    )?;
    let call = (!is_planted(Bug::SignalUsedTwice)).then_some(call);
    Ok(statement.query_row(params![key.0, name, call], read).optional()?)
}

/// Takes an answer for call number `call`; none when it was taken before.
pub(crate) fn take_answer(connection: &Connection, id: &str, call: u32) -> StoreResult<Option<Signal>> {
    let mut statement = connection.prepare_cached(
        "UPDATE signals SET used_by_call = ?2 WHERE id = ?1 AND used_by_call IS NULL
         RETURNING id, payload, sender, role",
    )?;
    let call = (!is_planted(Bug::SignalUsedTwice)).then_some(call);
    Ok(statement.query_row(params![id, call], read).optional()?)
}

/// Whether an unused signal of that name is there.
pub(crate) fn is_there(connection: &Connection, key: Key, name: &str) -> StoreResult<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM signals
         WHERE execution = ?1 AND name = ?2 AND used_by_call IS NULL AND approval IS NULL LIMIT 1",
    )?;
    Ok(statement.exists(params![key.0, name])?)
}

/// The oldest unused signals of that name, with payloads of at most `bytes_max`.
pub(crate) fn unused(
    connection: &Connection,
    key: Key,
    name: &str,
    bytes_max: usize,
    limit: u32,
) -> StoreResult<Vec<Signal>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, payload, sender, role FROM signals
         WHERE execution = ?1 AND name = ?2 AND used_by_call IS NULL AND approval IS NULL
             AND octet_length(payload) <= ?3
         ORDER BY rowid LIMIT ?4",
    )?;
    let rows = statement.query_map(params![key.0, name, i64::try_from(bytes_max).unwrap_or(i64::MAX), limit], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Makes a signal the answer to a question.
pub(crate) fn set_approval(connection: &Connection, id: &str, approval: &str) -> StoreResult<()> {
    connection.prepare_cached("UPDATE signals SET approval = ?2 WHERE id = ?1")?.execute([id, approval])?;
    Ok(())
}

/// The signal with that id, and when it was sent.
pub(crate) fn get(connection: &Connection, id: &str) -> StoreResult<Option<(Signal, Timestamp)>> {
    let mut statement =
        connection.prepare_cached("SELECT id, payload, sender, role, sent_at FROM signals WHERE id = ?1")?;
    Ok(statement.query_row([id], |row| Ok((read(row)?, Timestamp(row.get(4)?)))).optional()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Signal> {
    Ok(Signal {
        id: row.get(0)?,
        payload: serde_json::from_str(&row.get::<_, String>(1)?).unwrap_or(Value::Null),
        sender: Sender { who: row.get(2)?, role: row.get::<_, Option<String>>(3)?.and_then(|role| role.parse().ok()) },
    })
}

/// Gives what is unused to the execution that takes another's place. An answer that nobody waited for becomes a signal
/// like others.
pub(crate) fn move_unused(connection: &Connection, from: Key, to: Key) -> StoreResult<()> {
    connection
        .prepare_cached(
            "UPDATE signals SET execution = ?2, approval = NULL WHERE execution = ?1 AND used_by_call IS NULL",
        )?
        .execute(params![from.0, to.0])?;
    Ok(())
}
