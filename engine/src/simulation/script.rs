//! Random scripts, and the flow that runs them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::world::World;
use crate::journal::{CallKind, HostError};
use crate::native::NativeFlow;
use crate::session::{ConnectionOptions, End, QueryCall, ReturnWhen, Session};

/// One operation of a script.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Op {
    Connect { effect: String, yields: u32, fail: bool, retry: bool },
    Parallel { count: u32, first: bool },
    Sleep { millis: u64 },
    Save { value: u32 },
    Load,
    Query,
    Child(Script),
    Timeout { millis: u64 },
    Note,
    Random,
    Get,
    Log,
}

impl Op {
    pub(super) const NAMES: usize = 12;

    pub(super) fn name(&self) -> String {
        let text = format!("{self:?}");
        text.split([' ', '(']).next().unwrap_or_default().to_owned()
    }

    fn random(rng: &mut ChaCha8Rng, depth: u32) -> Self {
        let mut below = |limit: u32| rng.next_u32() % limit;
        match below(15) {
            0..=2 => {
                let effect = ["read", "idempotent", "write"][below(3) as usize].to_owned();
                let fail = effect == "read" && below(4) == 0;
                Self::Connect { effect, yields: below(5), fail, retry: below(3) == 0 }
            }
            3 => Self::Parallel { count: below(4) + 1, first: below(2) == 0 },
            4 => Self::Sleep { millis: u64::from(below(20_000)) },
            5 => Self::Save { value: below(100) },
            6 => Self::Load,
            7 => Self::Query,
            8 | 9 if depth < 2 => Self::Child(Script::random_at(rng, depth + 1)),
            10 => Self::Timeout { millis: u64::from(below(50)) },
            11 => Self::Note,
            12 => Self::Random,
            13 => Self::Get,
            _ => Self::Log,
        }
    }
}

/// What a simulated guest does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Script {
    pub(super) ops: Vec<Op>,
}

impl Script {
    pub(super) fn random(rng: &mut ChaCha8Rng) -> Self {
        Self::random_at(rng, 0)
    }

    fn random_at(rng: &mut ChaCha8Rng, depth: u32) -> Self {
        let length = 3 + rng.next_u32() % if depth == 0 { 24 } else { 5 };
        Self { ops: (0..length).map(|_| Op::random(rng, depth)).collect() }
    }

    /// Executions that the script starts, theirs included.
    pub(super) fn children(&self) -> usize {
        let of = |op: &Op| match op {
            Op::Child(script) => 1 + script.children(),
            Op::Timeout { .. } => 1,
            _ => 0,
        };
        self.ops.iter().map(of).sum()
    }
}

/// Runs the script in its input.
pub(super) struct ScriptFlow(pub(super) Arc<World>);

#[async_trait]
impl NativeFlow for ScriptFlow {
    async fn run(&self, session: Arc<Session>, input: Value) -> Result<Value, End> {
        let script: Script = serde_json::from_value(input).expect("the input is a script");
        let mut results = Vec::new();
        for (index, op) in script.ops.iter().enumerate() {
            let result = Run { session: &session, index }.perform(op).await?;
            self.0.observe(&session.execution().id, index, &result);
            results.push(result);
        }
        Ok(json!({ "results": results, "now": session.now() }))
    }
}

struct Run<'a> {
    session: &'a Arc<Session>,
    index: usize,
}

fn shown<T>(result: Result<T, HostError>, show: impl FnOnce(T) -> Value) -> Value {
    match result {
        Ok(value) => show(value),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

impl Run<'_> {
    async fn perform(&self, op: &Op) -> Result<Value, End> {
        let session = self.session;
        let setting = format!("setting-{}", session.execution().id);
        Ok(match op {
            Op::Connect { effect, yields, fail, retry } => self.connect(effect, *yields, *fail, *retry).await?,
            Op::Parallel { count, first } => self.parallel(*count, *first).await?,
            Op::Sleep { millis } => {
                let before = session.now();
                session.sleep(Duration::from_millis(*millis), None).await?;
                assert!(session.now() >= before.after(Duration::from_millis(*millis)), "a sleep returned early");
                json!(session.now())
            }
            Op::Save { value } => {
                let fields: Map<String, Value> = [("value".to_owned(), json!(value))].into_iter().collect();
                let saved = session.record_save("setting", &setting, fields).await?;
                shown(saved, |record| json!([record["revision"], record["value"]]))
            }
            Op::Load => {
                let found = session.record_get("setting", &setting).await?;
                shown(found, |record| record.map(|record| record["value"].clone()).unwrap_or_default())
            }
            Op::Query => {
                let query = QueryCall {
                    kind: "setting".into(),
                    order: Some("name".into()),
                    limit: Some(5),
                    ..QueryCall::default()
                };
                shown(session.record_query(&query).await?, |page| json!(page))
            }
            Op::Child(script) => {
                let input = serde_json::to_value(script).expect("a script is plain JSON");
                self.child(input, None).await?
            }
            Op::Timeout { millis } => {
                let sleeper = json!({"ops": [{"Sleep": {"millis": 5}}]});
                self.child(sleeper, Some(Duration::from_millis(*millis))).await?
            }
            Op::Note => {
                session.note(CallKind::Check, json!({"name": "check", "outcome": "pass"}))?;
                json!(session.now())
            }
            Op::Random => {
                let mut bytes = [0; 4];
                session.random_bytes(&mut bytes);
                json!(bytes)
            }
            Op::Get => shown(session.get("created_at").await?, |value| value),
            Op::Log => {
                session.log("info", "log", "a line", Value::Null)?;
                Value::Null
            }
        })
    }

    fn probe_inputs(&self, effect: &str, yields: u32, fail: bool) -> Map<String, Value> {
        let id = format!("{}/{}", self.session.execution().id, self.session.calls());
        let inputs = json!({"id": id, "effect": effect, "yields": yields, "fail": fail});
        inputs.as_object().cloned().unwrap_or_default()
    }

    async fn connect(&self, effect: &str, yields: u32, fail: bool, retry: bool) -> Result<Value, End> {
        let inputs = self.probe_inputs(effect, yields, fail);
        let options = ConnectionOptions { retry_on_interrupt: retry, ..ConnectionOptions::default() };
        let id = self.session.start_connection("type:probe", inputs, options).await?.expect("the probe exists");
        let ended = self.session.wait(&[id], ReturnWhen::AllSucceeded, None).await?;
        Ok(shown(ended, |ended| ended[0].output.clone()))
    }

    async fn parallel(&self, count: u32, first: bool) -> Result<Value, End> {
        let mut ids = Vec::new();
        for yields in 0..count {
            let inputs = self.probe_inputs("read", yields, false);
            ids.push(
                self.session
                    .start_connection("type:probe", inputs, ConnectionOptions::default())
                    .await?
                    .expect("the probe exists"),
            );
        }
        let when = if first { ReturnWhen::FirstEnded } else { ReturnWhen::AllEnded };
        let ended = self.session.wait(&ids, when, None).await?;
        Ok(shown(ended, |ended| ended.into_iter().map(|ended| ended.output).collect()))
    }

    async fn child(&self, input: Value, timeout: Option<Duration>) -> Result<Value, End> {
        let name = format!("child of operation {}", self.index);
        let id = self.session.start_flow("native:script", input, Some(&name), false).await?.expect("the flow exists");
        let ended = self.session.wait(&[id], ReturnWhen::AllEnded, timeout).await?;
        Ok(shown(ended, |ended| json!([ended[0].status, ended[0].output])))
    }
}
