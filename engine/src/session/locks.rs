//! Host calls on locks: settings that an execution holds, or waits for.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::waits::Awaited;
use super::{CallResult, End, HostError, Session, Turn};
use crate::clock::Timestamp;
use crate::core::Event;
use crate::grant::Grant;
use crate::journal::{Call, CallKind, Record, Reply, Status};
use crate::people::Role;
use crate::query::Kind;
use crate::store::executions::{ActiveState, Key};
use crate::store::locks::{self, Acquired, Holder, Lock, Waited};
use crate::store::writer::guarded;
use crate::store::{Concerns, Refusal, StoreError, StoreResult, Urgency, executions, journal};

impl Session {
    /// Returns when the execution holds that setting, by name or id, as a lock: the id of the setting. Who came first
    /// has it first. What it holds already it holds once more.
    pub async fn lock(&self, setting: &str, timeout: Option<Duration>) -> CallResult<String> {
        let millis = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let parts = [setting.as_bytes(), &millis.unwrap_or(u64::MAX).to_le_bytes()];
        let shown = || json!({"setting": setting, "timeout_ms": millis});
        let (n, due) = match self.turn(CallKind::Lock, &parts, shown)? {
            Turn::Replayed(reply) => return self.answer(reply, as_id),
            Turn::Resumed(n, due) => {
                self.show_lock(n);
                (n, due)
            }
            Turn::Live(n, call) => {
                let due = timeout.map(|timeout| self.core.now().max(self.now()).after(timeout));
                if let Some(reply) = self.ask_for_lock(n, call, setting, due).await? {
                    return self.answer(reply, as_id);
                }
                (n, due)
            }
        };
        let reply = self.await_reply(n, due, Awaited::Lock(n)).await?;
        self.answer(reply, as_id)
    }

    /// Takes the lock, or a place in its line, in one transaction with the entry. No reply where it is waited for.
    async fn ask_for_lock(
        &self,
        n: u32,
        call: Call,
        setting: &str,
        due: Option<Timestamp>,
    ) -> Result<Option<Reply>, End> {
        let (key, status, setting) = (self.execution().key, self.waiting_status(), setting.to_owned());
        // Time goes on with the answer: the run that goes on with a wait begins it at the time before.
        let (before, now) = (self.now(), self.advance());
        let (waits, grant) = (due.is_none_or(|due| due > now), self.grant(Role::Operator));
        let asking = move |connection: &Connection| {
            let reply =
                match guarded(connection, |connection| acquire(connection, &grant, &setting, key, n, now, waits)) {
                    Ok(reply) => reply,
                    Err(StoreError::Refused(refusal)) => Some(Reply::Error(refusal.into())),
                    Err(failed) => return Err(failed),
                };
            let (at, due) = if reply.is_some() { (now, None) } else { (before, due) };
            if reply.is_none() {
                executions::set_waiting(connection, key, status, due, ActiveState::Runnable)?;
            }
            let (Call { kind, digest, args }, reply_recorded) = (call, reply.clone());
            let record = Record::Call { n, kind, digest, args, at, due, connection: None, reply: reply_recorded };
            journal::append(connection, key, &record)?;
            Ok(reply)
        };
        let ticket = self.core.writer.submit(Urgency::Now, Concerns::One(key), asking);
        let reply = ticket.done().await.map_err(|_| End::dropped())?;
        self.core.changed(&self.execution().id);
        Ok(reply)
    }

    /// A resume has taken away the message that says what is waited for.
    fn show_lock(&self, n: u32) {
        if self.shown == Status::Queued {
            let key = self.execution().key;
            self.tell_followers(
                self.core.writer.apply(Urgency::Lazy, key, move |connection| locks::show(connection, key, n)),
            );
        }
    }

    /// Gives up a lock, by the name or id of its setting: to who has waited longest, in the same transaction.
    pub async fn unlock(&self, setting: &str) -> CallResult<()> {
        let reply = match self.turn(CallKind::Unlock, &[setting.as_bytes()], || json!({ "setting": setting }))? {
            Turn::Replayed(reply) => reply,
            Turn::Resumed(..) => return Err(self.damaged()),
            Turn::Live(n, call) => {
                let (key, now, setting) = (self.execution().key, self.core.now(), setting.to_owned());
                let grant = self.grant(Role::Operator);
                let (reply, next) = self
                    .store_call(n, call, move |connection| {
                        let record = grant.record(connection, Kind::Setting, &setting)?;
                        let lock = Lock::of(&record);
                        let next = locks::release(connection, &lock, key, now)?;
                        // The id for who restarts from a later call: the setting may have had another name.
                        Ok((Reply::Json(Some(lock.id.into())), next))
                    })
                    .await?;
                if let Some(next) = next.flatten() {
                    self.core.send(Event::Wake(next));
                }
                reply
            }
        };
        self.answer(reply, |_| Some(()))
    }
}

fn acquire(
    connection: &Connection,
    grant: &Grant,
    setting: &str,
    key: Key,
    n: u32,
    now: Timestamp,
    waits: bool,
) -> StoreResult<Option<Reply>> {
    let record = match grant.record(connection, Kind::Setting, setting) {
        Err(StoreError::Refused(Refusal::NotFound(text))) => {
            // One that is made here would let a wrong name pass for a lock that nobody holds.
            return Err(StoreError::Refused(Refusal::NotFound(format!(
                "{text}; save the setting before it is locked"
            ))));
        }
        found => found?,
    };
    let lock = Lock::of(&record);
    Ok(match locks::acquire(connection, &lock, key, n, now, waits)? {
        Acquired::Held => Some(Reply::Json(Some(lock.id.into()))),
        Acquired::Awaited => None,
        Acquired::Busy(holder) => Some(timed_out(&lock.name, Some(&holder))),
        Acquired::Deadlock(way) => Some(Reply::Error(HostError::Deadlock(format!(
            "the lock `{}` would be waited for for ever: {way}, which this execution holds; lock in the same order \
             everywhere",
            lock.name
        )))),
    })
}

fn timed_out(name: &str, holder: Option<&Holder>) -> Reply {
    let held = holder
        .map_or_else(String::new, |Holder { id, since, .. }| format!(", which execution {id} holds since {since}"));
    Reply::Error(HostError::LockTimeout(format!("timed out while waiting for the lock `{name}`{held}")))
}

/// The outcome of a wait for a lock. None while it may still be given.
pub(super) fn take_lock(connection: &Connection, key: Key, call: u32, is_over: bool) -> StoreResult<Option<Reply>> {
    Ok(match locks::conclude(connection, key, call, is_over)? {
        Waited::Given(setting) => Some(Reply::Json(Some(setting.into()))),
        Waited::Waits => None,
        Waited::TimedOut(name, holder) => Some(timed_out(&name, holder.as_ref())),
        Waited::TakenAway => {
            let text = "the lock was given to this execution, and somebody took it away before it went on";
            Some(Reply::Error(HostError::Conflict(text.into())))
        }
    })
}

fn as_id(reply: Reply) -> Option<String> {
    match reply {
        Reply::Json(Some(Value::String(id))) => Some(id),
        _ => None,
    }
}
