//! Flows and their executions: deploy, start, look, follow, steer.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use super::{Engine, EngineError, EngineResult, FlowVersion, StartRequest};
use crate::audit::{self, Deed};
use crate::clock::Timestamp;
use crate::core::{Change, Core, Creation, Event, Resident};
use crate::grant::Grant;
use crate::journal::{Status, shown};
use crate::notifications::{self, NOTIFY};
use crate::people::{Role, Sender};
use crate::planted::{Bug, is_planted};
use crate::query::Kind;
use crate::restarts::{self, RestartVersion};
use crate::store::approvals::FoundBy;
use crate::store::executions::{Key, NewExecution};
use crate::store::logs::LogLine;
use crate::store::signals::Signal;
use crate::store::{
    Refusal, StoreError, StoreResult, approvals, executions, journal, logs, records, schedules, signals,
};

impl Engine {
    /// Makes a component the present version of a flow, which is created where there is none. What runs goes on with
    /// its own version.
    pub async fn deploy(&self, name: &str, component: Vec<u8>, by: &str) -> EngineResult<Value> {
        self.check_write(Kind::Flow, name, None).await?;
        let (core, size) = (self.core.clone(), component.len() as u64);
        let installed = tokio::task::spawn_blocking(move || core.host.install(&component)).await;
        let (digest, _held) = installed.map_err(|error| EngineError::Failed(error.to_string()))??;
        let (core, name, stamp) = (self.core.clone(), name.to_owned(), self.core.stamp(by));
        let grant = self.grant.clone();
        self.write(move |connection| {
            let before = records::get(connection, Kind::Flow, &name)?;
            let record = match before.clone() {
                Some(record) => record,
                None => records::save(connection, Kind::Flow, &name, &Map::new(), &stamp)?,
            };
            let before = before.unwrap_or_default();
            let id = record["id"].as_str().unwrap_or_default();
            schedules::add_version(connection, id, &digest, size, stamp.now, &stamp.who)?;
            if record["version"] != digest.as_str() {
                records::set_computed(
                    connection,
                    Kind::Flow,
                    id,
                    &json!({"version": digest, "size_bytes": size}),
                    &stamp,
                )?;
            }
            let after = records::require(connection, Kind::Flow, id)?;
            let deed = Deed { action: "deploy", kind: Kind::Flow, before, after: after.clone() };
            audit::note(&core, connection, &grant, &stamp.who, deed)?;
            Ok(after)
        })
        .await
    }

    /// Versions of a flow, newest first.
    pub async fn versions(&self, flow: &str) -> EngineResult<Vec<FlowVersion>> {
        let (flow, grant) = (flow.to_owned(), self.grant.clone());
        self.read(move |_, connection| {
            let record = grant.record(connection, Kind::Flow, &flow)?;
            let versions = schedules::versions(connection, record["id"].as_str().unwrap_or_default())?;
            let to_version = |(digest, size, at, deployed_by): (String, i64, Timestamp, String)| FlowVersion {
                is_present: record["version"] == digest,
                deployed_at: at.to_string(),
                digest,
                size_bytes: u64::try_from(size).unwrap_or_default(),
                deployed_by,
            };
            Ok(versions.into_iter().map(to_version).collect())
        })
        .await
    }

    /// The bytes of a flow's present version.
    pub async fn component(&self, flow: &str) -> EngineResult<Vec<u8>> {
        let record = self.record(Kind::Flow, flow).await?;
        let Some(digest) = record["version"].as_str().filter(|digest| !digest.is_empty()).map(str::to_owned) else {
            let text = format!("the flow `{flow}` has no component yet; deploy one");
            return Err(StoreError::Refused(Refusal::NotFound(text)).into());
        };
        let core = self.core.clone();
        let read = tokio::task::spawn_blocking(move || core.host.read(&digest)).await;
        Ok(read.map_err(|error| StoreError::Failed(error.to_string()))??)
    }

    /// Starts a flow. Returns the execution's id once that is durable, and whether it was started now (true) or
    /// joined (false). Once asked for it is done, whether or not somebody waits for it.
    pub async fn start(&self, request: StartRequest) -> EngineResult<(String, bool)> {
        self.begin(request, false).await
    }

    async fn begin(&self, request: StartRequest, is_rerun: bool) -> EngineResult<(String, bool)> {
        if crate::journal::is_too_deep(&request.input) {
            return Err(StoreError::invalid("the input is nested too deep").into());
        }
        if let Some(name) = &request.name {
            records::check_name(Kind::Execution, name)?;
        }
        if let Some(priority) = request.priority.filter(|priority| !records::PRIORITIES.contains(priority)) {
            return Err(StoreError::invalid(format!("the priority cannot be {priority}; it is -100 to 100")).into());
        }
        let (core, grant, now) = (self.core.clone(), self.grant.clone(), self.core.now());
        let id = request.attachments.as_ref().map_or_else(|| core.new_id(), |files| files.execution_id.clone());
        let deadline = request.deadline.map(|deadline| deadline.for_one_created(now));
        if let Some(past) = deadline.filter(|deadline| *deadline <= now) {
            return Err(StoreError::invalid(format!("the deadline {past} has passed already")).into());
        }
        let (id, beginning, _) = self
            .write_and_wake(
                move |connection| {
                    if let (Some(webhook), Some(idempotency)) = (&request.webhook_id, &request.idempotency_key)
                        && let Some(present) = executions::by_idempotency_key(connection, webhook, idempotency)?
                    {
                        return Ok((present, None, None));
                    }
                    let mut new = match is_rerun && request.flow == NOTIFY {
                        // With the input that the engine made, for who has the role where the rule is.
                        true => notifications::again(&core, connection, id.clone(), request.input, &request.by)?,
                        false => {
                            grant.check_start(connection, &request.flow, &request.input)?;
                            let (flow, input, by) = (&request.flow, request.input, &request.by);
                            core.new_flow_execution(connection, id.clone(), flow, input, by, grant.rights())?
                        }
                    };
                    new.name = request.name.unwrap_or(new.name);
                    new.deadline = deadline.or(new.deadline);
                    new.priority = request.priority.unwrap_or(new.priority);
                    new.webhook_id = request.webhook_id;
                    new.idempotency_key = request.idempotency_key.filter(|_| !is_planted(Bug::IdempotencyIgnored));
                    let Some(attachments) = request.attachments else {
                        return Ok((id, Some(begin(&core, connection, new)?), None));
                    };
                    let key = executions::insert(connection, &new, now)?;
                    attachments.save(&core, connection, &new.started.acts_as, &request.by)?;
                    // Their contents stay until they have names for good.
                    Ok((id, Some(Beginning::Waits(key)), Some(attachments)))
                },
                |(_, beginning, _)| beginning.as_ref().and_then(Beginning::follows),
            )
            .await?;
        Ok((id, beginning.is_some()))
    }

    /// Starts the flow of an execution anew, in the flow's present version, with the same input or another one. Of a
    /// webhook's call that is one more of its deliveries. Returns the new execution's id once that is durable.
    pub async fn rerun(&self, id: &str, input: Option<Value>, by: &str) -> EngineResult<String> {
        let (_, row) = self.of_flow(id, "rerun").await?;
        let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
        if text("flow_id") == NOTIFY && input.is_some() {
            return Err(StoreError::invalid("a notification is sent again as it is; leave out `input`").into());
        }
        let request = StartRequest {
            flow: text("flow_id"),
            input: input.unwrap_or_else(|| row["input"].clone()),
            name: Some(text("name")),
            by: by.to_owned(),
            webhook_id: row["webhook_id"].as_str().map(str::to_owned),
            ..StartRequest::default()
        };
        Ok(self.begin(request, true).await?.0)
    }

    /// Starts the flow of an execution that has ended once more, as if it had just made the calls before number `from`:
    /// their results are taken over, and that call is the first that is made anew. Input, randomness and limits are
    /// those of the old execution. Returns the new execution's id once that is durable.
    pub async fn restart(&self, id: &str, from: u32, version: RestartVersion, by: &str) -> EngineResult<String> {
        let (key, row) = self.of_flow(id, "restart").await?;
        let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
        let (flow, name, webhook_id) = (text("flow_id"), text("name"), row["webhook_id"].as_str().map(str::to_owned));
        loop {
            let (owned, grant, flow, input) = (id.to_owned(), self.grant.clone(), flow.clone(), row["input"].clone());
            let taken = self.read(move |_, connection| {
                grant.check_start(connection, &flow, &input)?;
                restarts::look(connection, key, &owned, from)
            });
            let (taken, core, grant) = (taken.await?, self.core.clone(), self.grant.clone());
            let (owned, flow, input) = (id.to_owned(), text("flow_id"), row["input"].clone());
            let (name, webhook_id, by) = (name.clone(), webhook_id.clone(), by.to_owned());
            let started = self.write_and_wake(
                move |connection| {
                    grant.check_start(connection, &flow, &input)?;
                    let id = core.new_id();
                    let new = core.new_flow_execution(connection, id.clone(), &flow, input, &by, grant.rights())?;
                    let new = NewExecution { name, webhook_id, ..new };
                    let Some(key) = restarts::begin(&core, connection, &taken, version, new)? else { return Ok(None) };
                    audit::note_of_execution(&core, connection, &grant, &by, "restart", &owned)?;
                    Ok(Some((id, key)))
                },
                |started| started.as_ref().map(|(_, key)| Event::Wake(*key)),
            );
            // What came after its end, such as the end of a call, is looked at too.
            if let Some((id, _)) = started.await? {
                return Ok(id);
            }
        }
    }

    /// An execution whose flow can be run once more. `verb` is what is asked for.
    async fn of_flow(&self, id: &str, verb: &str) -> EngineResult<(Key, Value)> {
        let (owned, grant) = (id.to_owned(), self.grant.clone());
        let row = self.read(move |_, connection| {
            grant.check_execution(connection, &owned)?;
            executions::get(connection, &owned)
        });
        let Some((key, row)) = row.await? else {
            let error = match crate::id::parse_connection_id(id) {
                Some((parent, n)) => StoreError::invalid(format!(
                    "a connection is not run again by itself: it is call {n} of execution {parent}; {verb} that"
                )),
                None => StoreError::not_found("execution", id),
            };
            return Err(error.into());
        };
        if row["type"] != "FLOW" {
            let text = format!(
                "only executions of type FLOW take a {verb}, and {id} is none; a schedule starts its flows by itself"
            );
            return Err(StoreError::invalid(text).into());
        }
        Ok((key, row))
    }

    /// Waits until an execution, or the one that takes its place, has ended. None when `timeout` comes first.
    pub async fn wait_ended(&self, id: &str, timeout: Option<Duration>) -> EngineResult<Option<Value>> {
        self.core.readers.read(|connection| self.grant.check_execution(connection, id))?;
        let ended = async {
            let mut place = id.to_owned();
            loop {
                let mut bell = self.core.ended.listen(&place);
                let (last, row) = self.core.readers.read(|connection| {
                    let last = executions::end_of_chain(connection, id)?;
                    let (last, has_ended) = last.ok_or_else(|| StoreError::not_found("execution", id))?;
                    let row = has_ended.then(|| self.core.execution_json(connection, &last)).transpose()?;
                    Ok((last, row.flatten()))
                })?;
                if let Some(row) = row {
                    return Ok::<_, EngineError>(row);
                }
                // By continuing as new another one takes its place, whose end is waited for then.
                match last == place {
                    true => bell.rung().await,
                    false => place = last,
                }
            }
        };
        match timeout {
            None => ended.await.map(Some),
            Some(timeout) => tokio::time::timeout(timeout, ended).await.ok().transpose(),
        }
    }

    /// What happens to executions, from now on, once it is durable.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.core.changes.subscribe()
    }

    /// An execution or connection by id.
    pub async fn execution(&self, id: &str) -> EngineResult<Value> {
        let (id, grant) = (id.to_owned(), self.grant.clone());
        self.read(move |core, connection| {
            grant.check_execution(connection, &id)?;
            core.execution_json(connection, &id)?.ok_or_else(|| StoreError::not_found("execution", &id))
        })
        .await
    }

    /// Log lines of an execution after the key (call, line), at most `limit`.
    pub async fn log(&self, id: &str, after: Option<(u32, u32)>, limit: u32) -> EngineResult<Vec<LogLine>> {
        let (id, grant) = (id.to_owned(), self.grant.clone());
        self.read(move |_, connection| {
            logs::list(connection, require_key(connection, &grant, &id)?, after, limit.min(10_000))
        })
        .await
    }

    /// The last log lines of an execution before the key (call, line), or of all, in order, at most `limit`.
    pub async fn log_before(&self, id: &str, before: Option<(u32, u32)>, limit: u32) -> EngineResult<Vec<LogLine>> {
        let (id, grant) = (id.to_owned(), self.grant.clone());
        self.read(move |_, connection| {
            logs::list_before(connection, require_key(connection, &grant, &id)?, before, limit.min(10_000))
        })
        .await
    }

    /// The role that who asks has where an execution or connection is.
    pub async fn role_at(&self, id: &str) -> EngineResult<Option<Role>> {
        let (id, grant) = (id.to_owned(), self.grant.clone());
        self.read(move |_, connection| {
            grant.check_execution(connection, &id)?;
            // A connection is where its execution is.
            let own = crate::id::parse_connection_id(&id).map_or(id.as_str(), |(parent, _)| parent);
            grant.role_at(connection, own)
        })
        .await
    }

    /// The journal of an execution for people: without the seed of its randomness, with the names of the calls.
    pub async fn journal(&self, id: &str) -> EngineResult<Vec<Value>> {
        let (id, grant) = (id.to_owned(), self.grant.clone());
        self.read(move |_, connection| {
            let records = journal::read(connection, require_key(connection, &grant, &id)?)?;
            Ok(records.iter().enumerate().map(|(seq, record)| shown(seq, record)).collect())
        })
        .await
    }

    /// Asks an execution to end. It does at its next host call, or at once when it computes or waits.
    pub async fn cancel(&self, id: &str, by: &str) -> EngineResult<Value> {
        self.steer(id, "cancel", by, executions::request_cancel).await
    }

    /// Stops the delivery of results to an execution until [`resume`](Self::resume). Due times do not move.
    pub async fn pause(&self, id: &str, by: &str) -> EngineResult<Value> {
        self.steer(id, "pause", by, |connection, key| executions::set_paused(connection, key, true, "paused")).await
    }

    /// Lets a paused execution go on.
    pub async fn resume(&self, id: &str, by: &str) -> EngineResult<Value> {
        self.steer(id, "resume", by, |connection, key| executions::set_paused(connection, key, false, "")).await
    }

    async fn steer(
        &self,
        id: &str,
        action: &'static str,
        by: &str,
        change: impl FnOnce(&rusqlite::Connection, Key) -> StoreResult<bool> + Send + 'static,
    ) -> EngineResult<Value> {
        let (core, grant, owned, by) = (self.core.clone(), self.grant.clone(), id.to_owned(), by.to_owned());
        self.write_and_wake(
            move |connection| {
                let owned = executions::last_of_chain(connection, &owned)?;
                let key = require_key(connection, &grant, &owned)?;
                if !change(connection, key)? {
                    let status =
                        executions::get(connection, &owned)?.map(|(_, row)| row["status"].clone()).unwrap_or_default();
                    let status = status.as_str().unwrap_or_default().to_owned();
                    return Err(StoreError::Refused(Refusal::Conflict(format!(
                        "execution {owned} has status {status}: nothing to do"
                    ))));
                }
                audit::note_of_execution(&core, connection, &grant, &by, action, &owned)?;
                Ok(key)
            },
            |key| Some(Event::Wake(*key)),
        )
        .await?;
        self.core.changed(id);
        self.execution(id).await
    }

    /// Sends a signal to an execution. Durable when this returns; the same `signal_id` again changes nothing. Where the
    /// execution has asked for it, it is an answer: see [`answer`](Self::answer).
    pub async fn signal(
        &self,
        id: &str,
        name: &str,
        payload: Value,
        sender: &str,
        signal_id: Option<String>,
    ) -> EngineResult<String> {
        if crate::journal::is_too_deep(&payload) {
            return Err(StoreError::invalid("the payload is nested too deep").into());
        }
        let id_given = signal_id.clone();
        let from = Sender { who: sender.to_owned(), role: None };
        let mut signal = Signal { id: signal_id.unwrap_or_else(|| self.core.new_id()), payload, sender: from };
        let (core, grant, now, sent) = (self.core.clone(), self.grant.clone(), self.core.now(), signal.clone());
        let (owned, name) = (id.to_owned(), name.to_owned());
        let sending = self.write_and_wake(
            move |connection| {
                let last = executions::last_of_chain(connection, &owned)?;
                let key = require_key(connection, &grant, &last)?;
                if let Some(approval) = approvals::find(connection, FoundBy::Name(key, &name))? {
                    return Ok(Err(approval));
                }
                signal.sender.role = grant.role_at(connection, &last)?;
                if executions::active_one(connection, key)?.is_none() {
                    let why = match executions::load_remains(connection, key)? {
                        Some(execution) if !execution.status.has_ended() => {
                            "has not ended, and nothing looks at it: run surefoot doctor"
                        }
                        _ => "has ended and takes no signals",
                    };
                    return Err(StoreError::Refused(Refusal::Conflict(format!("execution {owned} {why}"))));
                }
                signals::insert(connection, key, &name, &signal, None, now)?;
                audit::note_of_execution(&core, connection, &grant, &signal.sender.who, "signal", &last)?;
                Ok(Ok(key))
            },
            |sent| sent.as_ref().ok().map(|key| Event::Wake(*key)),
        );
        match sending.await? {
            Ok(_) => Ok(sent.id),
            Err(asked) => self.give(asked, sent.payload, sender, id_given).await,
        }
    }
}

/// How a new execution comes to run.
enum Beginning {
    /// It has begun while its creation is committed. The key when it has a deadline.
    Begun(Creation, Option<Key>),
    /// It is woken when that is done.
    Waits(Key),
}

impl Beginning {
    /// What follows when the creation is durable.
    fn follows(&self) -> Option<Event> {
        match self {
            Self::Begun(creation, key) => {
                creation.is_durable();
                // Only from now on can the executor look at its deadline, which may have passed already.
                key.map(Event::Wake)
            }
            Self::Waits(key) => Some(Event::Wake(*key)),
        }
    }
}

/// Creates an execution, and lets it begin without waiting for the commit, if there is a place. The last thing in its
/// write, which must not be refused any more.
fn begin(core: &Core, connection: &rusqlite::Connection, mut new: NewExecution) -> StoreResult<Beginning> {
    let place = core.places.clone().try_acquire_owned().ok();
    new.begins_at_once = place.is_some();
    let (execution, started) = executions::create(connection, new, core.now())?;
    match place.filter(|_| execution.status == Status::Running) {
        Some(place) => {
            let with_deadline = execution.deadline.map(|_| execution.key);
            let (resident, creation) = Resident::being_created(execution, started);
            core.send(Event::Begin(Arc::new(resident), place));
            Ok(Beginning::Begun(creation, with_deadline))
        }
        None => Ok(Beginning::Waits(execution.key)),
    }
}

pub(super) fn require_key(connection: &rusqlite::Connection, grant: &Grant, id: &str) -> StoreResult<Key> {
    grant.check_execution(connection, id)?;
    executions::key_of(connection, id)?.ok_or_else(|| StoreError::not_found("execution", id))
}
