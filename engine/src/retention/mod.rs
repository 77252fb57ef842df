//! Keeps the workspace from growing for ever: what ended long ago goes to the trash and then out of the database, old
//! entries of the audit log go, free pages go back to the file system, and what nothing names any more is collected.
//!
//! One task in the background. Each step is a small write through the one writer, and after each it rests for a while
//! that depends on how long the step took, so that it has a share of the writer and no more: see [`pace`]. What goes
//! and what stays is decided in [`store::retention`](crate::store::retention) and [`collection`](crate::collection).

mod log;
mod pace;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::audit;
use crate::clock::Timestamp;
use crate::collection;
use crate::core::{Core, lock};
use crate::engine::{Engine, EngineError, EngineResult};
use crate::overview::EntryOfGone;
use crate::store::retention::{self, Done, Rules, STEP_UNITS, Sweep};
use crate::store::{Refusal, StoreError, StoreResult, sizes, trash};
use crate::upkeep::DATABASE;

pub(crate) use pace::paced;
use pace::{Pace, Progress};

/// What is kept, and for how long. A limit that is none is switched off.
///
/// What goes are whole trees: an execution without a parent, with all its descendants, when all of them have ended.
/// They go to the trash first. What has not ended, and what belongs to it, is never touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Retention {
    /// Trees that ended longer ago go to the trash.
    #[serde(rename = "age_seconds", serialize_with = "as_seconds")]
    #[schemars(with = "Option<u64>")]
    pub age: Option<Duration>,
    /// When more executions have ended, the oldest trees go to the trash.
    pub executions_max: Option<u64>,
    /// When more of the database is in use, bytes, the oldest trees go for good: first out of the trash, however short
    /// they were in it, then the others.
    pub bytes_max: Option<u64>,
    /// What was put into the trash longer ago goes for good.
    #[serde(rename = "trash_age_seconds", serialize_with = "as_seconds")]
    #[schemars(with = "Option<u64>")]
    pub trash_age: Option<Duration>,
    /// Entries of the audit log that were written longer ago go, a day's worth at a time.
    #[serde(rename = "audit_age_seconds", serialize_with = "as_seconds")]
    #[schemars(with = "Option<u64>")]
    pub audit_age: Option<Duration>,
    /// How often to look for trees that have to go.
    #[serde(skip)]
    pub interval: Duration,
    /// How often to look for contents and components that nothing names, and for how long nothing must have named them
    /// before they go.
    #[serde(skip)]
    pub grace: Duration,
    /// How often to look, while executions go, whether at least twice as many go as come. When not, they go faster.
    #[serde(skip)]
    pub hurry_after: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            age: Some(30 * DAY),
            executions_max: Some(1_000_000),
            bytes_max: Some(10 << 30),
            trash_age: Some(7 * DAY),
            audit_age: Some(400 * DAY),
            interval: Duration::from_secs(60),
            grace: Duration::from_secs(60 * 60),
            hurry_after: Duration::from_secs(10),
        }
    }
}

fn as_seconds<S: serde::Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs()).serialize(serializer)
}

impl Retention {
    fn rules(&self, now: Timestamp) -> Rules {
        Rules {
            now,
            ended_by: self.age.map(|age| now.before(age)),
            trashed_by: self.trash_age.map(|age| now.before(age)),
            bytes_max: self.bytes_max,
            step_units: STEP_UNITS,
        }
    }
}

/// How the background task is reached.
#[derive(Debug, Default)]
pub(crate) struct Attention {
    wanted: Notify,
    /// Counts the changes to the trash that users made: what a sweep remembers of before may be wrong.
    changes: AtomicU64,
    pace: Mutex<Pace>,
}

impl Attention {
    /// Within the transaction of a change to the trash.
    fn trash_changes(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Lets the background task look at once.
    pub(crate) fn look_again(&self) {
        self.wanted.notify_one();
    }

    /// After it.
    fn trash_changed(&self) {
        self.look_again();
    }
}

/// Pages that one step gives back to the file system.
const PAGES_A_STEP: u64 = 100;

/// Free pages are kept for what comes next: one in so many, but at least [`FREE_PAGES_MIN`].
const FREE_PAGES_SHARE: u64 = 16;
const FREE_PAGES_MIN: u64 = 256;

/// The body of the background task: one pass at the opening, one after each interval or when the trash changed.
pub(crate) async fn run(core: Arc<Core>) {
    let mut keeper = Keeper { core: core.clone(), sweep: Sweep::default(), changes: 0, counted: None };
    loop {
        lock(&core.attention.pace).begin();
        let passed = keeper.pass().await;
        lock(&core.attention.pace).end();
        if let Err(error) = passed {
            // What a step remembered of its work may not be so.
            keeper.forget();
            if !core.stopping.is_cancelled() {
                tracing::warn!(%error, "retention did not finish; it goes on after a while");
            }
        }
        let next = core.now().after(core.retention().interval);
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            () = core.attention.wanted.notified() => {}
            () = core.config.clock.wait_until(next) => {}
        }
    }
}

struct Keeper {
    core: Arc<Core>,
    sweep: Sweep,
    /// The changes to the trash that the sweep knows of.
    changes: u64,
    /// How many executions stand outside of the trash, among those up to a key.
    counted: Option<Counted>,
}

#[derive(Clone, Copy)]
struct Counted {
    executions: u64,
    up_to: i64,
}

impl Keeper {
    /// Rounds until nothing has to go, then what is for a calm hour. While the database is above its limit in bytes a
    /// round is followed by the next at once: what ended meanwhile has to go as well, and pages given back now would
    /// be needed again at once. But contents are looked at when it is time, however full the database is.
    async fn pass(&mut self) -> StoreResult<()> {
        let retention = self.core.retention();
        self.sweep = Sweep::of_excess(self.excess().await?);
        let collect_at = self.core.now().after(retention.grace);
        loop {
            let (now, before) = (self.core.now(), self.sweep.done);
            self.round(retention.rules(now)).await?;
            let is_above = || self.core.readers.read(|c| Ok(Some(sizes::used_bytes(c)?) > retention.bytes_max));
            let goes_on = self.sweep.done != before && now < collect_at && !self.core.stopping.is_cancelled();
            if !goes_on || retention.bytes_max.is_none() || !is_above()? {
                break;
            }
        }
        let Done { trashed, restored, purged } = self.sweep.done;
        if self.sweep.done != Done::default() {
            tracing::info!(trashed, restored, purged, "ended executions were moved");
        }
        if let Some(age) = self.core.retention().audit_age {
            log::trim(&self.core, age).await?;
        }
        self.give_back().await?;
        collection::pass(&self.core).await
    }

    /// Steps until nothing is left that has to go as of one time. What cannot go yet is looked at once.
    async fn round(&mut self, rules: Rules) -> StoreResult<()> {
        while !self.core.stopping.is_cancelled()
            && self.core.readers.read(|c| retention::is_due(c, &rules, &self.sweep))?
        {
            let rules = Rules { step_units: lock(&self.core.attention.pace).step_units(), ..rules };
            self.step(rules).await?;
            let newest = self.core.readers.read(sizes::newest_number)?;
            let progress = Progress { at: Instant::now(), newest, done: self.sweep.done };
            lock(&self.core.attention.pace).look_at(progress, self.core.retention().hurry_after);
        }
        Ok(())
    }

    /// One transaction of the sweep.
    async fn step(&mut self, rules: Rules) -> StoreResult<()> {
        let (core, mut sweep, known) = (self.core.clone(), std::mem::take(&mut self.sweep), self.changes);
        let before = sweep.done;
        let (sweep, changes) = paced(&self.core, move |connection| {
            let changes = core.attention.changes.load(Ordering::SeqCst);
            if changes != known {
                sweep.forget_work();
            }
            let is_busy = |key| lock(&core.residents).contains_key(&key);
            retention::step(connection, &rules, &mut sweep, &is_busy)?;
            Ok((sweep, changes))
        })
        .await?;
        if let Some(counted) = &mut self.counted {
            counted.executions += sweep.done.restored - before.restored;
            counted.executions = counted.executions.saturating_sub(sweep.done.trashed - before.trashed);
        }
        if changes != self.changes {
            self.counted = None;
        }
        (self.sweep, self.changes) = (sweep, changes);
        Ok(())
    }

    /// How many more ended executions stand outside of the trash than may; none when there is no limit near. What is
    /// counted once is not counted again: after a start that is all there is, later what is new.
    async fn excess(&mut self) -> StoreResult<Option<i64>> {
        let Some(max) = self.core.retention().executions_max else { return Ok(None) };
        if self.changes != self.core.attention.changes.load(Ordering::SeqCst) {
            self.counted = None;
        }
        // A bound that costs nothing spares small workspaces the count.
        if self.core.readers.read(sizes::numbers_span)? <= max {
            return Ok(None);
        }
        let (core, known) = (self.core.clone(), self.counted);
        let count = move || {
            core.readers.read(|connection| {
                let (new, up_to) = sizes::count_after(connection, known.map(|known| known.up_to))?;
                let executions = known.map_or(0, |known| known.executions) + new;
                let ended = executions.saturating_sub(sizes::count_active(connection)?);
                Ok((Counted { executions, up_to }, ended))
            })
        };
        let counted = tokio::task::spawn_blocking(count).await;
        let (counted, ended) = counted.map_err(|error| StoreError::Damaged(error.to_string()))??;
        self.counted = Some(counted);
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Ok(Some(signed(ended) - signed(max)))
    }

    /// Lets the file shrink, but not by what the next executions will need.
    async fn give_back(&self) -> StoreResult<()> {
        let mut given = false;
        loop {
            let (free, all) = self.core.readers.read(sizes::free_pages)?;
            let surplus = free.saturating_sub((all / FREE_PAGES_SHARE).max(FREE_PAGES_MIN));
            if surplus == 0 || self.core.stopping.is_cancelled() {
                break;
            }
            let pages = surplus.min(PAGES_A_STEP);
            paced(&self.core, move |connection| sizes::give_back(connection, pages)).await?;
            given = true;
        }
        if given {
            let database = self.core.config.data.join(DATABASE);
            let written = tokio::task::spawn_blocking(move || sizes::write_back(&database)).await;
            written.map_err(|error| StoreError::Damaged(error.to_string()))??;
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.sweep = Sweep::default();
        self.counted = None;
    }
}

impl Engine {
    /// Moves the tree of an ended execution to the trash, or deletes it for good. False when there is no such
    /// execution, or when it is in the trash already. A big tree is moved by and by.
    ///
    /// # Errors
    /// When something of the tree has not ended, or the execution is not the root of its tree.
    pub(crate) async fn delete_execution(&self, id: &str, permanently: bool, by: &str) -> EngineResult<bool> {
        let (owned, grant) = (id.to_owned(), self.grant.clone());
        let check = move |core: &Core, connection: &rusqlite::Connection| {
            grant.check_execution(connection, &owned)?;
            trash::require_ended(connection, &owned)?;
            if permanently { EntryOfGone::read(core, connection, &owned) } else { Ok(None) }
        };
        let gone = match self.read(check).await {
            // What may not be looked at is not there.
            Err(EngineError::Refused(Refusal::NotFound(_))) => return Ok(false),
            checked => checked?,
        };
        let grant = self.grant.clone();
        let (core, id, now, by) = (self.core.clone(), id.to_owned(), self.core.now(), by.to_owned());
        let deleted = self
            .write(move |connection| {
                core.attention.trash_changes();
                let action = if permanently { "delete_permanently" } else { "delete" };
                audit::note_of_execution(&core, connection, &grant, &by, action, &id)?;
                trash::delete(connection, &id, permanently, now, STEP_UNITS)
            })
            .await?;
        self.core.overview.is_gone(gone);
        self.core.attention.trash_changed();
        Ok(deleted)
    }

    /// Takes the tree of an execution out of the trash. It counts as if it had ended now.
    pub(crate) async fn restore_execution(&self, id: &str, by: &str) -> EngineResult<serde_json::Value> {
        let (core, owned, now, by) = (self.core.clone(), id.to_owned(), self.core.now(), by.to_owned());
        let grant = self.grant.clone();
        self.write(move |connection| {
            core.attention.trash_changes();
            trash::restore(connection, &owned, now, STEP_UNITS)?;
            audit::note_of_execution(&core, connection, &grant, &by, "restore", &owned)
        })
        .await?;
        self.core.attention.trash_changed();
        self.execution(id).await
    }
}

#[cfg(test)]
mod tests;
