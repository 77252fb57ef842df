//! Flows that are part of the engine. They run through the same journal as components do.

mod connect;
mod cron;
mod notify;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use surefoot_connector_api::Inputs;

use crate::journal::HostError;
use crate::session::{ConnectionOptions, End, ReturnWhen, Session};

/// A flow written against [`Session`] instead of the WIT contract. It must be deterministic as a component is: no
/// clock, no randomness, no
/// effect but through the session.
#[async_trait]
pub trait NativeFlow: Send + Sync + 'static {
    /// Runs once for each execution.
    async fn run(&self, session: Arc<Session>, input: Value) -> Result<Value, End>;
}

/// The built-in flows by name.
pub(crate) fn all() -> HashMap<String, Arc<dyn NativeFlow>> {
    let flows: [(&str, Arc<dyn NativeFlow>); 3] =
        [("cron", Arc::new(cron::Cron)), ("connect", Arc::new(connect::Connect)), ("notify", Arc::new(notify::Notify))];
    flows.into_iter().map(|(name, flow)| (name.to_owned(), flow)).collect()
}

/// Calls a connector and waits for the end: its output, or the code and the message of its failure.
async fn call(session: &Session, connector: &str, inputs: Inputs) -> Result<Result<Value, (String, String)>, End> {
    let failed = |error| match error {
        HostError::DependencyFailed(failure) => (failure.code, failure.message),
        other => ("error".to_owned(), other.to_string()),
    };
    let id = match session.start_connection(connector, inputs, ConnectionOptions::default()).await? {
        Ok(id) => id,
        Err(error) => return Ok(Err(failed(error))),
    };
    let ended = session.wait(&[id], ReturnWhen::AllSucceeded, None).await?;
    Ok(ended
        .map_err(failed)
        .map(|ended| ended.first().map(|ended| ended.output.value().into_owned()).unwrap_or_default()))
}
