//! Connector type `ftp`: files on an FTP server, plain or with TLS (FTPS, explicit or implicit).
//!
//! Everything is streamed. An upload goes to a temporary name beside its target and is renamed when it is complete, so
//! nobody sees half a file; that also makes it idempotent. A download counts only when the server has confirmed it and
//! its length is the one announced. Data connections go to the address of the control connection and to no other,
//! whatever the server names; active mode does not exist here.

mod failure;
mod implicit;
mod inputs;
mod listing;
mod session;
mod transfer;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, Inputs};

use self::inputs::FtpInputs;
use self::session::Session;
use crate::remote_files::{Entry, Plan};
use crate::schema;

/// The connector type `ftp`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ftp;

#[async_trait]
impl Connector for Ftp {
    fn type_name(&self) -> &'static str {
        "ftp"
    }

    fn description(&self) -> &'static str {
        "Transfers, lists, renames and deletes files on an FTP server, plain or with TLS."
    }

    fn input_schema(&self) -> Value {
        schema::schema_of::<FtpInputs>()
    }

    fn output_schema(&self) -> Value {
        schema::schema_of::<FtpOutput>()
    }

    /// Downloads, `list` and `stat` read; an upload is idempotent; `delete`, `rename` and `mkdir` write.
    fn effect(&self, inputs: &Inputs) -> Effect {
        // What cannot be understood is treated as the worst; the call refuses it anyway.
        schema::parse::<FtpInputs>(inputs).map_or(Effect::Write, |inputs| inputs.files.effect())
    }

    async fn call(&self, context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        let inputs: FtpInputs = schema::parse(&inputs)?;
        let plan = inputs.files.plan()?;
        let mut session = Session::open(context.dialer, &inputs).await?;
        let output = perform(&mut session, context, plan).await?;
        session.quit().await;
        Ok(serde_json::to_value(output).expect("an output is plain data with text keys"))
    }
}

async fn perform(session: &mut Session, context: &CallContext<'_>, plan: Plan<'_>) -> Result<FtpOutput, CallError> {
    match plan {
        Plan::Download { remote, file } => transfer::download(session, context.files, remote, file).await,
        Plan::Upload { file, remote } => {
            transfer::upload(session, context.files, file, remote, context.idempotency_key).await
        }
        Plan::List { path, recursive } => {
            let listing = listing::list(session, path, recursive).await?;
            Ok(FtpOutput { listing: Some(listing), ..FtpOutput::default() })
        }
        Plan::Stat { path } => {
            let stats = listing::stat(session, path).await?;
            Ok(FtpOutput { stats: Some(stats), ..FtpOutput::default() })
        }
        Plan::Delete { path } => session.delete(path).await.map(|()| FtpOutput::default()),
        Plan::Rename { from, to } => session.rename(from, to).await.map(|()| FtpOutput::default()),
        Plan::Mkdir { path } => session.mkdir(path).await.map(|()| FtpOutput::default()),
    }
}

/// What a call returns. Which fields are there depends on the mode; the modes `delete`, `rename` and `mkdir` return
/// none.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FtpOutput {
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
}
