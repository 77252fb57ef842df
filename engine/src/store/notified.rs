//! What is bad, as each notification rule knows it, and the rules as an end needs them.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::StoreResult;
use crate::clock::Timestamp;

/// A flow, or a schedule, whose last end that counts was a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    /// The first failure after the last good end.
    pub(crate) since: Timestamp,
    /// The failure that was told last.
    pub(crate) told_at: Timestamp,
    /// How many there were.
    pub(crate) failures: u32,
}

/// What a rule knows of a subject; none of what is well.
pub(crate) fn get(connection: &Connection, subject: &str, rule: &str) -> StoreResult<Option<Bad>> {
    let mut statement =
        connection.prepare_cached("SELECT since, told_at, failures FROM notified WHERE subject = ?1 AND rule = ?2")?;
    let bad = |row: &rusqlite::Row<'_>| {
        Ok(Bad { since: Timestamp(row.get(0)?), told_at: Timestamp(row.get(1)?), failures: row.get(2)? })
    };
    Ok(statement.query_row([subject, rule], bad).optional()?)
}

/// Notes what a rule knows of a subject; none where it is well.
pub(crate) fn set(connection: &Connection, subject: &str, rule: &str, bad: Option<Bad>) -> StoreResult<()> {
    match bad {
        Some(Bad { since, told_at, failures }) => connection
            .prepare_cached("INSERT OR REPLACE INTO notified VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![subject, rule, since.0, told_at.0, failures])?,
        None => connection
            .prepare_cached("DELETE FROM notified WHERE subject = ?1 AND rule = ?2")?
            .execute([subject, rule])?,
    };
    Ok(())
}

/// A rule begins anew.
pub(crate) fn forget_rule(connection: &Connection, rule: &str) -> StoreResult<()> {
    connection.prepare_cached("DELETE FROM notified WHERE rule = ?1")?.execute([rule])?;
    Ok(())
}

/// A flow or schedule is gone, or elsewhere.
pub(crate) fn forget_subject(connection: &Connection, subject: &str) -> StoreResult<()> {
    connection.prepare_cached("DELETE FROM notified WHERE subject = ?1")?.execute([subject])?;
    Ok(())
}

/// The rules that are enabled: id and document. One that cannot be read is none; `doctor` shows it.
pub(crate) fn rules(connection: &Connection) -> StoreResult<Vec<(String, Value)>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, data FROM records WHERE kind = 'notification' AND deleted_at IS NULL
             AND json_valid(data) AND json_extract(data, '$.is_enabled') ORDER BY id",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut rules = Vec::new();
    for row in rows {
        let (id, data) = row?;
        rules.extend(serde_json::from_str(&data).ok().map(|document| (id, document)));
    }
    Ok(rules)
}
