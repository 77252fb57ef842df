//! An execution as lists show it.

use serde_json::Value;
use surefoot_engine::Timestamp;

use super::words::{Moment, Standing, Took, text, time};

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
    pub(super) fn of(row: &Value, now: Timestamp) -> Self {
        let (created, started, ended) = (time(row, "created_at"), time(row, "started_at"), time(row, "ended_at"));
        let reason = match (text(row, "error_code"), text(row, "error_message")) {
            ("", _) => text(row, "message").to_owned(),
            (code, message) => format!("{code}: {message}"),
        };
        Self {
            id: text(row, "id").to_owned(),
            name: text(row, "name").to_owned(),
            ty: text(row, "type").to_owned(),
            standing: Standing::of(text(row, "status")),
            reason,
            by: text(row, "created_by").to_owned(),
            created: Moment { at: created, now },
            scheduled_for: time(row, "scheduled_for")
                .filter(|_| ended.is_none())
                .map(|at| Moment { at: Some(at), now }),
            queued: Took::between(created, started.or(ended), now),
            took: Took::between(started, ended, now),
        }
    }

    pub(super) fn all(rows: &[Value], now: Timestamp) -> Vec<Self> {
        rows.iter().map(|row| Self::of(row, now)).collect()
    }
}
