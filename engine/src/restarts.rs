//! Restarting from a call: a new execution whose journal begins with what the journal of an old one has of the calls
//! before that one.
//!
//! Nothing that these calls did is done again, and nothing of what they began is left behind: a connection's end is
//! taken over although it may have come later, and so is that of a child flow. Where that cannot be, the restart is
//! refused, and the refusal names a call from which it can be. [`look`] reads the old journal, which may be long;
//! [`begin`] is part of a transaction of the writer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use surefoot_connector_api::Effect;

use crate::approvals::approval_id;
use crate::core::Core;
use crate::id;
use crate::journal::{
    CallKind, ConnectionStart, Ended, HostError, Origin, Outcome, Record, Reply, Started, encode_onto, new_row,
};
use crate::planted::{Bug, is_planted};
use crate::session::ended_flow;
use crate::store::executions::{self, Key, NewExecution};
use crate::store::{Refusal, StoreError, StoreResult, contents, journal, logs, trash};

/// Which version of its flow a restarted execution runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestartVersion {
    /// That of the execution that it is restarted from.
    #[default]
    Same,
    /// The flow's present one. Where that does not make the same calls up to the one that it is restarted from, it ends
    /// with the code `nondeterminism`.
    Newest,
}

/// What a new execution takes over from an old one.
pub(crate) struct Taken {
    key: Key,
    id: String,
    /// The number of the first call that is made anew.
    from: u32,
    /// The old journal's last row when it was read.
    tail: Option<i64>,
    started: Started,
    rows: Vec<Row>,
    /// Contents that the calls read: a replay reads them again.
    contents: BTreeSet<String>,
    /// What the calls began and did not see the end of, by its id.
    open: BTreeMap<String, Open>,
}

/// What is taken over of a row of the journal.
enum Row {
    /// The whole row with that number.
    Whole(i64),
    /// These records.
    Part(Vec<u8>),
}

/// What call number `n` began.
struct Open {
    n: u32,
    what: What,
}

enum What {
    Connection(Arc<ConnectionStart>, Option<Arc<Outcome>>),
    Child,
    Question,
    /// The name that it was locked by, and how many times it is to be unlocked.
    Lock(String, u32),
}

/// Reads what there is to be taken over of an execution that has ended, for a restart from call number `from`.
///
/// # Errors
/// A refusal, when that cannot be its beginning.
pub(crate) fn look(connection: &Connection, key: Key, id: &str, from: u32) -> StoreResult<Taken> {
    if from == 0 {
        let text = "call 0 is the first one, and to make all calls anew is a rerun: use that, or restart from a later \
                    call";
        return Err(StoreError::invalid(text));
    }
    refuse_trash(connection, key, id)?;
    if executions::active_one(connection, key)?.is_some() {
        let text = "has not ended, and two executions would go on from there; cancel it first, or wait for its end";
        return Err(conflict(format!("execution {id} {text}")));
    }
    let taken = match read(connection, key, id, from) {
        Err(StoreError::Damaged(reason)) => {
            return Err(conflict(format!(
                "the journal of execution {id} cannot be read: {reason}; rerun it from its beginning, or bring the \
                 workspace back from a backup"
            )));
        }
        read => read?,
    };
    for open in taken.open.values() {
        let n = open.n;
        match &open.what {
            What::Connection(start, Some(outcome)) if **outcome == Outcome::Interrupted => {
                return Err(unknown(n, start));
            }
            What::Question => {
                return Err(conflict(format!(
                    "call {n} asked a question, and no call before call {from} got the answer; restart from call {n}, \
                     so that it is asked again"
                )));
            }
            What::Lock(_, 0) => {
                return Err(conflict(format!(
                    "execution {id} held a lock from its beginning, which it had from the one that continued as it, \
                     and no call before call {from} unlocked it; the lock has been given up: rerun it"
                )));
            }
            What::Lock(name, _) => {
                return Err(conflict(format!(
                    "call {n} locked `{name}`, and no call before call {from} unlocked it; the lock has been given up: \
                     restart from call {n}, so that it is locked again"
                )));
            }
            What::Connection(..) | What::Child => {}
        }
    }
    Ok(taken)
}

/// Creates the execution, with what it takes over. None when the old one's journal has grown since it was looked at.
pub(crate) fn begin(
    core: &Core,
    connection: &Connection,
    taken: &Taken,
    version: RestartVersion,
    mut new: NewExecution,
) -> StoreResult<Option<Key>> {
    let Taken { key, id, from, started, .. } = taken;
    refuse_trash(connection, *key, id)?;
    if journal::tail(connection, *key)? != taken.tail {
        return Ok(None);
    }
    let inherited = taken.open_ends(core, connection)?;
    new.restarted_from = Some((id.clone(), *from));
    new.started = Started {
        version: match version {
            RestartVersion::Same => started.version.clone(),
            RestartVersion::Newest => new.started.version,
        },
        engine: new.started.engine,
        // Those of who restarts it, whatever the old one was let do.
        acts_as: new.started.acts_as,
        origins: origins(started, id, *from),
        inherited,
        ..started.clone()
    };
    let new = executions::insert(connection, &new, core.now())?;
    for row in &taken.rows {
        match row {
            Row::Whole(row) => journal::append_copy(connection, new, *row)?,
            Row::Part(records) => journal::append_row(connection, new, records)?,
        }
    }
    for sha256 in &taken.contents {
        contents::note_read(connection, new, sha256)?;
    }
    logs::copy(connection, *key, new, *from)?;
    Ok(Some(new))
}

impl Taken {
    /// The connections that the new execution takes up, since nobody knows how they ended.
    #[cfg(test)]
    pub(crate) fn taken_up(&self) -> impl Iterator<Item = &str> {
        let open = self.open.iter().filter(|(_, open)| matches!(open.what, What::Connection(_, None)));
        open.map(|(id, _)| id.as_str())
    }

    /// How the child flows ended whose ends the calls did not see.
    fn open_ends(&self, core: &Core, connection: &Connection) -> StoreResult<Vec<Ended>> {
        let mut inherited = Vec::new();
        for (id, Open { n, what }) in &self.open {
            match what {
                What::Connection(start, None) => {
                    if core.resident(self.key).is_some_and(|resident| resident.is_running(*n)) {
                        let text = format!(
                            "call {n} called `{}`, and that has not ended yet; try again when it has",
                            start.name
                        );
                        return Err(conflict(text));
                    }
                    // What reads, and what may be repeated, is taken up by the new execution as after a crash.
                    if start.effect == Effect::Write && !start.retry_on_interrupt {
                        return Err(unknown(*n, start));
                    }
                }
                What::Child => inherited.extend(self.child_end(core, connection, *n, id)?),
                What::Connection(_, Some(_)) | What::Question | What::Lock(..) => {}
            }
        }
        Ok(inherited)
    }

    /// None of a child that is gone, or is nobody's: a wait for it says so.
    fn child_end(&self, core: &Core, connection: &Connection, n: u32, id: &str) -> StoreResult<Option<Ended>> {
        if let Some(ended) = self.started.inherited.iter().find(|ended| ended.id == id) {
            return Ok(Some(ended.clone()));
        }
        let Some(row) = core.last_of_chain(connection, id)? else { return Ok(None) };
        match ended_flow(id, &row) {
            Some(ended) => Ok(Some(ended.into_entry())),
            None if row["orphan"] == true => Ok(None),
            None => Err(conflict(format!(
                "call {n} started the flow `{}`, and that has not ended: wait for the end of execution {}, or cancel \
                 it, or restart from call {n}",
                row["name"].as_str().unwrap_or_default(),
                row["id"].as_str().unwrap_or_default()
            ))),
        }
    }
}

fn refuse_trash(connection: &Connection, key: Key, id: &str) -> StoreResult<()> {
    match trash::holds(connection, key)? {
        true => Err(conflict(format!("execution {id} is in the trash; restore it first"))),
        false => Ok(()),
    }
}

/// Whose the calls before number `from` are.
fn origins(started: &Started, id: &str, from: u32) -> Vec<Origin> {
    let mut origins: Vec<Origin> = Vec::new();
    let this = Origin { execution: id.to_owned(), before: u32::MAX };
    for origin in started.origins.iter().chain([&this]) {
        let before = origin.before.min(from);
        if origins.last().is_none_or(|last| last.before < before) {
            origins.push(Origin { execution: origin.execution.clone(), before });
        }
    }
    origins
}

fn unknown(n: u32, start: &ConnectionStart) -> StoreError {
    conflict(format!(
        "nobody knows whether what call {n} asked of `{}` was done; restart from call {n} to ask for it again",
        start.name
    ))
}

fn conflict(text: String) -> StoreError {
    StoreError::Refused(Refusal::Conflict(text))
}

/// A walk through a journal.
struct Reading<'a> {
    id: &'a str,
    from: u32,
    calls: u32,
    /// Whether the last of them has its answer.
    is_answered: bool,
    started: Option<Started>,
    contents: BTreeSet<String>,
    open: BTreeMap<String, Open>,
    /// The last call, if it was about a lock: which, and what it named.
    about_lock: Option<(CallKind, String)>,
}

fn read(connection: &Connection, key: Key, id: &str, from: u32) -> StoreResult<Taken> {
    let (started, contents, open) = (None, BTreeSet::new(), BTreeMap::new());
    let mut reading = Reading { id, from, calls: 0, is_answered: true, started, contents, open, about_lock: None };
    let (mut rows, mut records) = (Vec::new(), Vec::new());
    let ids = journal::row_ids(connection, key)?;
    for row in &ids {
        journal::read_row(connection, *row, &mut records)?;
        let all = records.len();
        let mut kept = Vec::new();
        for record in records.drain(..) {
            if reading.takes(&record)? {
                kept.push(record);
            }
        }
        if kept.len() == all {
            rows.push(Row::Whole(*row));
        } else if !kept.is_empty() {
            let mut part = new_row();
            kept.iter().for_each(|record| encode_onto(&mut part, record));
            rows.push(Row::Part(part));
        }
    }
    reading.check_reach()?;
    let Reading { started, contents, open, .. } = reading;
    let started = started.ok_or_else(|| StoreError::Damaged("it has no first record".into()))?;
    Ok(Taken { key, id: id.to_owned(), from, tail: ids.last().copied(), started, rows, contents, open })
}

impl Reading<'_> {
    /// Whether a record is taken over.
    fn takes(&mut self, record: &Record) -> StoreResult<bool> {
        match record {
            Record::Started(started) => {
                self.started = Some(started.clone());
                let inherited = |id: &String| (lock_key(id), Open { n: 0, what: What::Lock(id.clone(), 0) });
                self.open.extend(started.locks.iter().map(inherited));
                return Ok(false);
            }
            Record::Call { n, .. } if *n != self.calls => {
                return Err(StoreError::Damaged(format!("it has call {n} where call {} belongs", self.calls)));
            }
            Record::Call { n, reply, .. } => {
                self.calls += 1;
                self.is_answered = reply.is_some();
                if *n >= self.from {
                    return Ok(false);
                }
            }
            Record::Reply { n, .. } if n + 1 != self.calls => {
                return Err(StoreError::Damaged(format!("it answers call {n}, which does not wait for an answer")));
            }
            Record::Reply { n, .. } => {
                self.is_answered = true;
                if *n >= self.from {
                    return Ok(false);
                }
            }
            Record::Settled { n, .. } if *n >= self.from => return Ok(false),
            Record::Settled { .. } => {}
        }
        self.contents.extend(record.content_read().map(str::to_owned));
        self.follow(record);
        self.follow_locks(record);
        Ok(!(is_planted(Bug::EndsLeftBehind) && matches!(record, Record::Settled { .. })))
    }

    /// What the calls that are taken over begin, and see the end of.
    fn follow(&mut self, record: &Record) {
        let Some(started) = &self.started else { return };
        let maker = |n| started.maker(self.id, n);
        let connection_id = |n| id::connection_id(maker(n), n);
        let begun = |what, n| Open { n, what };
        match record {
            Record::Call { n, connection: Some(start), .. } => {
                self.open.insert(connection_id(*n), begun(What::Connection(start.clone(), None), *n));
            }
            Record::Call { n, kind: CallKind::StartFlow, reply: Some(Reply::Id(child)), .. } => {
                self.open.insert(child.clone(), begun(What::Child, *n));
            }
            Record::Call { n, kind: CallKind::Ask, reply: Some(Reply::Id(_)), .. } => {
                self.open.insert(approval_id(maker(*n), *n), begun(What::Question, *n));
            }
            // Whatever becomes of the wait: it is over when the next call is made.
            Record::Call { kind: CallKind::WaitAnswer, args, .. } => {
                self.open.remove(args["id"].as_str().unwrap_or_default());
            }
            Record::Call { reply: Some(reply), .. } | Record::Reply { reply, .. } => {
                for ended in ends(reply) {
                    match id::parse_relative(ended) {
                        Some(n) => self.open.remove(&connection_id(n)),
                        None => self.open.remove(ended),
                    };
                }
            }
            Record::Settled { n, outcome, .. } => {
                if let Some(Open { what: What::Connection(_, end), .. }) = self.open.get_mut(&connection_id(*n)) {
                    *end = Some(outcome.clone());
                }
            }
            Record::Call { .. } | Record::Started(_) => {}
        }
    }

    /// Which locks the calls that are taken over hold.
    fn follow_locks(&mut self, record: &Record) {
        let (n, reply) = match record {
            Record::Call { n, kind, args, reply, .. } => {
                let is_about_lock = matches!(kind, CallKind::Lock | CallKind::Unlock);
                let name = || args["setting"].as_str().unwrap_or_default().to_owned();
                self.about_lock = is_about_lock.then(|| (*kind, name()));
                (*n, reply.as_ref())
            }
            Record::Reply { n, reply, .. } => (*n, Some(reply)),
            Record::Started(_) | Record::Settled { .. } => return,
        };
        let (Some((kind, name)), Some(Reply::Json(Some(Value::String(id))))) = (&self.about_lock, reply) else {
            return;
        };
        let key = lock_key(id);
        if *kind == CallKind::Lock {
            let first = || Open { n, what: What::Lock(name.clone(), 0) };
            if let What::Lock(_, times) = &mut self.open.entry(key).or_insert_with(first).what {
                *times += 1;
            }
            return;
        }
        match self.open.get_mut(&key).map(|open| &mut open.what) {
            Some(What::Lock(_, times)) if *times > 1 => *times -= 1,
            _ => drop(self.open.remove(&key)),
        }
    }

    fn check_reach(&self) -> StoreResult<()> {
        let Self { id, from, calls, is_answered, .. } = self;
        let last = if *is_answered { *calls } else { calls - 1 };
        if *from <= last {
            return Ok(());
        }
        let text = match last {
            0 => format!("no call of execution {id} was answered: rerun it"),
            last if from == calls => format!(
                "call {last} of execution {id} was never answered; restart from call {last} at the latest, so that \
                 it is made anew"
            ),
            last => format!(
                "execution {id} has no call {from}: it can be restarted from call 1 to {last}; its journal has the \
                 numbers"
            ),
        };
        Err(StoreError::invalid(text))
    }
}

/// Of a lock among what is open: no id of an execution or a question begins so.
fn lock_key(setting: &str) -> String {
    format!("lock {setting}")
}

/// Whose ends the answer of a wait tells.
fn ends(reply: &Reply) -> Vec<&str> {
    match reply {
        Reply::Ended(ended) => ended.iter().map(|ended| ended.id.as_str()).collect(),
        Reply::Error(HostError::DependencyFailed(failure)) => vec![&failure.execution_id],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod scenarios;
