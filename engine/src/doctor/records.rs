//! Records: that what users made can be read, and that what is to run a flow has one.

use rusqlite::Connection;

use super::database::FROM_A_BACKUP;
use super::{Exam, Finding, Severity};
use crate::query::Kind;
use crate::store::StoreResult;

pub(super) fn check(exam: &mut Exam<'_>) -> StoreResult<()> {
    let damaged = "SELECT kind, name FROM records WHERE NOT json_valid(data) ORDER BY kind, name";
    let message = "what is stored of it is not JSON";
    for (kind, name) in rows(exam.connection, damaged)? {
        exam.find(of("record_damaged", Severity::Error, &kind, name, message, FROM_A_BACKUP), None)?;
    }
    let without_flow = "SELECT kind, name FROM (
             SELECT kind, name, iif(json_valid(data), json_extract(data, '$.flow_id'), NULL) AS flow FROM records
             WHERE kind IN ('schedule', 'scheduler', 'webhook') AND deleted_at IS NULL)
         WHERE flow IS NOT NULL AND flow NOT LIKE 'native:%' AND NOT EXISTS
             (SELECT 1 FROM records WHERE kind = 'flow' AND deleted_at IS NULL AND flow IN (id, name))
         ORDER BY kind, name";
    for (kind, name) in rows(exam.connection, without_flow)? {
        let message = "the flow that it is to run is deleted";
        let remedy =
            format!("take the flow out of the trash, or name another one: surefoot {kind} set '{name}' --flow FLOW");
        exam.find(of("flow_missing", Severity::Note, &kind, name, message, &remedy), None)?;
    }
    Ok(())
}

/// Kind and name of records.
fn rows(connection: &Connection, sql: &str) -> StoreResult<Vec<(String, String)>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn of(
    code: &'static str,
    severity: Severity,
    kind: &str,
    id: String,
    message: &str,
    remedy: &str,
) -> Finding {
    let kind = Kind::parse(kind).map_or("workspace", Kind::as_str);
    Finding { code, severity, kind, id, message: message.to_owned(), remedy: remedy.to_owned(), repaired: None }
}
