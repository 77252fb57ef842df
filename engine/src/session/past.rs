//! The part of a journal that a run has not come to yet, read in pieces as the run goes on: a journal of any length
//! takes the memory of one piece.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rusqlite::Connection;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::core::Settled;
use crate::journal::{CallKind, ConnectionStart, Digest, Record, Reply};
use crate::store::{Readers, StoreError, StoreResult, journal};

/// Rows read at one time.
const PIECE_ROWS: usize = 256;

/// A call that the journal has.
#[derive(Debug)]
pub(super) struct PastCall {
    pub(super) kind: CallKind,
    pub(super) digest: Digest,
    pub(super) due: Option<Timestamp>,
    pub(super) connection: Option<Arc<ConnectionStart>>,
    pub(super) reply: Option<(Reply, Timestamp)>,
    /// The row of the journal that has it.
    row: i64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Past {
    /// Rows that have not been read.
    rows: VecDeque<i64>,
    /// Calls that have been read. As long as there is another row there are two: the first is whole then.
    calls: VecDeque<PastCall>,
    /// Calls read so far.
    read: u32,
}

impl Past {
    /// The journal with these rows, from its beginning.
    pub(super) fn new(rows: Vec<i64>) -> Self {
        Self { rows: rows.into(), calls: VecDeque::new(), read: 0 }
    }

    /// The next call, if the journal has another.
    pub(super) fn next(&self) -> Option<&PastCall> {
        self.calls.front()
    }

    /// Goes past the next call.
    pub(super) fn take_next(&mut self) -> Option<PastCall> {
        self.calls.pop_front()
    }

    /// Reads on until the next call is whole. Adds the ends of connections to `settled`.
    pub(super) fn fill(&mut self, readers: &Readers, settled: &mut HashMap<u32, Settled>) -> StoreResult<()> {
        while self.calls.len() < 2 && !self.rows.is_empty() {
            let count = self.rows.len().min(PIECE_ROWS);
            let piece: Vec<i64> = self.rows.drain(..count).collect();
            readers.read_many(|connection| self.read_rows(connection, &piece, settled))?;
        }
        Ok(())
    }

    fn read_rows(
        &mut self,
        connection: &Connection,
        rows: &[i64],
        settled: &mut HashMap<u32, Settled>,
    ) -> StoreResult<()> {
        let mut records: Vec<Record<IgnoredAny>> = Vec::new();
        for row in rows {
            journal::read_row(connection, *row, &mut records)?;
            for record in records.drain(..) {
                self.add(*row, record, settled)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, row: i64, record: Record<IgnoredAny>, settled: &mut HashMap<u32, Settled>) -> StoreResult<()> {
        match record {
            Record::Started(_) => {}
            Record::Call { n, kind, digest, at, due, connection, reply, .. } => {
                if n != self.read {
                    let text = format!("the journal has call {n} where call {} belongs", self.read);
                    return Err(StoreError::Damaged(text));
                }
                self.read += 1;
                let reply = reply.map(|reply| (reply, at));
                self.calls.push_back(PastCall { kind, digest, due, connection, reply, row });
            }
            // A call that waits is answered before the next one is made.
            Record::Reply { n, at, reply } => match self.calls.back_mut() {
                Some(call) if n + 1 == self.read => call.reply = Some((reply, at)),
                _ => {
                    let text = format!("the journal answers call {n}, which does not wait for an answer");
                    return Err(StoreError::Damaged(text));
                }
            },
            Record::Settled { n, outcome, .. } => {
                settled.entry(n).or_insert(Settled { outcome });
            }
        }
        Ok(())
    }
}

/// What the guest passed to a call that the journal has, for people.
pub(super) fn args(readers: &Readers, call: &PastCall) -> StoreResult<Value> {
    let mut records = Vec::new();
    readers.read(|connection| journal::read_row(connection, call.row, &mut records))?;
    let of = |record| match record {
        Record::Call { digest, args, .. } if digest == call.digest => Some(args),
        _ => None,
    };
    records.into_iter().find_map(of).ok_or_else(|| StoreError::Damaged("a call of the journal is gone".into()))
}
