//! The table of locks, against the executions and the settings: all are written together, so they differ by damage
//! alone.

use rusqlite::{Connection, params};

use super::journals::of;
use super::{Exam, Finding};
use crate::store::{StoreResult, locks};

pub(super) fn check(exam: &mut Exam<'_>) -> StoreResult<()> {
    superfluous(exam)?;
    not_given(exam)
}

/// A place of an execution that has ended or is gone, or in the line of a setting that is gone.
fn superfluous(exam: &mut Exam<'_>) -> StoreResult<()> {
    let sql = "SELECT locks.rowid, locks.setting, locks.place, coalesce(records.name, locks.setting),
             coalesce(executions.id, 'number ' || locks.execution), records.rowid IS NULL
         FROM locks LEFT JOIN executions ON executions.rowid = locks.execution
         LEFT JOIN records ON records.kind = 'setting' AND records.id = locks.setting AND records.deleted_at IS NULL
         WHERE executions.rowid IS NULL OR executions.ended_at IS NOT NULL OR records.rowid IS NULL
         ORDER BY locks.rowid";
    type Row = (i64, String, i64, String, String, bool);
    let mut statement = exam.connection.prepare(sql)?;
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)))?;
    for (rowid, setting, place, name, id, is_setting_gone) in rows.collect::<Result<Vec<Row>, _>>()? {
        let does = if place > 0 { "holds" } else { "waits for" };
        let why = if is_setting_gone { "whose setting is gone" } else { "and has ended or is gone" };
        let message = format!("it {does} the lock `{name}`, {why}");
        let now = exam.now;
        let repair = |connection: &Connection| {
            let transaction = connection.unchecked_transaction()?;
            transaction.execute("DELETE FROM locks WHERE rowid = ?1", [rowid])?;
            if place > 0 {
                locks::give(&transaction, &setting, now)?;
            }
            transaction.commit()?;
            Ok("the lock was taken from it".to_owned())
        };
        exam.find(Finding { kind: "execution", ..of("lock_superfluous", &id, message, REPAIR) }, Some(&repair))?;
    }
    Ok(())
}

/// Somebody waits, and nobody holds it: nobody would give it on.
fn not_given(exam: &mut Exam<'_>) -> StoreResult<()> {
    let sql = "SELECT DISTINCT locks.setting, coalesce(records.name, locks.setting) FROM locks
         LEFT JOIN records ON records.kind = 'setting' AND records.id = locks.setting
         WHERE NOT EXISTS (SELECT 1 FROM locks AS held WHERE held.setting = locks.setting AND held.place > 0)";
    let mut statement = exam.connection.prepare(sql)?;
    let rows = statement.query_map(params![], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (setting, name) in rows.collect::<Result<Vec<(String, String)>, _>>()? {
        let message = format!("executions wait for the lock `{name}`, and nobody holds it");
        let now = exam.now;
        let repair = |connection: &Connection| {
            locks::give(connection, &setting, now)?;
            Ok("it was given to who has waited longest".to_owned())
        };
        exam.find(Finding { kind: "setting", ..of("lock_not_given", &setting, message, REPAIR) }, Some(&repair))?;
    }
    Ok(())
}

const REPAIR: &str = "stop the server, and let `surefoot doctor --repair` mend it";
