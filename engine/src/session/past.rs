//! The part of a journal that a run has not come to yet, read in pieces as the run goes on: a journal of any length
//! takes the memory of two pieces. While the guest replays one, another thread reads the next.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::clock::Timestamp;
use crate::core::{Core, Settled, Settlements, lock};
use crate::journal::{CallKind, ConnectionStart, Digest, Record, Reply};
use crate::store::journal::{self, Onwards};
use crate::store::{Readers, StoreError, StoreResult};

/// Rows read at one time.
const PIECE_ROWS: usize = 256;

/// Calls of which the first is certainly whole: its answer comes before the next one.
const WHOLE: usize = 2;

/// A call that the journal has.
#[derive(Debug)]
pub(super) struct PastCall {
    pub(super) kind: CallKind,
    pub(super) digest: Digest,
    pub(super) due: Option<Timestamp>,
    pub(super) connection: Option<Arc<ConnectionStart>>,
    /// The time of its answer, until there is one that of the call.
    pub(super) at: Timestamp,
    pub(super) reply: Option<Reply>,
    /// The row of the journal that has it.
    row: i64,
}

/// The records of some rows, each with its row.
type Piece = Vec<(i64, Record<IgnoredAny>)>;

/// A piece that somebody is to read: another thread, or who needs it first.
type Ahead = Arc<Mutex<ToRead>>;

#[derive(Debug)]
enum ToRead {
    /// What comes next here.
    From(Onwards),
    /// It is done; the rest comes after it.
    Piece(StoreResult<(Piece, Onwards)>),
    /// Somebody has it.
    Taken,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Past {
    /// The next piece; none at the end of the journal.
    ahead: Option<Ahead>,
    /// Calls that have been read. As long as there is another row there are two: the first is whole then.
    calls: VecDeque<PastCall>,
    /// Calls read so far.
    read: u32,
}

impl Past {
    /// What comes in the journal from there on.
    pub(super) fn new(journal: Onwards) -> Self {
        Self { ahead: to_read(journal), calls: VecDeque::new(), read: 0 }
    }

    /// The next call, if the journal has another.
    pub(super) fn next(&self) -> Option<&PastCall> {
        self.calls.front()
    }

    /// Goes past the next call.
    pub(super) fn take_next(&mut self) -> Option<PastCall> {
        self.calls.pop_front()
    }

    /// Goes past the next call if it is that one.
    pub(super) fn take_next_if(&mut self, is_it: impl FnOnce(&PastCall) -> bool) -> Option<PastCall> {
        if self.next().is_some_and(is_it) { self.calls.pop_front() } else { None }
    }

    /// Whether the next call is whole without reading on.
    pub(super) fn is_ready(&self) -> bool {
        self.calls.len() >= WHOLE || self.ahead.is_none()
    }

    /// Reads on until the next call is whole. Adds the ends of connections to `settled`.
    pub(super) fn fill(&mut self, core: &Arc<Core>, settled: &mut Settlements) -> StoreResult<()> {
        while !self.is_ready() {
            let Some(ahead) = self.ahead.take() else { return Ok(()) };
            read(&ahead, &core.readers);
            let ToRead::Piece(read_ahead) = std::mem::replace(&mut *lock(&ahead), ToRead::Taken) else {
                continue;
            };
            let (piece, rest) = read_ahead?;
            self.ahead = to_read(rest);
            // In a simulation there is one thread, and everything happens in one order.
            let threads =
                Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() != RuntimeFlavor::CurrentThread);
            if let Some(next) = self.ahead.clone().filter(|_| threads) {
                let core = core.clone();
                tokio::task::spawn_blocking(move || read(&next, &core.readers));
            }
            for (row, record) in piece {
                self.add(row, record, settled)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, row: i64, record: Record<IgnoredAny>, settled: &mut Settlements) -> StoreResult<()> {
        match record {
            Record::Started(_) => {}
            Record::Call { n, kind, digest, at, due, connection, reply, .. } => {
                if n != self.read {
                    let text = format!("the journal has call {n} where call {} belongs", self.read);
                    return Err(StoreError::Damaged(text));
                }
                self.read += 1;
                self.calls.push_back(PastCall { kind, digest, due, connection, at, reply, row });
            }
            // A call that waits is answered before the next one is made.
            Record::Reply { n, at, reply } => match self.calls.back_mut() {
                Some(call) if n + 1 == self.read => (call.at, call.reply) = (at, Some(reply)),
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

fn to_read(journal: Onwards) -> Option<Ahead> {
    (!journal.is_at_end()).then(|| Arc::new(Mutex::new(ToRead::From(journal))))
}

/// Reads a piece, or waits for who is at it.
fn read(ahead: &Mutex<ToRead>, readers: &Readers) {
    let mut ahead = lock(ahead);
    *ahead = match std::mem::replace(&mut *ahead, ToRead::Taken) {
        ToRead::From(mut journal) => ToRead::Piece(
            readers.read_many(|connection| journal.read(connection, PIECE_ROWS)).map(|piece| (piece, journal)),
        ),
        done => done,
    };
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
