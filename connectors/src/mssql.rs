//! `mssql`: statements for Microsoft SQL Server and what speaks its protocol (TDS), such as Azure SQL.
//!
//! A call opens a connection, runs one statement, one statement for many parameter sets, or a list of statements in one
//! transaction, and closes the connection: nothing of the session is left for another call. Parameters are
//! `@P1`, `@P2`, … in the text and the list `params` beside it.
//!
//! | module | |
//! |---|---|
//! | `inputs` | what is particular in the inputs; the rest is in `crate::sql` |
//! | `statement` | what a text is proved to do: read, be done as a whole or not at all |
//! | `session` | connecting, TLS, login |
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

use async_trait::async_trait;
use serde_json::Value;
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, Inputs};

use crate::schema;
use crate::sql::{self, SqlOutputs, StatementSent};
use inputs::{Encrypt, Isolation, MssqlInputs, Plan};

/// The connector type `mssql`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mssql;

static INPUT_SCHEMA: LazyLock<Value> =
    LazyLock::new(|| sql::inputs::input_schema::<Encrypt, Isolation>(&inputs::WORDING, inputs::ENCRYPT));
static OUTPUT_SCHEMA: LazyLock<Value> = LazyLock::new(schema::schema_of::<SqlOutputs>);

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
        sql::effect(inputs, statement::is_plain_select)
    }

    async fn call(&self, context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        let plan = Plan::new(schema::parse::<MssqlInputs>(&inputs)?, &inputs::WORDING)?;
        let sent = StatementSent::default();
        sql::within(plan.total_timeout, &sent, async {
            let client = session::connect(context.dialer, &plan.server).await?;
            run::run(client, &plan, &sent).await
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_speaks_of_sql_server() {
        let schema = Mssql.input_schema();
        let described = |name: &str| schema["properties"][name]["description"].as_str().unwrap();
        assert!(described("port").contains("1433"));
        assert!(described("params").contains("@P1"));
        assert!(described("encrypt").contains("`login`"));
    }
}
