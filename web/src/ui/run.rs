//! An execution as lists show it.

use serde_json::{Value, json};
use surefoot_engine::Timestamp;
use surefoot_engine::query::UNSUCCESSFUL;

use super::words::{Moment, Standing, Took, text, time};
use crate::extract::percent_encoded;

/// The status of its answer, where a run came to a good end and answered that what it tests did not: a verdict that is
/// none of the engine's, and what people look for. Nothing but a good end has an answer.
pub(super) fn unsuccessful(row: &Value) -> Option<u64> {
    row["response_status"].as_u64().filter(|status| *status >= UNSUCCESSFUL.into())
}

fn by_page(row: &Value) -> Option<String> {
    let (word, id) = text(row, "created_by").split_once(' ')?;
    match word {
        "execution" => Some(format!("/ui/executions/{}", percent_encoded(id))),
        "schedule" => row["schedule_id"].as_str().map(|id| format!("/ui/schedules/{}", percent_encoded(id))),
        "webhook" => row["webhook_id"].as_str().map(|id| format!("/ui/webhooks/{}", percent_encoded(id))),
        _ => None,
    }
}

/// The filter for those that are [`unsuccessful`].
pub(super) fn are_unsuccessful() -> Value {
    json!({"field": "response_status", "op": "gte", "value": UNSUCCESSFUL})
}

/// How an execution stands, for people.
pub(super) fn standing(row: &Value) -> Standing {
    match unsuccessful(row) {
        Some(_) => Standing::of("UNSUCCESSFUL"),
        None => Standing::of(text(row, "status")),
    }
}

/// A row of a list of executions.
pub(super) struct Run {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) ty: String,
    pub(super) standing: Standing,
    /// Why it stands so: what it waits for, or how it failed.
    pub(super) reason: String,
    pub(super) by: String,
    /// The page of what started it, where that was an execution, a schedule or a webhook.
    pub(super) by_page: Option<String>,
    pub(super) created: Moment,
    /// When it is to begin, of one that has not.
    pub(super) scheduled_for: Option<Moment>,
    /// Between its creation and its first step.
    pub(super) queued: Option<Took>,
    /// From its first step to its end, or until now. What waits for a time that it has does not begin before that.
    pub(super) took: Option<Took>,
}

impl Run {
    /// Who started it, in words: ids are for the link.
    pub(super) fn by_words(&self) -> &str {
        match self.by.split_once(' ') {
            Some(("execution", _)) => "an execution",
            Some(("schedule", _)) => "a schedule",
            _ => &self.by,
        }
    }

    pub(super) fn of(row: &Value, now: Timestamp) -> Self {
        let (created, started, ended) = (time(row, "created_at"), time(row, "started_at"), time(row, "ended_at"));
        let due = time(row, "scheduled_for");
        let is_due = due.is_none_or(|due| due <= ended.unwrap_or(now));
        let reason = match (text(row, "error_code"), text(row, "error_message"), unsuccessful(row)) {
            ("", _, Some(status)) => format!("answered {status}"),
            // What it said while it was under way is no reason for its good end.
            ("", _, None) if row["status"] == "ENDED_SUCCESS" => String::new(),
            // The time has a column.
            ("", _, None) if !is_due => String::new(),
            ("", _, None) => text(row, "message").to_owned(),
            (code, message, _) if code == message => code.to_owned(),
            (code, message, _) => format!("{code}: {message}"),
        };
        Self {
            id: text(row, "id").to_owned(),
            name: text(row, "name").to_owned(),
            ty: text(row, "type").to_owned(),
            standing: standing(row),
            reason,
            by: text(row, "created_by").to_owned(),
            by_page: by_page(row),
            created: Moment { at: created, now },
            scheduled_for: due.filter(|_| ended.is_none()).map(|at| Moment { at: Some(at), now }),
            queued: Took::between(created, started.or(ended), now).filter(|_| row["status"] != "SCHEDULED"),
            took: Took::between(
                started.filter(|_| is_due).max(due.filter(|_| is_due && started.is_some())),
                ended,
                now,
            ),
        }
    }

    pub(super) fn all(rows: &[Value], now: Timestamp) -> Vec<Self> {
        rows.iter().map(|row| Self::of(row, now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_its_time_has_not_begun() {
        let at = |seconds: i64| Timestamp(1_000_000 * seconds);
        let run = |now: i64, ended: Option<i64>| {
            let row = json!({
                "created_at": at(1).to_string(), "started_at": at(2).to_string(), "scheduled_for": at(60).to_string(),
                "ended_at": ended.map(|ended| at(ended).to_string()), "message": "until 60", "status": "WAITING",
                "created_by": "schedule s", "schedule_id": "the id",
            });
            Run::of(&row, at(now))
        };
        let took = |run: &Run| run.took.as_ref().map(ToString::to_string);
        let waits = run(30, None);
        assert_eq!((took(&waits), waits.reason.as_str()), (None, ""));
        assert!(waits.scheduled_for.is_some());
        assert_eq!((waits.by_words(), waits.by_page.as_deref()), ("a schedule", Some("/ui/schedules/the%20id")));
        let runs = run(63, None);
        assert_eq!((took(&runs), runs.reason.as_str()), (Some("3.00\u{a0}s".into()), "until 60"));
        assert_eq!(took(&run(99, Some(62))), Some("2.00\u{a0}s".into()));
        // One that was cancelled before.
        assert_eq!(took(&run(99, Some(30))), None);
    }
}
