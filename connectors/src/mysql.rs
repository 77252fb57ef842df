//! `mysql`: statements for MySQL, MariaDB and what speaks their protocol.
//!
//! A call opens a connection, runs one statement, one statement for many parameter sets, or a list of statements in one
//! transaction, and closes the connection: nothing of the session is left for another call. Parameters are `?` in the
//! text and the list `params` beside it.
//!
//! | module | |
//! |---|---|
//! | `statement` | what a text is proved to do: read, leave a transaction open |
//! | `login` | connecting, TLS, login; `auth`, how passwords are proved |
//! | `client` | commands and their answers; `packet`, what they are made of |
//! | `run` | statements, rows, transactions |
//! | `values` | JSON and SQL types |
//! | `errors` | what a failure says about the effect |
//!
//! The protocol is spoken here and not by a driver, because none of the drivers speaks it on a connection that it is
//! given: they resolve the host and open sockets themselves, past the dialer and its policy.
//!
//! A `fetch…` that counts as a read by its text runs in a `READ ONLY` transaction, so that a view with side effects is
//! refused by the server and not repeated after a crash. One `INSERT`, `UPDATE` or `DELETE` runs in a transaction too:
//! only by the answer to a rollback does the server tell whether tables without transactions have been changed.

mod auth;
mod client;
mod errors;
mod login;
mod packet;
mod run;
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
    port: 3306,
    params: "each `?`",
    param_values: "null, booleans, numbers or text; lists and objects become JSON text",
    login: "an account",
    database: "none",
    beside: "instead of",
};

/// The connector type `mysql`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mysql;

static INPUT_SCHEMA: LazyLock<Value> =
    LazyLock::new(|| inputs::input_schema::<Encrypt, Isolation>(&WORDING, inputs::ENCRYPT));
static OUTPUT_SCHEMA: LazyLock<Value> = LazyLock::new(schema::schema_of::<SqlOutputs>);

#[async_trait]
impl Connector for Mysql {
    fn type_name(&self) -> &'static str {
        "mysql"
    }

    fn description(&self) -> &'static str {
        "Runs statements on MySQL or MariaDB"
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
            let (client, limit) = login::connect(context.dialer, &plan.server, plan.total_timeout).await?;
            run::run(client, &plan, read_only, &sent).await.map_err(|error| limit.explain(error))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_schema_speaks_of_mysql() {
        let schema = Mysql.input_schema();
        let described = |name: &str| schema["properties"][name]["description"].as_str().unwrap();
        assert!(described("port").contains("3306"));
        assert!(described("params").contains("each `?`"));
        assert!(!described("encrypt").contains("`login`"));
    }

    #[test]
    fn a_function_of_the_users_makes_a_write() {
        let effect = |sql: &str| Mysql.effect(json!({ "fetchval": sql }).as_object().unwrap());
        assert_eq!(effect("SELECT count(*) FROM t"), Effect::Read);
        assert_eq!(effect("SELECT charge_customer(7)"), Effect::Write);
        assert_eq!(effect("CALL report()"), Effect::Write);
    }
}
