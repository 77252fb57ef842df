//! Collects what nothing names any more: contents of files, components with their machine code, versions of flows.
//!
//! A content is stored before it gets its name, and the same one may come again at any time. So who stores one holds it
//! until the name is durable, and who deletes asks the writer, which has every name that was given before. Nothing goes
//! that has not been without a name for a while: somebody may have read the name and not the content yet.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use futures::TryStreamExt;
use tokio::sync::{MutexGuard, OwnedRwLockWriteGuard};

use crate::clock::Timestamp;
use crate::core::{Core, lock};
use crate::retention::paced;
use crate::store::contents::{self, Sort};
use crate::store::{StoreError, StoreResult};

/// Contents or components that one step looks at.
const STEP_MAX: usize = 100;

/// Digests that are about to get a name, each with how many want that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds {
    held: Arc<Mutex<HashMap<String, usize>>>,
    /// Taken by whoever deletes, from the question whether something is held until it is gone.
    deleting: Arc<tokio::sync::Mutex<()>>,
}

/// As long as this is there its content stays.
#[derive(Debug)]
pub(crate) struct Held {
    holds: Holds,
    sha256: String,
}

impl Holds {
    /// Waits while something is being deleted, so that whether a content is there can be asked afterwards.
    pub(crate) async fn hold(&self, sha256: &str) -> Held {
        let _nothing_is_deleted = self.deleting.lock().await;
        self.insert(sha256)
    }

    /// Like [`hold`](Self::hold), on a thread that may block.
    pub(crate) fn hold_blocking(&self, sha256: &str) -> Held {
        let _nothing_is_deleted = self.deleting.blocking_lock();
        self.insert(sha256)
    }

    fn insert(&self, sha256: &str) -> Held {
        *lock(&self.held).entry(sha256.to_owned()).or_default() += 1;
        Held { holds: self.clone(), sha256: sha256.to_owned() }
    }

    fn is_held(&self, sha256: &str) -> bool {
        lock(&self.held).contains_key(sha256)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = lock(&self.holds.held);
        if let Some(count) = held.get_mut(&self.sha256) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.sha256);
            }
        }
    }
}

/// Looks at everything once, when it is time for that.
pub(crate) async fn pass(core: &Arc<Core>) -> StoreResult<()> {
    let now = core.now();
    let grace = core.retention().grace;
    if now < core.readers.read(contents::collected_at)?.after(grace) {
        return Ok(());
    }
    let by = now.before(grace);
    search_journals(core).await?;
    collect_contents(core, now, by).await?;
    collect_components(core, now, by).await?;
    if !core.stopping.is_cancelled() {
        paced(core, move |connection| contents::set_collected_at(connection, now)).await?;
    }
    Ok(())
}

/// Once in the life of a database that an older engine made: which contents do its journals read?
async fn search_journals(core: &Arc<Core>) -> StoreResult<()> {
    while core.readers.read(contents::is_unsearched)? && !core.stopping.is_cancelled() {
        let searching = core.clone();
        let (reads, complete) = apart(move || searching.readers.read(contents::search)).await?;
        paced(core, move |connection| contents::note_searched(connection, &reads, complete)).await?;
    }
    Ok(())
}

async fn collect_contents(core: &Arc<Core>, now: Timestamp, by: Timestamp) -> StoreResult<()> {
    let mut all = core.blobs.list().map_err(|error| files_failed(&error)).try_chunks(STEP_MAX);
    while let Some(chunk) = all.try_next().await.map_err(|error| error.1)? {
        if core.stopping.is_cancelled() || core.readers.read(contents::is_unsearched)? {
            return Ok(());
        }
        let looked_at: Vec<String> = chunk.into_iter().map(|(sha256, _)| sha256).collect();
        let unnamed = core.readers.read(|connection| contents::unnamed_contents(connection, &looked_at))?;
        let due = note(core, Sort::Content, looked_at, unnamed, now, by).await?;
        delete_contents(core, due).await?;
    }
    Ok(())
}

/// Notes what nothing names. Returns what nothing has named for long enough.
async fn note(
    core: &Arc<Core>,
    sort: Sort,
    looked_at: Vec<String>,
    unnamed: Vec<String>,
    now: Timestamp,
    by: Timestamp,
) -> StoreResult<Vec<String>> {
    // Where all have their names, as in most chunks, there is nothing to write, except that one has its name again.
    if unnamed.is_empty() && !core.readers.read(|connection| contents::is_noted(connection, sort, &looked_at))? {
        return Ok(Vec::new());
    }
    paced(core, move |connection| contents::note_unnamed(connection, sort, &looked_at, &unnamed, now, by)).await
}

/// What may be deleted as long as this is there: no backup copies it, and nobody begins to hold it.
struct Deletable<'a> {
    digests: Vec<String>,
    _no_backup: OwnedRwLockWriteGuard<()>,
    _nothing_is_held: MutexGuard<'a, ()>,
}

impl<'a> Deletable<'a> {
    /// Those of `due` that nobody holds; none while a backup is made: another time, then.
    async fn of(core: &Core, holds: &'a Holds, due: Vec<String>) -> Option<Self> {
        if due.is_empty() {
            return None;
        }
        let no_backup = core.contents_lock.clone().try_write_owned().ok()?;
        let nothing_is_held = holds.deleting.lock().await;
        let digests = due.into_iter().filter(|digest| !holds.is_held(digest)).collect();
        Some(Self { digests, _no_backup: no_backup, _nothing_is_held: nothing_is_held })
    }
}

async fn delete_contents(core: &Arc<Core>, due: Vec<String>) -> StoreResult<()> {
    let Some(mut deletable) = Deletable::of(core, &core.blobs.holds, due).await else {
        return Ok(());
    };
    let free = std::mem::take(&mut deletable.digests);
    // The writer has every name that was given while something was held.
    let gone = paced(core, move |connection| {
        let gone = contents::unnamed_contents(connection, &free)?;
        contents::forget_unnamed(connection, Sort::Content, &gone)?;
        Ok(gone)
    })
    .await?;
    for sha256 in &gone {
        core.blobs.delete(sha256).await.map_err(|error| files_failed(&error))?;
    }
    tracing::info!(contents = gone.len(), "contents that nothing names were deleted");
    Ok(())
}

async fn collect_components(core: &Arc<Core>, now: Timestamp, by: Timestamp) -> StoreResult<()> {
    let listing = core.clone();
    let stored = apart(move || listing.host.stored().map_err(|error| files_failed(&error))).await?;
    let old = core.retention().age.map(|age| now.before(age));
    let versions = core.readers.read(|connection| contents::superseded_versions(connection, old))?;
    let unnamed = core.readers.read(|connection| contents::unnamed_components(connection, &stored))?;
    let mut candidates: BTreeSet<String> =
        versions.iter().map(|(_, digest)| digest.clone()).chain(unnamed.iter().cloned()).collect();
    // Only what has a candidate left looks at all executions.
    let mut last = 0;
    while !candidates.is_empty() {
        if core.stopping.is_cancelled() {
            return Ok(());
        }
        let reading = core.clone();
        let (used, next) =
            apart(move || reading.readers.read(|connection| contents::versions_after(connection, last))).await?;
        candidates.retain(|candidate| !used.contains(candidate));
        match next {
            Some(next) => last = next,
            None => break,
        }
    }
    let versions: Vec<_> = versions.into_iter().filter(|(_, digest)| candidates.contains(digest)).collect();
    let unused = delete_versions(core, versions, stored.clone(), candidates, last).await?;
    let due = note(core, Sort::Component, stored, unused, now, by).await?;
    delete_components(core, due, last).await
}

/// Deletes versions that no execution names, up to `last` as was seen, after it as is looked up now. Returns the
/// components that nothing names then.
async fn delete_versions(
    core: &Arc<Core>,
    versions: Vec<(String, String)>,
    stored: Vec<String>,
    candidates: BTreeSet<String>,
    last: i64,
) -> StoreResult<Vec<String>> {
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    paced(core, move |connection| {
        for (flow_id, digest) in &versions {
            if !contents::is_version_used_after(connection, last, digest)? {
                contents::delete_version(connection, flow_id, digest)?;
            }
        }
        let unnamed = contents::unnamed_components(connection, &stored)?;
        Ok(unnamed.into_iter().filter(|digest| candidates.contains(digest)).collect())
    })
    .await
}

async fn delete_components(core: &Arc<Core>, due: Vec<String>, last: i64) -> StoreResult<()> {
    let Some(mut deletable) = Deletable::of(core, &core.host.holds, due).await else {
        return Ok(());
    };
    let free = std::mem::take(&mut deletable.digests);
    let gone = paced(core, move |connection| {
        let mut gone = Vec::new();
        for digest in contents::unnamed_components(connection, &free)? {
            if !contents::is_version_used_after(connection, last, &digest)? {
                gone.push(digest);
            }
        }
        contents::forget_unnamed(connection, Sort::Component, &gone)?;
        Ok(gone)
    })
    .await?;
    let count = gone.len();
    let deleting = core.clone();
    apart(move || {
        gone.iter().try_for_each(|digest| deleting.host.remove(digest)).map_err(|error| files_failed(&error))
    })
    .await?;
    tracing::info!(components = count, "components that nothing names were deleted");
    Ok(())
}

/// On a thread that may block.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> StoreResult<T> + Send + 'static) -> StoreResult<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Damaged(error.to_string()))?
}

fn files_failed(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("the data folder cannot be collected: {error}"))
}
