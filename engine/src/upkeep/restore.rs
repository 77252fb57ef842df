//! A new workspace from a backup, standing still until somebody lets it go on.
//!
//! What was restored may still be at work elsewhere, or its peers may have moved on: so every execution that has not
//! ended is paused, schedules and webhooks are disabled, all with the reason `restored`, and the epoch is raised.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::manifest::{ANOTHER_BACKUP, MissingContent, refused};
use super::transfer::{self, Brought};
use super::unfinished::Unfinished;
use super::{DATABASE, KEY, Manifest, SETTINGS, place};
use crate::clock::{Clock, Timestamp};
use crate::core::Event;
use crate::engine::{Engine, EngineError, EngineResult, io};
use crate::key::check_value_of;
use crate::store;
use crate::store::restored::{self, Held};

/// What a restore did.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// The new data folder.
    pub data: PathBuf,
    /// When the backup was made, RFC 3339.
    pub created_at: String,
    /// The version of the engine that made it.
    pub engine: String,
    /// Executions that are paused now.
    pub executions: usize,
    /// Schedules that are disabled now.
    pub schedules: usize,
    /// Webhooks that are disabled now.
    pub webhooks: usize,
    /// Notifications that are disabled now.
    pub notifications: usize,
    /// What the backup lacks.
    pub missing: Vec<MissingContent>,
}

/// Makes the data folder `data` from a backup. It must be empty or not there; it is there when all of it is.
///
/// # Errors
/// When the backup is not whole, is of a newer version, or the folder is not empty or cannot be made; each names the
/// file.
pub fn restore(backup: &Path, data: &Path, clock: &Clock) -> EngineResult<Restored> {
    make(backup, data, clock).map_err(|error| place::theirs(error, None))
}

fn make(backup: &Path, data: &Path, clock: &Clock) -> EngineResult<Restored> {
    let manifest = Manifest::read(backup)?;
    if manifest.database_format > store::FORMAT {
        return Err(refused(format!(
            "the database in {} has format {}, newer than this engine's {}; restore it with version {} of surefoot",
            backup.display(),
            manifest.database_format,
            store::FORMAT,
            manifest.engine
        )));
    }
    check_empty(data)?;
    verify(backup, &manifest)?;
    let part = Unfinished::begin(part_of(backup, data)?)?;
    // Another restore may have been faster. None can be from here on.
    check_empty(data)?;
    bring_all(backup, &manifest, part.folder())?;
    let held = hold_still(part.folder(), clock.now())?;
    // An empty folder may be in its place, but not a file system of its own.
    if data.exists() {
        std::fs::remove_dir(data).map_err(io("replacing the empty folder", data))?;
    }
    part.finish(data)?;
    Ok(Restored {
        data: data.to_owned(),
        created_at: manifest.created_at,
        engine: manifest.engine,
        executions: held.executions,
        schedules: held.schedules,
        webhooks: held.webhooks,
        notifications: held.notifications,
        missing: manifest.missing,
    })
}

/// Executions that one write lets go on.
const RESUMED_MAX: u32 = 500;

impl Engine {
    /// Lets everything go on that a restore paused, in small steps; iterations of schedules go on when their schedule
    /// is enabled. Returns how many executions went on.
    ///
    /// # Errors
    /// When the store fails; what went on before that stays so.
    pub async fn resume_restored(&self) -> EngineResult<usize> {
        // A caller that goes away takes no wake-up with it.
        let engine = self.clone();
        let resuming = self.core.tasks.spawn(async move {
            let mut resumed = 0;
            loop {
                let keys = engine.write(|connection| restored::resume_some(connection, RESUMED_MAX)).await?;
                if keys.is_empty() {
                    return Ok(resumed);
                }
                resumed += keys.len();
                keys.into_iter().for_each(|key| engine.core.send(Event::Wake(key)));
            }
        });
        resuming.await.map_err(|error| EngineError::Failed(error.to_string()))?
    }
}

fn check_empty(data: &Path) -> EngineResult<()> {
    match std::fs::read_dir(data) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(refused(format!("{} is not empty; restore into a new folder", data.display()))),
            None => Ok(()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io("listing", data)(error)),
    }
}

/// Something in the backup is not as it was made; what to do is said.
fn damaged(text: String) -> EngineError {
    refused(format!("{text}; {ANOTHER_BACKUP}"))
}

/// Compares every file with its digest before anything is made of it.
fn verify(backup: &Path, manifest: &Manifest) -> EngineResult<()> {
    for needed in [DATABASE, KEY] {
        if !manifest.has(needed) {
            return Err(damaged(format!("the backup has no file {needed}")));
        }
    }
    for file in &manifest.files {
        let is_plain = !file.path.split('/').any(|part| part.is_empty() || part == "." || part == "..");
        let path = backup.join(&file.path);
        if !is_plain {
            return Err(damaged(format!("the backup names `{}`, which no workspace has", file.path)));
        }
        let found = transfer::file_sha256(&path);
        let found = found.map_err(|error| damaged(format!("{} cannot be read: {error}", path.display())))?;
        if found != (file.size_bytes, file.sha256.clone()) {
            return Err(damaged(format!("{} is not the file that was backed up: its digest differs", path.display())));
        }
    }
    Ok(())
}

fn bring_all(backup: &Path, manifest: &Manifest, to: &Path) -> EngineResult<()> {
    for file in &manifest.files {
        // These change, or are the owner's to change: never one file under two names.
        if [DATABASE, KEY, SETTINGS].contains(&file.path.as_str()) {
            transfer::copy(&backup.join(&file.path), &to.join(&file.path))?;
            continue;
        }
        match transfer::bring(backup, &file.path, &file.sha256, to)? {
            Brought::Whole(_) => {}
            Brought::Missing | Brought::Damaged => {
                return Err(damaged(format!("{} changed while it was read", backup.join(&file.path).display())));
            }
        }
    }
    Ok(())
}

/// Opens the database, which migrates it and raises its epoch, and lets nothing in it go on.
fn hold_still(folder: &Path, now: Timestamp) -> EngineResult<Held> {
    let key_check = check_value_of(folder).ok_or_else(|| refused("the backup's file key has not 32 bytes".into()))?;
    let (connection, _) = store::open_for_writing(&folder.join(DATABASE), key_check)?;
    let held = restored::hold(&connection, now)?;
    connection.close().map_err(|(_, error)| EngineError::from(store::StoreError::from(error)))?;
    Ok(held)
}

/// The folder that becomes the data folder, beside it. Folders above it that are missing are made.
fn part_of(backup: &Path, data: &Path) -> EngineResult<PathBuf> {
    let backup = backup.canonicalize().map_err(io("opening the folder", backup))?;
    let parent = place::parent_of(data, |parent| match parent.starts_with(&backup) {
        true => Err(refused(format!("{} lies in the backup itself; name a folder outside of it", data.display()))),
        false => Ok(()),
    })?;
    let mut part = data.file_name().unwrap_or_default().to_owned();
    part.push(".restore");
    Ok(parent.join(part))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use serde_json::{Value, json};

    use crate::core::Config;
    use crate::engine::{Engine, WriterMode};
    use crate::scenarios::{PATIENCE, ended, flow, start};

    /// Whoever asked may be gone before the answer: a client that lost its patience, say.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_resumed_goes_on_although_the_one_who_asked_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path());
        config.idle_before_parking = Duration::from_millis(1);
        let waiting = flow(|session, _| async move { Ok(json!(session.wait_signal("go", None).await?.is_ok())) });
        let flows = vec![("waiting".to_owned(), waiting)];
        let engine = Engine::open_with(config, Vec::new(), flows, WriterMode::Thread).unwrap();
        let id = start(&engine, "waiting", Value::Null).await;
        engine.pause(&id, "test").await.unwrap();
        let as_restored = "UPDATE executions SET message = 'restored'";
        engine.write(|connection| Ok(connection.execute(as_restored, [])?)).await.unwrap();
        engine.signal(&id, "go", Value::Null, "test", None).await.unwrap();
        assert!(engine.resume_restored().now_or_never().is_none(), "it was polled once and dropped");
        assert_eq!(ended(&engine, &id).await["output"], true);
        engine.shutdown(PATIENCE).await.unwrap();
    }
}
