//! Records that calls look up again and again, read once per change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use serde_json::Value;

use super::{Readers, StoreResult, Writer, records};
use crate::query::Kind;

/// Records of one kind by name or id, made ready for their use, as of the newest commit that changed any record.
pub(crate) struct RecordCache<T = Value> {
    read: Read<T>,
    /// What makes entries old.
    changes: fn(&Writer) -> u64,
    /// With the number of changes that each was read at.
    entries: Mutex<HashMap<String, (u64, Arc<T>)>>,
}

/// Reads the record with that name or id, refusing when there is none.
type Read<T> = Box<dyn Fn(&Connection, &str) -> StoreResult<T> + Send + Sync>;

/// Entries, at most; then all are read anew.
const ENTRIES_MAX: usize = 1000;

impl RecordCache {
    /// An empty cache of records as they are stored.
    pub(crate) fn new(kind: Kind) -> Self {
        Self::of(move |connection, key| records::require(connection, kind, key))
    }
}

impl<T> RecordCache<T> {
    /// An empty cache of what `read` makes of records.
    pub(crate) fn of(read: impl Fn(&Connection, &str) -> StoreResult<T> + Send + Sync + 'static) -> Self {
        Self { read: Box::new(read), changes: Writer::record_changes, entries: Mutex::default() }
    }

    /// With entries that only these changes make old.
    pub(crate) fn watching(self, changes: fn(&Writer) -> u64) -> Self {
        Self { changes, ..self }
    }

    /// The record with that name or id, refusing when there is none. Sees every change that was answered before the
    /// call.
    pub(crate) fn require(&self, readers: &Readers, writer: &Writer, key: &str) -> StoreResult<Arc<T>> {
        // Read before the record is: a change in between makes the entry old, not wrong.
        let changes = (self.changes)(writer);
        self.as_of(changes, key, || readers.read(|connection| (self.read)(connection, key)))
    }

    /// Like [`require`](Self::require), within a transaction of the writer: sees what that has changed so far.
    pub(crate) fn require_within(&self, connection: &Connection, writer: &Writer, key: &str) -> StoreResult<Arc<T>> {
        match writer.is_changing_records() {
            true => Ok(Arc::new((self.read)(connection, key)?)),
            false => self.as_of((self.changes)(writer), key, || (self.read)(connection, key)),
        }
    }

    fn as_of(&self, changes: u64, key: &str, read: impl FnOnce() -> StoreResult<T>) -> StoreResult<Arc<T>> {
        let lock = || self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, record)) = lock().get(key)
            && *at == changes
        {
            return Ok(record.clone());
        }
        let record = Arc::new(read()?);
        let mut entries = lock();
        if entries.len() >= ENTRIES_MAX {
            entries.clear();
        }
        entries.insert(key.to_owned(), (changes, record.clone()));
        Ok(record)
    }
}
