//! What is outside of the simulated process and survives its crashes: what connectors did, and what guests saw.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, ErrorClass, Inputs};

use crate::core::lock;

/// See the module.
#[derive(Default)]
pub(super) struct World {
    performed: Mutex<HashMap<String, u32>>,
    observed: Mutex<HashMap<(String, usize), Value>>,
}

impl World {
    /// How often the connection that call `n` of `execution` started was performed.
    pub(super) fn performed(&self, execution: &str, n: u32) -> u32 {
        lock(&self.performed).get(&format!("{execution}/{n}")).copied().unwrap_or(0)
    }

    /// A guest saw the result of its operation `index`. What it saw once it sees in every later run.
    pub(super) fn observe(&self, execution: &str, index: usize, result: &Value) {
        let mut observed = lock(&self.observed);
        let before = observed.entry((execution.to_owned(), index)).or_insert_with(|| result.clone());
        assert_eq!(before, result, "operation {index} of {execution} was seen with another result before");
    }
}

/// A connector that counts what it does. Its inputs name execution and call, so that the count can be checked.
pub(super) struct Probe(pub(super) Arc<World>);

#[async_trait]
impl Connector for Probe {
    fn type_name(&self) -> &'static str {
        "probe"
    }

    fn description(&self) -> &'static str {
        "Counts what it does."
    }

    fn input_schema(&self) -> Value {
        json!({"type": "object", "additionalProperties": false, "properties": {
            "id": {"type": "string"}, "effect": {"type": "string"}, "yields": {"type": "integer"},
            "fail": {"type": "boolean"},
        }})
    }

    fn output_schema(&self) -> Value {
        json!({"type": "object"})
    }

    fn effect(&self, inputs: &Inputs) -> Effect {
        match inputs["effect"].as_str() {
            Some("write") => Effect::Write,
            Some("idempotent") => Effect::Idempotent,
            _ => Effect::Read,
        }
    }

    async fn call(&self, _context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        let id = inputs["id"].as_str().unwrap_or_default().to_owned();
        let times = {
            let mut performed = lock(&self.0.performed);
            let times = performed.entry(id.clone()).or_default();
            *times += 1;
            *times
        };
        for _ in 0..inputs["yields"].as_u64().unwrap_or(0) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        if inputs["fail"] == true {
            return Err(CallError::rejected(ErrorClass::Refused, "told to fail"));
        }
        // A read may see another world each time: what was seen first must stay.
        Ok(json!({"id": id, "times": times}))
    }
}
