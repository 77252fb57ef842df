//! What a deadline may be, and what it ends, on a clock that the test moves.

use serde_json::{Value, json};

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::engine::{Engine, StartRequest};
use crate::native::NativeFlow;
use crate::query::Kind;
use crate::scenarios::{ended, flow, open_with, until};
use crate::session::{End, EndAction, ReturnWhen};

type Flows = Vec<(&'static str, std::sync::Arc<dyn NativeFlow>)>;

const HOUR: Duration = Duration::from_secs(3600);

const START: Timestamp = Timestamp(1_700_000_000_000_000);

#[test]
fn a_deadline_is_a_time_or_a_duration() {
    let parse = |text: &str| text.parse::<Deadline>();
    assert_eq!(parse("2023-11-14T22:13:20Z"), Ok(Deadline::At(START)));
    for (text, seconds) in [("90s", 90), ("2h 30m", 9000), ("PT1H", 3600)] {
        assert_eq!(parse(text), Ok(Deadline::After(Duration::from_secs(seconds))), "{text}");
    }
    for wrong in ["", "soon", "-1s", "0s", "1ns", "10", "900000000h", "2023-11-14"] {
        assert_eq!(parse(wrong), Err(InvalidDeadline(wrong.into())));
    }
    let now = Timestamp(5);
    assert_eq!(Deadline::After(Duration::from_millis(1)).for_one_created(now), Timestamp(1005));
    assert_eq!(Deadline::At(Timestamp(1)).for_one_created(now), Timestamp(1));
}

/// Sleeps for so many hours; without a number for one, and then continues as new for ever.
fn sleeper() -> std::sync::Arc<dyn NativeFlow> {
    flow(|session, input| async move {
        let hours = input["hours"].as_u64();
        session.sleep(HOUR * u32::try_from(hours.unwrap_or(1)).unwrap(), None).await?;
        if hours.is_none() { Err(End::ContinueAsNew(json!({}))) } else { Ok(json!("slept")) }
    })
}

/// Starts a child and an orphan that sleep longer than it may live, and says what is to be done at its end.
fn parent() -> std::sync::Arc<dyn NativeFlow> {
    flow(|session, _| async move {
        let fields = json!({"value": "cleaned"});
        let _ = session.on_end(EndAction::SaveRecord { kind: "setting".into(), key: "mark".into(), fields }).await?;
        let child = session.start_flow("native:sleeper", json!({"hours": 9}), None, false).await?.unwrap();
        let _orphan = session.start_flow("native:sleeper", json!({"hours": 9}), None, true).await?.unwrap();
        let _ = session.wait(&[child], ReturnWhen::AllEnded, None).await?;
        Ok(Value::Null)
    })
}

fn open(folder: &std::path::Path, clock: &std::sync::Arc<ManualClock>) -> Engine {
    let flows: Flows = vec![("sleeper", sleeper()), ("parent", parent())];
    open_with(folder, flows, |config| config.clock = Clock::Manual(clock.clone()))
}

async fn start(engine: &Engine, flow: &str, input: Value, deadline: Option<Deadline>) -> String {
    let request = StartRequest { flow: flow.into(), input, by: "test".into(), deadline, ..StartRequest::default() };
    engine.start(request).await.expect("the flow starts").0
}

fn assert_overdue(row: &Value, deadline: Timestamp) {
    assert_eq!((&row["status"], &row["error_code"]), (&json!("ENDED_ERROR"), &json!("deadline")), "{row:#}");
    assert_eq!(row["error_message"], format!("it had not ended by its deadline, {deadline}"));
    assert_eq!(row["deadline"], deadline.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_ended_by_its_deadline_ends_with_its_children() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(START));
    let engine = open(folder.path(), &clock);
    let mark = json!({"value": "untouched"}).as_object().cloned().unwrap();
    engine.save(Kind::Setting, "mark", mark, "test").await.unwrap();
    let id = start(&engine, "native:parent", json!({}), Some(Deadline::After(HOUR))).await;
    until(&engine, &id, "WAITING").await;
    let filter = json!({"field": "parent_id", "op": "eq", "value": id});
    let query = crate::session::QueryCall { kind: "execution".into(), filter: Some(filter), ..Default::default() };
    let children = engine.query(query).await.unwrap().rows;
    clock.set(Timestamp(START.after(HOUR).0 - 1));
    // What is asked of the engine now is answered after it has looked at its timers.
    let other = start(&engine, "native:sleeper", json!({"hours": 0}), None).await;
    assert_eq!(ended(&engine, &other).await["status"], "ENDED_SUCCESS");
    assert_eq!(engine.execution(&id).await.unwrap()["status"], "WAITING");

    clock.set(START.after(HOUR));
    assert_overdue(&ended(&engine, &id).await, START.after(HOUR));
    assert_eq!(engine.record(Kind::Setting, "mark").await.unwrap()["value"], "cleaned");
    assert_eq!(children.len(), 2);
    for child in children {
        let id = child["id"].as_str().unwrap();
        if child["orphan"] == true {
            clock.set(START.after(9 * HOUR));
            assert_eq!(ended(&engine, id).await["status"], "ENDED_SUCCESS", "an orphan goes on");
        } else {
            assert_eq!(ended(&engine, id).await["status"], "ENDED_CANCELLED");
        }
    }
    engine.shutdown(HOUR).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passed_while_nothing_ran_holds_and_one_of_the_paused_waits() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(START));
    let engine = open(folder.path(), &clock);
    let deadline = START.after(HOUR);
    let asleep = start(&engine, "native:sleeper", json!({"hours": 9}), Some(Deadline::At(deadline))).await;
    let paused = start(&engine, "native:sleeper", json!({"hours": 9}), Some(Deadline::At(deadline))).await;
    let in_time = start(&engine, "native:sleeper", json!({"hours": 0}), Some(Deadline::At(deadline))).await;
    assert_eq!(ended(&engine, &in_time).await["status"], "ENDED_SUCCESS");
    for id in [&asleep, &paused] {
        until(&engine, id, "WAITING").await;
    }
    engine.pause(&paused, "test").await.unwrap();
    engine.shutdown(HOUR).await.unwrap();

    clock.set(START.after(2 * HOUR));
    let engine = open(folder.path(), &clock);
    assert_overdue(&ended(&engine, &asleep).await, deadline);
    assert_eq!(engine.execution(&paused).await.unwrap()["status"], "PAUSED");
    engine.resume(&paused, "test").await.unwrap();
    assert_overdue(&ended(&engine, &paused).await, deadline);
    engine.shutdown(HOUR).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_has_a_deadline_for_its_executions_which_stays_when_they_continue_as_new() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(START));
    let engine = open(folder.path(), &clock);
    let save = |millis: Value| {
        let fields = json!({"deadline_ms": millis}).as_object().cloned().unwrap();
        engine.save(Kind::Flow, "limited", fields, "test")
    };
    for wrong in [json!(0), json!(-1), json!(MILLIS_MAX + 1), json!("1h")] {
        save(wrong.clone()).await.expect_err(&wrong.to_string());
    }
    save(json!(5_400_000)).await.unwrap();
    let deploy = "UPDATE records SET data = json_set(data, '$.version', 'native:sleeper') WHERE name = 'limited'";
    engine.write(|connection| Ok(connection.execute(deploy, [])?)).await.unwrap();

    let id = start(&engine, "limited", json!({}), None).await;
    let later = Deadline::After(9 * HOUR);
    let other = start(&engine, "limited", json!({"hours": 2}), Some(later)).await;
    until(&engine, &id, "WAITING").await;
    until(&engine, &other, "WAITING").await;
    clock.set(START.after(HOUR));
    let continued = ended_as_new(&engine, &id).await;
    until(&engine, &continued, "WAITING").await;
    clock.set(START.after(2 * HOUR));
    assert_overdue(&ended(&engine, &id).await, START.after(HOUR + HOUR / 2));
    assert_eq!(ended(&engine, &other).await["status"], "ENDED_SUCCESS", "its own deadline is the one that counts");
    let past = StartRequest { flow: "limited".into(), deadline: Some(Deadline::At(START)), ..Default::default() };
    let refusal = engine.start(past).await.unwrap_err().to_string();
    assert_eq!(refusal, format!("the deadline {START} has passed already"));
    engine.shutdown(HOUR).await.unwrap();
}

/// The id of the execution that takes the place of that one.
async fn ended_as_new(engine: &Engine, id: &str) -> String {
    until(engine, id, "ENDED_SUCCESS").await;
    engine.execution(id).await.unwrap()["continued_as"].as_str().expect("it has continued").to_owned()
}
