//! Writes that nobody waits for: log lines, messages, notes. They go along with the next durable write, and a flow that
//! makes many of them waits now and then until they are written: neither memory nor one transaction fills with them.

use rusqlite::Connection;

use super::{End, Session};
use crate::core::lock;
use crate::journal::Record;
use crate::store::Urgency;
use crate::store::writer::Ticket;

/// Writes, and bytes in them, after which a run waits for its backlog.
const WRITES_MAX: u32 = 256;
const BYTES_MAX: usize = 1 << 20;

/// What one run has queued since it last waited.
#[derive(Default)]
pub(super) struct Backlog {
    writes: u32,
    bytes: usize,
    /// The write to wait for. All before it are durable when it is.
    due: Option<Ticket<()>>,
}

impl Backlog {
    /// Counts a write. True when it is the one to wait for.
    fn is_full_with(&mut self, bytes: usize) -> bool {
        self.writes += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        let is_full = self.writes >= WRITES_MAX || self.bytes >= BYTES_MAX;
        if is_full {
            (self.writes, self.bytes) = (0, 0);
        }
        is_full
    }
}

impl Session {
    /// Queues a write of about that many bytes that nobody waits for, but see [`caught_up`](Self::caught_up).
    pub(super) fn write_behind(
        &self,
        bytes: usize,
        write: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) {
        self.behind(bytes, |urgency| self.core.writer.apply(urgency, self.execution().key, write));
    }

    /// Like [`write_behind`](Self::write_behind), for a record of the journal.
    pub(super) fn record_behind(&self, bytes: usize, record: &Record) {
        self.behind(bytes, |urgency| self.core.writer.record(urgency, self.execution().key, record));
    }

    fn behind(&self, bytes: usize, queue: impl FnOnce(Urgency) -> Ticket<()>) {
        let is_full = lock(&self.state).backlog.is_full_with(bytes);
        let ticket = queue(if is_full { Urgency::Now } else { Urgency::Lazy });
        if is_full {
            lock(&self.state).backlog.due = Some(ticket);
        } else {
            self.tell_followers(ticket);
        }
    }

    /// Returns at once, or, when much has been queued, when it is written. To be called after every host call that
    /// queues and does not wait.
    pub(crate) async fn caught_up(&self) -> Result<(), End> {
        let due = lock(&self.state).backlog.due.take();
        if let Some(ticket) = due {
            ticket.done().await.map_err(|_| End::dropped())?;
            self.core.changed(&self.execution().id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_full_by_number_or_by_size() {
        let mut backlog = Backlog::default();
        let small = (0..WRITES_MAX * 2).filter(|_| backlog.is_full_with(1)).count();
        assert_eq!(small, 2);
        assert!(!backlog.is_full_with(BYTES_MAX - 1));
        assert!(backlog.is_full_with(1));
        assert!(!backlog.is_full_with(1));
    }
}
