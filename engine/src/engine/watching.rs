//! Following one execution, by being told that something happened to it and reading what its journal got; and following
//! a list of them.

use std::collections::VecDeque;

use serde_json::Value;

use super::executions::require_key;
use super::{Engine, EngineError, EngineResult};
use crate::bells::Listener;
use crate::journal::shown;
use crate::overview::{ListNews, ListPlace, ListWatch, News};
use crate::query::{Filter, Kind};
use crate::store::{Refusal, StoreError, journal};

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

    /// Begins to follow the list of executions that `filter` makes, behind a place that somebody came to before.
    /// Without one, or when that one is too long ago, the first news is a reset.
    ///
    /// # Errors
    /// When the filter is wrong, or asks for connections, which are in no list that can be followed.
    pub fn watch_list(&self, filter: Option<&Value>, from: Option<&ListPlace>) -> EngineResult<ListWatch> {
        let parsed = filter.map(|filter| Filter::parse(Kind::Execution, filter)).transpose();
        let filter = parsed.map_err(|error| StoreError::invalid(error.to_string()))?;
        if filter.as_ref().and_then(|filter| filter.required_value("type")).is_some_and(|ty| ty == "CONNECTION") {
            let text =
                "lists of connections cannot be followed; follow the execution that makes them, with its journal";
            return Err(StoreError::invalid(text).into());
        }
        Ok(ListWatch::new(&self.core, filter, from))
    }

    /// The next news of a list that is in the reach of this engine, with the place behind it. None when there is none;
    /// [`ListWatch::rung`] says when to ask again.
    pub async fn next_of_list(&self, watch: &mut ListWatch) -> EngineResult<Option<(ListPlace, ListNews)>> {
        let Some((place, news)) = watch.next(&self.grant) else { return Ok(None) };
        let news = match news {
            News::Plain(news) => news,
            News::Long(id) => match self.execution(&id).await {
                Ok(row) => ListNews::Row(row.to_string().into()),
                Err(EngineError::Refused(Refusal::NotFound(_) | Refusal::Forbidden(_))) => ListNews::Gone(id),
                Err(error) => return Err(error),
            },
        };
        Ok(Some((place, news)))
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
