//! Flows of which only so many executions may run at one time.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::session::QueryCall;
use crate::store::places::WAITS;

/// Waits until it is told to go on.
fn waiter() -> Arc<dyn NativeFlow> {
    flow(|session, _| async move {
        let _ = session.wait_signal("go", None).await?;
        Ok(Value::Null)
    })
}

/// Starts one of its own flow, and waits for it, so many times deep.
fn nested() -> Arc<dyn NativeFlow> {
    flow(|session, input| async move {
        let depth = input["depth"].as_u64().unwrap_or(0);
        if depth > 0 {
            let child = session.start_flow("nested", json!({"depth": depth - 1}), None, false).await?.unwrap();
            let _ = session.wait(&[child], ReturnWhen::AllEnded, None).await?;
        }
        Ok(json!(depth))
    })
}

fn flows() -> Vec<(&'static str, Arc<dyn NativeFlow>)> {
    vec![("waiter", waiter()), ("nested", nested())]
}

/// Saves a flow with these fields that runs the built-in flow of the same name.
async fn limit(engine: &Engine, name: &'static str, fields: Value) {
    engine.save(Kind::Flow, name, fields.as_object().cloned().unwrap(), "test").await.unwrap();
    let sql =
        "UPDATE records SET data = json_set(data, '$.version', 'native:' || name) WHERE kind = 'flow' AND name = ?1";
    engine.write(move |connection| Ok(connection.execute(sql, [name])?)).await.unwrap();
}

async fn start_with(engine: &Engine, flow: &str, priority: Option<i64>) -> String {
    let request = StartRequest { flow: flow.into(), by: "test".into(), priority, ..StartRequest::default() };
    engine.start(request).await.expect("the flow starts").0
}

async fn go(engine: &Engine, id: &str) {
    engine.signal(id, "go", Value::Null, "test", None).await.unwrap();
    assert_eq!(ended(engine, id).await["status"], "ENDED_SUCCESS");
}

/// It has not begun, and says why.
async fn assert_queued(engine: &Engine, id: &str) {
    let row = engine.execution(id).await.unwrap();
    assert_eq!((&row["status"], &row["message"]), (&json!("QUEUED"), &json!(WAITS)), "{row:#}");
    assert!(row["started_at"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_given_by_priority_and_age_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), flows());
    limit(&engine, "waiter", json!({"max_concurrent": 2, "priority": 1})).await;
    let (first, second) = (start_with(&engine, "waiter", None).await, start_with(&engine, "waiter", None).await);
    for id in [&first, &second] {
        until(&engine, id, "WAITING").await;
    }
    let mut waiting = Vec::new();
    for priority in [Some(-100), None, Some(5), Some(1), Some(5)] {
        waiting.push(start_with(&engine, "waiter", priority).await);
    }
    for id in &waiting {
        assert_queued(&engine, id).await;
    }
    assert_eq!(engine.execution(&waiting[1]).await.unwrap()["priority"], 1);
    let engine = reopen(engine, folder.path(), flows()).await;
    // Who is paused keeps its turn, and who is resumed says again what it waits for.
    engine.pause(&waiting[3], "test").await.unwrap();
    engine.resume(&waiting[3], "test").await.unwrap();
    assert_queued(&engine, &waiting[3]).await;
    for (ends, begins) in [(&first, 2), (&second, 4)] {
        go(&engine, ends).await;
        until(&engine, &waiting[begins], "WAITING").await;
    }
    engine.cancel(&waiting[1], "test").await.unwrap();
    assert_eq!(ended(&engine, &waiting[1]).await["status"], "ENDED_CANCELLED", "it need not begin for that");
    assert_queued(&engine, &waiting[3]).await;
    let engine = reopen(engine, folder.path(), flows()).await;
    assert_queued(&engine, &waiting[0]).await;
    go(&engine, &waiting[2]).await;
    until(&engine, &waiting[3], "WAITING").await;
    assert_queued(&engine, &waiting[0]).await;
    go(&engine, &waiting[3]).await;
    go(&engine, &waiting[0]).await;
    let refusal = StartRequest { flow: "waiter".into(), priority: Some(101), ..StartRequest::default() };
    assert!(engine.start(refusal).await.unwrap_err().to_string().contains("-100 to 100"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_changes_or_goes_lets_others_begin_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), flows());
    limit(&engine, "waiter", json!({})).await;
    let mut all = vec![start_with(&engine, "waiter", None).await];
    until(&engine, &all[0], "WAITING").await;
    // The one that runs counts.
    limit(&engine, "waiter", json!({"max_concurrent": 1})).await;
    for _ in 0..5 {
        all.push(start_with(&engine, "waiter", None).await);
    }
    assert_queued(&engine, &all[1]).await;
    limit(&engine, "waiter", json!({"max_concurrent": 3})).await;
    until(&engine, &all[2], "WAITING").await;
    assert_queued(&engine, &all[3]).await;
    limit(&engine, "waiter", json!({"max_concurrent": null})).await;
    until(&engine, &all[5], "WAITING").await;
    limit(&engine, "waiter", json!({"max_concurrent": 1})).await;
    all.push(start_with(&engine, "waiter", None).await);
    assert_queued(&engine, &all[6]).await;
    let flow = engine.record(Kind::Flow, "waiter").await.unwrap();
    assert!(engine.delete(Kind::Flow, "waiter", false, "test").await.unwrap());
    until(&engine, &all[6], "WAITING").await;
    engine.restore(Kind::Flow, flow["id"].as_str().unwrap(), "test").await.unwrap();
    all.push(start_with(&engine, "waiter", None).await);
    assert_queued(&engine, &all[7]).await;
    for id in &all {
        go(&engine, id).await;
    }
    for wrong in [json!({"max_concurrent": 0}), json!({"priority": 101}), json!({"priority": "high"})] {
        let fields = wrong.as_object().cloned().unwrap();
        engine.save(Kind::Flow, "other", fields, "test").await.expect_err(&wrong.to_string());
    }
}

/// One that waits for a child of its own flow would wait for ever if that child needed a place, too.
#[tokio::test(flavor = "multi_thread")]
async fn children_of_the_same_flow_share_the_place_of_their_parent() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), flows());
    limit(&engine, "nested", json!({"max_concurrent": 1})).await;
    let start = async || {
        let input = json!({"depth": 3});
        let request = StartRequest { flow: "nested".into(), input, by: "test".into(), ..StartRequest::default() };
        engine.start(request).await.unwrap().0
    };
    let (first, second) = (start().await, start().await);
    assert_eq!(ended(&engine, &first).await["output"], 3);
    assert_eq!(ended(&engine, &second).await["output"], 3);
    let query = QueryCall { kind: "execution".into(), ..QueryCall::default() };
    assert_eq!(engine.query(query).await.unwrap().rows.len(), 8);
}

/// Many at one time, with restarts between: never more than may, and nothing is left behind.
#[tokio::test(flavor = "multi_thread")]
async fn never_more_run_than_may_and_all_of_them_end() {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            RUNNING.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let busy = || {
        flow(|session, _| async move {
            MOST.fetch_max(RUNNING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _counted = Counted;
            for _ in 0..5 {
                let _ = session.get("name").await?;
            }
            Ok(Value::Null)
        })
    };
    let folder = tempfile::tempdir().unwrap();
    let mut engine = open(folder.path(), vec![("busy", busy())]);
    limit(&engine, "busy", json!({"max_concurrent": 3})).await;
    let mut ids = Vec::new();
    for round in 0..3 {
        let starts = (0..40).map(|n| start_with(&engine, "busy", Some(n % 7 - round)));
        ids.extend(futures::future::join_all(starts).await);
        engine = reopen(engine, folder.path(), vec![("busy", busy())]).await;
    }
    for id in &ids {
        assert_eq!(ended(&engine, id).await["status"], "ENDED_SUCCESS");
    }
    let most = MOST.load(Ordering::SeqCst);
    assert!((1..=3).contains(&most), "{most} ran at one time");
}
