//! The floor: the least that a durable step can cost on this disk. One thread commits what waits in one queue, in one
//! transaction, to one append-only table; each of N writers waits for its commit before it writes again.
//!
//! The settings are the engine's: WAL, `synchronous=FULL`, the same page size, and as many bytes a write as the engine
//! journals in a step. Nothing is compared, encoded, looked up or answered beyond that.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::timing::Stopwatch;

struct Write {
    execution: u64,
    record: Arc<[u8]>,
    committed: oneshot::Sender<()>,
}

#[derive(Default)]
struct Queue {
    writes: Mutex<Pending>,
    wake: Condvar,
}

#[derive(Default)]
struct Pending {
    writes: Vec<Write>,
    closing: bool,
}

/// See the module.
pub(crate) struct Floor {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<Result<()>>>,
    _folder: TempDir,
}

impl Floor {
    /// An empty table in a folder of its own below `parent`.
    pub(crate) fn open(parent: &Path) -> Result<Self> {
        let folder = tempfile::tempdir_in(parent)?;
        let connection = Connection::open(folder.path().join("floor.db"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch("CREATE TABLE journal (id INTEGER PRIMARY KEY, execution INTEGER, record BLOB)")?;
        let queue = Arc::new(Queue::default());
        let drained = queue.clone();
        let thread = std::thread::Builder::new().name("floor".into()).spawn(move || drain(&drained, &connection))?;
        Ok(Self { queue, thread: Some(thread), _folder: folder })
    }

    /// Writes per second that `writers` reach together, each with `bytes` at a time, for about that long.
    pub(crate) async fn rate(&self, writers: u64, bytes: usize, lasting: Duration) -> Result<f64> {
        let mut tasks = JoinSet::new();
        let record: Arc<[u8]> = vec![0x5a; bytes].into();
        let watch = Stopwatch::start();
        for execution in 0..writers {
            let (queue, record) = (self.queue.clone(), record.clone());
            tasks.spawn(async move {
                let mut written = 0;
                while watch.elapsed() < lasting {
                    queue.write(execution, record.clone()).await?;
                    written += 1;
                }
                Ok::<u64, anyhow::Error>(written)
            });
        }
        let mut written = 0;
        while let Some(one) = tasks.join_next().await {
            written += one??;
        }
        Ok(watch.rate(written))
    }

    /// How long `count` commits take, one after the other.
    pub(crate) async fn commits(&self, count: usize, bytes: usize) -> Result<Vec<Duration>> {
        let record: Arc<[u8]> = vec![0x5a; bytes].into();
        let mut durations = Vec::with_capacity(count);
        for _ in 0..count {
            let watch = Stopwatch::start();
            self.queue.write(0, record.clone()).await?;
            durations.push(watch.elapsed());
        }
        Ok(durations)
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.queue.lock().closing = true;
        self.queue.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // A failure was seen by whoever waited for a commit.
            let _ = thread.join();
        }
    }
}

impl Queue {
    async fn write(&self, execution: u64, record: Arc<[u8]>) -> Result<()> {
        let (committed, answer) = oneshot::channel();
        {
            let mut pending = self.lock();
            pending.writes.push(Write { execution, record, committed });
            if pending.writes.len() == 1 {
                self.wake.notify_one();
            }
        }
        answer.await.context("the floor's writer failed")
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn drain(queue: &Queue, connection: &Connection) -> Result<()> {
    let mut insert = connection.prepare("INSERT INTO journal (execution, record) VALUES (?1, ?2)")?;
    let (mut begin, mut commit) = (connection.prepare("BEGIN IMMEDIATE")?, connection.prepare("COMMIT")?);
    loop {
        let writes = {
            let waiting = queue.wake.wait_while(queue.lock(), |pending| pending.writes.is_empty() && !pending.closing);
            let mut pending = waiting.map_err(|_| anyhow!("a writer of the floor panicked"))?;
            std::mem::take(&mut pending.writes)
        };
        if writes.is_empty() {
            return Ok(());
        }
        begin.execute([])?;
        for write in &writes {
            insert.execute((write.execution.cast_signed(), &*write.record))?;
        }
        commit.execute([])?;
        for write in writes {
            // A writer whose time is over has gone.
            let _ = write.committed.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_answered_is_in_the_table() {
        let parent = tempfile::tempdir().unwrap();
        let floor = Floor::open(parent.path()).unwrap();
        assert!(floor.rate(8, 100, Duration::from_millis(50)).await.unwrap() > 0.0);
        assert_eq!(floor.commits(3, 100).await.unwrap().len(), 3);
        let connection = Connection::open(floor._folder.path().join("floor.db")).unwrap();
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert!(count("SELECT count(*) FROM journal WHERE length(record) = 100") >= 8 + 3);
        assert_eq!(count("SELECT count(DISTINCT execution) FROM journal"), 8);
        let full = connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(full, "wal");
    }
}
