//! What the journal of an execution tells besides its calls one by one: its checks, what it waited for by itself, the
//! files that it wrote, the signals that it waits for, and what it took over from another execution.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use surefoot_engine::{Engine, JournalPlace, Timestamp};

use crate::problem::Answer;
use crate::ui::words::{Standing, Took, text, time};

/// Records that are looked through.
const RECORDS_MAX: usize = 20_000;

/// Rows of the journal that are read at a time; a row has one record or many.
const ROWS_AT_ONCE: usize = 100;

/// Checks, waits and files that are shown, of each.
const SHOWN_MAX: usize = 200;

/// See the module.
#[derive(Default)]
pub(in crate::ui) struct Story {
    pub(in crate::ui) checks: Vec<Check>,
    waits: Vec<Wait>,
    /// When the last attempt of a call began that was tried before, by the number of the call.
    last_attempts: BTreeMap<u64, Timestamp>,
    /// Names of files, each once.
    pub(in crate::ui) files: BTreeSet<String>,
    /// The execution whose first calls it took over, and the first call of its own.
    pub(in crate::ui) taken_from: Vec<(String, u64)>,
    /// Which engine it began on.
    pub(in crate::ui) engine: String,
    /// Whether there is more than was looked at.
    pub(in crate::ui) is_cut: bool,
}

/// An assertion of the flow, with its evidence.
pub(in crate::ui) struct Check {
    pub(in crate::ui) name: String,
    pub(in crate::ui) standing: Standing,
    pub(in crate::ui) message: String,
    pub(in crate::ui) took: Option<Took>,
    pub(in crate::ui) data: Value,
    pub(in crate::ui) section: String,
}

impl Check {
    pub(in crate::ui) fn has_failed(&self) -> bool {
        self.standing.class == "bad"
    }

    /// The call or the child flow that it failed by, as its evidence has it.
    pub(in crate::ui) fn execution(&self) -> Option<&str> {
        self.data["execution_id"].as_str()
    }
}

/// What the flow itself waited for: a time, a signal, an answer, a lock. What it called waits for itself.
pub(in crate::ui) struct Wait {
    call: u64,
    pub(in crate::ui) label: String,
    /// The name of a signal, where it is one.
    pub(in crate::ui) signal: Option<String>,
    pub(in crate::ui) from: Timestamp,
    /// None while it waits.
    pub(in crate::ui) to: Option<Timestamp>,
}

impl Story {
    /// Reads the journal, as far as a page needs it.
    pub(in crate::ui) async fn read(engine: &Engine, id: &str) -> Answer<Self> {
        let mut reader = engine.journal_from(id, JournalPlace::default());
        let (mut story, mut section, mut records) = (Self::default(), String::new(), 0);
        loop {
            let page = reader.page(ROWS_AT_ONCE).await?;
            if page.is_empty() {
                return Ok(story);
            }
            if records >= RECORDS_MAX {
                story.is_cut = true;
                return Ok(story);
            }
            records += page.len();
            for (record, _) in page {
                story.hear(&record, &mut section);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn of_records(records: &[Value]) -> Self {
        let (mut story, mut section) = (Self::default(), String::new());
        records.iter().for_each(|record| story.hear(record, &mut section));
        story
    }

    /// Names of the signals that it waits for now.
    pub(in crate::ui) fn awaited(&self) -> impl Iterator<Item = &str> {
        self.waits.iter().filter(|wait| wait.to.is_none()).filter_map(|wait| wait.signal.as_deref())
    }

    /// When the last attempt of that connection began, if there were others.
    pub(in crate::ui) fn last_attempt(&self, connection: &str) -> Option<Timestamp> {
        self.last_attempts.get(&call_of(connection)?).copied()
    }

    /// Whether the result of that connection was taken over from another execution.
    pub(in crate::ui) fn is_taken(&self, connection: &str) -> bool {
        call_of(connection).is_some_and(|call| self.took_over(call))
    }

    fn took_over(&self, call: u64) -> bool {
        self.taken_from.iter().any(|(_, before)| call < *before)
    }

    /// What it waited for by itself, and another execution did not for it.
    pub(in crate::ui) fn own_waits(&self) -> impl Iterator<Item = &Wait> {
        self.waits.iter().filter(|wait| !self.took_over(wait.call))
    }

    pub(in crate::ui) fn failed_checks(&self) -> usize {
        self.checks.iter().filter(|check| check.has_failed()).count()
    }

    fn hear(&mut self, record: &Value, section: &mut String) {
        match text(record, "record") {
            "started" => self.begin(record),
            "call" => self.call(record, section),
            "reply" => {
                let open = self.waits.iter_mut().rev().find(|wait| Some(wait.call) == record["call"].as_u64());
                if let Some(wait) = open {
                    wait.to = time(record, "at");
                }
            }
            "settled" if record["attempts"].as_array().is_some_and(|attempts| !attempts.is_empty()) => {
                let began = record["call"].as_u64().zip(time(record, "began"));
                self.last_attempts.extend(began);
            }
            _ => {}
        }
    }

    fn begin(&mut self, record: &Value) {
        text(record, "engine").clone_into(&mut self.engine);
        let taken = record["taken_from"].as_array().into_iter().flatten();
        self.taken_from = taken
            .map(|origin| (text(origin, "execution").to_owned(), origin["before"].as_u64().unwrap_or_default()))
            .collect();
    }

    fn call(&mut self, record: &Value, section: &mut String) {
        let (kind, args) = (text(record, "kind"), &record["args"]);
        match kind {
            "section" => text(args, "name").clone_into(section),
            "check" if self.checks.len() < SHOWN_MAX => self.checks.push(Check {
                name: text(args, "name").to_owned(),
                standing: Standing::of(text(args, "outcome")),
                message: text(args, "message").to_owned(),
                took: args["duration_ms"].as_u64().map(|ms| Took(Duration::from_millis(ms))),
                data: args["data"].clone(),
                section: section.clone(),
            }),
            "check" => self.is_cut = true,
            "file_write" if self.files.len() < SHOWN_MAX => {
                self.files.insert(text(args, "name").to_owned());
            }
            _ => self.wait(kind, record),
        }
    }

    /// What has its answer at once did not wait.
    fn wait(&mut self, kind: &str, record: &Value) {
        let (args, Some(from)) = (&record["args"], time(record, "at")) else { return };
        if !record["reply"].is_null() || self.waits.len() >= SHOWN_MAX {
            return;
        }
        let named = |what: &str, name: &str| format!("{what} {name}").trim_end().to_owned();
        let label = match kind {
            "sleep" | "sleep_until" | "poll" => match text(args, "message") {
                "" => "sleeps".to_owned(),
                message => message.to_owned(),
            },
            "wait_signal" => named("waits for the signal", text(args, "name")),
            "wait_answer" => "waits for an answer".to_owned(),
            "lock" => named("waits for the lock", text(args, "setting")),
            _ => return,
        };
        let signal = (kind == "wait_signal").then(|| text(args, "name").to_owned());
        let call = record["call"].as_u64().unwrap_or_default();
        self.waits.push(Wait { call, label, signal, from, to: None });
    }
}

/// The number of the call that started a connection, by its id.
fn call_of(connection: &str) -> Option<u64> {
    connection.split_once('.')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn waits_end_with_their_answers_and_checks_know_their_section() {
        let at = |second: u32| format!("2026-01-01T00:00:0{second}Z");
        let call = |n: u32, kind: &str, args: Value| {
            let at = at(n);
            json!({"record": "call", "call": n, "kind": kind, "args": args, "at": at, "reply": null})
        };
        let mut held = call(7, "lock", json!({"setting": "s"}));
        held["reply"] = json!("held");
        let check = json!({"name": "ftp", "outcome": "fail", "message": "refused", "duration_ms": 7, "data": {"a": 1}});
        let story = Story::of_records(&[
            json!({"record": "started", "engine": "0.1.0", "taken_from": [{"execution": "e", "before": 3}]}),
            call(1, "sleep", json!({"duration_ms": 1000, "message": ""})),
            json!({"record": "reply", "call": 1, "at": at(2)}),
            call(3, "section", json!({"name": "files"})),
            call(4, "check", check),
            call(5, "file_write", json!({"name": "a.txt"})),
            call(6, "wait_signal", json!({"name": "go"})),
            held,
        ]);
        let waits: Vec<_> = story.waits.iter().map(|wait| (wait.label.as_str(), wait.to.is_some())).collect();
        assert_eq!(waits, [("sleeps", true), ("waits for the signal go", false)]);
        assert_eq!(story.awaited().collect::<Vec<_>>(), ["go"]);
        assert_eq!((story.failed_checks(), story.checks[0].section.as_str()), (1, "files"));
        assert_eq!(story.taken_from, [("e".to_owned(), 3)]);
        assert!(story.files.contains("a.txt"));
        assert_eq!(["x.2", "x.3", "x"].map(|id| story.is_taken(id)), [true, false, false]);
    }
}
