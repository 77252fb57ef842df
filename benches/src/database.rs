//! The one place of the benchmark that looks into a workspace's database, past the engine: sizes that the engine does
//! not show. It writes only into databases that no engine has open.

use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};

/// A database that an engine may have open.
pub(crate) struct Database(Connection);

impl Database {
    /// For reading.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags);
        Ok(Self(connection.with_context(|| format!("cannot open {}", path.display()))?))
    }

    /// Bytes of all journal records of an execution.
    pub(crate) fn journal_bytes(&self, id: &str) -> Result<u64> {
        let sql =
            "SELECT coalesce(sum(length(records)), 0) FROM journal JOIN executions ON executions.rowid = execution
             WHERE id = ?1";
        Ok(self.0.query_row(sql, [id], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }
}
