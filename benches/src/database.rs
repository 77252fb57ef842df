//! The one place of the benchmark that knows the tables of a workspace's database: for what the engine does not show,
//! and to fill one with history. It writes only into databases that no engine has open.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OpenFlags, OptionalExtension, named_params};

/// A database that an engine may have open, for reading.
pub(crate) struct Database(Connection);

/// How far each execution is that has not ended: by its number, the newest row of its journal, and whether there is one
/// before that.
#[derive(Debug)]
pub(crate) struct Progress(HashMap<i64, (i64, bool)>);

impl Progress {
    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// How many have recorded more than that they were created.
    pub(crate) fn begun(&self) -> u64 {
        self.0.values().filter(|(_, has_more)| *has_more).count() as u64
    }

    /// How many have gone further than in `before`.
    pub(crate) fn beyond(&self, before: &Self) -> u64 {
        let further = |execution: &i64, tail: i64| before.0.get(execution).is_some_and(|(before, _)| tail > *before);
        self.0.iter().filter(|(execution, (tail, _))| further(execution, *tail)).count() as u64
    }
}

impl Database {
    /// Opens it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags);
        Ok(Self(connection.with_context(|| format!("cannot open {}", path.display()))?))
    }

    /// Bytes of all journal records of an execution.
    pub(crate) fn journal_bytes(&self, id: &str) -> Result<u64> {
        let sql =
            "SELECT coalesce(sum(length(records)), 0) FROM journal JOIN executions ON executions.rowid = execution
             WHERE executions.id = ?1";
        Ok(self.0.query_row(sql, [id], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// How far each execution is that has not ended.
    pub(crate) fn progress(&self) -> Result<Progress> {
        let sql = "SELECT active.execution, id, previous IS NOT NULL FROM active JOIN journal ON id = journal_tail";
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
        Ok(Progress(rows.collect::<Result<_, _>>()?))
    }

    /// How many executions sleep and have no instance.
    pub(crate) fn asleep(&self) -> Result<u64> {
        let sql = "SELECT count(*) FROM active WHERE state = 3";
        Ok(self.0.query_row(sql, [], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// Whether an execution waits without an instance.
    pub(crate) fn has_given_up_its_instance(&self, id: &str) -> Result<bool> {
        let sql = "SELECT state FROM active JOIN executions ON executions.rowid = execution WHERE id = ?1";
        let state: Option<i64> = self.0.query_row(sql, [id], |row| row.get(0)).optional()?;
        Ok(state == Some(1))
    }
}

/// How far the executions are in a data folder whose process was killed. It reads a copy: opening the database itself
/// would recover its log, and the next process would find that done.
pub(crate) fn progress_of_a_dead(data: &Path) -> Result<Progress> {
    let copy = tempfile::tempdir_in(data.parent().context("the data folder lies in a folder")?)?;
    for name in ["surefoot.db", "surefoot.db-wal"] {
        std::fs::copy(data.join(name), copy.path().join(name)).with_context(|| format!("cannot copy {name}"))?;
    }
    Database(Connection::open(copy.path().join("surefoot.db"))?).progress()
}

/// Bytes of a database that nobody has open, after its log was written back.
pub(crate) fn size(path: &Path) -> Result<u64> {
    let connection = Connection::open(path)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    drop(connection);
    Ok(std::fs::metadata(path)?.len())
}

/// Adds `count` ended executions to a database that nobody has open: copies of one that ended, with its journal, each
/// with an id and a time of its own.
pub(crate) fn multiply(path: &Path, id: &str, count: u64) -> Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch("CREATE TEMP TABLE one AS SELECT * FROM executions LIMIT 0")?;
    connection.execute("INSERT INTO one SELECT * FROM executions WHERE id = ?1 AND ended_at IS NOT NULL", [id])?;
    connection.execute_batch(
        "CREATE TEMP TABLE its AS SELECT * FROM journal WHERE execution = (SELECT rowid FROM one) ORDER BY id;
         CREATE TEMP TABLE shift AS
             SELECT (SELECT max(id) FROM journal) - min(id) + 1 AS base, max(id) - min(id) + 1 AS span FROM its;",
    )?;
    let transaction = connection.transaction()?;
    let shifted = |column: &str| format!("{column} + base + span * (n - 1)");
    for (table, from) in [("executions", "one"), ("journal", "its")] {
        let columns = transaction
            .prepare("SELECT name FROM pragma_table_info(?1)")?
            .query_map([table], |row| row.get(0))?
            .collect::<Result<Vec<String>, _>>()?;
        let values = columns.iter().map(|column| match (table, column.as_str()) {
            ("executions", "rowid") => "rowid + n".to_owned(),
            // As ids are: in the order of time.
            ("executions", "id") => "printf('%08x-0000-7000-8000-000000000000', n)".to_owned(),
            ("executions", "created_at") => "created_at - :count - 1 + n".to_owned(),
            ("journal", "execution") => "execution + n".to_owned(),
            ("executions", "journal_tail") | ("journal", "id" | "previous") => shifted(column),
            (_, name) => name.to_owned(),
        });
        let sql = format!(
            "WITH RECURSIVE counter (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < :count)
             INSERT INTO {table} ({}) SELECT {} FROM counter CROSS JOIN {from} CROSS JOIN shift",
            columns.join(", "),
            values.collect::<Vec<_>>().join(", "),
        );
        let added = transaction.execute(&sql, named_params! { ":count": count.cast_signed() });
        let added = added.with_context(|| format!("cannot fill the table {table}"))?;
        ensure!(added as u64 >= count, "the execution to be copied has not ended, or is not complete");
    }
    transaction.commit()?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}
