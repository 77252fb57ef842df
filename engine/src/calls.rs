//! Connector calls at work. Each belongs to a task of its own, not to the instance that asked for it: evicting or
//! cancelling that never
//! touches it, and its end is always recorded.

mod results;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use surefoot_connector_api::{CallContext, CallError, Effect, ErrorClass, Inputs, Sent, StoredFile};

use crate::clock::Timestamp;
use crate::core::{Core, Event, LostMark, Resident, Settled, lock};
use crate::files::ConnectionFiles;
use crate::grant::Grant;
use crate::journal::{
    Attempt, CallKind, ConnectionStart, Digest, DigestVersion, Failure, Outcome, Record, Status, canonical_object,
};
use crate::people::Role;
use crate::planted::{Bug, is_planted};
use crate::store::writer::Ticket;
use crate::store::{Concerns, Refusal, StoreError, Urgency, journal};

pub(crate) use results::ResultCache;

/// Between attempts to record an end.
const RECORD_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A call to perform.
pub(crate) struct Performance {
    pub(crate) core: Arc<Core>,
    pub(crate) resident: Arc<Resident>,
    /// Number of the host call that started it.
    pub(crate) n: u32,
    pub(crate) start: Arc<ConnectionStart>,
    pub(crate) inputs: Inputs,
    /// What of them is to be taken out of what comes back.
    pub(crate) secrets: Vec<String>,
    pub(crate) lost: LostMark,
}

/// How a call ended.
pub(crate) struct CallEnd {
    /// When it was performed for the last time.
    began: Timestamp,
    outcome: Arc<Outcome>,
    /// Attempts before that.
    attempts: Vec<Attempt>,
    /// When the result was got, if it was that of an earlier call.
    cached_at: Option<Timestamp>,
    /// Files that it wrote, whose names change hands with the record.
    staged: Vec<StoredFile>,
}

impl CallEnd {
    pub(crate) fn new(began: Timestamp, outcome: Outcome) -> Self {
        Self { began, outcome: Arc::new(outcome), attempts: Vec::new(), cached_at: None, staged: Vec::new() }
    }

    fn record(&self, n: u32, at: Timestamp) -> Record {
        let Self { began, outcome, attempts, cached_at, .. } = self;
        let (began, cached_at) = (*began, *cached_at);
        Record::Settled { n, began, at, outcome: outcome.clone(), attempts: attempts.clone(), cached_at }
    }
}

/// Performs a call, after its intent is durable if it has one and its execution in any case, and records how it ended.
pub(crate) async fn perform(performance: Arc<Performance>, intent: Option<Ticket<()>>) {
    // An execution that never came to be has done nothing.
    if !is_planted(Bug::CallBeforeCreation) && !performance.resident.is_created().await {
        return performance.over();
    }
    if let Some(intent) = intent
        && !is_planted(Bug::WriteBeforeIntent)
        && intent.done().await.is_err()
    {
        // Nothing has left, and nothing is recorded: after recovery the flow asks again.
        return performance.over();
    }
    let end = match performance.earlier_result() {
        Some(end) => Some(end),
        None => performance.to_the_end().await,
    };
    match end {
        Some(end) => settle(performance, end).await,
        None => performance.over(),
    }
}

/// Records how a call ended, and tells the execution. What has happened outside stays in memory until it is recorded:
/// after a failed commit it is tried again.
pub(crate) async fn settle(performance: Arc<Performance>, end: CallEnd) {
    if end.cached_at.is_none()
        && let Some(ty) = performance.core.connectors.get(performance.start.connector_type.as_str())
    {
        ty.metrics.ended(&end.outcome, performance.core.now().since(end.began));
    }
    if end.staged.is_empty() {
        return record_end(performance, Arc::new(end));
    }
    match record_end_with_files(&performance, &end).await {
        Ok(()) => performance.over(),
        // Nothing was recorded: a file's name was refused. That is how the call ended, then.
        Err(refusal) => {
            let error = CallError::rejected(ErrorClass::InvalidInput, refusal.to_string());
            let outcome = Arc::new(Outcome::Failed(error));
            record_end(performance, Arc::new(CallEnd { outcome, staged: Vec::new(), ..end }));
        }
    }
}

/// Of a call that wrote no file. The execution sees the end at once: the wait that returns it commits after it.
fn record_end(performance: Arc<Performance>, end: Arc<CallEnd>) {
    let Performance { core, resident, n, start, lost, .. } = &*performance;
    if lost.load(Ordering::SeqCst) {
        return performance.over();
    }
    let record = end.record(*n, core.now());
    // The wait of an instance that is there commits at once and takes a read along.
    let lazy = start.effect == Effect::Read && resident.has_instance.load(Ordering::SeqCst);
    let urgency = if lazy { Urgency::Lazy } else { Urgency::Now };
    let (recorded, seen) = (performance.clone(), Settled { outcome: end.outcome.clone() });
    // The lock is held while the record is queued: a wait that sees the end is queued after it. The touch comes first:
    // when the record is durable, an instance that goes away at that moment has been told.
    let mut settled = lock(&resident.settled);
    resident.touch();
    let is_queued = core.writer.record_then(urgency, resident.execution.key, &record, move |result| match result {
        Ok(()) => recorded.over(),
        Err(_) if is_planted(Bug::ResultForgotten) => recorded.over(),
        Err(error) => record_end_again(recorded, end, &error),
    });
    if is_queued {
        settled.insert(*n, seen);
    }
}

/// What the store lost is forgotten when it is opened anew, see [`Resident::keep_recorded`], before any guest is on its
/// way again. Called with `settled` locked.
fn record_end_again(performance: Arc<Performance>, end: Arc<CallEnd>, error: &StoreError) {
    performance.not_recorded(error);
    let core = performance.core.clone();
    let again = async move {
        match performance.may_record_again().await {
            true => record_end(performance, end),
            false => performance.over(),
        }
    };
    core.tasks.spawn_on(again, &core.runtime);
}

/// Together with the names of the files that the call wrote. A name may be refused, so the end is seen later. Returns
/// the refusal.
async fn record_end_with_files(performance: &Performance, end: &CallEnd) -> Result<(), Refusal> {
    let Performance { core, resident, n, lost, .. } = performance;
    while !lost.load(Ordering::SeqCst) {
        let key = resident.execution.key;
        let record = end.record(*n, core.now());
        let (staged, stamp) = (end.staged.clone(), core.stamp(&format!("execution {}", resident.execution.id)));
        let grant = Grant::of_execution(&resident.execution.acts_as, Role::Author);
        let recorded = core.writer.submit(Urgency::Now, Concerns::One(key), move |connection| {
            for file in &staged {
                grant.save_file(connection, &file.name, (file.size_bytes, &file.sha256), &stamp)?;
            }
            Ok(journal::append(connection, key, &record)?)
        });
        match recorded.done().await {
            Ok(()) => {
                lock(&resident.settled).insert(*n, Settled { outcome: end.outcome.clone() });
                resident.touch();
                break;
            }
            Err(StoreError::Refused(refusal)) => return Err(refusal),
            Err(error) => {
                performance.not_recorded(&error);
                if !performance.may_record_again().await {
                    break;
                }
            }
        }
    }
    Ok(())
}

impl Performance {
    /// Performs the call as often as its policy wants. None when the engine stops, or lost the start, between two
    /// attempts: then it is nobody's, or asked for again after the restart.
    async fn to_the_end(&self) -> Option<CallEnd> {
        let Self { core, resident, start, lost, .. } = self;
        let (first, mut attempts) = (core.now(), Vec::new());
        if resident.cancel.load(Ordering::SeqCst) {
            return Some(CallEnd::new(first, Outcome::Cancelled));
        }
        loop {
            let began = core.now();
            let (outcome, staged) = self.attempt().await;
            let again = match (&outcome, &start.retry) {
                (Outcome::Failed(error), Some(retry)) => {
                    let attempt = attempts.len() as u32 + 1;
                    let at = core.now();
                    let again = retry.again_at((start.effect, error), attempt, first, at, &core.config.entropy);
                    again.map(|again| (again, Attempt { began, at, error: error.clone() }))
                }
                _ => None,
            };
            let end = |attempts| CallEnd { attempts, staged, ..CallEnd::new(began, outcome) };
            let Some((again, failed)) = again else {
                let end = end(attempts);
                self.keep_result(&end);
                return Some(end);
            };
            tokio::select! {
                () = core.stopping.cancelled() => {
                    // A write whose intent stands alone would look interrupted; this one has certainly not happened.
                    return (start.effect == Effect::Write).then(|| end(attempts));
                }
                () = core.config.clock.wait_until(again) => {}
            }
            if lost.load(Ordering::SeqCst) {
                return None;
            }
            if resident.cancel.load(Ordering::SeqCst) {
                return Some(end(attempts));
            }
            attempts.push(failed);
        }
    }

    /// Performs the call once.
    async fn attempt(&self) -> (Outcome, Vec<StoredFile>) {
        let Self { core, resident, n, start, inputs, .. } = self;
        let Some(ty) = core.connectors.get(start.connector_type.as_str()) else {
            let message = format!("there is no connector type `{}`", start.connector_type);
            return (Outcome::Failed(CallError::not_sent(ErrorClass::InvalidInput, message)), Vec::new());
        };
        let store = ConnectionFiles::new(core.clone(), resident.execution.acts_as.clone());
        let timeout = Duration::from_millis(start.timeout_ms);
        let idempotency_key = match start.effect {
            Effect::Read => String::new(),
            Effect::Idempotent | Effect::Write => core.digester.idempotency_key(resident.maker(*n), *n),
        };
        let context = CallContext { dialer: &core.dialer, files: &store, idempotency_key: &idempotency_key, timeout };
        let unknown = |class, message| {
            let sent = if start.effect == Effect::Write { Sent::Unknown } else { Sent::No };
            Outcome::Failed(CallError { class, sent, message, peer_code: None })
        };
        // A panic of a connector is a failure of this call and of nothing else.
        let call = AssertUnwindSafe(ty.connector.call(&context, inputs.clone())).catch_unwind();
        let mut outcome = match tokio::time::timeout(timeout, call).await {
            Ok(Ok(Ok(output))) if crate::journal::is_too_deep(&output) => {
                unknown(ErrorClass::Protocol, "the output is nested too deep".to_owned())
            }
            Ok(Ok(Ok(output))) => Outcome::Success(output.into()),
            Ok(Ok(Err(error))) => Outcome::Failed(error),
            Ok(Err(_)) => unknown(ErrorClass::Protocol, "the connector panicked".to_owned()),
            Err(_) => unknown(ErrorClass::Timeout, format!("no end within {} ms", start.timeout_ms)),
        };
        // Before anybody has it: another attempt, the journal, the flow, an equal call.
        match core.redactions(resident, &self.secrets) {
            Ok(redactions) => redactions.outcome(&mut outcome),
            Err(error) => {
                let message = format!("what came back could not be searched for secrets: {error}");
                outcome = unknown(ErrorClass::Protocol, message);
            }
        }
        let staged = if matches!(outcome, Outcome::Success(_)) { store.take_staged() } else { Vec::new() };
        (outcome, staged)
    }

    /// The end with an earlier result, if the policy allows one and there is one.
    fn earlier_result(&self) -> Option<CallEnd> {
        let now = self.core.now();
        let age = Duration::from_millis(self.start.cache_ms?);
        let (at, result) = self.core.results.get(self.result_key()?, now, age)?;
        Some(CallEnd { cached_at: Some(at), ..CallEnd::new(now, Outcome::Success(result)) })
    }

    /// Lets a result serve equal calls. One that came with files is not whole without them.
    fn keep_result(&self, end: &CallEnd) {
        if self.start.cache_ms.is_some()
            && end.staged.is_empty()
            && let (Outcome::Success(result), Some(key)) = (&*end.outcome, self.result_key())
        {
            self.core.results.put(key, end.began, result);
        }
    }

    /// What equal calls have in common; none for a call that does more than read.
    fn result_key(&self) -> Option<Digest> {
        let ConnectionStart { connector_id, connector_type, revision, effect, .. } = &*self.start;
        let (revision, inputs) = (revision.to_le_bytes(), canonical_object(&self.inputs));
        let parts = [connector_type.as_bytes(), connector_id.as_bytes(), &revision, &inputs];
        let digest = || self.core.digester.digest(DigestVersion::NEWEST, CallKind::StartConnection, parts);
        (*effect == Effect::Read).then(digest)
    }

    /// The call is over. A later one of the same number is another's.
    fn over(&self) {
        let Self { core, resident, n, lost, .. } = self;
        {
            let mut running = lock(&resident.running);
            if running.get(n).is_some_and(|mark| Arc::ptr_eq(mark, lost)) {
                running.remove(n);
            }
        }
        core.changed(&resident.execution.id);
        // In this order: the executor looks at the running calls after it let an instance go.
        if !resident.has_instance.load(Ordering::SeqCst) {
            core.send(Event::CallRecorded(resident.execution.key));
        }
    }

    fn not_recorded(&self, error: &StoreError) {
        let (execution, call) = (&self.resident.execution.id, self.n);
        tracing::warn!(%execution, call, %error, "the end of a connection is not recorded yet");
    }

    /// Waits for the next attempt; false when the engine stops before it.
    async fn may_record_again(&self) -> bool {
        tokio::select! {
            () = self.core.stopping.cancelled() => false,
            () = tokio::time::sleep(RECORD_AGAIN_AFTER) => true,
        }
    }
}

/// What a flow is told about a connection that did not succeed; none after success.
pub(crate) fn failure(id: &str, start: &ConnectionStart, outcome: &Outcome) -> Option<Failure> {
    let (status, code, message) = match outcome {
        Outcome::Success(_) => return None,
        Outcome::Failed(error) if start.effect == Effect::Write && error.sent == Sent::Unknown => (
            Status::EndedError,
            "unknown_outcome".to_owned(),
            format!("{} ({}); it may or may not have happened", error.message, error.class.code()),
        ),
        Outcome::Failed(error) => (Status::EndedError, error.class.code().to_owned(), error.message.clone()),
        Outcome::Interrupted => (
            Status::EndedError,
            "interrupted".to_owned(),
            "the engine stopped between the intent and the result; it may or may not have happened".to_owned(),
        ),
        Outcome::Cancelled => {
            (Status::EndedCancelled, "cancelled".to_owned(), "cancelled before it was performed".to_owned())
        }
    };
    Some(Failure { execution_id: id.to_owned(), name: start.name.clone(), status, code, message })
}

#[cfg(test)]
pub(crate) mod tests;
