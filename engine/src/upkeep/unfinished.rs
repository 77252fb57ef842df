//! A folder that gets its name when all of it is there: a backup, or what is restored from one.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::manifest::refused;
use super::transfer;
use crate::engine::{EngineResult, create_folder, io};

/// In such a folder: who works on it holds a lock on this file. In a data folder: it is being made.
pub(super) const MARKER: &str = "unfinished";

/// See the module. Dropped before it has its name, it is removed.
pub(super) struct Unfinished {
    folder: PathBuf,
    /// Held as long as somebody works on it.
    _lock: File,
    is_finished: bool,
}

impl Unfinished {
    /// Makes the folder. What a process that died left there goes; anything else there is somebody's own.
    pub(super) fn begin(folder: PathBuf) -> EngineResult<Self> {
        clear(&folder)?;
        create_folder(&folder)?;
        let path = folder.join(MARKER);
        transfer::write(&path, b"")?;
        let lock = File::open(&path).map_err(io("opening", &path))?;
        lock.try_lock().map_err(|error| refused(format!("{} is in use: {error}", folder.display())))?;
        Ok(Self { folder, _lock: lock, is_finished: false })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives the folder its name, once everything in it is durable.
    pub(super) fn finish(mut self, to: &Path) -> EngineResult<()> {
        let marker = self.folder.join(MARKER);
        std::fs::remove_file(&marker).map_err(io("removing", &marker))?;
        transfer::sync_folders(&self.folder)?;
        std::fs::rename(&self.folder, to).map_err(io("renaming", &self.folder))?;
        self.is_finished = true;
        to.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), transfer::sync_folder)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = std::fs::remove_dir_all(&self.folder)
        {
            tracing::warn!(folder = %self.folder.display(), %error, "an unfinished folder cannot be removed");
        }
    }
}

fn clear(folder: &Path) -> EngineResult<()> {
    if folder.symlink_metadata().is_err() {
        return Ok(());
    }
    if is_abandoned(folder) {
        return std::fs::remove_dir_all(folder).map_err(io("removing", folder));
    }
    Err(refused(format!("{} is in the way; somebody is at work there, or it is yours", folder.display())))
}

/// Whether nobody works on that folder any more, and it never got its name.
pub(crate) fn is_abandoned(folder: &Path) -> bool {
    File::open(folder.join(MARKER)).is_ok_and(|file| file.try_lock().is_ok())
}
