//! The shapes of journal records. Field names are short because every record carries them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use surefoot_connector_api::{CallError, Effect};

use super::call::{CallKind, Digest, DigestVersion};
use super::output::Output;
use crate::clock::Timestamp;
use crate::people::Rights;
use crate::policy::Retry;

/// One record. Their order within an execution is the order of commits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record<A = Value> {
    /// The first record.
    #[serde(rename = "s")]
    Started(Started),
    /// The guest made call number `n`, counted from 0.
    #[serde(rename = "c")]
    Call {
        /// Number of the call.
        n: u32,
        /// Which call.
        #[serde(rename = "k")]
        kind: CallKind,
        /// Keyed digest of exactly what the guest passed.
        #[serde(rename = "d")]
        digest: Digest,
        /// What it passed, redacted, for people.
        #[serde(rename = "a")]
        args: A,
        /// Journal time after the call.
        #[serde(rename = "t")]
        at: Timestamp,
        /// When a waiting call is due, if it is.
        #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
        due: Option<Timestamp>,
        /// What the call started, if it was a connection.
        #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
        connection: Option<Arc<ConnectionStart>>,
        /// The answer; none while the call waits.
        #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
        reply: Option<Reply>,
    },
    /// The answer of call `n`, which waited.
    #[serde(rename = "r")]
    Reply {
        /// Number of the call.
        n: u32,
        /// Journal time after the call.
        #[serde(rename = "t")]
        at: Timestamp,
        /// The answer.
        #[serde(rename = "r")]
        reply: Reply,
    },
    /// The connection that call `n` started has ended.
    #[serde(rename = "e")]
    Settled {
        /// Number of the call that started it.
        n: u32,
        /// When it was started for the last time.
        #[serde(rename = "b")]
        began: Timestamp,
        /// When it ended.
        #[serde(rename = "t")]
        at: Timestamp,
        /// How it ended.
        #[serde(rename = "o")]
        outcome: Arc<Outcome>,
        /// Attempts before the last one.
        #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
        attempts: Vec<Attempt>,
        /// When the result was got that served here, if it was an earlier one.
        #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
        cached_at: Option<Timestamp>,
    },
}

impl<A> Record<A> {
    /// The digest of the content that the call read part of: a replay reads it again.
    pub fn content_read(&self) -> Option<&str> {
        match self {
            Self::Call { reply: Some(Reply::FilePart(sha256, ..)), .. }
            | Self::Reply { reply: Reply::FilePart(sha256, ..), .. } => Some(sha256),
            _ => None,
        }
    }
}

/// What an execution began with. Replays use these values, whatever the configuration says by then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// Journal time at the start.
    #[serde(rename = "t")]
    pub at: Timestamp,
    /// Seeds the guest's randomness. Shown nowhere.
    #[serde(rename = "e", with = "serde_bytes")]
    pub entropy: Vec<u8>,
    /// The component's digest, or `native:NAME`.
    #[serde(rename = "v")]
    pub version: String,
    /// The limits that hold for the whole execution.
    #[serde(rename = "l")]
    pub limits: Limits,
    /// What to do at the end, taken over from the execution that continued as this one.
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    pub end_actions: Vec<Value>,
    /// How many executions stand above this one: 0 without a parent.
    #[serde(rename = "d", default, skip_serializing_if = "is_default")]
    pub depth: u32,
    /// Whose calls the first ones are, where it was restarted from a call of another execution: the first of them
    /// first.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<Origin>,
    /// How child flows ended that those calls started and did not see the end of.
    #[serde(rename = "i", default, skip_serializing_if = "Vec::is_empty")]
    pub inherited: Vec<Ended>,
    /// How the digests of its calls are made.
    #[serde(rename = "h", default, skip_serializing_if = "is_default")]
    pub digests: DigestVersion,
    /// Ids of the settings that it held as locks from the beginning: those of the execution that continued as this one.
    #[serde(rename = "k", default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<String>,
    /// The engine's version, for people.
    #[serde(rename = "g")]
    pub engine: String,
    /// What the execution may reach. Those that began before there were such limits reach everything.
    #[serde(rename = "a", default = "Rights::of_executions", skip_serializing_if = "Rights::are_of_executions")]
    pub acts_as: Rights,
}

impl Started {
    /// The id of the execution that made call number `n` of the one with the id `own`: what that call started is named
    /// by it, in each execution that was restarted from a later call.
    pub fn maker<'a>(&'a self, own: &'a str, n: u32) -> &'a str {
        self.origins.iter().find(|origin| n < origin.before).map_or(own, |origin| &origin.execution)
    }

    /// The number of the call of the execution with the id `own` that made the connection with that id.
    pub fn call_of(&self, own: &str, connection_id: &str) -> Option<u32> {
        let (maker, n) = crate::id::parse_connection_id(connection_id)?;
        (maker == self.maker(own, n)).then_some(n)
    }
}

/// Who made the calls up to a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Id of the execution.
    #[serde(rename = "e")]
    pub execution: String,
    /// The number of the first call that is not its.
    #[serde(rename = "n")]
    pub before: u32,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What one execution may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Linear memory of the guest, bytes.
    pub memory_bytes_max: u64,
    /// Computing time between two host calls, milliseconds.
    pub cpu_ms_max: u64,
    /// Host calls in all.
    pub calls_max: u32,
    /// Size of one input, output or argument, bytes.
    pub payload_bytes_max: u64,
    /// Connections that have not ended, at one time.
    pub dependencies_max: u32,
    /// Child flows that have not ended, at one time.
    pub children_max: u32,
    /// Executions above one another: a child of a child of …
    pub depth_max: u32,
    /// Lines of the log.
    pub log_lines_max: u32,
    /// Size of the log, bytes.
    pub log_bytes_max: u64,
    /// Size of the whole output, bytes: what was set by name, and what the handler returned.
    pub output_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 256 << 20,
            cpu_ms_max: 30_000,
            calls_max: 1_000_000,
            payload_bytes_max: 16 << 20,
            dependencies_max: 10_000,
            children_max: 10_000,
            depth_max: 100,
            log_lines_max: 100_000,
            log_bytes_max: 64 << 20,
            output_bytes_max: 16 << 20,
        }
    }
}

/// A connection as it was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionStart {
    /// Display name.
    #[serde(rename = "n")]
    pub name: String,
    /// Id of the stored connector; empty for `type:NAME`.
    #[serde(rename = "c", default, skip_serializing_if = "String::is_empty")]
    pub connector_id: String,
    /// Connector type.
    #[serde(rename = "y")]
    pub connector_type: String,
    /// Revision of the stored connector.
    #[serde(rename = "v", default, skip_serializing_if = "is_default")]
    pub revision: i64,
    /// Effect of the call.
    #[serde(rename = "f")]
    pub effect: Effect,
    /// Performed again after a crash even if it is a write.
    #[serde(rename = "i", default, skip_serializing_if = "std::ops::Not::not")]
    pub retry_on_interrupt: bool,
    /// Longest duration of one attempt, milliseconds.
    #[serde(rename = "o")]
    pub timeout_ms: u64,
    /// When a failed attempt is followed by another.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How old the result of an equal call may be that serves in place of a new one, milliseconds.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub cache_ms: Option<u64>,
}

/// A failed attempt of a call that was tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    #[serde(rename = "b")]
    pub began: Timestamp,
    /// When it failed.
    #[serde(rename = "t")]
    pub at: Timestamp,
    /// Why.
    #[serde(rename = "e")]
    pub error: CallError,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// With this output.
    #[serde(rename = "o")]
    Success(Output),
    /// The connector failed.
    #[serde(rename = "f")]
    Failed(CallError),
    /// A crash came between the intent of a write and its result.
    #[serde(rename = "i")]
    Interrupted,
    /// It was cancelled before it was performed.
    #[serde(rename = "c")]
    Cancelled,
}

/// The answer of a host call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Nothing to say.
    #[serde(rename = "u")]
    Unit,
    /// An error that the guest may catch.
    #[serde(rename = "x")]
    Error(HostError),
    /// Yes or no.
    #[serde(rename = "b")]
    Bool(bool),
    /// An identifier. One that begins with a dot is of the execution itself.
    #[serde(rename = "i")]
    Id(String),
    /// A document, or none.
    #[serde(rename = "j")]
    Json(Option<Value>),
    /// A page of documents and where the next one starts.
    #[serde(rename = "p")]
    Page(Vec<Value>, Option<String>),
    /// What a wait returned. A connection's outcome is not repeated: its `Settled` record has it.
    #[serde(rename = "w")]
    Ended(Vec<Ended>),
    /// A signal: id, payload, sender.
    #[serde(rename = "g")]
    Signal(String, Value, String),
    /// Part of a file: digest of the whole content, offset, length. The content itself is in the blob store.
    #[serde(rename = "f")]
    FilePart(String, u64, u32),
    /// A file's length and digest, or none.
    #[serde(rename = "t")]
    FileStat(Option<(u64, String)>),
}

/// A dependency that a wait returned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Its id. One that begins with a dot is of the execution itself.
    #[serde(rename = "i")]
    pub id: String,
    /// How it ended; none for connections, whose `Settled` record says it.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub result: Option<EndedFlow>,
}

/// How a child flow ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndedFlow {
    /// Its name.
    #[serde(rename = "n")]
    pub name: String,
    /// Its final status.
    #[serde(rename = "s")]
    pub status: Status,
    /// Stable code; empty after success.
    #[serde(rename = "c")]
    pub code: String,
    /// For people.
    #[serde(rename = "m")]
    pub message: String,
    /// Its output.
    #[serde(rename = "o")]
    pub output: Output,
}

/// Status of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Of type SCHEDULE, asleep until its time.
    Scheduled,
    /// Not begun.
    Queued,
    /// At work.
    Running,
    /// Asleep, or waiting for a dependency or signal.
    Waiting,
    /// Stopped by a person until resumed.
    Paused,
    /// Ended well.
    EndedSuccess,
    /// Ended with an error.
    EndedError,
    /// Ended by a cancel.
    EndedCancelled,
}

impl Status {
    /// All, with their text forms.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::Scheduled, "SCHEDULED"),
        (Self::Queued, "QUEUED"),
        (Self::Running, "RUNNING"),
        (Self::Waiting, "WAITING"),
        (Self::Paused, "PAUSED"),
        (Self::EndedSuccess, "ENDED_SUCCESS"),
        (Self::EndedError, "ENDED_ERROR"),
        (Self::EndedCancelled, "ENDED_CANCELLED"),
    ];

    /// The text form.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(status, _)| *status == self).map_or("", |(_, text)| text)
    }

    /// The status with that text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, candidate)| *candidate == text).map(|(status, _)| *status)
    }

    /// Whether nothing more can happen.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::EndedSuccess | Self::EndedError | Self::EndedCancelled)
    }
}

/// Why a dependency did not succeed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Id of the dependency.
    #[serde(rename = "i")]
    pub execution_id: String,
    /// Its name.
    #[serde(rename = "n")]
    pub name: String,
    /// Its final status.
    #[serde(rename = "s")]
    pub status: Status,
    /// Stable code.
    #[serde(rename = "c")]
    pub code: String,
    /// For people.
    #[serde(rename = "m")]
    pub message: String,
}

/// Errors that a guest may catch; the cases of the contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub enum HostError {
    /// A dependency ended without success.
    #[error("{} ended with {} ({}): {}", .0.name, .0.status.as_str(), .0.code, .0.message)]
    #[serde(rename = "df")]
    DependencyFailed(Failure),
    /// A wait timed out; the ids that have not ended.
    #[error("timed out while waiting for {}", .0.join(", "))]
    #[serde(rename = "dt")]
    DependencyTimeout(Vec<String>),
    /// A wait for that signal timed out.
    #[error("timed out while waiting for signal `{0}`")]
    #[serde(rename = "st")]
    SignalTimeout(String),
    /// A wait for a lock timed out.
    #[error("{0}")]
    #[serde(rename = "lt")]
    LockTimeout(String),
    /// A wait for a lock would never have ended.
    #[error("{0}")]
    #[serde(rename = "dl")]
    Deadlock(String),
    /// Nothing has that name or id.
    #[error("{0}")]
    #[serde(rename = "nf")]
    NotFound(String),
    /// An input is missing or wrong.
    #[error("{0}")]
    #[serde(rename = "ii")]
    InvalidInput(String),
    /// An input that nobody asked for.
    #[error("{0}")]
    #[serde(rename = "ei")]
    ExtraInput(String),
    /// Not allowed.
    #[error("{0}")]
    #[serde(rename = "pd")]
    PermissionDenied(String),
    /// The record changed meanwhile, or a name is taken.
    #[error("{0}")]
    #[serde(rename = "cf")]
    Conflict(String),
    /// A limit.
    #[error("{0}")]
    #[serde(rename = "le")]
    LimitExceeded(String),
}
