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

/// What an opening does about a workspace of an older version.
pub(crate) struct Migration {
    folder: PathBuf,
}

impl Migration {
    /// Backs the workspace up, if it is about to be migrated.
    pub(crate) fn prepare(data: &Path, now: Timestamp) -> EngineResult<Option<Self>> {
        let newest = store::FORMAT;
        let found = store::format_of(&data.join(DATABASE))?;
        if !found.is_some_and(|found| 0 < found && found < newest) {
            return Ok(None);
        }
        let folder = folder_of_backups(data);
        create_folder(&folder)?;
        let to = folder.join(format!("{}-before-format-{newest}", backup::name_of(now)));
        let reason = format!("{REASON} {newest}");
        let source = Source { data, now, reason: &reason, contents: Contents::All, is_stopped: &|| false };
        backup::make(&source, &to)?;
        tracing::info!(backup = %to.display(), "the workspace is of an older version: backed up before its migration");
        Ok(Some(Self { folder }))
    }

    /// After the migration: removes older backups of this kind.
    pub(crate) fn done(self) {
        let mut old: Vec<_> =
            backups_in(&self.folder).into_iter().filter(|(_, m)| m.reason.starts_with(REASON)).collect();
        old.truncate(old.len().saturating_sub(KEPT_MAX));
        for (folder, _) in old {
            if let Err(error) = std::fs::remove_dir_all(&folder) {
                tracing::warn!(backup = %folder.display(), %error, "an old backup cannot be removed");
            }
        }
    }
}

/// The newest backup in the data folder that this engine can restore.
fn newest_readable(data: &Path) -> Option<(PathBuf, Manifest)> {
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
