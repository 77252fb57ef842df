//! The table of what has not ended, against the executions: both are written together, so they differ by damage alone.

use rusqlite::{Connection, params};

use super::journals::of;
use super::{Exam, Finding, Severity};
use crate::store::StoreResult;

pub(super) fn check(exam: &mut Exam<'_>) -> StoreResult<()> {
    ends(exam)?;
    missing(exam)?;
    superfluous(exam)?;
    pauses(exam)
}

/// Number and id of executions, with the message that says what is wrong.
fn executions(connection: &Connection, sql: &str) -> StoreResult<Vec<(i64, String)>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The status says that it has ended, or the time of the end does, and not both.
fn ends(exam: &mut Exam<'_>) -> StoreResult<()> {
    let sql = "SELECT rowid, id FROM executions WHERE (ended_at IS NULL) = (status LIKE 'ENDED%')";
    for (_, id) in executions(exam.connection, sql)? {
        let message = "its status and the time of its end contradict each other".to_owned();
        exam.find(of("status_contradicts_end", &id, message, "bring the workspace back from a backup"), None)?;
    }
    Ok(())
}

/// It has not ended, and nothing would ever look at it.
fn missing(exam: &mut Exam<'_>) -> StoreResult<()> {
    let sql = "SELECT rowid, id FROM executions WHERE ended_at IS NULL
         AND NOT EXISTS (SELECT 1 FROM active WHERE execution = executions.rowid)";
    for (key, id) in executions(exam.connection, sql)? {
        let message = "it has not ended, and is not among what the engine looks at".to_owned();
        let finding = of("active_missing", &id, message, REPAIR);
        // Runnable: the journal decides what it waits for, as after a crash. What stood still goes on doing so.
        let repair = |connection: &Connection| {
            connection.execute(
                "INSERT INTO active (execution, state, due_at, deadline, journal_tail)
                 SELECT rowid,
                     CASE WHEN status = 'PAUSED' THEN 2 WHEN scheduled_for IS NOT NULL AND started_at IS NULL THEN 3
                         ELSE 0 END,
                     CASE WHEN started_at IS NULL THEN scheduled_for END,
                     deadline,
                     (SELECT max(id) FROM journal WHERE execution = executions.rowid)
                 FROM executions WHERE rowid = ?1",
                [key],
            )?;
            Ok("the engine looks at it again".to_owned())
        };
        exam.find(finding, Some(&repair))?;
    }
    Ok(())
}

/// Looked at although there is nothing to do.
fn superfluous(exam: &mut Exam<'_>) -> StoreResult<()> {
    let sql = "SELECT active.execution, coalesce(executions.id, 'number ' || active.execution) FROM active
         LEFT JOIN executions ON executions.rowid = active.execution
         WHERE executions.rowid IS NULL OR executions.ended_at IS NOT NULL";
    for (key, id) in executions(exam.connection, sql)? {
        let message = "it has ended or is gone, and still is among what the engine looks at".to_owned();
        let repair = |connection: &Connection| {
            let transaction = connection.unchecked_transaction()?;
            transaction.execute(
                "UPDATE executions SET journal_tail = coalesce(journal_tail,
                     (SELECT journal_tail FROM active WHERE execution = ?1)) WHERE rowid = ?1",
                [key],
            )?;
            transaction.execute("DELETE FROM active WHERE execution = ?1", [key])?;
            transaction.commit()?;
            Ok("the engine looks at it no more".to_owned())
        };
        exam.find(of("active_superfluous", &id, message, REPAIR), Some(&repair))?;
    }
    Ok(())
}

/// What is shown and what is done differ. What is done stays.
fn pauses(exam: &mut Exam<'_>) -> StoreResult<()> {
    let sql = "SELECT active.execution, executions.id FROM active
         JOIN executions ON executions.rowid = active.execution
         WHERE (active.state = 2) <> (executions.status = 'PAUSED') AND executions.ended_at IS NULL";
    for (key, id) in executions(exam.connection, sql)? {
        let message = "it is shown as paused and is not, or the other way round".to_owned();
        let repair = |connection: &Connection| {
            connection.execute(
                "UPDATE executions SET status =
                     (SELECT CASE state WHEN 2 THEN 'PAUSED' ELSE 'QUEUED' END FROM active WHERE execution = ?1)
                 WHERE rowid = ?1",
                params![key],
            )?;
            Ok("its status says what is so".to_owned())
        };
        let finding = Finding { severity: Severity::Warning, ..of("status_contradicts_pause", &id, message, REPAIR) };
        exam.find(finding, Some(&repair))?;
    }
    Ok(())
}

const REPAIR: &str = "stop the server, and let `surefoot doctor --repair` mend it";
