//! What all parts of a running engine share, and the in-memory side of each execution that is at work.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use serde_json::Value;
use surefoot_connector_api::{Connector, Dialer, EgressPolicy, InputRules};
use tokio::sync::{Notify, OwnedSemaphorePermit, RwLock, Semaphore, SetOnce, broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::approvals;
use crate::bells::Bells;
use crate::calls::ResultCache;
use crate::clock::{Clock, Timestamp};
use crate::files::Blobs;
use crate::host::WasmHost;
use crate::id::Entropy;
use crate::journal::{Digester, Ended, EndedFlow, Limits, Outcome, Started};
use crate::metrics;
use crate::native::NativeFlow;
use crate::notifications::{Links, Rules};
use crate::overview::Overview;
use crate::people::People;
use crate::query::Kind;
use crate::reserve::Reserve;
use crate::retention::{Attention, Retention};
use crate::secrets::{Redaction, Secrets, SecretsKey};
use crate::store::executions::{Active, ActiveState, Execution, Key};
use crate::store::journal::Connections;
use crate::store::records::Stamp;
use crate::store::{Readers, RecordCache, Writer, schedules};
use crate::tallies::Tallies;

/// How an engine is to run.
#[derive(Clone)]
pub struct Config {
    /// The data folder. Created with mode 0700.
    pub data: PathBuf,
    /// Which hosts connectors may reach.
    pub egress: EgressPolicy,
    /// Limits of executions that are created from now on.
    pub limits: Limits,
    /// How long a connection may take when the call does not say.
    pub connection_timeout: Duration,
    /// Instances held in memory at one time.
    pub residents_max: usize,
    /// How long an execution may wait with its instance in memory when it is unknown for how long it will.
    pub idle_before_parking: Duration,
    /// After an iteration of a schedule failed: the wait before the next, doubled with each further failure up to an
    /// hour.
    pub schedule_retry_delay: Duration,
    /// Size of the file that is given up when the disk is full, bytes; 0 for none.
    pub reserve_bytes: u64,
    /// What is kept of what has ended, and for how long.
    pub retention: Retention,
    /// What the secrets are encrypted with; none for a key that is made from the file `key` of the data folder.
    pub secrets_key: Option<SecretsKey>,
    /// What links in notifications begin with; none where nobody said how the server is reached.
    pub links: Option<Links>,
    /// Is told of all secrets, for those who print while the engine runs.
    pub redaction: Redaction,
    /// The clock.
    pub clock: Clock,
    /// The source of randomness.
    pub entropy: Entropy,
    /// For tests that let the process die at a commit.
    pub dies_at: Option<DiesAt>,
}

/// Asked around each commit whether the process dies there. If so, nothing more is written and nobody is answered: the
/// data folder is then as a process leaves it that was killed at that moment. The engine should be shut down next.
pub type DiesAt = Arc<dyn Fn(CommitMoment) -> bool + Send + Sync>;

/// A moment of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitMoment {
    /// Nothing of it is written.
    Before,
    /// It is durable, and nobody knows it.
    After,
}

impl Config {
    /// The defaults for a data folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            egress: EgressPolicy::default(),
            limits: Limits::default(),
            connection_timeout: Duration::from_secs(300),
            residents_max: 2000,
            idle_before_parking: Duration::from_secs(10),
            schedule_retry_delay: Duration::from_secs(60),
            reserve_bytes: 8 << 20,
            retention: Retention::default(),
            secrets_key: None,
            links: None,
            redaction: Redaction::default(),
            clock: Clock::System,
            entropy: Entropy::System,
            dies_at: None,
        }
    }
}

/// Everything that can happen to the executor. Wake-ups carry no data: who is woken reads the store again.
#[derive(Debug)]
pub(crate) enum Event {
    /// Something may have changed for this execution.
    Wake(Key),
    /// This execution is being created, and has a place among the instances: it begins while that is committed.
    Begin(Arc<Resident>, OwnedSemaphorePermit),
    /// The instance of this execution is gone.
    InstanceGone(Key, Departure),
    /// A connection of this execution has been recorded.
    CallRecorded(Key),
    /// A record was saved, deleted or restored that executions follow from: see [`schedules::concerned`].
    RecordChanged(Kind, String),
    /// A commit failed.
    StoreFailed,
}

impl Event {
    /// What follows from a change of that record has to be looked at.
    pub(crate) fn of_record(kind: Kind, record: &Value) -> Option<Self> {
        let id = record["id"].as_str().filter(|_| schedules::may_concern(kind))?;
        Some(Self::RecordChanged(kind, id.to_owned()))
    }
}

/// Why an instance is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// The execution has ended.
    Ended,
    /// It waits, until then or until it is woken.
    Parked(Option<Timestamp>),
    /// Delivery is paused.
    Paused,
    /// Something that it needs is missing; to be tried again then.
    Postponed(Timestamp),
    /// The engine is stopping, or the store failed.
    Dropped,
}

/// The connector types that this engine has, by name.
pub(crate) type ConnectorTypes = BTreeMap<&'static str, ConnectorType>;

/// A connector type that this engine has, with its rules made ready.
pub(crate) struct ConnectorType {
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) rules: InputRules,
    pub(crate) metrics: metrics::OfConnector,
}

impl ConnectorType {
    pub(crate) fn new(connector: Arc<dyn Connector>) -> Self {
        let rules = InputRules::new(connector.input_schema());
        Self { connector, rules, metrics: metrics::OfConnector::default() }
    }
}

/// What followers of an execution are told. They read the store for what it was.
#[derive(Clone, Debug)]
pub struct Change {
    /// Id of the execution.
    pub execution_id: String,
}

/// See the module.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) digester: Digester,
    pub(crate) readers: Readers,
    pub(crate) writer: Writer,
    pub(crate) blobs: Blobs,
    pub(crate) host: WasmHost,
    pub(crate) dialer: Dialer,
    pub(crate) connectors: ConnectorTypes,
    pub(crate) secrets: Secrets,
    /// Flows, for their executions to begin.
    pub(crate) flows: RecordCache,
    /// Results of calls that may serve others.
    pub(crate) results: ResultCache,
    pub(crate) people: People,
    pub(crate) notifications: Rules,
    pub(crate) natives: HashMap<String, Arc<dyn NativeFlow>>,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) changes: broadcast::Sender<Change>,
    pub(crate) ended: Bells,
    /// Those who follow one execution.
    pub(crate) watched: Bells,
    /// Those who follow lists of them.
    pub(crate) overview: Overview,
    /// What was counted for plots.
    pub(crate) tallies: Tallies,
    pub(crate) residents: Mutex<HashMap<Key, Arc<Resident>>>,
    pub(crate) places: Arc<Semaphore>,
    /// Who asks for something is read for in turns: each read takes a thread and a connection of its own.
    pub(crate) reading: Semaphore,
    pub(crate) tasks: TaskTracker,
    /// Where tasks run that are begun outside of any.
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) stopping: CancellationToken,
    pub(crate) degraded: AtomicBool,
    pub(crate) reserve: Reserve,
    /// What is kept of what has ended; see [`Core::retention`].
    pub(crate) retention: Mutex<Retention>,
    pub(crate) attention: Attention,
    pub(crate) counters: metrics::Counters,
    /// A backup holds it shared from its snapshot until it has all contents. Who collects contents or components takes
    /// it exclusively, for each small step.
    pub(crate) contents_lock: Arc<RwLock<()>>,
}

impl Core {
    pub(crate) fn now(&self) -> Timestamp {
        self.config.clock.now()
    }

    /// What is kept of what has ended, and for how long, as of now.
    pub(crate) fn retention(&self) -> Retention {
        lock(&self.retention).clone()
    }

    pub(crate) fn new_id(&self) -> String {
        self.config.entropy.new_id(self.now())
    }

    pub(crate) fn stamp(&self, who: &str) -> Stamp {
        Stamp { who: who.to_owned(), now: self.now(), new_id: self.new_id(), acts_as: None, execution: None }
    }

    /// Of what an execution does.
    pub(crate) fn stamp_of(&self, execution: &Execution) -> Stamp {
        Stamp { execution: Some(execution.key), ..self.stamp(&format!("execution {}", execution.id)) }
    }

    /// Tells the executor. It is gone only when the engine is, and then nobody minds.
    pub(crate) fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Tells who follows this execution.
    pub(crate) fn changed(&self, execution_id: &str) {
        self.watched.ring(execution_id);
        if self.changes.receiver_count() > 0 {
            let _ = self.changes.send(Change { execution_id: execution_id.to_owned() });
        }
    }

    pub(crate) fn resident(&self, key: Key) -> Option<Arc<Resident>> {
        lock(&self.residents).get(&key).cloned()
    }
}

/// What becomes known when an execution begins before its creation is durable: whether it is. When this goes without
/// having been told, it never will be.
#[derive(Debug)]
pub(crate) struct Creation(Arc<SetOnce<bool>>);

impl Creation {
    pub(crate) fn is_durable(&self) {
        // It is told once.
        let _ = self.0.set(true);
    }
}

impl Drop for Creation {
    fn drop(&mut self) {
        let _ = self.0.set(false);
    }
}

/// The in-memory side of an execution: there while it has an instance or a running call.
pub(crate) struct Resident {
    pub(crate) execution: Execution,
    pub(crate) started: Started,
    /// Whether its creation is durable, where that was not known when it began.
    created: Option<Arc<SetOnce<bool>>>,
    /// Connections that have ended, durable or on their way.
    pub(crate) settled: Mutex<Settlements>,
    /// Connections that are being performed. The mark says that their start was lost in a failed commit: their end is
    /// nobody's then.
    pub(crate) running: Mutex<FxHashMap<u32, LostMark>>,
    /// Whether an instance exists. Written by the executor alone.
    pub(crate) has_instance: AtomicBool,
    /// Something happened since the instance last looked.
    dirty: AtomicBool,
    wake: Notify,
    /// It is to end.
    pub(crate) cancel: AtomicBool,
    /// Its deadline says that, and nobody else.
    pub(crate) is_overdue: AtomicBool,
    pub(crate) pause: AtomicBool,
    /// Whether the guest may know the token of a question: what is shown of it is searched then.
    holds_token: AtomicBool,
    /// Child flows of the execution that it was restarted from, see [`Started::inherited`].
    pub(crate) inherited: FxHashMap<String, EndedFlow>,
}

/// See [`Resident::running`].
pub(crate) type LostMark = Arc<AtomicBool>;

/// Connections that have ended, by the number of their call.
pub(crate) type Settlements = FxHashMap<u32, Settled>;

/// A connection that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub(crate) outcome: Arc<Outcome>,
}

impl std::fmt::Debug for Resident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resident").field("key", &self.execution.key).finish_non_exhaustive()
    }
}

impl Resident {
    /// Of an execution whose creation is part of a transaction that has not ended.
    pub(crate) fn being_created(execution: Execution, started: Started) -> (Self, Creation) {
        let created = Arc::<SetOnce<bool>>::default();
        (Self { created: Some(created.clone()), ..Self::new(execution, started) }, Creation(created))
    }

    /// Returns when the creation of the execution is durable: true. Or when it is known that it never will be: false.
    pub(crate) async fn is_created(&self) -> bool {
        match &self.created {
            Some(created) => *created.wait().await,
            None => true,
        }
    }

    pub(crate) fn new(mut execution: Execution, mut started: Started) -> Self {
        execution.depth = started.depth;
        execution.acts_as = started.acts_as.clone();
        let holds_token = approvals::may_hold_token(&execution.input);
        let inherited = std::mem::take(&mut started.inherited).into_iter();
        let inherited = inherited.filter_map(|Ended { id, result }| Some((id, result?))).collect();
        Self {
            execution,
            started,
            created: None,
            settled: Mutex::default(),
            running: Mutex::default(),
            has_instance: AtomicBool::new(false),
            dirty: AtomicBool::new(false),
            wake: Notify::new(),
            cancel: AtomicBool::new(false),
            is_overdue: AtomicBool::new(false),
            pause: AtomicBool::new(false),
            holds_token: AtomicBool::new(holds_token),
            inherited,
        }
    }

    /// The id of the execution that made call number `n`.
    pub(crate) fn maker(&self, n: u32) -> &str {
        self.started.maker(&self.execution.id, n)
    }

    /// The number of the call that made the connection with that id, if it is one of this execution's.
    pub(crate) fn call_of(&self, connection_id: &str) -> Option<u32> {
        self.started.call_of(&self.execution.id, connection_id)
    }

    /// Notes that the guest is about to be told a token.
    pub(crate) fn learns_token(&self) {
        self.holds_token.store(true, Ordering::SeqCst);
    }

    /// Whether the guest may know the token of a question.
    pub(crate) fn may_hold_token(&self) -> bool {
        self.holds_token.load(Ordering::Relaxed)
    }

    /// Takes over what is asked of the execution now.
    pub(crate) fn steer(&self, active: &Active, now: Timestamp) {
        let is_overdue = active.is_overdue(now);
        self.is_overdue.store(is_overdue && !active.cancel, Ordering::SeqCst);
        self.cancel.store(is_overdue || active.cancel, Ordering::SeqCst);
        self.pause.store(active.state == ActiveState::Paused, Ordering::SeqCst);
    }

    /// Tells the instance to look again.
    pub(crate) fn touch(&self) {
        self.dirty.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// Whether something happened since the last call of this.
    pub(crate) fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::SeqCst)
    }

    /// Returns when [`touch`](Self::touch) has been called since the last return.
    pub(crate) async fn touched(&self) {
        self.wake.notified().await;
    }

    /// After a failed commit, with no instance left: forgets what the journal does not have.
    pub(crate) fn keep_recorded(&self, recorded: &Connections) {
        lock(&self.settled).retain(|n, _| recorded.ended.contains(n));
        lock(&self.running).retain(|n, lost| {
            let has_begun = recorded.begun.contains(n);
            lost.store(!has_begun, Ordering::SeqCst);
            has_begun
        });
    }

    pub(crate) fn is_running(&self, call: u32) -> bool {
        lock(&self.running).contains_key(&call)
    }
}

/// Locks a mutex. A panic elsewhere does not make the data wrong: every critical section here is a plain update.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
