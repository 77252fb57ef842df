//! What a connector is. Here live the trait, the effect of a call, its errors, the input rules that all
//! connectors share, and the dialer, the only way out.
//!
//! A connector module knows its protocol and nothing else: it sees no store, no journal, no execution.

mod dialer;
mod error;
mod inputs;
pub mod signature;

pub use dialer::{CompanionDialer, Dialer, EgressPolicy, EgressRule, EgressRuleError};
pub use error::{CallError, ErrorClass, Sent};
pub use inputs::{InputError, InputRules, REDACTED, is_secret_name, merge, secret_reference};
pub use signature::SigningSecret;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Inputs of a call: what is stored with the connector, overridden by what the call passed.
pub type Inputs = Map<String, Value>;

/// What performing a call twice would mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Changes nothing outside. Performed again after a crash.
    Read,
    /// Twice is the same as once. Performed again after a crash, if the connector is unchanged.
    Idempotent,
    /// Changes something outside. The intent is durable before the first byte leaves, and it is never performed
    /// again unless the call said so.
    Write,
}

/// One connector type: `ftp`, `smtp`, …
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// The name that users write: lower case, no spaces.
    fn type_name(&self) -> &'static str;

    /// One sentence for people.
    fn description(&self) -> &'static str;

    /// JSON Schema (draft 2020-12) of the merged inputs: an object with `additionalProperties: false`. An input that
    /// holds a
    /// secret carries `"writeOnly": true`; it is redacted wherever a call is shown or recorded.
    fn input_schema(&self) -> Value;

    /// JSON Schema of the output.
    fn output_schema(&self) -> Value;

    /// The effect of a call with these inputs.
    fn effect(&self, inputs: &Inputs) -> Effect;

    /// The inputs of a call that hands over a message, beside those that are stored with the connector.
    ///
    /// # Errors
    /// A fragment for people: that the type delivers no messages, or what is missing.
    fn delivery(&self, _stored: &Inputs, _message: &Message<'_>) -> Result<Inputs, String> {
        Err(format!("connectors of type `{}` deliver no messages", self.type_name()))
    }

    /// Performs the call. `inputs` have been merged and validated. The future may be dropped at any await, by a
    /// timeout or because the process ends. The engine takes secrets out of what comes back; an output with a text that
    /// breaks off says so by `"truncated": true`, or a secret that the end goes through would not be found.
    async fn call(&self, context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError>;
}

/// Something that somebody is told.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The same however often it is sent.
    pub id: &'a str,
    /// Who gets it: one address or a list; none where the connector knows.
    pub to: Option<&'a Value>,
    /// One line for people.
    pub subject: &'a str,
    /// For people.
    pub text: &'a str,
    /// The same for programs.
    pub document: &'a Value,
}

/// What a call may use.
pub struct CallContext<'a> {
    /// Opens connections, within the egress policy.
    pub dialer: &'a Dialer,
    /// The workspace's file store.
    pub files: &'a dyn FileAccess,
    /// For protocols that have such a thing: the same for every attempt of one call, secret to others. Empty for a
    /// read.
    pub idempotency_key: &'a str,
    /// How long the call may take in all. The engine drops it then; a connector needs it only to tell its server.
    pub timeout: Duration,
}

/// A file of the workspace's file store, as [`FileSink::finish`] stored it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Name in the workspace.
    pub name: String,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Hexadecimal SHA-256 of the content.
    pub sha256: String,
}

/// Chunks of a file, in order.
pub type ByteStream = futures::stream::BoxStream<'static, Result<Bytes, CallError>>;

/// The part of the file store that a connector sees. Streams only: a file never stands in memory as a whole.
#[async_trait]
pub trait FileAccess: Send + Sync {
    /// Length in bytes and content of a file. Unknown name: [`ErrorClass::NotFound`], [`Sent::No`].
    async fn read(&self, name: &str) -> Result<(u64, ByteStream), CallError>;

    /// Starts a new content for a file. The name changes hands when the whole call has succeeded and been recorded;
    /// until
    /// then readers see the old content.
    async fn write(&self, name: &str) -> Result<Box<dyn FileSink>, CallError>;
}

/// Takes the content of a file, chunk by chunk. Dropped unfinished, it leaves nothing behind.
#[async_trait]
pub trait FileSink: Send {
    /// Appends a chunk.
    async fn write(&mut self, chunk: Bytes) -> Result<(), CallError>;
    /// Ends the content.
    async fn finish(self: Box<Self>) -> Result<StoredFile, CallError>;
}

/// The name in the workspace's file store that `surefoot:NAME` or `cloudomation:NAME` means; none for anything else.
pub fn workspace_file_name(location: &str) -> Option<&str> {
    location.strip_prefix("surefoot:").or_else(|| location.strip_prefix("cloudomation:"))
}
