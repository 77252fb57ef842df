//! Retention in an engine at work, on a clock that the test moves.

#![expect(clippy::print_stderr, reason = "the soak says what it measured")]

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::core::Config;
use crate::engine::{EngineError, StartRequest, WriterMode};
use crate::native::NativeFlow;
use crate::query::Kind;
use crate::session::{End, QueryCall, Session};
use crate::store::{contents, executions, journal};

const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const START: Timestamp = Timestamp(1_767_225_600_000_000);

type Running = Pin<Box<dyn Future<Output = Result<Value, End>> + Send>>;

struct Program(fn(Arc<Session>, Value) -> Running);

#[async_trait]
impl NativeFlow for Program {
    async fn run(&self, session: Arc<Session>, input: Value) -> Result<Value, End> {
        (self.0)(session, input).await
    }
}

/// A workspace and the clock that it goes by.
struct Workspace {
    engine: Engine,
    config: Config,
    clock: Arc<ManualClock>,
    folder: tempfile::TempDir,
}

impl Workspace {
    fn open(retention: Retention) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(START);
        let mut config = Config::new(folder.path());
        config.clock = Clock::Manual(clock.clone());
        config.idle_before_parking = Duration::from_millis(20);
        config.retention = retention;
        Self { engine: Self::engine(&config), config, clock, folder }
    }

    fn engine(config: &Config) -> Engine {
        let flows: [(&str, Program); 4] = [
            ("quick", Program(|_, input| Box::pin(async move { Ok(input) }))),
            (
                "sleeper",
                Program(|session, input| {
                    Box::pin(async move {
                        let days = input["days"].as_u64().unwrap_or(0);
                        session.sleep(DAY * u32::try_from(days).unwrap(), None).await?;
                        Ok(Value::Null)
                    })
                }),
            ),
            (
                "parent",
                Program(|session, input| {
                    Box::pin(async move {
                        let id = session.start_flow("native:sleeper", input, None, true).await?.unwrap();
                        Ok(id.into())
                    })
                }),
            ),
            (
                "reader",
                Program(|session, input| {
                    Box::pin(async move {
                        let name = input["file"].as_str().unwrap().to_owned();
                        let read = session.file_read(&name, 0, 100).await?.unwrap();
                        session.sleep(DAY * 100, None).await?;
                        Ok(String::from_utf8(read.to_vec()).unwrap().into())
                    })
                }),
            ),
        ];
        let flows =
            flows.map(|(name, flow)| (name.to_owned(), Arc::new(flow) as Arc<dyn NativeFlow>)).into_iter().collect();
        Engine::open_with(config.clone(), Vec::new(), flows, WriterMode::Thread).expect("the workspace opens")
    }

    async fn reopen_after(self, meanwhile: impl FnOnce(&Path)) -> Self {
        let Self { engine, config, clock, folder } = self;
        engine.shutdown(Duration::from_secs(5)).await.unwrap();
        meanwhile(&folder.path().join("surefoot.db"));
        Self { engine: Self::engine(&config), config, clock, folder }
    }

    fn advance(&self, duration: Duration) {
        self.clock.set(self.config.clock.now().after(duration));
    }

    async fn start(&self, flow: &str, input: Value) -> String {
        let flow = format!("native:{flow}");
        self.engine.start(StartRequest { flow, input, by: "test".into(), ..Default::default() }).await.unwrap().0
    }

    async fn run(&self, flow: &str, input: Value) -> String {
        let id = self.start(flow, input).await;
        self.ended(&id).await;
        id
    }

    async fn ended(&self, id: &str) -> Value {
        self.engine.wait_ended(id, Some(PATIENCE)).await.unwrap().expect("the execution ends")
    }

    /// The ids of the executions in the trash, or of the others.
    async fn ids(&self, deleted: bool) -> Vec<String> {
        let order = Some("created_at".into());
        let query = QueryCall { kind: "execution".into(), order, deleted, ..QueryCall::default() };
        let rows = self.engine.query(query).await.unwrap().rows;
        rows.into_iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until a condition holds. Nobody announces what retention does, so it looks now and then; time passes by
    /// seconds, so that there is another pass.
    async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        self.until_within(PATIENCE, what, condition).await;
    }

    async fn until_within(&self, patience: Duration, what: &str, condition: impl AsyncFn() -> bool) {
        let looking = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
                self.advance(Duration::from_secs(1));
            }
        };
        tokio::time::timeout(patience, looking).await.unwrap_or_else(|_| panic!("it never happened: {what}"));
    }

    async fn put(&self, name: &str, content: &'static str) {
        let chunks = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from_static(content.as_bytes()))]);
        self.engine.put_file(name, chunks, "test").await.unwrap();
    }

    fn has_content(&self, content: &str) -> bool {
        let digest = crate::files::sha256_hex(content.as_bytes());
        self.folder.path().join(format!("blobs/sha256/{}/{digest}", &digest[..2])).exists()
    }
}

fn nothing_goes() -> Retention {
    let limits =
        Retention { age: None, executions_max: None, bytes_max: None, trash_age: None, ..Retention::default() };
    Retention { audit_age: None, ..limits }
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_go_by_age_as_a_whole_and_only_when_all_has_ended() {
    let workspace = Workspace::open(Retention::default());
    let quick = workspace.run("quick", json!(1)).await;
    let parent = workspace.run("parent", json!({"days": 40})).await;
    let child = workspace.engine.execution(&parent).await.unwrap()["output"].as_str().unwrap().to_owned();
    let newest = workspace.run("quick", json!(2)).await;

    workspace.advance(DAY * 31);
    workspace.until("two old trees are in the trash", async || workspace.ids(true).await.len() == 2).await;
    assert_eq!(workspace.ids(true).await, [quick.clone(), newest.clone()]);
    assert_eq!(workspace.ids(false).await, [parent.clone(), child.clone()], "the orphan is not over");
    workspace.advance(DAY * 8);
    let gone = async |id: &str| matches!(workspace.engine.execution(id).await, Err(EngineError::Refused(_)));
    workspace.until("the first is deleted", async || gone(&quick).await).await;
    assert!(!gone(&newest).await, "the newest execution stays, so that no number is used twice");

    workspace.advance(DAY * 2);
    workspace.ended(&child).await;
    workspace.advance(DAY * 29);
    workspace.run("quick", json!(3)).await;
    workspace.until("the second is deleted too", async || gone(&newest).await).await;
    assert_eq!(workspace.ids(false).await[..2], [parent.clone(), child.clone()], "the child ended 29 days ago");
    workspace.advance(DAY * 2);
    workspace.until("the tree goes", async || workspace.ids(true).await == [parent.clone(), child.clone()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_there_are_too_many_the_oldest_go() {
    let workspace = Workspace::open(Retention { executions_max: Some(3), ..nothing_goes() });
    let sleeper = workspace.start("sleeper", json!({"days": 1000})).await;
    let mut all = Vec::new();
    for n in 0..8 {
        all.push(workspace.run("quick", json!(n)).await);
        workspace.advance(Duration::from_secs(1));
    }
    workspace.until("five are in the trash", async || workspace.ids(true).await.len() == 5).await;
    assert_eq!(workspace.ids(true).await, all[..5]);
    workspace.engine.restore(Kind::Execution, &all[0], "test").await.unwrap();
    workspace.until("another went instead", async || workspace.ids(true).await == all[1..6]).await;
    let workspace = workspace.reopen_after(|_| ()).await;
    all.push(workspace.run("quick", json!(8)).await);
    workspace.until("one more went", async || workspace.ids(true).await == all[1..7]).await;
    assert!(workspace.ids(false).await.contains(&sleeper));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_it_is_too_big_the_oldest_go_for_good_and_the_file_shrinks() {
    let workspace = Workspace::open(Retention { bytes_max: Some(1 << 20), ..nothing_goes() });
    let sleeper = workspace.start("sleeper", json!({"days": 1000})).await;
    let mut last = String::new();
    for _ in 0..20 {
        last = workspace.run("quick", json!("x".repeat(500_000))).await;
        workspace.advance(Duration::from_secs(1));
    }
    let used = async || workspace.engine.storage().await.unwrap().database_used_bytes;
    workspace.until("it is small enough", async || used().await <= 2 << 20).await;
    let size = async || workspace.engine.storage().await.unwrap().database_bytes;
    workspace.until("the file of 20 MB has shrunk", async || size().await < 4 << 20).await;
    let left = workspace.ids(false).await;
    assert!(left.contains(&sleeper) && left.len() < 4, "{left:?}");
    assert!(workspace.engine.execution(&last).await.is_ok(), "the newest stays in any case");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_delete_and_restore_whole_trees() {
    let workspace = Workspace::open(nothing_goes());
    let parent = workspace.run("parent", json!({"days": 1})).await;
    let child = workspace.engine.execution(&parent).await.unwrap()["output"].as_str().unwrap().to_owned();
    let delete = async |id: &str, permanently| workspace.engine.delete(Kind::Execution, id, permanently, "test").await;
    let refused = |result: EngineResult<bool>| result.unwrap_err().to_string();
    assert!(refused(delete(&parent, false).await).contains(&format!("{child} has not ended")));
    workspace.advance(DAY * 2);
    workspace.ended(&child).await;
    assert!(refused(delete(&child, false).await).contains(&format!("belongs to the tree of {parent}")));
    assert!(delete(&parent, false).await.unwrap());
    assert_eq!(workspace.ids(true).await, [parent.clone(), child.clone()]);
    let restored = workspace.engine.restore(Kind::Execution, &parent, "test").await.unwrap();
    assert!(restored.get("deleted_at").is_none(), "{restored}");
    assert_eq!(workspace.ids(false).await, [parent.clone(), child.clone()]);

    let newest = workspace.run("quick", json!(1)).await;
    assert!(delete(&parent, true).await.unwrap());
    workspace.until("both are gone", async || workspace.engine.execution(&child).await.is_err()).await;
    assert_eq!(workspace.ids(false).await, [newest]);
    assert!(!delete("none", false).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_came_with_an_execution_go_with_it() {
    let workspace = Workspace::open(nothing_goes());
    let engine = &workspace.engine;
    let mut started = Vec::new();
    for _ in 0..2 {
        let (mut attachments, mut names) = (engine.attachments(), Vec::new());
        for name in ["a.txt", "../b.txt"] {
            names.push(engine.attach(&mut attachments, name, "content".into()).await.unwrap().name);
        }
        assert!(engine.record(Kind::File, &names[0]).await.is_err(), "it has no name before the start");
        let (flow, attachments) = ("native:quick".to_owned(), Some(attachments));
        let request = StartRequest { flow, by: "test".into(), attachments, ..Default::default() };
        let (id, _) = engine.start(request).await.unwrap();
        assert_eq!(names, [format!("executions/{id}/1/a.txt"), format!("executions/{id}/2/b.txt")]);
        workspace.ended(&id).await;
        started.push((id, names));
    }
    let (first, second) = (&started[0], &started[1]);
    let is_there = async |name: &String| engine.record(Kind::File, name).await.is_ok();
    engine.delete(Kind::File, &first.1[1], false, "test").await.unwrap();
    assert!(engine.delete(Kind::Execution, &first.0, false, "test").await.unwrap());
    assert!(is_there(&first.1[0]).await, "what is in the trash can come back");
    assert!(engine.delete(Kind::Execution, &first.0, true, "test").await.unwrap());
    workspace.until("its file is gone", async || !is_there(&first.1[0]).await).await;
    let trash = QueryCall { kind: "file".into(), deleted: true, ..QueryCall::default() };
    assert_eq!(engine.query(trash).await.unwrap().rows, [Value::Null; 0], "the one in the trash too");
    assert!(is_there(&second.1[0]).await && is_there(&second.1[1]).await);
}

/// Those of more than a step, a day's worth at a time; and the log says that they went.
#[tokio::test(flavor = "multi_thread")]
async fn old_entries_of_the_audit_log_go_and_that_is_an_entry() {
    let workspace = Workspace::open(Retention { audit_age: Some(DAY * 400), ..nothing_goes() });
    let change = async |n: usize| {
        let value = serde_json::Map::from_iter([("value".to_owned(), json!(n))]);
        workspace.engine.save(Kind::Setting, "s", value, "test").await.unwrap();
    };
    let entries = async || {
        let query =
            QueryCall { kind: "audit".to_owned(), order: Some("created_at".to_owned()), ..QueryCall::default() };
        workspace.engine.query(QueryCall { limit: Some(1000), ..query }).await.unwrap().rows
    };
    for n in 0..250 {
        change(n).await;
    }
    workspace.advance(DAY * 2);
    change(250).await;
    workspace.advance(DAY * 399);
    // The first 250 are 401 days old, the last one 399.
    workspace.until("the old entries are gone", async || entries().await.len() == 2).await;
    let rows = entries().await;
    assert_eq!((&rows[0]["action"], &rows[0]["after"]["value"]), (&json!("update"), &json!(250)));
    let (note, gone) = (&rows[1], &rows[1]["before"]);
    assert_eq!((&note["action"], &note["created_by"]), (&json!("delete_old"), &json!("retention")));
    let until: Timestamp = gone["until"].as_str().unwrap().parse().unwrap();
    assert!(gone["entries"] == 250 && (START.after(DAY)..START.after(DAY * 2)).contains(&until), "{gone}");
    // What is too old by less than a day waits for others.
    workspace.advance(DAY + DAY / 2);
    workspace.run("quick", json!(1)).await;
    assert_eq!(entries().await.len(), 2);
    workspace.advance(DAY);
    workspace.until("it went, too", async || entries().await[0]["action"] == "delete_old").await;
    assert_eq!(entries().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_stay_while_a_name_or_a_journal_has_them() {
    let workspace = Workspace::open(Retention { trash_age: Some(Duration::ZERO), ..Retention::default() });
    workspace.put("a", "first").await;
    let reader = workspace.start("reader", json!({"file": "a"})).await;
    workspace
        .until("it sleeps", async || workspace.engine.execution(&reader).await.unwrap()["status"] == "WAITING")
        .await;
    workspace.put("a", "second").await;
    workspace.put("b", "third").await;
    workspace.put("c", "fourth").await;
    workspace.engine.delete(Kind::File, "b", false, "test").await.unwrap();
    workspace.engine.delete(Kind::File, "c", true, "test").await.unwrap();
    let hours = |n: u32| workspace.advance(Duration::from_secs(3600) * n);
    hours(2);
    workspace
        .until("what nothing names is gone", async || {
            hours(1);
            !workspace.has_content("fourth")
        })
        .await;
    for content in ["first", "second", "third"] {
        assert!(workspace.has_content(content), "{content} has a name, in the trash too, or a journal reads it");
    }

    // What was read is read again at replay, also by an engine that finds a database without notes of that.
    let workspace = workspace
        .reopen_after(|database| {
            let connection = Connection::open(database).unwrap();
            connection
                .execute_batch(
                    "DELETE FROM content_reads; UPDATE meta SET value = 0 WHERE key = 'reads_searched';
                     UPDATE meta SET value = (SELECT max(rowid) FROM executions) WHERE key = 'reads_unsearched';",
                )
                .unwrap();
        })
        .await;
    let hours = |n: u32| workspace.advance(Duration::from_secs(3600) * n);
    let searched = async || !workspace.engine.core.readers.read(contents::is_unsearched).unwrap();
    workspace
        .until("the journals are searched", async || {
            hours(1);
            searched().await
        })
        .await;
    for _ in 0..3 {
        hours(2);
        collection::pass(&workspace.engine.core).await.unwrap();
    }
    assert!(workspace.has_content("first"));
    workspace.advance(DAY * 101);
    assert_eq!(workspace.ended(&reader).await["output"], "first");
    workspace.run("quick", Value::Null).await;
    workspace.advance(DAY * 31);
    workspace
        .until("the content goes with the journal", async || {
            hours(1);
            !workspace.has_content("first")
        })
        .await;
    assert!(workspace.has_content("second") && workspace.has_content("third"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_comes_again_is_not_collected_under_its_writer() {
    let workspace = Workspace::open(Retention { grace: Duration::ZERO, ..nothing_goes() });
    let core = &workspace.engine.core;
    let digest = crate::files::sha256_hex(b"again");
    let put = async || core.blobs.put(&core.new_id(), &digest, bytes::Bytes::from_static(b"again")).await.unwrap();
    let held = put().await;
    for _ in 0..3 {
        collection::pass(core).await.unwrap();
    }
    assert!(workspace.has_content("again"), "its name is on the way");
    drop(held);
    let backup = core.contents_lock.clone().read_owned().await;
    collection::pass(core).await.unwrap();
    assert!(workspace.has_content("again"), "a backup copies contents");
    drop(backup);
    collection::pass(core).await.unwrap();
    assert!(!workspace.has_content("again"));
    put().await;
    assert!(workspace.has_content("again"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_database_is_made_to_shrink() {
    let workspace = Workspace::open(nothing_goes());
    let id = workspace.run("quick", json!("x".repeat(100_000))).await;
    let mode = |database: &Path| {
        let connection = Connection::open(database).unwrap();
        connection.pragma_query_value(None, "auto_vacuum", |row| row.get::<_, i64>(0)).unwrap()
    };
    let workspace = workspace
        .reopen_after(|database| {
            Connection::open(database).unwrap().execute_batch("PRAGMA auto_vacuum = NONE; VACUUM").unwrap();
            assert_eq!(mode(database), 0);
        })
        .await;
    assert_eq!(workspace.engine.execution(&id).await.unwrap()["status"], "ENDED_SUCCESS");
    assert_eq!(mode(&workspace.folder.path().join("surefoot.db")), 2);
}

/// Lists look at what is not in the trash by index, and the order of going is one.
#[tokio::test(flavor = "multi_thread")]
async fn lists_do_not_wade_through_the_trash() {
    let workspace = Workspace::open(nothing_goes());
    let plan = |sql: &str| {
        let explain = format!("EXPLAIN QUERY PLAN {sql}");
        let read = |connection: &Connection| {
            let mut statement = connection.prepare(&explain)?;
            let lines = statement.query_map([], |row| row.get::<_, String>(3))?.collect::<Result<Vec<_>, _>>()?;
            Ok(lines.join("; "))
        };
        workspace.engine.core.readers.read(read).unwrap()
    };
    for (field, index) in [("status", "executions_status"), ("flow_id", "executions_flow")] {
        let filter = json!({"field": field, "op": "eq", "value": "x"});
        let query = QueryCall { kind: "execution".into(), filter: Some(filter), ..QueryCall::default() };
        let planned = crate::query::plan(&query.parse().unwrap());
        let sql = format!("SELECT id FROM executions {}", planned.sql).replace("?1", "'x'");
        assert!(plan(&sql).contains(index), "{sql}: {}", plan(&sql));
    }
    let count = plan("SELECT count(*) FROM executions WHERE deleted_at IS NULL");
    assert!(count.contains("COVERING INDEX"), "{count}");
}

/// Without the hurry the oldest would go no faster than new ones come, and it would never be below.
#[tokio::test(flavor = "multi_thread")]
async fn callers_who_never_pause_do_not_keep_the_database_above_its_limit() {
    const CALLERS: usize = 16;
    let workspace = Workspace::open(nothing_goes());
    let first = workspace.run("quick", json!("x".repeat(200))).await;
    let mut workspace = workspace.reopen_after(|database| multiply(database, &first, 3_000)).await;
    let last_copy = newest(&workspace);
    let limit = storage(&workspace, "").await.database_used_bytes / 2;
    workspace.config.retention =
        Retention { bytes_max: Some(limit), hurry_after: Duration::from_millis(100), ..nothing_goes() };
    let workspace = workspace.reopen_after(|_| ()).await;
    let caller = async || {
        loop {
            workspace.run("quick", json!("x".repeat(200))).await;
        }
    };
    let callers = futures::future::join_all(std::iter::repeat_with(caller).take(CALLERS));
    let is_below = async || workspace.engine.core.readers.read(sizes::used_bytes).unwrap() <= limit;
    tokio::select! {
        _ = callers => unreachable!("callers do not stop"),
        () = workspace.until("the database is below its limit", is_below) => {}
    }
    assert!(newest(&workspace) > last_copy, "executions came meanwhile");
    assert!(oldest(&workspace) > 1, "the oldest went first");
}

/// A million ended executions (`SUREFOOT_ENDED_EXECUTIONS`), and live ones as fast as one caller can start them until
/// the last of the million has gone; then what came meanwhile goes too. Says how long live ones took before, meanwhile
/// and after, how long it took until all was gone, and how big the file was.
#[tokio::test(flavor = "multi_thread")]
async fn soak_many_ended_executions_go_while_live_ones_go_on() {
    const KEPT: u64 = 100;
    let count = std::env::var("SUREFOOT_ENDED_EXECUTIONS")
        .map_or(3_000, |count| count.parse::<u32>().expect("SUREFOOT_ENDED_EXECUTIONS is a number"));
    // Two hundred a second must go, whatever machine this is.
    let patience = PATIENCE + Duration::from_millis(5) * count;
    let workspace = Workspace::open(nothing_goes());
    let first = workspace.run("quick", json!("x".repeat(200))).await;
    workspace.advance(DAY);
    let mut workspace = workspace.reopen_after(|database| multiply(database, &first, count)).await;
    let before = storage(&workspace, "before").await;
    assert_eq!(before.executions_ended, u64::from(count) + 1);
    let last_copy = newest(&workspace);
    live(&workspace, "before", async || true).await;

    workspace.config.retention =
        Retention { executions_max: Some(KEPT), trash_age: Some(Duration::ZERO), ..nothing_goes() };
    let workspace = workspace.reopen_after(|_| ()).await;
    let began = Instant::now();
    let copies_are_gone = async || oldest(&workspace) > last_copy;
    let came = tokio::time::timeout(patience, live(&workspace, "meanwhile", copies_are_gone)).await;
    let came = came.expect("the copies go while executions come");
    eprintln!("{count} ended executions went in {:.1?}, and {came} came meanwhile", began.elapsed());
    storage(&workspace, "when the last of them had gone").await;
    // A bound that costs nothing comes first: counting takes a while.
    let few_are_left = async || {
        workspace.engine.core.readers.read(sizes::numbers_span).unwrap() < 2 * KEPT
            && storage(&workspace, "").await.executions_ended <= KEPT
    };
    workspace.until_within(patience, "few are left of what came meanwhile", few_are_left).await;
    eprintln!("all but {KEPT} had gone after {:.1?}", began.elapsed());
    live(&workspace, "after", async || true).await;
    let before = before.database_bytes;
    // A free page in 16 stays, and a few more.
    let is_small = async || workspace.engine.storage().await.unwrap().database_bytes < before / 4 + (3 << 19);
    workspace.until_within(patience, "the file has shrunk", is_small).await;
    storage(&workspace, "after").await;
}

/// The number of the execution that came first among those that are there.
fn oldest(workspace: &Workspace) -> i64 {
    let readers = &workspace.engine.core.readers;
    readers.read(|c| Ok(c.query_row("SELECT min(rowid) FROM executions", [], |row| row.get(0))?)).unwrap()
}

/// The number of the one that came last.
fn newest(workspace: &Workspace) -> i64 {
    workspace.engine.core.readers.read(sizes::newest_number).unwrap()
}

/// Copies of an execution with its journal and a line of log, by SQL.
fn multiply(database: &Path, id: &str, count: u32) {
    let connection = Connection::open(database).unwrap();
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    let key = executions::key_of(&connection, id).unwrap().unwrap();
    let rows = journal::row_ids(&connection, key).unwrap().len();
    connection
        .execute_batch(&format!(
            "BEGIN;
             CREATE TEMP TABLE numbers AS
                 WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count}) SELECT n FROM n;
             CREATE TEMP TABLE one AS SELECT * FROM executions WHERE rowid = {key};
             CREATE TEMP TABLE lines AS SELECT row_number() OVER (ORDER BY id) AS line, records FROM journal
                 WHERE execution = {key};
             INSERT INTO journal (id, execution, previous, records)
                 SELECT 1000 + n * {rows} + line, {key} + n, CASE WHEN line > 1 THEN 999 + n * {rows} + line END,
                     records
                 FROM numbers, lines ORDER BY n, line;
             INSERT INTO logs SELECT {key} + n, 0, 0, 0, 'info', 'log', 'a line', 'null' FROM numbers;
             INSERT INTO executions (rowid, id, type, name, status, flow_id, version, created_at, created_by,
                 started_at,
                     ended_at, input, output, journal_tail)
                 SELECT {key} + n, printf('copy-%09d', n), type, name, status, flow_id, version, created_at + n,
                     created_by, started_at, ended_at + n, input, output, 1000 + n * {rows} + {rows}
                 FROM numbers, one ORDER BY n;
             COMMIT;",
            key = key.0
        ))
        .unwrap();
    let copy = executions::key_of(&connection, "copy-000000002").unwrap().unwrap();
    assert_eq!(journal::read(&connection, copy).unwrap(), journal::read(&connection, key).unwrap());
}

async fn storage(workspace: &Workspace, when: &str) -> crate::Storage {
    let storage = workspace.engine.storage().await.unwrap();
    if !when.is_empty() {
        let (bytes, used) = (storage.database_bytes >> 20, storage.database_used_bytes >> 20);
        eprintln!("{when}: {bytes} MB, of them {used} MB in use");
    }
    storage
}

/// Runs live executions one after the other, at least 200, until that is so, and says how long they took. Returns how
/// many there were.
async fn live(workspace: &Workspace, when: &str, until: impl AsyncFn() -> bool) -> usize {
    let began = Instant::now();
    let mut durations = Vec::new();
    while durations.len() < 200 || !until().await {
        let one = Instant::now();
        workspace.run("quick", json!(1)).await;
        durations.push(one.elapsed());
        workspace.advance(Duration::from_secs(1));
    }
    durations.sort_unstable();
    let at = |percent: usize| durations[(durations.len() - 1) * percent / 100];
    eprintln!(
        "{when}: {} live executions in {:.1?}: p50 {:.1?}, p99 {:.1?}, max {:.1?}",
        durations.len(),
        began.elapsed(),
        at(50),
        at(99),
        at(100)
    );
    durations.len()
}
