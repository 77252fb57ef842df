//! Random scripts, and the flows that the simulated engine runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::plan::{LOCKS, SIGNAL_NAMES, below, lock_name, signal_name};
use super::world::World;
use crate::core::lock;
use crate::id;
use crate::journal::{CallKind, HostError};
use crate::native::NativeFlow;
use crate::session::{Asking, ConnectionOptions, End, EndAction, EndedDependency, QueryCall, ReturnWhen, Session};

/// The flow that runs scripts, in its two versions, and its record.
pub(super) const VERSIONS: [&str; 2] = ["native:script", "native:script-2"];
pub(super) const FLOW: &str = "job";

/// One operation of a script.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Op {
    Connect { effect: String, delay: u32, fail: String, retry: bool, timeout: Option<u64> },
    Parallel { count: u32, first: bool },
    Sleep { millis: u64 },
    Save { value: u32 },
    Load,
    Query,
    Child { script: Script, orphan: bool },
    Timeout { millis: u64 },
    CancelChild,
    Signal { name: u32, timeout: Option<u64> },
    Ask { name: u32, timeout: Option<u64> },
    Lock { lock: u32, timeout: Option<u64> },
    Unlock { lock: u32 },
    OnEnd,
    Note,
    Random,
    Get,
    Log,
    ContinueAsNew,
    Stop,
}

impl Op {
    pub(super) const NAMES: usize = 20;

    pub(super) fn name(&self) -> String {
        let text = format!("{self:?}");
        text.split([' ', '(']).next().unwrap_or_default().to_owned()
    }

    fn random(rng: &mut ChaCha8Rng, depth: u32) -> Self {
        match below(rng, 31) {
            0..=5 => Self::random_connect(rng),
            6 => Self::Parallel { count: below(rng, 4) + 1, first: below(rng, 2) == 0 },
            7 | 8 => Self::Sleep { millis: u64::from(below(rng, 20_000)) },
            9 => Self::Save { value: below(rng, 100) },
            10 => Self::Load,
            11 => Self::Query,
            12 | 13 if depth < 2 => {
                Self::Child { script: Script::random_at(rng, depth + 1), orphan: below(rng, 4) == 0 }
            }
            14 => Self::Timeout { millis: u64::from(below(rng, 50)) },
            15 => Self::CancelChild,
            16..=18 => {
                let timeout = (below(rng, 2) == 0).then(|| u64::from(below(rng, 5000)));
                Self::Signal { name: below(rng, SIGNAL_NAMES), timeout }
            }
            19 => Self::OnEnd,
            20 => Self::Note,
            21 => Self::Random,
            22 => Self::Get,
            23 if below(rng, 2) == 0 => Self::ContinueAsNew,
            24 if depth > 0 => Self::Stop,
            25 => Self::Ask {
                name: SIGNAL_NAMES + below(rng, SIGNAL_NAMES),
                timeout: (below(rng, 2) == 0).then(|| u64::from(below(rng, 5000))),
            },
            26..=28 => {
                // A parent may hold what its child wants, and wait for the child: a child does not wait for ever.
                let waits_on = depth == 0 && below(rng, 2) == 0;
                let timeout = (!waits_on).then(|| u64::from(below(rng, 5000)));
                Self::Lock { lock: below(rng, LOCKS), timeout }
            }
            29 => Self::Unlock { lock: below(rng, LOCKS) },
            _ => Self::Log,
        }
    }

    fn random_connect(rng: &mut ChaCha8Rng) -> Self {
        let effect = ["read", "idempotent", "write", "write"][below(rng, 4) as usize].to_owned();
        let fail = ["", "", "", "", "not_sent", "rejected", "unknown"][below(rng, 7) as usize].to_owned();
        let delay = if below(rng, 4) == 0 { below(rng, 1500) } else { below(rng, 5) };
        let timeout = (below(rng, 6) == 0).then(|| u64::from(below(rng, 1000) + 1));
        Self::Connect { effect, delay, fail, retry: below(rng, 3) == 0, timeout }
    }
}

/// What a guest knows of the locks that it holds: since which call, as the world calls that, and how many times.
pub(super) type Holds = BTreeMap<u32, (String, u32)>;

/// What a simulated guest does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Script {
    pub(super) ops: Vec<Op>,
    /// From the execution that continued as this one.
    #[serde(default)]
    pub(super) holds: Holds,
}

impl Script {
    pub(super) fn random(rng: &mut ChaCha8Rng) -> Self {
        Self::random_at(rng, 0)
    }

    fn random_at(rng: &mut ChaCha8Rng, depth: u32) -> Self {
        let length = 2 + below(rng, if depth == 0 { 14 } else { 4 });
        Self { ops: (0..length).map(|_| Op::random(rng, depth)).collect(), holds: Holds::new() }
    }

    /// The names of its operations, and of its children's.
    pub(super) fn names(&self) -> Vec<String> {
        let of = |op: &Op| match op {
            Op::Child { script, .. } => script.names(),
            _ => Vec::new(),
        };
        self.ops.iter().flat_map(|op| std::iter::once(op.name()).chain(of(op))).collect()
    }

    /// Scripts with one operation less, or with a smaller one.
    pub(super) fn smaller(&self) -> Vec<Self> {
        let mut scripts = Vec::new();
        for index in 0..self.ops.len() {
            let mut script = self.clone();
            script.ops.remove(index);
            scripts.push(script);
        }
        for (index, op) in self.ops.iter().enumerate() {
            let Op::Child { script, .. } = op else { continue };
            for smaller in script.smaller() {
                let mut whole = self.clone();
                if let Op::Child { script, .. } = &mut whole.ops[index] {
                    *script = smaller;
                }
                scripts.push(whole);
            }
        }
        scripts
    }
}

/// The flows by name.
pub(super) fn flows(world: &Arc<World>) -> Vec<(String, Arc<dyn NativeFlow>)> {
    let mut flows: Vec<(String, Arc<dyn NativeFlow>)> = Vec::new();
    for version in VERSIONS {
        let name = version.trim_start_matches("native:").to_owned();
        flows.push((name, Arc::new(ScriptFlow { world: world.clone(), version })));
    }
    flows.push(("tick".to_owned(), Arc::new(Tick(world.clone()))));
    flows.push(("pacer".to_owned(), Arc::new(Pacer)));
    flows
}

/// Runs the script in its input.
struct ScriptFlow {
    world: Arc<World>,
    version: &'static str,
}

#[async_trait]
impl NativeFlow for ScriptFlow {
    async fn run(&self, session: Arc<Session>, input: Value) -> Result<Value, End> {
        self.world.runs(&session.execution().id, self.version);
        if let Some(instant) = input["scheduled_for"].as_str() {
            // Started by the scheduler `cron`.
            return tick(&self.world, &session, &format!("{} at {instant}", input["schedule_id"])).await;
        }
        let script: Script = serde_json::from_value(input).expect("the input is a script");
        let (mut results, holds) = (Vec::new(), Mutex::new(script.holds.clone()));
        for (index, op) in script.ops.iter().enumerate() {
            match op {
                Op::ContinueAsNew => {
                    let mut taken_over = lock(&holds).clone();
                    taken_over.values_mut().for_each(|(_, times)| *times = 0);
                    let rest = Script { ops: script.ops[index + 1..].to_vec(), holds: taken_over };
                    return Err(End::ContinueAsNew(serde_json::to_value(rest).expect("a script is plain JSON")));
                }
                Op::Stop => return Err(End::Error("stopped".into(), "on purpose".into())),
                _ => {}
            }
            let run = Run { world: &self.world, session: &session, index, holds: &holds };
            let result = run.perform(op).await?;
            self.world.observe(&session.execution().id, index, &result);
            results.push(result);
        }
        Ok(json!({ "results": results, "now": session.now() }))
    }
}

/// Says that something happened, and does it with a write.
struct Tick(Arc<World>);

#[async_trait]
impl NativeFlow for Tick {
    async fn run(&self, session: Arc<Session>, input: Value) -> Result<Value, End> {
        let mut key = input["key"].as_str().unwrap_or_default().to_owned();
        // One that was restarted does at its end what it took over, as the one before did.
        if key.starts_with(END) {
            key = end_by(&key, session.execution().parent_id.as_deref().unwrap_or_default());
        }
        tick(&self.0, &session, &key).await
    }
}

async fn tick(world: &Arc<World>, session: &Arc<Session>, key: &str) -> Result<Value, End> {
    world.fired(key, &session.execution().id);
    Run { world, session, index: 0, holds: &Mutex::default() }.connect("write", 1, "", false, None).await
}

/// A scheduler of the user's own.
struct Pacer;

#[async_trait]
impl NativeFlow for Pacer {
    async fn run(&self, session: Arc<Session>, input: Value) -> Result<Value, End> {
        session.sleep(Duration::from_secs(5), None).await?;
        let key = format!("pace {}", input["iteration"]);
        let started = session.start_flow("native:tick", json!({ "key": key }), None, true).await?;
        Ok(json!({"count": input["previous"]["count"].as_i64().unwrap_or(0) + 1, "started": started.is_ok()}))
    }
}

struct Run<'a> {
    world: &'a Arc<World>,
    session: &'a Arc<Session>,
    index: usize,
    holds: &'a Mutex<Holds>,
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
        let execution = &session.execution().id;
        // Who is restarted passes in the first calls what was passed before.
        let maker = session.resident().maker(session.calls());
        let setting = format!("setting-{maker}");
        Ok(match op {
            Op::Connect { effect, delay, fail, retry, timeout } => {
                self.connect(effect, *delay, fail, *retry, *timeout).await?
            }
            Op::Parallel { count, first } => self.parallel(*count, *first).await?,
            Op::Sleep { millis } => self.sleep(*millis).await?,
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
            Op::Child { script, orphan } => {
                let input = serde_json::to_value(script).expect("a script is plain JSON");
                self.child(FLOW, input, *orphan, None).await?
            }
            Op::Timeout { millis } => {
                let sleeper = json!({"ops": [{"Sleep": {"millis": 5}}]});
                self.child(VERSIONS[0], sleeper, false, Some(Duration::from_millis(*millis))).await?
            }
            Op::CancelChild => self.cancel_child().await?,
            Op::Signal { name, timeout } => self.signal(&signal_name(*name), *timeout).await?,
            Op::Ask { name, timeout } => self.ask(&signal_name(*name), *timeout).await?,
            Op::Lock { lock, timeout } => self.lock(*lock, *timeout).await?,
            Op::Unlock { lock } => self.unlock(*lock).await?,
            Op::OnEnd => {
                let inputs = json!({"key": end_key(maker, session.calls())});
                let action = EndAction::StartFlow { flow: "native:tick".into(), inputs };
                shown(session.on_end(action).await?, |()| Value::Null)
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
                self.world.logged(execution, self.index);
                Value::Null
            }
            Op::ContinueAsNew | Op::Stop => unreachable!("these end the run"),
        })
    }

    async fn sleep(&self, millis: u64) -> Result<Value, End> {
        let before = self.session.now();
        self.session.sleep(Duration::from_millis(millis), None).await?;
        let after = self.session.now();
        if after < before.after(Duration::from_millis(millis)) {
            self.world.violate(format!("a sleep of {millis} ms took from {before} to {after}"));
        }
        Ok(json!(after))
    }

    fn probe_inputs(&self, effect: &str, delay: u32, fail: &str) -> (String, Map<String, Value>) {
        let n = self.session.calls();
        let id = id::connection_id(self.session.resident().maker(n), n);
        let inputs = json!({"id": id, "effect": effect, "delay": delay, "fail": fail});
        (id, inputs.as_object().cloned().unwrap_or_default())
    }

    async fn connect(
        &self,
        effect: &str,
        delay: u32,
        fail: &str,
        retry: bool,
        timeout: Option<u64>,
    ) -> Result<Value, End> {
        let (name, inputs) = self.probe_inputs(effect, delay, fail);
        let timeout = timeout.map(Duration::from_millis);
        let options = ConnectionOptions { retry_on_interrupt: retry, timeout, ..ConnectionOptions::default() };
        let id = self.session.start_connection("type:probe", inputs, options).await?.expect("the probe exists");
        let ended = self.session.wait(&[id], ReturnWhen::AllSucceeded, None).await?;
        let interrupted = matches!(&ended, Err(HostError::DependencyFailed(failure)) if failure.code == "interrupted");
        self.world.delivered(&name, interrupted);
        Ok(shown(ended, |ended| ended[0].output.value().into_owned()))
    }

    async fn parallel(&self, count: u32, first: bool) -> Result<Value, End> {
        let mut ids = Vec::new();
        for index in 0..count {
            let (_, inputs) = self.probe_inputs("read", (count - index) * 2, "");
            let started = self.session.start_connection("type:probe", inputs, ConnectionOptions::default()).await?;
            ids.push(started.expect("the probe exists"));
        }
        let when = if first { ReturnWhen::FirstEnded } else { ReturnWhen::AllEnded };
        let ended = self.session.wait(&ids, when, None).await?;
        Ok(shown(ended, |ended| ended.into_iter().map(|ended| json!([ended.id, ended.output])).collect()))
    }

    async fn child(&self, flow: &str, input: Value, orphan: bool, wait: Option<Duration>) -> Result<Value, End> {
        let name = format!("child of operation {}", self.index);
        let id = self.session.start_flow(flow, input, Some(&name), orphan).await?.expect("the flow exists");
        if orphan {
            return Ok(json!(id));
        }
        let ended = self.session.wait(&[id], ReturnWhen::AllEnded, wait).await?;
        Ok(shown(ended, |ended| dependency(&ended[0])))
    }

    async fn cancel_child(&self) -> Result<Value, End> {
        let sleeper = json!({"ops": [{"Sleep": {"millis": 3_600_000}}]});
        let id = self.session.start_flow(VERSIONS[1], sleeper, None, false).await?.expect("the flow exists");
        let cancelled = self.session.cancel(&id).await?;
        let ended = self.session.wait(&[id], ReturnWhen::AllEnded, None).await?;
        Ok(json!([shown(cancelled, |()| Value::Null), shown(ended, |ended| dependency(&ended[0]))]))
    }

    async fn signal(&self, name: &str, timeout: Option<u64>) -> Result<Value, End> {
        let (session, execution) = (self.session, &self.session.execution().id);
        let live = !session.is_answered();
        if session.is_live() {
            self.world.wants(execution, name);
        }
        let result = session.wait_signal(name, timeout.map(Duration::from_millis)).await?;
        Ok(self.signalled(name, live, result))
    }

    async fn ask(&self, name: &str, timeout: Option<u64>) -> Result<Value, End> {
        let (session, timeout) = (self.session, timeout.map(Duration::from_millis));
        let asking = Asking { timeout, with_token: true, ..Asking::default() };
        let asked = session.ask(name, asking).await?.expect("it can be asked");
        let live = !session.is_answered();
        if session.is_live() {
            self.world.wants(&session.execution().id, name);
        }
        let result = session.wait_answer(&asked.id).await?;
        Ok(json!([asked.id, asked.token, self.signalled(name, live, result)]))
    }

    async fn lock(&self, number: u32, timeout: Option<u64>) -> Result<Value, End> {
        let (session, execution) = (self.session, &self.session.execution().id);
        // As the world knows it: who is restarted passes in the first calls what was passed before.
        let n = session.calls();
        let since = format!("{} {n}", session.resident().maker(n));
        let result = session.lock(&lock_name(number), timeout.map(Duration::from_millis)).await?;
        match &result {
            Ok(_) => {
                lock(self.holds).entry(number).or_insert((since, 0)).1 += 1;
                self.critical(number).await?;
            }
            Err(HostError::LockTimeout(_)) if timeout.is_some() => {}
            Err(HostError::Deadlock(_)) if !lock(self.holds).is_empty() => {}
            Err(error) => self.world.violate(format!("{execution} could not lock: {error:?}")),
        }
        Ok(shown(result, Value::from))
    }

    async fn unlock(&self, number: u32) -> Result<Value, End> {
        let holds = lock(self.holds).contains_key(&number);
        if holds {
            self.critical(number).await?;
        }
        let result = self.session.unlock(&lock_name(number)).await?;
        if result.is_ok() != holds {
            let execution = &self.session.execution().id;
            self.world.violate(format!("{execution} holds {number}: {holds}, and its unlock gave {result:?}"));
        }
        let mut all = lock(self.holds);
        match all.get_mut(&number) {
            Some((_, times)) if *times > 1 => *times -= 1,
            _ => drop(all.remove(&number)),
        }
        Ok(shown(result, |()| Value::Null))
    }

    /// Does something outside that only the holder of a lock may do.
    async fn critical(&self, number: u32) -> Result<(), End> {
        let since = lock(self.holds).get(&number).map(|(since, _)| since.clone());
        let maker = self.session.resident().maker(self.session.calls());
        let (_, mut inputs) = self.probe_inputs("idempotent", 1, "");
        inputs.insert("lock".into(), json!(number));
        inputs.insert("since".into(), json!(since));
        inputs.insert("execution".into(), json!(maker));
        let started = self.session.start_connection("type:probe", inputs, ConnectionOptions::default()).await?;
        let id = started.expect("the probe exists");
        let _ = self.session.wait(&[id], ReturnWhen::AllEnded, None).await?;
        Ok(())
    }

    fn signalled(&self, name: &str, live: bool, result: Result<(String, Value, String), HostError>) -> Value {
        let execution = &self.session.execution().id;
        match &result {
            Ok((id, payload, _)) => {
                let by = self.session.resident().maker(self.session.calls() - 1);
                self.world.used(id, by, self.index, payload);
            }
            Err(_) if live => self.world.timed_out(execution, name),
            Err(_) => {}
        }
        shown(result, |(id, payload, sender)| json!([id, payload, sender]))
    }
}

fn dependency(ended: &EndedDependency) -> Value {
    json!([ended.status, ended.code, ended.output])
}

/// What an action at the end, registered by that call, is known by.
pub(super) fn end_key(execution: &str, call: u32) -> String {
    format!("{END}{execution} {call}")
}

const END: &str = "end ";

/// The same, done at the end of that execution.
pub(super) fn end_by(key: &str, execution: &str) -> String {
    format!("{key} by {execution}")
}
