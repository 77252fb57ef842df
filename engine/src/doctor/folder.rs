//! The data folder: its key, who may read it, and what processes that died left in it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Exam, Finding, Severity};
use crate::store::{StoreError, StoreResult};
use crate::upkeep::{DATABASE, KEY, folder_of_backups, is_abandoned};

/// What has to be private, with the mode that it should have.
const PRIVATE: [(&str, u32); 4] = [("", 0o700), (KEY, 0o600), (DATABASE, 0o600), ("token", 0o600)];

pub(super) fn check(exam: &mut Exam<'_>) -> StoreResult<()> {
    let data = exam.data;
    let key = std::fs::read(data.join(KEY));
    let problem = match key.map(|key| key.len()) {
        Ok(32) => None,
        Ok(length) => Some(("key_damaged", format!("it has {length} bytes instead of 32"))),
        Err(error) => Some(("key_missing", format!("it cannot be read: {error}"))),
    };
    if let Some((code, message)) = problem {
        let remedy = "bring the file from a backup; with another key nothing that is under way can go on";
        exam.find(of(code, Severity::Error, KEY, message, remedy), None)?;
    }
    for (name, mode) in PRIVATE {
        let path = data.join(name);
        let Ok(metadata) = path.metadata() else { continue };
        if metadata.permissions().mode() & 0o077 == 0 {
            continue;
        }
        let shown = if name.is_empty() { "." } else { name };
        let remedy = format!("chmod {mode:o} {}", path.display());
        let finding = of("file_open", Severity::Warning, shown, "others may read it".into(), &remedy);
        let close = |_: &rusqlite::Connection| {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(|error| failed(&path, &error))?;
            Ok(format!("it has mode {mode:o} now"))
        };
        exam.find(finding, Some(&close))?;
    }
    // What an engine at work has begun looks the same.
    if exam.is_at_work { Ok(()) } else { leftovers(exam) }
}

/// The folder can be looked at, and its lock cannot be taken.
pub(super) fn read_only(exam: &mut Exam<'_>) -> StoreResult<()> {
    let message = "it cannot be written: it was looked at without its lock, as if nobody else changed it meanwhile";
    let remedy = "nothing, if that is meant; a server wants a folder that it can write";
    exam.find(of("folder_read_only", Severity::Note, ".", message.to_owned(), remedy), None)
}

/// Files that only a process at work needs.
fn leftovers(exam: &mut Exam<'_>) -> StoreResult<()> {
    let data = exam.data;
    let mut found: Vec<PathBuf> = ["key.part", "token.part"].map(|name| data.join(name)).to_vec();
    found.retain(|path| path.exists());
    found.extend(entries(&data.join("blobs/staging")));
    let is_part = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "part");
    found.extend(entries(&data.join("components")).into_iter().filter(is_part));
    // The file store writes `NAME#NUMBER`, then renames.
    let is_unfinished = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains('#'));
    let blobs = entries(&data.join("blobs/sha256")).into_iter().flat_map(|folder| entries(&folder));
    found.extend(blobs.filter(is_unfinished));
    found.extend(entries(&folder_of_backups(data)).into_iter().filter(|path| is_part(path) && is_abandoned(path)));
    for path in found {
        let shown = path.strip_prefix(data).unwrap_or(&path).display().to_string();
        let remedy = "it is in nobody's way; `surefoot doctor --repair` removes it";
        let finding = of("leftover", Severity::Note, &shown, "a process that died left it".into(), remedy);
        let remove = |_: &rusqlite::Connection| {
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.map_err(|error| failed(&path, &error))?;
            Ok("removed".to_owned())
        };
        exam.find(finding, Some(&remove))?;
    }
    Ok(())
}

/// What is in a folder; nothing where there is none, or it cannot be listed.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

pub(super) fn failed(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Failed(format!("{} cannot be repaired: {error}", path.display()))
}

pub(super) fn of(code: &'static str, severity: Severity, id: &str, message: String, remedy: &str) -> Finding {
    Finding { code, severity, kind: "file", id: id.to_owned(), message, remedy: remedy.to_owned(), repaired: None }
}
