//! What must hold of notifications when everything has ended.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::Value;

use super::check::{Checked, Execution, ensure};
use super::run::RULE;
use crate::id;
use crate::notifications::NOTIFY;
use crate::store::StoreResult;

/// What nobody answered, and what is bad at the end.
pub(super) struct Untold {
    questions: Vec<String>,
    bad: Vec<String>,
}

pub(super) fn read(connection: &Connection) -> StoreResult<Untold> {
    let texts = |sql: &str| -> StoreResult<Vec<String>> {
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    Ok(Untold {
        // One that was answered before it was asked is not told of.
        questions: texts("SELECT id FROM approvals WHERE signal IS NULL")?,
        bad: texts("SELECT subject FROM notified")?,
    })
}

pub(super) fn is_of_notify(row: &Value) -> bool {
    row["flow_id"] == NOTIFY
}

/// Whether it tells of something, and has the id that follows from that.
pub(super) fn is_explained(execution: &Execution) -> bool {
    let input = &execution.row["input"];
    let cause = input["approval_id"].as_str().or_else(|| input["execution_id"].as_str()).unwrap_or_default();
    is_of_notify(&execution.row) && execution.id == id::notification_id(RULE, cause)
}

/// Every question that nobody answered was told; failures and recoveries take turns, and what is bad at the end was
/// told last as a failure.
pub(super) fn check(all: &[Execution], untold: &Untold) -> Checked<()> {
    let by_id: BTreeMap<&str, &Execution> = all.iter().map(|one| (one.id.as_str(), one)).collect();
    for question in &untold.questions {
        let told = id::notification_id(RULE, question);
        ensure!(by_id.contains_key(told.as_str()), "nobody was told of question {question}");
    }
    let mut bad: BTreeMap<&str, bool> = BTreeMap::new();
    for telling in all.iter().filter(|one| is_of_notify(&one.row)) {
        let input = &telling.row["input"];
        let is_failure = match input["occasion"].as_str() {
            Some("failure") => true,
            Some("recovery") => false,
            _ => continue,
        };
        let cause = by_id.get(input["execution_id"].as_str().unwrap_or_default());
        let cause = cause.ok_or_else(|| format!("{} tells of nothing", telling.id))?;
        let expected = if is_failure { "ENDED_ERROR" } else { "ENDED_SUCCESS" };
        ensure!(cause.row["status"] == expected, "{} tells of {} as {}", telling.id, cause.id, input["occasion"]);
        let before = bad.insert(subject(cause), is_failure);
        ensure!(before.unwrap_or(false) != is_failure, "{} was told twice, or of nothing", subject(cause));
    }
    for (subject, is_bad) in &bad {
        let is_noted = untold.bad.iter().any(|noted| noted == subject);
        ensure!(*is_bad == is_noted, "{subject} was told as bad: {is_bad}, and is noted as bad: {is_noted}");
    }
    for noted in &untold.bad {
        ensure!(bad.contains_key(noted.as_str()), "nobody was told that {noted} is bad");
    }
    Ok(())
}

fn subject(execution: &Execution) -> &str {
    let field = if execution.row["type"] == "SCHEDULE" { "schedule_id" } else { "flow_id" };
    execution.row[field].as_str().unwrap_or_default()
}
