//! An execution as lists show it.

use serde_json::{Value, json};
use surefoot_engine::Timestamp;
use surefoot_engine::query::UNSUCCESSFUL;

use super::words::{Moment, Standing, Took, text, time};

/// The status of its answer, where a run came to a good end and answered that what it tests did not: a verdict that is
/// none of the engine's, and what people look for. Nothing but a good end has an answer.
pub(super) fn unsuccessful(row: &Value) -> Option<u64> {
    row["response_status"].as_u64().filter(|status| *status >= UNSUCCESSFUL.into())
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
    pub(super) created: Moment,
    /// When it is to begin, of one that has not.
    pub(super) scheduled_for: Option<Moment>,
    /// Between its creation and its first step.
    pub(super) queued: Option<Took>,
    /// From its first step to its end, or until now.
    pub(super) took: Option<Took>,
}

impl Run {
    /// The execution that started it, where it was one.
    pub(super) fn by_execution(&self) -> Option<&str> {
        self.by.strip_prefix("execution ")
    }

    /// Who started it, in a word: which schedule it was says its name.
    pub(super) fn by_words(&self) -> &str {
        if self.by.starts_with("schedule ") { "a schedule" } else { &self.by }
    }

    pub(super) fn of(row: &Value, now: Timestamp) -> Self {
        let (created, started, ended) = (time(row, "created_at"), time(row, "started_at"), time(row, "ended_at"));
        let reason = match (text(row, "error_code"), text(row, "error_message"), unsuccessful(row)) {
            ("", _, Some(status)) => format!("answered {status}"),
            // What it said while it was under way is no reason for its good end.
            ("", _, None) if row["status"] == "ENDED_SUCCESS" => String::new(),
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
            created: Moment { at: created, now },
            scheduled_for: time(row, "scheduled_for")
                .filter(|_| ended.is_none())
                .map(|at| Moment { at: Some(at), now }),
            queued: Took::between(created, started.or(ended), now).filter(|_| row["status"] != "SCHEDULED"),
            took: Took::between(started, ended, now),
        }
    }

    pub(super) fn all(rows: &[Value], now: Timestamp) -> Vec<Self> {
        rows.iter().map(|row| Self::of(row, now)).collect()
    }
}
