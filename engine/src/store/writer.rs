//! Group commit: every write goes through one queue, and one transaction takes all that waits in it.
//!
//! The writer has no thread of its own: [`Writer::drain`] commits what is queued, once. In production a thread calls
//! it when there is
//! work; a simulation calls it when it likes, and may crash before or after.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{Epoch, StoreError, StoreResult};

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

type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Job = Box<dyn FnOnce(&Connection) -> Result<Answer, StoreError> + Send>;

/// The result of a submitted write, once it is durable.
pub(crate) struct Ticket<T>(oneshot::Receiver<StoreResult<T>>);

impl<T> Ticket<T> {
    /// Waits until the write is durable or refused.
    pub(crate) async fn done(self) -> StoreResult<T> {
        self.0.await.unwrap_or_else(|_| {
            Err(StoreError::Failed(
                "the store takes no writes: the engine is stopping, or recovers from a failed commit".into(),
            ))
        })
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
    on_failure: Box<dyn Fn(&StoreError) + Send + Sync>,
}

/// The one writer of a workspace.
#[derive(Clone)]
pub(crate) struct Writer(Arc<Shared>);

/// What a drain does at the end of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Commits and answers.
    Commit,
    /// A simulated crash before the commit: rolls back and answers nobody.
    CrashBefore,
    /// A simulated crash after the commit: answers nobody.
    #[cfg_attr(not(test), expect(dead_code, reason = "only a simulation makes it"))]
    CrashAfter,
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
        on_failure: impl Fn(&StoreError) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            queue: Mutex::new(Queue { jobs: VecDeque::new(), urgent: false, closing: false, failed: None }),
            wake: Condvar::new(),
            connection: Mutex::new(Some(connection)),
            path: path.to_owned(),
            epoch: Mutex::new(epoch),
            on_failure: Box::new(on_failure),
        }))
    }

    /// How the workspace was opened.
    pub(crate) fn epoch(&self) -> Epoch {
        *lock(&self.0.epoch)
    }

    /// Queues a write. Writes commit in the order of their submission. A refusal by `write` undoes that write only;
    /// any other
    /// error undoes the whole batch and stops the writer.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        urgency: Urgency,
        write: impl FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    ) -> Ticket<T> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = guarded(connection, write);
            if let Err(error @ (StoreError::Failed(_) | StoreError::Stale { .. })) = result {
                let _ = sender.send(Err(error.clone()));
                return Err(error);
            }
            let answer: Answer = Box::new(move |committed| {
                // Nobody listens when the asker was dropped meanwhile; its next run reads the store.
                let _ = sender.send(committed.and(result));
            });
            Ok(answer)
        });
        self.push(urgency, job);
        Ticket(receiver)
    }

    /// Like [`submit`](Self::submit), for writes that are never refused: spares the savepoint.
    pub(crate) fn append<T: Send + 'static>(
        &self,
        urgency: Urgency,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Ticket<T> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let value = write(connection).map_err(StoreError::from)?;
            let answer: Answer = Box::new(move |committed| {
                let _ = sender.send(committed.map(|()| value));
            });
            Ok(answer)
        });
        self.push(urgency, job);
        Ticket(receiver)
    }

    fn push(&self, urgency: Urgency, job: Job) {
        let mut queue = lock(&self.0.queue);
        if queue.failed.is_some() || queue.closing {
            return; // dropping the job drops its sender, and the ticket answers with an error
        }
        queue.jobs.push_back(job);
        let first = queue.jobs.len() == 1;
        if urgency == Urgency::Now && !queue.urgent {
            queue.urgent = true;
            self.0.wake.notify_all();
        } else if first {
            self.0.wake.notify_all();
        }
    }

    /// Whether something is queued.
    #[cfg(test)]
    pub(crate) fn has_work(&self) -> bool {
        !lock(&self.0.queue).jobs.is_empty()
    }

    /// Commits what is queued in one transaction and answers those who wait.
    pub(crate) fn drain(&self, ending: Ending) {
        let jobs: Vec<Job> = {
            let mut queue = lock(&self.0.queue);
            let count = queue.jobs.len().min(BATCH_MAX);
            let jobs = queue.jobs.drain(..count).collect();
            queue.urgent = queue.urgent && !queue.jobs.is_empty();
            jobs
        };
        if jobs.is_empty() {
            return;
        }
        let mut connection = lock(&self.0.connection);
        let result = match connection.as_ref() {
            Some(connection) => run(connection, self.epoch().number, jobs, ending),
            None => Err(StoreError::Failed("the database is closed".into())),
        };
        match result {
            Ok(answers) => {
                drop(connection);
                answers.into_iter().for_each(|answer| answer(Ok(())));
            }
            Err(error) => {
                // Never a second attempt on this connection: after a failed fsync its view of the disk proves nothing.
                *connection = None;
                drop(connection);
                tracing::error!(%error, "commit failed; the engine recovers from the store");
                let mut queue = lock(&self.0.queue);
                queue.failed = Some(error.to_string());
                queue.jobs.clear();
                drop(queue);
                (self.0.on_failure)(&error);
            }
        }
    }

    /// After a failed commit: opens the database anew.
    pub(crate) fn reopen(&self) -> StoreResult<()> {
        let (connection, epoch) = super::open_for_writing(&self.0.path)?;
        *lock(&self.0.connection) = Some(connection);
        *lock(&self.0.epoch) = epoch;
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
            connection.execute("UPDATE meta SET value = 1 WHERE key = 'clean'", [])?;
            connection.close().map_err(|(_, error)| StoreError::from(error))?;
        }
        Ok(())
    }
}

fn run(connection: &Connection, epoch: i64, jobs: Vec<Job>, ending: Ending) -> StoreResult<Vec<Answer>> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let batch = || {
        let found: i64 =
            connection.prepare_cached("SELECT value FROM meta WHERE key = 'epoch'")?.query_row([], |row| row.get(0))?;
        if found != epoch {
            return Err(StoreError::Stale { found, ours: epoch });
        }
        jobs.into_iter().map(|job| job(connection)).collect::<StoreResult<Vec<Answer>>>()
    };
    let result = match ending {
        Ending::Fail => batch().and(Err(StoreError::Failed("simulated failure of the disk".into()))),
        _ => batch(),
    };
    match result {
        Ok(answers) if ending != Ending::CrashBefore => {
            connection.prepare_cached("COMMIT")?.execute([])?;
            Ok(if ending == Ending::Commit { answers } else { Vec::new() })
        }
        Ok(_) => {
            connection.execute_batch("ROLLBACK")?;
            Ok(Vec::new())
        }
        Err(error) => {
            // The transaction may be gone already (disk full); the connection is given up either way.
            let _ = connection.execute_batch("ROLLBACK");
            Err(error)
        }
    }
}

/// Runs one write so that a refusal undoes it alone.
pub(crate) fn guarded<T>(connection: &Connection, write: impl FnOnce(&Connection) -> StoreResult<T>) -> StoreResult<T> {
    connection.prepare_cached("SAVEPOINT member")?.execute([])?;
    let result = write(connection);
    match &result {
        Ok(_) => connection.prepare_cached("RELEASE member")?.execute([])?,
        Err(StoreError::Refused(_) | StoreError::Damaged(_)) => {
            connection.prepare_cached("ROLLBACK TO member")?.execute([])?;
            connection.prepare_cached("RELEASE member")?.execute([])?
        }
        Err(StoreError::Failed(_) | StoreError::Stale { .. }) => 0,
    };
    result
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
