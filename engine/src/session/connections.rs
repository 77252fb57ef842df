//! Host calls that start things: connections and child flows.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use surefoot_connector_api::{Effect, InputError, Inputs, merge};

use super::{CallResult, Document, End, HostError, Session, Turn};
use crate::calls::{self, CallEnd, Performance};
use crate::core::{Event, LostMark, lock};
use crate::id;
use crate::journal::{Call, CallKind, ConnectionStart, Digest, Outcome, Record, Reply, start_args};
use crate::people::Role;
use crate::planted::{Bug, is_planted};
use crate::policy::CallPolicy;
use crate::query::Kind;
use crate::secrets::OpenConnector;
use crate::store::executions;
use crate::store::{StoreError, StoreResult, Urgency, records};

/// What the inputs are called in errors.
const INPUTS: &str = "the connector's inputs";
const FLOW_INPUTS: &str = "the flow's inputs";

/// Options of a connector call.
#[derive(Clone, Debug, Default)]
pub struct ConnectionOptions {
    /// Display name; the connector's when there is none.
    pub name: Option<String>,
    /// Longest duration of one attempt.
    pub timeout: Option<Duration>,
    /// A [`CallPolicy`] as JSON text, over that of the connector.
    pub policy: Option<String>,
    /// Perform a write again although a crash made its outcome unknown.
    pub retry_on_interrupt: bool,
}

/// A connector call, ready to be performed.
struct Prepared {
    start: Arc<ConnectionStart>,
    inputs: Inputs,
    secrets: Vec<String>,
    /// What the call passed, as the journal may show it.
    shown: Value,
}

impl Session {
    /// Starts a call of a connector: a stored one by name or id, or `type:NAME`. Returns the connection's id.
    pub async fn start_connection(
        &self,
        connector: &str,
        inputs: impl Into<Document>,
        options: ConnectionOptions,
    ) -> CallResult<String> {
        let document = inputs.into();
        let digest = self.digest_of_start(connector, &document, &options)?;
        match self.recorded(CallKind::StartConnection, digest)? {
            Some(Turn::Replayed(reply)) => {
                if matches!(reply, Reply::Id(_)) {
                    self.replayed_start(connector, document)?;
                }
                let answer = self.answer(reply, as_id)?;
                Ok(answer.map(|id| self.absolute(id)))
            }
            Some(_) => Err(self.damaged()),
            None => {
                let inputs = match document.read_object(INPUTS) {
                    Ok(inputs) => inputs,
                    Err(error) => return Ok(Err(error)),
                };
                self.start_anew(digest, connector, inputs, options).await
            }
        }
    }

    fn digest_of_start(&self, connector: &str, inputs: &Document, options: &ConnectionOptions) -> Result<Digest, End> {
        let inputs = self.digested(inputs, |inputs| inputs.read_object(INPUTS).map(Value::Object));
        let timeout_ms =
            options.timeout.map_or(u64::MAX, |timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let parts = [
            connector.as_bytes(),
            &inputs,
            options.name.as_deref().unwrap_or_default().as_bytes(),
            &timeout_ms.to_le_bytes(),
            &[u8::from(options.retry_on_interrupt)],
            options.policy.as_deref().unwrap_or_default().as_bytes(),
        ];
        // Who brings no policy has the digest that he had before there were any.
        let parts = if options.policy.is_some() { &parts[..] } else { &parts[..parts.len() - 1] };
        self.digest(CallKind::StartConnection, parts.iter().copied())
    }

    async fn start_anew(
        &self,
        digest: Digest,
        connector: &str,
        inputs: Inputs,
        options: ConnectionOptions,
    ) -> CallResult<String> {
        // The journal shows inputs only after redaction, which needs the connector's schema: until then their names.
        let shown = json!({"connector": connector, "inputs": inputs.keys().collect::<Vec<_>>()});
        let (n, mut call) = self.unrecorded(CallKind::StartConnection, digest, shown)?;
        match self.prepare(connector, &inputs, &options)? {
            Ok(mut prepared) => {
                call.args = start_args(connector, std::mem::take(&mut prepared.shown), &prepared.start);
                self.begin_connection(n, call, prepared)
            }
            Err(error) => {
                let reply = self.store_call(n, call, move |_| Ok((Reply::Error(error), ()))).await?.0;
                self.answer(reply, as_id)
            }
        }
    }

    /// Resolves the connector, merges and checks the inputs.
    fn prepare(&self, connector: &str, inputs: &Inputs, options: &ConnectionOptions) -> CallResult<Prepared> {
        let limit = self.resident.started.limits.dependencies_max as usize;
        if lock(&self.resident.running).len() >= limit {
            return Ok(Err(HostError::LimitExceeded(format!(
                "dependencies_max: more than {limit} connections at one time"
            ))));
        }
        let found = match connector.strip_prefix("type:") {
            Some(ty) => Ok(Arc::new(OpenConnector::of_type(ty))),
            None => self.core.secrets.connectors.require(&self.core.readers, &self.core.writer, connector),
        };
        let found = self.grant(Role::Operator).called(connector, found);
        let stored = match found {
            Ok(stored) => stored,
            Err(StoreError::Refused(refusal)) => return Ok(Err(refusal.into())),
            Err(StoreError::Damaged(text)) => return Ok(Err(HostError::InvalidInput(text))),
            Err(_) => return Err(End::dropped()),
        };
        let record = &stored.record;
        let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
        let Some(ty) = self.core.connectors.get(text("type").as_str()) else {
            let known: Vec<_> = self.core.connectors.keys().copied().collect();
            let message = format!("there is no connector type `{}`; types are {}", text("type"), known.join(", "));
            return Ok(Err(HostError::NotFound(message)));
        };
        let mut merged = merge(&stored.config, inputs);
        let secrets = match self.core.resolve_secrets(&stored, &ty.rules, self.execution(), inputs, &mut merged) {
            Ok(secrets) => secrets,
            Err(StoreError::Refused(refusal)) => {
                return Ok(Err(HostError::InvalidInput(format!("connector `{}`: {refusal}", text("name")))));
            }
            Err(StoreError::Damaged(text)) => return Ok(Err(HostError::InvalidInput(text))),
            Err(_) => return Err(End::dropped()),
        };
        let merged = Value::Object(merged);
        if let Err(error) = ty.rules.validate(&merged) {
            let text = format!("connector `{}`: {error}", text("name"));
            return Ok(Err(match error {
                InputError::Extra { .. } => HostError::ExtraInput(text),
                InputError::Invalid(_) => HostError::InvalidInput(text),
            }));
        }
        let Value::Object(merged) = merged else { return Err(self.damaged()) };
        if let Some(Err(StoreError::Refused(refusal))) =
            options.name.as_ref().map(|name| records::check_name(Kind::Execution, name))
        {
            return Ok(Err(refusal.into()));
        }
        let policy = match options.policy.as_deref().map(CallPolicy::parse).transpose() {
            Ok(own) => stored.policy.clone().overridden(own.unwrap_or_default()),
            Err(error) => return Ok(Err(HostError::InvalidInput(format!("the policy of the call: {error}")))),
        };
        let timeout = options.timeout.or(policy.timeout_ms.map(Duration::from_millis));
        let timeout = timeout.unwrap_or(self.core.config.connection_timeout);
        let start = Arc::new(ConnectionStart {
            name: options.name.clone().unwrap_or_else(|| text("name")),
            connector_id: text("id"),
            connector_type: text("type"),
            revision: record["revision"].as_i64().unwrap_or(0),
            effect: ty.connector.effect(&merged),
            retry_on_interrupt: options.retry_on_interrupt,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            retry: policy.retry,
            cache_ms: policy.cache_ms,
        });
        let mut shown = Value::Object(ty.rules.redact(inputs));
        self.core.redactions(&self.resident, &secrets).map_err(|_| End::dropped())?.value(&mut shown);
        Ok(Ok(Prepared { start, inputs: merged, secrets, shown }))
    }

    /// Records the start and performs the call in a task of its own.
    fn begin_connection(&self, n: u32, call: Call, prepared: Prepared) -> CallResult<String> {
        let Prepared { start, inputs, secrets, .. } = prepared;
        let connection_id = id::connection_id(&self.execution().id, n);
        lock(&self.state).connections.add(n, start.clone());
        let record = Record::Call {
            n,
            kind: call.kind,
            digest: call.digest,
            args: call.args,
            at: self.now(),
            due: None,
            connection: Some(start.clone()),
            // Its id, which the number says.
            reply: None,
        };
        // The intent of a write is durable before its first byte leaves. Anything else may be performed at once: a
        // crash
        // before the record is durable makes the flow ask again.
        let key = self.execution().key;
        let intent = if start.effect == Effect::Write {
            Some(self.core.writer.record(Urgency::Now, key, &record))
        } else {
            self.core.writer.record_lazily(key, &record);
            None
        };
        self.perform(n, start, inputs, secrets, intent);
        Ok(Ok(connection_id))
    }

    fn perform(
        &self,
        n: u32,
        start: Arc<ConnectionStart>,
        inputs: Inputs,
        secrets: Vec<String>,
        intent: Option<crate::store::writer::Ticket<()>>,
    ) {
        let performance = self.performance(n, start, inputs, secrets);
        self.core.tasks.spawn(calls::perform(performance, intent));
    }

    fn performance(
        &self,
        n: u32,
        start: Arc<ConnectionStart>,
        inputs: Inputs,
        secrets: Vec<String>,
    ) -> Arc<Performance> {
        let (core, resident, lost) = (self.core.clone(), self.resident.clone(), LostMark::default());
        lock(&resident.running).insert(n, lost.clone());
        Arc::new(Performance { core, resident, n, start, inputs, secrets, lost })
    }

    /// A start that the journal has. What becomes of the connection is known when the journal has been read to its end.
    fn replayed_start(&self, connector: &str, inputs: Document) -> Result<(), End> {
        let mut state = lock(&self.state);
        let n = state.next - 1;
        let Some(start) = state.connections.start(n) else {
            drop(state);
            return Err(self.damaged());
        };
        let has_ended = || lock(&self.resident.settled).contains_key(&n);
        // In this order: a call is seen as ended before it leaves the running ones.
        if !has_ended() && !self.resident.is_running(n) && !has_ended() {
            let start = start.clone();
            state.unsettled.insert(n, (connector.to_owned(), inputs, start));
        }
        drop(state);
        self.resume_unsettled()
    }

    /// At the end of the journal: takes up the connections that it started and has no end of.
    pub(super) fn resume_unsettled(&self) -> Result<(), End> {
        let unsettled = {
            let mut state = lock(&self.state);
            if state.unsettled.is_empty() || state.past.next().is_some() {
                return Ok(());
            }
            let mut unsettled = std::mem::take(&mut state.unsettled);
            let settled = lock(&self.resident.settled);
            unsettled.retain(|n, _| !settled.contains_key(n));
            unsettled
        };
        for (n, (connector, inputs, start)) in unsettled {
            // They were read when the call was made.
            let inputs = inputs.read_object(INPUTS).map_err(|_| self.damaged())?;
            self.resume_connection(n, &connector, &inputs, start)?;
        }
        Ok(())
    }

    fn resume_connection(
        &self,
        n: u32,
        connector: &str,
        inputs: &Inputs,
        start: Arc<ConnectionStart>,
    ) -> Result<(), End> {
        let options = ConnectionOptions {
            name: Some(start.name.clone()),
            timeout: Some(Duration::from_millis(start.timeout_ms)),
            retry_on_interrupt: start.retry_on_interrupt,
            policy: None,
        };
        let prepared = self.prepare(connector, inputs, &options)?;
        let again = match (&prepared, start.effect) {
            (_, Effect::Write) if !start.retry_on_interrupt && !is_planted(Bug::InterruptedRepeated) => None,
            (Ok(prepared), Effect::Read | Effect::Write) => Some(prepared),
            // Twice is the same as once only while the target is the same.
            (Ok(prepared), Effect::Idempotent) => (prepared.start.revision == start.revision
                && prepared.start.connector_id == start.connector_id)
                .then_some(prepared),
            (Err(_), _) => None,
        };
        match again {
            Some(prepared) => self.perform(n, start, prepared.inputs.clone(), prepared.secrets.clone(), None),
            None => {
                let performance = self.performance(n, start, Inputs::new(), Vec::new());
                let end = CallEnd::new(self.core.now(), Outcome::Interrupted);
                self.core.tasks.spawn(calls::settle(performance, end));
            }
        }
        Ok(())
    }

    /// Starts a child execution of a flow, in one transaction with its entry. Returns its id.
    pub async fn start_flow(
        &self,
        flow: &str,
        input: impl Into<Document>,
        name: Option<&str>,
        orphan: bool,
    ) -> CallResult<String> {
        let document = input.into();
        let input_text = self.digested(&document, |input| input.read(FLOW_INPUTS));
        let parts = [flow.as_bytes(), &input_text, name.unwrap_or_default().as_bytes(), &[u8::from(orphan)]];
        let digest = self.digest(CallKind::StartFlow, parts)?;
        let reply = match self.recorded(CallKind::StartFlow, digest)? {
            Some(Turn::Replayed(reply)) => reply,
            Some(_) => return Err(self.damaged()),
            None => {
                let input = match document.read(FLOW_INPUTS) {
                    Ok(input) => input,
                    Err(error) => return Ok(Err(error)),
                };
                let shown = json!({"flow": flow, "input": input, "name": name, "orphan": orphan});
                let (n, call) = self.unrecorded(CallKind::StartFlow, digest, shown)?;
                self.start_child(n, call, flow, input, name, orphan).await?
            }
        };
        self.answer(reply, as_id)
    }

    async fn start_child(
        &self,
        n: u32,
        call: Call,
        flow: &str,
        input: Value,
        name: Option<&str>,
        orphan: bool,
    ) -> Result<Reply, End> {
        let refused = self.refused_child()?;
        let random = is_planted(Bug::ChildIdRandom).then(|| self.core.new_id());
        let child = random.unwrap_or_else(|| id::child_id(&self.execution().id, n));
        let depth = self.resident.started.depth + 1;
        let (parent, by) = (self.execution().id.clone(), format!("execution {}", self.execution().id));
        let (core, flow, name) = (self.core.clone(), flow.to_owned(), name.map(str::to_owned));
        let grant = self.grant(Role::Operator);
        let (reply, key) = self
            .store_call(n, call, move |connection| {
                if let Some(error) = refused {
                    return Ok((Reply::Error(error), None));
                }
                grant.check_start(connection, &flow, &input)?;
                let rights = grant.rights();
                let mut new = core.new_flow_execution(connection, child.clone(), &flow, input, &by, rights)?;
                new.started.depth = depth;
                if let Some(name) = name {
                    records::check_name(Kind::Execution, &name)?;
                    new.name = name;
                }
                new.parent_id = Some(parent);
                new.orphan = orphan;
                let key: StoreResult<_> = executions::insert(connection, &new, core.now());
                Ok((Reply::Id(child), Some(key?)))
            })
            .await?;
        if let Some(key) = key.flatten() {
            self.core.send(Event::Wake(key));
        }
        Ok(reply)
    }
}

fn as_id(reply: Reply) -> Option<String> {
    match reply {
        Reply::Id(id) => Some(id),
        _ => None,
    }
}
