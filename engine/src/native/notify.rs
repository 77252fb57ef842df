//! Delivers a notification: calls the connector that its input names, again after pauses that survive a restart, until
//! it is handed over or there is no use in trying.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{NativeFlow, call};
use crate::journal::HostError;
use crate::notifications;
use crate::session::{End, Session};

pub(super) struct Notify;

/// Pauses after attempts that failed: about a day in all.
const PAUSES: [Duration; 8] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(14 * 3600),
];

#[async_trait]
impl NativeFlow for Notify {
    async fn run(&self, session: Arc<Session>, input: Value) -> Result<Value, End> {
        let text = |field: &str| input[field].as_str().unwrap_or_default();
        if let Some(problem) = input["problem"].as_str() {
            return Err(End::Error("invalid_input".into(), problem.to_owned()));
        }
        let mut pauses = PAUSES.iter();
        loop {
            if let Some(reason) = needless(&session, &input).await? {
                return Err(End::Success(reason.to_owned()));
            }
            let mut inputs = input["inputs"].clone();
            if let Some(approval) = input["token_of"].as_str() {
                // Before anything is shown of it.
                session.resident().learns_token();
                notifications::with_token(session.core(), approval, &mut inputs);
            }
            let inputs = inputs.as_object().cloned().unwrap_or_default();
            let (code, message) = match call(&session, text("connector_id"), inputs).await? {
                Ok(output) => return Ok(output),
                Err(failed) => failed,
            };
            let may_repeat = match code.as_str() {
                // It may be there already. Who gets it knows it again, or is told twice.
                "interrupted" | "unknown_outcome" => input["is_repeatable"] == true,
                // Waiting makes nothing better.
                "invalid_input" | "error" | "cancelled" => false,
                _ => true,
            };
            match pauses.next().filter(|_| may_repeat && input["is_trial"] != true) {
                Some(pause) => {
                    let said = format!("not delivered ({code}): {message}; it is tried again");
                    session.log("warn", "engine", &said, json!({ "pause_ms": pause.as_millis() as u64 }))?;
                    session.sleep(*pause, Some("waits to try again")).await?;
                }
                None => return Err(End::Error(code, message)),
            }
        }
    }
}

/// Why there is nothing to tell any more.
async fn needless(session: &Session, input: &Value) -> Result<Option<&'static str>, End> {
    let error = |error: HostError| End::Error("error".into(), error.to_string());
    if input["is_trial"] == true {
        return Ok(None);
    }
    let rule = input["notification_id"].as_str().unwrap_or_default();
    let rule = session.record_get("notification", rule).await?.map_err(error)?;
    if rule.is_none_or(|rule| rule["is_enabled"] != true) {
        return Ok(Some("not sent: the notification was disabled or removed"));
    }
    let Some(approval) = input["approval_id"].as_str() else { return Ok(None) };
    let approval = session.record_get("approval", approval).await?.map_err(error)?;
    let is_open = approval.is_some_and(|approval| approval["status"] == "open");
    Ok((!is_open).then_some("not sent: the question was answered meanwhile, or is asked no more"))
}
