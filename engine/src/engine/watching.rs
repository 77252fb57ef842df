//! Following one execution: being told that something happened to it, and reading what its journal got.

use std::collections::VecDeque;

use serde_json::Value;

use super::executions::require_key;
use super::{Engine, EngineResult};
use crate::bells::Listener;
use crate::journal::shown;
use crate::store::journal;

/// Tells that something happened to one execution.
pub struct Watch(Listener);

/// How far a journal has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalPlace {
    /// The row that was read last.
    pub row: i64,
    /// How many of its records were read.
    pub of_row: usize,
    /// How many records were read in all.
    pub records: usize,
}

/// Reads a journal piece by piece, also while it grows.
pub struct JournalReader {
    engine: Engine,
    id: String,
    place: JournalPlace,
    /// Rows that are known to be there and were not read yet.
    rows: VecDeque<i64>,
}

impl Watch {
    /// Returns when something has happened since the last return, or since the watch began.
    pub async fn rung(&mut self) {
        self.0.rung().await;
    }
}

impl Engine {
    /// Begins to watch an execution: what happens from now on, and is durable, is told.
    pub fn watch(&self, id: &str) -> Watch {
        Watch(self.core.watched.listen(id))
    }

    /// Reads the journal of an execution from a place on.
    pub fn journal_from(&self, id: &str, place: JournalPlace) -> JournalReader {
        JournalReader { engine: self.clone(), id: id.to_owned(), place, rows: VecDeque::new() }
    }
}

impl JournalReader {
    /// The next records for people, as [`Engine::journal`] shows them, from at most that many rows, each with the place
    /// behind it. Nothing, when there is nothing new.
    pub async fn page(&mut self, rows_max: usize) -> EngineResult<Vec<(Value, JournalPlace)>> {
        let (id, place, mut rows) = (self.id.clone(), self.place, std::mem::take(&mut self.rows));
        let grant = self.engine.grant.clone();
        let read = self.engine.read(move |_, connection| {
            if rows.is_empty() {
                rows = journal::row_ids_since(connection, require_key(connection, &grant, &id)?, place.row)?.into();
            }
            let (mut found, mut place) = (Vec::new(), place);
            let count = rows.len().min(rows_max);
            for row in rows.drain(..count) {
                let mut records = Vec::new();
                journal::read_row(connection, row, &mut records)?;
                let known = if row == place.row { place.of_row } else { 0 };
                for (index, record) in records.iter().enumerate().skip(known) {
                    let seq = place.records;
                    place = JournalPlace { row, of_row: index + 1, records: seq + 1 };
                    found.push((shown(seq, record), place));
                }
            }
            Ok((found, place, rows))
        });
        let (found, place, rows) = read.await?;
        (self.place, self.rows) = (place, rows);
        Ok(found)
    }
}
