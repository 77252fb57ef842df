//! Connector type `ssh`: one command or script at a host that runs SSH.
//!
//! The server is trusted by its host key, which the inputs name. There is no terminal: what the command prints is not
//! mixed with what we send, and its standard output and error are apart. What happens at the host is the command's
//! business, so a call writes unless it says otherwise, and a failed one proves nothing.

mod inputs;
mod run;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, ErrorClass, Inputs, Sent};

use self::inputs::SshInputs;
use crate::inputs::effect_override;
use crate::schema;
use crate::ssh_session::Session;

/// The connector type `ssh`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ssh;

static INPUT_SCHEMA: LazyLock<Value> = LazyLock::new(schema::schema_of::<SshInputs>);
static OUTPUT_SCHEMA: LazyLock<Value> = LazyLock::new(schema::schema_of::<SshOutput>);

#[async_trait]
impl Connector for Ssh {
    fn type_name(&self) -> &'static str {
        "ssh"
    }

    fn description(&self) -> &'static str {
        "Runs a command or a script at a host that runs SSH."
    }

    fn input_schema(&self) -> Value {
        INPUT_SCHEMA.clone()
    }

    fn output_schema(&self) -> Value {
        OUTPUT_SCHEMA.clone()
    }

    /// Nobody knows what a command does: it writes, unless the input `effect` says otherwise.
    fn effect(&self, inputs: &Inputs) -> Effect {
        effect_override(inputs).unwrap_or(Effect::Write)
    }

    async fn call(&self, context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        let fate = Fate { reads: self.effect(&inputs) == Effect::Read, started: AtomicBool::new(false) };
        let inputs: SshInputs = schema::parse(&inputs)?;
        let plan = inputs.plan()?;
        let limit = inputs.command_limit();
        let session = Session::open(context.dialer, &inputs.host, limit).await?;
        let ran = tokio::time::timeout(limit, run::run(&session, context.files, &plan, &fate)).await;
        let mut output = ran.unwrap_or_else(|_| {
            let message = format!(
                "the command took longer than {} s, and may still run at the host; see `command_timeout`",
                limit.as_secs_f64()
            );
            Err(fate.lost(ErrorClass::Timeout, message))
        })?;
        output.warning = session.warning();
        session.disconnect().await;
        Ok(serde_json::to_value(output).expect("an output is plain data with text keys"))
    }
}

/// What is known about the effect of a call.
struct Fate {
    /// The call says that the command changes nothing.
    reads: bool,
    /// The host was asked to run the command.
    started: AtomicBool,
}

impl Fate {
    fn start(&self) {
        self.started.store(true, Ordering::Relaxed);
    }

    fn sent(&self) -> Sent {
        if self.reads || !self.started.load(Ordering::Relaxed) { Sent::No } else { Sent::Unknown }
    }

    /// The error when nobody knows how the command ended.
    fn lost(&self, class: ErrorClass, message: impl Into<String>) -> CallError {
        CallError { class, sent: self.sent(), message: message.into(), peer_code: None }
    }

    /// The error when the command ended, and failed.
    fn failed(&self, message: String, peer_code: Option<String>) -> CallError {
        let sent = if self.reads { Sent::Rejected } else { Sent::Unknown };
        CallError { class: ErrorClass::Refused, sent, message, peer_code }
    }
}

/// What a call returns.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SshOutput {
    /// The exit code of the command; null if a signal ended it.
    exit_code: Option<u32>,
    /// The signal that ended the command, such as `KILL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_signal: Option<String>,
    /// What the command has printed, if it did not go to `stdout_file`. What is no UTF-8 is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<String>,
    /// How many bytes the command has printed.
    stdout_size_bytes: u64,
    /// What the command has printed as errors, if it did not go to `stderr_file`. What is no UTF-8 is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<String>,
    /// How many bytes the command has printed as errors.
    stderr_size_bytes: u64,
    /// There, and true, if `stdout` or `stderr` holds only the first `output_bytes_max` bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
    /// What to be careful about; there if the host key was not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}
