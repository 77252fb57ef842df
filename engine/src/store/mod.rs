//! The store: one SQLite database, one `Store`, one function an operation, SQL beside it.
//!
//! One connection writes, through [`writer::Writer`]; a few read. No read transaction outlives one function call. The
//! list of functions in
//! the submodules is the seam for another database.

pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod contents;
pub(crate) mod executions;
mod format;
pub(crate) mod journal;
pub(crate) mod locks;
pub(crate) mod logs;
mod migrations;
pub(crate) mod notified;
pub(crate) mod places;
mod record_cache;
pub(crate) mod records;
pub(crate) mod restored;
pub(crate) mod retention;
pub(crate) mod schedules;
pub(crate) mod sealed;
pub(crate) mod sessions;
pub(crate) mod signals;
pub(crate) mod sizes;
pub(crate) mod tally;
mod touched;
pub(crate) mod trash;
mod trees;
pub(crate) mod writer;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};

use crate::key::BRING_IT_BACK;
use crate::planted::{Bug, is_planted};

pub(crate) use format::{FORMAT, format_of, has_log};
pub(crate) use record_cache::RecordCache;
pub(crate) use touched::Touched;
pub(crate) use writer::{Concerns, Urgency, Writer};

/// What an operation on the store can answer instead of a result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A rule of the data refused it; nothing was changed. The text is for users.
    #[error("{0}")]
    Refused(Refusal),
    /// What is stored about one thing cannot be read.
    #[error("{0}")]
    Damaged(String),
    /// Another process has opened the workspace since. Nothing may be written any more.
    #[error("another process opened the workspace (epoch {found}, ours is {ours})")]
    Stale {
        /// The epoch found.
        found: i64,
        /// Our own.
        ours: i64,
    },
    /// The database could not do it. Nothing of the batch was changed, and nobody may go on as if.
    #[error("the database failed: {0}")]
    Failed(String),
    /// Like [`Failed`](Self::Failed), for want of room on the disk.
    #[error("the disk of the data folder is full: {0}")]
    Full(String),
    /// Like [`Failed`](Self::Failed): SQLite cannot make sense of its own file.
    #[error("the database is damaged: {0}")]
    Corrupt(String),
}

/// Why the data's rules refused an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing has that name or id.
    #[error("{0}")]
    NotFound(String),
    /// It changed meanwhile, or the name is taken.
    #[error("{0}")]
    Conflict(String),
    /// It is not valid.
    #[error("{0}")]
    Invalid(String),
    /// Who asks may not do it.
    #[error("{0}")]
    Forbidden(String),
    /// Too many ask for the same at one time.
    #[error("{0}")]
    Busy(String),
    /// It can no longer be done, and never again.
    #[error("{0}")]
    Gone(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error.to_string()),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl StoreError {
    /// Whether one member of a batch is at fault, and not the store: the others go on.
    pub(crate) fn is_of_one_member(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Damaged(_))
    }

    pub(crate) fn not_found(kind: &str, key: &str) -> Self {
        Self::Refused(Refusal::NotFound(format!("there is no {kind} `{key}`")))
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Refused(Refusal::Invalid(text.into()))
    }
}

/// The result of a store operation.
pub(crate) type StoreResult<T> = Result<T, StoreError>;

/// Connections for reading.
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

const READERS_IDLE_MAX: usize = 4;

/// Prepared statements that a connection keeps.
const STATEMENTS_KEPT: usize = 128;

/// Statements are prepared once, whatever is bound to them: without that guarantee SQLite prepares one anew when what
/// is bound could decide between its indexes.
fn keep_statements(connection: &Connection) -> StoreResult<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

impl Readers {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::new(Vec::new()) }
    }

    /// Runs `read` on a connection that sees everything committed so far.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> StoreResult<T>) -> StoreResult<T> {
        let idle = self.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection = Connection::open_with_flags(&self.path, flags)?;
                connection.pragma_update(None, "query_only", true)?;
                // LIKE compares case-sensitively everywhere, as the query language says.
                connection.pragma_update(None, "case_sensitive_like", true)?;
                keep_statements(&connection)?;
                connection
            }
        };
        let result = read(&connection);
        let mut idle = self.lock();
        if idle.len() < READERS_IDLE_MAX {
            idle.push(connection);
        }
        result
    }

    /// Like [`read`](Self::read), for many statements: all see the same state, and the database is locked once and not
    /// for each of them.
    pub(crate) fn read_many<T>(&self, read: impl FnOnce(&Connection) -> StoreResult<T>) -> StoreResult<T> {
        self.read(|connection| {
            let together = connection.unchecked_transaction()?;
            let result = read(&together)?;
            together.commit()?;
            Ok(result)
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Opens the writing connection: creates the database or migrates it, and raises the epoch. A backup before a migration
/// is the caller's business. `key_check` says which key the workspace has: that of the first opening.
pub(crate) fn open_for_writing(path: &Path, key_check: i64) -> StoreResult<(Connection, Epoch)> {
    prepare_for_writing(Connection::open(path)?, Some(key_check))
}

/// Opens the writing connection again, of the database that this process has had open. One that has vanished is not
/// made anew: an empty workspace would look as if nothing had ever been there.
pub(crate) fn reopen_for_writing(path: &Path, ours: Epoch) -> StoreResult<(Connection, Epoch)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(path, flags)?;
    // It may be higher: an attempt before this one may have raised it and failed after that.
    let other = match meta(&connection, "epoch") {
        Ok(Some(found)) if found >= ours.number => return prepare_for_writing(connection, None),
        Ok(found) => format!("it was opened {} times, ours {} times", found.unwrap_or_default(), ours.number),
        Err(error) => error.to_string(),
    };
    Err(StoreError::Failed(format!("{} is not the database that was open: {other}", path.display())))
}

fn prepare_for_writing(mut connection: Connection, key_check: Option<i64>) -> StoreResult<(Connection, Epoch)> {
    if connection.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0))? == 0 {
        // Of a new database this must be the first thing that is said.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    let synchronous = if is_planted(Bug::SyncSkipped) { "OFF" } else { "FULL" };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "case_sensitive_like", true)?;
    keep_statements(&connection)?;
    settle_log(&connection)?;
    migrations::run(&mut connection)?;
    make_shrinkable(&connection)?;
    // In a transaction of its own: what was not committed, on a full disk say, is not our epoch.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(key_check) = key_check {
        transaction.execute("INSERT OR IGNORE INTO meta VALUES ('key_check', ?1)", [key_check])?;
        if meta(&transaction, "key_check")? != Some(key_check) {
            return Err(StoreError::Damaged(format!("the key is not the one of this workspace; {BRING_IT_BACK}")));
        }
    }
    transaction.execute("UPDATE meta SET value = value + 1 WHERE key = 'epoch'", [])?;
    let read = |key: &str| {
        let lacks = || format!("the database is damaged: its table `meta` has no `{key}`; run surefoot doctor");
        meta(&transaction, key)?.ok_or_else(|| StoreError::Damaged(lacks()))
    };
    let epoch = Epoch { number: read("epoch")?, was_clean: read("clean")? == 1 };
    transaction.execute("UPDATE meta SET value = 0 WHERE key = 'clean'", [])?;
    transaction.commit()?;
    Ok((connection, epoch))
}

/// A number that the workspace keeps of itself.
pub(crate) fn meta(connection: &Connection, key: &str) -> StoreResult<Option<i64>> {
    let mut statement = connection.prepare("SELECT value FROM meta WHERE key = ?1")?;
    Ok(statement.query_row([key], |row| row.get(0)).optional()?)
}

/// Moves the write-ahead log into the database. What a process wrote whose sync failed may be readable still although
/// it is not on the disk: a commit that follows it in the log would be lost with it, synced or not.
fn settle_log(connection: &Connection) -> StoreResult<()> {
    // A reader that is in the way keeps the log's index alive, and that does not name what was not synced.
    Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}

/// Writes the database anew, without a byte of what stood in it before. Takes as much room again.
pub(crate) fn forget_deleted(connection: &Connection) -> StoreResult<()> {
    connection.execute_batch("VACUUM")?;
    settle_log(connection)
}

/// One opening of the workspace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch {
    /// Counts openings.
    pub number: i64,
    /// Whether the opening before was closed in order.
    pub was_clean: bool,
}

/// Pages in the write-ahead log after which it is moved into the database: the more, the more of them are newer states
/// of one page, of which the last alone is moved.
const WAL_PAGES: i64 = 4096;

/// The length that the write-ahead log is cut back to when it begins anew, bytes.
const WAL_BYTES_KEPT: i64 = 64 << 20;

/// A database of an engine that did not give free pages back is written anew, once. Where there is no room for that it
/// stays as it is, which is no reason not to work.
fn make_shrinkable(connection: &Connection) -> StoreResult<()> {
    const INCREMENTAL: i64 = 2;
    if connection.pragma_query_value(None, "auto_vacuum", |row| row.get::<_, i64>(0))? == INCREMENTAL {
        return Ok(());
    }
    tracing::info!("writing the database anew, so that it can shrink from now on");
    if let Err(error) = connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM") {
        tracing::warn!(%error, "the database could not be written anew; it will not shrink until it is");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_CHECK: i64 = 7;

    /// Nothing is changed then: the executions that are under way could not go on.
    #[test]
    fn a_database_is_not_opened_with_another_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("surefoot.db");
        drop(open_for_writing(&path, KEY_CHECK).unwrap());
        let look = || {
            let connection = Connection::open(&path).unwrap();
            ["epoch", "clean", "key_check"].map(|key| meta(&connection, key).unwrap())
        };
        let before = look();
        let error = open_for_writing(&path, KEY_CHECK + 1).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged(text) if text.contains("bring back the file `key`")), "{error}");
        assert_eq!(look(), before);
        // An engine of before that left none.
        Connection::open(&path).unwrap().execute("DELETE FROM meta WHERE key = 'key_check'", []).unwrap();
        drop(open_for_writing(&path, KEY_CHECK).unwrap());
        assert!(open_for_writing(&path, KEY_CHECK + 1).is_err());
    }

    #[test]
    fn a_database_that_does_not_know_its_epoch_is_damaged() {
        for key in ["epoch", "clean"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("surefoot.db");
            drop(open_for_writing(&path, KEY_CHECK).unwrap());
            Connection::open(&path).unwrap().execute("DELETE FROM meta WHERE key = ?1", [key]).unwrap();
            let error = open_for_writing(&path, KEY_CHECK).unwrap_err();
            assert!(matches!(&error, StoreError::Damaged(text) if text.contains("damaged")), "{error}");
        }
    }

    #[test]
    fn a_database_that_vanished_is_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("surefoot.db");
        let (connection, first) = open_for_writing(&path, KEY_CHECK).unwrap();
        drop(connection);
        let (connection, second) = reopen_for_writing(&path, first).unwrap();
        assert_eq!(second.number, first.number + 1);
        drop(connection);

        let aside = folder.path().join("aside.db");
        std::fs::rename(&path, &aside).unwrap();
        assert!(matches!(reopen_for_writing(&path, second), Err(StoreError::Failed(_))));
        assert!(!path.exists());
        std::fs::write(&path, "").unwrap();
        assert!(matches!(reopen_for_writing(&path, second), Err(StoreError::Failed(_))));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);

        std::fs::remove_file(&path).unwrap();
        drop(open_for_writing(&path, KEY_CHECK).unwrap());
        let other = reopen_for_writing(&path, second).unwrap_err().to_string();
        assert!(other.contains("is not the database that was open"), "{other}");

        std::fs::rename(&aside, &path).unwrap();
        assert!(reopen_for_writing(&path, second).is_ok());
    }
}
