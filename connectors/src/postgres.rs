//! `postgres`: statements for PostgreSQL and what speaks its protocol.
//!
//! A call opens a connection, runs one statement, one statement for many parameter sets, or a list of statements in one
//! transaction, and closes the connection: nothing of the session is left for another call. Parameters are
//! `$1`, `$2`, … in the text and the list `params` beside it.
//!
//! | module | |
//! |---|---|
//! | `statement` | what a text is proved to do: read, be done as a whole or not at all |
//! | `session` | connecting, TLS, login, and who drives the connection |
//! | `run` | statements, rows, transactions |
//! | `parameter` | from JSON to the types of PostgreSQL |
//! | `values` | from the types of PostgreSQL to JSON; `numeric`, its decimal numbers |
//! | `errors` | what a failure says about the effect |
//!
//! A `fetch…` that counts as a read by its text runs in a `READ ONLY` transaction, so that a view or an operator with
//! side effects is refused by the server and not repeated after a crash.

mod errors;
mod numeric;
mod parameter;
mod run;
mod session;
mod statement;
mod values;

use std::sync::LazyLock;

use async_trait::async_trait;
use serde_json::Value;
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, Inputs};

use crate::schema;
use crate::sql::inputs::{self, Encrypt, Isolation, SqlInputs, Wording};
use crate::sql::{self, SqlOutputs, StatementSent};

/// A call, ready to be performed.
type Plan = inputs::Plan<Encrypt, Isolation>;
/// Where to connect, and as whom.
type Server = inputs::Server<Encrypt>;

const WORDING: Wording = Wording {
    port: 5432,
    params: "`$1`, `$2`, …",
    param_values: "null, booleans, numbers or text, which the server converts to the type that it expects; text in \
        base64 for `bytea`; lists for arrays; lists and objects for `json` and `jsonb`",
    login: "a role",
    database: "the one with the name of the login",
    beside: "instead of",
};

/// The connector type `postgres`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Postgres;

static INPUT_SCHEMA: LazyLock<Value> =
    LazyLock::new(|| inputs::input_schema::<Encrypt, Isolation>(&WORDING, inputs::ENCRYPT));
static OUTPUT_SCHEMA: LazyLock<Value> = LazyLock::new(schema::schema_of::<SqlOutputs>);

#[async_trait]
impl Connector for Postgres {
    fn type_name(&self) -> &'static str {
        "postgres"
    }

    fn description(&self) -> &'static str {
        "Runs statements on PostgreSQL"
    }

    fn input_schema(&self) -> Value {
        INPUT_SCHEMA.clone()
    }

    fn output_schema(&self) -> Value {
        OUTPUT_SCHEMA.clone()
    }

    /// A `fetch…` whose text is proved to be one `SELECT` that calls nothing but well-known functions is a read;
    /// anything else is a write, unless the input `effect` says otherwise.
    fn effect(&self, inputs: &Inputs) -> Effect {
        sql::effect(inputs, statement::is_plain_select)
    }

    async fn call(&self, context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        let plan = Plan::new(schema::parse::<SqlInputs<Encrypt, Isolation>>(&inputs)?, &WORDING)?;
        let read_only = sql::is_proved_read(&inputs, statement::is_plain_select);
        let sent = StatementSent::default();
        sql::within(plan.total_timeout, &sent, async {
            let session = session::connect(context.dialer, &plan.server).await?;
            session.perform(async |client| run::run(client, &plan, read_only, &sent).await).await
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_schema_speaks_of_postgresql() {
        let schema = Postgres.input_schema();
        let described = |name: &str| schema["properties"][name]["description"].as_str().unwrap();
        assert!(described("port").contains("5432"));
        assert!(described("params").contains("$1"));
        assert!(!described("encrypt").contains("`login`"));
    }

    #[test]
    fn a_function_of_the_users_makes_a_write() {
        let effect = |sql: &str| Postgres.effect(json!({ "fetchval": sql }).as_object().unwrap());
        assert_eq!(effect("SELECT count(*) FROM t"), Effect::Read);
        assert_eq!(effect("SELECT charge_customer(7)"), Effect::Write);
        assert_eq!(effect("INSERT INTO t VALUES (1) RETURNING id"), Effect::Write);
    }
}
