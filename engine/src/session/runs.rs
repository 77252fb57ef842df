//! Host calls of the built-in scheduler alone: the time, a run of its schedule, the end of its schedule.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{CallResult, End, Session, Turn, record};
use crate::clock::Timestamp;
use crate::core::Event;
use crate::journal::{Call, CallKind, Record, Reply};
use crate::runs::{self, Ran, RunRequest};
use crate::store::executions::ActiveState;
use crate::store::writer::guarded;
use crate::store::{Concerns, StoreError, Urgency, executions, journal};

impl Session {
    /// The present time, as the journal keeps it. The entry is durable with the next one that must be, so what follows
    /// from this time must go through the journal too.
    pub(crate) fn clock(&self) -> Result<Timestamp, End> {
        match self.turn(CallKind::Get, &[b"now"], || json!({"field": "now"}))? {
            Turn::Replayed(_) => Ok(self.now()),
            Turn::Resumed(..) => Err(self.damaged()),
            Turn::Live(n, call) => {
                let at = self.advance();
                self.record_behind(0, &record(n, call, at, Some(Reply::Json(Some(at.to_string().into())))));
                Ok(at)
            }
        }
    }

    /// Starts a run of the schedule, in one transaction with its entry, when its turn has come.
    pub(crate) async fn start_run(&self, request: RunRequest) -> CallResult<Ran> {
        let overlap = [request.overlap as u8];
        let parts = [request.flow.as_bytes(), b"run", &request.at.0.to_le_bytes(), &overlap];
        let shown =
            || json!({"flow": request.flow, "scheduled_for": request.at.to_string(), "overlap": request.overlap});
        let (n, mut begun) = match self.turn(CallKind::StartFlow, &parts, shown)? {
            Turn::Replayed(reply) => return self.answer(reply, as_ran),
            Turn::Resumed(n, _) => (n, None),
            Turn::Live(n, call) => (n, Some(call)),
        };
        loop {
            self.resident.take_dirty();
            self.interruption()?;
            if let Some(reply) = self.take_turn(n, begun.clone(), request.clone()).await? {
                return self.answer(reply, as_ran);
            }
            if let Some(call) = begun.take() {
                self.set_message("until the run before has ended")?;
                self.tell_followers(self.record_waiting(n, call, None));
            }
            self.wait_in_memory_or_park(None, Some(ActiveState::Parked)).await?;
        }
    }

    /// The reply, if the run need not wait. `begun` is the call when nothing of it was recorded so far.
    async fn take_turn(&self, n: u32, begun: Option<Call>, request: RunRequest) -> Result<Option<Reply>, End> {
        let (at, due, key) = (self.advance(), request.at, self.execution().key);
        let (core, iteration) = (self.core.clone(), self.execution().clone());
        let ticket = self.core.writer.submit(Urgency::Now, Concerns::One(key), move |connection| {
            let started = guarded(connection, |connection| runs::start(&core, connection, &iteration, &request));
            let (reply, woken) = match started {
                Ok(None) => return Ok(None),
                Ok(Some((ran, woken))) => (to_reply(ran), woken),
                Err(StoreError::Refused(refusal)) => (Reply::Error(refusal.into()), Vec::new()),
                Err(failed) => return Err(failed),
            };
            let entry = match begun {
                Some(call) => record(n, call, at, Some(reply.clone())),
                None => {
                    executions::set_running(connection, key, at)?;
                    Record::Reply { n, at, reply: reply.clone() }
                }
            };
            journal::append(connection, key, &entry)?;
            Ok(Some((reply, woken)))
        });
        let Some((reply, woken)) = ticket.done().await.map_err(|_| End::dropped())? else { return Ok(None) };
        match &reply {
            Reply::Id(_) => self.core.counters.schedule_runs.observe(at.since(due)),
            Reply::Json(_) => {
                self.core.counters.schedule_runs_skipped.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        self.core.changed(&self.execution().id);
        woken.into_iter().for_each(|key| self.core.send(Event::Wake(key)));
        Ok(Some(reply))
    }

    /// Disables the schedule, with a reason for people: this iteration is its last.
    pub(crate) async fn retire_schedule(&self, reason: &str) -> CallResult<()> {
        let shown = || json!({"kind": "schedule", "fields": {"is_enabled": false, "disabled_reason": reason}});
        let reply = match self.turn(CallKind::RecordSave, &[b"schedule", b"retired", reason.as_bytes()], shown)? {
            Turn::Replayed(reply) => reply,
            Turn::Resumed(..) => return Err(self.damaged()),
            Turn::Live(n, call) => {
                let (core, iteration, reason) = (self.core.clone(), self.execution().clone(), reason.to_owned());
                let retire = move |connection: &rusqlite::Connection| {
                    runs::retire(&core, connection, &iteration, &reason)?;
                    Ok((Reply::Unit, ()))
                };
                self.store_call(n, call, retire).await?.0
            }
        };
        self.answer(reply, |reply| matches!(reply, Reply::Unit).then_some(()))
    }
}

fn to_reply(ran: Ran) -> Reply {
    match ran {
        Ran::Started(id) => Reply::Id(id),
        Ran::Skipped(id) => Reply::Json(Some(json!({ "skipped_for": id }))),
    }
}

fn as_ran(reply: Reply) -> Option<Ran> {
    match reply {
        Reply::Id(id) => Some(Ran::Started(id)),
        Reply::Json(Some(Value::Object(skipped))) => {
            Some(Ran::Skipped(skipped.get("skipped_for")?.as_str()?.to_owned()))
        }
        _ => None,
    }
}
