//! Signals: durable when they are sent, buffered until a wait takes them.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::executions::Key;
use super::{Refusal, StoreError, StoreResult};
use crate::clock::Timestamp;
use crate::planted::{Bug, is_planted};

/// A signal that nobody has used.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Signal {
    pub(crate) id: String,
    pub(crate) payload: Value,
    pub(crate) sender: String,
}

/// Stores a signal. The same one again changes nothing; its id for another execution or name is refused.
pub(crate) fn insert(
    connection: &Connection,
    key: Key,
    name: &str,
    signal: &Signal,
    now: Timestamp,
) -> StoreResult<()> {
    let stored = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO signals (id, execution, name, payload, sender, sent_at) VALUES (?1, ?2, ?3, \
                 ?4, ?5, ?6)",
        )?
        .execute(params![signal.id, key.0, name, signal.payload.to_string(), signal.sender, now.0])?;
    if stored == 1 {
        return Ok(());
    }
    let same = connection
        .prepare_cached("SELECT 1 FROM signals WHERE id = ?1 AND execution = ?2 AND name = ?3")?
        .exists(params![signal.id, key.0, name])?;
    if same {
        return Ok(());
    }
    Err(StoreError::Refused(Refusal::Conflict(format!("signal id `{}` was used for something else", signal.id))))
}

/// Takes the oldest unused signal of that name for call number `call`.
pub(crate) fn take(connection: &Connection, key: Key, name: &str, call: u32) -> StoreResult<Option<Signal>> {
    let mut statement = connection.prepare_cached(
        "UPDATE signals SET used_by_call = ?3 WHERE rowid =
             (SELECT rowid FROM signals WHERE execution = ?1 AND name = ?2 AND used_by_call IS NULL
              ORDER BY rowid LIMIT 1)
         RETURNING id, payload, sender",
    )?;
    let call = (!is_planted(Bug::SignalUsedTwice)).then_some(call);
    Ok(statement
        .query_row(params![key.0, name, call], |row| {
            Ok(Signal {
                id: row.get(0)?,
                payload: serde_json::from_str(&row.get::<_, String>(1)?).unwrap_or(Value::Null),
                sender: row.get(2)?,
            })
        })
        .optional()?)
}

/// Whether an unused signal of that name is there.
pub(crate) fn is_there(connection: &Connection, key: Key, name: &str) -> StoreResult<bool> {
    let mut statement = connection
        .prepare_cached("SELECT 1 FROM signals WHERE execution = ?1 AND name = ?2 AND used_by_call IS NULL LIMIT 1")?;
    Ok(statement.exists(params![key.0, name])?)
}

/// Gives what is unused to the execution that takes another's place.
pub(crate) fn move_unused(connection: &Connection, from: Key, to: Key) -> StoreResult<()> {
    connection
        .prepare_cached("UPDATE signals SET execution = ?2 WHERE execution = ?1 AND used_by_call IS NULL")?
        .execute(params![from.0, to.0])?;
    Ok(())
}
