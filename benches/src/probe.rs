//! The connector `echo` with a note of every call. It adds to a call of `echo` one reading of the clock and one push
//! under a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::Value;
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, Inputs};
use surefoot_connectors::echo::Echo;
use surefoot_engine::{Clock, Timestamp};
use tokio::sync::Notify;

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted {
    /// The number in the input `value`, by which executions are told apart.
    pub(crate) tag: u64,
    /// When it was performed.
    pub(crate) at: Timestamp,
}

/// See the module. Clones are the same probe.
#[derive(Clone, Default)]
pub(crate) struct Probe(Arc<Shared>);

#[derive(Default)]
struct Shared {
    noted: Mutex<Vec<Noted>>,
    awaited: AtomicU64,
    reached: Notify,
}

impl Probe {
    /// Forgets what was noted.
    pub(crate) fn clear(&self) {
        self.noted().clear();
    }

    /// Returns when that many calls were noted since they were [taken](Self::take) or [cleared](Self::clear).
    pub(crate) async fn until(&self, count: u64) {
        let reached = self.0.reached.notified();
        {
            let noted = self.noted();
            if noted.len() as u64 >= count {
                return;
            }
            // Under the lock: the call that completes the number sees it.
            self.0.awaited.store(count, Ordering::SeqCst);
        }
        reached.await;
    }

    /// What was noted, in order, and forgets it.
    pub(crate) fn take(&self) -> Vec<Noted> {
        std::mem::take(&mut *self.noted())
    }

    fn note(&self, tag: u64) {
        let mut noted = self.noted();
        noted.push(Noted { tag, at: Clock::System.now() });
        if noted.len() as u64 == self.0.awaited.load(Ordering::SeqCst) {
            self.0.reached.notify_waiters();
        }
    }

    fn noted(&self) -> MutexGuard<'_, Vec<Noted>> {
        self.0.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Connector for Probe {
    fn type_name(&self) -> &'static str {
        Echo.type_name()
    }

    fn description(&self) -> &'static str {
        Echo.description()
    }

    fn input_schema(&self) -> Value {
        Echo.input_schema()
    }

    fn output_schema(&self) -> Value {
        Echo.output_schema()
    }

    fn effect(&self, inputs: &Inputs) -> Effect {
        Echo.effect(inputs)
    }

    async fn call(&self, context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        self.note(inputs.get("value").and_then(Value::as_u64).unwrap_or_default());
        Echo.call(context, inputs).await
    }
}
