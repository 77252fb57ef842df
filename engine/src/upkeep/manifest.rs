//! What a backup says of itself.

use std::io::ErrorKind;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::transfer;
use crate::engine::{EngineError, EngineResult};
use crate::store::StoreError;

/// The format of backups that this engine writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// The manifest's file in a backup.
pub(super) const FILE: &str = "backup.json";

/// What to do about a backup that is damaged.
pub(super) const ANOTHER_BACKUP: &str = "bring the file from another copy of this backup, or restore another backup";

/// What a backup says of itself: the file `backup.json`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Manifest {
    /// Format of the backup.
    pub format: u32,
    /// When its database was copied, RFC 3339.
    pub created_at: String,
    /// What it was made for.
    pub reason: String,
    /// The version of the engine that made it.
    pub engine: String,
    /// The format of its database.
    pub database_format: i64,
    /// All files but this one.
    pub files: Vec<BackupFile>,
    /// What its database names and the workspace did not have, or only damaged.
    pub missing: Vec<MissingContent>,
}

/// A file of a backup.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct BackupFile {
    /// Relative to the backup, with `/`.
    pub path: String,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Hexadecimal SHA-256.
    pub sha256: String,
}

/// A content that is named and not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct MissingContent {
    /// Where it belongs, relative to the data folder, with `/`.
    pub path: String,
    /// Who names it.
    pub named_by: String,
    /// What is wrong.
    pub problem: String,
}

impl Manifest {
    /// An empty one.
    pub(super) fn new(created_at: String, reason: &str, database_format: i64) -> Self {
        Self {
            format: FORMAT,
            created_at,
            reason: reason.to_owned(),
            engine: env!("CARGO_PKG_VERSION").to_owned(),
            database_format,
            files: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// The manifest of the backup in `folder`.
    ///
    /// # Errors
    /// When the folder is no backup, or one of a newer format.
    pub fn read(folder: &Path) -> EngineResult<Self> {
        let path = folder.join(FILE);
        let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => refused(format!(
                "{} is not a backup: it is no folder with a file {FILE}, and what is left of a backup that was cut off \
                 is none either; name the folder of a whole backup",
                folder.display()
            )),
            _ => EngineError::Io { doing: "reading", path: path.clone(), source },
        })?;
        let damaged =
            |error: serde_json::Error| refused(format!("{} is damaged: {error}; {ANOTHER_BACKUP}", path.display()));
        let document: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
        let format = document["format"].as_u64().unwrap_or(0);
        if format > u64::from(FORMAT) {
            return Err(refused(format!(
                "{} has format {format}, newer than this engine's {FORMAT}; restore it with the engine that made it",
                path.display()
            )));
        }
        serde_json::from_value(document).map_err(damaged)
    }

    /// Writes it into the backup, durably.
    pub(super) fn write(&self, folder: &Path) -> EngineResult<()> {
        let text = serde_json::to_vec_pretty(self).expect("a manifest has no unserialisable parts");
        transfer::write(&folder.join(FILE), &text)
    }

    /// Whether there is a file of that path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.files.iter().any(|file| file.path == path)
    }
}

/// What cannot be done, in words for users.
pub(super) fn refused(text: String) -> EngineError {
    StoreError::invalid(text).into()
}
