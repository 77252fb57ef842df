//! What the engine does around a call: again after failures, and with the results of others.

use std::sync::atomic::AtomicU32;

use super::*;
use crate::id::Entropy;

/// Fails so many times as its input `fails` says, in the way that `error` says, and counts its calls.
struct Unsteady(Arc<AtomicU32>);

#[async_trait]
impl Connector for Unsteady {
    fn type_name(&self) -> &'static str {
        "unsteady"
    }

    fn description(&self) -> &'static str {
        "Fails a few times."
    }

    fn input_schema(&self) -> Value {
        json!({"type": "object", "additionalProperties": false, "properties": {
            "fails": {"type": "integer"}, "sent": {"type": "string"}, "effect": {"type": "string"},
            "password": {"type": "string", "writeOnly": true},
        }})
    }

    fn output_schema(&self) -> Value {
        json!({"type": "integer"})
    }

    fn effect(&self, inputs: &Inputs) -> Effect {
        if inputs.get("effect").is_some_and(|effect| effect == "write") { Effect::Write } else { Effect::Read }
    }

    async fn call(&self, _context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        if u64::from(number) > inputs.get("fails").and_then(Value::as_u64).unwrap_or(0) {
            return Ok(json!(number));
        }
        Err(match inputs.get("sent").and_then(Value::as_str) {
            Some("no") => CallError::not_sent(ErrorClass::Network, "refused"),
            _ => CallError::unknown(ErrorClass::Network, "lost"),
        })
    }
}

/// An engine with the flow `caller`, which makes one call of a connector with the inputs and the policy of its input.
fn open(folder: &std::path::Path, calls: &Arc<AtomicU32>) -> Engine {
    let mut config = Config::new(folder);
    config.entropy = Entropy::seeded(1);
    let caller = flow(|session, input| async move {
        let connector = input["connector"].as_str().unwrap_or("type:unsteady").to_owned();
        let inputs = input["inputs"].as_object().cloned().unwrap_or_default();
        let policy = input.get("policy").map(Value::to_string);
        let options = ConnectionOptions { policy, ..ConnectionOptions::default() };
        let id = match session.start_connection(&connector, inputs, options).await? {
            Ok(id) => id,
            Err(error) => return Ok(error.to_string().into()),
        };
        let ended = session.wait(&[id], ReturnWhen::AllEnded, None).await?.unwrap();
        Ok(json!([ended[0].code, ended[0].output]))
    });
    let flows = vec![("caller".to_owned(), caller)];
    Engine::open_with(config, vec![Arc::new(Unsteady(calls.clone()))], flows, WriterMode::Thread).unwrap()
}

/// The output of the caller, and the end of its call in the journal.
async fn call(engine: &Engine, input: Value) -> (Value, Value) {
    let id = start(engine, "caller", input).await;
    let row = ended(engine, &id).await;
    assert_eq!(row["status"], "ENDED_SUCCESS", "{row}");
    let journal = engine.journal(&id).await.unwrap();
    let settled = journal.into_iter().find(|record| record["record"] == "settled").unwrap_or_default();
    (row["output"].clone(), settled)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_is_followed_by_another_as_the_policy_says() {
    let folder = tempfile::tempdir().unwrap();
    let retry = |attempts: u32| json!({"retry": {"attempts": attempts, "backoff_ms": 1}});
    for (inputs, policy, expected, calls_expected) in [
        (json!({"fails": 2}), retry(3), json!(["", 3]), 3),
        (json!({"fails": 3}), retry(3), json!(["network", null]), 3),
        (json!({"fails": 1}), json!({}), json!(["network", null]), 1),
        (json!({"fails": 1}), json!({"retry": {"attempts": 3, "on": ["auth"]}}), json!(["network", null]), 1),
        (json!({"fails": 1, "effect": "write", "sent": "no"}), retry(2), json!(["", 2]), 2),
        (json!({"fails": 1, "effect": "write"}), retry(2), json!(["unknown_outcome", null]), 1),
    ] {
        let calls = Arc::new(AtomicU32::new(0));
        let engine = open(folder.path(), &calls);
        let (output, settled) = call(&engine, json!({"inputs": inputs, "policy": policy})).await;
        let context = format!("{inputs} {policy}: {settled}");
        assert_eq!(output, expected, "{context}");
        assert_eq!(calls.load(Ordering::SeqCst), calls_expected, "{context}");
        // Each attempt that was followed by another is on record.
        assert_eq!(settled["attempts"].as_array().unwrap().len() as u32, calls_expected - 1, "{context}");
        engine.shutdown(PATIENCE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_a_connector_holds_for_its_calls_and_a_call_may_bring_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let engine = open(folder.path(), &calls);
    let save = |fields: Value| {
        let Value::Object(fields) = fields else { panic!("{fields}") };
        engine.save(crate::query::Kind::Connector, "shaky", fields, "test")
    };
    let refused = save(json!({"type": "unsteady", "retry": {"attempts": 1000}})).await.unwrap_err().to_string();
    assert!(refused.contains("`retry.attempts` must be from 1 to 100"), "{refused}");
    save(json!({"type": "unsteady", "retry": {"attempts": 2, "backoff_ms": 1}})).await.unwrap();
    let input = json!({"connector": "shaky", "inputs": {"fails": 1}});
    assert_eq!(call(&engine, input).await.0, json!(["", 2]));
    calls.store(0, Ordering::SeqCst);
    let once = json!({"connector": "shaky", "inputs": {"fails": 1}, "policy": {"retry": {"attempts": 1}}});
    assert_eq!(call(&engine, once).await.0, json!(["network", null]));
    let wrong = json!({"connector": "shaky", "policy": {"retry": {"attempts": 0}}});
    let said = call(&engine, wrong).await.0.to_string();
    assert!(said.contains("the policy of the call: `retry.attempts` must be"), "{said}");
    engine.shutdown(PATIENCE).await.unwrap();
}

/// It is no call, and says so. One with other inputs is another; a write is never spared.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_serves_equal_calls_while_it_is_young_enough() {
    let folder = tempfile::tempdir().unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let engine = open(folder.path(), &calls);
    let of = |inputs: Value, cache_ms: u64| json!({"inputs": inputs, "policy": {"cache_ms": cache_ms}});
    let hour = 3_600_000;
    let (first, settled) = call(&engine, of(json!({"password": "a"}), hour)).await;
    assert_eq!((first, &settled["cached_at"]), (json!(["", 1]), &Value::Null));
    let (again, settled) = call(&engine, of(json!({"password": "a"}), hour)).await;
    assert_eq!(again, json!(["", 1]));
    assert!(settled["cached_at"].is_string(), "{settled}");
    assert_eq!(call(&engine, of(json!({"password": "b"}), hour)).await.0, json!(["", 2]), "other inputs");
    assert_eq!(call(&engine, of(json!({"password": "a"}), 0)).await.0, json!(["", 3]), "it is too old");
    assert_eq!(call(&engine, json!({"inputs": {"password": "a"}})).await.0, json!(["", 4]), "nobody asked for it");
    for number in [5, 6] {
        let write = of(json!({"password": "a", "effect": "write"}), hour);
        assert_eq!(call(&engine, write).await.0, json!(["", number]));
    }
    engine.shutdown(PATIENCE).await.unwrap();
}

/// Its pause may be long, and nobody waits for what follows.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_between_two_attempts_keeps_no_engine_from_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let engine = open(folder.path(), &calls);
    let policy = json!({"retry": {"attempts": 2, "backoff_ms": 3_600_000, "backoff_max_ms": 3_600_000}});
    let read = start(&engine, "caller", json!({"inputs": {"fails": 2}, "policy": policy})).await;
    let inputs = json!({"fails": 2, "effect": "write", "sent": "no"});
    let write = start(&engine, "caller", json!({"inputs": inputs, "policy": policy})).await;
    let both_failed = async {
        while calls.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, both_failed).await.expect("both fail");
    tokio::time::timeout(PATIENCE, engine.shutdown(PATIENCE)).await.expect("it stops").unwrap();
    let engine = open(folder.path(), &calls);
    // The read is asked for again. Of the write it was certain that it had not happened.
    assert_eq!(ended(&engine, &read).await["output"], json!(["", 3]));
    assert_eq!(ended(&engine, &write).await["output"], json!(["network", null]));
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    engine.shutdown(PATIENCE).await.unwrap();
}
