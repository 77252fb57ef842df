//! What a workspace takes on the disk, and what stands in it.

use std::path::Path;

use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::Timestamp;
use crate::engine::{Engine, EngineError, EngineResult};
use crate::retention::Retention;
use crate::store::sizes;
use crate::upkeep::DATABASE;

/// Sizes in bytes, and numbers of executions.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Storage {
    /// The database: its file, or what that becomes when what still stands in the log alone is moved there.
    pub database_bytes: u64,
    /// What of the database is in use. The rest is free for what comes next, or given back by and by.
    pub database_used_bytes: u64,
    /// The database's write-ahead log.
    pub log_bytes: u64,
    /// Contents of files.
    pub contents: u64,
    /// Their size.
    pub contents_bytes: u64,
    /// Components of flows.
    pub components: u64,
    /// Their size, with the machine code made of them.
    pub components_bytes: u64,
    /// Executions that have not ended.
    pub executions_unended: u64,
    /// Executions that have ended and are not in the trash.
    pub executions_ended: u64,
    /// Executions in the trash.
    pub executions_trashed: u64,
    /// When the tree of executions ended that goes to the trash next; none when there is none.
    #[serde(serialize_with = "as_text")]
    #[schemars(with = "Option<String>")]
    pub oldest_ended_at: Option<Timestamp>,
    /// What is kept, and for how long.
    pub retention: Retention,
}

fn as_text<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(|at| at.to_string()).serialize(serializer)
}

impl Engine {
    /// What the workspace takes on the disk. Counts everything anew: seconds, where there are millions.
    pub async fn storage(&self) -> EngineResult<Storage> {
        let mut contents = self.core.blobs.list();
        let (mut count, mut bytes) = (0, 0);
        while let Some((_, size)) = contents.try_next().await.map_err(|error| EngineError::Failed(error.to_string()))? {
            count += 1;
            bytes += size;
        }
        self.read(move |core, connection| {
            let data = &core.config.data;
            let database = sizes::database_bytes(connection)?;
            let numbers = sizes::numbers(connection)?;
            let stored = core.host.stored().unwrap_or_default();
            let files = |digest: &String| {
                let size = |extension: &str| size_of(&data.join(format!("components/{digest}.{extension}")));
                size("wasm") + size("cwasm")
            };
            Ok(Storage {
                database_bytes: size_of(&data.join(DATABASE)).max(database.all),
                database_used_bytes: database.used,
                log_bytes: size_of(&data.join(format!("{DATABASE}-wal"))),
                contents: count,
                contents_bytes: bytes,
                components: stored.len() as u64,
                components_bytes: stored.iter().map(files).sum(),
                executions_unended: numbers.unended,
                executions_ended: numbers.all.saturating_sub(numbers.unended).saturating_sub(numbers.trashed),
                executions_trashed: numbers.trashed,
                oldest_ended_at: numbers.oldest.map(Timestamp),
                retention: core.retention(),
            })
        })
        .await
    }
}

/// A file that is not there, or not any more, has no size.
fn size_of(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
