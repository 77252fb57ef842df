//! Schedules, webhooks and notifications: whether what is enabled can run, and what a restore disabled.

use rusqlite::params;

use super::{Exam, Finding, Severity};
use crate::store::StoreResult;
use crate::upkeep::RESTORED;

pub(super) fn check(exam: &mut Exam<'_>) -> StoreResult<()> {
    let idle = names(
        exam,
        "SELECT records.name FROM records
         LEFT JOIN schedule_states ON schedule_states.schedule_id = records.id
         LEFT JOIN executions ON executions.id = schedule_states.execution_id
         WHERE records.kind = ?1 AND records.deleted_at IS NULL
             AND iif(json_valid(records.data), json_extract(records.data, '$.is_enabled'), 0)
             AND (executions.id IS NULL OR executions.ended_at IS NOT NULL) AND ?2 IS NOT NULL",
        "schedule",
    )?;
    for name in idle {
        let finding = Finding {
            code: "schedule_idle",
            severity: Severity::Warning,
            kind: "schedule",
            message: "it is enabled, and has no iteration that is alive".into(),
            remedy: format!("the last iteration's log says why; then: surefoot schedule set '{name}' --enable"),
            id: name,
            repaired: None,
        };
        exam.find(finding, None)?;
    }
    for (kind, code) in [
        ("schedule", "schedule_disabled_by_restore"),
        ("webhook", "webhook_disabled_by_restore"),
        ("notification", "notification_disabled_by_restore"),
    ] {
        let disabled = names(
            exam,
            "SELECT name FROM records WHERE kind = ?1 AND deleted_at IS NULL
                 AND iif(json_valid(data), json_extract(data, '$.disabled_reason'), NULL) = ?2",
            kind,
        )?;
        for name in disabled {
            let finding = Finding {
                code,
                severity: Severity::Note,
                kind,
                message: "a restore disabled it".into(),
                remedy: format!("surefoot {kind} set '{name}' --enable"),
                id: name,
                repaired: None,
            };
            exam.find(finding, None)?;
        }
    }
    Ok(())
}

fn names(exam: &Exam<'_>, sql: &str, kind: &str) -> StoreResult<Vec<String>> {
    let mut statement = exam.connection.prepare(sql)?;
    let rows = statement.query_map(params![kind, RESTORED], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
