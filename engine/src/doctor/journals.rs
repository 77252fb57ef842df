//! Journals: that every record can be read, and that the records of what has not ended fit together.

use std::collections::BTreeSet;

use serde::de::IgnoredAny;

use super::{Exam, Finding, Severity, waiting};
use crate::clock::Timestamp;
use crate::journal::{CallKind, DecodeError, Record, Reply, decode_row};
use crate::store::executions::{self, Key};
use crate::store::{StoreError, StoreResult, journal};

/// An execution that has not ended, as far as the checks ask.
pub(super) struct Unended {
    pub(super) key: Key,
    pub(super) id: String,
    pub(super) message: String,
    pub(super) parent_id: Option<String>,
    /// Of an iteration of a schedule, the schedule's name.
    pub(super) schedule: Option<String>,
    pub(super) is_paused: bool,
    /// When the engine has to look at it, if that is known.
    pub(super) due: Option<Timestamp>,
}

pub(super) fn check(exam: &mut Exam<'_>) -> StoreResult<()> {
    let reported = every_row(exam)?;
    for execution in unended(exam)? {
        check_one(exam, &execution, reported.contains(&execution.key.0))?;
    }
    Ok(())
}

/// All rows of all journals, in one pass. Returns the executions with a row that cannot be read.
fn every_row(exam: &mut Exam<'_>) -> StoreResult<BTreeSet<i64>> {
    let mut statement = exam.connection.prepare("SELECT execution, records FROM journal")?;
    let mut rows = statement.query([])?;
    let (mut records, mut reported) = (Vec::<Record>::new(), BTreeSet::new());
    while let Some(row) = rows.next()? {
        records.clear();
        let bytes = row.get_ref(1)?.as_blob().unwrap_or_default();
        let (Err(error), key) = (decode_row(bytes, &mut records), row.get(0)?) else { continue };
        if !reported.insert(key) {
            continue;
        }
        let (code, remedy) = match error {
            DecodeError::Newer(_) => ("journal_newer", "use the version of surefoot that wrote it"),
            DecodeError::Damaged(_) => ("journal_damaged", GONE),
        };
        let id = id_of(exam, key)?;
        exam.find(of(code, &id, error.to_string(), remedy), None)?;
    }
    Ok(reported)
}

fn id_of(exam: &Exam<'_>, key: i64) -> StoreResult<String> {
    let execution = executions::load_remains(exam.connection, Key(key));
    Ok(execution?.map_or_else(|| format!("number {key}"), |execution| execution.id))
}

fn unended(exam: &Exam<'_>) -> StoreResult<Vec<Unended>> {
    let mut statement = exam.connection.prepare(
        "SELECT active.execution, executions.id, executions.message, executions.parent_id, active.state = 2,
             active.due_at, CASE executions.type WHEN 'SCHEDULE' THEN
                 (SELECT name FROM records WHERE kind = 'schedule' AND id = executions.schedule_id) END
         FROM active JOIN executions ON executions.rowid = active.execution
         WHERE executions.ended_at IS NULL ORDER BY active.execution",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Unended {
            key: Key(row.get(0)?),
            id: row.get(1)?,
            message: row.get(2)?,
            parent_id: row.get(3)?,
            is_paused: row.get(4)?,
            due: row.get::<_, Option<i64>>(5)?.map(Timestamp),
            schedule: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn check_one(exam: &mut Exam<'_>, execution: &Unended, is_reported: bool) -> StoreResult<()> {
    let story = match read(exam, execution.key) {
        Ok(story) => story,
        Err(StoreError::Damaged(_)) if is_reported => return Ok(()),
        Err(StoreError::Damaged(reason)) => {
            return exam.find(of("journal_cut", &execution.id, reason, GONE), None);
        }
        // Of a newer version: said before.
        Err(StoreError::Failed(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    if !story.is_begun {
        exam.find(of("journal_headless", &execution.id, "it does not begin as a journal does".into(), GONE), None)?;
    }
    for (code, message) in &story.contradictions {
        exam.find(of(code, &execution.id, message.clone(), GONE), None)?;
    }
    relatives(exam, execution, &story.children)?;
    let pending = match story.unanswered {
        Some((call, row)) => pending_call(exam, call, row)?,
        None => None,
    };
    waiting::look(exam, execution, pending.as_ref())
}

/// A journal as far as it is told, without what calls were given: there may be a million of them.
#[derive(Default)]
struct Story {
    is_begun: bool,
    /// Of each call, whether it has its answer, and whether it began a connection.
    calls: Vec<(bool, bool)>,
    /// The last call that has no answer, and its row.
    unanswered: Option<(u32, i64)>,
    children: Vec<String>,
    /// Children whose ends it has: they may be gone.
    inherited: BTreeSet<String>,
    /// Code and message of what no replay could make sense of.
    contradictions: Vec<(&'static str, String)>,
}

fn read(exam: &Exam<'_>, key: Key) -> StoreResult<Story> {
    let (mut story, mut records) = (Story::default(), Vec::new());
    for row in journal::row_ids(exam.connection, key)? {
        journal::read_row::<IgnoredAny>(exam.connection, row, &mut records)?;
        records.drain(..).for_each(|record| story.go_on(row, record));
    }
    Ok(story)
}

impl Story {
    fn go_on(&mut self, row: i64, record: Record<IgnoredAny>) {
        match record {
            Record::Started(_) if self.is_begun => self.wrong("journal_begun_twice", "it begins again".into()),
            Record::Started(started) => {
                self.is_begun = self.calls.is_empty() && started.entropy.len() == 32;
                self.inherited = started.inherited.into_iter().map(|ended| ended.id).collect();
            }
            Record::Call { n, kind, reply, connection, .. } => {
                if n as usize != self.calls.len() {
                    self.wrong("journal_gap", format!("it has call {n} where call {} belongs", self.calls.len()));
                }
                self.calls.push((reply.is_some(), connection.is_some()));
                match reply {
                    None => self.unanswered = Some((n, row)),
                    Some(Reply::Id(child)) if kind == CallKind::StartFlow && !self.inherited.contains(&child) => {
                        self.children.push(child);
                    }
                    Some(_) => {}
                }
            }
            Record::Reply { n, .. } => {
                match self.calls.get_mut(n as usize) {
                    Some((is_answered, _)) if !*is_answered => *is_answered = true,
                    Some(_) => self.wrong("journal_answered_twice", format!("call {n} has two answers")),
                    None => self.wrong("journal_unasked", format!("it answers call {n}, which it does not have")),
                }
                self.unanswered.take_if(|(call, _)| *call == n);
            }
            Record::Settled { n, .. } => {
                if !self.calls.get(n as usize).is_some_and(|(_, is_connection)| *is_connection) {
                    self.wrong("journal_unasked", format!("a connection of call {n} ended, which began none"));
                }
            }
        }
    }

    fn wrong(&mut self, code: &'static str, message: String) {
        self.contradictions.push((code, message));
    }
}

/// A call with all that it was given.
fn pending_call(exam: &Exam<'_>, call: u32, row: i64) -> StoreResult<Option<Record>> {
    let mut records: Vec<Record> = Vec::new();
    journal::read_row(exam.connection, row, &mut records)?;
    Ok(records.into_iter().find(|record| matches!(record, Record::Call { n, .. } if *n == call)))
}

/// The parent, and the children that the journal says were started.
fn relatives(exam: &mut Exam<'_>, execution: &Unended, children: &[String]) -> StoreResult<()> {
    let is_there = |id: &str| executions::key_of(exam.connection, id).map(|key| key.is_some());
    let mut missing = Vec::new();
    if let Some(parent) = &execution.parent_id
        && !is_there(parent)?
    {
        missing.push(("parent_missing", format!("its parent {parent} is gone; nobody gets its result")));
    }
    for child in children {
        if !is_there(child)? {
            missing.push(("child_missing", format!("its child {child} is gone; a wait for it fails")));
        }
    }
    for (code, message) in missing {
        let remedy = "cancel it, or bring the workspace back from a backup";
        let finding = Finding { severity: Severity::Warning, ..of(code, &execution.id, message, remedy) };
        exam.find(finding, None)?;
    }
    Ok(())
}

const GONE: &str = "a journal is never repaired: bring the workspace back from a backup, or cancel this execution";

/// An error about an execution.
pub(super) fn of(code: &'static str, id: &str, message: String, remedy: &str) -> Finding {
    let (id, remedy) = (id.to_owned(), remedy.to_owned());
    Finding { code, severity: Severity::Error, kind: "execution", id, message, remedy, repaired: None }
}

#[cfg(test)]
mod tests {
    use surefoot_connector_api::Effect;

    use super::*;
    use crate::journal::{ConnectionStart, DigestVersion, Digester, Limits, Outcome, Started};
    use crate::people::Rights;

    fn started(entropy: usize) -> Record<IgnoredAny> {
        Record::Started(Started {
            at: Timestamp(1),
            entropy: vec![7; entropy],
            version: "native:x".into(),
            limits: Limits::default(),
            end_actions: Vec::new(),
            depth: 0,
            origins: Vec::new(),
            inherited: Vec::new(),
            digests: DigestVersion::NEWEST,
            locks: Vec::new(),
            engine: "test".into(),
            acts_as: Rights::of_executions(),
        })
    }

    fn call(n: u32, reply: Option<Reply>) -> Record<IgnoredAny> {
        let (kind, at) = (CallKind::StartConnection, Timestamp(1));
        let digest = Digester::new(&[0; 32]).digest(DigestVersion::NEWEST, kind, []);
        let connection = ConnectionStart {
            name: String::new(),
            connector_id: String::new(),
            connector_type: "echo".into(),
            revision: 0,
            effect: Effect::Read,
            retry_on_interrupt: false,
            timeout_ms: 1,
            retry: None,
            cache_ms: None,
        };
        let connection = Some(connection.into());
        Record::Call { n, kind, digest, args: IgnoredAny, at, due: None, connection, reply }
    }

    fn reply(n: u32) -> Record<IgnoredAny> {
        Record::Reply { n, at: Timestamp(1), reply: Reply::Unit }
    }

    fn settled(n: u32) -> Record<IgnoredAny> {
        let (began, at, outcome) = (Timestamp(1), Timestamp(1), Outcome::Interrupted.into());
        Record::Settled { n, began, at, outcome, attempts: Vec::new(), cached_at: None }
    }

    fn codes<const N: usize>(records: [Record<IgnoredAny>; N]) -> Vec<&'static str> {
        let mut story = Story::default();
        records.into_iter().for_each(|record| story.go_on(1, record));
        let head = (!story.is_begun).then_some("journal_headless");
        head.into_iter().chain(story.contradictions.into_iter().map(|(code, _)| code)).collect()
    }

    #[test]
    fn a_journal_that_fits_together_is_fine() {
        let records = [started(32), call(0, None), settled(0), reply(0), call(1, Some(Reply::Unit)), call(2, None)];
        assert_eq!(codes(records), [""; 0]);
    }

    #[test]
    fn what_no_replay_could_make_sense_of_is_named() {
        assert_eq!(codes([]), ["journal_headless"]);
        assert_eq!(codes([call(0, None), started(32)]), ["journal_headless"]);
        assert_eq!(codes([started(31)]), ["journal_headless"]);
        assert_eq!(codes([started(32), started(32)]), ["journal_begun_twice"]);
        assert_eq!(codes([started(32), call(1, None)]), ["journal_gap"]);
        assert_eq!(codes([started(32), call(0, None), call(0, None)]), ["journal_gap"]);
        assert_eq!(codes([started(32), reply(0)]), ["journal_unasked"]);
        assert_eq!(codes([started(32), settled(0)]), ["journal_unasked"]);
        assert_eq!(codes([started(32), call(0, Some(Reply::Unit)), reply(0)]), ["journal_answered_twice"]);
        assert_eq!(codes([started(32), call(0, None), reply(0), reply(0)]), ["journal_answered_twice"]);
    }
}
