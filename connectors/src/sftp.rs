//! Connector type `sftp`: files at a host that runs SSH, by the SFTP protocol.
//!
//! Everything is streamed, with several requests on the way at once. An upload goes to a temporary name beside its
//! target and is renamed when it is complete, so nobody sees half a file; that also makes it idempotent. The rename
//! replaces the target at once where the server knows OpenSSH's `posix-rename`; elsewhere the old file is deleted
//! first, and for a moment there is neither. The server is trusted by its host key, which the inputs name.

mod client;
mod codes;
mod failure;
mod inputs;
mod listing;
mod transfer;

use std::sync::LazyLock;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, Inputs};

use self::client::Client;
use self::inputs::SftpInputs;
use crate::remote_files::{Entry, Plan};
use crate::schema;
use crate::ssh_session::Session;

/// The connector type `sftp`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sftp;

static INPUT_SCHEMA: LazyLock<Value> = LazyLock::new(schema::schema_of::<SftpInputs>);
static OUTPUT_SCHEMA: LazyLock<Value> = LazyLock::new(schema::schema_of::<SftpOutput>);

#[async_trait]
impl Connector for Sftp {
    fn type_name(&self) -> &'static str {
        "sftp"
    }

    fn description(&self) -> &'static str {
        "Transfers, lists, renames and deletes files at a host that runs SSH with SFTP."
    }

    fn input_schema(&self) -> Value {
        INPUT_SCHEMA.clone()
    }

    fn output_schema(&self) -> Value {
        OUTPUT_SCHEMA.clone()
    }

    /// Downloads, `list` and `stat` read; an upload is idempotent; `delete`, `rename` and `mkdir` write.
    fn effect(&self, inputs: &Inputs) -> Effect {
        // What cannot be understood is treated as the worst; the call refuses it anyway.
        schema::parse::<SftpInputs>(inputs).map_or(Effect::Write, |inputs| inputs.files.effect())
    }

    async fn call(&self, context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        let inputs: SftpInputs = schema::parse(&inputs)?;
        let plan = inputs.files.plan()?;
        let session = Session::open(context.dialer, &inputs.host, context.timeout).await?;
        let client = Client::open(&session, inputs.socket_limit()).await?;
        let mut output = perform(&client, context, plan, &inputs).await?;
        output.warning = session.warning();
        session.disconnect().await;
        Ok(serde_json::to_value(output).expect("an output is plain data with text keys"))
    }
}

async fn perform(
    client: &Client,
    context: &CallContext<'_>,
    plan: Plan<'_>,
    inputs: &SftpInputs,
) -> Result<SftpOutput, CallError> {
    let nothing = |()| SftpOutput::default();
    match plan {
        Plan::Download { remote, file } => transfer::download(client, context.files, remote, file).await,
        Plan::Upload { file, remote } => transfer::upload(client, context, file, remote, inputs).await,
        Plan::List { path, recursive } => {
            let listing = listing::list(client, path, recursive).await?;
            Ok(SftpOutput { listing: Some(listing), ..SftpOutput::default() })
        }
        Plan::Stat { path } => {
            let stats = listing::stat(client, path).await?;
            Ok(SftpOutput { stats: Some(stats), ..SftpOutput::default() })
        }
        Plan::Delete { path } => client.delete(path).await.map(nothing),
        Plan::Rename { from, to } => client.rename(from, to).await.map(nothing),
        Plan::Mkdir { path } => client.mkdir(path).await.map(nothing),
    }
}

/// What a call returns. Which fields are there depends on the mode; the modes `delete`, `rename` and `mkdir` return
/// none.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SftpOutput {
    /// Mode `transfer`: how many bytes were transferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    /// Mode `transfer`: SHA-256 of the transferred content, in lower-case hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// Mode `list`: what is in the directory, sorted by path.
    #[serde(skip_serializing_if = "Option::is_none")]
    listing: Option<Vec<Entry>>,
    /// Mode `stat`: what `path` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<Entry>,
    /// What to be careful about; there if the host key was not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}
