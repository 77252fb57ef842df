//! Connector type `scp`: one file to or from a host that runs SSH, by the old SCP protocol (`scp -t`, `scp -f`).
//!
//! Everything is streamed. The server is trusted by its host key, which the inputs name. The old protocol cannot
//! rename:
//! an upload writes into its target directly, so a reader may see half a file, and an interrupted upload leaves one.
//! Performed again it ends with the same bytes, which is why it counts as idempotent.

mod copy;
mod inputs;
mod wire;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, ErrorClass, Inputs};

use self::inputs::{Plan, ScpInputs};
use crate::schema;
use crate::ssh_session::Session;

/// The connector type `scp`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scp;

#[async_trait]
impl Connector for Scp {
    fn type_name(&self) -> &'static str {
        "scp"
    }

    fn description(&self) -> &'static str {
        "Copies one file to or from a host that runs SSH and has the command scp."
    }

    fn input_schema(&self) -> Value {
        schema::schema_of::<ScpInputs>()
    }

    fn output_schema(&self) -> Value {
        schema::schema_of::<ScpOutput>()
    }

    /// A download reads, an upload is idempotent.
    fn effect(&self, inputs: &Inputs) -> Effect {
        // What cannot be understood is treated as the worst; the call refuses it anyway.
        let Ok(inputs) = schema::parse::<ScpInputs>(inputs) else { return Effect::Write };
        match inputs.plan() {
            Ok(Plan::Download { .. }) => Effect::Read,
            Ok(Plan::Upload { .. }) => Effect::Idempotent,
            Err(_) => Effect::Write,
        }
    }

    async fn call(&self, context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        let inputs: ScpInputs = schema::parse(&inputs)?;
        let plan = inputs.plan()?;
        let limit = inputs.copy_limit();
        let session = Session::open(context.dialer, &inputs.host, limit).await?;
        let copied = match &plan {
            Plan::Download { remote, file } => {
                tokio::time::timeout(limit, copy::download(&session, context.files, remote, file)).await
            }
            Plan::Upload { file, remote } => {
                tokio::time::timeout(limit, copy::upload(&session, context.files, file, remote, &inputs)).await
            }
        };
        let mut output = copied.unwrap_or_else(|_| {
            let message = format!("the copy took longer than {} s", limit.as_secs_f64());
            Err(match plan {
                Plan::Download { .. } => CallError::not_sent(ErrorClass::Timeout, message),
                Plan::Upload { .. } => CallError::unknown(ErrorClass::Timeout, message),
            })
        })?;
        output.warning = session.warning();
        session.disconnect().await;
        Ok(serde_json::to_value(output).expect("an output is plain data with text keys"))
    }
}

/// What a call returns.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ScpOutput {
    /// How many bytes were copied.
    size_bytes: u64,
    /// SHA-256 of the copied content, in lower-case hexadecimal.
    sha256: String,
    /// The permissions of the remote file in octal: what an upload asked for, or what a download was told.
    mode: String,
    /// When the remote file was changed last, in seconds since 1970-01-01 UTC: what an upload asked for, or what a
    /// download was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<u64>,
    /// What to be careful about; there if the host key was not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}
