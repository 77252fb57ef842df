//! What users write, and the plan that follows from it. Second names, defaults and what excludes what are resolved
//! here and nowhere else.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use surefoot_connector_api::{CallError, Effect};

use super::rows::Want;
use crate::inputs::{EffectName, either, invalid};
use crate::schema::{Seconds, Secret, schema_of};
use crate::tls;

/// The inputs that give back rows.
pub(super) const FETCHES: [&str; 5] = ["fetchval", "fetchrow", "fetchone", "fetch", "fetchall"];

const CONNECT_TIMEOUT: Seconds = Seconds(30.0);
const TOTAL_TIMEOUT: Seconds = Seconds(30.0);
const ROWS_MAX: usize = 10_000;
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What one database is called and does, for the descriptions of its inputs.
pub(crate) struct Wording {
    /// The port where servers listen if nothing else is said.
    pub(crate) port: u16,
    /// The signs for parameters in a text.
    pub(crate) params: &'static str,
    /// Which values can be parameters.
    pub(crate) param_values: &'static str,
    /// Whom the login is known to.
    pub(crate) login: &'static str,
    /// Which database is used by default.
    pub(crate) database: &'static str,
    /// Whether given certificates are trusted `beside` or `instead of` those of the machine.
    pub(crate) beside: &'static str,
}

// `E` says what is encrypted, `I` is an isolation level: these differ between databases.
/// Inputs of a call. Exactly one of `fetchval`, `fetchrow`, `fetch`, `execute`, `executemany` and `transaction` says
/// what to do.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SqlInputs")]
pub(crate) struct SqlInputs<E, I> {
    /// Name or address of the server.
    hostname: Option<String>,
    /// The same as `hostname`.
    host: Option<String>,
    /// TCP port of the server; {port} by default.
    port: Option<u16>,
    /// Login name of {login}.
    username: Option<String>,
    /// The same as `username`.
    user: Option<String>,
    /// Password of the login.
    password: Option<Secret>,
    /// Database to use; by default {database}.
    database: Option<String>,
    /// {encrypt}
    encrypt: Option<E>,
    /// Certificates, as PEM text, that are trusted {beside} those of this machine: the server's CA, or its own
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
    /// Values for {params} in the statement: {param_values}. With `executemany` a list of such lists.
    params: Option<Vec<Value>>,
    /// Statements that run in one transaction: all of them take effect, or none. Each is a text, or an object with
    /// `sql` and `params`.
    transaction: Option<Vec<Step>>,
    /// Isolation level of the statement or transaction; by default the server's.
    isolation_level: Option<I>,
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

/// What is encrypted, for servers that either encrypt a connection or do not.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encrypt {
    #[default]
    Required,
    Off,
}

/// Isolation level, by the names of standard SQL.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// The description of [`Encrypt`].
pub(crate) const ENCRYPT: &str = "What is encrypted: `required` (default): everything; `off`: nothing.";

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
    /// Values for {params} in the statement.
    #[serde(default)]
    params: Vec<Value>,
}

/// Where to connect, and as whom.
pub(crate) struct Server<E> {
    pub(crate) hostname: String,
    pub(crate) port: u16,
    pub(crate) username: String,
    pub(crate) password: Secret,
    pub(crate) database: Option<String>,
    pub(crate) encrypt: E,
    pub(crate) trust: Trust,
    pub(crate) connect_timeout: Duration,
    pub(crate) bytes_max: u64,
}

/// Which certificates are accepted.
pub(crate) enum Trust {
    /// Those that this machine trusts.
    Machine,
    /// These, as PEM text.
    Pem(String),
    /// Any.
    Any,
}

/// A text with its parameters.
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) params: Vec<Value>,
}

/// What to do.
pub(crate) enum Job {
    /// One text, by itself.
    Single(Want, Statement),
    /// All of them, or none.
    Transaction(Vec<Statement>),
}

/// A call, ready to be performed.
pub(crate) struct Plan<E, I> {
    pub(crate) server: Server<E>,
    pub(crate) job: Job,
    pub(crate) isolation: Option<I>,
    pub(crate) rows_max: usize,
    pub(crate) total_timeout: Duration,
}

/// The JSON Schema of the inputs, with the words of one database. `encrypt` describes the values of `E`.
pub(crate) fn input_schema<E: JsonSchema, I: JsonSchema>(wording: &Wording, encrypt: &str) -> Value {
    let words = [
        ("{port}", wording.port.to_string()),
        ("{params}", wording.params.to_owned()),
        ("{param_values}", wording.param_values.to_owned()),
        ("{login}", wording.login.to_owned()),
        ("{database}", wording.database.to_owned()),
        ("{beside}", wording.beside.to_owned()),
        ("{encrypt}", encrypt.to_owned()),
    ];
    let mut schema = schema_of::<SqlInputs<E, I>>();
    put_words(&mut schema, &words);
    schema
}

/// Puts the words in their places in all descriptions.
fn put_words(schema: &mut Value, words: &[(&str, String)]) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "description" => {
                        *text = words.iter().fold(text.clone(), |text, (place, word)| text.replace(place, word));
                    }
                    _ => put_words(value, words),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| put_words(value, words)),
        _ => {}
    }
}

impl<E: Default, I> Plan<E, I> {
    /// Resolves second names and defaults; what contradicts itself is refused.
    pub(crate) fn new(inputs: SqlInputs<E, I>, wording: &Wording) -> Result<Self, CallError> {
        let trust = match (inputs.server_ca, inputs.trust_server_certificate.unwrap_or(false)) {
            (Some(_), true) => return Err(invalid("give `server_ca` or `trust_server_certificate`, not both")),
            (None, true) => Trust::Any,
            (Some(pem), false) => {
                // Drivers would report a bad text only after connecting, and as a failure of the server.
                tls::client_config(Some(&pem))?;
                Trust::Pem(pem)
            }
            (None, false) => Trust::Machine,
        };
        let server = Server {
            hostname: either([("hostname", inputs.hostname), ("host", inputs.host)])?
                .ok_or_else(|| invalid("input `hostname` is missing"))?,
            port: inputs.port.unwrap_or(wording.port),
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
        let single = |want: Want, sql: String| {
            Ok(Job::Single(want, Statement { sql, params: params.clone().unwrap_or_default() }))
        };
        match (self.fetchval, self.fetchrow, self.fetch, self.execute, self.executemany, self.transaction) {
            (Some(sql), None, None, None, None, None) => single(Want::Value, sql),
            (None, Some(sql), None, None, None, None) => single(Want::Row, sql),
            (None, None, Some(sql), None, None, None) => single(Want::Rows, sql),
            (None, None, None, Some(sql), None, None) => single(Want::Counts, sql),
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

    const WORDING: Wording = Wording {
        port: 1234,
        params: "`$1`",
        param_values: "numbers",
        login: "the test",
        database: "none",
        beside: "beside",
    };

    fn plan(mut inputs: Value) -> Result<Plan<Encrypt, Isolation>, CallError> {
        for (name, value) in [("hostname", "h"), ("username", "u"), ("password", "p")] {
            if inputs.get(name).is_none() {
                inputs[name] = json!(value);
            }
        }
        Plan::new(serde_json::from_value(inputs).unwrap(), &WORDING)
    }

    fn refusal(inputs: Value) -> String {
        plan(inputs).err().expect("refused").message
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let plan = plan(json!({ "fetchval": "SELECT 1" })).unwrap();
        assert_eq!((plan.server.port, plan.server.encrypt), (1234, Encrypt::Required));
        assert_eq!((plan.server.connect_timeout.as_secs(), plan.total_timeout.as_secs()), (30, 30));
        assert_eq!((plan.rows_max, plan.server.bytes_max), (10_000, 16 << 20));
        assert!(matches!(plan.server.trust, Trust::Machine));
    }

    #[test]
    fn second_names_work() {
        let inputs = json!({ "host": "h", "user": "u", "password": "p", "fetchall": "SELECT 1" });
        let plan: Plan<Encrypt, Isolation> = Plan::new(serde_json::from_value(inputs).unwrap(), &WORDING).unwrap();
        assert_eq!((plan.server.hostname.as_str(), plan.server.username.as_str()), ("h", "u"));
        assert!(matches!(plan.job, Job::Single(Want::Rows, _)));
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

    #[test]
    fn the_schema_speaks_the_words_of_its_database() {
        let schema = input_schema::<Encrypt, Isolation>(&WORDING, "all or nothing");
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties["port"]["description"], "TCP port of the server; 1234 by default.");
        assert_eq!(properties["encrypt"]["description"], "all or nothing");
        for (name, property) in properties {
            let description = property["description"].as_str().unwrap_or_else(|| panic!("{name} has no description"));
            assert!(!description.contains('{'), "{name}: {description}");
        }
        assert!(!schema.to_string().contains("{params}"));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["password"]["writeOnly"], true);
    }
}
