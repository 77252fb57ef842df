//! The connector `postgres` against a real PostgreSQL server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use surefoot_connector_api::{CallError, Connector, Effect, ErrorClass, Sent};
use surefoot_connectors::postgres::Postgres;
use surefoot_tests::connector_harness::{CallOptions, TestFiles, call, call_with};
use surefoot_tests::server_process::SurefootProcess;
use surefoot_tests::servers::SharedServer;
use surefoot_tests::servers::certificates::TestCertificates;
use surefoot_tests::servers::postgres::PostgresServer;
use surefoot_tests::servers::smtp::with;
use surefoot_tests::servers::stand_in::{CutAfter, StandIn};
use surefoot_tests::workspace::PATIENCE;

static SERVER: SharedServer<PostgresServer> = SharedServer::new();

/// A database of the test's own on the shared server.
struct Database {
    server: Arc<PostgresServer>,
    name: String,
}

impl Database {
    async fn empty(name: &str) -> Self {
        let server = SERVER.get(PostgresServer::start).unwrap();
        let create = with(server.inputs(), json!({ "execute": format!("CREATE DATABASE {name}") }));
        call(&Postgres, &TestFiles::new(), create).await.unwrap();
        Self { server, name: name.into() }
    }

    async fn with_accounts(name: &str) -> Self {
        let database = Self::empty(name).await;
        let create = "CREATE TABLE account (id int PRIMARY KEY, name text NOT NULL)";
        database.result(json!({ "execute": create })).await;
        database.result(json!({ "execute": "INSERT INTO account VALUES (1, 'ada'), (2, 'grace')" })).await;
        database
    }

    fn inputs(&self) -> Value {
        with(self.server.inputs(), json!({ "database": self.name }))
    }

    async fn run(&self, more: Value) -> Result<Value, CallError> {
        call(&Postgres, &TestFiles::new(), with(self.inputs(), more)).await
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
        self.result(json!({ "fetchval": "SELECT count(*) FROM account" })).await
    }

    /// Waits until that many statements of others, with `text` in them, are under way.
    async fn until_under_way(&self, text: &str, wanted: i64) {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE state = 'active' AND query LIKE $1 AND pid <> pg_backend_pid()";
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
        let sql = "SELECT name FROM account WHERE id > $1 ORDER BY id";
        assert_eq!(database.result(json!({ name: sql, "params": [1] })).await, json!([{ "name": "grace" }]));
    }
    let none = "SELECT name FROM account WHERE id = 99";
    assert_eq!(database.result(json!({ "fetchval": none })).await, Value::Null);
    assert_eq!(database.result(json!({ "fetchrow": none })).await, Value::Null);
    assert_eq!(database.result(json!({ "fetch": none })).await, json!([]));
    let row = database.result(json!({ "fetchrow": "SELECT 1, 2 AS a, 3 AS a" })).await;
    assert_eq!(row, json!({ "column_1": 1, "a": 2, "a_3": 3 }));
    assert!(database.result(json!({ "fetchval": "SHOW server_version" })).await.is_string());
    let plain = json!({ "encrypt": "off", "fetchval": "SELECT 7" });
    assert_eq!(database.result(plain).await, json!(7));
}

#[tokio::test]
async fn every_usual_type_has_its_form_in_json() {
    let database = Database::empty("types").await;
    database.result(json!({ "execute": "CREATE TYPE mood AS ENUM ('fine', 'sad')" })).await;
    database.result(json!({ "execute": "CREATE DOMAIN price AS numeric(9,2)" })).await;
    for (sql, shown) in [
        ("true", json!(true)),
        ("(-7)::int2", json!(-7)),
        ("9223372036854775807", json!(i64::MAX)),
        ("1.1::float4", json!(1.1)),
        ("-0.25::float8", json!(-0.25)),
        ("12.50::numeric(9,2)", json!("12.50")),
        ("-0.00012::numeric", json!("-0.00012")),
        ("123456789012345678901234567890.5::numeric", json!("123456789012345678901234567890.5")),
        ("10000000::numeric", json!("10000000")),
        ("'NaN'::numeric", json!("NaN")),
        ("7::price", json!("7.00")),
        ("'grüße'::varchar(9)", json!("grüße")),
        ("'ab'::char(4)", json!("ab  ")),
        ("'fine'::mood", json!("fine")),
        ("'6F9619FF-8B86-D011-B42D-00C04FC964FF'::uuid", json!("6f9619ff-8b86-d011-b42d-00c04fc964ff")),
        (r"decode('dead', 'hex')", json!("3q0=")),
        ("'{\"b\": [1, null]}'::jsonb", json!({ "b": [1, null] })),
        ("'[1.5]'::json", json!([1.5])),
        ("'2024-02-29'::date", json!("2024-02-29")),
        ("'infinity'::date", json!("infinity")),
        ("'12:34:56.1234'::time", json!("12:34:56.1234")),
        ("'24:00'::time", json!("24:00:00")),
        ("'12:34:56+01'::timetz", json!("12:34:56+01:00")),
        ("'2024-02-29 12:34:56.123456'::timestamp", json!("2024-02-29T12:34:56.123456")),
        ("'1969-12-31 23:59:59.5'::timestamp", json!("1969-12-31T23:59:59.5")),
        ("'2024-02-29 12:34:56+01'::timestamptz", json!("2024-02-29T11:34:56Z")),
        ("'-infinity'::timestamptz", json!("-infinity")),
        ("'1 year 2 mons 3 days 04:05:06.5'::interval", json!("P1Y2M3DT4H5M6.5S")),
        ("'10.1.2.3'::inet", json!("10.1.2.3")),
        ("'10.1.0.0/16'::cidr", json!("10.1.0.0/16")),
        ("'::1/64'::inet", json!("::1/64")),
        ("'08:00:2b:01:02:03'::macaddr", json!("08:00:2b:01:02:03")),
        ("B'10110'", json!("10110")),
        ("ARRAY[1, NULL, 3]", json!([1, null, 3])),
        ("ARRAY[['a','b'],['c','d']]", json!([["a", "b"], ["c", "d"]])),
        ("'{}'::int[]", json!([])),
        ("'{fine,sad}'::mood[]", json!(["fine", "sad"])),
        ("pg_sleep(0)", json!(null)),
        ("NULL::int", json!(null)),
    ] {
        assert_eq!(database.result(json!({ "fetchval": format!("SELECT {sql}") })).await, shown, "{sql}");
    }
    for sql in ["point(1,2)", "int4range(1,2)", "ROW(1,2)", "'20000-01-01'::timestamptz", "'NaN'::float8"] {
        let error = database.error(json!({ "fetchrow": format!("SELECT 1, {sql}") })).await;
        assert_eq!(error.class, ErrorClass::Protocol, "{sql}: {error}");
        assert!(error.message.contains("column 2"), "{sql}: {error}");
        assert!(error.message.contains("cast it to text") || sql.contains("NaN"), "{sql}: {error}");
        assert!(database.result(json!({ "fetchval": format!("SELECT ({sql})::text") })).await.is_string());
    }
}

#[tokio::test]
async fn parameters_take_the_type_that_the_server_expects() {
    let database = Database::empty("parameters").await;
    database.result(json!({ "execute": "CREATE TYPE mood AS ENUM ('fine', 'sad')" })).await;
    let sql = "SELECT $1::int8 AS a, $2::float8 AS b, $3::bool AS c, $4::text AS d, $5::int AS e, $6::text AS f, \
               $7::numeric AS g, $8::date AS h, $9::timestamptz AS i, $10::jsonb AS j, $11::bytea AS k, \
               $12::uuid AS l, $13::int[] AS m, $14::mood AS n, $15::text[] AS o, $16::interval AS p";
    let params = json!([
        5_000_000_000_i64, 1.5, true, "it's ü 世界", null, "x".repeat(9_000), "12.50", "2024-02-29",
        "2024-02-29T12:00:00+01:00", { "a": [1] }, "3q0=", "6f9619ff-8b86-d011-b42d-00c04fc964ff", [1, null, 3], "sad",
        ["a\"b", "c,d", "\\"], "P1DT2H",
    ]);
    let row = database.result(json!({ "fetchrow": sql, "params": params })).await;
    let mut expected = params.as_array().unwrap().clone();
    expected[8] = json!("2024-02-29T11:00:00Z");
    for (name, value) in ('a'..='p').zip(expected) {
        assert_eq!(row[name.to_string()], value, "{name}");
    }
    database.result(json!({ "execute": "CREATE TABLE people (name text)" })).await;
    let injection = json!({ "fetch": "SELECT name FROM people WHERE name = $1", "params": ["' OR 1=1 --"] });
    assert_eq!(database.result(injection).await, json!([]));
    let any = json!({ "fetchval": "SELECT 2 = ANY($1::int[])", "params": [[1, 2]] });
    assert_eq!(database.result(any).await, json!(true));
    for (params, words) in [(json!([]), "1 parameters, and 0"), (json!([[1]]), "parameter 1 is int4")] {
        let error = database.error(json!({ "fetchval": "SELECT $1::int", "params": params })).await;
        assert_eq!((error.class, error.sent), (ErrorClass::InvalidInput, Sent::No));
        assert!(error.message.contains(words), "{error}");
    }
    let wrong = database.error(json!({ "execute": "SELECT $1::int", "params": ["seven"] })).await;
    assert_eq!((wrong.peer_code.as_deref(), wrong.sent), (Some("22P02"), Sent::Rejected), "{wrong}");
}

#[tokio::test]
async fn only_the_right_certificate_is_trusted() {
    let database = Database::empty("certificates").await;
    let select = json!({ "fetchval": "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()" });
    assert_eq!(database.result(select.clone()).await, json!(true));
    assert_eq!(database.result(with(select.clone(), json!({ "hostname": "localhost" }))).await, json!(true));
    let stranger = TestCertificates::generate().unwrap();
    let untrusted = database.error(with(select.clone(), json!({ "server_ca": stranger.ca }))).await;
    assert_eq!((untrusted.class, untrusted.sent), (ErrorClass::Untrusted, Sent::No), "{untrusted}");
    assert!(untrusted.message.contains("`server_ca`"), "{untrusted}");
    let mut machine = with(database.inputs(), select);
    machine.as_object_mut().unwrap().remove("server_ca");
    let untrusted = call(&Postgres, &TestFiles::new(), machine.clone()).await.expect_err("nobody vouches for it");
    assert_eq!(untrusted.class, ErrorClass::Untrusted);
    let any = with(machine, json!({ "trust_server_certificate": true }));
    assert_eq!(call(&Postgres, &TestFiles::new(), any).await.unwrap()["result"], json!(true));
}

#[tokio::test]
async fn a_server_that_does_not_encrypt_is_not_trusted() {
    let no = StandIn::babbling(b"N").unwrap();
    let database = Database::empty("unencrypted").await;
    let error = database.error(json!({ "port": no.port(), "fetchval": "SELECT 1" })).await;
    assert_eq!((error.class, error.sent), (ErrorClass::Untrusted, Sent::No), "{error}");
    assert!(error.message.contains("`encrypt`"), "{error}");
}

#[tokio::test]
async fn wrong_credentials_are_told_apart() {
    let database = Database::empty("credentials").await;
    for (wrong, class, code) in [
        (json!({ "password": "a wrong password" }), ErrorClass::Auth, "28P01"),
        (json!({ "username": "nobody" }), ErrorClass::Auth, "28P01"),
        (json!({ "database": "nowhere" }), ErrorClass::NotFound, "3D000"),
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
    let error = call_with(&Postgres, &TestFiles::new(), inputs, &options).await.expect_err("denied");
    assert_eq!((error.class, error.sent), (ErrorClass::Egress, Sent::No));
    assert!(error.message.contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn errors_carry_the_servers_code() {
    let database = Database::with_accounts("codes").await;
    let raise = "DO $$ BEGIN RAISE EXCEPTION 'thrown' USING ERRCODE = '50001'; END $$";
    for (sql, code, sent) in [
        ("SELECT * FROM nope", "42P01", Sent::Rejected),
        ("SELECT 1/0", "22012", Sent::Rejected),
        ("SELEC 1", "42601", Sent::Rejected),
        // Not proved to be done as a whole, so what has been done before the error is open.
        (raise, "50001", Sent::Unknown),
    ] {
        let error = database.error(json!({ "execute": sql })).await;
        assert_eq!(error.peer_code.as_deref(), Some(code), "{sql}: {error}");
        assert_eq!((error.class, error.sent), (ErrorClass::Refused, sent), "{sql}: {error}");
        assert!(error.message.contains(code), "{error}");
    }
    let secret = json!({ "execute": "INSERT INTO account VALUES ($1, NULL)", "params": [9] });
    let refused = database.error(secret).await;
    assert!(!refused.message.contains("Failing row"), "the values of rows stay out of errors: {refused}");
}

#[tokio::test]
async fn many_rows_stop_at_the_limits() {
    let database = Database::empty("limits").await;
    let all = "SELECT id, 'row number ' || id AS label FROM generate_series(1, 50000) AS id";
    let too_many = database.error(json!({ "fetch": all })).await;
    assert_eq!(too_many.class, ErrorClass::InvalidInput);
    assert!(too_many.message.contains("more than 10000 rows") && too_many.message.contains("rows_max"), "{too_many}");
    let rows = database.result(json!({ "fetch": all, "rows_max": 50_000 })).await;
    assert_eq!(rows.as_array().map(Vec::len), Some(50_000));
    assert_eq!(rows[49_999], json!({ "id": 50_000, "label": "row number 50000" }));
    for effect in [json!({}), json!({ "effect": "write" })] {
        let limits = json!({ "fetch": all, "rows_max": 50_000, "bytes_max": 100_000 });
        let too_much = database.error(with(limits, effect)).await;
        assert_eq!(too_much.class, ErrorClass::InvalidInput, "{too_much}");
        assert!(too_much.message.contains("100000 bytes") && too_much.message.contains("bytes_max"), "{too_much}");
    }
    // A single value needs no more than its row: the server does not send the others.
    let first = json!({ "fetchval": all, "rows_max": 1, "bytes_max": 65_536 });
    assert_eq!(database.result(first).await, json!(1));
}

#[tokio::test]
async fn writes_tell_how_many_rows_they_changed() {
    let database = Database::with_accounts("counts").await;
    let update = json!({ "execute": "UPDATE account SET name = $1 WHERE id >= $2", "params": ["zz", 1] });
    assert_eq!(database.result(update).await, json!({ "rows_affected": [2] }));
    let insert = "INSERT INTO account (id, name) VALUES ($1, $2) RETURNING id";
    let insert = json!({ "fetchval": insert, "params": [7, "new"] });
    assert_eq!(database.result(insert).await, json!(7));
    let two = json!({ "execute": "DELETE FROM account WHERE id = 7; DELETE FROM account" });
    assert_eq!(database.result(two).await, json!({ "rows_affected": [1, 2] }));
    assert_eq!(database.count().await, json!(0));
}

#[tokio::test]
async fn a_refused_change_proves_that_nothing_was_changed() {
    let database = Database::with_accounts("refused").await;
    for (sql, code) in [
        ("INSERT INTO account VALUES (3, 'c'), (1, 'twice')", "23505"),
        ("INSERT INTO account (id) VALUES (3)", "23502"),
        ("UPDATE account SET nmae = 'x'", "42703"),
        ("CREATE TABLE account (id int)", "42P07"),
        ("UPDATE account SET name = = 'x'", "42601"),
    ] {
        let error = database.error(json!({ "execute": sql })).await;
        assert_eq!(error.peer_code.as_deref(), Some(code), "{sql}: {error}");
        assert_eq!((error.class, error.sent), (ErrorClass::Refused, Sent::Rejected), "{sql}");
        assert_eq!(database.count().await, json!(2), "{sql}");
    }
}

/// The server speaks of a constraint that is checked at the end only after it has counted the rows.
#[tokio::test]
async fn what_the_commit_refuses_is_no_success() {
    let database = Database::with_accounts("deferred").await;
    let create = "CREATE TABLE entry (account int REFERENCES account DEFERRABLE INITIALLY DEFERRED)";
    database.result(json!({ "execute": create })).await;
    let (insert, returning) = ("INSERT INTO entry VALUES (9)", "INSERT INTO entry VALUES (9) RETURNING account");
    for more in [
        json!({ "execute": insert }),
        json!({ "fetchval": returning }),
        json!({ "execute": insert, "isolation_level": "SERIALIZABLE" }),
        json!({ "transaction": [insert] }),
    ] {
        let refused = database.error(more.clone()).await;
        assert_eq!((refused.peer_code.as_deref(), refused.sent), (Some("23503"), Sent::Rejected), "{more}: {refused}");
    }
    assert_eq!(database.result(json!({ "fetchval": "SELECT count(*) FROM entry" })).await, json!(0));
}

#[tokio::test]
async fn what_happens_in_steps_is_unknown_after_an_error() {
    let database = Database::with_accounts("steps").await;
    let procedure = "CREATE PROCEDURE two_steps() LANGUAGE plpgsql AS $$ BEGIN \
        INSERT INTO account VALUES (3, 'c'); COMMIT; INSERT INTO account VALUES (1, 'twice'); END $$";
    database.result(json!({ "execute": procedure })).await;
    let error = database.error(json!({ "execute": "CALL two_steps()" })).await;
    assert_eq!((error.peer_code.as_deref(), error.sent), (Some("23505"), Sent::Unknown));
    assert_eq!(database.count().await, json!(3), "the first step stands");
}

#[tokio::test]
async fn a_transaction_happens_as_a_whole_or_not_at_all() {
    let database = Database::with_accounts("transactions").await;
    let fine = json!({ "transaction": [
        "DELETE FROM account WHERE id = 1",
        { "sql": "INSERT INTO account VALUES ($1, $2), ($3, $4)", "params": [3, "c", 4, "d"] },
    ], "isolation_level": "SERIALIZABLE" });
    assert_eq!(database.result(fine).await, json!({ "rows_affected": [1, 2] }));
    for (second, code) in [("INSERT INTO account VALUES (9, NULL)", "23502"), ("SELECT nope", "42703")] {
        let refused = database.error(json!({ "transaction": ["DELETE FROM account", second] })).await;
        assert_eq!((refused.peer_code.as_deref(), refused.sent), (Some(code), Sent::Rejected), "{refused}");
        assert!(refused.message.starts_with("statement 2 of the transaction"), "{refused}");
        assert_eq!(database.count().await, json!(3), "everything was rolled back");
    }
    // A transaction that ends itself can leave something behind.
    let leaky = ["DELETE FROM account WHERE id = 3", "COMMIT", "INSERT INTO account VALUES (9, NULL)"];
    let unknown = database.error(json!({ "transaction": leaky })).await;
    assert_eq!(unknown.sent, Sent::Unknown, "{unknown}");
    assert_eq!(database.count().await, json!(2));
}

#[tokio::test]
async fn executemany_is_one_transaction() {
    let database = Database::with_accounts("executemany").await;
    let insert = "INSERT INTO account VALUES ($1, $2)";
    let fine = json!({ "executemany": insert, "params": [[3, "c"], [4, "d"], [5, "e"]] });
    assert_eq!(database.result(fine).await, json!({ "rows_affected": [1, 1, 1] }));
    let broken = json!({ "executemany": insert, "params": [[6, "f"], [3, "twice"]] });
    let refused = database.error(broken).await;
    assert_eq!((refused.peer_code.as_deref(), refused.sent), (Some("23505"), Sent::Rejected));
    assert_eq!(database.count().await, json!(5));
    let short = database.error(json!({ "executemany": insert, "params": [[6, "f"], [7]] })).await;
    assert_eq!(short.class, ErrorClass::InvalidInput);
    assert_eq!(database.count().await, json!(5));
}

#[tokio::test]
async fn an_isolation_level_goes_with_a_single_statement_too() {
    let database = Database::with_accounts("isolation").await;
    let show = "SELECT current_setting('transaction_isolation') || current_setting('transaction_read_only')";
    let select = json!({ "fetchval": show, "isolation_level": "REPEATABLE_READ" });
    assert_eq!(database.result(select).await, json!("repeatable readon"));
    let insert = "INSERT INTO account VALUES (3, current_setting('transaction_isolation')) RETURNING name";
    let insert = json!({ "fetchval": insert, "isolation_level": "SERIALIZABLE" });
    assert_eq!(database.result(insert).await, json!("serializable"));
    assert_eq!(database.count().await, json!(3), "it was committed");
}

/// The text of a view tells nothing, so the server has to keep a read from writing.
#[tokio::test]
async fn what_counts_as_a_read_cannot_write() {
    let database = Database::with_accounts("reads").await;
    let function = "CREATE FUNCTION sneaky() RETURNS int LANGUAGE sql AS \
        $$ INSERT INTO account VALUES (9, 'sneaky') RETURNING id $$";
    database.result(json!({ "execute": function })).await;
    database.result(json!({ "execute": "CREATE VIEW harmless AS SELECT sneaky() AS id" })).await;
    let fetch = json!({ "fetchval": "SELECT id FROM harmless" });
    assert_eq!(Postgres.effect(fetch.as_object().unwrap()), Effect::Read);
    let refused = database.error(fetch.clone()).await;
    assert_eq!((refused.peer_code.as_deref(), refused.sent), (Some("25006"), Sent::Rejected), "{refused}");
    assert_eq!(database.count().await, json!(2));
    // Whoever says that it writes may use it.
    assert_eq!(database.result(with(fetch, json!({ "effect": "write" }))).await, json!(9));
    assert_eq!(database.count().await, json!(3));
}

#[tokio::test]
async fn a_statement_without_rows_is_no_fetch_and_not_performed() {
    let database = Database::with_accounts("rowless").await;
    let error = database.error(json!({ "fetchval": "DELETE FROM account" })).await;
    assert_eq!((error.class, error.sent), (ErrorClass::InvalidInput, Sent::No));
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
    let endless = "UPDATE account SET name = 'never' FROM pg_sleep(600)";
    let slow = database.error(json!({ "execute": endless, "total_timeout": 1 })).await;
    assert_eq!((slow.class, slow.sent), (ErrorClass::Timeout, Sent::Unknown), "{slow}");
    // The server notices that nobody waits any more, and gives the locks back.
    database.until_under_way("pg_sleep(600)", 0).await;
    let update = json!({ "execute": "UPDATE account SET name = 'free'" });
    assert_eq!(database.result(update).await, json!({ "rows_affected": [2] }));
}

#[tokio::test]
async fn a_server_that_ends_the_session_leaves_it_open_what_was_done() {
    let database = Database::with_accounts("terminated").await;
    let endless = "UPDATE account SET name = 'never' FROM pg_sleep(601)";
    let victim = database.error(json!({ "execute": endless }));
    let terminate = async {
        database.until_under_way("pg_sleep(601)", 1).await;
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE query LIKE '%pg_sleep(601)%' AND pid <> pg_backend_pid()";
        database.result(json!({ "fetchval": sql })).await
    };
    let (victim, terminated) = tokio::join!(victim, terminate);
    assert_eq!(terminated, json!(true));
    assert_eq!((victim.class, victim.sent), (ErrorClass::StaleTarget, Sent::Unknown), "{victim}");
    assert_eq!(victim.peer_code.as_deref(), Some("57P01"));
}

#[tokio::test]
async fn a_deadlock_victim_is_told_and_undone() {
    let database = Database::with_accounts("deadlock").await;
    let both = |first: i32, second: i32| {
        let update = |id: i32| format!("UPDATE account SET name = name || 'x' WHERE id = {id}");
        json!({ "transaction": [update(first), "SELECT pg_sleep(0.5)", update(second)] })
    };
    let (one, other) = tokio::join!(database.run(both(1, 2)), database.run(both(2, 1)));
    let victims: Vec<CallError> = [one, other].into_iter().filter_map(Result::err).collect();
    assert_eq!(victims.len(), 1, "{victims:?}");
    assert_eq!((victims[0].peer_code.as_deref(), victims[0].sent), (Some("40P01"), Sent::Rejected));
    let names = json!({ "fetch": "SELECT name FROM account ORDER BY id" });
    assert_eq!(database.result(names).await, json!([{ "name": "adax" }, { "name": "gracex" }]));
}

#[tokio::test]
async fn an_answer_cut_at_any_place_is_an_error() {
    let database = Database::empty("cut").await;
    let all = "SELECT id, 'row number ' || id AS label FROM generate_series(1, 50000) AS id";
    let inputs = with(database.inputs(), json!({ "fetch": all, "rows_max": 50_000 }));
    for bytes in [0, 1, 100, 1_500, 20_000, 500_000] {
        let proxy = StandIn::cutting(database.server.address(), CutAfter::Answered(bytes)).unwrap();
        let cut = with(inputs.clone(), json!({ "port": proxy.port() }));
        let error = call(&Postgres, &TestFiles::new(), cut).await.expect_err("cut");
        assert_eq!(error.class, ErrorClass::Network, "after {bytes} bytes: {error}");
        if bytes <= 1_500 {
            assert_eq!(error.sent, Sent::No, "after {bytes} bytes, within the login");
        }
    }
    for nonsense in [&b"220 this is a mail server\r\n"[..], b"R\0\0\0\x02", b"R\xFF\xFF\xFF\xFF", b"S\0\0\0\0\0"] {
        let babbling = StandIn::babbling(nonsense).unwrap();
        for encrypt in ["required", "off"] {
            let more =
                json!({ "port": babbling.port(), "encrypt": encrypt, "fetchval": "SELECT 1", "connect_timeout": 2 });
            let error = database.error(more).await;
            assert_eq!(error.sent, Sent::No, "{nonsense:?} {encrypt}: {error}");
        }
    }
}

/// A write whose answer never came may have happened, and here it did.
#[tokio::test]
async fn a_write_whose_answer_was_cut_is_unknown() {
    let database = Database::with_accounts("unknown").await;
    // Unencrypted, so that the lengths of the messages are what they are.
    let insert =
        |id: i32| json!({ "encrypt": "off", "execute": "INSERT INTO account VALUES ($1, 'n')", "params": [id] });
    let mut outcomes = Vec::new();
    for (id, bytes) in (10..).zip((300..900).step_by(10)) {
        let proxy = StandIn::cutting(database.server.address(), CutAfter::Answered(bytes)).unwrap();
        let Err(error) = database.run(with(insert(id), json!({ "port": proxy.port() }))).await else { break };
        assert_eq!(error.class, ErrorClass::Network, "{bytes}: {error}");
        let exists = json!({ "fetchval": "SELECT count(*) FROM account WHERE id = $1", "params": [id] });
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
    let insert = json!({ "execute": "INSERT INTO account VALUES ($1, 'n')", "params": [10] });
    assert_eq!(database.result(insert.clone()).await, json!({ "rows_affected": [1] }));
    let again = database.error(insert).await;
    assert_eq!(again.peer_code.as_deref(), Some("23505"), "a write is performed each time");
    let reads = (0..20).map(|_| database.count());
    assert!(futures::future::join_all(reads).await.iter().all(|count| *count == json!(3)));
}

/// The engine is killed while the server works: a read is asked again, a write is not, and nothing stays locked.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_repeats_a_read_and_no_write() -> Result<()> {
    let database = Database::with_accounts("killed").await;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = SurefootProcess::start(&data).await?;
    server.deploy("test-guest").await?;
    let connect = |more: Value| {
        let inputs = with(database.inputs(), with(more, json!({ "total_timeout": 600 })));
        json!({ "mode": "connect", "connector": "type:postgres", "inputs": inputs })
    };
    let write = server.run(
        "test-guest",
        connect(json!({
            "execute": "INSERT INTO account SELECT 3, 'once' FROM pg_sleep(602)",
        })),
    );
    let read = server.run("test-guest", connect(json!({ "fetchval": "SELECT 5 FROM pg_sleep(3)" })));
    let (write, read) = (write.await?, read.await?);
    database.until_under_way("pg_sleep(602)", 1).await;
    server.kill().await?;
    database.until_under_way("pg_sleep(602)", 0).await;
    let server = SurefootProcess::start(&data).await?;
    let (write, read) = (server.ended(&write).await?, server.ended(&read).await?);
    assert_eq!(write["output"]["failure"]["code"], "interrupted", "{write:#}");
    assert_eq!(read["output"]["output"], json!({ "result": 5 }), "{read:#}");
    assert_eq!(database.count().await, json!(2), "it was neither completed nor repeated");
    server.stop().await?.context("it ends by itself").map(|_| ())
}
