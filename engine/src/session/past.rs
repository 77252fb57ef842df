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

/// The records of some rows, each with its row.
type Piece = Vec<(i64, Record<IgnoredAny>)>;

/// A piece that somebody is to read: another thread, or who needs it first.
type Ahead = Arc<Mutex<ToRead>>;

#[derive(Debug)]
enum ToRead {
    /// These rows.
    Rows(Vec<i64>),
    /// It is done.
    Piece(StoreResult<Piece>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Past {
    /// Rows that nobody has been asked to read.
    rows: VecDeque<i64>,
    /// The piece before them.
    ahead: Option<Ahead>,
    /// Calls that have been read. As long as there is another row there are two: the first is whole then.
    calls: VecDeque<PastCall>,
    /// Calls read so far.
    read: u32,
}

impl Past {
    /// The journal with these rows, from its beginning.
    pub(super) fn new(rows: Vec<i64>) -> Self {
        Self { rows: rows.into(), ahead: None, calls: VecDeque::new(), read: 0 }
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
    pub(super) fn fill(&mut self, core: &Arc<Core>, settled: &mut Settlements) -> StoreResult<()> {
        while self.calls.len() < 2 {
            let Some(ahead) = self.ahead.take().or_else(|| self.next_piece()) else { return Ok(()) };
            // In a simulation there is one thread, and everything happens in one order.
            let threads =
                Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() != RuntimeFlavor::CurrentThread);
            self.ahead = self.next_piece();
            if let Some(next) = self.ahead.clone().filter(|_| threads) {
                let core = core.clone();
                tokio::task::spawn_blocking(move || read(&next, &core.readers));
            }
            read(&ahead, &core.readers);
            let ToRead::Piece(piece) = std::mem::replace(&mut *lock(&ahead), ToRead::Rows(Vec::new())) else {
                continue;
            };
            for (row, record) in piece? {
                self.add(row, record, settled)?;
            }
        }
        Ok(())
    }

    fn next_piece(&mut self) -> Option<Ahead> {
        let count = self.rows.len().min(PIECE_ROWS);
        let rows: Vec<i64> = self.rows.drain(..count).collect();
        (count > 0).then(|| Arc::new(Mutex::new(ToRead::Rows(rows))))
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

/// Reads a piece, or waits for who is at it.
fn read(ahead: &Mutex<ToRead>, readers: &Readers) {
    let mut ahead = lock(ahead);
    if let ToRead::Rows(rows) = &*ahead {
        *ahead = ToRead::Piece(readers.read_many(|connection| {
            let (mut piece, mut records) = (Vec::with_capacity(4 * rows.len()), Vec::new());
            for row in rows {
                journal::read_row(connection, *row, &mut records)?;
                piece.extend(records.drain(..).map(|record| (*row, record)));
            }
            Ok(piece)
        }));
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
