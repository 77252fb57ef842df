//! Contents of files, components and their machine code: that what is named is there, with the digest that names it.

use std::io::ErrorKind;

use super::folder::{failed, of};
use super::{Exam, Severity};
use crate::host::is_own_machine_code;
use crate::store::StoreResult;
use crate::upkeep::{KEY, file_sha256, named_contents};

pub(super) fn check(exam: &mut Exam<'_>) -> StoreResult<()> {
    let named = named_contents(exam.connection)?;
    for (path, sha256, named_by) in named.paths() {
        let is_component = path.starts_with("components/");
        let (code, problem) = match file_sha256(&exam.data.join(&path)) {
            Ok((_, found)) if found == sha256 => continue,
            Ok(_) if is_component => ("component_damaged", "its bytes are not those that were deployed".to_owned()),
            Ok(_) => ("blob_damaged", "its bytes are not those that were stored".to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound && is_component => {
                ("component_missing", "it is missing".to_owned())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => ("blob_missing", "it is missing".to_owned()),
            Err(error) => ("content_unreadable", format!("it cannot be read: {error}")),
        };
        let remedy = match is_component {
            true => "deploy the same component again, or bring the file from a backup",
            false => "store the same content again, or bring the file from a backup",
        };
        exam.find(of(code, Severity::Error, &path, format!("{problem}; named by {named_by}"), remedy), None)?;
    }
    machine_code(exam)
}

/// Machine code can be made anew at any time. What is not this workspace's own is not run, only in the way.
fn machine_code(exam: &mut Exam<'_>) -> StoreResult<()> {
    let Some(key) = std::fs::read(exam.data.join(KEY)).ok().and_then(|key| <[u8; 32]>::try_from(key).ok()) else {
        return Ok(());
    };
    let Ok(entries) = std::fs::read_dir(exam.data.join("components")) else { return Ok(()) };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(digest) = name.strip_suffix(".cwasm") else { continue };
        let is_own = std::fs::read(&path).is_ok_and(|file| is_own_machine_code(&key, digest, &file));
        if is_own {
            continue;
        }
        let message = "it is not what this workspace compiled".to_owned();
        let remedy = "it is never run; `surefoot doctor --repair` removes it, and it is compiled again";
        let id = format!("components/{name}");
        let remove = |_: &rusqlite::Connection| {
            std::fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
            Ok("removed".to_owned())
        };
        exam.find(of("machine_code_damaged", Severity::Warning, &id, message, remedy), Some(&remove))?;
    }
    Ok(())
}
