//! The one place of the benchmark that knows the tables of a workspace's database: for what the engine does not show,
//! and to fill one with history. It writes only into databases that no engine has open.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OpenFlags, OptionalExtension, named_params};

/// A database that an engine may have open, for reading.
pub(crate) struct Database(Connection);

/// The number of rows of each journal of an execution that has not ended.
#[derive(Debug)]
pub(crate) struct Progress(HashMap<i64, i64>);

impl Progress {
    /// How many have that many rows and more.
    pub(crate) fn at_work(&self, rows: i64) -> usize {
        self.0.values().filter(|found| **found >= rows).count()
    }

    /// How many have gone further than in `before`.
    pub(crate) fn beyond(&self, before: &Self) -> usize {
        self.0.iter().filter(|(execution, rows)| before.0.get(execution).is_some_and(|before| *rows > before)).count()
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
             WHERE id = ?1";
        Ok(self.0.query_row(sql, [id], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// How far each execution is that has not ended.
    pub(crate) fn progress(&self) -> Result<Progress> {
        let mut statement = self.0.prepare_cached(
            "SELECT execution, count(*) FROM journal WHERE execution IN (SELECT execution FROM active) GROUP BY execution",
        )?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
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

/// Adds `count` ended executions to a database that nobody has open: copies of one that ended, with all that belongs to
/// it, each with an id and a time of its own before it.
pub(crate) fn multiply(path: &Path, id: &str, count: u64) -> Result<()> {
    let mut connection = Connection::open(path)?;
    let transaction = connection.transaction()?;
    let template: i64 = transaction.query_row("SELECT rowid FROM executions WHERE id = ?1", [id], |row| row.get(0))?;
    let stride: i64 = transaction.query_row("SELECT coalesce(max(id), 0) FROM journal", [], |row| row.get(0))?;
    let tables = transaction
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<Vec<String>, _>>()?;
    for table in tables {
        let columns = transaction
            .prepare("SELECT name FROM pragma_table_info(?1)")?
            .query_map([&table], |row| row.get(0))?
            .collect::<Result<Vec<String>, _>>()?;
        let key = if table == "executions" { "rowid" } else { "execution" };
        if !columns.iter().any(|column| column == key) {
            continue;
        }
        let values = columns.iter().map(|column| match (key, column.as_str()) {
            (_, name) if name == key => format!("{key} + n"),
            // As ids are: in the order of time.
            ("rowid", "id") => "printf('%08x-0000-7000-8000-000000000000', n)".to_owned(),
            ("rowid", "created_at") => "created_at - :count - 1 + n".to_owned(),
            // The rows of a copied journal name each other.
            ("execution", name @ ("id" | "previous")) if table == "journal" => format!("{name} + n * {stride}"),
            ("rowid", "journal_tail") => format!("journal_tail + n * {stride}"),
            (_, name) => name.to_owned(),
        });
        let sql = format!(
            "WITH RECURSIVE counter (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < :count)
             INSERT INTO {table} ({}) SELECT {} FROM counter CROSS JOIN {table} WHERE {key} = :template",
            columns.join(", "),
            values.collect::<Vec<_>>().join(", "),
        );
        let parameters = named_params! { ":count": count.cast_signed(), ":template": template };
        transaction.execute(&sql, parameters).with_context(|| format!("cannot fill the table {table}"))?;
    }
    let ended = "SELECT count(*) FROM executions WHERE ended_at IS NOT NULL";
    let ended: i64 = transaction.query_row(ended, [], |row| row.get(0))?;
    ensure!(ended.cast_unsigned() > count, "the executions that were added have not ended");
    transaction.commit()?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}
