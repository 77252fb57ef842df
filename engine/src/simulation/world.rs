//! What is outside of the simulated process and survives its crashes: what connectors did, what guests saw, what
//! callers were told. It says at once when something may not be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, ErrorClass, Inputs, Message};

use crate::core::lock;

/// See the module.
#[derive(Default)]
pub(super) struct World(Mutex<State>);

#[derive(Default)]
struct State {
    violations: Vec<String>,
    /// Counts processes.
    process: u32,
    /// Counts commits.
    commits: u64,
    /// By connection: in which processes it was performed.
    performed: BTreeMap<String, Vec<u32>>,
    /// Connections whose result a guest has seen.
    delivered: BTreeSet<String>,
    /// By execution and operation.
    observed: BTreeMap<(String, usize), Value>,
    /// Lines that guests logged, by execution and operation.
    logged: BTreeSet<(String, usize)>,
    versions: BTreeMap<String, String>,
    /// Who began to wait for a signal and has been sent none since.
    wanted: BTreeSet<(String, String)>,
    signals: BTreeMap<String, SignalState>,
    /// By lock what was done under it outside, in order: beginnings and ends.
    critical: BTreeMap<u64, Vec<Critical>>,
    /// What must happen once, and which execution did it.
    fired: BTreeMap<String, String>,
}

/// Something that only the holder of a lock may do.
#[derive(Clone, Debug)]
pub(super) struct Critical {
    /// From when on it is held, and by whom at first.
    pub(super) since: String,
    pub(super) execution: String,
}

struct SignalState {
    execution: String,
    name: String,
    payload: Value,
    /// The number of commits when the sender was told that it is durable.
    told_at: Option<u64>,
    used_by: Option<(String, usize)>,
}

impl World {
    fn state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut lock(&self.0))
    }

    /// Notes that something is as it may not be.
    pub(super) fn violate(&self, what: String) {
        self.state(|state| state.violations.push(what));
    }

    /// The first thing that was not as it may be.
    pub(super) fn violation(&self) -> Result<(), String> {
        self.state(|state| state.violations.first().cloned().map_or(Ok(()), Err))
    }

    pub(super) fn process_started(&self) {
        self.state(|state| state.process += 1);
    }

    pub(super) fn committed(&self) {
        self.state(|state| state.commits += 1);
    }

    /// How often a connection was performed.
    pub(super) fn performed(&self, connection: &str) -> usize {
        self.state(|state| state.performed.get(connection).map_or(0, Vec::len))
    }

    /// All connections that were performed.
    pub(super) fn all_performed(&self) -> Vec<String> {
        self.state(|state| state.performed.keys().cloned().collect())
    }

    /// A guest saw the result of its operation `index`. What it saw once it sees in every later run.
    pub(super) fn observe(&self, execution: &str, index: usize, result: &Value) {
        self.state(|state| {
            let before = state.observed.entry((execution.to_owned(), index)).or_insert_with(|| result.clone());
            if before != result {
                let text = format!("operation {index} of {execution} was seen as {before}, and now as {result}");
                state.violations.push(text);
            }
        });
    }

    /// Another execution takes up a connection, as after a crash: how it ended there is nothing to this one.
    pub(super) fn taken_up(&self, connection: &str) {
        self.state(|state| state.delivered.remove(connection));
    }

    /// A guest saw how a connection ended.
    pub(super) fn delivered(&self, connection: &str, interrupted: bool) {
        self.state(|state| {
            state.delivered.insert(connection.to_owned());
            let here = state.performed.get(connection).is_some_and(|processes| processes.contains(&state.process));
            // At replay in a later process it is another process that performed it, so this says something live only.
            if interrupted && here {
                state.violations.push(format!("{connection} is interrupted, but its process lives"));
            }
        });
    }

    /// A guest logged a line, now or at replay.
    pub(super) fn logged(&self, execution: &str, index: usize) {
        self.state(|state| state.logged.insert((execution.to_owned(), index)));
    }

    /// How many lines an execution logged.
    pub(super) fn lines(&self, execution: &str) -> usize {
        self.state(|state| state.logged.iter().filter(|(of, _)| of == execution).count())
    }

    /// An execution runs that version, now and always.
    pub(super) fn runs(&self, execution: &str, version: &str) {
        self.state(|state| {
            let before = state.versions.entry(execution.to_owned()).or_insert_with(|| version.to_owned());
            if before != version {
                state.violations.push(format!("{execution} began on {before} and runs {version}"));
            }
        });
    }

    /// The version that an execution was seen to run.
    pub(super) fn version(&self, execution: &str) -> Option<String> {
        self.state(|state| state.versions.get(execution).cloned())
    }

    pub(super) fn wants(&self, execution: &str, name: &str) {
        self.state(|state| state.wanted.insert((execution.to_owned(), name.to_owned())));
    }

    /// Executions that began to wait for a signal and have been sent none since.
    pub(super) fn wanted(&self) -> Vec<(String, String)> {
        self.state(|state| state.wanted.iter().cloned().collect())
    }

    /// A signal is about to be sent.
    pub(super) fn sending(&self, id: &str, execution: &str, name: &str, payload: &Value) {
        let (execution, name, payload) = (execution.to_owned(), name.to_owned(), payload.clone());
        let signal = SignalState { execution, name, payload, told_at: None, used_by: None };
        self.state(|state| {
            state.wanted.remove(&(signal.execution.clone(), signal.name.clone()));
            state.signals.entry(id.to_owned()).or_insert(signal);
        });
    }

    /// Its sender was told that it is durable.
    pub(super) fn told(&self, id: &str) {
        self.state(|state| {
            let commits = state.commits;
            if let Some(signal) = state.signals.get_mut(id) {
                signal.told_at.get_or_insert(commits);
            }
        });
    }

    /// The signals whose senders were told that they are durable.
    pub(super) fn told_signals(&self) -> Vec<String> {
        self.state(|state| {
            state.signals.iter().filter(|(_, signal)| signal.told_at.is_some()).map(|(id, _)| id.clone()).collect()
        })
    }

    /// A guest got a signal.
    pub(super) fn used(&self, id: &str, execution: &str, index: usize, payload: &Value) {
        self.state(|state| {
            let user = (execution.to_owned(), index);
            let text = match state.signals.get_mut(id) {
                None => format!("signal {id} was never sent"),
                Some(signal) if signal.payload != *payload => format!("signal {id} came with {payload}"),
                Some(signal) => match signal.used_by.get_or_insert_with(|| user.clone()) {
                    by if *by == user => return,
                    by => format!("signal {id} was used by {by:?} and by {user:?}"),
                },
            };
            state.violations.push(text);
        });
    }

    /// A wait timed out, now and not at replay: no signal was durable in an earlier commit.
    pub(super) fn timed_out(&self, execution: &str, name: &str) {
        self.state(|state| {
            let missed = state.signals.iter().find(|(_, signal)| {
                signal.execution == execution
                    && signal.name == name
                    && signal.used_by.is_none()
                    && signal.told_at.is_some_and(|told| told < state.commits)
            });
            if let Some((id, _)) = missed {
                let text = format!("{execution} timed out although signal {id} was durable before");
                state.violations.push(text);
            }
        });
    }

    /// What must happen once happened in this execution.
    pub(super) fn fired(&self, key: &str, execution: &str) {
        self.state(|state| {
            let before = state.fired.entry(key.to_owned()).or_insert_with(|| execution.to_owned());
            if before != execution {
                state.violations.push(format!("`{key}` happened in {before} and in {execution}"));
            }
        });
    }

    /// Whether it happened.
    pub(super) fn has_fired(&self, key: &str) -> bool {
        self.state(|state| state.fired.contains_key(key))
    }

    /// By lock what was done under it, in order.
    pub(super) fn critical(&self) -> Vec<Vec<Critical>> {
        self.state(|state| state.critical.values().cloned().collect())
    }

    fn under_lock(&self, inputs: &Inputs) {
        let Some(lock) = inputs.get("lock").and_then(Value::as_u64) else { return };
        let text = |name: &str| inputs[name].as_str().unwrap_or_default().to_owned();
        let critical = Critical { since: text("since"), execution: text("execution") };
        self.state(|state| state.critical.entry(lock).or_default().push(critical));
    }

    fn performs(&self, connection: &str) -> usize {
        self.state(|state| {
            if state.delivered.contains(connection) {
                state.violations.push(format!("{connection} was performed again after its result was seen"));
            }
            let processes = state.performed.entry(connection.to_owned()).or_default();
            processes.push(state.process);
            processes.len()
        })
    }
}

/// A connector that counts what it does. Its inputs name its connection, so that the count can be checked.
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
            "id": {"type": "string"}, "effect": {"type": "string"}, "delay": {"type": "integer"},
            "fail": {"type": "string"}, "lock": {"type": "integer"}, "since": {"type": "string"},
            "execution": {"type": "string"},
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

    /// A mail, say: sent twice it is there twice.
    fn delivery(&self, _stored: &Inputs, message: &Message<'_>) -> Result<Inputs, String> {
        let inputs = json!({"id": message.id, "effect": "write", "delay": 1, "fail": ""});
        Ok(inputs.as_object().cloned().unwrap_or_default())
    }

    async fn call(&self, _context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        let id = inputs["id"].as_str().unwrap_or_default().to_owned();
        let fail = inputs["fail"].as_str().unwrap_or_default();
        if fail == "not_sent" {
            return Err(CallError::not_sent(ErrorClass::Network, "nobody is there"));
        }
        let times = self.0.performs(&id);
        self.0.under_lock(&inputs);
        tokio::time::sleep(Duration::from_millis(inputs["delay"].as_u64().unwrap_or(0))).await;
        self.0.under_lock(&inputs);
        match fail {
            "rejected" => Err(CallError::rejected(ErrorClass::Refused, "told to fail")),
            "unknown" => Err(CallError::unknown(ErrorClass::Network, "the line went dead")),
            // A read may see another world each time: what was seen first must stay.
            _ => Ok(json!({"id": id, "times": times})),
        }
    }
}
