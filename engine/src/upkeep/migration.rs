//! A workspace of another version: an older one is backed up before it is migrated, a newer one is refused untouched.

use std::path::{Path, PathBuf};

use super::backup::{self, Contents, Source, folder_of_backups};
use super::{DATABASE, Manifest};
use crate::clock::Timestamp;
use crate::engine::{EngineResult, create_folder};
use crate::store::{self, Refusal, StoreError};

/// Backups from before migrations that are kept. One is enough to go back; the second is for who comes late.
const KEPT_MAX: usize = 2;

/// How the reason of such a backup begins.
const REASON: &str = "before the migration to format";

/// Refuses a workspace of a newer version. Nothing is written, not even SQLite's own bookkeeping.
///
/// # Errors
/// When the database's format is newer than this engine's, with the command that goes back.
pub(crate) fn refuse_newer(data: &Path) -> EngineResult<()> {
    let database = data.join(DATABASE);
    let newest = store::FORMAT;
    match store::format_of(&database)? {
        Some(found) if found > newest => {
            let way_back = match newest_readable(data) {
                Some(backup) => format!(
                    "or, to go back to {}, without what was done since: surefoot restore {} --data NEW-FOLDER",
                    backup.1.created_at,
                    backup.0.display()
                ),
                None => "or, to go back, restore a backup that this version made: surefoot restore BACKUP --data \
                         NEW-FOLDER"
                    .to_owned(),
            };
            Err(StoreError::Refused(Refusal::Conflict(format!(
                "{} has format {found}, newer than this engine's {newest}; start the engine that wrote it; {way_back}",
                database.display()
            )))
            .into())
        }
        _ => Ok(()),
    }
}

/// Backs a workspace of an older version up, because it is about to be migrated. Older backups of this kind go when the
/// new one is whole: a migration that fails is tried again at each start.
pub(crate) fn back_up_older(data: &Path, now: Timestamp) -> EngineResult<()> {
    let newest = store::FORMAT;
    let found = store::format_of(&data.join(DATABASE))?;
    if !found.is_some_and(|found| 0 < found && found < newest) {
        return Ok(());
    }
    let folder = folder_of_backups(data);
    create_folder(&folder)?;
    let to = folder.join(format!("{}-before-format-{newest}", backup::name_of(now)));
    let reason = format!("{REASON} {newest}");
    let source = Source { data, now, reason: &reason, contents: Contents::All, is_stopped: &|| false };
    backup::make(&source, &to)?;
    tracing::info!(backup = %to.display(), "the workspace is of an older version: backed up before its migration");
    let mut old: Vec<_> = backups_in(&folder).into_iter().filter(|(_, m)| m.reason.starts_with(REASON)).collect();
    old.truncate(old.len().saturating_sub(KEPT_MAX));
    for (folder, _) in old {
        if let Err(error) = std::fs::remove_dir_all(&folder) {
            tracing::warn!(backup = %folder.display(), %error, "an old backup cannot be removed");
        }
    }
    Ok(())
}

/// The newest backup in the data folder that this engine can restore.
pub(super) fn newest_readable(data: &Path) -> Option<(PathBuf, Manifest)> {
    let mut readable = backups_in(&folder_of_backups(data));
    readable.retain(|(_, manifest)| manifest.database_format <= store::FORMAT);
    readable.pop()
}

/// The backups in a folder, the oldest first.
fn backups_in(folder: &Path) -> Vec<(PathBuf, Manifest)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let backups = entries.flatten().filter_map(|entry| Some((entry.path(), Manifest::read(&entry.path()).ok()?)));
    let mut backups: Vec<_> = backups.collect();
    backups.sort_by(|(_, one), (_, other)| one.created_at.cmp(&other.created_at));
    backups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_that_fail_to_migrate_do_not_fill_the_disk_with_backups() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), [7; 32]).unwrap();
        let database = folder.path().join(DATABASE);
        // There is nothing in it that a migration could go on from.
        let older = rusqlite::Connection::open(&database).unwrap();
        older.execute_batch("CREATE TABLE meta (key TEXT, value INTEGER); PRAGMA user_version = 1").unwrap();
        drop(older);
        for start in 1..=5 {
            back_up_older(folder.path(), Timestamp(start)).unwrap();
            assert!(store::open_for_writing(&database, 7).is_err());
            let kept = backups_in(&folder_of_backups(folder.path()));
            assert_eq!(kept.len(), KEPT_MAX.min(usize::try_from(start).unwrap()));
            assert_eq!(kept.last().unwrap().1.created_at, Timestamp(start).to_string());
        }
    }
}
