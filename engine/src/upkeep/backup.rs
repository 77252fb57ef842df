//! Making a backup, while the workspace is at work.
//!
//! First the database, with `VACUUM INTO`: one read transaction, which sees one moment of the workspace, and a file
//! without log and free pages. SQLite's online backup interface was tried beside it on a database of 670 MB: it took
//! 2.3 s where this took 1.7 s, since it copies free pages and indexes as they lie, and in small steps it begins anew
//! with every commit of another connection. While the read transaction lasts, checkpoints go on and only the start of
//! the log cannot be used again: it grows by what is written in those seconds. Then, without any transaction, the copy
//! is checked, and what it names is brought: contents never change, so a second name of the same file is a copy.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::manifest::{BackupFile, MissingContent, refused};
use super::transfer::{self, Brought};
use super::unfinished::Unfinished;
use super::{DATABASE, KEY, Manifest, SETTINGS, is_digest, named_contents, place};
use crate::clock::Timestamp;
use crate::engine::{Engine, EngineError, EngineResult, create_folder, io};
use crate::key::{BRING_IT_BACK, check_value_of};
use crate::store::{self, StoreError};

/// What a backup is made of.
pub(super) struct Source<'a> {
    pub(super) data: &'a Path,
    pub(super) now: Timestamp,
    /// What it is for.
    pub(super) reason: &'a str,
    pub(super) contents: Contents,
    /// Asked now and then whether to give up.
    pub(super) is_stopped: &'a dyn Fn() -> bool,
}

/// Which contents a backup takes along.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    /// What the database names.
    Named,
    /// All that there are: of a database in an older format it is not known what it names.
    All,
}

impl Engine {
    /// Backs the workspace up while it is at work, into the folder `to`, which must not be there yet; without one into
    /// a new folder in `backups` of the data folder. Returns the folder and what is in it.
    ///
    /// # Errors
    /// When the folder is there already, is not an absolute path or cannot be made, or something cannot be read or
    /// written. No backup is left behind then.
    pub async fn backup(&self, to: Option<PathBuf>) -> EngineResult<(PathBuf, Manifest)> {
        let (core, now) = (self.core.clone(), self.core.now());
        let to = match to {
            Some(to) if to.is_absolute() => to,
            Some(to) => return Err(refused(format!("{} is no absolute path", to.display()))),
            None => {
                let backups = folder_of_backups(self.data());
                create_folder(&backups)?;
                backups.join(name_of(now))
            }
        };
        let task = self.core.tasks.spawn_blocking(move || {
            // From the snapshot until everything that it names is brought, nothing is collected.
            let _kept = core.contents_lock.blocking_read();
            let is_stopped = || core.stopping.is_cancelled();
            let (data, contents) = (core.config.data.as_path(), Contents::Named);
            let source = Source { data, now, reason: "asked for", contents, is_stopped: &is_stopped };
            make(&source, &to).map(|manifest| (to, manifest))
        });
        task.await.map_err(|error| EngineError::Failed(error.to_string()))?
    }
}

/// Where backups are made when nobody says where, and before a migration.
pub(crate) fn folder_of_backups(data: &Path) -> PathBuf {
    data.join("backups")
}

/// The name of a backup that nobody named: a time that can stand in a path everywhere.
pub(super) fn name_of(now: Timestamp) -> String {
    now.to_string().replace(':', "-")
}

/// Makes a backup in the folder `to`: whole, or not there.
pub(super) fn make(source: &Source<'_>, to: &Path) -> EngineResult<Manifest> {
    let data = source.data.canonicalize().map_err(io("opening the folder", source.data))?;
    make_from(&Source { data: &data, ..*source }, to).map_err(|error| place::theirs(error, Some(&data)))
}

/// The data folder is without links, as every path in it then is.
fn make_from(source: &Source<'_>, to: &Path) -> EngineResult<Manifest> {
    let unfinished = Unfinished::begin(part_of(source.data, to)?)?;
    let folder = unfinished.folder();
    let (mut manifest, connection) = copy_database(source, folder)?;
    let settings = source.data.join(SETTINGS).exists().then_some(SETTINGS);
    for path in [KEY].into_iter().chain(settings) {
        let (size_bytes, sha256) = transfer::copy(&source.data.join(path), &folder.join(path))?;
        manifest.files.push(BackupFile { path: path.to_owned(), size_bytes, sha256 });
    }
    if let Some(known) = store::meta(&connection, "key_check")?
        && check_value_of(folder) != Some(known)
    {
        return Err(refused(format!("{KEY} is not the key of this workspace; {BRING_IT_BACK}")));
    }
    let wanted = match source.contents {
        Contents::Named => {
            let named = named_contents(&connection)?;
            named.paths().map(|(path, sha256, who)| (path, sha256.to_owned(), who.to_owned())).collect()
        }
        Contents::All => all_contents(source.data)?,
    };
    drop(connection);
    for (path, sha256, named_by) in wanted {
        if (source.is_stopped)() {
            return Err(EngineError::Failed("the engine is stopping; the backup was given up".into()));
        }
        let problem = match transfer::bring(source.data, &path, &sha256, folder)? {
            Brought::Whole(file) => {
                manifest.files.push(file);
                continue;
            }
            Brought::Missing => "it is missing",
            Brought::Damaged => "it is damaged",
        };
        manifest.missing.push(MissingContent { path, named_by, problem: problem.to_owned() });
    }
    manifest.write(folder)?;
    unfinished.finish(to)?;
    tracing::info!(backup = %to.display(), files = manifest.files.len(), "backed up");
    Ok(manifest)
}

/// The folder that becomes the backup `to`, beside it. Folders above it that are missing are made.
fn part_of(data: &Path, to: &Path) -> EngineResult<PathBuf> {
    if to.symlink_metadata().is_ok() {
        return Err(refused(format!("{} is there already; name a folder that is not there yet", to.display())));
    }
    let parent = place::parent_of(to, |parent| {
        if parent.starts_with(data) && !parent.starts_with(folder_of_backups(data)) {
            return Err(refused(format!(
                "{} lies in the data folder; name one outside of it, or none for its folder `backups`",
                to.display()
            )));
        }
        Ok(())
    })?;
    let mut part = to.file_name().unwrap_or_default().to_owned();
    part.push(".part");
    Ok(parent.join(part))
}

/// Copies the database and checks the copy.
fn copy_database(source: &Source<'_>, folder: &Path) -> EngineResult<(Manifest, Connection)> {
    let copy = folder.join(DATABASE);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error: rusqlite::Error| EngineError::from(StoreError::from(error));
    {
        // Made here, so that it is the owner's alone from the first byte.
        transfer::write(&copy, b"")?;
        let live = Connection::open_with_flags(source.data.join(DATABASE), flags).map_err(failed)?;
        let copied = live.execute("VACUUM INTO ?1", [copy.to_string_lossy()]);
        copied.map_err(|error| match error.sqlite_error_code() {
            // Of the two, only the copy is written.
            Some(ErrorCode::DiskFull) => io("writing", &copy)(ErrorKind::StorageFull.into()),
            _ => failed(error),
        })?;
    }
    File::open(&copy).and_then(|file| file.sync_all()).map_err(io("syncing", &copy))?;
    let connection = Connection::open_with_flags(&copy, flags).map_err(failed)?;
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if verdict != "ok" {
        return Err(EngineError::Damaged(format!("the database is damaged, and no backup was made: {verdict}")));
    }
    let format = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let (size_bytes, sha256) = transfer::file_sha256(&copy).map_err(io("reading", &copy))?;
    let mut manifest = Manifest::new(source.now.to_string(), source.reason, format);
    manifest.files.push(BackupFile { path: DATABASE.to_owned(), size_bytes, sha256 });
    Ok((manifest, connection))
}

/// All contents of a data folder: path, digest, who names it.
fn all_contents(data: &Path) -> EngineResult<Vec<(String, String, String)>> {
    let mut found = Vec::new();
    let mut add = |path: String, sha256: &str| {
        if is_digest(sha256) {
            found.push((path, sha256.to_owned(), "the folder".to_owned()));
        }
    };
    for name in names_in(&data.join("components"))? {
        if let Some(sha256) = name.strip_suffix(".wasm") {
            add(format!("components/{name}"), sha256);
        }
    }
    for folder in names_in(&data.join("blobs/sha256"))? {
        for name in names_in(&data.join("blobs/sha256").join(&folder))? {
            add(format!("blobs/sha256/{folder}/{name}"), &name);
        }
    }
    Ok(found)
}

/// The names in a folder, sorted; none where there is no folder.
fn names_in(folder: &Path) -> EngineResult<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io("listing", folder)(error)),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<std::io::Result<_>>().map_err(io("listing", folder))?;
    names.sort();
    Ok(names)
}
