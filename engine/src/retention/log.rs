//! The audit log, too, does not grow for ever: entries that are older than they have to be go, in steps, the oldest
//! first.
//!
//! That they go is an entry of its own, written with the first of them. Entries go a day's worth at a time, so that the
//! entries about entries stay few.

use std::sync::Arc;
use std::time::Duration;

use super::paced;
use crate::audit;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::store::{StoreResult, audit as entries};

/// Entries that one step deletes. Each may be as long as two records.
const ENTRIES_A_STEP: usize = 100;

/// For how long entries wait for others to go with them.
const TOGETHER: Duration = Duration::from_secs(24 * 60 * 60);

/// Steps until all entries are gone that are older than `age`, if the oldest is old enough to begin.
pub(super) async fn trim(core: &Arc<Core>, age: Duration) -> StoreResult<()> {
    let until = core.now().before(age);
    let is_time = |oldest: Timestamp| oldest <= until.before(TOGETHER);
    let Some(oldest) = core.readers.read(entries::oldest)?.filter(|oldest| is_time(*oldest)) else { return Ok(()) };
    let all = core.readers.read(|connection| entries::count(connection, until))?;
    let mut is_noted = false;
    while !core.stopping.is_cancelled() {
        let (at, notes) = (core.clone(), !is_noted);
        let gone = paced(core, move |connection| {
            if notes {
                audit::note_trim(&at, connection, all, oldest, until)?;
            }
            entries::delete(connection, until, ENTRIES_A_STEP)
        })
        .await?;
        is_noted = true;
        if gone < ENTRIES_A_STEP {
            tracing::info!(entries = all, %until, "old entries of the audit log were deleted");
            break;
        }
    }
    Ok(())
}
