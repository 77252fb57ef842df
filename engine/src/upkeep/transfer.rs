//! Files from one folder to another, durably, for their owner alone.

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::manifest::BackupFile;
use crate::engine::{EngineResult, create_folder, io};

const BUFFER_BYTES: usize = 1 << 20;

/// How a file that never changes came to its new place.
pub(super) enum Brought {
    /// As it should be.
    Whole(BackupFile),
    /// It is not there.
    Missing,
    /// It is there with another content; nothing was brought.
    Damaged,
}

/// Brings a file whose content is fixed by its name: as a second name of the same file where the file system can, since
/// it never changes; else as a durable copy. Compared with its digest in any case: a restore refuses what differs.
pub(super) fn bring(data: &Path, path: &str, sha256: &str, to: &Path) -> EngineResult<Brought> {
    let (from, to) = (data.join(path), to.join(path));
    create_folder_of(&to)?;
    match std::fs::hard_link(&from, &to) {
        Ok(()) => {
            // The file has one mode under both names, and nobody but the owner needs it under either.
            std::fs::set_permissions(&to, Permissions::from_mode(0o600)).map_err(io("closing to others", &to))?;
            match file_sha256(&to) {
                Ok((size_bytes, found)) if found == sha256 => {
                    Ok(Brought::Whole(BackupFile { path: path.to_owned(), size_bytes, sha256: found }))
                }
                // A disk that cannot give it back has damaged it.
                _ => remove_damaged(&to),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Brought::Missing),
        // Another file system, or one without hard links, or too many of them.
        Err(_) => {
            let (size_bytes, found) = copy(&from, &to)?;
            if found == sha256 {
                return Ok(Brought::Whole(BackupFile { path: path.to_owned(), size_bytes, sha256: found }));
            }
            remove_damaged(&to)
        }
    }
}

fn remove_damaged(path: &Path) -> EngineResult<Brought> {
    std::fs::remove_file(path).map_err(io("removing", path))?;
    Ok(Brought::Damaged)
}

/// Copies a file, durably. Returns length and digest.
pub(super) fn copy(from: &Path, to: &Path) -> EngineResult<(u64, String)> {
    create_folder_of(to)?;
    let source = File::open(from).map_err(io("opening", from))?;
    let mut target = create(to)?;
    let copied = hash(source, io("reading", from), |chunk| target.write_all(chunk).map_err(io("writing", to)))?;
    target.sync_all().map_err(io("syncing", to))?;
    Ok(copied)
}

/// Writes a file that is not there, durably.
pub(super) fn write(path: &Path, bytes: &[u8]) -> EngineResult<()> {
    let mut file = create(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io("writing", path))
}

/// Length and digest of a file.
pub(crate) fn file_sha256(path: &Path) -> std::io::Result<(u64, String)> {
    hash(File::open(path)?, |error| error, |_| Ok(()))
}

/// Reads to the end. Returns length and digest of what was read.
fn hash<E>(
    mut source: File,
    unreadable: impl FnOnce(std::io::Error) -> E,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(u64, String), E> {
    let (mut hasher, mut size_bytes, mut buffer) = (Sha256::new(), 0, vec![0; BUFFER_BYTES]);
    loop {
        let length = match source.read(&mut buffer) {
            Ok(0) => return Ok((size_bytes, hex::encode(hasher.finalize()))),
            Ok(length) => length,
            Err(error) => return Err(unreadable(error)),
        };
        hasher.update(&buffer[..length]);
        take(&buffer[..length])?;
        size_bytes += length as u64;
    }
}

/// Makes the names in a folder, and in those below it, durable.
pub(super) fn sync_folders(folder: &Path) -> EngineResult<()> {
    for entry in std::fs::read_dir(folder).map_err(io("listing", folder))? {
        let entry = entry.map_err(io("listing", folder))?;
        if entry.file_type().map_err(io("examining", folder))?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    sync_folder(folder)
}

/// Makes the names in one folder durable.
pub(super) fn sync_folder(folder: &Path) -> EngineResult<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("syncing", folder))
}

fn create(path: &Path) -> EngineResult<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path).map_err(io("creating", path))
}

fn create_folder_of(path: &Path) -> EngineResult<()> {
    path.parent().map_or(Ok(()), create_folder)
}
