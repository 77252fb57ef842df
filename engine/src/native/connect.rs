//! Calls one connector and returns its output: what `surefoot connector test` runs.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::{NativeFlow, call};
use crate::secrets;
use crate::session::{End, Session};

pub(super) struct Connect;

#[async_trait]
impl NativeFlow for Connect {
    async fn run(&self, session: Arc<Session>, input: Value) -> Result<Value, End> {
        let connector = input["connector"].as_str().unwrap_or_default();
        let mut inputs = input["inputs"].as_object().cloned().unwrap_or_default();
        secrets::open_tried(&session.core().secrets.vault, &mut inputs);
        call(&session, connector, inputs).await?.map_err(|(code, message)| End::Error(code, message))
    }
}
