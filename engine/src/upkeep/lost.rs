//! A workspace that has lost its database, which must not be taken for one that is not there yet: a new database would
//! name nothing of what is left, and collection would delete it.

use std::path::Path;

use super::migration::newest_readable;
use super::{DATABASE, KEY, transfer, unfinished};
use crate::engine::{EngineResult, io};
use crate::store::{self, Refusal, StoreError};

/// Refuses a data folder that has no database any more, and marks one that has none yet until [`finish`]: a process
/// that dies in between leaves a key, and has lost nothing.
///
/// # Errors
/// When the database is lost, with the command that brings it back.
pub(crate) fn begin(data: &Path) -> EngineResult<()> {
    let marker = data.join(unfinished::MARKER);
    if marker.exists() || has_database(data)? {
        return Ok(());
    }
    if let Some(lost) = what_is_lost(data)? {
        return Err(StoreError::Refused(Refusal::Conflict(format!("{lost}; {}", way_back(data)))).into());
    }
    transfer::write(&marker, b"")?;
    transfer::sync_folder(data)
}

/// The database is there from now on.
pub(crate) fn finish(data: &Path) -> EngineResult<()> {
    let marker = data.join(unfinished::MARKER);
    if !marker.exists() {
        return Ok(());
    }
    transfer::sync_folder(data)?;
    std::fs::remove_file(&marker).map_err(io("removing", &marker))
}

/// Whether there is a database with something in it.
pub(crate) fn has_database(data: &Path) -> EngineResult<bool> {
    Ok(store::format_of(&data.join(DATABASE))?.is_some_and(|format| format > 0))
}

/// In words, when a workspace has no database and is not being made.
pub(crate) fn what_is_lost(data: &Path) -> EngineResult<Option<String>> {
    if has_database(data)? || data.join(unfinished::MARKER).exists() {
        return Ok(None);
    }
    let log = format!("{DATABASE}-wal");
    let is_left = |name: &&str| match data.join(name).metadata() {
        Ok(found) if found.is_dir() => std::fs::read_dir(data.join(name)).is_ok_and(|mut all| all.next().is_some()),
        Ok(found) => found.len() > 0,
        Err(_) => false,
    };
    let Some(left) = [KEY, log.as_str(), "blobs/sha256", "components"].into_iter().find(is_left) else {
        return Ok(None);
    };
    let database = data.join(DATABASE);
    let state = if database.exists() { "is empty" } else { "is missing" };
    Ok(Some(format!("{} {state}, and {left} of its workspace is there: it is lost", database.display())))
}

/// The command that brings a lost database back.
pub(crate) fn way_back(data: &Path) -> String {
    let backup = newest_readable(data).map_or("BACKUP".to_owned(), |(folder, _)| folder.display().to_string());
    format!("restore a backup: surefoot restore {backup} --data NEW-FOLDER")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(data: &Path) -> Result<(), String> {
        begin(data).map_err(|error| error.to_string())
    }

    /// Whenever a process dies that makes a workspace, the next one makes it.
    #[test]
    fn a_workspace_that_was_not_made_to_the_end_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        std::fs::write(data.join("surefoot.toml"), "").unwrap();
        for file in [KEY, DATABASE] {
            begins(data).unwrap();
            std::fs::write(data.join(file), "").unwrap();
        }
        std::fs::write(data.join(KEY), [7; 32]).unwrap();
        begins(data).unwrap();
        assert!(what_is_lost(data).unwrap().is_none());
        drop(store::open_for_writing(&data.join(DATABASE), 7).unwrap());
        finish(data).unwrap();
        assert!(!data.join(unfinished::MARKER).exists());
        begins(data).unwrap();
        assert!(!data.join(unfinished::MARKER).exists());
        std::fs::remove_file(data.join(DATABASE)).unwrap();
        assert!(begins(data).unwrap_err().contains("is missing"));
    }

    /// Each of these alone says that there was a database.
    #[test]
    fn what_is_left_of_a_workspace_says_that_its_database_is_lost() {
        for left in [KEY, "surefoot.db-wal", "blobs/sha256/ab/abc", "components/abc.wasm"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(left);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "x").unwrap();
            for state in ["is missing", "is empty"] {
                let said = begins(folder.path()).unwrap_err();
                assert!(said.contains(state) && said.contains("surefoot restore BACKUP"), "{left}: {said}");
                std::fs::write(folder.path().join(DATABASE), "").unwrap();
            }
            assert_eq!(std::fs::read(&path).unwrap(), b"x");
        }
    }
}
