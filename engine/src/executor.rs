//! The loop: one closed [`Event`], one place that receives, one that handles.
//!
//! The executor decides which executions have an instance. A woken execution reads the store again, so recovery after
//! a crash is the
//! ordinary path: everything that has not ended is woken.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::Timestamp;
use crate::core::{Core, Departure, Event, Resident, lock};
use crate::endings;
use crate::journal::Record;
use crate::session::{End, Session};
use crate::store::executions::{self, Active, ActiveState, Key};
use crate::store::{StoreError, StoreResult, Urgency, schedules};

/// Deaths of the process in a row, without progress between them, after which an execution is paused.
const DEATHS_MAX: i64 = 3;

/// Between attempts to open a database that failed.
const REOPEN_DELAY: Duration = Duration::from_secs(1);

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
        self.recover();
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
        let result = match event {
            Event::Wake(key) => self.wake(key),
            Event::InstanceGone(key, departure) => self.instance_gone(key, departure),
            Event::CallRecorded(key) => self.call_recorded(key),
            Event::ScheduleChanged(schedule_id) => self.schedule_changed(&schedule_id),
            Event::StoreFailed => {
                self.reopen().await;
                Ok(())
            }
        };
        if let Err(error) = result {
            tracing::error!(%error, "the executor could not read the store");
        }
    }

    /// Takes up everything that has not ended.
    fn recover(&mut self) {
        let active = self.core.readers.read(executions::active);
        match active {
            Ok(active) => {
                let count = active.len();
                for active in active {
                    if let Err(error) = self.consider(active) {
                        tracing::error!(%error, "an execution could not be recovered");
                    }
                }
                tracing::info!(executions = count, "recovered");
            }
            Err(error) => tracing::error!(%error, "the store cannot be read"),
        }
    }

    fn wake(&mut self, key: Key) -> StoreResult<()> {
        match self.core.readers.read(|connection| executions::active_one(connection, key))? {
            Some(active) => self.consider(active),
            None => Ok(()),
        }
    }

    /// Brings an execution that has not ended to where it should be.
    fn consider(&mut self, active: Active) -> StoreResult<()> {
        let Active { key, state, due, cancel, deaths } = active;
        if self.instances.contains(&key) {
            match self.core.resident(key) {
                Some(resident) => {
                    resident.cancel.store(cancel, Ordering::SeqCst);
                    resident.pause.store(state == ActiveState::Paused, Ordering::SeqCst);
                    resident.touch();
                }
                None => {
                    self.missed.insert(key);
                }
            }
            return Ok(());
        }
        if state == ActiveState::Paused && !cancel {
            return Ok(());
        }
        if deaths >= DEATHS_MAX && !cancel {
            return self.pause_suspect(key);
        }
        if let Some(due) = due
            && state == ActiveState::Asleep
            && due > self.core.now()
            && !cancel
        {
            self.timers.insert((due, key));
            return Ok(());
        }
        self.activate(key);
        Ok(())
    }

    fn pause_suspect(&mut self, key: Key) -> StoreResult<()> {
        tracing::error!(
            execution = key.0,
            "paused as suspect: the process died {DEATHS_MAX} times while it was at work"
        );
        let reason = format!(
            "suspect: the engine died {DEATHS_MAX} times in a row while this execution was at work; resume it \
                 to try again"
        );
        drop(
            self.core
                .writer
                .submit(Urgency::Now, move |connection| executions::set_paused(connection, key, true, &reason)),
        );
        Ok(())
    }

    fn activate(&mut self, key: Key) {
        self.instances.insert(key);
        let core = self.core.clone();
        self.core.tasks.spawn(async move {
            let worker = core.clone();
            // A task of its own, so that a panic in it is seen and ends in an event as everything does.
            let departure = match worker.tasks.spawn(run_instance(core, key)).await {
                Ok(departure) => departure,
                Err(error) => {
                    tracing::error!(execution = key.0, %error, "an instance's task panicked");
                    endings::fail_internally(&worker, key, &error.to_string()).await
                }
            };
            worker.send(Event::InstanceGone(key, departure));
        });
    }

    fn instance_gone(&mut self, key: Key, departure: Departure) -> StoreResult<()> {
        self.instances.remove(&key);
        let missed = self.missed.remove(&key);
        let resident = self.core.resident(key);
        if let Some(resident) = &resident {
            resident.has_instance.store(false, Ordering::SeqCst);
        }
        let dirty = missed || resident.as_ref().is_some_and(|resident| resident.take_dirty());
        self.forget_if_idle(key);
        match departure {
            Departure::Ended => Ok(()),
            Departure::Dropped if !dirty => Ok(()),
            Departure::Parked(_) | Departure::Paused | Departure::Dropped if dirty => self.wake(key),
            Departure::Parked(Some(due)) => {
                self.timers.insert((due, key));
                Ok(())
            }
            Departure::Parked(None) | Departure::Paused | Departure::Dropped => Ok(()),
        }
    }

    fn call_recorded(&mut self, key: Key) -> StoreResult<()> {
        self.forget_if_idle(key);
        if self.instances.contains(&key) { Ok(()) } else { self.wake(key) }
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

    fn schedule_changed(&mut self, schedule_id: &str) -> StoreResult<()> {
        let keys = self.core.readers.read(|connection| schedules::unended(connection, schedule_id))?;
        keys.into_iter().try_for_each(|key| self.wake(key))
    }

    fn fire_timers(&mut self) {
        let now = self.core.now();
        while let Some(&(due, key)) = self.timers.first() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            if let Err(error) = self.wake(key) {
                tracing::error!(%error, "a due execution could not be woken");
            }
        }
    }

    /// After a failed commit: drops every instance, opens the database anew, and recovers.
    async fn reopen(&mut self) {
        self.core.degraded.store(true, Ordering::SeqCst);
        for resident in lock(&self.core.residents).values() {
            resident.touch();
        }
        loop {
            match self.core.writer.reopen() {
                Ok(()) => break,
                Err(error) => tracing::error!(%error, "the database cannot be opened; trying again"),
            }
            tokio::time::sleep(REOPEN_DELAY).await;
        }
        while !self.instances.is_empty() {
            match self.events.recv().await {
                Some(Event::InstanceGone(key, _)) => {
                    self.instances.remove(&key);
                }
                Some(_) => {}
                None => return,
            }
        }
        lock(&self.core.residents).retain(|_, resident| !lock(&resident.running).is_empty());
        self.core.degraded.store(false, Ordering::SeqCst);
        self.timers.clear();
        self.missed.clear();
        self.recover();
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
        Err(error) => {
            tracing::error!(execution = key.0, %error, "the journal cannot be read");
            return endings::fail_internally(&core, key, &error.to_string()).await;
        }
    };
    if session.resident().records() == 1 {
        let now = core.now();
        drop(core.writer.append(Urgency::Lazy, move |connection| executions::set_running(connection, key, now)));
    }
    let result = if session.resident().cancel.load(Ordering::SeqCst) {
        Err(End::Cancelled)
    } else {
        endings::run_program(&session).await
    };
    match result {
        Err(End::Departed(departed)) => {
            if departed.0 == Departure::Paused {
                // What this run queued must be durable before another run reads the journal.
                let flushed = core.writer.append(Urgency::Now, |_| Ok(())).done().await;
                return if flushed.is_ok() { Departure::Paused } else { Departure::Dropped };
            }
            departed.0
        }
        result => endings::finish(&session, result).await,
    }
}

/// Loads an execution and its journal; none when it has ended.
fn open_session(core: &Arc<Core>, key: Key) -> StoreResult<Option<Arc<Session>>> {
    let loaded = core.readers.read(|connection| {
        let execution = executions::load(connection, key)?;
        Ok(execution
            .map(|execution| (execution, executions::journal(connection, key), executions::next_seq(connection, key))))
    })?;
    let Some((execution, journal, next_seq)) = loaded else {
        return Ok(None);
    };
    if execution.status.has_ended() {
        return Ok(None);
    }
    let (journal, next_seq) = (journal?, next_seq?);
    let Some(Record::Started(started)) = journal.first().cloned() else {
        return Err(StoreError::Failed("the journal has no first record".into()));
    };
    let resident = {
        let mut residents = lock(&core.residents);
        residents.entry(key).or_insert_with(|| Arc::new(Resident::new(execution, started, next_seq))).clone()
    };
    resident.has_instance.store(true, Ordering::SeqCst);
    // Read after the resident is known: whoever asks for a cancel from now on finds it.
    if let Some(active) = core.readers.read(|connection| executions::active_one(connection, key))? {
        resident.cancel.store(active.cancel, Ordering::SeqCst);
        resident.pause.store(active.state == ActiveState::Paused, Ordering::SeqCst);
    }
    Ok(Some(Arc::new(Session::new(core.clone(), resident, journal))))
}
