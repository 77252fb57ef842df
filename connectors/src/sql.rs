//! What the connectors for SQL databases have in common, so that they look alike to users: inputs and outputs, the
//! effect of a text, rows, limits. Nothing here speaks a database's protocol or knows its dialect.
//!
//! | module | |
//! |---|---|
//! | `inputs` | what users write, and the one place where second names and defaults are resolved |
//! | `text` | the words of a SQL text, outside of literals and comments |
//! | `rows` | how rows become the output, and the limit of their number |
//! | `stream` | the limit of bytes, and encryption of a stream that began without |

pub(crate) mod inputs;
pub(crate) mod rows;
pub(crate) mod stream;
pub(crate) mod text;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use schemars::JsonSchema;
use serde_json::Value;
use surefoot_connector_api::{CallError, Effect, ErrorClass, Inputs};

use crate::inputs::effect_override;

/// Outputs of a call.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct SqlOutputs {
    /// `fetchval`: the first value of the first row, or null without a row. `fetchrow`: the first row as an object by
    /// column name, or null. `fetch`: all rows of the first result set, as a list of objects. The others: an object
    /// with `rows_affected`: for `execute` the counts as the server gave them, for `executemany` one per parameter set,
    /// for `transaction` one per statement.
    result: Value,
}

/// The effect of a call: what its input `effect` says, or a read if it is [proved to be one](is_proved_read), or a
/// write.
pub(crate) fn effect(inputs: &Inputs, is_plain_select: fn(&str) -> bool) -> Effect {
    match effect_override(inputs) {
        Some(effect) => effect,
        None if is_proved_read(inputs, is_plain_select) => Effect::Read,
        None => Effect::Write,
    }
}

/// Whether the call is nothing but a `fetch…` whose text `is_plain_select`, and does not say its effect itself.
pub(crate) fn is_proved_read(inputs: &Inputs, is_plain_select: fn(&str) -> bool) -> bool {
    let text = |name: &str| inputs.get(name).and_then(Value::as_str);
    effect_override(inputs).is_none()
        && ["execute", "executemany", "transaction"].iter().all(|name| !inputs.contains_key(*name))
        && inputs::FETCHES.iter().filter_map(|name| text(name)).all(is_plain_select)
        && inputs::FETCHES.iter().any(|name| text(name).is_some())
}

/// Performs `work` within `limit`, the input `total_timeout`.
pub(crate) async fn within<T>(
    limit: Duration,
    sent: &StatementSent,
    work: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) if sent.get() => Err(CallError::unknown(
            ErrorClass::Timeout,
            format!("the server has not answered within {} s; see `total_timeout`", limit.as_secs_f64()),
        )),
        Err(_) => Err(CallError::not_sent(
            ErrorClass::Timeout,
            format!("no connection to the server within {} s; see `total_timeout`", limit.as_secs_f64()),
        )),
    }
}

/// Connects and logs in by `work` within `limit`, the input `connect_timeout`.
pub(crate) async fn login_within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(CallError::not_sent(
            ErrorClass::Timeout,
            format!("the server did not complete the login within {} s; see `connect_timeout`", limit.as_secs_f64()),
        ))
    })
}

/// Whether a statement of the caller has left, and so may have had its effect.
#[derive(Default)]
pub(crate) struct StatementSent(AtomicBool);

impl StatementSent {
    /// Called before the first byte of a statement leaves.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// `error`, with the place in a transaction where it came up; `position` counts from 0.
pub(crate) fn in_transaction(position: usize, error: CallError) -> CallError {
    let message = format!("statement {} of the transaction: {}", position + 1, error.message);
    CallError { message, ..error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn effect_of(inputs: Value) -> Effect {
        effect(inputs.as_object().unwrap(), |sql| sql.starts_with("SELECT"))
    }

    #[test]
    fn only_a_proved_select_is_a_read() {
        assert_eq!(effect_of(json!({ "fetchval": "SELECT 1" })), Effect::Read);
        assert_eq!(effect_of(json!({ "fetchone": "SELECT 1" })), Effect::Read);
        assert_eq!(effect_of(json!({ "fetch": "INSERT INTO t OUTPUT inserted.id VALUES (1)" })), Effect::Write);
        assert_eq!(effect_of(json!({ "execute": "SELECT 1" })), Effect::Write);
        assert_eq!(effect_of(json!({ "fetch": "SELECT 1", "execute": "DELETE t" })), Effect::Write);
        assert_eq!(effect_of(json!({ "transaction": ["SELECT 1"] })), Effect::Write);
        assert_eq!(effect_of(json!({})), Effect::Write);
    }

    #[test]
    fn the_call_may_say_the_effect() {
        assert_eq!(effect_of(json!({ "fetch": "EXEC report", "effect": "read" })), Effect::Read);
        assert_eq!(effect_of(json!({ "execute": "UPDATE t SET a = 1", "effect": "idempotent" })), Effect::Idempotent);
        assert_eq!(effect_of(json!({ "fetchval": "SELECT 1", "effect": "write" })), Effect::Write);
    }
}
