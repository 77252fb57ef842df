//! That the end of a call is seen and told in the right order; and a call under way for other tests.

mod policies;

use std::sync::TryLockError;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use surefoot_connector_api::Connector;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::*;
use crate::core::Config;
use crate::engine::{Engine, WriterMode};
use crate::scenarios::{PATIENCE, ended, flow, start};
use crate::session::{ConnectionOptions, ReturnWhen};
use crate::store::executions;

/// Its calls end when the test says so.
pub(crate) struct Gate(pub(crate) Arc<Semaphore>);

#[async_trait]
impl Connector for Gate {
    fn type_name(&self) -> &'static str {
        "gate"
    }

    fn description(&self) -> &'static str {
        "Ends when it may."
    }

    fn input_schema(&self) -> Value {
        json!({"type": "object"})
    }

    fn output_schema(&self) -> Value {
        json!({"type": "object"})
    }

    fn effect(&self, _inputs: &Inputs) -> Effect {
        Effect::Write
    }

    async fn call(&self, _context: &CallContext<'_>, _inputs: Inputs) -> Result<Value, CallError> {
        drop(self.0.acquire().await);
        Ok(Value::Null)
    }
}

/// An engine with the flow `gated`, one of which is parked and has a call that waits at the gate; and another flow.
pub(crate) async fn with_a_call_under_way(folder: &std::path::Path, gate: &Arc<Semaphore>) -> (Engine, Arc<Resident>) {
    let mut config = Config::new(folder);
    config.idle_before_parking = Duration::from_millis(20);
    let gated = flow(|session, _| async move {
        let options = ConnectionOptions::default();
        let id = session.start_connection("type:gate", Map::new(), options).await?.unwrap();
        let ended = session.wait(&[id], ReturnWhen::AllEnded, None).await?.unwrap();
        Ok(json!(ended[0].code))
    });
    let other = flow(|_, _| async move { Ok(Value::Null) });
    let flows = vec![("gated".to_owned(), gated), ("other".to_owned(), other)];
    let engine = Engine::open_with(config, vec![Arc::new(Gate(gate.clone()))], flows, WriterMode::Thread).unwrap();
    let id = start(&engine, "gated", Value::Null).await;
    let key = engine.core.readers.read(|connection| executions::key_of(connection, &id)).unwrap().unwrap();
    let parked = async {
        loop {
            if let Some(resident) = engine.core.resident(key)
                && resident.is_running(0)
                && !resident.has_instance.load(Ordering::SeqCst)
                && lock(&resident.running).len() == 1
            {
                return resident;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    // It has no instance before it has one, too: only what the store shows as waiting is parked.
    let is_waiting = async {
        while engine.execution(&id).await.unwrap()["status"] != "WAITING" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_waiting).await.expect("it waits");
    let resident = tokio::time::timeout(PATIENCE, parked).await.expect("it is parked");
    (engine, resident)
}

/// A guest that sees an end before its record is on its way could make it part of a durable wait, and a crash would
/// leave a wait that names what the journal does not have. And who is told after the record is durable may have gone
/// to sleep meanwhile, with nobody left to wake it.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_seen_only_when_its_record_is_queued_and_told_before_it_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let (engine, resident) = with_a_call_under_way(folder.path(), &gate).await;
    tokio::task::block_in_place(|| {
        let _held = engine.core.writer.hold_queue();
        gate.add_permits(1);
        let (mut blocked, until) = (0, Instant::now() + PATIENCE);
        while blocked < 10_000 {
            assert!(Instant::now() < until, "the call did not end");
            match resident.settled.try_lock() {
                Ok(settled) => {
                    assert!(!settled.contains_key(&0), "the end is seen, and its record is not queued");
                    blocked = 0;
                }
                Err(TryLockError::WouldBlock) => blocked += 1,
                Err(TryLockError::Poisoned(error)) => panic!("{error}"),
            }
            std::thread::yield_now();
        }
        assert!(resident.take_dirty(), "the record is about to be queued, and nobody was told of the end");
    });
    assert_eq!(ended(&engine, &resident.execution.id).await["status"], "ENDED_SUCCESS");
    engine.shutdown(PATIENCE).await.unwrap();
}
