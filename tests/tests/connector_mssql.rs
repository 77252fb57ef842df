//! The connector `mssql` against pysqlbridge: with its own read-only engine, and with SQLite behind its protocol.
//!
//! Neither is SQL Server. What is proved here: protocol, TLS, login, parameters, rows, errors, transactions, faults.

use std::time::Duration;

use serde_json::{Value, json};
use surefoot_connector_api::{CallError, ErrorClass, Sent};
use surefoot_connectors::mssql::Mssql;
use surefoot_tests::connector_harness::{CallOptions, TestFiles, call, call_with};
use surefoot_tests::servers::mssql::{BIG_ROWS, MssqlServer};
use surefoot_tests::servers::smtp::with;
use surefoot_tests::servers::stand_in::{CutAfter, StandIn};

async fn run(server: &MssqlServer, more: Value) -> Result<Value, CallError> {
    call(&Mssql, &TestFiles::new(), with(server.inputs(), more)).await
}

/// The output `result`.
async fn result(server: &MssqlServer, more: Value) -> Value {
    let shown = more.to_string();
    run(server, more).await.unwrap_or_else(|error| panic!("{shown}: {error:?}\n{}", server.output()))["result"].clone()
}

async fn error(server: &MssqlServer, more: Value) -> CallError {
    let shown = more.to_string();
    run(server, more).await.err().unwrap_or_else(|| panic!("{shown} has succeeded"))
}

async fn with_accounts() -> MssqlServer {
    let server = MssqlServer::writable().unwrap();
    result(&server, json!({ "execute": "CREATE TABLE account (id int PRIMARY KEY, name nvarchar(50) NOT NULL)" }))
        .await;
    result(&server, json!({ "execute": "INSERT INTO account VALUES (1, N'ada'), (2, N'grace')" })).await;
    server
}

async fn count(server: &MssqlServer) -> Value {
    result(server, json!({ "fetchval": "SELECT COUNT(*) FROM account" })).await
}

#[tokio::test]
async fn fetches_a_value_a_row_and_rows() {
    let server = MssqlServer::read_only().unwrap();
    assert_eq!(result(&server, json!({ "fetchval": "SELECT 1 FROM people" })).await, json!(1));
    for name in ["fetchrow", "fetchone"] {
        let row = result(&server, json!({ name: "SELECT id, name FROM people ORDER BY id" })).await;
        assert_eq!(row, json!({ "id": 1, "name": "ada" }));
    }
    for name in ["fetch", "fetchall"] {
        let rows =
            result(&server, json!({ name: "SELECT name FROM people WHERE id > @P1 ORDER BY id", "params": [1] })).await;
        assert_eq!(rows, json!([{ "name": "grace" }, { "name": "edsger" }]));
    }
}

#[tokio::test]
async fn nothing_found_is_null_or_an_empty_list() {
    let server = MssqlServer::read_only().unwrap();
    let none = "SELECT name FROM people WHERE id = 99";
    assert_eq!(result(&server, json!({ "fetchval": none })).await, Value::Null);
    assert_eq!(result(&server, json!({ "fetchrow": none })).await, Value::Null);
    assert_eq!(result(&server, json!({ "fetch": none })).await, json!([]));
}

#[tokio::test]
async fn parameters_arrive_as_what_they_are() {
    let server = MssqlServer::read_only().unwrap();
    let params = json!([42, 5_000_000_000_i64, 1.5, true, "it's ü 世界", null, "x".repeat(9_000)]);
    let sql = "SELECT @P1 AS a, @P2 AS b, @P3 AS c, @P4 AS d, @P5 AS e, @P6 AS f, @P7 AS g";
    let row = result(&server, json!({ "fetchrow": sql, "params": params })).await;
    assert_eq!(row["a"], 42);
    assert_eq!(row["b"], 5_000_000_000_i64);
    assert_eq!(row["c"], 1.5);
    assert!(row["d"] == true || row["d"] == 1, "{row}");
    assert_eq!(row["e"], "it's ü 世界");
    assert_eq!(row["f"], Value::Null);
    assert_eq!(row["g"], "x".repeat(9_000));
    let injection = json!({ "fetch": "SELECT name FROM people WHERE name = @P1", "params": ["' OR 1=1 --"] });
    assert_eq!(result(&server, injection).await, json!([]));
}

#[tokio::test]
async fn columns_without_names_and_with_the_same_name_are_kept_apart() {
    let server = MssqlServer::read_only().unwrap();
    let row = result(&server, json!({ "fetchrow": "SELECT 1, 2 AS a, 3 AS a" })).await;
    assert_eq!(row, json!({ "column_1": 1, "a": 2, "a_3": 3 }));
}

#[tokio::test]
async fn only_the_right_certificate_is_trusted() {
    let server = MssqlServer::read_only().unwrap();
    let stranger = MssqlServer::read_only().unwrap();
    let select = json!({ "fetchval": "SELECT 1" });
    for encrypt in ["required", "login"] {
        let more = with(select.clone(), json!({ "encrypt": encrypt }));
        assert_eq!(result(&server, more.clone()).await, json!(1), "{encrypt}");
        assert_eq!(result(&server, with(more.clone(), json!({ "hostname": "localhost" }))).await, json!(1));
        let untrusted = error(&server, with(more, json!({ "server_ca": stranger.ca() }))).await;
        assert_eq!((untrusted.class, untrusted.sent), (ErrorClass::Untrusted, Sent::No), "{encrypt}: {untrusted}");
        assert!(untrusted.message.contains("`server_ca`") && !untrusted.message.contains("trust_cert"), "{untrusted}");
    }
    let mut machine = with(server.inputs(), select.clone());
    machine.as_object_mut().unwrap().remove("server_ca");
    let untrusted = call(&Mssql, &TestFiles::new(), machine.clone()).await.expect_err("nobody vouches for it");
    assert_eq!(untrusted.class, ErrorClass::Untrusted);
    let any = with(machine, json!({ "trust_server_certificate": true }));
    assert_eq!(call(&Mssql, &TestFiles::new(), any).await.unwrap()["result"], json!(1));
}

#[tokio::test]
async fn wrong_credentials_are_told_apart() {
    let server = MssqlServer::read_only().unwrap();
    for wrong in [json!({ "password": "a wrong password" }), json!({ "username": "nobody" })] {
        let error = error(&server, with(json!({ "fetchval": "SELECT 1" }), wrong)).await;
        assert_eq!((error.class, error.sent), (ErrorClass::Auth, Sent::No), "{error}");
        assert_eq!(error.peer_code.as_deref(), Some("18456"));
    }
}

#[tokio::test]
async fn hosts_outside_of_the_policy_are_not_reached() {
    let server = MssqlServer::read_only().unwrap();
    let options = CallOptions { allow: vec!["db.example.com".into()], ..CallOptions::default() };
    let inputs = with(server.inputs(), json!({ "fetchval": "SELECT 1" }));
    let error = call_with(&Mssql, &TestFiles::new(), inputs, &options).await.expect_err("denied");
    assert_eq!((error.class, error.sent), (ErrorClass::Egress, Sent::No));
    assert!(error.message.contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn errors_carry_the_servers_number() {
    let server = MssqlServer::read_only().unwrap();
    for (sql, number, sent) in [
        ("SELECT * FROM nope", "208", Sent::Rejected),
        ("SELECT 1/0", "8134", Sent::Rejected),
        // Not proved to be one statement, so what has been done before the error is open.
        ("THROW 50001, 'thrown', 7", "50001", Sent::Unknown),
    ] {
        let error = error(&server, json!({ "fetchval": sql })).await;
        assert_eq!(error.peer_code.as_deref(), Some(number), "{sql}: {error}");
        assert_eq!((error.class, error.sent), (ErrorClass::Refused, sent), "{sql}: {error}");
        assert!(error.message.contains(number), "{error}");
    }
}

#[tokio::test]
async fn many_rows_stop_at_the_limits() {
    let server = MssqlServer::read_only().unwrap();
    let all = "SELECT id, label FROM big";
    let too_many = error(&server, json!({ "fetch": all })).await;
    assert_eq!(too_many.class, ErrorClass::InvalidInput);
    assert!(too_many.message.contains("more than 10000 rows") && too_many.message.contains("rows_max"), "{too_many}");
    let rows = result(&server, json!({ "fetch": all, "rows_max": BIG_ROWS })).await;
    assert_eq!(rows.as_array().map(Vec::len), Some(BIG_ROWS));
    assert_eq!(rows[BIG_ROWS - 1], json!({ "id": BIG_ROWS, "label": format!("row number {BIG_ROWS}") }));
    let too_much = error(&server, json!({ "fetch": all, "rows_max": BIG_ROWS, "bytes_max": 100_000 })).await;
    assert_eq!(too_much.class, ErrorClass::InvalidInput);
    assert!(too_much.message.contains("100000 bytes") && too_much.message.contains("bytes_max"), "{too_much}");
    // A single value needs no more than its row.
    assert_eq!(result(&server, json!({ "fetchval": all, "rows_max": 1 })).await, json!(1));
}

#[tokio::test]
async fn writes_tell_how_many_rows_they_changed() {
    let server = with_accounts().await;
    let update = json!({ "execute": "UPDATE account SET name = @P1 WHERE id >= @P2", "params": ["zz", 1] });
    assert_eq!(result(&server, update).await, json!({ "rows_affected": [2] }));
    let insert = "INSERT INTO account (id, name) OUTPUT inserted.id VALUES (@P1, @P2)";
    let insert = json!({ "fetchval": insert, "params": [7, "new"] });
    assert_eq!(result(&server, insert).await, json!(7));
    let two = json!({ "execute": "DELETE FROM account WHERE id = 7; DELETE FROM account" });
    assert_eq!(result(&server, two).await, json!({ "rows_affected": [1, 2] }));
    assert_eq!(count(&server).await, json!(0));
}

#[tokio::test]
async fn a_refused_change_proves_that_nothing_was_changed() {
    let server = with_accounts().await;
    for (sql, number) in [
        ("INSERT INTO account VALUES (3, 'c'), (1, 'twice')", "2627"),
        ("INSERT INTO account (id) VALUES (3)", "515"),
        ("UPDATE account SET nmae = 'x'", "207"),
        ("CREATE TABLE account (id int)", "2714"),
        ("UPDATE account SET name = = 'x'", "102"),
    ] {
        let error = error(&server, json!({ "execute": sql })).await;
        assert_eq!(error.peer_code.as_deref(), Some(number), "{sql}: {error}");
        assert_eq!((error.class, error.sent), (ErrorClass::Refused, Sent::Rejected), "{sql}");
        assert_eq!(count(&server).await, json!(2), "{sql}");
    }
}

#[tokio::test]
async fn an_error_after_another_statement_proves_nothing() {
    let server = with_accounts().await;
    let error = error(
        &server,
        json!({ "execute": "INSERT INTO account VALUES (3, 'c'); INSERT INTO account VALUES (1, 'twice')" }),
    )
    .await;
    assert_eq!((error.peer_code.as_deref(), error.sent), (Some("2627"), Sent::Unknown));
    assert_eq!(count(&server).await, json!(3), "the first statement stands");
}

#[tokio::test]
async fn a_transaction_happens_as_a_whole_or_not_at_all() {
    let server = with_accounts().await;
    let fine = json!({ "transaction": [
        "DELETE FROM account WHERE id = 1",
        { "sql": "INSERT INTO account VALUES (@P1, @P2), (@P3, @P4)", "params": [3, "c", 4, "d"] },
    ], "isolation_level": "SERIALIZABLE" });
    assert_eq!(result(&server, fine).await, json!({ "rows_affected": [1, 2] }));
    let broken = json!({ "transaction": ["DELETE FROM account", "INSERT INTO account VALUES (9, NULL)"] });
    let refused = error(&server, broken).await;
    assert_eq!((refused.peer_code.as_deref(), refused.sent), (Some("515"), Sent::Rejected), "{refused}");
    assert!(refused.message.starts_with("statement 2 of the transaction"), "{refused}");
    assert_eq!(count(&server).await, json!(3), "everything was rolled back");
    // A transaction that ends itself can leave something behind.
    let leaky = ["DELETE FROM account WHERE id = 3", "COMMIT", "INSERT INTO account VALUES (9, NULL)"];
    let leaky = json!({ "transaction": leaky });
    let unknown = error(&server, leaky).await;
    assert_eq!(unknown.sent, Sent::Unknown, "{unknown}");
    assert_eq!(count(&server).await, json!(2));
}

#[tokio::test]
async fn executemany_is_one_transaction() {
    let server = with_accounts().await;
    let insert = "INSERT INTO account VALUES (@P1, @P2)";
    let fine = json!({ "executemany": insert, "params": [[3, "c"], [4, "d"], [5, "e"]] });
    assert_eq!(result(&server, fine).await, json!({ "rows_affected": [1, 1, 1] }));
    let broken = json!({ "executemany": insert, "params": [[6, "f"], [3, "twice"]] });
    let refused = error(&server, broken).await;
    assert_eq!((refused.peer_code.as_deref(), refused.sent), (Some("2627"), Sent::Rejected));
    assert_eq!(count(&server).await, json!(5));
}

#[tokio::test]
async fn a_deadlock_victim_is_told_and_undone() {
    let server = with_accounts().await;
    let holder =
        json!({ "transaction": ["UPDATE account SET name = 'held' WHERE id = 1", "WAITFOR DELAY '00:00:03'"] });
    // The holder has its lock as soon as nobody else can write.
    let victim = async {
        for written in 0.. {
            let insert = json!({ "execute": format!("INSERT INTO account VALUES ({}, 'h')", 100 + written) });
            if let Err(error) = run(&server, insert).await {
                return (written, error);
            }
        }
        unreachable!("the loop ends at an error alone")
    };
    let victim = async { tokio::time::timeout(Duration::from_secs(20), victim).await.expect("a victim in time") };
    let (held, (written, victim)) = tokio::join!(result(&server, holder), victim);
    assert_eq!(held, json!({ "rows_affected": [1, 0] }));
    assert_eq!((victim.class, victim.peer_code.as_deref()), (ErrorClass::Refused, Some("1205")));
    assert_eq!(count(&server).await, json!(2 + written), "the victim has left nothing, the writes before it stand");
}

#[tokio::test]
async fn an_isolation_level_goes_with_a_single_statement_too() {
    let server = with_accounts().await;
    let select = json!({ "fetchval": "SELECT name FROM account WHERE id = 2", "isolation_level": "READ_UNCOMMITTED" });
    assert_eq!(result(&server, select).await, json!("grace"));
}

#[tokio::test]
async fn a_statement_without_rows_is_no_fetch() {
    let server = with_accounts().await;
    let error = error(&server, json!({ "fetchval": "DELETE FROM account" })).await;
    assert_eq!((error.class, error.sent), (ErrorClass::InvalidInput, Sent::Unknown));
    assert!(error.message.contains("`execute`"), "{error}");
    assert_eq!(count(&server).await, json!(0), "it was performed, as the error says");
}

#[tokio::test]
async fn time_runs_out_before_and_after_the_statement() {
    let silent = StandIn::silent().unwrap();
    let server = MssqlServer::writable().unwrap();
    let elsewhere = json!({ "port": silent.port(), "fetchval": "SELECT 1" });
    for limit in ["connect_timeout", "total_timeout"] {
        let error = error(&server, with(elsewhere.clone(), json!({ limit: 0.2 }))).await;
        assert_eq!((error.class, error.sent), (ErrorClass::Timeout, Sent::No), "{error}");
        assert!(error.message.contains(limit), "{error}");
    }
    let start = tokio::time::Instant::now();
    let slow = error(&server, json!({ "execute": "WAITFOR DELAY '00:00:30'", "total_timeout": 1 })).await;
    assert_eq!((slow.class, slow.sent), (ErrorClass::Timeout, Sent::Unknown), "{slow}");
    assert!(start.elapsed() < Duration::from_secs(15));
    assert_eq!(result(&server, json!({ "fetchval": "SELECT 5" })).await, json!(5), "the next call is not disturbed");
}

#[tokio::test]
async fn cut_and_malformed_answers_are_never_success() {
    let server = with_accounts().await;
    for (sql, class) in [
        ("INSERT INTO account VALUES (3, 'c') /* hang up */", ErrorClass::Network),
        ("INSERT INTO account VALUES (4, 'd') /* garbage */", ErrorClass::Protocol),
        // Half a token means more is to come, so the driver waits for it.
        ("INSERT INTO account VALUES (5, 'e') /* half */", ErrorClass::Timeout),
    ] {
        let error = error(&server, json!({ "execute": sql, "total_timeout": 2 })).await;
        assert_eq!((error.class, error.sent), (class, Sent::Unknown), "{sql}: {error}");
    }
    assert_eq!(count(&server).await, json!(5), "all of them were performed, as nobody could know");
    for sql in [
        "SELECT * FROM account /* hang up */",
        "SELECT * FROM account /* garbage */",
        "SELECT * FROM account /* half */",
    ] {
        error(&server, json!({ "fetch": sql, "total_timeout": 2 })).await;
    }
}

#[tokio::test]
async fn an_answer_cut_at_any_place_is_an_error() {
    let server = MssqlServer::read_only().unwrap();
    let inputs = with(server.inputs(), json!({ "fetch": "SELECT id, label FROM big", "rows_max": BIG_ROWS }));
    for bytes in [0, 10, 100, 1_000, 2_500, 20_000, 500_000] {
        let proxy = StandIn::cutting(server.address(), CutAfter::Answered(bytes)).unwrap();
        let cut = with(inputs.clone(), json!({ "port": proxy.port() }));
        let error = call(&Mssql, &TestFiles::new(), cut).await.expect_err("cut");
        assert_eq!(error.class, ErrorClass::Network, "after {bytes} bytes: {error}");
        if bytes <= 1_000 {
            assert_eq!(error.sent, Sent::No, "after {bytes} bytes, within the login");
        }
    }
    let babbling = StandIn::babbling(b"220 this is a mail server\r\n").unwrap();
    let error = error(&server, json!({ "port": babbling.port(), "fetchval": "SELECT 1", "connect_timeout": 2 })).await;
    assert_eq!(error.sent, Sent::No, "{error}");
}

#[tokio::test]
async fn calls_repeat_and_run_side_by_side() {
    let server = with_accounts().await;
    let insert = |id: i32| json!({ "execute": "INSERT INTO account VALUES (@P1, 'n')", "params": [id] });
    let again = insert(10);
    assert_eq!(result(&server, again.clone()).await, json!({ "rows_affected": [1] }));
    assert_eq!(error(&server, again).await.peer_code.as_deref(), Some("2627"), "a write is performed each time");
    let reads = (0..20).map(|_| result(&server, json!({ "fetchval": "SELECT COUNT(*) FROM account" })));
    assert!(futures::future::join_all(reads).await.iter().all(|count| *count == json!(3)));
}
