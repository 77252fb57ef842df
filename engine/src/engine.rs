//! The engine's public face. Everything that the CLI and the web do goes through here: a workspace is opened and closed
//! in this file; what can be done with it is in `executions` and `records`, and beside what it is about in
//! [`doctor`](crate::doctor), [`retention`](crate::retention), [`storage`](crate::storage), [`upkeep`](crate::upkeep).

mod approvals;
mod attachments;
mod executions;
mod notifications;
mod opening;
mod records;
mod rekeying;
mod sessions;
mod tokens;
mod users;
mod watching;
mod webhooks;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use surefoot_connector_api::{Connector, Dialer, EgressPolicy};
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bells::Bells;
use crate::calls::ResultCache;
use crate::clock::Timestamp;
use crate::core::{Config, ConnectorType, Core, Event, lock};
use crate::deadline::Deadline;
use crate::executor::Executor;
use crate::files::Blobs;
use crate::grant::Grant;
use crate::host::{ComponentError, WasmHost};
use crate::journal::Digester;
use crate::native::{self, NativeFlow};
use crate::notifications::Rules;
use crate::overview::Overview;
use crate::people::{People, Rights, Role};
use crate::query::Kind;
use crate::references::CRON;
use crate::reserve::Reserve;
use crate::retention::Retention;
use crate::secrets::Secrets;
use crate::store::records::{Saving, Stamp};
use crate::store::writer::guarded;
use crate::store::{self, Concerns, Readers, RecordCache, Refusal, StoreError, StoreResult, Urgency, Writer};
use crate::tallies::Tallies;

pub use attachments::{Attachment, Attachments};
pub use sessions::{KnownSession, Origin, Session};
pub use users::{Link, LinkFor};
pub use watching::{JournalPlace, JournalReader, Watch};
pub use webhooks::WebhookCredential;

use opening::{Taken, open_database, workspace_key};
pub(crate) use opening::{create_folder, held_by, hold, io};

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
    /// Files that come with it. They get their names when it is started, and not when another is joined.
    pub attachments: Option<Attachments>,
    /// When it is ended that has not ended; when there is none, what the flow says.
    pub deadline: Option<Deadline>,
    /// Among those that wait for a place of the flow, from -100 to 100; when there is none, what the flow says.
    pub priority: Option<i64>,
}

/// A version of a flow.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct FlowVersion {
    /// Hexadecimal SHA-256 of the component.
    pub digest: String,
    /// Size of the component, bytes.
    pub size_bytes: u64,
    /// When it became the present one, RFC 3339.
    pub deployed_at: String,
    /// Who deployed it.
    pub deployed_by: String,
    /// Whether new executions run it.
    pub is_present: bool,
}

/// A workspace that is open and at work. Clones are the same engine, and ask on the same behalf.
#[derive(Clone)]
pub struct Engine {
    pub(crate) core: Arc<Core>,
    pub(crate) grant: Arc<Grant>,
    shared: Arc<Shared>,
}

struct Shared {
    lock: Mutex<Option<File>>,
    writer_thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// Reads for those who ask, at one time.
const READS_MAX: usize = 8;

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
        let Taken { lock_file, key, database, connection, epoch } = Taken::open(&config)?;
        let data = config.data.clone();
        let connectors = connectors.into_iter().map(|one| (one.type_name(), ConnectorType::new(one))).collect();
        let secrets = Secrets::open(&config, &key, &connection, &connectors)?;
        if !epoch.was_clean {
            store::executions::count_deaths(&connection)?;
        }
        let (events, received) = mpsc::unbounded_channel();
        let failed = events.clone();
        let stopping = CancellationToken::new();
        let stop = stopping.clone();
        let writer = Writer::new(&database, connection, epoch, &config, move |error| match error {
            // Taking the workspace back would only make the other process do the same.
            StoreError::Stale { .. } => stop.cancel(),
            _ => {
                let _ = failed.send(Event::StoreFailed);
            }
        });
        let failed = |error: &dyn std::fmt::Display| EngineError::Failed(error.to_string());
        let core = Arc::new(Core {
            digester: Digester::new(&key),
            readers: Readers::new(&database),
            writer: writer.clone(),
            blobs: Blobs::local(&data.join("blobs")).map_err(|error| failed(&error))?,
            host: WasmHost::new(&data.join("components"), &key).map_err(|error| failed(&error))?,
            dialer: Dialer::new(config.egress.clone()),
            connectors,
            secrets,
            flows: RecordCache::new(Kind::Flow),
            results: ResultCache::new(),
            people: People::new(),
            notifications: Rules::new(),
            natives: native::all().into_iter().chain(natives).collect(),
            events,
            changes: broadcast::Sender::new(1024),
            ended: Bells::default(),
            watched: Bells::default(),
            overview: Overview::default(),
            tallies: Tallies::default(),
            residents: Mutex::default(),
            places: Arc::new(Semaphore::new(config.residents_max)),
            reading: Semaphore::new(READS_MAX),
            tasks: TaskTracker::new(),
            runtime: tokio::runtime::Handle::current(),
            stopping,
            degraded: false.into(),
            reserve: Reserve::open(&data, config.reserve_bytes),
            attention: Default::default(),
            counters: Default::default(),
            contents_lock: Arc::default(),
            retention: Mutex::new(config.retention.clone()),
            config,
        });
        let writer_thread = (mode == WriterMode::Thread).then(|| {
            let thread = std::thread::Builder::new().name("surefoot-writer".into());
            thread.spawn(move || writer.run()).expect("a thread can be started")
        });
        core.tasks.spawn(Executor::new(core.clone(), received).run());
        core.tasks.spawn(crate::retention::run(core.clone()));
        let shared = Arc::new(Shared { lock: Mutex::new(Some(lock_file)), writer_thread: Mutex::new(writer_thread) });
        let engine = Self { core, grant: Arc::new(Grant::everything()), shared };
        engine.settle_in();
        Ok(engine)
    }

    /// The same engine, asked on behalf of somebody with these rights, for what takes that role: nothing else is in
    /// its reach. Without this an engine does everything.
    #[must_use]
    pub fn on_behalf(&self, rights: Rights, needed: Role) -> Self {
        Self { grant: Arc::new(Grant::new(rights, needed)), ..self.clone() }
    }

    /// What every opening makes sure of: the scheduler `cron`, and an iteration for each enabled schedule.
    fn settle_in(&self) {
        let (core, stamp) = (self.core.clone(), self.core.stamp("surefoot"));
        let ticket = self.core.writer.submit(Urgency::Now, Concerns::None, move |connection| {
            match guarded(connection, |connection| bring_cron(&core, connection, &stamp)) {
                Ok(()) => {}
                // The schedules of other schedulers are no worse for it.
                Err(StoreError::Refused(refusal)) => tracing::error!(%refusal, "the scheduler `cron` is not there"),
                Err(failed) => return Err(failed),
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

    /// Lets connectors reach these hosts and no others, from now on.
    pub fn set_egress(&self, policy: EgressPolicy) {
        self.core.dialer.obey(policy);
    }

    /// Keeps that much of what has ended, from now on.
    pub fn set_retention(&self, retention: Retention) {
        *lock(&self.core.retention) = retention;
        self.core.attention.look_again();
    }

    /// Whether a commit failed and the engine has not recovered yet: nothing new is taken.
    pub fn is_degraded(&self) -> bool {
        self.core.degraded.load(Ordering::SeqCst)
    }

    /// Whether there is no room on the disk of the data folder, as far as the file system says.
    pub fn is_disk_full(&self) -> bool {
        self.core.reserve.is_disk_full()
    }

    /// The present time, by the engine's clock.
    pub fn now(&self) -> Timestamp {
        self.core.now()
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

    /// Writes, and tells the executor what follows: a caller that goes away in between takes nothing with it.
    pub(crate) async fn write_and_wake<T: Send + 'static>(
        &self,
        write: impl FnOnce(&rusqlite::Connection) -> StoreResult<T> + Send + 'static,
        follows: impl FnOnce(&T) -> Option<Event> + Send + 'static,
    ) -> EngineResult<T> {
        let core = self.core.clone();
        let then = move |value: &T| follows(value).into_iter().for_each(|event| core.send(event));
        Ok(self.core.writer.submit_then(Urgency::Now, Concerns::None, write, then).done().await?)
    }

    /// Reads on a thread of its own: a query may take long.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Core, &rusqlite::Connection) -> StoreResult<T> + Send + 'static,
    ) -> EngineResult<T> {
        let _turn = self.core.reading.acquire().await.map_err(|error| EngineError::Failed(error.to_string()))?;
        let core = self.core.clone();
        let joined = tokio::task::spawn_blocking(move || core.readers.read(|connection| read(&core, connection))).await;
        Ok(joined.map_err(|error| EngineError::Failed(error.to_string()))??)
    }
}

/// Makes sure of the built-in scheduler, which may be in the trash of a workspace of before.
fn bring_cron(core: &Core, connection: &rusqlite::Connection, stamp: &Stamp) -> StoreResult<()> {
    if store::records::by_id(connection, Kind::Scheduler, CRON)?.is_some() {
        return Ok(());
    }
    if store::records::in_trash(connection, Kind::Scheduler, CRON)?.is_some() {
        return store::records::restore(connection, Kind::Scheduler, CRON).map(drop);
    }
    let fields = json!({
        "id": CRON, "flow_id": "native:cron", "description": "Starts a flow at the times of a cron expression.",
    });
    let fields = fields.as_object().cloned().unwrap_or_default();
    core.save_record(connection, Kind::Scheduler, &Saving::New(CRON.into()), &fields, stamp).map(drop)
}
