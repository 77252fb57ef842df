//! Host calls that wait: for time, for dependencies, for signals, and what waits for locks shares with those.
//!
//! A wait that is short keeps its instance. A long one gives it up: the run ends with [`End::Departed`], and the
//! executor starts
//! another when the time has come or something happened.

use std::time::Duration;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::approvals::take_answer;
use super::locks::take_lock;
use super::{CallResult, Departed, End, EndedDependency, HostError, Session, Turn};
use crate::clock::Timestamp;
use crate::core::{Departure, lock};
use crate::journal::{Call, CallKind, DigestVersion, Record, Reply, Status, wait_args};
use crate::planted::{Bug, is_planted};
use crate::store::executions::{ActiveState, Key};
use crate::store::writer::Ticket;
use crate::store::{Concerns, StoreResult, Urgency, approvals, executions, journal, locks, signals};

/// What a wait waits for. The numbers are part of its digest: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReturnWhen {
    /// All have ended, however.
    AllEnded = 0,
    /// All have succeeded, or one has not.
    AllSucceeded = 1,
    /// One has ended.
    FirstEnded = 2,
}

/// What the guest passed to a wait. Its canonical JSON, which old digests are of, as long as the members stand in the
/// order of their names.
#[derive(Serialize)]
struct WaitArgs<'a> {
    ids: &'a [String],
    timeout_ms: Option<u64>,
    when: ReturnWhen,
}

/// A replay may take this part of the wait that it frees memory for.
const REPLAY_SHARE: u32 = 100;

/// What a wait is for that others end.
#[derive(Clone, Debug)]
pub(super) enum Awaited {
    /// The oldest unused signal of that name.
    Named(String),
    /// The answer to the question with that id.
    Answer(String),
    /// The lock that the call of that number asked for.
    Lock(u32),
}

impl Awaited {
    /// Whether the wait is over, or may be.
    fn is_there(&self, connection: &Connection, key: Key) -> StoreResult<bool> {
        match self {
            Self::Named(name) => signals::is_there(connection, key, name),
            Self::Answer(id) => approvals::is_decided(connection, id),
            Self::Lock(call) => Ok(locks::is_decided(connection, key, *call)? || is_planted(Bug::LockTakenAtWaking)),
        }
    }

    /// Takes it for call number `call`. None while it may still come.
    fn take(&self, connection: &Connection, key: Key, call: u32, timed_out: bool) -> StoreResult<Option<Reply>> {
        let blind = timed_out && is_planted(Bug::TimeoutBeatsSignal);
        Ok(match self {
            Self::Named(name) => match if blind { None } else { signals::take(connection, key, name, call)? } {
                Some(signal) => Some(Reply::Signal(signal.id, signal.payload, signal.sender.who)),
                None => timed_out.then(|| Reply::Error(HostError::SignalTimeout(name.clone()))),
            },
            Self::Answer(id) => take_answer(connection, id, call, timed_out)?,
            Self::Lock(_) => take_lock(connection, key, call, timed_out)?,
        })
    }
}

/// How a wait in memory went on.
pub(super) enum Woken {
    Touched,
    Due,
}

impl Session {
    /// Returns when that much time has passed, never earlier.
    pub async fn sleep(&self, duration: Duration, message: Option<&str>) -> Result<(), End> {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let parts = [&millis.to_le_bytes()[..], message.unwrap_or_default().as_bytes()];
        let shown = || json!({"duration_ms": millis, "message": message});
        let turn = self.turn(CallKind::Sleep, &parts, shown)?;
        let due = self.core.now().max(self.now()).after(duration);
        self.sleep_turn(turn, due, message).await
    }

    /// Returns when that time has come, never earlier.
    pub async fn sleep_until(&self, due: Timestamp, message: Option<&str>) -> Result<(), End> {
        let parts = [&due.0.to_le_bytes()[..], message.unwrap_or_default().as_bytes()];
        let shown = || json!({"due": due.to_string(), "message": message});
        let turn = self.turn(CallKind::SleepUntil, &parts, shown)?;
        self.sleep_turn(turn, due, message).await
    }

    /// A sleep of the guest's own runtime, until that journal time.
    pub(crate) async fn poll_until(&self, due: Timestamp) -> Result<(), End> {
        if due <= self.now() {
            return Ok(());
        }
        // A runtime that polls the same timer again makes no other call.
        let begun = lock(&self.state).poll;
        let turn = match begun {
            Some((of, n)) if of == due => return self.sleep_to_the_end(n, due).await,
            Some(_) => {
                let message =
                    "the flow's runtime waits for several timers at once; wait for one at a time, or start child flows";
                return Err(End::Error("unsupported".into(), message.into()));
            }
            None => self.turn(CallKind::Poll, &[&due.0.to_le_bytes()], || json!({"due": due.to_string()}))?,
        };
        if let Turn::Live(n, _) | Turn::Resumed(n, _) = &turn {
            lock(&self.state).poll = Some((due, *n));
        }
        self.sleep_turn(turn, due, None).await
    }

    async fn sleep_turn(&self, turn: Turn, due: Timestamp, message: Option<&str>) -> Result<(), End> {
        match turn {
            Turn::Replayed(_) => Ok(()),
            Turn::Resumed(n, begun) => self.sleep_to_the_end(n, begun.unwrap_or(due)).await,
            Turn::Live(n, call) => {
                if let Some(message) = message {
                    self.set_message(message)?;
                }
                let ticket = self.record_waiting(n, call, Some(due));
                let recorded = async {
                    ticket.done().await.map_err(|_| End::dropped())?;
                    self.core.changed(&self.execution().id);
                    Ok(())
                };
                // The guest sees the due time, which came from the clock: it must be durable by then. Asked in this
                // order: followers hear of a sleep also when the instance goes.
                futures::future::try_join(recorded, self.sleep_to_the_end(n, due)).await.map(drop)
            }
        }
    }

    async fn sleep_to_the_end(&self, n: u32, due: Timestamp) -> Result<(), End> {
        loop {
            self.resident.take_dirty();
            self.interruption()?;
            if self.core.now() >= due {
                break;
            }
            self.wait_in_memory_or_park(Some(due), Some(ActiveState::Asleep)).await?;
        }
        // The time of the return is the due time and nothing later, so it need not be durable by itself.
        let at = {
            let mut state = lock(&self.state);
            let end = if is_planted(Bug::SleepEndsNow) { self.core.now() } else { due };
            state.clock = state.clock.max(end);
            state.poll = None;
            state.clock
        };
        self.record_reply(n, at, Reply::Unit, Urgency::Lazy);
        Ok(())
    }

    /// Waits for dependencies, by id. Returns those that have ended, in the order of `ids`.
    pub async fn wait(
        &self,
        ids: &[String],
        when: ReturnWhen,
        timeout: Option<Duration>,
    ) -> CallResult<Vec<EndedDependency>> {
        let (n, mut begun, due) = match self.turn_of_wait(ids, when, timeout)? {
            Turn::Replayed(_) if is_planted(Bug::WaitAskedAgain) && matches!(self.met(ids, when), Ok(Some(_))) => {
                return self.met(ids, when)?.ok_or_else(End::dropped);
            }
            Turn::Replayed(reply) => return self.waited(reply).await,
            Turn::Resumed(n, due) => (n, None, due),
            Turn::Live(n, call) => {
                (n, Some(call), timeout.map(|timeout| self.core.now().max(self.now()).after(timeout)))
            }
        };
        if let Some(error) = self.unknown_dependency(ids)? {
            return self.conclude(n, begun, Err(error)).await;
        }
        self.recall(ids.iter()).await?;
        let only_connections = ids.iter().all(|id| self.own_connection(id).is_some());
        if !(only_connections && due.is_none())
            && let Some(call) = begun.take_if(|_| !matches!(self.met(ids, when), Ok(Some(_))))
        {
            self.tell_followers(self.record_waiting(n, call, due));
        }
        loop {
            self.resident.take_dirty();
            self.interruption()?;
            if let Some(met) = self.met(ids, when)? {
                return self.conclude(n, begun, met).await;
            }
            if due.is_some_and(|due| self.core.now() >= due) {
                let pending = self.pending(ids)?;
                return self.conclude(n, begun, Err(HostError::DependencyTimeout(pending))).await;
            }
            if let Woken::Due = self.wait_in_memory_or_park(due, begun.is_none().then_some(ActiveState::Parked)).await?
                && let Some(call) = begun.take()
            {
                // It waits for long: let people and recovery see that.
                self.tell_followers(self.record_waiting(n, call, due));
            }
        }
    }

    fn turn_of_wait(&self, ids: &[String], when: ReturnWhen, timeout: Option<Duration>) -> Result<Turn, End> {
        let asked = WaitArgs { ids, timeout_ms: timeout.map(|timeout| timeout.as_millis() as u64), when };
        let digest = match self.resident.started.digests {
            DigestVersion::Text => {
                let timeout = asked.timeout_ms.unwrap_or(u64::MAX).to_le_bytes();
                let ids = ids.iter().map(String::as_bytes);
                self.digest(CallKind::Wait, [&[when as u8][..], &timeout].into_iter().chain(ids))?
            }
            DigestVersion::Canonical => {
                let text = serde_json::to_vec(&asked).expect("this is plain JSON");
                self.digest(CallKind::Wait, [&text[..]])?
            }
        };
        match self.recorded(CallKind::Wait, digest)? {
            Some(turn) => Ok(turn),
            None => self.unrecorded(CallKind::Wait, digest, json!(asked)).map(|(n, call)| Turn::Live(n, call)),
        }
    }

    /// Waits for a signal of that name, or takes one that came before: id, payload, sender.
    pub async fn wait_signal(&self, name: &str, timeout: Option<Duration>) -> CallResult<(String, Value, String)> {
        let millis = timeout.map_or(u64::MAX, |timeout| timeout.as_millis() as u64);
        let parts = [name.as_bytes(), &millis.to_le_bytes()];
        let shown = || json!({"name": name, "timeout_ms": timeout.map(|timeout| timeout.as_millis() as u64)});
        let (n, due) = match self.turn(CallKind::WaitSignal, &parts, shown)? {
            Turn::Replayed(reply) => return self.answer(reply, as_signal),
            Turn::Resumed(n, due) => (n, due),
            Turn::Live(n, call) => {
                let due = timeout.map(|timeout| self.core.now().max(self.now()).after(timeout));
                self.tell_followers(self.record_waiting(n, call, due));
                (n, due)
            }
        };
        let reply = self.await_reply(n, due, Awaited::Named(name.to_owned())).await?;
        self.answer(reply, as_signal)
    }

    /// Goes on with a wait that has been recorded.
    pub(super) async fn await_reply(&self, n: u32, due: Option<Timestamp>, awaited: Awaited) -> Result<Reply, End> {
        let key = self.execution().key;
        loop {
            self.resident.take_dirty();
            self.interruption()?;
            let there = self.core.readers.read(|connection| awaited.is_there(connection, key));
            let timed_out = due.is_some_and(|due| self.core.now() >= due);
            if there.map_err(|_| End::dropped())? || timed_out {
                if let Some(reply) = self.take(n, &awaited, timed_out).await? {
                    return Ok(reply);
                }
                continue;
            }
            self.wait_in_memory_or_park(due, Some(ActiveState::Parked)).await?;
        }
    }

    /// Takes what was waited for in one transaction with the entry that names it; the order of commits decides against
    /// the timeout.
    async fn take(&self, n: u32, awaited: &Awaited, timed_out: bool) -> Result<Option<Reply>, End> {
        let (key, awaited, at) = (self.execution().key, awaited.clone(), self.advance());
        let ticket = self.core.writer.submit(Urgency::Now, Concerns::One(key), move |connection| {
            let Some(reply) = awaited.take(connection, key, n, timed_out)? else { return Ok(None) };
            executions::set_running(connection, key, at)?;
            journal::append(connection, key, &Record::Reply { n, at, reply: reply.clone() })?;
            Ok(Some(reply))
        });
        ticket.done().await.map_err(|_| End::dropped())
    }

    /// Keeps the instance while the wait is short, or gives it up. `state` is what recovery is to know of the wait;
    /// none while the wait
    /// is not recorded.
    pub(super) async fn wait_in_memory_or_park(
        &self,
        due: Option<Timestamp>,
        state: Option<ActiveState>,
    ) -> Result<Woken, End> {
        let now = self.core.now();
        let rest = due.map(|due| due.since(now));
        let worth_it = rest.is_none_or(|rest| rest > self.replay_estimate() * REPLAY_SHARE);
        if let Some(state) = state
            && rest.is_some()
            && worth_it
        {
            return Err(self.park(due, state).await?);
        }
        // A wait without a known end keeps its instance for a while only.
        let until = due.unwrap_or_else(|| now.after(self.core.config.idle_before_parking));
        tokio::select! {
            biased;
            () = self.core.stopping.cancelled() => Err(End::dropped()),
            () = self.resident.touched() => Ok(Woken::Touched),
            () = self.core.config.clock.wait_until(until) => match state {
                Some(state) if due.is_none() => Err(self.park(due, state).await?),
                _ => Ok(Woken::Due),
            }
        }
    }

    /// Makes the wait known to recovery, and the end of this run.
    async fn park(&self, due: Option<Timestamp>, state: ActiveState) -> Result<End, End> {
        // After a crash, calls that were under way must be looked at whatever the execution waits for.
        let state = if lock(&self.resident.running).is_empty() { state } else { ActiveState::Runnable };
        let (key, status) = (self.execution().key, self.waiting_status());
        let ticket = self
            .core
            .writer
            .apply(Urgency::Now, key, move |connection| executions::set_waiting(connection, key, status, due, state));
        ticket.done().await.map_err(|_| End::dropped())?;
        Ok(End::Departed(Departed(Departure::Parked(due))))
    }

    pub(super) fn waiting_status(&self) -> Status {
        if self.execution().is_schedule { Status::Scheduled } else { Status::Waiting }
    }

    /// Who was resumed is shown as queued, and may go on waiting all the same.
    pub(super) fn show_waiting(&self, due: Option<Timestamp>) {
        if self.shown != Status::Queued {
            return;
        }
        let (key, status) = (self.execution().key, self.waiting_status());
        let ticket = self.core.writer.apply(Urgency::Lazy, key, move |connection| {
            executions::set_waiting(connection, key, status, due, ActiveState::Runnable)
        });
        self.tell_followers(ticket);
    }

    pub(super) fn record_waiting(&self, n: u32, call: Call, due: Option<Timestamp>) -> Ticket<()> {
        let record = Record::Call {
            n,
            kind: call.kind,
            digest: call.digest,
            args: call.args,
            at: self.now(),
            due,
            connection: None,
            reply: None,
        };
        let (key, status) = (self.execution().key, self.waiting_status());
        self.core.writer.apply(Urgency::Now, key, move |connection| {
            executions::set_waiting(connection, key, status, due, ActiveState::Runnable)?;
            journal::append(connection, key, &record)
        })
    }

    fn record_reply(&self, n: u32, at: Timestamp, reply: Reply, urgency: Urgency) -> Ticket<()> {
        let key = self.execution().key;
        self.core.writer.apply(urgency, key, move |connection| {
            executions::set_running(connection, key, at)?;
            journal::append(connection, key, &Record::Reply { n, at, reply })
        })
    }

    /// Makes the end of a wait durable and shows it to the guest. `begun` is the call when nothing of it was recorded
    /// so far.
    async fn conclude(
        &self,
        n: u32,
        begun: Option<Call>,
        met: Result<Vec<EndedDependency>, HostError>,
    ) -> CallResult<Vec<EndedDependency>> {
        let (at, reply) = (self.advance(), self.to_reply(&met));
        let ticket = match begun {
            Some(mut call) => {
                if let Ok(ended) = &met {
                    call.args = wait_args(call.args, ended.iter().map(|ended| ended.id.as_str()));
                }
                let record = super::record(n, call, at, Some(reply));
                self.core.writer.record(Urgency::Now, self.execution().key, &record)
            }
            None => self.record_reply(n, at, reply, Urgency::Now),
        };
        ticket.done().await.map_err(|_| End::dropped())?;
        if let Ok(ended) = &met {
            self.returned(ended);
        }
        Ok(met)
    }

    /// The result of a wait from its entry.
    async fn waited(&self, reply: Reply) -> CallResult<Vec<EndedDependency>> {
        match reply {
            Reply::Error(error) => Ok(Err(error)),
            Reply::Ended(mut ended) => {
                for ended in &mut ended {
                    ended.id = self.absolute(std::mem::take(&mut ended.id));
                }
                self.recall(ended.iter().map(|ended| &ended.id)).await?;
                let all: Option<Vec<_>> = ended.into_iter().map(|ended| self.restore(ended)).collect();
                let all = all.ok_or_else(|| self.damaged())?;
                self.returned(&all);
                Ok(Ok(all))
            }
            _ => Err(self.damaged()),
        }
    }
}

pub(super) fn as_signal(reply: Reply) -> Option<(String, Value, String)> {
    match reply {
        Reply::Signal(id, payload, sender) => Some((id, payload, sender)),
        _ => None,
    }
}
