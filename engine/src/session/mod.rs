//! One run of an execution's program against its journal.
//!
//! A session answers the host calls of a guest: from the journal while it lasts (replay), and then live. Replay
//! performs no effect
//! and asks nothing again. What a live call answers is durable, or derived from inputs and journal alone, before the
//! guest sees it.

mod approvals;
mod backlog;
mod budget;
mod children;
mod connections;
mod dependencies;
mod document;
mod files;
mod locks;
mod past;
mod records;
mod runs;
mod waits;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use rusqlite::Connection;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use backlog::Backlog;
use budget::{Budget, output_bytes};
use dependencies::Connections;
use past::{Past, PastCall};

pub use approvals::{Asked, Asking};
pub use connections::ConnectionOptions;
pub use dependencies::EndedDependency;
pub(crate) use dependencies::ended_flow;
pub use document::Document;
pub(crate) use document::{read, read_object};
pub(crate) use records::writable_kind;
pub use records::{EndAction, QueryCall};
pub use waits::ReturnWhen;

pub(crate) use crate::runs::{Ran, RunRequest};

use crate::clock::Timestamp;
use crate::core::{Core, Departure, Resident, lock};
use crate::grant::Grant;
use crate::journal::{
    Call, CallKind, ConnectionStart, Digest, HostError, Record, Reply, Status, canonical, shown_args,
};
use crate::people::Role;
use crate::planted::{Bug, is_planted};
use crate::secrets::Redactions;
use crate::store::executions::{self, Execution};
use crate::store::journal::Onwards;
use crate::store::logs::{self, LogLine};
use crate::store::{Concerns, Refusal, StoreError, StoreResult, Urgency, journal};

/// The end of a run. For a component it travels as a trap, so that no guest can catch it. It is no error by itself: see
/// `host/end.rs`.
#[derive(Clone, Debug)]
pub enum End {
    /// Ended well, with a message.
    Success(String),
    /// Ended with an error: stable code, message.
    Error(String, String),
    /// Ended well, with a response for a webhook's caller.
    Response(Value),
    /// To be started anew with these inputs.
    ContinueAsNew(Value),
    /// Ended by a cancel.
    Cancelled,
    /// Ended by its deadline.
    Overdue,
    /// Made another call than its journal has.
    Nondeterminism(String),
    /// A limit of the execution: its name, and what happened.
    Limit(&'static str, String),
    /// Not an end of the execution: the instance goes, and comes back later.
    Departed(Departed),
}

/// Why an instance goes without the execution having ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departed(pub(crate) Departure);

impl End {
    /// A store that failed, or is closing, ends no execution: recovery takes it up again.
    pub(crate) fn dropped() -> Self {
        Self::Departed(Departed(Departure::Dropped))
    }

    /// The end of a run that lacks something which may be there later.
    pub(crate) fn postponed(again: Timestamp) -> Self {
        Self::Departed(Departed(Departure::Postponed(again)))
    }

    /// The end of a run whose journal cannot be read on: for good when it is damaged.
    fn unreadable(error: StoreError) -> Self {
        match error {
            StoreError::Damaged(reason) => Self::Error("journal_damaged".into(), reason),
            _ => Self::dropped(),
        }
    }
}

/// The result of a host call: an answer or an error for the guest, or the end of the run.
pub type CallResult<T> = Result<Result<T, HostError>, End>;

struct State {
    past: Past,
    /// Connections that the journal started and that, as far as it has been read, may not have ended, with what they
    /// were asked.
    unsettled: BTreeMap<u32, (String, Document, Arc<ConnectionStart>)>,
    /// Number of the next call.
    next: u32,
    /// Journal time.
    clock: Timestamp,
    /// Lines logged since the last call.
    line: u32,
    output: Map<String, Value>,
    budget: Budget,
    backlog: Backlog,
    rng: ChaCha8Rng,
    /// Child flows that may be started before they are counted again.
    room_for_children: u32,
    connections: Connections,
    /// Registered so far.
    end_actions: Vec<EndAction>,
    /// The guest's last words on stderr, for the message of a trap.
    last_words: String,
    /// The sleep of the guest's runtime that was asked for and is not over: due time and call number.
    poll: Option<(Timestamp, u32)>,
    /// Why the run is over, where a host call could not say it.
    departure: Option<End>,
}

/// What a call is to do.
enum Turn {
    /// Answer this; the journal has it.
    Replayed(Reply),
    /// Go on with a call that had begun to wait, until then if it has a due time.
    Resumed(u32, Option<Timestamp>),
    /// Perform it.
    Live(u32, Call),
}

/// See the module.
pub struct Session {
    core: Arc<Core>,
    resident: Arc<Resident>,
    /// What the execution was shown as when this run began.
    shown: Status,
    state: Mutex<State>,
    departing: Notify,
}

impl Session {
    /// A session at the beginning of that journal.
    pub(crate) fn new(core: Arc<Core>, resident: Arc<Resident>, shown: Status, journal: Onwards) -> StoreResult<Self> {
        let mut past = Past::new(journal);
        past.fill(&core, &mut lock(&resident.settled))?;
        let mut seed = [0; 32];
        seed.copy_from_slice(&resident.started.entropy);
        let state = State {
            past,
            unsettled: BTreeMap::new(),
            next: 0,
            clock: resident.started.at,
            line: 0,
            output: Map::new(),
            budget: Budget::default(),
            backlog: Backlog::default(),
            rng: ChaCha8Rng::from_seed(seed),
            room_for_children: 0,
            connections: Connections::default(),
            end_actions: Vec::new(),
            last_words: String::new(),
            poll: None,
            departure: None,
        };
        Ok(Self { core, resident, shown, state: Mutex::new(state), departing: Notify::new() })
    }

    pub(crate) fn execution(&self) -> &Execution {
        &self.resident.execution
    }

    /// What the execution may reach, for what takes that role.
    pub(crate) fn grant(&self, needed: Role) -> Grant {
        Grant::of_execution(&self.execution().acts_as, needed)
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) fn resident(&self) -> &Arc<Resident> {
        &self.resident
    }

    /// Journal time.
    pub fn now(&self) -> Timestamp {
        lock(&self.state).clock
    }

    /// Number of the next call.
    #[cfg(test)]
    pub(crate) fn calls(&self) -> u32 {
        lock(&self.state).next
    }

    /// Whether the journal has the answer of the next call.
    #[cfg(test)]
    pub(crate) fn is_answered(&self) -> bool {
        let state = lock(&self.state);
        state.past.next().is_some_and(|call| call.reply.is_some())
    }

    /// The next bytes of the execution's randomness.
    pub fn random_bytes(&self, bytes: &mut [u8]) {
        lock(&self.state).rng.fill_bytes(bytes);
    }

    /// Takes what the end of the execution needs.
    pub(crate) fn take_output(&self) -> Value {
        let output = std::mem::take(&mut lock(&self.state).output);
        if output.is_empty() { Value::Null } else { Value::Object(output) }
    }

    /// What to do at the end: also what the journal has and this run has not come to.
    pub(crate) fn end_actions(&self) -> StoreResult<Vec<EndAction>> {
        let mut state = lock(&self.state);
        let inherited = self.resident.started.end_actions.clone();
        let mut actions: Vec<_> =
            inherited.into_iter().filter_map(|action| serde_json::from_value(action).ok()).collect();
        actions.append(&mut state.end_actions);
        while let Some(call) = state.past.take_next() {
            if call.kind == CallKind::OnEnd {
                let action = past::args(&self.core.readers, &call)?;
                actions.extend(serde_json::from_value::<EndAction>(action));
            }
            self.read_on(&mut state)?;
        }
        Ok(actions)
    }

    /// Keeps what the guest wrote to stderr last, for the message of a trap.
    pub(crate) fn last_words(&self) -> String {
        lock(&self.state).last_words.trim().to_owned()
    }

    /// Ends the run from where no error can be returned.
    pub(crate) fn depart(&self, end: End) {
        lock(&self.state).departure.get_or_insert(end);
        self.departing.notify_one();
    }

    /// Returns when the run was ended by [`depart`](Self::depart).
    pub(crate) async fn departed(&self) -> End {
        loop {
            if let Some(end) = lock(&self.state).departure.clone() {
                return end;
            }
            self.departing.notified().await;
        }
    }

    /// A field of the running execution.
    pub async fn get(&self, field: &str) -> CallResult<Value> {
        let reply = match self.turn(CallKind::Get, &[field.as_bytes()], || json!({ "field": field }))? {
            Turn::Replayed(reply) => reply,
            Turn::Resumed(..) => return Err(self.damaged()),
            Turn::Live(n, call) => {
                let (id, field) = (self.execution().id.clone(), field.to_owned());
                self.store_call(n, call, move |connection| {
                    let (_, row) =
                        executions::get(connection, &id)?.ok_or_else(|| StoreError::not_found("execution", &id))?;
                    crate::query::Kind::Execution
                        .field(&field)
                        .map_err(|error| StoreError::invalid(error.to_string()))?;
                    Ok((Reply::Json(Some(row[&field].clone())), ()))
                })
                .await?
                .0
            }
        };
        self.answer(reply, |reply| match reply {
            Reply::Json(value) => Some(value.unwrap_or(Value::Null)),
            _ => None,
        })
    }

    /// Sets one key of the output.
    pub fn set_output(&self, key: &str, value: Value) -> Result<(), End> {
        let mut state = lock(&self.state);
        let before = state.output.get(key).map_or(0, |before| output_bytes(key, before));
        state.budget.take_output(&self.resident.started.limits, before, output_bytes(key, &value))?;
        state.output.insert(key.to_owned(), value);
        Ok(())
    }

    /// Sets the line that says what the execution does now.
    pub fn set_message(&self, text: &str) -> Result<(), End> {
        self.check_payload(text.len())?;
        if self.is_live() {
            let (key, mut text) = (self.execution().key, text.to_owned());
            self.redactions()?.text(&mut text);
            self.write_behind(text.len(), move |connection| executions::set_message(connection, key, &text));
        }
        Ok(())
    }

    /// Writes a line to the execution's log. `source` is `log`, `stdout`, `stderr` or `engine`.
    pub fn log(&self, level: &str, source: &str, message: &str, fields: Value) -> Result<(), End> {
        let bytes = message.len() + if fields.is_null() { 0 } else { fields.to_string().len() };
        self.check_payload(bytes)?;
        // Before anything of it is cut.
        let words = match source {
            "stderr" => {
                let mut words = format!("{message}\n");
                self.redactions()?.text(&mut words);
                words
            }
            _ => String::new(),
        };
        let mut line = {
            let mut state = lock(&self.state);
            state.budget.take_log_line(&self.resident.started.limits, bytes)?;
            state.last_words.push_str(&words);
            let cut = state.last_words.ceil_char_boundary(state.last_words.len().saturating_sub(4096));
            state.last_words.drain(..cut);
            let line = LogLine {
                call: state.next,
                line: if is_planted(Bug::LogLinesShareAKey) { 0 } else { state.line },
                at: state.clock,
                level: level.to_owned(),
                source: source.to_owned(),
                message: message.to_owned(),
                fields,
            };
            state.line += 1;
            // Lines before a recorded call were committed with it.
            if state.past.next().is_some() {
                return Ok(());
            }
            line
        };
        let redactions = self.redactions()?;
        redactions.text(&mut line.message);
        redactions.value(&mut line.fields);
        let key = self.execution().key;
        self.write_behind(bytes, move |connection| logs::insert(connection, key, &line));
        Ok(())
    }

    /// Journals something that the guest states: a check, a metric, a section.
    pub fn note(&self, kind: CallKind, args: Value) -> Result<(), End> {
        let text = canonical(&args);
        if let Turn::Live(n, call) = self.turn(kind, &[&text], || args)? {
            let at = self.now();
            self.record_behind(text.len(), &record(n, call, at, Some(Reply::Unit)));
        }
        Ok(())
    }

    /// The error of a run that ended before it had made all calls that its journal has; none when it has.
    pub(crate) fn unmade_call(&self) -> Option<End> {
        let state = lock(&self.state);
        let past = state.past.next()?;
        let n = state.next;
        Some(End::Nondeterminism(format!(
            "the run ended before call {n}, which the journal has: recorded: {}. The flow's code is not \
                 deterministic, or it was changed under its journal",
            self.show_past(past)
        )))
    }

    /// Ends or suspends the run if somebody asked for that. Called where the guest may be interrupted.
    pub(crate) fn interruption(&self) -> Result<(), End> {
        use std::sync::atomic::Ordering::SeqCst;
        if self.core.stopping.is_cancelled() || self.core.degraded.load(SeqCst) {
            return Err(End::dropped());
        }
        if !(self.resident.cancel.load(SeqCst) || self.resident.pause.load(SeqCst)) || !self.is_live() {
            return Ok(());
        }
        if let Some(end) = self.must_end().filter(|_| !is_planted(Bug::CancelIgnored)) {
            return Err(end);
        }
        if self.resident.pause.load(SeqCst) && !is_planted(Bug::PauseIgnored) {
            return Err(End::Departed(Departed(Departure::Paused)));
        }
        Ok(())
    }

    /// The end that somebody, or the deadline, asks for.
    pub(crate) fn must_end(&self) -> Option<End> {
        use std::sync::atomic::Ordering::SeqCst;
        let asked = self.resident.cancel.load(SeqCst);
        asked.then(|| if self.resident.is_overdue.load(SeqCst) { End::Overdue } else { End::Cancelled })
    }

    /// Whether everything in the journal has been replayed.
    pub(crate) fn is_live(&self) -> bool {
        let state = lock(&self.state);
        state.past.next().is_none()
    }

    /// Whether it was shown as queued when this run began: it is new, or was resumed.
    pub(crate) fn is_shown_as_queued(&self) -> bool {
        self.shown == Status::Queued
    }

    /// Takes the next call: compares it with the journal, or begins it. `args` are for people.
    fn turn(&self, kind: CallKind, parts: &[&[u8]], args: impl FnOnce() -> Value) -> Result<Turn, End> {
        let digest = self.digest(kind, parts.iter().copied())?;
        match self.recorded(kind, digest)? {
            Some(turn) => Ok(turn),
            None => self.unrecorded(kind, digest, args()).map(|(n, call)| Turn::Live(n, call)),
        }
    }

    /// The digest of a call that passes these.
    fn digest<'a>(&self, kind: CallKind, parts: impl IntoIterator<Item = &'a [u8]> + Clone) -> Result<Digest, End> {
        self.check_payload(parts.clone().into_iter().map(<[u8]>::len).sum())?;
        Ok(self.core.digester.digest(self.resident.started.digests, kind, parts))
    }

    /// Takes the next call if it is the one that the journal has.
    fn recorded(&self, kind: CallKind, digest: Digest) -> Result<Option<Turn>, End> {
        self.interruption()?;
        let mut state = lock(&self.state);
        let n = state.next;
        if n >= self.resident.started.limits.calls_max {
            return Ok(None);
        }
        let Some(past) = state.past.take_next_if(|past| past.kind == kind && past.digest == digest) else {
            return Ok(None);
        };
        state.next += 1;
        state.line = 0;
        self.read_on(&mut state).map_err(End::unreadable)?;
        if let Some(start) = past.connection {
            state.connections.add(n, start);
        }
        state.clock = state.clock.max(past.at);
        if let Some(reply) = past.reply {
            return Ok(Some(Turn::Replayed(reply)));
        }
        drop(state);
        self.resume_unsettled()?;
        self.show_waiting(past.due);
        Ok(Some(Turn::Resumed(n, past.due)))
    }

    /// Begins the next call, which is not [`recorded`](Self::recorded): the journal has to be at its end.
    fn unrecorded(&self, kind: CallKind, digest: Digest, mut args: Value) -> Result<(u32, Call), End> {
        let mut state = lock(&self.state);
        let n = state.next;
        let limit = self.resident.started.limits.calls_max;
        if n >= limit {
            return Err(End::Limit(
                "calls_max",
                format!("the execution made more than {limit} host calls; continue as new before that"),
            ));
        }
        if let Some(past) = state.past.next() {
            self.redactions()?.value(&mut args);
            return Err(End::Nondeterminism(format!(
                "call {n} is not the one that the journal has: recorded: {}; made now: {}. The flow's code is not \
                     deterministic, or it was changed under its journal",
                self.show_past(past),
                show(kind, &args)
            )));
        }
        state.next += 1;
        state.line = 0;
        drop(state);
        self.resume_unsettled()?;
        // An action at the end is done with what stands in the journal.
        if kind != CallKind::OnEnd {
            self.redactions()?.value(&mut args);
        }
        Ok((n, Call { kind, digest, args }))
    }

    /// What is taken out of what is about to be stored for people to read. A replay never sees it.
    fn redactions(&self) -> Result<Redactions, End> {
        self.core.redactions(&self.resident, &[]).map_err(|_| End::dropped())
    }

    /// Reads the journal until the next call in it is whole.
    fn read_on(&self, state: &mut State) -> StoreResult<()> {
        if state.past.is_ready() {
            return Ok(());
        }
        state.past.fill(&self.core, &mut lock(&self.resident.settled))
    }

    fn show_past(&self, past: &PastCall) -> String {
        let args = past::args(&self.core.readers, past);
        let args = args.unwrap_or_else(|error| Value::String(error.to_string()));
        show(past.kind, &shown_args(past.kind, &args, past.connection.as_deref(), past.reply.as_ref()))
    }

    /// Performs a call that touches only our own store, in one transaction with its entry. A refusal becomes the
    /// call's error.
    async fn store_call<T: Send + 'static>(
        &self,
        n: u32,
        call: Call,
        work: impl FnOnce(&Connection) -> StoreResult<(Reply, T)> + Send + 'static,
    ) -> Result<(Reply, Option<T>), End> {
        let at = self.advance();
        let key = self.execution().key;
        let ticket = self.core.writer.submit(Urgency::Now, Concerns::One(key), move |connection| {
            let (reply, value) = match crate::store::writer::guarded(connection, work) {
                Ok((reply, value)) => (reply, Some(value)),
                Err(StoreError::Refused(refusal)) => (Reply::Error(refusal.into()), None),
                Err(failed) => return Err(failed),
            };
            journal::append(connection, key, &record(n, call, at, Some(reply.clone())))?;
            Ok((reply, value))
        });
        let (reply, value) = ticket.done().await.map_err(|_| End::dropped())?;
        self.core.changed(&self.execution().id);
        Ok((reply, value))
    }

    /// Moves the journal's time to now, never back.
    fn advance(&self) -> Timestamp {
        let mut state = lock(&self.state);
        let now = self.core.now();
        state.clock = if is_planted(Bug::ClockFollowedBack) { now } else { state.clock.max(now) };
        state.clock
    }

    /// Tells who follows the execution, once the write is durable.
    fn tell_followers<T: Send + 'static>(&self, ticket: crate::store::writer::Ticket<T>) {
        if self.core.changes.receiver_count() == 0 {
            return;
        }
        let (core, id) = (self.core.clone(), self.execution().id.clone());
        self.core.tasks.spawn(async move {
            if ticket.done().await.is_ok() {
                core.changed(&id);
            }
        });
    }

    /// Turns a reply into the call's result.
    fn answer<T>(&self, reply: Reply, take: impl FnOnce(Reply) -> Option<T>) -> CallResult<T> {
        match reply {
            Reply::Error(error) => Ok(Err(error)),
            reply => take(reply).map(Ok).ok_or_else(|| self.damaged()),
        }
    }

    /// A journal whose entry has a reply of another shape than its call. Only damage can cause that.
    fn damaged(&self) -> End {
        let n = lock(&self.state).next.saturating_sub(1);
        End::Error("journal_damaged".into(), format!("the journal's reply to call {n} has the wrong shape"))
    }

    /// How long a replay of the journal so far would take, by a cautious estimate.
    fn replay_estimate(&self) -> Duration {
        Duration::from_micros(300) + Duration::from_micros(2) * lock(&self.state).next
    }
}

fn record(n: u32, call: Call, at: Timestamp, reply: Option<Reply>) -> Record {
    Record::Call { n, kind: call.kind, digest: call.digest, args: call.args, at, due: None, connection: None, reply }
}

/// A call for people, cut when it is long.
fn show(kind: CallKind, args: &Value) -> String {
    let name = serde_json::to_value(kind).unwrap_or_default();
    let mut args = args.to_string();
    if args.len() > 300 {
        args.truncate(args.floor_char_boundary(300));
        args.push('…');
    }
    format!("{} {args}", name.as_str().unwrap_or_default())
}

impl From<Refusal> for HostError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound(text) => Self::NotFound(text),
            Refusal::Conflict(text) | Refusal::Gone(text) => Self::Conflict(text),
            Refusal::Forbidden(text) => Self::PermissionDenied(text),
            Refusal::Invalid(text) | Refusal::Busy(text) => Self::InvalidInput(text),
        }
    }
}
