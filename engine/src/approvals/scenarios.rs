//! Questions and answers in a running engine, with small built-in flows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::core::{CommitMoment, Config};
use crate::engine::{Engine, EngineError, EngineResult, WriterMode};
use crate::journal::HostError;
use crate::native::NativeFlow;
use crate::people::{Rights, Role};
use crate::query::Kind;
use crate::scenarios::{PATIENCE, ended, flow, open, reopen, start, until};
use crate::session::{Asking, End, QueryCall};
use crate::store::Refusal;

/// Asks what the input says, waits for the answer, and gives it with its sender; a timeout is null.
fn asker() -> Arc<dyn NativeFlow> {
    flow(|session, input| async move {
        let asked = session.ask("go", asking(&input)).await?.unwrap();
        Ok(match session.wait_answer(&asked.id).await? {
            Ok((_, payload, sender)) => json!([payload, sender]),
            Err(HostError::SignalTimeout(_)) => Value::Null,
            Err(other) => return Err(End::Error("wrong".into(), other.to_string())),
        })
    })
}

fn asking(input: &Value) -> Asking {
    let texts = |field: &str| {
        input[field].as_array().into_iter().flatten().map(|one| one.as_str().unwrap().to_owned()).collect()
    };
    Asking {
        message: "Go on?".into(),
        schema: input.get("schema").cloned(),
        roles: texts("roles"),
        users: texts("users"),
        timeout: input["timeout_ms"].as_u64().map(Duration::from_millis),
        with_token: input["with_token"] == true,
    }
}

/// The one approval there is, when it is.
async fn approval(engine: &Engine) -> Value {
    let query = || QueryCall { kind: "approval".into(), ..QueryCall::default() };
    let mut changes = engine.changes();
    let found = async {
        loop {
            if let Some(row) = engine.query(query()).await.unwrap().rows.pop() {
                return row;
            }
            let _ = tokio::time::timeout(Duration::from_millis(50), changes.recv()).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("it is asked")
}

fn id(row: &Value) -> &str {
    row["id"].as_str().unwrap()
}

/// The engine for somebody with that role in the workspace.
fn with(engine: &Engine, role: Role) -> Engine {
    engine.on_behalf(Rights::everywhere(role), Role::Operator)
}

#[track_caller]
fn refusal<T: std::fmt::Debug>(result: EngineResult<T>) -> Refusal {
    match result {
        Err(EngineError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn ask_for_a_number() -> Value {
    json!({
        "schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        "roles": ["author"],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_answer_that_fits_counts_and_the_others_are_told_whose_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), vec![("asker", asker())]);
    let execution = start(&engine, "asker", ask_for_a_number()).await;
    let asked = approval(&engine).await;
    assert_eq!((&asked["name"], &asked["message"], &asked["status"]), (&json!("go"), &json!("Go on?"), &json!("open")));
    assert_eq!(asked["execution_id"], execution.as_str());
    let (author, operator) = (with(&engine, Role::Author), with(&engine, Role::Operator));

    let refused = refusal(operator.answer(id(&asked), json!({"n": 1}), "token o").await);
    assert!(matches!(&refused, Refusal::Forbidden(text) if text.contains("the role author")), "{refused}");
    let refused = refusal(operator.signal(&execution, "go", json!({"n": 1}), "token o", None).await);
    assert!(matches!(refused, Refusal::Forbidden(_)), "a signal of that name is an answer");
    let refused = refusal(author.answer(id(&asked), json!({"n": "x"}), "token a").await);
    assert!(matches!(&refused, Refusal::Invalid(text) if text.starts_with("field `n`: ")), "{refused}");

    let answered = author.answer(id(&asked), json!({"n": 1}), "token a").await.unwrap();
    assert_eq!((&answered["status"], &answered["answered_by"]), (&json!("answered"), &json!("token a")));
    assert_eq!(ended(&engine, &execution).await["output"], json!([{"n": 1}, "token a"]));
    assert_eq!(author.answer(id(&asked), json!({"n": 1}), "token a").await.unwrap(), answered, "a repetition");
    author.signal(&execution, "go", json!({"n": 1}), "token a", None).await.unwrap();
    let refused = refusal(author.answer(id(&asked), json!({"n": 2}), "token a").await);
    let expected = format!("answered by token a at {}", answered["answered_at"].as_str().unwrap());
    assert!(matches!(&refused, Refusal::Conflict(text) if text.contains(&expected)), "{refused}");
    let refused = refusal(engine.answer("nothing", Value::Null, "test").await);
    assert!(matches!(refused, Refusal::NotFound(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_answers_at_once_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), vec![("asker", asker())]);
    let execution = start(&engine, "asker", json!({})).await;
    let asked = approval(&engine).await;
    let mut answers = JoinSet::new();
    for number in 0..100 {
        let (engine, id, who) = (engine.clone(), id(&asked).to_owned(), format!("user {number}"));
        answers.spawn(async move { engine.answer(&id, json!(number), &who).await });
    }
    let (mut winners, mut losers) = (Vec::new(), Vec::new());
    for answer in answers.join_all().await {
        match answer {
            Ok(row) => winners.push(row),
            refused => losers.push(refusal(refused).to_string()),
        }
    }
    let [winner] = winners.as_slice() else { panic!("{winners:?}") };
    let (who, at) = (winner["answered_by"].as_str().unwrap(), winner["answered_at"].as_str().unwrap());
    let told = format!("`go` was answered by {who} at {at}; the first answer counts");
    assert_eq!((losers.len(), losers.iter().all(|loser| *loser == told)), (99, true), "{told}: {losers:?}");
    assert_eq!(ended(&engine, &execution).await["output"], json!([winner["answer"], who]));
}

/// A flow that tells the test its token.
fn teller(told: Arc<Mutex<Vec<String>>>) -> Arc<dyn NativeFlow> {
    flow(move |session, _| {
        let told = told.clone();
        async move {
            let asked = session.ask("go", Asking { with_token: true, ..Asking::default() }).await?.unwrap();
            let token = asked.token.unwrap();
            told.lock().unwrap().push(token.clone());
            session.log("info", "log", &format!("see {token}"), json!({ "token": token }))?;
            session.set_message(&token)?;
            session.set_output("token", json!(token))?;
            let child = session.start_flow("native:child", json!({ "token": token }), Some("child"), false).await?;
            let _ = session.wait(&[child.unwrap()], crate::session::ReturnWhen::AllEnded, None).await?;
            let (_, payload, sender) = session.wait_answer(&asked.id).await?.unwrap();
            Ok(json!({"payload": payload, "sender": sender, "mine": token}))
        }
    })
}

/// Says in its log what its parent gave it.
fn child() -> Arc<dyn NativeFlow> {
    flow(|session, input| async move {
        session.log("info", "log", input["token"].as_str().unwrap(), Value::Null)?;
        Ok(input)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_answers_once_is_the_same_after_a_restart_and_is_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let flows = || vec![("teller", teller(told.clone())), ("child", child())];
    let engine = open(folder.path(), flows());
    let execution = start(&engine, "teller", Value::Null).await;
    approval(&engine).await;
    until(&engine, &execution, "WAITING").await;
    let engine = reopen(engine, folder.path(), flows()).await;
    let token = told.lock().unwrap()[0].clone();
    assert!(matches!(refusal(engine.approval_of_token("sfa_0").await), Refusal::NotFound(_)));
    assert_eq!(engine.approval_of_token(&token).await.unwrap()["status"], "open", "looking uses nothing up");

    let answered = engine.answer_by_token(&token, json!(7)).await.unwrap();
    assert_eq!(answered["answered_by"], "token of go");
    let row = ended(&engine, &execution).await;
    assert_eq!((&row["output"]["payload"], &row["output"]["sender"]), (&json!(7), &json!("token of go")));
    assert!(told.lock().unwrap().iter().all(|one| *one == token), "a replay gives the same one");
    assert_eq!(engine.answer_by_token(&token, json!(7)).await.unwrap(), answered);
    assert!(matches!(refusal(engine.answer_by_token(&token, json!(8)).await), Refusal::Conflict(_)));

    let mut shown = vec![answered.to_string(), row.to_string()];
    for row in engine.query(QueryCall { kind: "execution".into(), ..QueryCall::default() }).await.unwrap().rows {
        shown.push(row.to_string());
        shown.push(json!(engine.journal(id(&row)).await.unwrap()).to_string());
        shown.push(json!(engine.log(id(&row), None, 100).await.unwrap()).to_string());
    }
    let audit = engine.query(QueryCall { kind: "audit".into(), ..QueryCall::default() }).await.unwrap();
    assert_eq!((&audit.rows[0]["action"], &audit.rows[0]["created_by"]), (&json!("answer"), &json!("token of go")));
    shown.push(json!(audit.rows).to_string());
    let all = shown.join("\n");
    assert!(!all.contains(&token) && all.matches("sfa_***").count() > 6, "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn late_answers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sleepy = flow(|session, _| async move {
        let timeout = Some(Duration::from_millis(1));
        let asked = session.ask("go", Asking { timeout, ..Asking::default() }).await?.unwrap();
        session.sleep(Duration::from_millis(20), None).await?;
        let _ = session.wait_signal("looked", None).await?;
        let answer = session.wait_answer(&asked.id).await?;
        assert_eq!(answer, Err(HostError::SignalTimeout("go".into())));
        Ok(Value::Null)
    });
    let engine = open(folder.path(), vec![("sleepy", sleepy), ("asker", asker())]);
    let execution = start(&engine, "sleepy", Value::Null).await;
    let asked = approval(&engine).await;
    until(&engine, &execution, "WAITING").await;
    let gone = |refused: Refusal, why: &str| {
        assert!(matches!(&refused, Refusal::Gone(text) if text.contains(why)), "{refused}");
    };
    let until_then = format!("it was open until {}", asked["expires_at"].as_str().unwrap());
    while engine.now().to_string().as_str() <= asked["expires_at"].as_str().unwrap() {
        tokio::task::yield_now().await;
    }
    // Nobody has looked at the time yet.
    gone(refusal(engine.answer(id(&asked), Value::Null, "test").await), &until_then);
    engine.signal(&execution, "looked", Value::Null, "test", None).await.unwrap();
    assert_eq!(ended(&engine, &execution).await["status"], "ENDED_SUCCESS");
    assert_eq!(engine.approval(id(&asked)).await.unwrap()["status"], "expired");
    gone(refusal(engine.signal(&execution, "go", Value::Null, "test", None).await), &until_then);

    let execution = start(&engine, "asker", json!({})).await;
    until(&engine, &execution, "WAITING").await;
    let asked = approval_of(&engine, &execution).await;
    engine.cancel(&execution, "test").await.unwrap();
    ended(&engine, &execution).await;
    assert_eq!(engine.approval(id(&asked)).await.unwrap()["status"], "closed");
    gone(refusal(engine.answer(id(&asked), Value::Null, "test").await), "has ended");
    let execution = start(&engine, "asker", json!({"timeout_ms": 30})).await;
    assert_eq!(ended(&engine, &execution).await["output"], Value::Null);
}

async fn approval_of(engine: &Engine, execution: &str) -> Value {
    let filter = json!({"field": "execution_id", "op": "eq", "value": execution});
    let query = QueryCall { kind: "approval".into(), filter: Some(filter), ..QueryCall::default() };
    engine.query(query).await.unwrap().rows.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_came_before_answers_if_it_fits_and_else_stays() {
    let folder = tempfile::tempdir().unwrap();
    let late = flow(|session, _| async move {
        let _ = session.wait_signal("begin", None).await?;
        let asked = session.ask("go", asking(&ask_for_a_number())).await?.unwrap();
        let (_, answer, sender) = session.wait_answer(&asked.id).await?.unwrap();
        Ok(json!([answer, sender]))
    });
    let engine = open(folder.path(), vec![("late", late)]);
    let execution = start(&engine, "late", Value::Null).await;
    let send = async |payload: Value, who: &str, role: Role| {
        with(&engine, role).signal(&execution, "go", payload, who, None).await.unwrap();
    };
    send(json!("x"), "token a", Role::Author).await;
    send(json!({"n": 1}), "token o", Role::Operator).await;
    send(json!({"n": 2}), "token a", Role::Author).await;
    engine.signal(&execution, "begin", Value::Null, "test", None).await.unwrap();
    assert_eq!(ended(&engine, &execution).await["output"], json!([{"n": 2}, "token a"]));
    let lines = engine.log(&execution, None, 10).await.unwrap();
    let said: Vec<_> = lines.iter().map(|line| (line.level.as_str(), line.fields["sender"].clone())).collect();
    assert_eq!(said, [("warn", json!("token o")), ("warn", json!("token a"))]);
    // The log is also read from its end.
    let before = async |place: Option<(u32, u32)>, limit| engine.log_before(&execution, place, limit).await.unwrap();
    assert_eq!(before(None, 10).await, lines);
    assert_eq!(before(None, 1).await, lines[1..]);
    assert_eq!(before(Some((lines[1].call, lines[1].line)), 10).await, lines[..1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_an_error_that_the_flow_sees() {
    let folder = tempfile::tempdir().unwrap();
    let clumsy = flow(|session, _| async move {
        let mut refused = Vec::new();
        for wrong in [json!({"schema": {"type": "nothing"}}), json!({"roles": ["owner"]})] {
            refused.push(session.ask("go", asking(&wrong)).await?.unwrap_err());
        }
        let asked = session.ask("go", Asking::default()).await?.unwrap();
        refused.push(session.ask("go", Asking::default()).await?.unwrap_err());
        refused.push(session.wait_answer("nothing").await?.unwrap_err());
        for number in 1..100 {
            session.ask(&format!("go {number}"), Asking::default()).await?.unwrap();
        }
        refused.push(session.ask("too many", Asking::default()).await?.unwrap_err());
        let _ = session.wait_answer(&asked.id).await?.unwrap();
        refused.push(session.wait_answer(&asked.id).await?.unwrap_err());
        let kinds: Vec<_> = refused.iter().map(|error| format!("{error:?}")).collect();
        let kinds = kinds.iter().map(|text| text.split('(').next().unwrap_or_default().to_owned());
        Ok(kinds.collect::<Value>())
    });
    let engine = open(folder.path(), vec![("clumsy", clumsy)]);
    let execution = start(&engine, "clumsy", Value::Null).await;
    until(&engine, &execution, "WAITING").await;
    engine.signal(&execution, "go", Value::Null, "test", None).await.unwrap();
    let expected = json!(["InvalidInput", "InvalidInput", "Conflict", "NotFound", "LimitExceeded", "Conflict"]);
    assert_eq!(ended(&engine, &execution).await["output"], expected);
    let filter = json!({"field": "status", "op": "eq", "value": "closed"});
    let query = QueryCall { kind: "approval".into(), filter: Some(filter), ..QueryCall::default() };
    assert_eq!(engine.query(query).await.unwrap().rows.len(), 99, "what nobody waited for is closed at the end");
    assert!(engine.save(Kind::Approval, "x", serde_json::Map::new(), "test").await.is_err());
    assert!(!engine.delete(Kind::Approval, id(&approval_of(&engine, &execution).await), true, "test").await.unwrap());
}

/// The process dies when the answer is durable and nobody has been told.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_survives_a_death_before_anybody_wakes() {
    let folder = tempfile::tempdir().unwrap();
    let armed = Arc::new(AtomicBool::new(false));
    // Its instance stays: the next commit is that of the answer, and no other can be the last one.
    let mut config = Config::new(folder.path());
    let (asked_to_die, died) = (armed.clone(), Arc::new(tokio::sync::Notify::new()));
    let dying = died.clone();
    config.dies_at = Some(Arc::new(move |moment| {
        let dies = moment == CommitMoment::After && asked_to_die.load(Ordering::SeqCst);
        if dies {
            dying.notify_one();
        }
        dies
    }));
    let flows = vec![("asker".to_owned(), asker())];
    let engine = Engine::open_with(config, Vec::new(), flows, WriterMode::Thread).unwrap();
    let execution = start(&engine, "asker", json!({})).await;
    let asked = approval(&engine).await;
    until(&engine, &execution, "WAITING").await;
    armed.store(true, Ordering::SeqCst);
    tokio::select! {
        answered = engine.answer(id(&asked), json!(7), "test") => assert!(answered.is_err(), "{answered:?} was told"),
        () = died.notified() => {}
    }
    let _ = engine.shutdown(Duration::from_secs(1)).await;
    let engine = open(folder.path(), vec![("asker", asker())]);
    assert_eq!(ended(&engine, &execution).await["output"], json!([7, "test"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_waited_for_goes_along_when_it_continues_as_new() {
    let folder = tempfile::tempdir().unwrap();
    let again = flow(|session, input| async move {
        if input == json!("second") {
            let (_, answer, _) = session.wait_signal("go", Some(PATIENCE)).await?.unwrap();
            return Ok(answer);
        }
        session.ask("go", Asking::default()).await?.unwrap();
        let _ = session.wait_signal("continue", None).await?;
        Err(End::ContinueAsNew(json!("second")))
    });
    let engine = open(folder.path(), vec![("again", again)]);
    let execution = start(&engine, "again", Value::Null).await;
    let asked = approval(&engine).await;
    engine.answer(id(&asked), json!(7), "test").await.unwrap();
    engine.signal(&execution, "continue", Value::Null, "test", None).await.unwrap();
    assert_eq!(ended(&engine, &execution).await["output"], 7);
}
