//! Group commit: every write goes through one queue, and one transaction takes all that waits in it.
//!
//! The writer has no thread of its own: [`Writer::drain`] commits what is queued, once. In production a thread calls it
//! when there is work; a simulation calls it, or its two halves, when it likes, and may crash before, between or after.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::hooks::Action;
use tokio::sync::oneshot;

use super::executions::Key;
use super::{Epoch, StoreError, StoreResult, Touched, journal};
use crate::clock::{Clock, Timestamp};
use crate::core::{CommitMoment, Config, DiesAt};
use crate::journal::{Record, encode_onto, new_row};
use crate::metrics::OfWriter;
use crate::planted::{Bug, is_planted};

/// How soon a write must be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Somebody waits for it.
    Now,
    /// With the next urgent write, or after [`LAZY_DELAY`].
    Lazy,
}

/// How long a lazy write may wait for an urgent one to take it along.
const LAZY_DELAY: Duration = Duration::from_millis(100);

/// Writes in one transaction, at most.
const BATCH_MAX: usize = 2048;

/// Records that a batch gathers for one row, bytes. What exceeds that begins another row.
const ROW_BYTES_MAX: usize = 1 << 20;

/// Who is told how a write went. Always told: when the write is dropped, that it failed.
struct Answer(Option<Box<dyn FnOnce(StoreResult<()>) + Send>>);

impl Answer {
    fn new(then: impl FnOnce(StoreResult<()>) + Send + 'static) -> Self {
        Self(Some(Box::new(then)))
    }

    fn give(mut self, result: StoreResult<()>) {
        if let Some(then) = self.0.take() {
            then(result);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(then) = self.0.take() {
            then(Err(not_taken()));
        }
    }
}

fn not_taken() -> StoreError {
    StoreError::Failed("the store takes no writes: the engine is stopping, or recovers from a failed commit".into())
}

type Work = Box<dyn FnOnce(&Connection) -> Result<Answer, StoreError> + Send>;

/// One queued write.
enum Job {
    /// The end of a journal. What a batch has for one journal becomes one row.
    Records { key: Key, row: Vec<u8>, answer: Option<Answer> },
    /// Anything else. Before it the records that came before it and concern it are written.
    Work { concerns: Concerns, work: Work },
}

/// Whose journals a write may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concerns {
    /// That of one execution.
    One(Key),
    /// Nobody's, but for those of executions that it creates.
    None,
}

/// The result of a submitted write, once it is durable.
pub(crate) struct Ticket<T>(oneshot::Receiver<StoreResult<T>>);

impl<T> Ticket<T> {
    /// Waits until the write is durable or refused.
    pub(crate) async fn done(self) -> StoreResult<T> {
        self.0.await.unwrap_or_else(|_| Err(not_taken()))
    }
}

struct Queue {
    jobs: VecDeque<Job>,
    urgent: bool,
    closing: bool,
    /// Set when a commit failed; nothing is taken until the connection has been reopened.
    failed: Option<String>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    connection: Mutex<Option<Connection>>,
    path: PathBuf,
    epoch: Mutex<Epoch>,
    clock: Clock,
    metrics: OfWriter,
    dies_at: Option<DiesAt>,
    on_failure: Box<dyn Fn(&StoreError) + Send + Sync>,
    watched: Arc<WatchedTables>,
}

/// The tables that are watched.
#[derive(Default)]
struct WatchedTables {
    records: Watched,
    sealed: Watched,
    notification_changes: Watched,
    executions: Arc<Touched>,
}

impl WatchedTables {
    fn named(&self, table: &str) -> Option<&Watched> {
        match table {
            "records" => Some(&self.records),
            "sealed" => Some(&self.sealed),
            "notification_changes" => Some(&self.notification_changes),
            _ => None,
        }
    }

    fn committed(&self) {
        [&self.sealed, &self.records, &self.notification_changes].into_iter().for_each(Watched::committed);
        self.executions.committed();
    }
}

/// A table whose changes matter to what is kept in memory.
#[derive(Default)]
struct Watched {
    /// Whether the open transaction changed it.
    is_touched: AtomicBool,
    /// Counts the commits that changed it.
    changes: AtomicU64,
}

impl Watched {
    fn committed(&self) {
        if self.is_touched.swap(false, Ordering::SeqCst) {
            self.changes.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// The one writer of a workspace.
#[derive(Clone)]
pub(crate) struct Writer(Arc<Shared>);

/// What a drain does at the end of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Commits and answers.
    Commit,
    /// A simulated failure of the disk: rolls back and tells everybody.
    #[cfg_attr(not(test), expect(dead_code, reason = "only a simulation makes it"))]
    Fail,
}

impl Writer {
    /// A writer on an open connection. `on_failure` is told when a commit failed.
    pub(crate) fn new(
        path: &Path,
        connection: Connection,
        epoch: Epoch,
        config: &Config,
        on_failure: impl Fn(&StoreError) + Send + Sync + 'static,
    ) -> Self {
        let watched = Arc::default();
        watch(&connection, &watched);
        Self(Arc::new(Shared {
            queue: Mutex::new(Queue { jobs: VecDeque::new(), urgent: false, closing: false, failed: None }),
            wake: Condvar::new(),
            connection: Mutex::new(Some(connection)),
            path: path.to_owned(),
            epoch: Mutex::new(epoch),
            clock: config.clock.clone(),
            metrics: OfWriter::default(),
            dies_at: config.dies_at.clone(),
            on_failure: Box::new(on_failure),
            watched,
        }))
    }

    /// How the workspace was opened.
    pub(crate) fn epoch(&self) -> Epoch {
        *lock(&self.0.epoch)
    }

    /// Queues a write. Writes commit in the order of their submission. A refusal by `write` undoes that write only; any
    /// other error undoes the whole batch and stops the writer.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        urgency: Urgency,
        concerns: Concerns,
        write: impl FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    ) -> Ticket<T> {
        self.submit_then(urgency, concerns, write, |_| {})
    }

    /// Like [`submit`](Self::submit), with a call of `then` on the writer's thread once the write is durable, whether
    /// or not somebody waits for the ticket. It must neither take long nor write.
    pub(crate) fn submit_then<T: Send + 'static>(
        &self,
        urgency: Urgency,
        concerns: Concerns,
        write: impl FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Ticket<T> {
        let (sender, receiver) = oneshot::channel();
        let work: Work = Box::new(move |connection| {
            let result = guarded(connection, write);
            if let Err(error) = &result
                && !error.is_of_one_member()
            {
                let error = error.clone();
                let _ = sender.send(Err(error.clone()));
                return Err(error);
            }
            Ok(Answer::new(move |committed| {
                let result = committed.and(result);
                if let Ok(value) = &result {
                    then(value);
                }
                // Nobody listens when the asker was dropped meanwhile; its next run reads the store.
                let _ = sender.send(result);
            }))
        });
        self.push(urgency, Job::Work { concerns, work });
        Ticket(receiver)
    }

    /// Like [`submit`](Self::submit), for writes about one execution that are never refused: spares the savepoint.
    pub(crate) fn apply<T: Send + 'static>(
        &self,
        urgency: Urgency,
        key: Key,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Ticket<T> {
        let (sender, receiver) = oneshot::channel();
        let work: Work = Box::new(move |connection| {
            let value = write(connection).map_err(StoreError::from)?;
            Ok(Answer::new(move |committed| {
                let _ = sender.send(committed.map(|()| value));
            }))
        });
        self.push(urgency, Job::Work { concerns: Concerns::One(key), work });
        Ticket(receiver)
    }

    /// Queues a record for the end of a journal.
    pub(crate) fn record(&self, urgency: Urgency, key: Key, record: &Record) -> Ticket<()> {
        let (sender, receiver) = oneshot::channel();
        self.record_then(urgency, key, record, move |committed| {
            let _ = sender.send(committed);
        });
        Ticket(receiver)
    }

    /// Like [`record`](Self::record), with a call instead of a ticket: `then` is called in any case, on the writer's
    /// thread, or on the caller's when the record is not even queued (false), and must neither take long nor write.
    pub(crate) fn record_then(
        &self,
        urgency: Urgency,
        key: Key,
        record: &Record,
        then: impl FnOnce(StoreResult<()>) + Send + 'static,
    ) -> bool {
        self.push_record(urgency, key, record, Some(Answer::new(then)))
    }

    /// Queues a record that nobody waits for.
    pub(crate) fn record_lazily(&self, key: Key, record: &Record) {
        self.push_record(Urgency::Lazy, key, record, None);
    }

    fn push_record(&self, urgency: Urgency, key: Key, record: &Record, answer: Option<Answer>) -> bool {
        let mut row = new_row();
        encode_onto(&mut row, record);
        self.push(urgency, Job::Records { key, row, answer })
    }

    /// False when nothing is taken.
    fn push(&self, urgency: Urgency, job: Job) -> bool {
        let mut queue = lock(&self.0.queue);
        if queue.failed.is_some() || queue.closing {
            drop(queue);
            drop(job); // which tells who waits for it
            return false;
        }
        queue.jobs.push_back(job);
        let first = queue.jobs.len() == 1;
        if urgency == Urgency::Now && !queue.urgent {
            queue.urgent = true;
            self.0.wake.notify_all();
        } else if first {
            self.0.wake.notify_all();
        }
        true
    }

    /// Nobody can queue anything as long as what is returned is there.
    #[cfg(test)]
    pub(crate) fn hold_queue(&self) -> impl Sized + '_ {
        lock(&self.0.queue)
    }

    /// A number that is another after each commit that changed a record, before anybody is told of that commit.
    pub(crate) fn record_changes(&self) -> u64 {
        self.0.watched.records.changes.load(Ordering::SeqCst)
    }

    /// Whether the open transaction has changed a record. To be asked within it.
    pub(crate) fn is_changing_records(&self) -> bool {
        self.0.watched.records.is_touched.load(Ordering::SeqCst)
    }

    /// Like [`record_changes`](Self::record_changes), of sealed values.
    pub(crate) fn sealed_changes(&self) -> u64 {
        self.0.watched.sealed.changes.load(Ordering::SeqCst)
    }

    /// Like [`record_changes`](Self::record_changes), of notification rules alone.
    pub(crate) fn notification_changes(&self) -> u64 {
        self.0.watched.notification_changes.changes.load(Ordering::SeqCst)
    }

    /// Which executions commits change.
    pub(crate) fn executions_touched(&self) -> &Arc<Touched> {
        &self.0.watched.executions
    }

    /// What was counted so far.
    pub(crate) fn metrics(&self) -> &OfWriter {
        &self.0.metrics
    }

    /// How many writes wait for a commit.
    pub(crate) fn queued(&self) -> usize {
        lock(&self.0.queue).jobs.len()
    }

    /// Whether something is queued.
    pub(crate) fn has_work(&self) -> bool {
        !lock(&self.0.queue).jobs.is_empty()
    }

    /// Commits what is queued in one transaction and answers those who wait.
    pub(crate) fn drain(&self, ending: Ending) {
        if let Some(open) = self.begin() {
            self.end(open, ending);
        }
    }

    /// The first half of [`drain`](Self::drain): performs what is queued, in a transaction that stays open. None when
    /// there is nothing.
    pub(crate) fn begin(&self) -> Option<OpenBatch> {
        let jobs: Vec<Job> = {
            let mut queue = lock(&self.0.queue);
            let count = queue.jobs.len().min(BATCH_MAX);
            let jobs = queue.jobs.drain(..count).collect();
            queue.urgent = queue.urgent && !queue.jobs.is_empty();
            jobs
        };
        if jobs.is_empty() || self.dies(CommitMoment::Before) {
            return None;
        }
        let (began, size) = (self.0.clock.now(), Batch::of(&jobs));
        let answers = match lock(&self.0.connection).as_ref() {
            Some(connection) => begin(connection, self.epoch().number, jobs),
            None => Err(closed()),
        };
        Some(OpenBatch { answers, began, size })
    }

    /// The second half: commits and answers.
    pub(crate) fn end(&self, open: OpenBatch, ending: Ending) {
        let OpenBatch { answers, began, size } = open;
        let mut connection = lock(&self.0.connection);
        let result = match connection.as_ref() {
            Some(connection) => end(connection, answers, ending),
            None => Err(closed()),
        };
        match result {
            Ok(answers) => {
                drop(connection);
                if self.dies(CommitMoment::After) {
                    return;
                }
                self.0.metrics.commits.observe(self.0.clock.now().since(began));
                size.count(&self.0.metrics);
                self.0.watched.committed();
                answers.into_iter().for_each(|answer| answer.give(Ok(())));
            }
            Err(error) => {
                // Never a second attempt on this connection: after a failed fsync its view of the disk proves nothing.
                *connection = None;
                drop(connection);
                tracing::error!(%error, "commit failed; the engine recovers from the store");
                let mut queue = lock(&self.0.queue);
                queue.failed = Some(error.to_string());
                let lost = std::mem::take(&mut queue.jobs);
                drop(queue);
                drop(lost);
                (self.0.on_failure)(&error);
            }
        }
    }

    /// Whether the process dies here, as far as the store can tell.
    fn dies(&self, moment: CommitMoment) -> bool {
        let dies = self.0.dies_at.as_ref().is_some_and(|dies_at| dies_at(moment));
        if dies {
            self.abandon();
        }
        dies
    }

    /// Writes nothing more and tells nobody: what is left of a process that died. What is queued may hold the engine
    /// that holds this writer.
    pub(crate) fn abandon(&self) {
        *lock(&self.0.connection) = None;
        let mut queue = lock(&self.0.queue);
        queue.closing = true;
        let lost = std::mem::take(&mut queue.jobs);
        drop(queue);
        drop(lost);
    }

    /// After a failed commit: opens the database anew.
    pub(crate) fn reopen(&self) -> StoreResult<()> {
        let (connection, epoch) = super::reopen_for_writing(&self.0.path, self.epoch())?;
        watch(&connection, &self.0.watched);
        *lock(&self.0.connection) = Some(connection);
        *lock(&self.0.epoch) = epoch;
        // What the failed commit touched is on the disk now, or it is not.
        self.0.watched.executions.committed();
        lock(&self.0.queue).failed = None;
        Ok(())
    }

    /// Commits until [`close`](Self::close). The body of the writer's thread.
    pub(crate) fn run(&self) {
        loop {
            let mut queue = lock(&self.0.queue);
            while queue.jobs.is_empty() && !queue.closing {
                queue = self.0.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if !queue.urgent && !queue.closing {
                let waited = self.0.wake.wait_timeout_while(queue, LAZY_DELAY, |queue| !queue.urgent && !queue.closing);
                queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            let done = queue.closing && queue.jobs.is_empty();
            drop(queue);
            if done {
                return;
            }
            self.drain(Ending::Commit);
        }
    }

    /// Lets [`run`](Self::run) commit what is queued and return. Later writes are not taken.
    pub(crate) fn close(&self) {
        lock(&self.0.queue).closing = true;
        self.0.wake.notify_all();
    }

    /// Marks the workspace as closed in order. The last write.
    pub(crate) fn mark_clean(&self) -> StoreResult<()> {
        if let Some(connection) = lock(&self.0.connection).take() {
            // Not in the name of another process that has the workspace by now.
            let ours = "(SELECT value FROM meta WHERE key = 'epoch') = ?1";
            let epoch = self.epoch().number;
            connection.execute(&format!("UPDATE meta SET value = 1 WHERE key = 'clean' AND {ours}"), [epoch])?;
            connection.close().map_err(|(_, error)| StoreError::from(error))?;
        }
        Ok(())
    }
}

/// How much there is to commit.
struct Batch {
    writes: usize,
    rows: usize,
    bytes: usize,
}

impl Batch {
    fn of(jobs: &[Job]) -> Self {
        let sizes = jobs.iter().filter_map(|job| match job {
            Job::Records { row, .. } => Some(row.len()),
            Job::Work { .. } => None,
        });
        let (rows, bytes) = sizes.fold((0, 0), |(rows, bytes), size| (rows + 1, bytes + size));
        Self { writes: jobs.len(), rows, bytes }
    }

    fn count(self, metrics: &OfWriter) {
        for (counter, more) in [
            (&metrics.writes, self.writes),
            (&metrics.journal_records, self.rows),
            (&metrics.journal_bytes, self.bytes),
        ] {
            counter.fetch_add(more as u64, Ordering::Relaxed);
        }
    }
}

/// A batch that has been performed and is not committed: nobody has been told anything.
pub(crate) struct OpenBatch {
    answers: StoreResult<Vec<Answer>>,
    began: Timestamp,
    size: Batch,
}

fn closed() -> StoreError {
    StoreError::Failed("the database is closed".into())
}

fn begin(connection: &Connection, epoch: i64, jobs: Vec<Job>) -> StoreResult<Vec<Answer>> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let found: i64 =
        connection.prepare_cached("SELECT value FROM meta WHERE key = 'epoch'")?.query_row([], |row| row.get(0))?;
    if found != epoch && !is_planted(Bug::EpochUnchecked) {
        return Err(StoreError::Stale { found, ours: epoch });
    }
    perform(connection, jobs)
}

fn end(connection: &Connection, batch: StoreResult<Vec<Answer>>, ending: Ending) -> StoreResult<Vec<Answer>> {
    let batch = match ending {
        Ending::Fail => batch.and(Err(StoreError::Failed("simulated failure of the disk".into()))),
        Ending::Commit => batch,
    };
    match batch {
        Ok(mut answers) => {
            if is_planted(Bug::AnsweredBeforeCommit) {
                answers.drain(..).for_each(|answer| answer.give(Ok(())));
            }
            connection.prepare_cached("COMMIT")?.execute([])?;
            Ok(answers)
        }
        Err(error) => {
            // The transaction may be gone already (disk full); the connection is given up either way.
            let _ = connection.execute_batch("ROLLBACK");
            Err(error)
        }
    }
}

fn watch(connection: &Connection, watched: &Arc<WatchedTables>) {
    let watched = watched.clone();
    let hook = move |action, _: &str, table: &str, row| {
        if let Some(table) = watched.named(table) {
            table.is_touched.store(true, Ordering::SeqCst);
        } else if table == "executions" && action != Action::SQLITE_DELETE {
            // One that is deleted was in the trash before.
            watched.executions.touch(Key(row));
        }
    };
    connection.update_hook(Some(hook)).expect("this connection is ours");
}

/// Performs what is queued, in order, but gathers the records of one journal.
fn perform(connection: &Connection, jobs: Vec<Job>) -> StoreResult<Vec<Answer>> {
    let mut answers = Vec::with_capacity(jobs.len());
    let mut rows: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
    for job in jobs {
        match job {
            Job::Records { key, row, answer } => {
                answers.extend(answer);
                match rows.get_mut(&key) {
                    Some(gathered) if gathered.len() < ROW_BYTES_MAX => gathered.extend_from_slice(&row[1..]),
                    _ => {
                        if let Some(full) = rows.insert(key, row) {
                            journal::append_row(connection, key, &full)?;
                        }
                    }
                }
            }
            Job::Work { concerns, work } => {
                match concerns {
                    Concerns::One(key) => {
                        if let Some(row) = rows.remove(&key) {
                            journal::append_row(connection, key, &row)?;
                        }
                    }
                    Concerns::None => {}
                }
                answers.push(work(connection)?);
            }
        }
    }
    append_rows(connection, &mut rows)?;
    Ok(answers)
}

fn append_rows(connection: &Connection, rows: &mut BTreeMap<Key, Vec<u8>>) -> StoreResult<()> {
    while let Some((key, row)) = rows.pop_first() {
        journal::append_row(connection, key, &row)?;
    }
    Ok(())
}

/// Runs one write so that a refusal undoes it alone.
pub(crate) fn guarded<T>(connection: &Connection, write: impl FnOnce(&Connection) -> StoreResult<T>) -> StoreResult<T> {
    connection.prepare_cached("SAVEPOINT member")?.execute([])?;
    let result = write(connection);
    match &result {
        Ok(_) => connection.prepare_cached("RELEASE member")?.execute([])?,
        Err(error) if error.is_of_one_member() => {
            connection.prepare_cached("ROLLBACK TO member")?.execute([])?;
            connection.prepare_cached("RELEASE member")?.execute([])?
        }
        Err(_) => 0,
    };
    result
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lost_the_workspace_does_not_mark_it_as_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("surefoot.db");
        let writer = || {
            let (connection, epoch) = super::super::open_for_writing(&path, 7).unwrap();
            Writer::new(&path, connection, epoch, &Config::new(folder.path()), |_| {})
        };
        let (lost, taken) = (writer(), writer());
        lost.mark_clean().unwrap();
        drop(taken);
        assert!(!writer().epoch().was_clean);
        writer().mark_clean().unwrap();
        assert!(writer().epoch().was_clean);
    }
}
