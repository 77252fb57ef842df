//! Log lines of executions.

use rusqlite::{Connection, Row, params};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::StoreResult;
use super::executions::Key;
use crate::clock::Timestamp;

/// One line of an execution's log.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LogLine {
    /// Number of the host call that came next.
    pub call: u32,
    /// Counts the lines before the same call.
    pub line: u32,
    /// When, by journal time.
    #[serde(serialize_with = "as_text")]
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// `log`, `stdout`, `stderr` or `engine`.
    pub source: String,
    /// The text.
    pub message: String,
    /// Structured fields; null when there are none.
    pub fields: Value,
}

fn as_text<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

/// Stores a line. A replay may write the same one again.
pub(crate) fn insert(connection: &Connection, key: Key, line: &LogLine) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT OR IGNORE INTO logs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(
        params![key.0, line.call, line.line, line.at.0, line.level, line.source, line.message, line.fields.to_string()],
    )?;
    Ok(())
}

/// Gives an execution the lines that another one logged before it went on from that call.
pub(crate) fn copy(connection: &Connection, from: Key, to: Key, before_call: u32) -> StoreResult<()> {
    connection
        .prepare_cached(
            "INSERT INTO logs SELECT ?2, call, line, at, level, source, message, fields FROM logs
             WHERE execution = ?1 AND call < ?3",
        )?
        .execute(params![from.0, to.0, before_call])?;
    Ok(())
}

/// The lines after that key, in order, at most `limit`.
pub(crate) fn list(
    connection: &Connection,
    key: Key,
    after: Option<(u32, u32)>,
    limit: u32,
) -> StoreResult<Vec<LogLine>> {
    let mut statement = connection.prepare_cached(
        "SELECT call, line, at, level, source, message, fields FROM logs
         WHERE execution = ?1 AND (call, line) > (?2, ?3) ORDER BY call, line LIMIT ?4",
    )?;
    let (call, line) = after.map_or((-1, -1), |(call, line)| (i64::from(call), i64::from(line)));
    let lines = statement.query_map(params![key.0, call, line, limit], read)?.collect::<Result<Vec<_>, _>>()?;
    Ok(lines)
}

/// The last lines before that key, or of all, in order, at most `limit`.
pub(crate) fn list_before(
    connection: &Connection,
    key: Key,
    before: Option<(u32, u32)>,
    limit: u32,
) -> StoreResult<Vec<LogLine>> {
    let mut statement = connection.prepare_cached(
        "SELECT call, line, at, level, source, message, fields FROM logs
         WHERE execution = ?1 AND (call, line) < (?2, ?3) ORDER BY call DESC, line DESC LIMIT ?4",
    )?;
    let (call, line) = before.map_or((i64::MAX, 0), |(call, line)| (i64::from(call), i64::from(line)));
    let mut lines = statement.query_map(params![key.0, call, line, limit], read)?.collect::<Result<Vec<_>, _>>()?;
    lines.reverse();
    Ok(lines)
}

fn read(row: &Row<'_>) -> rusqlite::Result<LogLine> {
    Ok(LogLine {
        call: row.get(0)?,
        line: row.get(1)?,
        at: Timestamp(row.get(2)?),
        level: row.get(3)?,
        source: row.get(4)?,
        message: row.get(5)?,
        fields: serde_json::from_str(&row.get::<_, String>(6)?).unwrap_or(Value::Null),
    })
}
