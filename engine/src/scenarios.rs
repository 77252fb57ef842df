//! Single behaviours of the engine, each with a small built-in flow, on the machine's clock.

mod locks;
mod places;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::core::Config;
use crate::engine::{Engine, EngineError, StartRequest, WriterMode};
use crate::journal::HostError;
use crate::native::NativeFlow;
use crate::query::Kind;
use crate::session::{End, EndAction, ReturnWhen, Session};
use crate::store::executions::Key;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

type Running = Pin<Box<dyn Future<Output = Result<Value, End>> + Send>>;

struct Program<F>(F);

#[async_trait]
impl<F: Fn(Arc<Session>, Value) -> Running + Send + Sync + 'static> NativeFlow for Program<F> {
    async fn run(&self, session: Arc<Session>, input: Value) -> Result<Value, End> {
        (self.0)(session, input).await
    }
}

pub(crate) fn flow<R: Future<Output = Result<Value, End>> + Send + 'static>(
    run: impl Fn(Arc<Session>, Value) -> R + Send + Sync + 'static,
) -> Arc<dyn NativeFlow> {
    Arc::new(Program(move |session, input| -> Running { Box::pin(run(session, input)) }))
}

pub(crate) fn open(folder: &Path, flows: Vec<(&str, Arc<dyn NativeFlow>)>) -> Engine {
    open_with(folder, flows, |_| ())
}

pub(crate) fn open_with(
    folder: &Path,
    flows: Vec<(&str, Arc<dyn NativeFlow>)>,
    configure: impl FnOnce(&mut Config),
) -> Engine {
    let mut config = Config::new(folder);
    config.idle_before_parking = Duration::from_millis(20);
    configure(&mut config);
    let flows = flows.into_iter().map(|(name, flow)| (name.to_owned(), flow)).collect();
    Engine::open_with(config, Vec::new(), flows, WriterMode::Thread).expect("the workspace opens")
}

pub(crate) async fn start(engine: &Engine, flow: &str, input: Value) -> String {
    let request = StartRequest { flow: format!("native:{flow}"), input, by: "test".into(), ..StartRequest::default() };
    engine.start(request).await.expect("the flow starts").0
}

pub(crate) async fn ended(engine: &Engine, id: &str) -> Value {
    engine.wait_ended(id, Some(PATIENCE)).await.expect("the execution is there").expect("the execution ends")
}

pub(crate) async fn until(engine: &Engine, id: &str, status: &str) {
    let mut changes = engine.changes();
    let wait = async {
        while engine.execution(id).await.expect("the execution is there")["status"] != status {
            let _ = tokio::time::timeout(Duration::from_millis(100), changes.recv()).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{id} never got the status {status}"));
}

pub(crate) async fn reopen(engine: Engine, folder: &Path, flows: Vec<(&str, Arc<dyn NativeFlow>)>) -> Engine {
    engine.shutdown(Duration::from_secs(5)).await.expect("the engine stops");
    open(folder, flows)
}

/// Sleeps, then makes a call that depends on what the test says: code changed under its journal.
fn sleeper(first: &'static str) -> Arc<dyn NativeFlow> {
    flow(move |session, _| async move {
        let _ = session.get(first).await?;
        session.sleep(Duration::from_millis(1500), None).await?;
        Ok(json!(first))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_code_is_refused_with_both_calls() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), vec![("sleeper", sleeper("name"))]);
    let id = start(&engine, "sleeper", Value::Null).await;
    until(&engine, &id, "WAITING").await;
    let engine = reopen(engine, folder.path(), vec![("sleeper", sleeper("created_at"))]).await;
    let row = ended(&engine, &id).await;
    assert_eq!((row["status"].as_str(), row["error_code"].as_str()), (Some("ENDED_ERROR"), Some("nondeterminism")));
    let message = row["error_message"].as_str().unwrap();
    assert!(
        message.contains(r#"recorded: get {"field":"name"}"#)
            && message.contains(r#"made now: get {"field":"created_at"}"#),
        "{message}"
    );
}

/// Nothing else happens to it for an hour.
#[tokio::test(flavor = "multi_thread")]
async fn who_follows_an_execution_hears_that_it_fell_asleep() {
    let folder = tempfile::tempdir().unwrap();
    let long = flow(|session, _| async move {
        session.sleep(Duration::from_secs(3600), None).await?;
        Ok(Value::Null)
    });
    let engine = open(folder.path(), vec![("long", long)]);
    let mut changes = engine.changes();
    let id = start(&engine, "long", Value::Null).await;
    let heard = async {
        loop {
            let change = changes.recv().await.expect("the engine is there");
            if change.execution_id == id && engine.execution(&id).await.unwrap()["status"] == "WAITING" {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("a change is told that shows it asleep");
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_code_that_ends_too_early_is_refused_with_the_call_it_did_not_make() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), vec![("sleeper", sleeper("name"))]);
    let id = start(&engine, "sleeper", Value::Null).await;
    until(&engine, &id, "WAITING").await;
    let hasty = flow(|session, _| async move {
        let _ = session.get("name").await?;
        Ok(json!("all good"))
    });
    let engine = reopen(engine, folder.path(), vec![("sleeper", hasty)]).await;
    let row = ended(&engine, &id).await;
    assert_eq!((row["status"].as_str(), row["error_code"].as_str()), (Some("ENDED_ERROR"), Some("nondeterminism")));
    assert!(row["error_message"].as_str().unwrap().contains(r#"recorded: sleep {"duration_ms":1500"#), "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_results_back_and_a_resume_delivers_them() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), vec![("sleeper", sleeper("name"))]);
    let id = start(&engine, "sleeper", Value::Null).await;
    until(&engine, &id, "WAITING").await;
    assert_eq!(engine.pause(&id, "test").await.unwrap()["status"], "PAUSED");
    assert!(
        matches!(engine.pause(&id, "test").await, Err(EngineError::Refused(_))),
        "a second pause has nothing to do"
    );
    let engine = reopen(engine, folder.path(), vec![("sleeper", sleeper("name"))]).await;
    assert!(
        engine.wait_ended(&id, Some(Duration::from_secs(2))).await.unwrap().is_none(),
        "it went on although it is paused"
    );
    engine.resume(&id, "test").await.unwrap();
    assert_eq!(ended(&engine, &id).await["status"], "ENDED_SUCCESS");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_a_sleeper_its_children_and_runs_its_end_actions() {
    let folder = tempfile::tempdir().unwrap();
    let parent = flow(|session, _| async move {
        let action =
            EndAction::SaveRecord { kind: "setting".into(), key: "mark".into(), fields: json!({"value": "cleaned"}) };
        let _ = session.on_end(action).await?;
        let child = session.start_flow("native:child", json!({}), None, false).await?.unwrap();
        let orphan = session.start_flow("native:child", json!({}), None, true).await?.unwrap();
        let _ = session.wait(&[child, orphan], ReturnWhen::AllEnded, None).await?;
        Ok(Value::Null)
    });
    let child = flow(|session, _| async move {
        session.sleep(Duration::from_secs(3), None).await?;
        Ok(Value::Null)
    });
    let engine = open(folder.path(), vec![("parent", parent), ("child", child)]);
    let mark = json!({"value": "untouched"});
    engine.save(Kind::Setting, "mark", mark.as_object().unwrap().clone(), "test").await.unwrap();
    let id = start(&engine, "parent", Value::Null).await;
    until(&engine, &id, "WAITING").await;
    engine.cancel(&id, "test").await.unwrap();
    assert_eq!(ended(&engine, &id).await["status"], "ENDED_CANCELLED");
    assert_eq!(engine.record(Kind::Setting, "mark").await.unwrap()["value"], "cleaned");
    let filter = json!({"field": "parent_id", "op": "eq", "value": id});
    let query = crate::session::QueryCall { kind: "execution".into(), filter: Some(filter), ..Default::default() };
    let mut ends = Vec::new();
    for row in engine.query(query).await.unwrap().rows {
        let row = ended(&engine, row["id"].as_str().unwrap()).await;
        ends.push((row["orphan"].as_bool().unwrap(), row["status"].as_str().unwrap().to_owned()));
    }
    ends.sort();
    assert_eq!(ends, [(false, "ENDED_CANCELLED".to_owned()), (true, "ENDED_SUCCESS".to_owned())]);
    assert!(
        matches!(engine.cancel(&id, "test").await, Err(EngineError::Refused(_))),
        "what has ended cannot be cancelled"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_come_before_or_during_the_wait_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let waiter = || {
        flow(|session, _| async move {
            let first = session.wait_signal("go", Some(PATIENCE)).await?.unwrap();
            let second = session.wait_signal("go", Some(PATIENCE)).await?.unwrap();
            let third = session.wait_signal("go", Some(Duration::from_millis(50))).await?;
            assert_eq!(third, Err(HostError::SignalTimeout("go".into())));
            Ok(json!([first.1, second.1]))
        })
    };
    let engine = open(folder.path(), vec![("waiter", waiter())]);
    let id = start(&engine, "waiter", Value::Null).await;
    engine.signal(&id, "go", json!(1), "test", Some("one".into())).await.unwrap();
    engine.signal(&id, "go", json!(9), "test", Some("one".into())).await.unwrap();
    let engine = reopen(engine, folder.path(), vec![("waiter", waiter())]).await;
    engine.signal(&id, "go", json!(2), "test", Some("two".into())).await.unwrap();
    assert_eq!(ended(&engine, &id).await["output"], json!([1, 2]));
    assert!(engine.signal(&id, "go", json!(3), "test", None).await.is_err(), "what has ended takes no signals");
}

#[tokio::test(flavor = "multi_thread")]
async fn continuing_as_new_takes_the_parents_wait_along() {
    let folder = tempfile::tempdir().unwrap();
    let counter = flow(|_, input| async move {
        match input["n"].as_u64().unwrap_or(0) {
            3 => Ok(json!("counted to 3")),
            n => Err(End::ContinueAsNew(json!({ "n": n + 1 }))),
        }
    });
    let parent = flow(|session, _| async move {
        let child = session.start_flow("native:counter", json!({"n": 0}), None, false).await?.unwrap();
        let ended = session.wait(&[child], ReturnWhen::AllSucceeded, None).await?.unwrap();
        Ok(ended[0].output.value().into_owned())
    });
    let engine = open(folder.path(), vec![("parent", parent), ("counter", counter)]);
    let id = start(&engine, "parent", Value::Null).await;
    assert_eq!(ended(&engine, &id).await["output"], "counted to 3");
    let id = start(&engine, "counter", json!({"n": 1})).await;
    assert_eq!(ended(&engine, &id).await["output"], "counted to 3", "who waits for the first gets the end of the last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_engine_ends_one_execution_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let panics =
        flow(|_, input| async move { if input["panic"] == true { panic!("on purpose") } else { Ok(json!("fine")) } });
    let engine = open(folder.path(), vec![("panics", panics)]);
    let (bad, good) =
        (start(&engine, "panics", json!({"panic": true})).await, start(&engine, "panics", json!({})).await);
    let row = ended(&engine, &bad).await;
    assert_eq!((row["status"].as_str(), row["error_code"].as_str()), (Some("ENDED_ERROR"), Some("internal")));
    assert_eq!(ended(&engine, &good).await["output"], "fine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_engine_on_the_workspace_says_who_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), Vec::new());
    let second = Engine::open(Config::new(folder.path()), Vec::new()).err().expect("the workspace is held");
    assert!(second.to_string().contains(&std::process::id().to_string()), "{second}");
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
    open(folder.path(), Vec::new()).shutdown(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_engine_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), Vec::new()).shutdown(Duration::from_secs(5)).await.unwrap();
    let database = folder.path().join("surefoot.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = std::fs::read(&database).unwrap();
    let error = Engine::open(Config::new(folder.path()), Vec::new()).err().expect("a newer format is refused");
    assert!(error.to_string().contains("newer"), "{error}");
    assert_eq!(std::fs::read(&database).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_commit_fails_its_batch_and_the_engine_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), vec![("sleeper", sleeper("name"))]);
    let id = start(&engine, "sleeper", Value::Null).await;
    until(&engine, &id, "WAITING").await;
    let broken = engine.core.writer.apply(crate::store::Urgency::Now, Key(0), |connection| {
        connection.execute("INSERT INTO no_such_table VALUES (1)", [])
    });
    assert!(broken.done().await.is_err(), "what was not committed is not answered as done");
    let recovered = async {
        loop {
            let request = StartRequest { flow: "native:sleeper".into(), by: "test".into(), ..StartRequest::default() };
            match engine.start(request).await {
                Ok((second, _)) => return second,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let second = tokio::time::timeout(PATIENCE, recovered).await.expect("the engine recovers");
    for id in [id, second] {
        assert_eq!(ended(&engine, &id).await["status"], "ENDED_SUCCESS");
    }
    assert!(!engine.is_degraded());
}

/// A connector that answers after a while, and counts what it did.
struct Slow(Arc<std::sync::atomic::AtomicU32>);

#[async_trait]
impl surefoot_connector_api::Connector for Slow {
    fn type_name(&self) -> &'static str {
        "slow"
    }

    fn description(&self) -> &'static str {
        "Answers after a while."
    }

    fn input_schema(&self) -> Value {
        json!({"type": "object", "additionalProperties": false, "properties": {"panic": {"type": "boolean"}}})
    }

    fn output_schema(&self) -> Value {
        json!({})
    }

    fn effect(&self, _inputs: &surefoot_connector_api::Inputs) -> surefoot_connector_api::Effect {
        surefoot_connector_api::Effect::Write
    }

    async fn call(
        &self,
        _context: &surefoot_connector_api::CallContext<'_>,
        inputs: surefoot_connector_api::Inputs,
    ) -> Result<Value, surefoot_connector_api::CallError> {
        assert!(inputs.get("panic") != Some(&json!(true)), "a connector's own mistake");
        let times = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(json!(times))
    }
}

fn open_with_slow(folder: &Path, count: &Arc<std::sync::atomic::AtomicU32>) -> Engine {
    let caller = flow(|session, input| async move {
        let inputs = input.as_object().cloned().unwrap_or_default();
        let id =
            session.start_connection("type:slow", inputs, crate::session::ConnectionOptions::default()).await?.unwrap();
        let ended = session.wait(&[id], ReturnWhen::AllEnded, None).await?.unwrap();
        Ok(json!([ended[0].code, ended[0].output]))
    });
    let flows = vec![("caller".to_owned(), caller)];
    Engine::open_with(Config::new(folder), vec![Arc::new(Slow(count.clone()))], flows, WriterMode::Thread).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_ends_while_the_store_is_down_is_recorded_and_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let count = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let engine = open_with_slow(folder.path(), &count);
    let id = start(&engine, "caller", json!({})).await;
    let called = async {
        while count.load(std::sync::atomic::Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, called).await.expect("the connector is called");
    let broken = engine.core.writer.apply(crate::store::Urgency::Now, Key(0), |connection| {
        connection.execute("INSERT INTO no_such_table VALUES (1)", [])
    });
    assert!(broken.done().await.is_err());
    assert_eq!(ended(&engine, &id).await["output"], json!(["", 1]), "the result of the one performance");
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_panics_fails_its_call_only() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open_with_slow(folder.path(), &Arc::default());
    let id = start(&engine, "caller", json!({"panic": true})).await;
    assert_eq!(ended(&engine, &id).await["output"], json!(["unknown_outcome", null]));
}

#[tokio::test(flavor = "multi_thread")]
async fn end_actions_go_along_when_an_execution_continues_as_new() {
    let folder = tempfile::tempdir().unwrap();
    let counter = flow(|session, input| async move {
        if input["n"] == 0 {
            let action = EndAction::SaveRecord {
                kind: "setting".into(),
                key: "mark".into(),
                fields: json!({"value": "cleaned"}),
            };
            let _ = session.on_end(action).await?;
            return Err(End::ContinueAsNew(json!({"n": 1})));
        }
        let mark = session.record_get("setting", "mark").await?.unwrap().unwrap_or_default();
        Ok(mark["value"].clone())
    });
    let engine = open(folder.path(), vec![("counter", counter)]);
    let mark = json!({"value": "untouched"});
    engine.save(Kind::Setting, "mark", mark.as_object().unwrap().clone(), "test").await.unwrap();
    let id = start(&engine, "counter", json!({"n": 0})).await;
    assert_eq!(ended(&engine, &id).await["output"], "untouched", "not before the last has ended");
    assert_eq!(engine.record(Kind::Setting, "mark").await.unwrap()["value"], "cleaned");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_id_belongs_to_one_execution() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), vec![("sleeper", sleeper("name"))]);
    let (first, second) = (start(&engine, "sleeper", Value::Null).await, start(&engine, "sleeper", Value::Null).await);
    engine.signal(&first, "go", json!(1), "test", Some("one".into())).await.unwrap();
    let refused = engine.signal(&second, "go", json!(1), "test", Some("one".into())).await;
    assert!(matches!(refused, Err(EngineError::Refused(_))), "{refused:?}");
}

/// What is about people is nothing that a flow sees or changes, whoever started it.
#[tokio::test(flavor = "multi_thread")]
async fn flows_have_no_access_to_tokens_and_the_audit_log() {
    let burglar = flow(|session, _| async move {
        let mut refusals = Vec::new();
        for kind in ["token", "audit"] {
            let query = crate::session::QueryCall { kind: kind.into(), ..Default::default() };
            refusals.push(session.record_query(&query).await?.err());
            refusals.push(session.record_get(kind, "mine").await?.err());
            refusals.push(session.record_delete(kind, "mine", true).await?.err());
            let fields = serde_json::Map::from_iter([("role".to_owned(), json!("admin"))]);
            refusals.push(session.record_save(kind, "mine", fields.clone()).await?.err());
            let save = EndAction::SaveRecord { kind: kind.into(), key: "mine".into(), fields: Value::Object(fields) };
            refusals.push(session.on_end(save).await?.err());
            let delete = EndAction::DeleteRecord { kind: kind.into(), key: "mine".into() };
            refusals.push(session.on_end(delete).await?.err());
        }
        let invalid = |refusal: &Option<HostError>| matches!(refusal, Some(HostError::InvalidInput(_)));
        Ok(json!({ "tried": refusals.len(), "refused": refusals.iter().filter(|one| invalid(one)).count() }))
    });
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), vec![("burglar", burglar)]);
    let role = serde_json::Map::from_iter([("role".to_owned(), json!("viewer"))]);
    let (record, token) = engine.create_token("mine", role, "test").await.unwrap();
    let id = start(&engine, "burglar", Value::Null).await;
    assert_eq!(ended(&engine, &id).await["output"], json!({ "tried": 12, "refused": 12 }));
    assert_eq!(engine.record(Kind::Token, "mine").await.unwrap(), record);
    assert!(engine.token_for_call(&token).unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn input_that_no_reader_could_read_again_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), vec![("sleeper", sleeper("name"))]);
    let deep = (0..120).fold(Value::Null, |inner, _| json!([inner]));
    let request = StartRequest {
        flow: "native:sleeper".into(),
        input: deep.clone(),
        by: "test".into(),
        ..StartRequest::default()
    };
    assert!(matches!(engine.start(request).await, Err(EngineError::Refused(_))));
    let setting = json!({ "value": deep });
    assert!(engine.save(Kind::Setting, "deep", setting.as_object().unwrap().clone(), "test").await.is_err());
    let wide: Vec<Value> = (0..500).map(|_| json!({"and": []})).collect();
    let query = crate::session::QueryCall {
        kind: "execution".into(),
        filter: Some(json!({ "or": wide })),
        ..Default::default()
    };
    assert!(matches!(engine.query(query).await, Err(EngineError::Refused(_))));
}

/// Gives back much, once it may.
struct Bulky {
    may_end: Arc<tokio::sync::Semaphore>,
    count: Arc<std::sync::atomic::AtomicU32>,
}

/// More of these than a run keeps in memory after a wait has returned them.
const BULKY_CALLS: u32 = 20;

#[async_trait]
impl surefoot_connector_api::Connector for Bulky {
    fn type_name(&self) -> &'static str {
        "bulky"
    }

    fn description(&self) -> &'static str {
        "Gives back much, once it may."
    }

    fn input_schema(&self) -> Value {
        json!({"type": "object", "additionalProperties": false})
    }

    fn output_schema(&self) -> Value {
        json!({})
    }

    fn effect(&self, _inputs: &surefoot_connector_api::Inputs) -> surefoot_connector_api::Effect {
        surefoot_connector_api::Effect::Read
    }

    async fn call(
        &self,
        _context: &surefoot_connector_api::CallContext<'_>,
        _inputs: surefoot_connector_api::Inputs,
    ) -> Result<Value, surefoot_connector_api::CallError> {
        self.count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        drop(self.may_end.acquire().await);
        Ok("x".repeat(1 << 20).into())
    }
}

/// Starts calls, makes others, and only then waits. A journal is read in pieces: `before` moves where one ends.
fn bulky_flow(may_end: Arc<tokio::sync::Semaphore>) -> Arc<dyn NativeFlow> {
    flow(move |session, before| {
        let may_end = may_end.clone();
        async move {
            for _ in 0..before.as_u64().unwrap() {
                let _ = session.get("name").await?;
            }
            let mut ids = Vec::new();
            for _ in 0..BULKY_CALLS {
                let options = crate::session::ConnectionOptions::default();
                ids.push(session.start_connection("type:bulky", serde_json::Map::new(), options).await?.unwrap());
            }
            for _ in 0..3 {
                let _ = session.get("name").await?;
            }
            may_end.add_permits(BULKY_CALLS as usize);
            let ended = session.wait(&ids, ReturnWhen::AllEnded, None).await?.unwrap();
            let _ = session.wait_signal("go", None).await?;
            Ok(ended.len().into())
        }
    })
}

/// What was returned by a wait and has left the memory since is not taken for what has not ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_performs_nothing_again_that_a_wait_returned_and_the_memory_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (may_end, count) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::default());
    let open = || {
        let bulky = Bulky { may_end: may_end.clone(), count: Arc::clone(&count) };
        let flows = vec![("bulky".to_owned(), bulky_flow(may_end.clone()))];
        Engine::open_with(Config::new(folder.path()), vec![Arc::new(bulky)], flows, WriterMode::Thread).unwrap()
    };
    let engine = open();
    let mut ids = Vec::new();
    for before in 248..256 {
        ids.push(start(&engine, "bulky", json!(before)).await);
    }
    for id in &ids {
        until(&engine, id, "WAITING").await;
    }
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
    let engine = open();
    for id in &ids {
        engine.signal(id, "go", Value::Null, "test", None).await.unwrap();
        assert_eq!(ended(&engine, id).await["output"], BULKY_CALLS);
        let journal = engine.journal(id).await.unwrap();
        let settled = journal.iter().filter(|record| record["record"] == "settled").count();
        assert_eq!(settled, BULKY_CALLS as usize, "{id}");
    }
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), BULKY_CALLS * 8);
}

/// It is shown as what it is, however long its instance stays in memory.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_resumed_and_waits_on_is_shown_as_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let mut config = Config::new(folder.path());
        config.idle_before_parking = Duration::from_secs(3600);
        let waiter = flow(|session, _| async move {
            let _ = session.wait_signal("go", None).await?;
            Ok(Value::Null)
        });
        Engine::open_with(config, Vec::new(), vec![("waiter".to_owned(), waiter)], WriterMode::Thread).unwrap()
    };
    let engine = open();
    let id = start(&engine, "waiter", Value::Null).await;
    until(&engine, &id, "WAITING").await;
    for _ in 0..2 {
        engine.pause(&id, "test").await.unwrap();
        engine.resume(&id, "test").await.unwrap();
        until(&engine, &id, "WAITING").await;
    }
    engine.pause(&id, "test").await.unwrap();
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
    let engine = open();
    engine.resume(&id, "test").await.unwrap();
    until(&engine, &id, "WAITING").await;
    engine.signal(&id, "go", Value::Null, "test", None).await.unwrap();
    assert_eq!(ended(&engine, &id).await["status"], "ENDED_SUCCESS");
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
}

/// Only `doctor` can help it; that it has ended would be a lie.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_for_what_nothing_looks_at_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), vec![("sleeper", sleeper("name"))]);
    let id = start(&engine, "sleeper", Value::Null).await;
    until(&engine, &id, "WAITING").await;
    engine.pause(&id, "test").await.unwrap();
    engine.write(|connection| Ok(connection.execute("DELETE FROM active", [])?)).await.unwrap();
    let said = engine.signal(&id, "go", Value::Null, "test", None).await.unwrap_err().to_string();
    assert!(said.contains("has not ended") && said.contains("surefoot doctor"), "{said}");
    engine.shutdown(Duration::from_secs(5)).await.unwrap();
}
