//! Restarts from a call in a running engine, with small built-in flows and a connector that counts.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, Inputs};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::core::{CommitMoment, Config, lock};
use crate::engine::{Engine, EngineError, EngineResult, StartRequest, WriterMode};
use crate::journal::{CallKind, HostError};
use crate::native::NativeFlow;
use crate::people::{Rights, Role};
use crate::query::Kind;
use crate::restarts::RestartVersion;
use crate::scenarios::{PATIENCE, ended, flow, start, until};
use crate::session::{Asking, ConnectionOptions, End, EndAction, QueryCall, ReturnWhen, Session};
use crate::store::Refusal;
use crate::store::executions::{self, Key};
use crate::store::{journal, records};

/// What happened outside, and what is held back there.
#[derive(Default)]
struct Outside {
    /// How often each thing was done.
    done: Mutex<BTreeMap<String, u32>>,
    /// What was done last.
    began: Notify,
    /// Lets calls end that hold, those of a process that is gone too.
    go_on: CancellationToken,
}

impl Outside {
    fn done(&self) -> BTreeMap<String, u32> {
        lock(&self.done).clone()
    }

    fn times(&self, what: &str) -> u32 {
        self.done().get(what).copied().unwrap_or_default()
    }

    fn note(&self, what: &str) {
        *lock(&self.done).entry(what.to_owned()).or_default() += 1;
        self.began.notify_one();
    }
}

/// A connector that notes what it does, and may hold there.
struct Count(Arc<Outside>);

#[async_trait]
impl Connector for Count {
    fn type_name(&self) -> &'static str {
        "count"
    }

    fn description(&self) -> &'static str {
        "Notes what it does."
    }

    fn input_schema(&self) -> Value {
        json!({"type": "object", "additionalProperties": false, "properties": {
            "what": {"type": "string"}, "effect": {"type": "string"}, "holds": {"type": "boolean"},
        }})
    }

    fn output_schema(&self) -> Value {
        json!({})
    }

    fn effect(&self, inputs: &Inputs) -> Effect {
        if inputs.get("effect") == Some(&json!("read")) { Effect::Read } else { Effect::Write }
    }

    async fn call(&self, _context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        self.0.note(inputs["what"].as_str().unwrap_or_default());
        if inputs.get("holds") == Some(&json!(true)) {
            self.0.go_on.cancelled().await;
        }
        Ok(inputs["what"].clone())
    }
}

type Flows = Vec<(&'static str, Arc<dyn NativeFlow>)>;

fn open_with(folder: &Path, outside: &Arc<Outside>, flows: Flows, configure: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new(folder);
    config.idle_before_parking = Duration::from_millis(20);
    configure(&mut config);
    let flows = flows.into_iter().map(|(name, flow)| (name.to_owned(), flow)).collect();
    Engine::open_with(config, vec![Arc::new(Count(outside.clone()))], flows, WriterMode::Thread).unwrap()
}

fn open(folder: &Path, outside: &Arc<Outside>, flows: Flows) -> Engine {
    open_with(folder, outside, flows, |_| ())
}

/// Starts a call of the connector.
async fn begin(session: &Session, what: &str, effect: &str, holds: bool) -> Result<String, End> {
    let inputs = json!({"what": what, "effect": effect, "holds": holds});
    let inputs = inputs.as_object().cloned().unwrap_or_default();
    Ok(session.start_connection("type:count", inputs, ConnectionOptions::default()).await?.unwrap())
}

async fn await_one(session: &Session, id: String) -> Result<Value, End> {
    match session.wait(&[id], ReturnWhen::AllSucceeded, None).await? {
        Ok(ended) => Ok(ended[0].output.value().into_owned()),
        Err(error) => Err(End::Error("wrong".into(), error.to_string())),
    }
}

async fn restart(engine: &Engine, id: &str, from: u32) -> EngineResult<String> {
    engine.restart(id, from, RestartVersion::Same, "test").await
}

#[track_caller]
fn refusal<T: std::fmt::Debug>(result: EngineResult<T>) -> Refusal {
    match result {
        Err(EngineError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

/// Why it is refused because of what there is.
#[track_caller]
fn conflict<T: std::fmt::Debug>(result: EngineResult<T>) -> String {
    match refusal(result) {
        Refusal::Conflict(text) => text,
        other => panic!("{other:?}"),
    }
}

async fn journal_of(engine: &Engine, id: &str) -> Vec<Value> {
    engine.journal(id).await.unwrap()
}

/// The records of the calls before number `before`, without their places.
fn records_before(journal: &[Value], before: u32) -> Vec<Value> {
    let of_calls = journal.iter().filter(|record| record["call"].as_u64().is_some_and(|n| n < u64::from(before)));
    let without_place = of_calls.cloned().map(|mut record| {
        record.as_object_mut().unwrap().remove("seq");
        record
    });
    without_place.collect()
}

async fn messages(engine: &Engine, id: &str) -> Vec<String> {
    engine.log(id, None, 1000).await.unwrap().into_iter().map(|line| line.message).collect()
}

/// Every sort of call. What it gives depends on all of them.
async fn rich(session: Arc<Session>) -> Result<Value, End> {
    let log = |text: &str| session.log("info", "log", text, Value::Null);
    log("at first")?;
    let name = session.get("name").await?.unwrap(); // 0
    let mut random = [0; 8];
    session.random_bytes(&mut random);
    let first = begin(&session, "first", "write", false).await?; // 1
    let first = await_one(&session, first).await?; // 2
    log("after the first write")?;
    let count = session.record_get("setting", "count").await?.unwrap().unwrap_or_default(); // 3
    let count = count["value"].as_u64().unwrap_or_default() + 1;
    let fields = json!({"value": count}).as_object().cloned().unwrap_or_default();
    session.record_save("setting", "count", fields).await?.unwrap(); // 4
    let read = begin(&session, "read", "read", false).await?; // 5
    let late = begin(&session, "late", "write", false).await?; // 6
    let child = session.start_flow("native:child", json!({"of": name}), None, false).await?.unwrap(); // 7
    let read = await_one(&session, read).await?; // 8
    session.sleep(Duration::from_millis(30), None).await?; // 9
    let late = await_one(&session, late).await?; // 10
    let child = await_one(&session, child).await?; // 11
    let (_, signal, _) = session.wait_signal("go", Some(PATIENCE)).await?.unwrap(); // 12
    session.note(CallKind::Check, json!({"name": "fine", "outcome": "pass"}))?; // 13
    let asked = session.ask("sure", Asking { with_token: true, ..Asking::default() }).await?.unwrap(); // 14
    assert!(asked.token.is_some());
    let (_, answer, _) = session.wait_answer(&asked.id).await?.unwrap(); // 15
    let fields = json!({"value": "cleaned"});
    let action = EndAction::SaveRecord { kind: "setting".into(), key: "mark".into(), fields };
    session.on_end(action).await?.unwrap(); // 16
    session.file_write("report", Bytes::from("all is well")).await?.unwrap(); // 17
    let report = session.file_read("report", 4, 100).await?.unwrap(); // 18
    log("before the last write")?;
    let last = begin(&session, "last", "write", false).await?; // 19
    let last = await_one(&session, last).await?; // 20
    log("at last")?;
    session.set_output("named", json!("output"))?;
    let report = String::from_utf8_lossy(&report).into_owned();
    Ok(json!({"all": [random, first, read, late, child, signal, answer, report, last]}))
}

/// The calls of [`rich`].
const CALLS: u32 = 21;

fn rich_flows(outside: &Arc<Outside>) -> Flows {
    let child = outside.clone();
    let child = flow(move |_, input| {
        child.note("child");
        async move { Ok(input) }
    });
    vec![("rich", flow(|session, _| async move { rich(session).await })), ("child", child)]
}

/// Gives it the signal and the answer that it waits for, if it does: it may have ended already.
async fn answer(engine: &Engine, id: &str) {
    for (name, payload) in [("go", "gone"), ("sure", "yes")] {
        match engine.signal(id, name, json!(payload), "test", None).await {
            Ok(_) | Err(EngineError::Refused(Refusal::Conflict(_))) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// What [`rich`] does outside with each call, and which calls it cannot be restarted after.
fn outside_at(call: u32) -> Option<&'static str> {
    match call {
        1 => Some("first"),
        5 => Some("read"),
        6 => Some("late"),
        7 => Some("child"),
        19 => Some("last"),
        _ => None,
    }
}

/// Restarted from each of its calls, and what came of that from each call again: what was done before is not done
/// again, what comes from there on is, and what comes out is the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_from_any_call_does_what_comes_from_there_on_and_nothing_else() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), Arc::<Outside>::default());
    let engine = open(folder.path(), &outside, rich_flows(&outside));
    let mark = json!({"value": "untouched"}).as_object().cloned().unwrap();
    engine.save(Kind::Setting, "mark", mark, "test").await.unwrap();
    let first = start(&engine, "rich", Value::Null).await;
    answer(&engine, &first).await;
    let row = ended(&engine, &first).await;
    assert_eq!(row["status"], "ENDED_SUCCESS", "{row}");
    assert_eq!((&row["restarted_from"], &row["restarted_from_call"]), (&Value::Null, &Value::Null));
    let mut tried = 0;
    let mut todo = vec![(first.clone(), 1)];
    while let Some((old, depth)) = todo.pop() {
        for from in 1..=CALLS {
            if depth == 2 && from % 3 != 0 {
                continue;
            }
            let new = check_restart(&engine, &outside, &old, from).await;
            if let Some(new) = new.filter(|_| depth == 1 && from % 4 == 2) {
                todo.push((new, 2));
            }
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried}");
    assert_eq!(engine.record(Kind::Setting, "mark").await.unwrap()["value"], "cleaned");
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
}

/// The new execution, unless it is refused, as it has to be between a question and its answer.
async fn check_restart(engine: &Engine, outside: &Outside, old: &str, from: u32) -> Option<String> {
    let before = outside.done();
    let count = engine.record(Kind::Setting, "count").await.unwrap();
    let restarted = restart(engine, old, from).await;
    if from == 15 {
        assert!(conflict(restarted).contains("call 14 asked a question"));
        return None;
    }
    let new = restarted.unwrap_or_else(|error| panic!("from {from}: {error}"));
    answer(engine, &new).await;
    let row = ended(engine, &new).await;
    assert_eq!(row["status"], "ENDED_SUCCESS", "from {from}: {row}");
    assert_eq!((&row["restarted_from"], &row["restarted_from_call"]), (&json!(old), &json!(from)));
    let old_row = engine.execution(old).await.unwrap();
    for same in ["output", "input", "version", "name", "flow_id"] {
        assert_eq!(row[same], old_row[same], "{same} from {from}");
    }
    for call in 0..CALLS {
        let Some(what) = outside_at(call) else { continue };
        let more = outside.times(what) - before[what];
        assert_eq!(more, u32::from(call >= from), "`{what}` of call {call}, restarted from {from}");
    }
    // Call 4 saves what call 3 read, and one more.
    let counted = engine.record(Kind::Setting, "count").await.unwrap();
    match from {
        ..=3 => assert_eq!(counted["value"].as_u64(), count["value"].as_u64().map(|count| count + 1), "from {from}"),
        4 => {}
        _ => assert_eq!(counted, count, "from {from}"),
    }
    assert_eq!(messages(engine, &new).await, messages(engine, old).await, "from {from}");
    let (journal, old_journal) = (journal_of(engine, &new).await, journal_of(engine, old).await);
    assert_eq!(records_before(&journal, from), records_before(&old_journal, from), "from {from}");
    assert_eq!(journal.last().unwrap()["call"], CALLS - 1);
    let last = journal[0]["taken_from"].as_array().unwrap().last().cloned();
    let of_old = journal_of(engine, old).await[0]["taken_from"].as_array().unwrap().clone();
    let within = of_old.iter().any(|origin| origin["before"].as_u64().unwrap() >= u64::from(from));
    assert!(within || last == Some(json!({"execution": old, "before": from})), "from {from}: {last:?}");
    Some(new)
}

/// What no call of an execution is, and what is no execution of a flow that has ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_restarted_is_refused_with_what_to_do() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), Arc::<Outside>::default());
    let idle = flow(|_, _| async move { Ok(Value::Null) });
    let waiter = flow(|session, _| async move {
        let _ = session.get("name").await?;
        let _ = session.wait_signal("never", None).await?;
        Ok(Value::Null)
    });
    let mut flows = rich_flows(&outside);
    flows.extend([("idle", idle), ("waiter", waiter)]);
    let engine = open(folder.path(), &outside, flows);
    let id = start(&engine, "rich", Value::Null).await;
    let still = conflict(restart(&engine, &id, 1).await);
    assert!(still.contains("has not ended") && still.contains("cancel it first"), "{still}");
    answer(&engine, &id).await;
    ended(&engine, &id).await;

    let invalid = |result| match refusal(result) {
        Refusal::Invalid(text) => text,
        other => panic!("{other:?}"),
    };
    let text = invalid(restart(&engine, &id, 0).await);
    assert!(text.contains("is a rerun"), "{text}");
    let text = invalid(restart(&engine, &id, CALLS + 1).await);
    assert!(text.contains(&format!("has no call {}: it can be restarted from call 1 to {CALLS}", CALLS + 1)), "{text}");
    let text = invalid(restart(&engine, &format!("{id}.5"), 1).await);
    assert!(text.contains(&format!("it is call 5 of execution {id}; restart that")), "{text}");
    assert!(matches!(refusal(restart(&engine, "nowhere", 1).await), Refusal::NotFound(_)));

    let idle = start(&engine, "idle", Value::Null).await;
    ended(&engine, &idle).await;
    let text = invalid(restart(&engine, &idle, 1).await);
    assert!(text.contains("no call") && text.contains("rerun it"), "{text}");

    let waits = start(&engine, "waiter", Value::Null).await;
    until(&engine, &waits, "WAITING").await;
    engine.cancel(&waits, "test").await.unwrap();
    ended(&engine, &waits).await;
    let text = invalid(restart(&engine, &waits, 2).await);
    assert!(text.contains("call 1 of execution") && text.contains("restart from call 1 at the latest"), "{text}");
    let again = restart(&engine, &waits, 1).await.unwrap();
    until(&engine, &again, "WAITING").await;

    let settings = json!({"value": {"cron": "0 0 1 1 *"}}).as_object().cloned().unwrap();
    engine.save(Kind::Setting, "yearly", settings, "test").await.unwrap();
    engine.save(Kind::Flow, "job", serde_json::Map::new(), "test").await.unwrap();
    let fields = json!({"scheduler_id": "cron", "setting_id": "yearly", "flow_id": "job", "is_enabled": true});
    engine.save(Kind::Schedule, "yearly", fields.as_object().cloned().unwrap(), "test").await.unwrap();
    let filter = json!({"field": "type", "op": "eq", "value": "SCHEDULE"});
    let query = QueryCall { kind: "execution".into(), filter: Some(filter), ..QueryCall::default() };
    let iteration = engine.query(query).await.unwrap().rows.pop().unwrap();
    let text = invalid(restart(&engine, iteration["id"].as_str().unwrap(), 1).await);
    assert!(text.contains("only executions of type FLOW"), "{text}");

    engine.delete(Kind::Execution, &id, false, "test").await.unwrap();
    let text = conflict(restart(&engine, &id, 1).await);
    assert!(text.contains("is in the trash; restore it first"), "{text}");
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
}

/// Nothing of the old one is needed any more: not its rows, not its journal, not the files that it read.
#[tokio::test(flavor = "multi_thread")]
async fn the_old_execution_may_go() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), Arc::<Outside>::default());
    let flows = || -> Flows {
        let reader = flow(|session, _| async move {
            let report = session.file_read("report", 0, 100).await?.unwrap();
            let id = begin(&session, "one", "write", false).await?;
            let child = session.start_flow("native:child", json!("mine"), None, false).await?.unwrap();
            let _ = session.wait_signal("go", None).await?;
            let one = await_one(&session, id).await?;
            let child = await_one(&session, child).await?;
            Ok(json!([String::from_utf8_lossy(&report), one, child]))
        });
        vec![("reader", reader), ("child", flow(|_, input| async move { Ok(input) }))]
    };
    let engine = open(folder.path(), &outside, flows());
    let content = futures::stream::once(async { Ok::<_, Infallible>(Bytes::from("kept")) });
    engine.put_file("report", content, "test").await.unwrap();
    let old = start(&engine, "reader", Value::Null).await;
    engine.signal(&old, "go", Value::Null, "test", None).await.unwrap();
    let output = ended(&engine, &old).await["output"].clone();
    let new = restart(&engine, &old, 3).await.unwrap();
    until(&engine, &new, "WAITING").await;
    assert!(engine.delete(Kind::Execution, &old, true, "test").await.unwrap());
    let gone = async {
        while engine.execution(&old).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the old one goes");
    let reads = |connection: &rusqlite::Connection| {
        let key = executions::key_of(connection, &new)?.unwrap();
        let sql = "SELECT count(*) FROM content_reads WHERE execution = ?1";
        Ok(connection.query_row(sql, [key.0], |row| row.get::<_, i64>(0))?)
    };
    assert_eq!(engine.core.readers.read(reads).unwrap(), 1, "its content is named");
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
    let engine = open(folder.path(), &outside, flows());
    engine.signal(&new, "go", Value::Null, "test", None).await.unwrap();
    let row = ended(&engine, &new).await;
    assert_eq!(row["output"], output, "{row}");
    assert_eq!(outside.times("one"), 1);
    // And once more, of a child and a connection that are nowhere but in its journal.
    let third = restart(&engine, &new, 3).await.unwrap();
    engine.signal(&third, "go", Value::Null, "test", None).await.unwrap();
    assert_eq!(ended(&engine, &third).await["output"], output);
    assert_eq!(outside.times("one"), 1);
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
}

/// A call that is at work when its execution is cancelled ends later; until then nobody can take its result over.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_work_must_have_ended_and_is_not_done_again() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), Arc::<Outside>::default());
    let caller = flow(|session, _| async move {
        let id = begin(&session, "slow", "write", true).await?;
        let child = session.start_flow("native:child", Value::Null, None, true).await?.unwrap();
        let slow = await_one(&session, id).await?;
        let child = session.wait(&[child], ReturnWhen::AllEnded, Some(Duration::from_millis(5))).await?;
        Ok(json!([slow, matches!(child, Err(HostError::NotFound(_)))]))
    });
    let child = flow(|session, _| async move {
        let _ = session.wait_signal("end", None).await?;
        Ok(Value::Null)
    });
    let engine = open(folder.path(), &outside, vec![("caller", caller), ("child", child)]);
    let old = start(&engine, "caller", Value::Null).await;
    tokio::time::timeout(PATIENCE, outside.began.notified()).await.expect("it is called");
    let both = async {
        while journal_of(&engine, &old).await.iter().filter(|record| record["record"] == "call").count() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, both).await.expect("the child is started");
    engine.cancel(&old, "test").await.unwrap();
    ended(&engine, &old).await;
    let text = conflict(restart(&engine, &old, 2).await);
    assert!(text.contains("call 0 called `count`, and that has not ended yet"), "{text}");
    outside.go_on.cancel();
    let settled = async {
        while !journal_of(&engine, &old).await.iter().any(|record| record["record"] == "settled") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("its end is recorded");
    // The orphan is at work still, and it is nobody's: a wait for it says so.
    let new = restart(&engine, &old, 2).await.unwrap();
    assert_eq!(ended(&engine, &new).await["output"], json!(["slow", true]));
    assert_eq!(outside.times("slow"), 1);
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
}

/// A child that is at work is waited for by somebody, or ended, before its parent begins once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_has_not_ended_is_named() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), Arc::<Outside>::default());
    let parent = flow(|session, _| async move {
        let child = session.start_flow("native:child", Value::Null, None, false).await?.unwrap();
        if session.get("restarted_from").await?.unwrap().is_null() {
            return Err(End::Error("broken".into(), "at first".into()));
        }
        await_one(&session, child).await
    });
    let child = flow(|session, _| async move {
        let (_, payload, _) = session.wait_signal("end", None).await?.unwrap();
        Ok(payload)
    });
    let engine = open(folder.path(), &outside, vec![("parent", parent), ("child", child)]);
    let old = start(&engine, "parent", Value::Null).await;
    assert_eq!(ended(&engine, &old).await["error_code"], "broken");
    let filter = json!({"field": "parent_id", "op": "eq", "value": old});
    let query = QueryCall { kind: "execution".into(), filter: Some(filter), ..QueryCall::default() };
    let child = engine.query(query).await.unwrap().rows[0]["id"].as_str().unwrap().to_owned();
    let text = conflict(restart(&engine, &old, 1).await);
    assert!(text.contains("call 0 started the flow `child`") && text.contains(&child), "{text}");
    engine.signal(&child, "end", json!("done"), "test", None).await.unwrap();
    ended(&engine, &child).await;
    let new = restart(&engine, &old, 1).await.unwrap();
    assert_eq!(ended(&engine, &new).await["output"], "done", "what the old one's child returned");
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
}

/// Of a write that a crash cut in two nobody knows whether it happened: it is asked for again by name, or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_unknown_outcome_is_made_again_only_by_its_number() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), Arc::<Outside>::default());
    let flows = || -> Flows {
        let caller = flow(|session, _| async move {
            let _ = session.get("name").await?;
            let id = begin(&session, "once", "write", true).await?;
            await_one(&session, id).await
        });
        vec![("caller", caller)]
    };
    let engine = open(folder.path(), &outside, flows());
    let old = start(&engine, "caller", Value::Null).await;
    tokio::time::timeout(PATIENCE, outside.began.notified()).await.expect("it is called");
    engine.shutdown(Duration::ZERO).await.unwrap();
    let engine = open(folder.path(), &outside, flows());
    let row = ended(&engine, &old).await;
    assert!(row["error_message"].as_str().unwrap().contains("interrupted"), "{row}");
    let text = conflict(restart(&engine, &old, 2).await);
    assert!(text.contains("restart from call 1 to ask for it again"), "{text}");
    outside.go_on.cancel();
    let new = restart(&engine, &old, 1).await.unwrap();
    assert_eq!(ended(&engine, &new).await["output"], "once");
    assert_eq!(outside.times("once"), 2);
    let third = restart(&engine, &new, 2).await.unwrap();
    assert_eq!(ended(&engine, &third).await["output"], "once", "of the new one it is known");
    assert_eq!(outside.times("once"), 2);
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
}

/// Makes the calls, and fails after them unless they are `fixed`.
fn version(calls: &'static [&'static str], is_fixed: bool) -> Arc<dyn NativeFlow> {
    flow(move |session, _| async move {
        for what in calls {
            let id = begin(&session, what, "write", false).await?;
            await_one(&session, id).await?;
        }
        if is_fixed { Ok(json!("fixed")) } else { Err(End::Error("broken".into(), "not yet".into())) }
    })
}

async fn deploy(engine: &Engine, version: &'static str) {
    let core = engine.core.clone();
    let write = engine.write(move |connection| {
        let flow = records::get(connection, Kind::Flow, "job")?.unwrap();
        let stamp = core.stamp("test");
        records::set_computed(
            connection,
            Kind::Flow,
            flow["id"].as_str().unwrap(),
            &json!({ "version": version }),
            &stamp,
        )
    });
    write.await.unwrap();
}

/// Mend the flow, and go on from where it failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_goes_on_where_it_makes_the_same_calls() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), Arc::<Outside>::default());
    let flows: Flows = vec![
        ("broken", version(&["a", "b"], false)),
        ("mended", version(&["a", "b", "c"], true)),
        ("other", version(&["x", "b"], true)),
    ];
    let engine = open(folder.path(), &outside, flows);
    engine.save(Kind::Flow, "job", serde_json::Map::new(), "test").await.unwrap();
    deploy(&engine, "native:broken").await;
    let request = StartRequest { flow: "job".into(), by: "test".into(), ..StartRequest::default() };
    let (old, _) = engine.start(request).await.unwrap();
    assert_eq!(ended(&engine, &old).await["error_code"], "broken");
    deploy(&engine, "native:mended").await;

    let new = restart(&engine, &old, 2).await.unwrap();
    let row = ended(&engine, &new).await;
    assert_eq!((&row["version"], &row["error_code"]), (&json!("native:broken"), &json!("broken")));
    assert_eq!((outside.times("a"), outside.times("b")), (1, 2));

    let new = engine.restart(&old, 4, RestartVersion::Newest, "test").await.unwrap();
    let row = ended(&engine, &new).await;
    assert_eq!((&row["version"], &row["output"]), (&json!("native:mended"), &json!("fixed")), "{row}");
    assert_eq!((outside.times("a"), outside.times("b"), outside.times("c")), (1, 2, 1));

    deploy(&engine, "native:other").await;
    let new = engine.restart(&old, 4, RestartVersion::Newest, "test").await.unwrap();
    let row = ended(&engine, &new).await;
    assert_eq!(row["error_code"], "nondeterminism");
    let message = row["error_message"].as_str().unwrap();
    assert!(message.contains("call 0") && message.contains(r#""what":"a""#), "{message}");
    assert_eq!(outside.times("x"), 0);
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
}

/// Dies before the transaction or after it: there is no new execution, or a whole one that goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_the_restart_leaves_nothing_or_all_of_it() {
    for moment in [CommitMoment::Before, CommitMoment::After] {
        let (folder, outside) = (tempfile::tempdir().unwrap(), Arc::<Outside>::default());
        let is_armed = Arc::new(AtomicBool::new(false));
        let armed = is_armed.clone();
        let engine = open_with(folder.path(), &outside, rich_flows(&outside), |config| {
            config.dies_at = Some(Arc::new(move |now| now == moment && armed.load(Ordering::SeqCst)));
        });
        let old = start(&engine, "rich", Value::Null).await;
        answer(&engine, &old).await;
        let output = ended(&engine, &old).await["output"].clone();
        // Nothing else is to be committed.
        engine.write(|_| Ok(())).await.unwrap();
        is_armed.store(true, Ordering::SeqCst);
        assert!(restart(&engine, &old, 10).await.is_err(), "nobody is told");
        let _ = engine.shutdown(Duration::ZERO).await;

        let engine = open(folder.path(), &outside, rich_flows(&outside));
        let filter = json!({"field": "restarted_from", "op": "eq", "value": old});
        let query = QueryCall { kind: "execution".into(), filter: Some(filter), ..QueryCall::default() };
        let rows = engine.query(query).await.unwrap().rows;
        assert_eq!(rows.len(), usize::from(moment == CommitMoment::After));
        if let Some(row) = rows.first() {
            let id = row["id"].as_str().unwrap();
            answer(&engine, id).await;
            assert_eq!(ended(&engine, id).await["output"], output);
            assert_eq!((outside.times("late"), outside.times("last")), (1, 2));
        }
        engine.shutdown(Duration::from_secs(5)).await.unwrap();
    }
}

/// What somebody did stands in the audit log, with the execution that they did it to; and what they began acts as they
/// may, whoever began what was before.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_that_of_who_asks_for_it() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), Arc::<Outside>::default());
    let engine = open(folder.path(), &outside, rich_flows(&outside));
    let id = start(&engine, "rich", Value::Null).await;
    answer(&engine, &id).await;
    ended(&engine, &id).await;
    let rights = Rights::new(Some(Role::Author), BTreeMap::from([("nowhere".to_owned(), Role::Viewer)]));
    let of_ada = engine.on_behalf(rights, Role::Operator);
    let new = of_ada.restart(&id, CALLS, RestartVersion::Same, "user ada").await.unwrap();
    assert_eq!(ended(&engine, &new).await["status"], "ENDED_SUCCESS", "nothing was left but to return");
    let query = QueryCall { kind: "audit".into(), ..QueryCall::default() };
    let entries = engine.query(query).await.unwrap().rows;
    let entry = entries.iter().find(|entry| entry["action"] == "restart").expect("it is there");
    assert_eq!((&entry["record_id"], &entry["created_by"]), (&json!(id), &json!("user ada")));
    let (old, new) = (journal_of(&engine, &id).await, journal_of(&engine, &new).await);
    assert!(new[0]["acts_as"].to_string().contains("nowhere"), "{}", new[0]);
    assert!(!old[0]["acts_as"].to_string().contains("nowhere"), "{}", old[0]);
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
}

/// A journal that cannot be read is nobody's beginning.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_journal_is_refused() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), Arc::<Outside>::default());
    let engine = open(folder.path(), &outside, rich_flows(&outside));
    let id = start(&engine, "rich", Value::Null).await;
    answer(&engine, &id).await;
    ended(&engine, &id).await;
    let owned = id.clone();
    let damage = engine.write(move |connection| {
        let key: Key = executions::key_of(connection, &owned)?.unwrap();
        let row = journal::row_ids(connection, key)?[3];
        connection.execute("UPDATE journal SET records = x'02c1' WHERE id = ?1", [row])?;
        Ok(())
    });
    damage.await.unwrap();
    let text = conflict(restart(&engine, &id, 2).await);
    assert!(text.contains("cannot be read") && text.contains("rerun it from its beginning"), "{text}");
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
}
