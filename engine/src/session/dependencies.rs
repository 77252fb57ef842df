//! What an execution waits for: the connections and child flows that it started, and what is known of their ends.
//!
//! A connection that a wait has returned stays in memory for a while, since a wait may name it again; after that it is
//! read from the journal. So an execution with a million calls takes no more memory than one with ten thousand.

use std::collections::VecDeque;
use std::sync::Arc;

use bit_set::BitSet;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{End, HostError, ReturnWhen, Session};
use crate::calls;
use crate::core::{Settled, Settlements, lock};
use crate::id;
use crate::journal::{ConnectionStart, Ended, EndedFlow, Failure, Outcome, Output, Record, Reply, Status};
use crate::store::executions::Key;
use crate::store::{Readers, StoreError, StoreResult, executions, journal};

/// A dependency that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedDependency {
    /// Its id.
    pub id: String,
    /// Its display name.
    pub name: String,
    /// Its final status.
    pub status: Status,
    /// Stable code; empty after success.
    pub code: String,
    /// For people.
    pub message: String,
    /// Its output.
    pub output: Output,
}

impl EndedDependency {
    fn of_flow(id: String, ended: EndedFlow) -> Self {
        let EndedFlow { name, status, code, message, output } = ended;
        Self { id, name, status, code, message, output }
    }

    /// As the journal has it. Not of a connection, whose `Settled` record says the rest.
    pub(crate) fn into_entry(self) -> Ended {
        let Self { id, name, status, code, message, output } = self;
        Ended { id, result: Some(EndedFlow { name, status, code, message, output }) }
    }

    fn failure(&self) -> Option<Failure> {
        (self.status != Status::EndedSuccess).then(|| Failure {
            execution_id: self.id.clone(),
            name: self.name.clone(),
            status: self.status,
            code: self.code.clone(),
            message: self.message.clone(),
        })
    }
}

/// Connections kept in memory after a wait has returned them.
const KEPT_MAX: usize = 1000;

/// Bytes of their outcomes, about.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Connections that a run has started, by the number of their call.
#[derive(Default)]
pub(super) struct Connections {
    starts: FxHashMap<u32, Arc<ConnectionStart>>,
    /// Returned by a wait, in that order, with the size of their outcomes.
    returned: VecDeque<(u32, usize)>,
    returned_bytes: usize,
    /// In the journal alone.
    dropped: BitSet,
}

impl Connections {
    pub(super) fn add(&mut self, n: u32, start: Arc<ConnectionStart>) {
        self.starts.insert(n, start);
    }

    pub(super) fn start(&self, n: u32) -> Option<&Arc<ConnectionStart>> {
        self.starts.get(&n)
    }

    fn is_known(&self, n: u32) -> bool {
        self.starts.contains_key(&n) || self.dropped.contains(n as usize)
    }

    /// A wait has returned it. Drops those that were returned longest ago when they are too many.
    fn returned(&mut self, n: u32, settled: &mut Settlements) {
        let bytes = settled.get(&n).map_or(0, |settled| match &*settled.outcome {
            Outcome::Success(output) => size_of(output),
            _ => 0,
        });
        self.returned.push_back((n, bytes));
        self.returned_bytes += bytes;
        while self.returned.len() > KEPT_MAX || (self.returned_bytes > KEPT_BYTES_MAX && self.returned.len() > 1) {
            let Some((oldest, bytes)) = self.returned.pop_front() else { return };
            self.returned_bytes -= bytes;
            if self.starts.remove(&oldest).is_some() {
                self.dropped.insert(oldest as usize);
                settled.remove(&oldest);
            }
        }
    }
}

/// About the bytes that a document takes in memory.
fn size_of(output: &Output) -> usize {
    fn size_of(value: &Value) -> usize {
        32 + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(size_of).sum(),
            Value::Object(members) => members.iter().map(|(name, value)| 32 + name.len() + size_of(value)).sum(),
            _ => 0,
        }
    }
    match output {
        Output::Value(value) => size_of(value),
        Output::Text(text) => text.len(),
    }
}

impl Session {
    /// The reply of a wait if its condition holds now, with all that has ended.
    pub(super) fn met(
        &self,
        ids: &[String],
        when: ReturnWhen,
    ) -> Result<Option<Result<Vec<EndedDependency>, HostError>>, End> {
        let states = ids.iter().map(|id| self.dependency(id)).collect::<Result<Vec<_>, _>>()?;
        let done = match when {
            ReturnWhen::AllEnded => states.iter().all(Option::is_some),
            ReturnWhen::FirstEnded => ids.is_empty() || states.iter().any(Option::is_some),
            ReturnWhen::AllSucceeded => {
                let failure = states.iter().flatten().find_map(EndedDependency::failure);
                if let Some(failure) = failure {
                    return Ok(Some(Err(HostError::DependencyFailed(failure))));
                }
                states.iter().all(Option::is_some)
            }
        };
        Ok(done.then(|| Ok(states.into_iter().flatten().collect())))
    }

    /// The reply as the journal has it: a connection's outcome is not repeated.
    pub(super) fn to_reply(&self, met: &Result<Vec<EndedDependency>, HostError>) -> Reply {
        match met {
            Err(error) => Reply::Error(error.clone()),
            Ok(ended) => Reply::Ended(ended.iter().map(|ended| self.to_entry(ended)).collect()),
        }
    }

    fn to_entry(&self, state: &EndedDependency) -> Ended {
        match self.own_connection(&state.id) {
            Some(n) => Ended { id: id::relative(n), result: None },
            None => state.clone().into_entry(),
        }
    }

    /// A dependency from the entry of a wait that returned it.
    pub(super) fn restore(&self, ended: Ended) -> Option<EndedDependency> {
        match ended.result {
            Some(flow) => Some(EndedDependency::of_flow(ended.id, flow)),
            None => {
                let n = self.own_connection(&ended.id)?;
                self.settled(n, ended.id)
            }
        }
    }

    /// Those that have not ended.
    pub(super) fn pending(&self, ids: &[String]) -> Result<Vec<String>, End> {
        let mut pending = Vec::new();
        for id in ids {
            if self.dependency(id)?.is_none() {
                pending.push(id.clone());
            }
        }
        Ok(pending)
    }

    /// The error for an id that names nothing this execution may wait for.
    pub(super) fn unknown_dependency(&self, ids: &[String]) -> Result<Option<HostError>, End> {
        for id in ids {
            let known = match id::parse_connection_id(id) {
                Some(_) => self.own_connection(id).is_some_and(|n| lock(&self.state).connections.is_known(n)),
                None if self.resident.inherited.contains_key(id) => true,
                None => self
                    .core
                    .readers
                    .read(|connection| executions::is_child(connection, id, &self.execution().id))
                    .map_err(|_| End::dropped())?,
            };
            if !known {
                return Ok(Some(HostError::NotFound(format!("there is no dependency `{id}` of this execution"))));
            }
        }
        Ok(None)
    }

    /// The call number, if the id is that of a connection of this execution.
    pub(super) fn own_connection(&self, id: &str) -> Option<u32> {
        self.resident.call_of(id)
    }

    /// An id from the journal as the guest knows it.
    pub(super) fn absolute(&self, id: String) -> String {
        match id::parse_relative(&id) {
            Some(n) => id::connection_id(self.resident.maker(n), n),
            None => id,
        }
    }

    /// A wait returns these: connections among them may leave the memory.
    pub(super) fn returned(&self, ended: &[EndedDependency]) {
        let mut state = lock(&self.state);
        for n in ended.iter().filter_map(|ended| self.own_connection(&ended.id)) {
            // What has left the memory would look as if it had not ended.
            state.unsettled.remove(&n);
            state.connections.returned(n, &mut lock(&self.resident.settled));
        }
    }

    /// Reads those of the connections back from the journal that have left the memory.
    pub(super) async fn recall(&self, ids: impl Iterator<Item = &String>) -> Result<(), End> {
        let mut wanted: FxHashSet<u32> = {
            let state = lock(&self.state);
            let numbers = ids.filter_map(|id| self.own_connection(id));
            numbers.filter(|n| state.connections.dropped.contains(*n as usize)).collect()
        };
        if wanted.is_empty() {
            return Ok(());
        }
        let (core, key) = (self.core.clone(), self.execution().key);
        let found = tokio::task::spawn_blocking(move || ends_of(&core.readers, key, &mut wanted)).await;
        let found = found.map_err(|_| End::dropped())?.map_err(End::unreadable)?;
        let mut state = lock(&self.state);
        for (n, start, outcome) in found {
            lock(&self.resident.settled).insert(n, Settled { outcome });
            state.connections.dropped.remove(n as usize);
            state.connections.add(n, start);
        }
        Ok(())
    }

    fn dependency(&self, id: &str) -> Result<Option<EndedDependency>, End> {
        if let Some(ended) = self.resident.inherited.get(id) {
            return Ok(Some(EndedDependency::of_flow(id.to_owned(), ended.clone())));
        }
        match self.own_connection(id) {
            Some(n) => Ok(self.settled(n, id.to_owned())),
            None => {
                let row = self.core.readers.read(|connection| self.core.last_of_chain(connection, id));
                let row = row.map_err(|_: StoreError| End::dropped())?;
                Ok(row.and_then(|row| ended_flow(id, &row)))
            }
        }
    }

    fn settled(&self, n: u32, id: String) -> Option<EndedDependency> {
        let outcome = lock(&self.resident.settled).get(&n)?.outcome.clone();
        let state = lock(&self.state);
        let start = state.connections.start(n)?;
        let output = if let Outcome::Success(output) = &*outcome { output.clone() } else { Output::default() };
        Some(match calls::failure(&id, start, &outcome) {
            None => EndedDependency {
                id,
                name: start.name.clone(),
                status: Status::EndedSuccess,
                code: String::new(),
                message: String::new(),
                output,
            },
            Some(Failure { name, status, code, message, .. }) => {
                EndedDependency { id, name, status, code, message, output }
            }
        })
    }
}

/// A connection that has ended: the number of its call, how it began and how it ended.
type EndedConnection = (u32, Arc<ConnectionStart>, Arc<Outcome>);

/// These connections, from the journal.
fn ends_of(readers: &Readers, key: Key, wanted: &mut FxHashSet<u32>) -> StoreResult<Vec<EndedConnection>> {
    readers.read_many(|connection| {
        let (mut starts, mut found, mut records) = (FxHashMap::default(), Vec::new(), Vec::new());
        for row in journal::row_ids(connection, key)? {
            journal::read_row::<IgnoredAny>(connection, row, &mut records)?;
            for record in records.drain(..) {
                match record {
                    Record::Call { n, connection: Some(start), .. } if wanted.contains(&n) => {
                        starts.insert(n, start);
                    }
                    Record::Settled { n, outcome, .. } if wanted.remove(&n) => {
                        let start = starts.remove(&n);
                        let missing = || StoreError::Damaged(format!("connection {n} ended and never began"));
                        found.push((n, start.ok_or_else(missing)?, outcome));
                    }
                    _ => {}
                }
            }
            if wanted.is_empty() {
                break;
            }
        }
        Ok(found)
    })
}

/// How a child flow ended, from its row, or that of the one that took its place. None when it has not ended.
pub(crate) fn ended_flow(id: &str, row: &Value) -> Option<EndedDependency> {
    let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let status = Status::parse(&text("status"))?;
    status.has_ended().then(|| EndedDependency {
        id: id.to_owned(),
        name: text("name"),
        status,
        code: if status == Status::EndedCancelled { "cancelled".to_owned() } else { text("error_code") },
        message: text("error_message"),
        output: row["output"].clone().into(),
    })
}
