//! What stands still, since when, and what it waits for.

use std::time::Duration;

use super::journals::{Unended, of};
use super::{Exam, Finding, Severity};
use crate::journal::{CallKind, Record};
use crate::query::Kind;
use crate::store::{StoreResult, records};
use crate::upkeep::RESTORED;

/// An engine at work that is later than that is not just busy.
const LATE: Duration = Duration::from_secs(60);

/// Looks at one execution that has not ended. `pending` is the last call that has no answer.
pub(super) fn look(exam: &mut Exam<'_>, execution: &Unended, pending: Option<&Record>) -> StoreResult<()> {
    let id = execution.id.as_str();
    if execution.is_paused {
        return exam.find(paused(execution), None);
    }
    if let Some(due) = execution.due
        && exam.is_at_work
        && exam.now > due.after(LATE)
    {
        let message = format!("it was due at {due}, and is not at work");
        let remedy = "look at the server's log, and start the server again";
        exam.find(Finding { severity: Severity::Warning, ..of("overdue", id, message, remedy) }, None)?;
    }
    match pending {
        Some(Record::Call { kind: CallKind::WaitSignal, args, at, due, .. }) => {
            let name = args["name"].as_str().unwrap_or_default();
            let until = due.map_or_else(String::new, |due| format!(", until {due}"));
            let message = format!("it waits for the signal `{name}` since {at}{until}");
            let remedy = format!("if it should go on: surefoot execution signal {id} {name}");
            exam.find(Finding { severity: Severity::Note, ..of("waiting_for_signal", id, message, &remedy) }, None)
        }
        Some(Record::Call { kind: CallKind::WaitAnswer, args, at, due, .. }) => {
            let asked = args["id"].as_str().unwrap_or_default();
            let until = due.map_or_else(String::new, |due| format!(", until {due}"));
            let message = format!("it waits for the answer to {asked} since {at}{until}");
            let remedy = format!("see what it asks: surefoot approval show {asked}");
            exam.find(Finding { severity: Severity::Note, ..of("waiting_for_answer", id, message, &remedy) }, None)
        }
        Some(Record::Call { kind: CallKind::Lock, args, at, due, .. }) => {
            let setting = args["setting"].as_str().unwrap_or_default();
            let until = due.map_or_else(String::new, |due| format!(", until {due}"));
            let record = records::get(exam.connection, Kind::Setting, setting)?.unwrap_or_default();
            let held = record["locked_by"]["execution_id"].as_str().unwrap_or_default();
            let message = format!("it waits for the lock `{setting}` since {at}{until}; execution {held} holds it");
            let remedy = format!(
                "see what that one does: surefoot execution show {held}; to take the lock away: \
                 surefoot setting unlock {setting}"
            );
            exam.find(Finding { severity: Severity::Note, ..of("waiting_for_lock", id, message, &remedy) }, None)
        }
        _ => Ok(()),
    }
}

fn paused(execution: &Unended) -> Finding {
    let (id, message) = (execution.id.as_str(), execution.message.as_str());
    let resume = format!("surefoot execution resume {id}");
    if message.starts_with("suspect") {
        let remedy = format!("see why in the server's log; to try again: {resume}");
        let severity = Severity::Warning;
        return Finding { severity, ..of("paused_as_suspect", id, message.to_owned(), &remedy) };
    }
    let (code, remedy) = match &execution.schedule {
        _ if !message.starts_with(RESTORED) => ("paused", resume),
        // `--restored` leaves iterations alone: they go on with their schedule.
        Some(name) => ("paused_by_restore", format!("surefoot schedule set '{name}' --enable")),
        None => ("paused_by_restore", format!("{resume}; all of them: surefoot execution resume --restored")),
    };
    let message = match message {
        "" | "paused" => "it is paused".to_owned(),
        reason => format!("it is paused: {reason}"),
    };
    Finding { severity: Severity::Note, ..of(code, id, message, &remedy) }
}
