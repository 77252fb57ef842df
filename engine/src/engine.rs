//! The engine's public face: open a workspace, deploy, start, look, steer. Everything that the CLI and the web do
//! goes through here.

use std::fs::{File, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Map, Value, json};
use surefoot_connector_api::{Connector, Dialer};
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bells::Bells;
use crate::core::{Change, Config, ConnectorType, Core, Event, lock};
use crate::executor::Executor;
use crate::files::Blobs;
use crate::host::{ComponentError, WasmHost};
use crate::journal::{Digester, shown};
use crate::key::check_value;
use crate::native::{self, NativeFlow};
use crate::planted::{Bug, is_planted};
use crate::query::{Kind, Page};
use crate::reserve::Reserve;
use crate::session::QueryCall;
use crate::store::executions::Key;
use crate::store::logs::LogLine;
use crate::store::signals::Signal;
use crate::store::{
    self, Concerns, Epoch, Readers, RecordCache, Refusal, StoreError, StoreResult, Urgency, Writer, executions,
    journal, logs, records, schedules, signals,
};
use crate::upkeep;

/// What the engine can answer instead of a result.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The request cannot be done. The text is for users.
    #[error("{0}")]
    Refused(Refusal),
    /// The component was refused.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// Another process holds the workspace.
    #[error("workspace {} is held by {holder}; stop it, or talk to it through its server", path.display())]
    Held {
        /// The data folder.
        path: PathBuf,
        /// What is known of the other process.
        holder: String,
    },
    /// The file system.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The store failed, or recovers from a failure. The same request may succeed later.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The store has no room to write. The same request succeeds when there is.
    #[error("the disk of the data folder is full")]
    DiskFull,
    /// What is stored is not what was stored. The text says what, for users.
    #[error("{0}")]
    Damaged(String),
    /// Another part that everything stands on.
    #[error("{0}")]
    Failed(String),
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => Self::Refused(refusal),
            StoreError::Damaged(text) => Self::Failed(text),
            StoreError::Full(_) => Self::DiskFull,
            StoreError::Corrupt(_) => Self::Damaged(error.to_string()),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// The result of an engine operation.
pub type EngineResult<T> = Result<T, EngineError>;

/// A flow to be started.
#[derive(Clone, Debug, Default)]
pub struct StartRequest {
    /// Name or id of the flow.
    pub flow: String,
    /// Its input.
    pub input: Value,
    /// Display name; the flow's when there is none.
    pub name: Option<String>,
    /// Who asks.
    pub by: String,
    /// The webhook that was called.
    pub webhook_id: Option<String>,
    /// A second start through the same webhook with the same key joins the first.
    pub idempotency_key: Option<String>,
}

/// A workspace that is open and at work. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) core: Arc<Core>,
    shared: Arc<Shared>,
}

struct Shared {
    lock: Mutex<Option<File>>,
    writer_thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// A simulation drives the writer itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriterMode {
    Thread,
    #[cfg_attr(not(test), expect(dead_code, reason = "only a simulation makes it"))]
    Manual,
}

impl Engine {
    /// Opens the workspace in `config.data`, creating it where there is none, recovers what has not ended, and begins
    /// to work. Must be called within a
    /// tokio runtime.
    pub fn open(config: Config, connectors: Vec<Arc<dyn Connector>>) -> EngineResult<Self> {
        Self::open_with(config, connectors, Vec::new(), WriterMode::Thread)
    }

    pub(crate) fn open_with(
        config: Config,
        connectors: Vec<Arc<dyn Connector>>,
        natives: Vec<(String, Arc<dyn NativeFlow>)>,
        mode: WriterMode,
    ) -> EngineResult<Self> {
        let data = config.data.clone();
        create_folder(&data)?;
        ensure_writable(&data)?;
        let lock_file = hold(&data)?;
        upkeep::refuse_newer(&data)?;
        upkeep::lost::begin(&data)?;
        for folder in ["blobs", "components"] {
            create_folder(&data.join(folder))?;
        }
        remove_unended_uploads(&data)?;
        let key = workspace_key(&data, &config)?;
        let database = data.join(upkeep::DATABASE);
        let (connection, epoch) = open_database(&database, &key, &config)?;
        upkeep::lost::finish(&data)?;
        if !epoch.was_clean {
            executions::count_deaths(&connection)?;
        }
        let (events, received) = mpsc::unbounded_channel();
        let failed = events.clone();
        let stopping = CancellationToken::new();
        let stop = stopping.clone();
        let writer = Writer::new(&database, connection, epoch, config.dies_at.clone(), move |error| match error {
            // Taking the workspace back would only make the other process do the same.
            StoreError::Stale { .. } => stop.cancel(),
            _ => {
                let _ = failed.send(Event::StoreFailed);
            }
        });
        let mut flows = native::all();
        flows.extend(natives);
        let failed = |error: &dyn std::fmt::Display| EngineError::Failed(error.to_string());
        let core = Arc::new(Core {
            digester: Digester::new(&key),
            readers: Readers::new(&database),
            writer: writer.clone(),
            blobs: Blobs::local(&data.join("blobs")).map_err(|error| failed(&error))?,
            host: WasmHost::new(&data.join("components"), &key).map_err(|error| failed(&error))?,
            dialer: Dialer::new(config.egress.clone()),
            connectors: connectors
                .into_iter()
                .map(|connector| (connector.type_name(), ConnectorType::new(connector)))
                .collect(),
            connector_records: RecordCache::new(Kind::Connector),
            webhook_records: RecordCache::new(Kind::Webhook),
            natives: flows,
            events,
            changes: broadcast::Sender::new(1024),
            ended: Bells::default(),
            residents: Mutex::default(),
            places: Arc::new(Semaphore::new(config.residents_max)),
            tasks: TaskTracker::new(),
            runtime: tokio::runtime::Handle::current(),
            stopping,
            degraded: false.into(),
            reserve: Reserve::open(&data, config.reserve_bytes),
            attention: Default::default(),
            contents_lock: Arc::default(),
            config,
        });
        let writer_thread = (mode == WriterMode::Thread).then(|| {
            let thread = std::thread::Builder::new().name("surefoot-writer".into());
            thread.spawn(move || writer.run()).expect("a thread can be started")
        });
        core.tasks.spawn(Executor::new(core.clone(), received).run());
        core.tasks.spawn(crate::retention::run(core.clone()));
        let shared = Arc::new(Shared { lock: Mutex::new(Some(lock_file)), writer_thread: Mutex::new(writer_thread) });
        let engine = Self { core, shared };
        engine.settle_in();
        Ok(engine)
    }

    /// What every opening makes sure of: the scheduler `cron`, and an iteration for each enabled schedule.
    fn settle_in(&self) {
        let (core, stamp) = (self.core.clone(), self.core.stamp("surefoot"));
        let ticket = self.core.writer.submit(Urgency::Now, Concerns::None, move |connection| {
            if records::get(connection, Kind::Scheduler, "cron")?.is_none() {
                let fields = json!({"id": "cron", "flow_id": "native:cron", "description": "Starts a flow at the times \
                         of a cron expression."});
                let fields = fields.as_object().cloned().unwrap_or_default();
                core.save_record(connection, Kind::Scheduler, "cron", &fields, &stamp)?;
            }
            crate::schedules::reconcile_all(&core, connection)
        });
        let core = self.core.clone();
        self.core.tasks.spawn(async move {
            match ticket.done().await {
                Ok(begun) => begun.into_iter().for_each(|key| core.send(Event::Wake(key))),
                Err(error) => tracing::error!(%error, "the workspace could not be prepared"),
            }
        });
    }

    /// Stops: no instance goes on, running connector calls get `grace` to end and be recorded, everything queued is
    /// committed.
    pub async fn shutdown(self, grace: Duration) -> EngineResult<()> {
        self.core.stopping.cancel();
        for resident in lock(&self.core.residents).values() {
            resident.touch();
        }
        self.core.tasks.close();
        if tokio::time::timeout(grace, self.core.tasks.wait()).await.is_err() {
            tracing::warn!(
                "connector calls were still at work when the engine stopped; they end as interrupted, or are \
                     performed again"
            );
        }
        self.core.writer.close();
        let thread = lock(&self.shared.writer_thread).take();
        if let Some(thread) = thread {
            tokio::task::spawn_blocking(move || thread.join()).await.ok();
        }
        self.core.writer.mark_clean()?;
        lock(&self.shared.lock).take();
        Ok(())
    }

    /// Whether a commit failed and the engine has not recovered yet: nothing new is taken.
    pub fn is_degraded(&self) -> bool {
        self.core.degraded.load(Ordering::SeqCst)
    }

    /// Whether there is no room on the disk of the data folder, as far as the file system says.
    pub fn is_disk_full(&self) -> bool {
        self.core.reserve.is_disk_full()
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.core.config.data
    }

    /// The connector types.
    pub fn connector_types(&self) -> Vec<Arc<dyn Connector>> {
        self.core.connectors.values().map(|ty| ty.connector.clone()).collect()
    }

    pub(crate) async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&rusqlite::Connection) -> StoreResult<T> + Send + 'static,
    ) -> EngineResult<T> {
        Ok(self.core.writer.submit(Urgency::Now, Concerns::None, write).done().await?)
    }

    /// Writes, and tells the executor what follows, in a task of its own: a caller that goes away in between takes
    /// nothing with it.
    pub(crate) async fn write_and_wake<T: Send + 'static>(
        &self,
        write: impl FnOnce(&rusqlite::Connection) -> StoreResult<T> + Send + 'static,
        follows: impl FnOnce(&T) -> Option<Event> + Send + 'static,
    ) -> EngineResult<T> {
        let core = self.core.clone();
        let ticket = self.core.writer.submit(Urgency::Now, Concerns::None, write);
        let task = self.core.tasks.spawn(async move {
            let value = ticket.done().await?;
            if let Some(event) = follows(&value) {
                core.send(event);
            }
            Ok::<T, StoreError>(value)
        });
        Ok(task.await.map_err(|error| EngineError::Failed(error.to_string()))??)
    }

    /// Reads on a thread of its own: a query may take long.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Core, &rusqlite::Connection) -> StoreResult<T> + Send + 'static,
    ) -> EngineResult<T> {
        let core = self.core.clone();
        let joined = tokio::task::spawn_blocking(move || core.readers.read(|connection| read(&core, connection))).await;
        Ok(joined.map_err(|error| EngineError::Failed(error.to_string()))??)
    }

    /// Makes a component the present version of a flow, which is created where there is none. What runs goes on with
    /// its own version.
    pub async fn deploy(&self, name: &str, component: Vec<u8>, by: &str) -> EngineResult<Value> {
        let (core, size) = (self.core.clone(), component.len() as u64);
        let installed = tokio::task::spawn_blocking(move || core.host.install(&component)).await;
        let (digest, _held) = installed.map_err(|error| EngineError::Failed(error.to_string()))??;
        let (name, stamp) = (name.to_owned(), self.core.stamp(by));
        self.write(move |connection| {
            let record = match records::get(connection, Kind::Flow, &name)? {
                Some(record) => record,
                None => records::save(connection, Kind::Flow, &name, &Map::new(), &stamp)?,
            };
            let id = record["id"].as_str().unwrap_or_default();
            schedules::add_version(connection, id, &digest, size, stamp.now, &stamp.who)?;
            if record["version"] != digest.as_str() {
                records::set_computed(
                    connection,
                    Kind::Flow,
                    id,
                    &json!({"version": digest, "size_bytes": size}),
                    &stamp,
                )?;
            }
            records::require(connection, Kind::Flow, id)
        })
        .await
    }

    /// Versions of a flow, newest first.
    pub async fn versions(&self, flow: &str) -> EngineResult<Vec<Value>> {
        let flow = flow.to_owned();
        self.read(move |_, connection| {
            let record = records::require(connection, Kind::Flow, &flow)?;
            let versions = schedules::versions(connection, record["id"].as_str().unwrap_or_default())?;
            let to_json = |(digest, size, at, by): (String, i64, crate::clock::Timestamp, String)| {
                json!({"digest": digest, "size_bytes": size, "deployed_at": at.to_string(), "deployed_by": by,
                "is_present": record["version"] == digest})
            };
            Ok(versions.into_iter().map(to_json).collect())
        })
        .await
    }

    /// Starts a flow. Returns the execution's id once that is durable, and whether it was started now (true) or
    /// joined (false).
    pub async fn start(&self, request: StartRequest) -> EngineResult<(String, bool)> {
        if crate::journal::is_too_deep(&request.input) {
            return Err(StoreError::invalid("the input is nested too deep").into());
        }
        if let Some(name) = &request.name {
            records::check_name(Kind::Execution, name)?;
        }
        let (core, id, now) = (self.core.clone(), self.core.new_id(), self.core.now());
        let (id, key) = self
            .write_and_wake(
                move |connection| {
                    if let (Some(webhook), Some(idempotency)) = (&request.webhook_id, &request.idempotency_key)
                        && let Some(present) = executions::by_idempotency_key(connection, webhook, idempotency)?
                    {
                        return Ok((present, None));
                    }
                    let mut new =
                        core.new_flow_execution(connection, id.clone(), &request.flow, request.input, &request.by)?;
                    new.name = request.name.unwrap_or(new.name);
                    new.webhook_id = request.webhook_id;
                    new.idempotency_key = request.idempotency_key.filter(|_| !is_planted(Bug::IdempotencyIgnored));
                    Ok((id, Some(executions::insert(connection, &new, now)?)))
                },
                |(_, key)| key.map(Event::Wake),
            )
            .await?;
        Ok((id, key.is_some()))
    }

    /// Waits until an execution, or the one that takes its place, has ended. None when `timeout` comes first.
    pub async fn wait_ended(&self, id: &str, timeout: Option<Duration>) -> EngineResult<Option<Value>> {
        let ended = async {
            let mut place = id.to_owned();
            loop {
                let mut bell = self.core.ended.listen(&place);
                let found = self.core.readers.read(|connection| self.core.last_of_chain(connection, id))?;
                let row = found.ok_or_else(|| EngineError::from(StoreError::not_found("execution", id)))?;
                if row["ended_at"].is_string() {
                    return Ok(row);
                }
                // By continuing as new another one takes its place, whose end is waited for then.
                match row["id"].as_str() {
                    Some(present) if present != place => place = present.to_owned(),
                    _ => bell.rung().await,
                }
            }
        };
        match timeout {
            None => ended.await.map(Some),
            Some(timeout) => tokio::time::timeout(timeout, ended).await.ok().transpose(),
        }
    }

    /// What happens to executions, from now on, once it is durable.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.core.changes.subscribe()
    }

    /// An execution or connection by id.
    pub async fn execution(&self, id: &str) -> EngineResult<Value> {
        let id = id.to_owned();
        self.read(move |core, connection| {
            core.execution_json(connection, &id)?.ok_or_else(|| StoreError::not_found("execution", &id))
        })
        .await
    }

    /// Log lines of an execution after the key (call, line), at most `limit`.
    pub async fn log(&self, id: &str, after: Option<(u32, u32)>, limit: u32) -> EngineResult<Vec<LogLine>> {
        let id = id.to_owned();
        self.read(move |_, connection| logs::list(connection, require_key(connection, &id)?, after, limit.min(10_000)))
            .await
    }

    /// The journal of an execution for people: without the seed of its randomness, with the names of the calls.
    pub async fn journal(&self, id: &str) -> EngineResult<Vec<Value>> {
        let id = id.to_owned();
        self.read(move |_, connection| {
            let records = journal::read(connection, require_key(connection, &id)?)?;
            Ok(records.iter().enumerate().map(|(seq, record)| shown(seq, record)).collect())
        })
        .await
    }

    /// Asks an execution to end. It does at its next host call, or at once when it computes or waits.
    pub async fn cancel(&self, id: &str) -> EngineResult<Value> {
        self.steer(id, executions::request_cancel).await
    }

    /// Stops the delivery of results to an execution until [`resume`](Self::resume). Due times do not move.
    pub async fn pause(&self, id: &str) -> EngineResult<Value> {
        self.steer(id, |connection, key| executions::set_paused(connection, key, true, "paused")).await
    }

    /// Lets a paused execution go on.
    pub async fn resume(&self, id: &str) -> EngineResult<Value> {
        self.steer(id, |connection, key| executions::set_paused(connection, key, false, "")).await
    }

    async fn steer(
        &self,
        id: &str,
        change: impl FnOnce(&rusqlite::Connection, Key) -> StoreResult<bool> + Send + 'static,
    ) -> EngineResult<Value> {
        let owned = id.to_owned();
        self.write_and_wake(
            move |connection| {
                let owned = executions::last_of_chain(connection, &owned)?;
                let key = require_key(connection, &owned)?;
                if !change(connection, key)? {
                    let status =
                        executions::get(connection, &owned)?.map(|(_, row)| row["status"].clone()).unwrap_or_default();
                    let status = status.as_str().unwrap_or_default().to_owned();
                    return Err(StoreError::Refused(Refusal::Conflict(format!(
                        "execution {owned} has status {status}: nothing to do"
                    ))));
                }
                Ok(key)
            },
            |key| Some(Event::Wake(*key)),
        )
        .await?;
        self.core.changed(id);
        self.execution(id).await
    }

    /// Sends a signal to an execution. Durable when this returns; the same `signal_id` again changes nothing.
    pub async fn signal(
        &self,
        id: &str,
        name: &str,
        payload: Value,
        sender: &str,
        signal_id: Option<String>,
    ) -> EngineResult<String> {
        if crate::journal::is_too_deep(&payload) {
            return Err(StoreError::invalid("the payload is nested too deep").into());
        }
        let signal = Signal { id: signal_id.unwrap_or_else(|| self.core.new_id()), payload, sender: sender.to_owned() };
        let (owned, name, now, signal_id) = (id.to_owned(), name.to_owned(), self.core.now(), signal.id.clone());
        self.write_and_wake(
            move |connection| {
                let last = executions::last_of_chain(connection, &owned)?;
                let key = require_key(connection, &last)?;
                if executions::active_one(connection, key)?.is_none() {
                    let why = match executions::load_remains(connection, key)? {
                        Some(execution) if !execution.status.has_ended() => {
                            "has not ended, and nothing looks at it: run surefoot doctor"
                        }
                        _ => "has ended and takes no signals",
                    };
                    return Err(StoreError::Refused(Refusal::Conflict(format!("execution {owned} {why}"))));
                }
                signals::insert(connection, key, &name, &signal, now)?;
                Ok(key)
            },
            |key| Some(Event::Wake(*key)),
        )
        .await?;
        Ok(signal_id)
    }

    /// One page of records or executions.
    pub async fn query(&self, query: QueryCall) -> EngineResult<Page> {
        self.read(move |core, connection| core.query(connection, &query.parse()?)).await
    }

    /// A record by name or id.
    pub async fn record(&self, kind: Kind, key: &str) -> EngineResult<Value> {
        let key = key.to_owned();
        self.read(move |core, connection| {
            records::require(connection, kind, &key).map(|record| core.present(kind, record))
        })
        .await
    }

    /// Creates a record or updates the fields given.
    pub async fn save(&self, kind: Kind, key: &str, fields: Map<String, Value>, by: &str) -> EngineResult<Value> {
        let (core, key, stamp) = (self.core.clone(), key.to_owned(), self.core.stamp(by));
        let save = move |connection: &rusqlite::Connection| {
            let kind = crate::session::writable_kind(kind.as_str())?;
            let record = core.save_record(connection, kind, &key, &fields, &stamp)?;
            Ok(core.present(kind, record))
        };
        self.write_and_wake(save, move |record| schedule_changed(kind, record)).await
    }

    /// Deletes a record, to the trash or for good, or the tree of an execution that has ended. False when there was
    /// none. A big tree goes by and by.
    pub async fn delete(&self, kind: Kind, key: &str, permanently: bool, by: &str) -> EngineResult<bool> {
        if kind == Kind::Execution {
            return self.delete_execution(key, permanently).await;
        }
        let (core, key, stamp) = (self.core.clone(), key.to_owned(), self.core.stamp(by));
        let delete = move |connection: &rusqlite::Connection| {
            let record = records::get(connection, kind, &key)?;
            let deleted = core.delete_record(connection, kind, &key, permanently, &stamp)?;
            Ok((deleted, record))
        };
        let follows = move |(_, record): &(bool, Option<Value>)| schedule_changed(kind, record.as_ref()?);
        Ok(self.write_and_wake(delete, follows).await?.0)
    }

    /// Takes a record, or the tree of an execution, out of the trash, by id.
    pub async fn restore(&self, kind: Kind, id: &str) -> EngineResult<Value> {
        if kind == Kind::Execution {
            return self.restore_execution(id).await;
        }
        let (core, id) = (self.core.clone(), id.to_owned());
        let restore = move |connection: &rusqlite::Connection| {
            let record = records::restore(connection, kind, &id)?;
            if kind == Kind::Schedule {
                crate::schedules::reconcile(&core, connection, &record)?;
            }
            Ok(core.present(kind, record))
        };
        self.write_and_wake(restore, move |record| schedule_changed(kind, record)).await
    }

    /// Stores a file from a stream of chunks.
    pub async fn put_file<E: std::fmt::Display>(
        &self,
        name: &str,
        content: impl futures::Stream<Item = Result<bytes::Bytes, E>> + Send,
        by: &str,
    ) -> EngineResult<Value> {
        let failed = |error| self.not_stored(&error);
        let mut writer = self.core.blobs.begin(&self.core.new_id()).await.map_err(failed)?;
        let mut content = std::pin::pin!(content);
        while let Some(chunk) = futures::StreamExt::next(&mut content).await {
            let chunk = chunk.map_err(|error| EngineError::Failed(format!("the file could not be stored: {error}")))?;
            writer.write(chunk).await.map_err(failed)?;
        }
        let (size, sha256, _held) = writer.finish().await.map_err(failed)?;
        let (name, stamp) = (name.to_owned(), self.core.stamp(by));
        self.write(move |connection| crate::files::save_name(connection, &name, size, &sha256, &stamp)).await
    }

    /// A full disk stays one, however deep the file store says it.
    fn not_stored(&self, error: &(dyn std::error::Error + 'static)) -> EngineError {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        let kind = causes.find_map(|error| error.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
        match kind {
            Some(kind @ ErrorKind::StorageFull) => EngineError::Io {
                doing: "storing a file in",
                path: self.core.config.data.join("blobs"),
                source: kind.into(),
            },
            _ => EngineError::Failed(format!("the file could not be stored: {error}")),
        }
    }

    /// The record of a file and its content as a stream of chunks.
    pub async fn get_file(
        &self,
        name: &str,
    ) -> EngineResult<(Value, futures::stream::BoxStream<'static, Result<bytes::Bytes, std::io::Error>>)> {
        let record = self.record(Kind::File, name).await?;
        let (_, sha256) = crate::files::stat_of(&record);
        let unreadable = |error: &object_store::Error| {
            let name = record["name"].as_str().unwrap_or_default();
            EngineError::Damaged(format!("the content of file `{name}` cannot be read: {}", innermost(error)))
        };
        let stream = self.core.blobs.read(&sha256).await.map_err(|error| unreadable(&error))?;
        let mut stream = Box::pin(stream.peekable());
        // What is not much is compared as a whole before any of it is given out.
        if let Some(Err(error)) = stream.as_mut().peek().await {
            return Err(unreadable(error));
        }
        Ok((record, stream.map_err(std::io::Error::other).boxed()))
    }

    /// Sets, or with none removes, the key that a webhook's callers must show. Only its digest is stored.
    pub async fn set_webhook_key(&self, webhook: &str, key: Option<&str>, by: &str) -> EngineResult<Value> {
        let (core, webhook, stamp) = (self.core.clone(), webhook.to_owned(), self.core.stamp(by));
        let digest = key.map(|key| crate::files::sha256_hex(key.as_bytes()));
        self.write(move |connection| {
            let record = records::require(connection, Kind::Webhook, &webhook)?;
            let id = record["id"].as_str().unwrap_or_default();
            records::set_computed(connection, Kind::Webhook, id, &json!({ "key_sha256": digest }), &stamp)?;
            records::require(connection, Kind::Webhook, id).map(|record| core.present(Kind::Webhook, record))
        })
        .await
    }

    /// A webhook with the digest of its key, for the one who answers calls.
    pub fn webhook_for_call(&self, name: &str) -> EngineResult<Arc<Value>> {
        Ok(self.core.webhook_records.require(&self.core.readers, &self.core.writer, name)?)
    }
}

/// The cause that says most, without the layers of a library.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

/// A schedule whose record changed has to be looked at.
fn schedule_changed(kind: Kind, record: &Value) -> Option<Event> {
    let id = record["id"].as_str()?.to_owned();
    (kind == Kind::Schedule).then_some(Event::ScheduleChanged(id))
}

fn require_key(connection: &rusqlite::Connection, id: &str) -> StoreResult<Key> {
    executions::key_of(connection, id)?.ok_or_else(|| StoreError::not_found("execution", id))
}

/// What an upload left that the process did not live to end.
fn remove_unended_uploads(data: &Path) -> EngineResult<()> {
    let staging = data.join("blobs/staging");
    match std::fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("emptying", &staging)(error)),
        _ => Ok(()),
    }
}

/// An error of the file system.
pub(crate) fn io(doing: &'static str, path: &Path) -> impl Fn(std::io::Error) -> EngineError {
    move |source| EngineError::Io { doing, path: path.to_owned(), source }
}

/// Makes a folder for the owner alone, and those above it.
pub(crate) fn create_folder(path: &Path) -> EngineResult<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("creating", path))
}

/// Says so at once, instead of at the first file that SQLite cannot make.
fn ensure_writable(path: &Path) -> EngineResult<()> {
    let access = nix::unistd::access(path, nix::unistd::AccessFlags::W_OK);
    access.map_err(|error| io("writing to", path)(error.into()))
}

/// Takes the workspace's lock, or says who has it.
pub(crate) fn hold(data: &Path) -> EngineResult<File> {
    let path = data.join(upkeep::LOCK);
    let io = io("opening", &path);
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(&io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(held_by(data, file)),
        Err(TryLockError::Error(source)) => return Err(io(source)),
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(&io)?;
    writeln!(file, "{}", std::process::id()).map_err(io)?;
    Ok(file)
}

/// Says who has the workspace's lock, from the lock's file.
pub(crate) fn held_by(data: &Path, mut lock: File) -> EngineError {
    let mut holder = String::new();
    if let Err(error) = lock.read_to_string(&mut holder) {
        return io("reading", &data.join(upkeep::LOCK))(error);
    }
    let holder = match holder.trim() {
        // It has the lock, and did not come to write its number yet.
        "" => "another process".to_owned(),
        number => format!("process {number}"),
    };
    EngineError::Held { path: data.to_owned(), holder }
}

/// Opens the database, with a backup before it is migrated.
fn open_database(database: &Path, key: &[u8; 32], config: &Config) -> EngineResult<(rusqlite::Connection, Epoch)> {
    upkeep::back_up_older(&config.data, config.clock.now())?;
    make_private(database)?;
    Ok(store::open_for_writing(database, check_value(key))?)
}

/// Makes the file of a database that is not there, for the owner alone, and closes one to others that older engines
/// made. SQLite gives its log the same mode.
fn make_private(database: &Path) -> EngineResult<()> {
    match File::options().write(true).create_new(true).mode(0o600).open(database) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        created => return created.map(drop).map_err(io("creating", database)),
    }
    for end in ["", "-wal", "-shm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(end);
        let path = PathBuf::from(path);
        let is_open = path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0);
        if is_open && let Err(error) = std::fs::set_permissions(&path, Permissions::from_mode(0o600)) {
            tracing::warn!(path = %path.display(), %error, "it cannot be closed to others");
        }
    }
    Ok(())
}

/// The workspace's key: made once, kept outside the database.
fn workspace_key(data: &Path, config: &Config) -> EngineResult<[u8; 32]> {
    let path = data.join(upkeep::KEY);
    if path.exists() {
        let bytes = std::fs::read(&path).map_err(io("reading", &path))?;
        return <[u8; 32]>::try_from(bytes).map_err(|_| {
            EngineError::Failed(format!(
                "{} is damaged: it must have 32 bytes; restore it from a backup",
                path.display()
            ))
        });
    }
    if upkeep::lost::has_database(data)? {
        // A new key would make every execution that is under way look as if its flow had changed.
        return Err(EngineError::Failed(format!("{} is missing; restore it from a backup", path.display())));
    }
    let key = config.entropy.bytes32();
    let temporary = data.join("key.part");
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(io("creating", &path))?;
    file.write_all(&key).and_then(|()| file.sync_all()).map_err(io("writing", &path))?;
    std::fs::rename(&temporary, &path).map_err(io("renaming", &path))?;
    // Before there is anything that cannot be read without it.
    File::open(data).and_then(|folder| folder.sync_all()).map_err(io("syncing", data))?;
    Ok(key)
}
