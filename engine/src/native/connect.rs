//! Calls one connector and returns its output: what `surefoot connector test` runs.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::NativeFlow;
use crate::secrets;
use crate::session::{ConnectionOptions, End, ReturnWhen, Session};

pub(super) struct Connect;

#[async_trait]
impl NativeFlow for Connect {
    async fn run(&self, session: Arc<Session>, input: Value) -> Result<Value, End> {
        let connector = input["connector"].as_str().unwrap_or_default();
        let mut inputs = input["inputs"].as_object().cloned().unwrap_or_default();
        secrets::open_tried(&session.core().secrets.vault, &mut inputs);
        let error = |error: crate::journal::HostError| match error {
            crate::journal::HostError::DependencyFailed(failure) => End::Error(failure.code, failure.message),
            other => End::Error("error".into(), other.to_string()),
        };
        let id = session.start_connection(connector, inputs, ConnectionOptions::default()).await?.map_err(error)?;
        let ended = session.wait(&[id], ReturnWhen::AllSucceeded, None).await?.map_err(error)?;
        Ok(ended.first().map(|ended| Value::clone(&ended.output)).unwrap_or_default())
    }
}
