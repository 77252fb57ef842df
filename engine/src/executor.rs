//! The loop: one closed [`Event`], one place that receives, one that handles.
//!
//! The executor decides which executions have an instance. A woken execution reads the store again, so recovery after
//! a crash is the
//! ordinary path: everything that has not ended is woken.

use std::collections::{BTreeSet, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::clock::Timestamp;
use crate::core::{Core, Departure, Event, Resident, lock};
use crate::endings;
use crate::journal::Record;
use crate::planted::{Bug, is_planted};
use crate::query::Kind;
use crate::session::{End, Session};
use crate::store::executions::{self, Active, ActiveState, Key};
use crate::store::journal::Onwards;
use crate::store::places::Place;
use crate::store::{Concerns, StoreError, StoreResult, Urgency, journal, schedules};

/// Deaths of the process in a row, without progress between them, after which an execution is paused.
const DEATHS_MAX: i64 = 3;

/// Between attempts at what failed and may pass.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct Executor {
    core: Arc<Core>,
    events: mpsc::UnboundedReceiver<Event>,
    timers: BTreeSet<(Timestamp, Key)>,
    /// Executions that have an instance, or are about to.
    instances: HashSet<Key>,
    /// Woken while their instance was being made.
    missed: HashSet<Key>,
}

impl Executor {
    pub(crate) fn new(core: Arc<Core>, events: mpsc::UnboundedReceiver<Event>) -> Self {
        Self { core, events, timers: BTreeSet::new(), instances: HashSet::new(), missed: HashSet::new() }
    }

    /// Runs until the engine stops.
    pub(crate) async fn run(mut self) {
        self.recover().await;
        let stopping = self.core.stopping.clone();
        loop {
            let due = self.timers.first().map(|(due, _)| *due);
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                event = self.events.recv() => match event {
                    Some(event) => self.handle(event).await,
                    None => break,
                },
                () = wait_until(&self.core, due) => self.fire_timers(),
            }
        }
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Wake(key) => self.wake(key),
            Event::Begin(resident, place) => self.begin(resident, place),
            Event::InstanceGone(key, departure) => self.instance_gone(key, departure),
            Event::CallRecorded(key) => self.call_recorded(key),
            Event::RecordChanged(kind, id) => self.record_changed(kind, id),
            Event::StoreFailed => self.reopen().await,
        }
    }

    /// Takes up everything that has not ended.
    async fn recover(&mut self) {
        let active = loop {
            match self.core.readers.read(executions::active) {
                Ok(active) => break active,
                Err(error) => tracing::error!(%error, "the store cannot be read; trying again"),
            }
            tokio::select! {
                () = self.core.stopping.cancelled() => return,
                () = tokio::time::sleep(AGAIN_AFTER) => {}
            }
        };
        tracing::info!(executions = active.len(), "recovered");
        for active in active {
            self.consider(active);
        }
    }

    fn wake(&mut self, key: Key) {
        match self.core.readers.read(|connection| executions::active_one(connection, key)) {
            Ok(Some(active)) => self.consider(active),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(execution = key.0, %error, "the store cannot be read; trying again");
                self.wake_again(key);
            }
        }
    }

    /// No wake-up is lost to a passing failure.
    fn wake_again(&mut self, key: Key) {
        self.timers.insert((self.core.now().after(AGAIN_AFTER), key));
    }

    /// Brings an execution that has not ended to where it should be.
    fn consider(&mut self, active: Active) {
        let Active { key, state, due, deaths, deadline, .. } = active;
        let now = self.core.now();
        let must_end = active.cancel || active.is_overdue(now);
        // One that passed during a pause is looked at when that ends.
        if let Some(deadline) = deadline.filter(|deadline| *deadline > now) {
            self.timers.insert((deadline, key));
        }
        if self.instances.contains(&key) && !is_planted(Bug::WakeDoubled) {
            match self.core.resident(key) {
                Some(resident) => {
                    resident.steer(&active, now);
                    resident.touch();
                }
                None => {
                    self.missed.insert(key);
                }
            }
            return;
        }
        if state == ActiveState::Paused && !must_end {
            return;
        }
        if active.place == Some(Place::Awaited) && !must_end && !is_planted(Bug::PlaceIgnored) {
            return;
        }
        if deaths >= DEATHS_MAX && !must_end {
            return self.pause_suspect(key);
        }
        if let Some(due) = due
            && state == ActiveState::Asleep
            && due > now
            && !must_end
        {
            self.timers.insert((due, key));
            return;
        }
        self.activate(key, run_instance(self.core.clone(), key));
    }

    /// Begins an execution that nobody can ask anything of so far: nobody knows of it before its creation is durable.
    fn begin(&mut self, resident: Arc<Resident>, place: OwnedSemaphorePermit) {
        let key = resident.execution.key;
        // A recovery has found it, since it is durable by now.
        if self.instances.contains(&key) {
            return;
        }
        resident.has_instance.store(true, Ordering::SeqCst);
        lock(&self.core.residents).insert(key, resident.clone());
        self.activate(key, run_new(self.core.clone(), resident, place));
    }

    fn pause_suspect(&mut self, key: Key) {
        tracing::error!(
            execution = key.0,
            "paused as suspect: the process died {DEATHS_MAX} times while it was at work"
        );
        let reason = format!(
            "suspect: the engine died {DEATHS_MAX} times in a row while this execution was at work; resume it \
                 to try again"
        );
        drop(self.core.writer.submit(Urgency::Now, Concerns::One(key), move |connection| {
            executions::set_paused(connection, key, true, &reason)
        }));
    }

    fn activate(&mut self, key: Key, run: impl Future<Output = Departure> + Send + 'static) {
        self.instances.insert(key);
        let core = self.core.clone();
        self.core.tasks.spawn(async move {
            // A panic in it is seen and ends in an event as everything does.
            let departure = match AssertUnwindSafe(run).catch_unwind().await {
                Ok(departure) => departure,
                Err(panic) => {
                    let message = panic.downcast_ref::<String>().map(String::as_str);
                    let message = message.or_else(|| panic.downcast_ref().copied()).unwrap_or("no message");
                    tracing::error!(execution = key.0, message, "an instance panicked");
                    endings::fail_internally(&core, key, &format!("it panicked with \"{message}\"")).await
                }
            };
            core.send(Event::InstanceGone(key, departure));
        });
    }

    fn instance_gone(&mut self, key: Key, departure: Departure) {
        self.instances.remove(&key);
        let missed = self.missed.remove(&key);
        let resident = self.core.resident(key);
        if let Some(resident) = &resident {
            resident.has_instance.store(false, Ordering::SeqCst);
            if departure == Departure::Ended
                && let Some(deadline) = resident.execution.deadline
            {
                self.timers.remove(&(deadline, key));
            }
        }
        let dirty = missed || resident.as_ref().is_some_and(|resident| resident.take_dirty());
        let dirty = dirty && !is_planted(Bug::WakeLost);
        self.forget_if_idle(key);
        match departure {
            Departure::Ended => {}
            Departure::Parked(_) | Departure::Postponed(_) | Departure::Paused if dirty => self.wake(key),
            Departure::Parked(Some(due)) | Departure::Postponed(due) => {
                self.timers.insert((due, key));
            }
            Departure::Parked(None) | Departure::Paused => {}
            Departure::Dropped => self.wake_again(key),
        }
    }

    fn call_recorded(&mut self, key: Key) {
        self.forget_if_idle(key);
        if !self.instances.contains(&key) {
            self.wake(key);
        }
    }

    /// Drops the in-memory side of an execution that has neither an instance nor a running call.
    fn forget_if_idle(&self, key: Key) {
        if self.instances.contains(&key) {
            return;
        }
        let mut residents = lock(&self.core.residents);
        if residents.get(&key).is_some_and(|resident| lock(&resident.running).is_empty()) {
            residents.remove(&key);
        }
    }

    fn record_changed(&mut self, kind: Kind, id: String) {
        match self.core.readers.read(|connection| schedules::concerned(connection, kind, &id)) {
            Ok(keys) => keys.into_iter().for_each(|key| self.wake(key)),
            Err(error) => {
                tracing::error!(?kind, id, %error, "the store cannot be read; trying again");
                let core = self.core.clone();
                self.core.tasks.spawn(async move {
                    tokio::time::sleep(AGAIN_AFTER).await;
                    core.send(Event::RecordChanged(kind, id));
                });
            }
        }
    }

    fn fire_timers(&mut self) {
        let now = self.core.now();
        while let Some(&(due, key)) = self.timers.first() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            self.wake(key);
        }
    }

    /// After a failed commit: lets every instance go while the writer still refuses everything, opens the database
    /// anew,
    /// and recovers.
    async fn reopen(&mut self) {
        self.core.degraded.store(true, Ordering::SeqCst);
        for resident in lock(&self.core.residents).values() {
            resident.touch();
        }
        while !self.instances.is_empty() {
            match self.events.recv().await {
                Some(Event::InstanceGone(key, _)) => {
                    self.instances.remove(&key);
                    if let Some(resident) = self.core.resident(key) {
                        resident.has_instance.store(false, Ordering::SeqCst);
                    }
                }
                Some(_) => {}
                None => return,
            }
        }
        // Room for the ends of calls that are under way; new work waits until there is room again.
        self.core.reserve.give_up_if_full();
        while let Err(error) = self.forget_what_was_lost().and_then(|()| self.core.writer.reopen()) {
            tracing::error!(%error, "the database cannot be opened; trying again");
            tokio::select! {
                () = self.core.stopping.cancelled() => return,
                () = tokio::time::sleep(AGAIN_AFTER) => {}
            }
        }
        while !self.core.reserve.is_there_again() {
            tokio::select! {
                () = self.core.stopping.cancelled() => return,
                () = tokio::time::sleep(AGAIN_AFTER) => {}
            }
        }
        self.core.degraded.store(false, Ordering::SeqCst);
        self.timers.clear();
        self.missed.clear();
        self.recover().await;
        // A commit that failed may be in the database all the same: an end that nobody was told of.
        self.core.ended.ring_all();
    }

    /// Calls go on while the store is down. What the failed commit took of their executions is forgotten with it.
    fn forget_what_was_lost(&self) -> StoreResult<()> {
        let mut residents = lock(&self.core.residents);
        // Without a call nothing of them is needed, and their journals may be long.
        residents.retain(|_, resident| !lock(&resident.running).is_empty());
        for (key, resident) in residents.iter() {
            let recorded = match self.core.readers.read_many(|connection| journal::connections(connection, *key)) {
                // Its next run finds that too, and ends the execution. The others go on.
                Err(StoreError::Damaged(reason)) => {
                    tracing::error!(execution = %resident.execution.id, %reason, "the journal is damaged");
                    journal::Connections::default()
                }
                recorded => recorded?,
            };
            resident.keep_recorded(&recorded);
        }
        residents.retain(|_, resident| !lock(&resident.running).is_empty());
        Ok(())
    }
}

async fn wait_until(core: &Core, due: Option<Timestamp>) {
    match due {
        Some(due) => core.config.clock.wait_until(due).await,
        None => std::future::pending().await,
    }
}

/// Makes an instance, runs it, and says why it is gone.
async fn run_instance(core: Arc<Core>, key: Key) -> Departure {
    let Ok(_place) = core.places.clone().acquire_owned().await else {
        return Departure::Dropped;
    };
    let session = match open_session(&core, key) {
        Ok(Some(session)) => session,
        Ok(None) => return Departure::Ended,
        Err(StoreError::Damaged(reason)) => {
            tracing::error!(execution = key.0, %reason, "what is stored of it is damaged");
            return endings::fail_internally(&core, key, &reason).await;
        }
        Err(error) => {
            tracing::error!(execution = key.0, %error, "it cannot be read; trying again");
            return Departure::Dropped;
        }
    };
    // It may have a journal all the same: when it was restarted from a call of another one, or resumed.
    if session.is_live() || session.is_shown_as_queued() {
        let now = core.now();
        drop(core.writer.apply(Urgency::Lazy, key, move |connection| executions::set_running(connection, key, now)));
    }
    run_session(&core, &session).await
}

/// Like [`run_instance`], of an execution that is being created: nothing of it has to be read.
async fn run_new(core: Arc<Core>, resident: Arc<Resident>, _place: OwnedSemaphorePermit) -> Departure {
    let (key, shown) = (resident.execution.key, resident.execution.status);
    match Session::new(core.clone(), resident, shown, Onwards::at_end(key)) {
        Ok(session) => run_session(&core, &Arc::new(session)).await,
        Err(error) => endings::fail_internally(&core, key, &error.to_string()).await,
    }
}

async fn run_session(core: &Arc<Core>, session: &Arc<Session>) -> Departure {
    let key = session.execution().key;
    let result = match session.must_end() {
        Some(end) => Err(end),
        None => endings::run_program(session).await,
    };
    match result {
        Err(End::Departed(departed)) => {
            if !matches!(departed.0, Departure::Parked(_)) {
                // What this run queued must be durable before another run reads the journal. If it cannot be, another
                // run begins only after recovery.
                let _ = core.writer.apply(Urgency::Now, key, |_| Ok(())).done().await;
            }
            departed.0
        }
        result => endings::finish(session, result).await,
    }
}

/// Loads an execution and its journal; none when it has ended.
fn open_session(core: &Arc<Core>, key: Key) -> StoreResult<Option<Arc<Session>>> {
    let loaded = core.readers.read_many(|connection| match executions::load(connection, key)? {
        Some(execution) if !execution.status.has_ended() => {
            let journal = Onwards::new(connection, key)?;
            let first = journal.first(connection)?;
            Ok(Some((execution, journal, first)))
        }
        _ => Ok(None),
    })?;
    let Some((execution, journal, first)) = loaded else {
        return Ok(None);
    };
    let Some(Record::Started(started)) = first else {
        return Err(StoreError::Damaged("the journal has no first record".into()));
    };
    let shown = execution.status;
    let resident = {
        let mut residents = lock(&core.residents);
        residents.entry(key).or_insert_with(|| Arc::new(Resident::new(execution, started))).clone()
    };
    resident.has_instance.store(true, Ordering::SeqCst);
    // Read after the resident is known: whoever asks for a cancel from now on finds it.
    if let Some(active) = core.readers.read(|connection| executions::active_one(connection, key))? {
        resident.steer(&active, core.now());
    }
    Session::new(core.clone(), resident, shown, journal).map(|session| Some(Arc::new(session)))
}

#[cfg(test)]
mod tests;
