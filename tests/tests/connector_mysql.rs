//! The connector `mysql` against a real MariaDB server.
//!
//! What is particular to MySQL is its default way to log in, which `connectors/src/mysql/login.rs` tests on a scripted
//! server, and its `JSON` type.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use surefoot_connector_api::{CallError, Connector, Effect, ErrorClass, Sent};
use surefoot_connectors::mysql::Mysql;
use surefoot_tests::connector_harness::{CallOptions, TestFiles, call, call_with};
use surefoot_tests::server_process::SurefootProcess;
use surefoot_tests::servers::SharedServer;
use surefoot_tests::servers::certificates::TestCertificates;
use surefoot_tests::servers::mysql::MysqlServer;
use surefoot_tests::servers::smtp::with;
use surefoot_tests::servers::stand_in::{CutAfter, StandIn};
use surefoot_tests::workspace::PATIENCE;

static SERVER: SharedServer<MysqlServer> = SharedServer::new();

/// Fifty thousand rows out of nothing.
const BIG: &str = "SELECT seq AS id, CONCAT('row number ', seq) AS label FROM seq_1_to_50000";

/// A database of the test's own on the shared server.
struct Database {
    server: Arc<MysqlServer>,
    name: String,
}

impl Database {
    async fn empty(name: &str) -> Self {
        let server = SERVER.get(MysqlServer::start).unwrap();
        let create = with(server.inputs(), json!({ "execute": format!("CREATE DATABASE `{name}`") }));
        call(&Mysql, &TestFiles::new(), create).await.unwrap();
        Self { server, name: name.into() }
    }

    async fn with_accounts(name: &str) -> Self {
        let database = Self::empty(name).await;
        let create = "CREATE TABLE account (id int PRIMARY KEY, name varchar(50) NOT NULL) ENGINE = InnoDB";
        database.result(json!({ "execute": create })).await;
        database.result(json!({ "execute": "INSERT INTO account VALUES (1, 'ada'), (2, 'grace')" })).await;
        database
    }

    fn inputs(&self) -> Value {
        with(self.server.inputs(), json!({ "database": self.name }))
    }

    async fn run(&self, more: Value) -> Result<Value, CallError> {
        call(&Mysql, &TestFiles::new(), with(self.inputs(), more)).await
    }

    /// The output `result`.
    async fn result(&self, more: Value) -> Value {
        let shown = more.to_string();
        let output = self.run(more).await;
        output.unwrap_or_else(|error| panic!("{shown}: {error:?}\n{}", self.server.output()))["result"].clone()
    }

    async fn error(&self, more: Value) -> CallError {
        let shown = more.to_string();
        self.run(more).await.err().unwrap_or_else(|| panic!("{shown} has succeeded"))
    }

    async fn count(&self) -> Value {
        self.result(json!({ "fetchval": "SELECT COUNT(*) FROM account" })).await
    }

    /// Waits until that many statements of others, with `text` in them, are under way.
    async fn until_under_way(&self, text: &str, wanted: i64) {
        let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE ? AND id <> CONNECTION_ID()";
        let look = async {
            while self.result(json!({ "fetchval": sql, "params": [format!("%{text}%")] })).await != json!(wanted) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("the statements never came, or never went");
    }
}

#[tokio::test]
async fn fetches_a_value_a_row_and_rows() {
    let database = Database::with_accounts("fetches").await;
    assert_eq!(database.result(json!({ "fetchval": "SELECT 1" })).await, json!(1));
    for name in ["fetchrow", "fetchone"] {
        let row = database.result(json!({ name: "SELECT id, name FROM account ORDER BY id" })).await;
        assert_eq!(row, json!({ "id": 1, "name": "ada" }));
    }
    for name in ["fetch", "fetchall"] {
        let sql = "SELECT name FROM account WHERE id > ? ORDER BY id";
        assert_eq!(database.result(json!({ name: sql, "params": [1] })).await, json!([{ "name": "grace" }]));
    }
    let none = "SELECT name FROM account WHERE id = 99";
    assert_eq!(database.result(json!({ "fetchval": none })).await, Value::Null);
    assert_eq!(database.result(json!({ "fetchrow": none })).await, Value::Null);
    assert_eq!(database.result(json!({ "fetch": none })).await, json!([]));
    let row = database.result(json!({ "fetchrow": "SELECT 2 AS a, 3 AS a" })).await;
    assert_eq!(row, json!({ "a": 2, "a_2": 3 }));
    assert_eq!(database.result(json!({ "encrypt": "off", "fetchval": "SELECT 7" })).await, json!(7));
    assert_eq!(database.result(json!({ "fetch": "SHOW TABLES LIKE 'acc%'" })).await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn every_usual_type_has_its_form_in_json() {
    let database = Database::empty("types").await;
    for (kind, sql, shown) in [
        ("boolean", "true", json!(1)),
        ("tinyint", "-7", json!(-7)),
        ("tinyint unsigned", "200", json!(200)),
        ("smallint", "-300", json!(-300)),
        ("mediumint", "-70000", json!(-70_000)),
        ("int unsigned", "4000000000", json!(4_000_000_000_u32)),
        ("bigint", "-9223372036854775808", json!(i64::MIN)),
        ("bigint unsigned", "18446744073709551615", json!(u64::MAX)),
        ("float", "1.1", json!(1.1)),
        ("double", "-0.25", json!(-0.25)),
        ("decimal(9,2)", "12.5", json!("12.50")),
        ("decimal(40,10)", "-123456789012345678901234567890.5", json!("-123456789012345678901234567890.5000000000")),
        ("varchar(20)", "'grüße 世界'", json!("grüße 世界")),
        ("longtext", "REPEAT('x', 70000)", json!("x".repeat(70_000))),
        ("enum('fine', 'sad')", "'sad'", json!("sad")),
        ("set('a', 'b')", "'a,b'", json!("a,b")),
        ("blob", "x'dead'", json!("3q0=")),
        ("binary(2)", "x'dead'", json!("3q0=")),
        ("varbinary(9)", "x'dead'", json!("3q0=")),
        ("bit(10)", "b'1000000010'", json!(514)),
        ("date", "'2024-02-29'", json!("2024-02-29")),
        ("time", "'12:34:56'", json!("12:34:56")),
        ("time(6)", "'-100:00:00.5'", json!("-100:00:00.5")),
        ("datetime", "'2024-02-29 12:34:56'", json!("2024-02-29T12:34:56")),
        ("datetime(6)", "'2024-02-29 00:00:00.123456'", json!("2024-02-29T00:00:00.123456")),
        ("timestamp", "'2024-02-29 12:34:56'", json!("2024-02-29T12:34:56")),
        ("year", "2024", json!(2024)),
        ("json", "'{\"a\": 1}'", json!("{\"a\": 1}")),
        ("int", "NULL", json!(null)),
    ] {
        let name = json!({ "execute": format!("CREATE OR REPLACE TABLE one (a {kind})") });
        database.result(name).await;
        database.result(json!({ "execute": format!("INSERT INTO one VALUES ({sql})") })).await;
        assert_eq!(database.result(json!({ "fetchval": "SELECT a FROM one" })).await, shown, "{kind}");
    }
}

#[tokio::test]
async fn parameters_arrive_as_what_they_are() {
    let database = Database::empty("parameters").await;
    let params =
        json!([42, 5_000_000_000_i64, u64::MAX, 1.5, true, "it's ü 世界", null, "x".repeat(70_000), { "a": [1] }]);
    let sql = "SELECT ? AS a, ? AS b, ? AS c, ? AS d, ? AS e, ? AS f, ? AS g, ? AS h, JSON_VALUE(?, '$.a[0]') AS i";
    let row = database.result(json!({ "fetchrow": sql, "params": params })).await;
    let mut expected = params.as_array().unwrap().clone();
    expected[4] = json!(1);
    expected[8] = json!("1");
    for (name, value) in ('a'..='i').zip(expected) {
        assert_eq!(row[name.to_string()], value, "{name}");
    }
    database.result(json!({ "execute": "CREATE TABLE people (name text, paid decimal(9,2), at datetime)" })).await;
    let insert = "INSERT INTO people VALUES (?, ?, ?)";
    let insert = json!({ "execute": insert, "params": ["ada", "12.50", "2024-02-29 12:00:00"] });
    assert_eq!(database.result(insert).await, json!({ "rows_affected": [1] }));
    let row = database.result(json!({ "fetchrow": "SELECT * FROM people" })).await;
    assert_eq!(row, json!({ "name": "ada", "paid": "12.50", "at": "2024-02-29T12:00:00" }));
    let injection = json!({ "fetch": "SELECT name FROM people WHERE name = ?", "params": ["' OR 1=1 -- "] });
    assert_eq!(database.result(injection).await, json!([]));
    let missing = database.error(json!({ "fetchval": "SELECT ?" })).await;
    assert_eq!((missing.class, missing.sent), (ErrorClass::InvalidInput, Sent::No), "{missing}");
    assert!(missing.message.contains("1 parameters, and 0"), "{missing}");
}

#[tokio::test]
async fn only_the_right_certificate_is_trusted() {
    let database = Database::empty("certificates").await;
    let select = json!({ "fetchrow": "SHOW STATUS LIKE 'Ssl_version'" });
    assert_eq!(database.result(select.clone()).await["Value"], json!("TLSv1.3"));
    let localhost = with(select.clone(), json!({ "hostname": "localhost" }));
    assert_eq!(database.result(localhost).await["Value"], json!("TLSv1.3"));
    let stranger = TestCertificates::generate().unwrap();
    let untrusted = database.error(with(select.clone(), json!({ "server_ca": stranger.ca }))).await;
    assert_eq!((untrusted.class, untrusted.sent), (ErrorClass::Untrusted, Sent::No), "{untrusted}");
    assert!(untrusted.message.contains("`server_ca`"), "{untrusted}");
    let mut machine = with(database.inputs(), select);
    machine.as_object_mut().unwrap().remove("server_ca");
    let untrusted = call(&Mysql, &TestFiles::new(), machine.clone()).await.expect_err("nobody vouches for it");
    assert_eq!(untrusted.class, ErrorClass::Untrusted);
    let any = with(machine, json!({ "trust_server_certificate": true }));
    assert_eq!(call(&Mysql, &TestFiles::new(), any).await.unwrap()["result"]["Value"], json!("TLSv1.3"));
}

#[tokio::test]
async fn wrong_credentials_are_told_apart() {
    let database = Database::empty("credentials").await;
    for (wrong, class, code) in [
        (json!({ "password": "a wrong password" }), ErrorClass::Auth, "1045"),
        (json!({ "username": "nobody" }), ErrorClass::Auth, "1045"),
        (json!({ "database": "nowhere" }), ErrorClass::NotFound, "1049"),
    ] {
        let error = database.error(with(json!({ "fetchval": "SELECT 1" }), wrong)).await;
        assert_eq!((error.class, error.sent), (class, Sent::No), "{error}");
        assert_eq!(error.peer_code.as_deref(), Some(code));
    }
}

#[tokio::test]
async fn hosts_outside_of_the_policy_are_not_reached() {
    let database = Database::empty("policy").await;
    let options = CallOptions { allow: vec!["db.example.com".into()], ..CallOptions::default() };
    let inputs = with(database.inputs(), json!({ "fetchval": "SELECT 1" }));
    let error = call_with(&Mysql, &TestFiles::new(), inputs, &options).await.expect_err("denied");
    assert_eq!((error.class, error.sent), (ErrorClass::Egress, Sent::No));
    assert!(error.message.contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn errors_carry_the_servers_number() {
    let database = Database::empty("codes").await;
    for (sql, number, sent) in [
        ("SELECT * FROM nope", "1146", Sent::Rejected),
        ("SELEC 1", "1064", Sent::Rejected),
        // Not proved to be done as a whole, so what has been done before the error is open.
        ("SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30001", "30001", Sent::Unknown),
    ] {
        let error = database.error(json!({ "fetchval": sql })).await;
        assert_eq!(error.peer_code.as_deref(), Some(number), "{sql}: {error}");
        assert_eq!((error.class, error.sent), (ErrorClass::Refused, sent), "{sql}: {error}");
        assert!(error.message.contains(number), "{error}");
    }
}

#[tokio::test]
async fn many_rows_stop_at_the_limits() {
    let database = Database::empty("limits").await;
    let too_many = database.error(json!({ "fetch": BIG })).await;
    assert_eq!(too_many.class, ErrorClass::InvalidInput);
    assert!(too_many.message.contains("more than 10000 rows") && too_many.message.contains("rows_max"), "{too_many}");
    let rows = database.result(json!({ "fetch": BIG, "rows_max": 50_000 })).await;
    assert_eq!(rows.as_array().map(Vec::len), Some(50_000));
    assert_eq!(rows[49_999], json!({ "id": 50_000, "label": "row number 50000" }));
    for effect in [json!({}), json!({ "effect": "write" })] {
        let limits = json!({ "fetch": BIG, "rows_max": 50_000, "bytes_max": 100_000 });
        let too_much = database.error(with(limits, effect)).await;
        assert_eq!(too_much.class, ErrorClass::InvalidInput, "{too_much}");
        assert!(too_much.message.contains("100000 bytes") && too_much.message.contains("bytes_max"), "{too_much}");
    }
    // A single value needs no more than its row.
    let first = json!({ "fetchval": BIG, "rows_max": 1, "bytes_max": 65_536 });
    assert_eq!(database.result(first).await, json!(1));
    // A value beyond the longest packet of the protocol.
    let long = json!({ "fetchval": "SELECT REPEAT('x', ?)", "params": [16_777_300], "bytes_max": 40_000_000 });
    let long = database.result(with(long, json!({ "effect": "read" }))).await;
    assert_eq!(long.as_str().map(str::len), Some(16_777_300));
}

#[tokio::test]
async fn writes_tell_how_many_rows_they_changed() {
    let database = Database::with_accounts("counts").await;
    let update = json!({ "execute": "UPDATE account SET name = ? WHERE id >= ?", "params": ["zz", 1] });
    assert_eq!(database.result(update.clone()).await, json!({ "rows_affected": [2] }));
    assert_eq!(database.result(update).await, json!({ "rows_affected": [2] }), "rows that were found count");
    let insert = "INSERT INTO account (id, name) VALUES (?, ?) RETURNING id";
    let insert = json!({ "fetchval": insert, "params": [7, "new"] });
    assert_eq!(database.result(insert).await, json!(7));
    let two = json!({ "execute": "DELETE FROM account WHERE id = 7; DELETE FROM account" });
    assert_eq!(database.result(two).await, json!({ "rows_affected": [1, 2] }));
    assert_eq!(database.count().await, json!(0));
}

#[tokio::test]
async fn a_refused_change_proves_that_nothing_was_changed() {
    let database = Database::with_accounts("refused").await;
    for (sql, number) in [
        ("INSERT INTO account VALUES (3, 'c'), (1, 'twice')", "1062"),
        ("INSERT INTO account VALUES (3, NULL)", "1048"),
        ("UPDATE account SET nmae = 'x'", "1054"),
        ("CREATE TABLE account (id int)", "1050"),
        ("UPDATE account SET name = = 'x'", "1064"),
    ] {
        let error = database.error(json!({ "execute": sql })).await;
        assert_eq!(error.peer_code.as_deref(), Some(number), "{sql}: {error}");
        assert_eq!((error.class, error.sent), (ErrorClass::Refused, Sent::Rejected), "{sql}");
        assert_eq!(database.count().await, json!(2), "{sql}");
    }
}

/// Tables without transactions keep the rows before the one that failed; only the server knows of which kind they are.
#[tokio::test]
async fn a_table_without_transactions_leaves_it_open_what_was_done() {
    let database = Database::with_accounts("no-transactions").await;
    let create = "CREATE TABLE plain (id int PRIMARY KEY) ENGINE = MyISAM";
    database.result(json!({ "execute": create })).await;
    let insert = "INSERT INTO plain VALUES (1), (2), (1)";
    for (more, rows) in [
        (json!({ "execute": insert }), 2),
        (json!({ "transaction": ["INSERT INTO plain VALUES (3)", "INSERT INTO account VALUES (1, 'twice')"] }), 3),
        (json!({ "transaction": ["INSERT INTO account VALUES (3, 'c')", "INSERT INTO plain VALUES (4), (1)"] }), 4),
    ] {
        let error = database.error(more.clone()).await;
        assert_eq!((error.peer_code.as_deref(), error.sent), (Some("1062"), Sent::Unknown), "{more}: {error}");
        assert_eq!(database.result(json!({ "fetchval": "SELECT COUNT(*) FROM plain" })).await, json!(rows), "{more}");
        assert_eq!(database.count().await, json!(2), "the other table was rolled back");
    }
    // Where nothing of it was changed, the proof holds.
    let refused = database.error(json!({ "execute": "INSERT INTO plain VALUES (1)" })).await;
    assert_eq!(refused.sent, Sent::Rejected, "{refused}");
}

#[tokio::test]
async fn what_happens_in_steps_is_unknown_after_an_error() {
    let database = Database::with_accounts("steps").await;
    let procedure = "CREATE PROCEDURE two_steps() BEGIN INSERT INTO account VALUES (3, 'c'); \
                     INSERT INTO account VALUES (1, 'twice'); END";
    database.result(json!({ "execute": procedure })).await;
    for more in [
        json!({ "execute": "CALL two_steps()" }),
        json!({ "execute": "INSERT INTO account VALUES (4, 'd'); INSERT INTO account VALUES (1, 'twice')" }),
    ] {
        let error = database.error(more).await;
        assert_eq!((error.peer_code.as_deref(), error.sent), (Some("1062"), Sent::Unknown));
    }
    assert_eq!(database.count().await, json!(4), "the first steps stand");
    let results = "CREATE PROCEDURE results() BEGIN SELECT 1 AS a; SELECT 2 AS b; END";
    database.result(json!({ "execute": results })).await;
    assert_eq!(database.result(json!({ "fetch": "CALL results()" })).await, json!([{ "a": 1 }]));
}

#[tokio::test]
async fn a_transaction_happens_as_a_whole_or_not_at_all() {
    let database = Database::with_accounts("transactions").await;
    let fine = json!({ "transaction": [
        "DELETE FROM account WHERE id = 1",
        { "sql": "INSERT INTO account VALUES (?, ?), (?, ?)", "params": [3, "c", 4, "d"] },
    ], "isolation_level": "SERIALIZABLE" });
    assert_eq!(database.result(fine).await, json!({ "rows_affected": [1, 2] }));
    for (second, number) in [("INSERT INTO account VALUES (9, NULL)", "1048"), ("SELECT nope", "1054")] {
        let refused = database.error(json!({ "transaction": ["DELETE FROM account", second] })).await;
        assert_eq!((refused.peer_code.as_deref(), refused.sent), (Some(number), Sent::Rejected), "{refused}");
        assert!(refused.message.starts_with("statement 2 of the transaction"), "{refused}");
        assert_eq!(database.count().await, json!(3), "everything was rolled back");
    }
    // A transaction that ends itself can leave something behind, and so does a table that is made in between.
    for between in ["COMMIT", "CREATE TABLE other (id int)"] {
        let before = database.count().await.as_i64().unwrap();
        let leaky = ["DELETE FROM account ORDER BY id DESC LIMIT 1", between, "INSERT INTO account VALUES (9, NULL)"];
        let unknown = database.error(json!({ "transaction": leaky })).await;
        assert_eq!(unknown.sent, Sent::Unknown, "{unknown}");
        assert_eq!(database.count().await, json!(before - 1), "{between}");
    }
}

#[tokio::test]
async fn executemany_is_one_transaction() {
    let database = Database::with_accounts("executemany").await;
    let insert = "INSERT INTO account VALUES (?, ?)";
    let fine = json!({ "executemany": insert, "params": [[3, "c"], [4, "d"], [5, "e"]] });
    assert_eq!(database.result(fine).await, json!({ "rows_affected": [1, 1, 1] }));
    let broken = json!({ "executemany": insert, "params": [[6, "f"], [3, "twice"]] });
    let refused = database.error(broken).await;
    assert_eq!((refused.peer_code.as_deref(), refused.sent), (Some("1062"), Sent::Rejected));
    assert_eq!(database.count().await, json!(5));
    let short = database.error(json!({ "executemany": insert, "params": [[6, "f"], [7]] })).await;
    assert_eq!((short.class, short.sent), (ErrorClass::InvalidInput, Sent::Rejected));
    assert_eq!(database.count().await, json!(5));
}

#[tokio::test]
async fn an_isolation_level_goes_with_a_single_statement_too() {
    let database = Database::with_accounts("isolation").await;
    let holder = json!({ "transaction": ["INSERT INTO account VALUES (3, 'c')", "SELECT SLEEP(1.5)"] });
    let counts = async {
        database.until_under_way("SLEEP(1.5)", 1).await;
        let select = json!({ "fetchval": "SELECT COUNT(*) FROM account" });
        let mut counts = Vec::new();
        for level in [json!({}), json!({ "isolation_level": "READ_UNCOMMITTED" })] {
            counts.push(database.result(with(select.clone(), level)).await);
        }
        counts
    };
    let (_, counts) = tokio::join!(database.result(holder), counts);
    assert_eq!(counts, [json!(2), json!(3)], "only who wants to sees what is not committed");
    let insert = json!({ "execute": "INSERT INTO account VALUES (4, 'd')", "isolation_level": "SERIALIZABLE" });
    assert_eq!(database.result(insert).await, json!({ "rows_affected": [1] }));
    assert_eq!(database.count().await, json!(4), "it was committed");
}

/// The text of a view tells nothing, so the server has to keep a read from writing.
#[tokio::test]
async fn what_counts_as_a_read_cannot_write() {
    let database = Database::with_accounts("reads").await;
    let function = "CREATE FUNCTION sneaky() RETURNS int MODIFIES SQL DATA \
                    BEGIN INSERT INTO account VALUES (9, 'sneaky'); RETURN 9; END";
    database.result(json!({ "execute": function })).await;
    database.result(json!({ "execute": "CREATE VIEW harmless AS SELECT sneaky() AS id" })).await;
    let fetch = json!({ "fetchval": "SELECT id FROM harmless" });
    assert_eq!(Mysql.effect(fetch.as_object().unwrap()), Effect::Read);
    let refused = database.error(fetch.clone()).await;
    assert_eq!((refused.peer_code.as_deref(), refused.sent), (Some("1792"), Sent::Rejected), "{refused}");
    assert_eq!(database.count().await, json!(2));
    // Whoever says that it writes may use it.
    assert_eq!(database.result(with(fetch, json!({ "effect": "write" }))).await, json!(9));
    assert_eq!(database.count().await, json!(3));
}

#[tokio::test]
async fn a_statement_without_rows_is_no_fetch_and_undone() {
    let database = Database::with_accounts("rowless").await;
    let error = database.error(json!({ "fetchval": "DELETE FROM account" })).await;
    assert_eq!((error.class, error.sent), (ErrorClass::InvalidInput, Sent::Rejected));
    assert!(error.message.contains("`execute`"), "{error}");
    assert_eq!(database.count().await, json!(2));
}

#[tokio::test]
async fn time_runs_out_before_and_after_the_statement() {
    let silent = StandIn::silent().unwrap();
    let database = Database::with_accounts("time").await;
    let elsewhere = json!({ "port": silent.port(), "fetchval": "SELECT 1" });
    for limit in ["connect_timeout", "total_timeout"] {
        let error = database.error(with(elsewhere.clone(), json!({ limit: 0.2 }))).await;
        assert_eq!((error.class, error.sent), (ErrorClass::Timeout, Sent::No), "{error}");
        assert!(error.message.contains(limit), "{error}");
    }
    let endless = "UPDATE account SET name = 'never' WHERE SLEEP(600) = 0";
    let slow = database.error(json!({ "execute": endless, "total_timeout": 1 })).await;
    assert_eq!((slow.class, slow.sent), (ErrorClass::Timeout, Sent::Unknown), "{slow}");
    // The server knows for how long somebody waits, and gives the locks back.
    database.until_under_way("SLEEP(600)", 0).await;
    let update = json!({ "execute": "UPDATE account SET name = 'free'" });
    assert_eq!(database.result(update).await, json!({ "rows_affected": [2] }));
    assert_eq!(database.result(json!({ "fetchval": "SELECT name FROM account" })).await, json!("free"));
}

#[tokio::test]
async fn a_server_that_ends_the_session_leaves_it_open_what_was_done() {
    let database = Database::with_accounts("terminated").await;
    let endless = "UPDATE account SET name = 'never' WHERE SLEEP(601) = 0";
    let victim = database.error(json!({ "execute": endless }));
    let kill = async {
        database.until_under_way("SLEEP(601)", 1).await;
        let sql = "SELECT id FROM information_schema.processlist WHERE info LIKE '%SLEEP(601)%' \
                   AND id <> CONNECTION_ID()";
        let id = database.result(json!({ "fetchval": sql })).await;
        database.result(json!({ "execute": format!("KILL {id}") })).await;
    };
    let (victim, ()) = tokio::join!(victim, kill);
    assert_eq!(victim.sent, Sent::Unknown, "{victim}");
    assert!(victim.class == ErrorClass::Network || victim.peer_code.is_some(), "{victim}");
}

#[tokio::test]
async fn a_deadlock_victim_is_told_and_undone() {
    let database = Database::with_accounts("deadlock").await;
    let both = |first: i32, second: i32| {
        let update = |id: i32| format!("UPDATE account SET name = CONCAT(name, 'x') WHERE id = {id}");
        json!({ "transaction": [update(first), "SELECT SLEEP(0.5)", update(second)] })
    };
    let (one, other) = tokio::join!(database.run(both(1, 2)), database.run(both(2, 1)));
    let victims: Vec<CallError> = [one, other].into_iter().filter_map(Result::err).collect();
    assert_eq!(victims.len(), 1, "{victims:?}");
    assert_eq!((victims[0].peer_code.as_deref(), victims[0].sent), (Some("1213"), Sent::Rejected));
    let names = json!({ "fetch": "SELECT name FROM account ORDER BY id" });
    assert_eq!(database.result(names).await, json!([{ "name": "adax" }, { "name": "gracex" }]));
}

#[tokio::test]
async fn an_answer_cut_at_any_place_is_an_error() {
    let database = Database::empty("cut").await;
    let inputs = with(database.inputs(), json!({ "fetch": BIG, "rows_max": 50_000 }));
    for bytes in [0, 1, 50, 1_000, 20_000, 500_000] {
        let proxy = StandIn::cutting(database.server.address(), CutAfter::Answered(bytes)).unwrap();
        let cut = with(inputs.clone(), json!({ "port": proxy.port() }));
        let error = call(&Mysql, &TestFiles::new(), cut).await.expect_err("cut");
        assert_eq!(error.class, ErrorClass::Network, "after {bytes} bytes: {error}");
        if bytes <= 1_000 {
            assert_eq!(error.sent, Sent::No, "after {bytes} bytes, within the login");
        }
    }
    for nonsense in
        [&b"220 this is a mail server\r\n"[..], b"\x01\0\0\0\x0A", b"\x02\0\0\0\x0A8", b"\0\0\0\0", b"\x01\0\0\x07\x0A"]
    {
        let babbling = StandIn::babbling(nonsense).unwrap();
        let more = json!({ "port": babbling.port(), "fetchval": "SELECT 1", "connect_timeout": 2 });
        let error = database.error(more).await;
        assert_eq!(error.sent, Sent::No, "{nonsense:?}: {error}");
    }
}

/// A write whose answer never came may have happened, and here it did.
#[tokio::test]
async fn a_write_whose_answer_was_cut_is_unknown() {
    let database = Database::with_accounts("unknown").await;
    // Unencrypted, so that the lengths of the answers are what they are.
    let insert =
        |id: i32| json!({ "encrypt": "off", "execute": "INSERT INTO account VALUES (?, 'n')", "params": [id] });
    let mut outcomes = Vec::new();
    for (id, bytes) in (10..).zip((80..400).step_by(4)) {
        let proxy = StandIn::cutting(database.server.address(), CutAfter::Answered(bytes)).unwrap();
        let Err(error) = database.run(with(insert(id), json!({ "port": proxy.port() }))).await else { break };
        assert_eq!(error.class, ErrorClass::Network, "{bytes}: {error}");
        let exists = json!({ "fetchval": "SELECT COUNT(*) FROM account WHERE id = ?", "params": [id] });
        let happened = database.result(exists).await == json!(1);
        assert!(!happened || error.sent == Sent::Unknown, "{bytes}: it happened, and the error says {:?}", error.sent);
        outcomes.push((error.sent, happened));
    }
    assert!(outcomes.contains(&(Sent::No, false)), "{outcomes:?}");
    assert!(outcomes.contains(&(Sent::Unknown, true)), "{outcomes:?}");
}

#[tokio::test]
async fn calls_repeat_and_run_side_by_side() {
    let database = Database::with_accounts("repeat").await;
    let insert = json!({ "execute": "INSERT INTO account VALUES (?, 'n')", "params": [10] });
    assert_eq!(database.result(insert.clone()).await, json!({ "rows_affected": [1] }));
    let again = database.error(insert).await;
    assert_eq!(again.peer_code.as_deref(), Some("1062"), "a write is performed each time");
    let reads = (0..20).map(|_| database.count());
    assert!(futures::future::join_all(reads).await.iter().all(|count| *count == json!(3)));
}

/// The engine is killed while the server works: a read is asked again, a write is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_repeats_a_read_and_no_write() -> Result<()> {
    let database = Database::with_accounts("killed").await;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = SurefootProcess::start(&data).await?;
    server.deploy("test-guest").await?;
    let connect = |more: Value| {
        let inputs = with(database.inputs(), with(more, json!({ "total_timeout": 10 })));
        json!({ "mode": "connect", "connector": "type:mysql", "inputs": inputs })
    };
    let write = connect(json!({ "execute": "INSERT INTO account SELECT 3, SLEEP(602)" }));
    let (write, read) = (
        server.run("test-guest", write).await?,
        server.run("test-guest", connect(json!({ "fetchval": "SELECT SLEEP(3) + 5" }))).await?,
    );
    database.until_under_way("SLEEP(602)", 1).await;
    server.kill().await?;
    let server = SurefootProcess::start(&data).await?;
    let (write, read) = (server.ended(&write).await?, server.ended(&read).await?);
    assert_eq!(write["output"]["failure"]["code"], "interrupted", "{write:#}");
    assert_eq!(read["output"]["output"], json!({ "result": 5 }), "{read:#}");
    database.until_under_way("SLEEP(602)", 0).await;
    assert_eq!(database.count().await, json!(2), "it was neither completed nor repeated");
    server.stop().await?.context("it ends by itself").map(|_| ())
}
