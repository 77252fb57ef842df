//! What users write, and the plan that follows from it. Second names, defaults and what excludes what are resolved
//! here and nowhere else.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use surefoot_connector_api::{CallError, Effect};
use tiberius::IsolationLevel;

use crate::inputs::{EffectName, either, invalid};
use crate::schema::{Seconds, Secret};
use crate::tls;

/// The inputs that give back rows.
pub(super) const FETCHES: [&str; 5] = ["fetchval", "fetchrow", "fetchone", "fetch", "fetchall"];

const PORT: u16 = 1433;
const CONNECT_TIMEOUT: Seconds = Seconds(30.0);
const TOTAL_TIMEOUT: Seconds = Seconds(30.0);
const ROWS_MAX: usize = 10_000;
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Inputs of a call. Exactly one of `fetchval`, `fetchrow`, `fetch`, `execute`, `executemany` and `transaction` says
/// what to do.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MssqlInputs {
    /// Name or address of the server.
    hostname: Option<String>,
    /// The same as `hostname`.
    host: Option<String>,
    /// TCP port of the server; 1433 by default.
    port: Option<u16>,
    /// Login name of SQL Server authentication.
    username: Option<String>,
    /// The same as `username`.
    user: Option<String>,
    /// Password of the login.
    password: Option<Secret>,
    /// Database to use; by default the one that the server gives the login.
    database: Option<String>,
    /// What is encrypted: `required` (default): everything; `login`: the login only, as the server wishes beyond;
    /// `off`: nothing, unless the server insists.
    encrypt: Option<Encrypt>,
    /// Certificates, as PEM text, that are trusted beside those of this machine: the server's CA, or its own
    /// self-signed certificate.
    server_ca: Option<String>,
    /// Accepts any certificate of the server: anybody in between can then read and change everything. False by default.
    trust_server_certificate: Option<bool>,
    /// A statement; gives the first value of its first row.
    fetchval: Option<String>,
    /// A statement; gives its first row.
    fetchrow: Option<String>,
    /// The same as `fetchrow`.
    fetchone: Option<String>,
    /// A statement; gives all rows of its first result set.
    fetch: Option<String>,
    /// The same as `fetch`.
    fetchall: Option<String>,
    /// A statement, or several; gives how many rows each has changed.
    execute: Option<String>,
    /// A statement that runs once for each list in `params`, all in one transaction.
    executemany: Option<String>,
    /// Values for `@P1`, `@P2`, … in the statement: null, booleans, numbers or text. With `executemany` a list of such
    /// lists.
    params: Option<Vec<Value>>,
    /// Statements that run in one transaction: all of them take effect, or none. Each is a text, or an object with
    /// `sql` and `params`.
    transaction: Option<Vec<Step>>,
    /// Isolation level of the statement or transaction; by default the server's.
    isolation_level: Option<Isolation>,
    /// What performing the call twice would mean: `read`, `idempotent` or `write`. By default `read` for a `fetch…`
    /// that is clearly one `SELECT` without side effects, otherwise `write`.
    #[schemars(with = "Option<EffectName>")]
    #[expect(dead_code, reason = "read by `Connector::effect`")]
    effect: Option<Effect>,
    /// How long connecting and logging in may take, in seconds; 30 by default.
    connect_timeout: Option<Seconds>,
    /// How long the whole call may take, in seconds; 30 by default.
    total_timeout: Option<Seconds>,
    /// How many rows `fetch` may give; 10000 by default. More are an error.
    #[schemars(range(min = 1, max = 1_000_000))]
    rows_max: Option<usize>,
    /// How many bytes the server may send in all; 16 MiB by default. More are an error.
    #[schemars(range(min = 65_536, max = 1_073_741_824))]
    bytes_max: Option<u64>,
}

/// What is encrypted.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encrypt {
    #[default]
    Required,
    Login,
    Off,
}

/// Isolation level, by the names of T-SQL.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
    Snapshot,
}

impl Isolation {
    /// The level for a transaction.
    pub(super) fn level(self) -> IsolationLevel {
        match self {
            Self::ReadUncommitted => IsolationLevel::ReadUncommitted,
            Self::ReadCommitted => IsolationLevel::ReadCommitted,
            Self::RepeatableRead => IsolationLevel::RepeatableRead,
            Self::Serializable => IsolationLevel::Serializable,
            Self::Snapshot => IsolationLevel::Snapshot,
        }
    }

    /// The level for what the session does outside of a transaction.
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
            Self::ReadCommitted => "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
            Self::RepeatableRead => "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            Self::Serializable => "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            Self::Snapshot => "SET TRANSACTION ISOLATION LEVEL SNAPSHOT",
        }
    }
}

/// One statement of a transaction.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Step {
    /// A statement without parameters.
    Text(String),
    /// A statement with parameters.
    WithParams(StepWithParams),
}

/// One statement of a transaction with its parameters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StepWithParams {
    /// The statement.
    sql: String,
    /// Values for `@P1`, `@P2`, … in the statement.
    #[serde(default)]
    params: Vec<Value>,
}

/// Where to connect, and as whom.
pub(super) struct Server {
    pub(super) hostname: String,
    pub(super) port: u16,
    pub(super) username: String,
    pub(super) password: Secret,
    pub(super) database: Option<String>,
    pub(super) encrypt: Encrypt,
    pub(super) trust: Trust,
    pub(super) connect_timeout: Duration,
    pub(super) bytes_max: u64,
}

/// Which certificates are accepted.
pub(super) enum Trust {
    Machine,
    AlsoPem(String),
    Any,
}

/// A text with its parameters.
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) params: Vec<Value>,
}

/// What to do.
pub(super) enum Job {
    FetchValue(Statement),
    FetchRow(Statement),
    Fetch(Statement),
    Execute(Statement),
    /// All of them, or none.
    Transaction(Vec<Statement>),
}

/// A call, ready to be performed.
pub(super) struct Plan {
    pub(super) server: Server,
    pub(super) job: Job,
    pub(super) isolation: Option<Isolation>,
    pub(super) rows_max: usize,
    pub(super) total_timeout: Duration,
}

impl Plan {
    /// Resolves second names and defaults; what contradicts itself is refused.
    pub(super) fn new(inputs: MssqlInputs) -> Result<Self, CallError> {
        let trust = match (inputs.server_ca, inputs.trust_server_certificate.unwrap_or(false)) {
            (Some(_), true) => return Err(invalid("give `server_ca` or `trust_server_certificate`, not both")),
            (None, true) => Trust::Any,
            (Some(pem), false) => {
                // The driver would report a bad text only after connecting, and as a failure of the server.
                tls::client_config(Some(&pem))?;
                Trust::AlsoPem(pem)
            }
            (None, false) => Trust::Machine,
        };
        let server = Server {
            hostname: either([("hostname", inputs.hostname), ("host", inputs.host)])?
                .ok_or_else(|| invalid("input `hostname` is missing"))?,
            port: inputs.port.unwrap_or(PORT),
            username: either([("username", inputs.username), ("user", inputs.user)])?
                .ok_or_else(|| invalid("input `username` is missing"))?,
            password: inputs.password.ok_or_else(|| invalid("input `password` is missing"))?,
            database: inputs.database,
            encrypt: inputs.encrypt.unwrap_or_default(),
            trust,
            connect_timeout: inputs.connect_timeout.unwrap_or(CONNECT_TIMEOUT).duration(),
            bytes_max: inputs.bytes_max.unwrap_or(BYTES_MAX),
        };
        let job = Choices {
            fetchval: inputs.fetchval,
            fetchrow: either([("fetchrow", inputs.fetchrow), ("fetchone", inputs.fetchone)])?,
            fetch: either([("fetch", inputs.fetch), ("fetchall", inputs.fetchall)])?,
            execute: inputs.execute,
            executemany: inputs.executemany,
            transaction: inputs.transaction,
        }
        .job(inputs.params)?;
        Ok(Self {
            server,
            job,
            isolation: inputs.isolation_level,
            rows_max: inputs.rows_max.unwrap_or(ROWS_MAX),
            total_timeout: inputs.total_timeout.unwrap_or(TOTAL_TIMEOUT).duration(),
        })
    }
}

/// The inputs of which exactly one says what to do.
struct Choices {
    fetchval: Option<String>,
    fetchrow: Option<String>,
    fetch: Option<String>,
    execute: Option<String>,
    executemany: Option<String>,
    transaction: Option<Vec<Step>>,
}

impl Choices {
    fn job(self, params: Option<Vec<Value>>) -> Result<Job, CallError> {
        let no_params = params.is_none();
        let statement = |sql: String| Statement { sql, params: params.clone().unwrap_or_default() };
        match (self.fetchval, self.fetchrow, self.fetch, self.execute, self.executemany, self.transaction) {
            (Some(sql), None, None, None, None, None) => Ok(Job::FetchValue(statement(sql))),
            (None, Some(sql), None, None, None, None) => Ok(Job::FetchRow(statement(sql))),
            (None, None, Some(sql), None, None, None) => Ok(Job::Fetch(statement(sql))),
            (None, None, None, Some(sql), None, None) => Ok(Job::Execute(statement(sql))),
            (None, None, None, None, Some(sql), None) => {
                Ok(Job::Transaction(once_per_set(&sql, params.unwrap_or_default())?))
            }
            (None, None, None, None, None, Some(steps)) if no_params => {
                Ok(Job::Transaction(steps.into_iter().map(Statement::from).collect()))
            }
            (None, None, None, None, None, Some(_)) => {
                Err(invalid("with `transaction`, parameters belong to its statements: {\"sql\": …, \"params\": […]}"))
            }
            _ => Err(invalid(
                "give exactly one of `fetchval`, `fetchrow`, `fetch`, `execute`, `executemany` and `transaction`",
            )),
        }
    }
}

impl From<Step> for Statement {
    fn from(step: Step) -> Self {
        match step {
            Step::Text(sql) => Self { sql, params: Vec::new() },
            Step::WithParams(StepWithParams { sql, params }) => Self { sql, params },
        }
    }
}

fn once_per_set(sql: &str, sets: Vec<Value>) -> Result<Vec<Statement>, CallError> {
    sets.into_iter()
        .map(|set| match set {
            Value::Array(params) => Ok(Statement { sql: sql.to_owned(), params }),
            _ => Err(invalid("with `executemany`, `params` is a list of lists, one for each time")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan(mut inputs: Value) -> Result<Plan, CallError> {
        for (name, value) in [("hostname", "h"), ("username", "u"), ("password", "p")] {
            if inputs.get(name).is_none() {
                inputs[name] = json!(value);
            }
        }
        Plan::new(serde_json::from_value(inputs).unwrap())
    }

    fn refusal(inputs: Value) -> String {
        plan(inputs).err().expect("refused").message
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let plan = plan(json!({ "fetchval": "SELECT 1" })).unwrap();
        assert_eq!((plan.server.port, plan.server.encrypt), (1433, Encrypt::Required));
        assert_eq!((plan.server.connect_timeout.as_secs(), plan.total_timeout.as_secs()), (30, 30));
        assert_eq!((plan.rows_max, plan.server.bytes_max), (10_000, 16 << 20));
        assert!(matches!(plan.server.trust, Trust::Machine));
    }

    #[test]
    fn second_names_work() {
        let inputs = json!({ "host": "h", "user": "u", "password": "p", "fetchall": "SELECT 1" });
        let plan = Plan::new(serde_json::from_value(inputs).unwrap()).unwrap();
        assert_eq!((plan.server.hostname.as_str(), plan.server.username.as_str()), ("h", "u"));
        assert!(matches!(plan.job, Job::Fetch(_)));
    }

    #[test]
    fn exactly_one_thing_is_done() {
        assert!(refusal(json!({})).contains("exactly one"));
        assert!(refusal(json!({ "fetch": "a", "execute": "b" })).contains("exactly one"));
        assert!(refusal(json!({ "fetch": "a", "fetchall": "a" })).contains("mean the same"));
    }

    #[test]
    fn parameters_go_where_they_belong() {
        assert!(refusal(json!({ "transaction": ["a"], "params": [1] })).contains("`transaction`"));
        assert!(refusal(json!({ "executemany": "a", "params": [1] })).contains("list of lists"));
        let plan = plan(json!({ "executemany": "a", "params": [[1], [2, 3]] })).unwrap();
        let Job::Transaction(statements) = plan.job else { panic!("not a transaction") };
        assert_eq!(statements[1].params, [json!(2), json!(3)]);
    }

    #[test]
    fn trust_is_one_thing_or_the_other() {
        let both = json!({ "fetch": "a", "server_ca": "x", "trust_server_certificate": true });
        assert!(refusal(both).contains("not both"));
        assert!(refusal(json!({ "fetch": "a", "server_ca": "no certificate" })).contains("server_ca"));
    }
}
