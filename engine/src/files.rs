//! The file store: contents by digest, behind `object_store`; names and metadata are records.
//!
//! A content is durable before any name points to it, and never changes. Contents are streamed; none stands in memory
//! as a whole.

mod verified;

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use rusqlite::Connection;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use surefoot_connector_api::{ByteStream, CallError, ErrorClass, FileAccess, FileSink, StoredFile};

use crate::collection::{Held, Holds};
use crate::core::{Core, lock};
use crate::grant::Grant;
use crate::people::{Rights, Role};
use crate::query::Kind;
use crate::store::records::{self, Stamp};
use crate::store::{StoreError, StoreResult};

/// Contents by digest.
#[derive(Clone)]
pub(crate) struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// Contents that are about to get a name.
    pub(crate) holds: Holds,
}

impl Blobs {
    /// Contents in a local folder.
    pub(crate) fn local(folder: &Path) -> object_store::Result<Self> {
        let store = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), holds: Holds::default() })
    }

    /// Stores a content whose digest is known. The same one again changes nothing. `id` must be fresh. It stays while
    /// what is returned is held.
    pub(crate) async fn put(&self, id: &str, sha256: &str, content: Bytes) -> object_store::Result<Held> {
        let held = self.holds.hold(sha256).await;
        let path = blob_path(sha256);
        if self.store.head(&path).await.is_err() {
            let staging = staging_path(id);
            self.store.put(&staging, content.into()).await?;
            self.store.rename(&staging, &path).await?;
        }
        Ok(held)
    }

    /// The digests and sizes in bytes of all contents.
    pub(crate) fn list(&self) -> futures::stream::BoxStream<'static, object_store::Result<(String, u64)>> {
        let all = self.store.list(Some(&ObjectPath::from("sha256")));
        all.map_ok(|content| (content.location.filename().unwrap_or_default().to_owned(), content.size)).boxed()
    }

    /// Deletes a content. One that is gone already is no error.
    pub(crate) async fn delete(&self, sha256: &str) -> object_store::Result<()> {
        match self.store.delete(&blob_path(sha256)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            result => result,
        }
    }

    /// Part of a content.
    pub(crate) async fn read_part(&self, sha256: &str, offset: u64, length: u32) -> object_store::Result<Bytes> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        self.store.get_range(&blob_path(sha256), offset..offset + u64::from(length)).await
    }

    /// A whole content as a stream, compared with its digest: whoever reads it to the end has it right, or an error.
    pub(crate) async fn read(
        &self,
        sha256: &str,
    ) -> object_store::Result<futures::stream::BoxStream<'static, object_store::Result<Bytes>>> {
        let content = self.store.get(&blob_path(sha256)).await?.into_stream().boxed();
        Ok(verified::verified(sha256.to_owned(), content))
    }

    /// Starts a content whose digest is not known yet. `id` must be fresh.
    pub(crate) async fn begin(&self, id: &str) -> object_store::Result<BlobWriter> {
        let staging = staging_path(id);
        let upload = self.store.put_multipart(&staging).await?;
        let upload = WriteMultipart::new_with_chunk_size(upload, CHUNK_BYTES);
        Ok(BlobWriter {
            store: self.store.clone(),
            holds: self.holds.clone(),
            staging,
            upload: Some(upload),
            hasher: Sha256::new(),
            size_bytes: 0,
        })
    }
}

/// Part size of an upload, bytes.
const CHUNK_BYTES: usize = 8 << 20;
/// Parts of one upload under way at one time.
const UPLOADS_MAX: usize = 2;

fn blob_path(sha256: &str) -> ObjectPath {
    ObjectPath::from(format!("sha256/{}/{sha256}", &sha256[..2.min(sha256.len())]))
}

/// What is there when a workspace is opened was left by a crash.
fn staging_path(id: &str) -> ObjectPath {
    ObjectPath::from(format!("staging/{id}"))
}

/// A content on its way in. Dropped unfinished, it leaves nothing behind that has a name.
pub(crate) struct BlobWriter {
    store: Arc<dyn ObjectStore>,
    holds: Holds,
    staging: ObjectPath,
    upload: Option<WriteMultipart>,
    hasher: Sha256,
    size_bytes: u64,
}

impl BlobWriter {
    /// Appends a chunk.
    pub(crate) async fn write(&mut self, chunk: Bytes) -> object_store::Result<()> {
        let upload = self.upload.as_mut().expect("only finish takes the upload");
        upload.wait_for_capacity(UPLOADS_MAX).await?;
        self.hasher.update(&chunk);
        self.size_bytes += chunk.len() as u64;
        upload.put(chunk);
        Ok(())
    }

    /// Ends the content: durable, under its digest. Returns length and digest; it stays while the rest is held.
    pub(crate) async fn finish(mut self) -> object_store::Result<(u64, String, Held)> {
        let upload = self.upload.take().expect("finish is called once");
        upload.finish().await?;
        let sha256 = hex::encode(std::mem::take(&mut self.hasher).finalize());
        let held = self.holds.hold(&sha256).await;
        self.store.rename(&self.staging, &blob_path(&sha256)).await?;
        Ok((self.size_bytes, sha256, held))
    }
}

/// Points a name at a content, in that project if one is named.
pub(crate) fn save_name(
    connection: &Connection,
    name: &str,
    project: Option<&str>,
    size_bytes: u64,
    sha256: &str,
    stamp: &Stamp,
) -> StoreResult<Value> {
    let fields = project.map(|project| ("project_id".to_owned(), project.into()));
    let record = records::save(connection, Kind::File, name, &fields.into_iter().collect(), stamp)?;
    let id = record["id"].as_str().unwrap_or_default();
    records::set_computed(connection, Kind::File, id, &json!({"size_bytes": size_bytes, "sha256": sha256}), stamp)?;
    records::require(connection, Kind::File, id)
}

/// Length in bytes and digest of a file's record.
pub(crate) fn stat_of(record: &Value) -> (u64, String) {
    (record["size_bytes"].as_u64().unwrap_or(0), record["sha256"].as_str().unwrap_or_default().to_owned())
}

/// Hexadecimal SHA-256.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The file store as one connection sees it. What it writes gets its name when the connection's result is recorded.
pub(crate) struct ConnectionFiles {
    core: Arc<Core>,
    /// Those of the execution that made the call.
    rights: Rights,
    staged: Arc<Mutex<Vec<StoredFile>>>,
    /// Until the connection is over: no content is collected before it has its name.
    held: Arc<Mutex<Vec<Held>>>,
}

impl ConnectionFiles {
    pub(crate) fn new(core: Arc<Core>, rights: Rights) -> Self {
        Self { core, rights, staged: Arc::default(), held: Arc::default() }
    }

    /// The contents that wait for their names.
    pub(crate) fn take_staged(&self) -> Vec<StoredFile> {
        std::mem::take(&mut lock(&self.staged))
    }
}

fn storage_error(error: impl std::fmt::Display) -> CallError {
    CallError::not_sent(ErrorClass::Storage, format!("the file store failed: {error}"))
}

#[async_trait]
impl FileAccess for ConnectionFiles {
    async fn read(&self, name: &str) -> Result<(u64, ByteStream), CallError> {
        let grant = Grant::of_execution(&self.rights, Role::Viewer);
        let record = self.core.readers.read(|connection| grant.record(connection, Kind::File, name));
        let record = record.map_err(|error| match error {
            StoreError::Refused(refusal) => CallError::not_sent(ErrorClass::NotFound, refusal.to_string()),
            error => storage_error(error),
        })?;
        let (size, sha256) = stat_of(&record);
        let stream = self.core.blobs.read(&sha256).await.map_err(storage_error)?;
        Ok((size, stream.map_err(storage_error).boxed()))
    }

    async fn write(&self, name: &str) -> Result<Box<dyn FileSink>, CallError> {
        // What may not be written is not fetched either. Its name is given when the call is recorded.
        let grant = Grant::of_execution(&self.rights, Role::Author);
        let checked = records::check_name(Kind::File, name)
            .and_then(|()| self.core.readers.read(|connection| grant.check_file(connection, name).map(drop)));
        checked.map_err(|error| match error {
            StoreError::Refused(refusal) => CallError::not_sent(ErrorClass::InvalidInput, refusal.to_string()),
            error => storage_error(error),
        })?;
        let writer = self.core.blobs.begin(&self.core.new_id()).await.map_err(storage_error)?;
        let (staged, held) = (self.staged.clone(), self.held.clone());
        Ok(Box::new(Sink { name: name.to_owned(), writer, staged, held }))
    }
}

struct Sink {
    name: String,
    writer: BlobWriter,
    staged: Arc<Mutex<Vec<StoredFile>>>,
    held: Arc<Mutex<Vec<Held>>>,
}

#[async_trait]
impl FileSink for Sink {
    async fn write(&mut self, chunk: Bytes) -> Result<(), CallError> {
        self.writer.write(chunk).await.map_err(storage_error)
    }

    async fn finish(self: Box<Self>) -> Result<StoredFile, CallError> {
        let (size_bytes, sha256, held) = self.writer.finish().await.map_err(storage_error)?;
        lock(&self.held).push(held);
        let file = StoredFile { name: self.name, size_bytes, sha256 };
        lock(&self.staged).push(file.clone());
        Ok(file)
    }
}
