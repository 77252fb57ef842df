//! `mssql`: statements for Microsoft SQL Server and what speaks its protocol (TDS), such as Azure SQL.
//!
//! A call opens a connection, runs one statement, one statement for many parameter sets, or a list of statements in one
//! transaction, and closes the connection: nothing of the session is left for another call. Parameters are
//! `@P1`, `@P2`, … in the text and the list `params` beside it.
//!
//! | module | |
//! |---|---|
//! | `inputs` | what users write, and the one place where second names and defaults are resolved |
//! | `statement` | what a text is proved to do: read, be done as a whole or not at all |
//! | `session` | connecting, TLS, login, the limit of bytes |
//! | `run` | statements, rows, transactions |
//! | `values` | JSON and SQL types |
//! | `errors` | what a failure says about the effect |
//!
//! Each statement runs through `sp_executesql`, so a local temporary table made by one is gone for the next.

mod errors;
mod inputs;
mod run;
mod session;
mod statement;
mod values;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde_json::Value;
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, ErrorClass, Inputs};

use crate::inputs::effect_override;
use crate::schema;
use inputs::{MssqlInputs, Plan};

/// The connector type `mssql`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mssql;

/// Outputs of a call.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct MssqlOutputs {
    /// `fetchval`: the first value of the first row, or null without a row. `fetchrow`: the first row as an object by
    /// column name, or null. `fetch`: all rows of the first result set, as a list of objects. The others: an object
    /// with `rows_affected`: for `execute` the counts as the server gave them, for `executemany` one per parameter set,
    /// for `transaction` one per statement.
    result: Value,
}

static INPUT_SCHEMA: LazyLock<Value> = LazyLock::new(schema::schema_of::<MssqlInputs>);
static OUTPUT_SCHEMA: LazyLock<Value> = LazyLock::new(schema::schema_of::<MssqlOutputs>);

#[async_trait]
impl Connector for Mssql {
    fn type_name(&self) -> &'static str {
        "mssql"
    }

    fn description(&self) -> &'static str {
        "Runs statements on Microsoft SQL Server"
    }

    fn input_schema(&self) -> Value {
        INPUT_SCHEMA.clone()
    }

    fn output_schema(&self) -> Value {
        OUTPUT_SCHEMA.clone()
    }

    /// A `fetch…` whose text is proved to be one `SELECT` without side effects is a read; anything else is a write,
    /// unless the input `effect` says otherwise.
    fn effect(&self, inputs: &Inputs) -> Effect {
        if let Some(effect) = effect_override(inputs) {
            return effect;
        }
        let text = |name: &str| inputs.get(name).and_then(Value::as_str);
        let only_reads = ["execute", "executemany", "transaction"].iter().all(|name| !inputs.contains_key(*name))
            && inputs::FETCHES.iter().filter_map(|name| text(name)).all(statement::is_plain_select)
            && inputs::FETCHES.iter().any(|name| text(name).is_some());
        if only_reads { Effect::Read } else { Effect::Write }
    }

    async fn call(&self, context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        let plan = Plan::new(schema::parse(&inputs)?)?;
        let statement_sent = StatementSent::default();
        let work = async {
            let client = session::connect(context.dialer, &plan.server).await?;
            run::run(client, &plan, &statement_sent).await
        };
        let limit = plan.total_timeout;
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) if statement_sent.get() => Err(CallError::unknown(
                ErrorClass::Timeout,
                format!("the server has not answered within {} s; see `total_timeout`", limit.as_secs_f64()),
            )),
            Err(_) => Err(CallError::not_sent(
                ErrorClass::Timeout,
                format!("no connection to the server within {} s; see `total_timeout`", limit.as_secs_f64()),
            )),
        }
    }
}

/// Whether a statement of the caller has left, and so may have had its effect.
#[derive(Default)]
struct StatementSent(AtomicBool);

impl StatementSent {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn effect(inputs: Value) -> Effect {
        Mssql.effect(inputs.as_object().unwrap())
    }

    #[test]
    fn only_a_proved_select_is_a_read() {
        assert_eq!(effect(json!({ "fetchval": "SELECT 1" })), Effect::Read);
        assert_eq!(effect(json!({ "fetchone": "SELECT 1" })), Effect::Read);
        assert_eq!(effect(json!({ "fetch": "INSERT INTO t OUTPUT inserted.id VALUES (1)" })), Effect::Write);
        assert_eq!(effect(json!({ "execute": "SELECT 1" })), Effect::Write);
        assert_eq!(effect(json!({ "fetch": "SELECT 1", "execute": "DELETE t" })), Effect::Write);
        assert_eq!(effect(json!({ "transaction": ["SELECT 1"] })), Effect::Write);
        assert_eq!(effect(json!({})), Effect::Write);
    }

    #[test]
    fn the_call_may_say_the_effect() {
        assert_eq!(effect(json!({ "fetch": "EXEC report", "effect": "read" })), Effect::Read);
        assert_eq!(effect(json!({ "execute": "UPDATE t SET a = 1", "effect": "idempotent" })), Effect::Idempotent);
        assert_eq!(effect(json!({ "fetchval": "SELECT 1", "effect": "write" })), Effect::Write);
    }

    #[test]
    fn the_schema_hides_the_password_and_refuses_the_unknown() {
        let schema = Mssql.input_schema();
        assert_eq!(schema["properties"]["password"]["writeOnly"], true);
        assert_eq!(schema["additionalProperties"], false);
        for (name, property) in schema["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "input `{name}` has no description");
        }
    }
}
