//! Flows that are part of the engine. They run through the same journal as components do.

mod connect;
mod cron;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::session::{End, Session};

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
    let flows: [(&str, Arc<dyn NativeFlow>); 2] =
        [("cron", Arc::new(cron::Cron)), ("connect", Arc::new(connect::Connect))];
    flows.into_iter().map(|(name, flow)| (name.to_owned(), flow)).collect()
}
