//! Reads a journal from its beginning on, in pieces.
//!
//! Rows name the one before them, so to follow a chain from its beginning one has to walk it from its end first. That
//! is not needed as long as the rows of an execution stand near each other, as those of one do that works alone: the
//! next one is a few rows further, and says that it belongs there.

use std::collections::VecDeque;
use std::sync::Arc;

use rusqlite::{Connection, params};
use serde::de::DeserializeOwned;

use super::{STEPS_MAX, StoreError, StoreResult, decode, missing, read_row, row_ids, row_ids_since};
use crate::journal::{ConnectionStart, Record};
use crate::store::executions::Key;

/// A place in the journal of an execution that has not ended. What is appended after it was made is not read.
#[derive(Debug)]
pub(crate) struct Onwards {
    key: Key,
    next: Next,
}

/// Where the next row is.
#[derive(Debug)]
enum Next {
    /// The first of these.
    Of(VecDeque<i64>),
    /// Number `head`, or near after the row `last`; the row `tail` is the last one.
    Near { head: i64, last: Option<i64>, tail: i64 },
}

impl Onwards {
    /// From the beginning of the journal.
    pub(crate) fn new(connection: &Connection, key: Key) -> StoreResult<Self> {
        let mut ends =
            connection.prepare_cached("SELECT journal_head, journal_tail FROM active WHERE execution = ?1")?;
        let mut rows = ends.query([key.0])?;
        let ends = rows.next()?.map(|row| Ok::<_, StoreError>((row.get(0)?, row.get(1)?))).transpose()?;
        let next = match ends {
            Some((Some(head), Some(tail))) => Next::Near { head, last: None, tail },
            _ => Next::Of(row_ids(connection, key)?.into()),
        };
        Ok(Self { key, next })
    }

    /// At the end of a journal that has just begun.
    pub(crate) fn at_end(key: Key) -> Self {
        Self { key, next: Next::Of(VecDeque::new()) }
    }

    /// The first record of all.
    pub(crate) fn first(&self, connection: &Connection) -> StoreResult<Option<Record>> {
        let mut records = Vec::new();
        match &self.next {
            Next::Near { head: row, .. } => read_row(connection, *row, &mut records)?,
            Next::Of(rows) => rows.front().map_or(Ok(()), |row| read_row(connection, *row, &mut records))?,
        }
        Ok(records.into_iter().next())
    }

    /// Whether everything has been read.
    pub(crate) fn is_at_end(&self) -> bool {
        match &self.next {
            Next::Of(rows) => rows.is_empty(),
            Next::Near { last, tail, .. } => *last == Some(*tail),
        }
    }

    /// The records of the next rows, at most so many of these, each with the number of its row.
    pub(crate) fn read<A: DeserializeOwned>(
        &mut self,
        connection: &Connection,
        rows_max: usize,
    ) -> StoreResult<Vec<(i64, Record<A>)>> {
        let (mut records, mut piece) = (Vec::new(), Piece::with_capacity(4 * rows_max));
        let mut rest = rows_max;
        if let Next::Near { head, last, tail } = &mut self.next {
            let since = last.map_or(*head, |last| last + 1);
            let mut statement = connection.prepare_cached(
                "SELECT id, execution, previous, records FROM journal WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
            )?;
            let mut rows = statement.query(params![since, *tail])?;
            let mut steps = 0;
            while rest > 0 && *last != Some(*tail) && steps <= STEPS_MAX {
                let Some(row) = rows.next()? else { return Err(missing(*tail)) };
                let id: i64 = row.get(0)?;
                if row.get_ref(1)?.as_i64() != Ok(self.key.0) {
                    steps += 1;
                    continue;
                }
                if row.get::<_, Option<i64>>(2)? != *last {
                    let text = format!("row {id} of the journal does not follow the one before it");
                    return Err(StoreError::Damaged(text));
                }
                decode(row.get_ref(3)?, &mut records)?;
                piece.add(id, records.drain(..));
                (*last, rest, steps) = (Some(id), rest - 1, 0);
            }
            if steps <= STEPS_MAX {
                return Ok(piece.records);
            }
            // Others have worked at the same time: from here on the chain tells where its rows are.
            let (since, tail) = (last.map_or(*head, |last| last + 1), *tail);
            let mut rows = row_ids_since(connection, self.key, since)?;
            rows.retain(|row| *row <= tail);
            self.next = Next::Of(rows.into());
        }
        if let Next::Of(rows) = &mut self.next {
            for row in rows.drain(..rest.min(rows.len())) {
                read_row(connection, row, &mut records)?;
                piece.add(row, records.drain(..));
            }
        }
        Ok(piece.records)
    }
}

struct Piece<A> {
    records: Vec<(i64, Record<A>)>,
    start: Option<Arc<ConnectionStart>>,
}

impl<A> Piece<A> {
    fn with_capacity(records: usize) -> Self {
        Self { records: Vec::with_capacity(records), start: None }
    }

    /// Adds the records of a row. A loop starts many connections that are alike: what they began with is kept once.
    fn add(&mut self, row: i64, records: impl Iterator<Item = Record<A>>) {
        for mut record in records {
            if let Record::Call { connection: Some(start), .. } = &mut record {
                match &self.start {
                    Some(kept) if kept == start => *start = kept.clone(),
                    _ => self.start = Some(start.clone()),
                }
            }
            self.records.push((row, record));
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_core::{Rng, SeedableRng};

    use super::*;
    use crate::clock::Timestamp;
    use crate::journal::{CallKind, DigestVersion, Digester, Reply};
    use crate::store::journal::{append, begin};

    const OURS: Key = Key(1);
    const OTHER: Key = Key(2);

    fn reply(n: u32) -> Record {
        Record::Reply { n, at: Timestamp(7), reply: Reply::Unit }
    }

    /// A database with the beginnings of both journals.
    fn begun() -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let (connection, _) = crate::store::open_for_writing(&folder.path().join("surefoot.db"), 7).unwrap();
        for key in [OURS, OTHER] {
            let insert = "INSERT INTO executions
                 (rowid, id, type, name, status, flow_id, version, created_at, created_by, input)
                 VALUES (?1, ?1, 'FLOW', 'x', 'QUEUED', '', '', ?1, '', 'null')";
            connection.execute(insert, [key.0]).unwrap();
            let head = begin(&connection, key, &reply(0)).unwrap();
            let active = "INSERT INTO active (execution, state, journal_head, journal_tail) VALUES (?1, 0, ?2, ?2)";
            connection.execute(active, [key.0, head]).unwrap();
        }
        (folder, connection)
    }

    fn read_to_the_end(mut onwards: Onwards, connection: &Connection, rows: usize) -> StoreResult<Vec<Record>> {
        let mut all = Vec::new();
        while !onwards.is_at_end() {
            let piece = onwards.read(connection, rows)?;
            assert!(!piece.is_empty(), "it goes on");
            all.extend(piece.into_iter().map(|(_, record)| record));
        }
        Ok(all)
    }

    /// However the rows of others stand between: it is the journal, in order, and nothing that came later.
    #[test]
    fn it_is_the_journal_whoever_worked_beside() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for round in 0..60 {
            let (_folder, connection) = begun();
            for n in 1..=random.next_u32() % 40 {
                // Seldom others, often others, whole crowds of them.
                for _ in 0..random.next_u32().checked_rem(round / 6).unwrap_or(0) {
                    append(&connection, OTHER, &reply(n)).unwrap();
                }
                append(&connection, OURS, &reply(n)).unwrap();
            }
            if round % 3 == 0 {
                connection.execute("UPDATE active SET journal_head = NULL", []).unwrap();
            }
            let whole = crate::store::journal::read(&connection, OURS).unwrap();
            let onwards = Onwards::new(&connection, OURS).unwrap();
            assert_eq!(onwards.first(&connection).unwrap(), whole.first().cloned());
            append(&connection, OURS, &reply(99)).unwrap();
            let rows = 1 + random.next_u32() as usize % 9;
            assert_eq!(read_to_the_end(onwards, &connection, rows).unwrap(), whole, "round {round}");
        }
    }

    #[test]
    fn a_row_that_is_gone_or_names_another_is_damage() {
        for damage in [
            "DELETE FROM journal WHERE id = (SELECT journal_head FROM active WHERE execution = 1)",
            "DELETE FROM journal WHERE id = (SELECT journal_tail FROM active WHERE execution = 1)",
            "DELETE FROM journal WHERE id = 5",
            "UPDATE journal SET previous = 1 WHERE id = 5",
            "UPDATE journal SET execution = 2 WHERE id = 5",
        ] {
            let (_folder, connection) = begun();
            (1..6).for_each(|n| append(&connection, OURS, &reply(n)).unwrap());
            assert_eq!(connection.execute(damage, []).unwrap(), 1);
            let read = read_to_the_end(Onwards::new(&connection, OURS).unwrap(), &connection, 256);
            assert!(matches!(read, Err(StoreError::Damaged(_))), "{damage}: {read:?}");
        }
    }

    #[test]
    fn connections_that_began_alike_are_kept_once() {
        let start = |name: &str| ConnectionStart {
            name: name.to_owned(),
            connector_id: String::new(),
            connector_type: "echo".into(),
            revision: 0,
            effect: surefoot_connector_api::Effect::Read,
            retry_on_interrupt: false,
            timeout_ms: 1,
            retry: None,
            cache_ms: None,
        };
        let call = |n: u32, name: &str| Record::Call {
            n,
            kind: CallKind::StartConnection,
            digest: Digester::new(&[7; 32]).digest(DigestVersion::NEWEST, CallKind::StartConnection, []),
            args: (),
            at: Timestamp(7),
            due: None,
            connection: Some(start(name).into()),
            reply: None,
        };
        let mut piece = Piece::with_capacity(0);
        piece.add(1, ["a", "a", "b"].into_iter().zip(0..).map(|(name, n)| call(n, name)));
        let kept: Vec<_> = piece
            .records
            .iter()
            .filter_map(
                |(_, record)| if let Record::Call { connection, .. } = record { connection.clone() } else { None },
            )
            .collect();
        assert_eq!(kept.iter().map(|start| start.name.as_str()).collect::<Vec<_>>(), ["a", "a", "b"]);
        assert!(Arc::ptr_eq(&kept[0], &kept[1]) && !Arc::ptr_eq(&kept[1], &kept[2]));
    }
}
