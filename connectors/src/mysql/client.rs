//! Commands and their answers on a logged-in connection.

use std::time::Duration;

use serde_json::Value;

use super::errors::{Failure, ServerError};
use super::login::Line;
use super::packet::{Bytes, Wire};
use super::values;

const QUIT: u8 = 0x01;
const QUERY: u8 = 0x03;
const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;
const SET_OPTION: u8 = 0x1B;
/// Of [`SET_OPTION`]: a text may be several statements.
const SEVERAL_STATEMENTS: [u8; 2] = [0, 0];

const AUTOCOMMIT: u16 = 0x0002;
const MORE_RESULTS: u16 = 0x0008;
/// Rows end with a content that begins with this and is shorter than any row that does.
const END: u8 = 0xFE;
const END_BYTES_MAX: usize = 8;
/// The server wants a file of this machine.
const LOCAL_FILE: u8 = 0xFB;

/// A logged-in connection.
pub(super) struct Client {
    wire: Wire<Line>,
}

/// A statement that the server has read and not performed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prepared {
    id: u32,
    /// How many parameters it has.
    pub(super) parameters: u16,
}

/// A column of a result.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// The number of its type.
    pub(super) kind: u8,
    pub(super) unsigned: bool,
    /// Whether it holds bytes, and not text.
    pub(super) binary: bool,
}

/// How one statement, or one result of it, has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    /// Rows that were changed, or that came.
    pub(super) rows: u64,
    pub(super) status: u16,
    pub(super) warnings: u16,
}

/// What is to be done with the rows of a result.
pub(super) trait Rows {
    /// A result begins.
    fn columns(&mut self, columns: &[Column]);
    /// The next row, without what marks it as one. False: no more are wanted, and the connection can be given up.
    fn row(&mut self, columns: &[Column], row: &[u8]) -> Result<bool, Failure>;
}

/// Reads past rows.
struct Ignored;

impl Rows for Ignored {
    fn columns(&mut self, _: &[Column]) {}

    fn row(&mut self, _: &[Column], _: &[u8]) -> Result<bool, Failure> {
        Ok(true)
    }
}

/// How an answer begins.
pub(super) enum Answer {
    Done(Done),
    /// That many columns follow.
    Result(u64),
}

impl Answer {
    fn read(content: &[u8]) -> Result<Self, Failure> {
        match content.first() {
            Some(0x00) => Self::read_done(content).map(Self::Done),
            Some(&LOCAL_FILE) => Err(Failure::Protocol("it asks for a file of this machine".into())),
            _ if ServerError::is(content) => Err(ServerError::read(content)),
            _ => Bytes::new(content).length().map(Self::Result),
        }
    }

    /// An answer that says that something is done.
    pub(super) fn read_done(content: &[u8]) -> Result<Done, Failure> {
        let mut bytes = Bytes::new(content);
        bytes.u8()?;
        let (rows, _last_id) = (bytes.length()?, bytes.length()?);
        Ok(Done { rows, status: bytes.u16()?, warnings: bytes.u16()? })
    }
}

impl Client {
    pub(super) fn new(wire: Wire<Line>) -> Self {
        Self { wire }
    }

    /// Makes a session, whose `status` the login gave, one that commits by itself and in which no statement outlives
    /// its caller for long.
    pub(super) async fn prepare_session(
        &mut self,
        version: &str,
        status: u16,
        statement_time_max: Duration,
    ) -> Result<(), Failure> {
        if status & AUTOCOMMIT == 0 {
            self.query("SET autocommit = 1").await?;
        }
        let limit = if version.contains("MariaDB") {
            format!("SET max_statement_time = {}", statement_time_max.as_secs() + 1)
        } else {
            format!("SET max_execution_time = {}", statement_time_max.as_millis() + 1_000)
        };
        match self.query(&limit).await {
            // Not every server that speaks the protocol knows it.
            Err(Failure::Server(error)) => tracing::debug!(?error, "statements of this server have no limit of time"),
            other => drop(other?),
        }
        Ok(())
    }

    /// Performs a text, and reads past the rows that it gives. One [`Done`] for each statement.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Vec<Done>, Failure> {
        self.command(QUERY, sql.as_bytes()).await?;
        self.results(&mut Ignored).await
    }

    /// The same for a text that may be several statements.
    pub(super) async fn query_several(&mut self, sql: &str) -> Result<Vec<Done>, Failure> {
        self.command(SET_OPTION, &SEVERAL_STATEMENTS).await?;
        let answer = self.wire.receive().await?;
        if ServerError::is(&answer) {
            return Err(ServerError::read(&answer));
        }
        self.query(sql).await
    }

    /// The rows of a text, as text.
    pub(super) async fn text_rows(&mut self, sql: &str) -> Result<Vec<Vec<String>>, Failure> {
        struct Texts(Vec<Vec<String>>);
        impl Rows for Texts {
            fn columns(&mut self, _: &[Column]) {}

            fn row(&mut self, columns: &[Column], row: &[u8]) -> Result<bool, Failure> {
                let mut bytes = Bytes::new(row);
                let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
                self.0.push(columns.iter().map(|_| bytes.optional_value().map(text)).collect::<Result<_, _>>()?);
                Ok(true)
            }
        }
        let mut texts = Texts(Vec::new());
        self.command(QUERY, sql.as_bytes()).await?;
        self.results(&mut texts).await?;
        Ok(texts.0)
    }

    /// Has the server read one statement, which performs nothing.
    pub(super) async fn prepare(&mut self, sql: &str) -> Result<Prepared, Failure> {
        self.command(PREPARE, sql.as_bytes()).await?;
        let answer = self.wire.receive().await?;
        if ServerError::is(&answer) {
            return Err(ServerError::read(&answer));
        }
        let mut bytes = Bytes::new(&answer);
        bytes.u8()?;
        let (id, columns, parameters) = (bytes.u32()?, bytes.u16()?, bytes.u16()?);
        for definitions in [parameters, columns] {
            if definitions > 0 {
                self.columns(definitions.into()).await?;
            }
        }
        Ok(Prepared { id, parameters })
    }

    /// Performs a prepared statement. One [`Done`] for each result.
    pub(super) async fn execute(
        &mut self,
        prepared: Prepared,
        params: &[Value],
        rows: &mut impl Rows,
    ) -> Result<Vec<Done>, Failure> {
        let mut content = prepared.id.to_le_bytes().to_vec();
        // No cursor, once.
        content.extend_from_slice(&[0, 1, 0, 0, 0]);
        values::put_parameters(&mut content, params);
        self.command(EXECUTE, &content).await?;
        self.results(rows).await
    }

    /// Performs a prepared statement, and reads past the rows that it gives.
    pub(super) async fn execute_for_counts(
        &mut self,
        prepared: Prepared,
        params: &[Value],
    ) -> Result<Vec<Done>, Failure> {
        self.execute(prepared, params, &mut Ignored).await
    }

    /// Says good-bye. Whether the server hears it changes nothing.
    pub(super) async fn quit(mut self) {
        let _ = self.command(QUIT, &[]).await;
    }

    async fn command(&mut self, command: u8, content: &[u8]) -> Result<(), Failure> {
        self.wire.command(&[&[command], content].concat()).await
    }

    async fn results(&mut self, rows: &mut impl Rows) -> Result<Vec<Done>, Failure> {
        let mut results = Vec::new();
        loop {
            let answer = self.wire.receive().await?;
            let done = match Answer::read(&answer)? {
                Answer::Done(done) => done,
                Answer::Result(count) => match self.rows(count, rows).await? {
                    Some(done) => done,
                    None => return Ok(results),
                },
            };
            results.push(done);
            if done.status & MORE_RESULTS == 0 {
                return Ok(results);
            }
        }
    }

    /// Reads one result; none when no more rows are wanted before its end.
    async fn rows(&mut self, columns: u64, rows: &mut impl Rows) -> Result<Option<Done>, Failure> {
        let columns = self.columns(columns).await?;
        rows.columns(&columns);
        let mut count = 0;
        loop {
            let content = self.wire.receive().await?;
            if ServerError::is(&content) {
                return Err(ServerError::read(&content));
            }
            if let Some((warnings, status)) = end(&content)? {
                return Ok(Some(Done { rows: count, status, warnings }));
            }
            count += 1;
            if !rows.row(&columns, &content)? {
                return Ok(None);
            }
        }
    }

    async fn columns(&mut self, count: u64) -> Result<Vec<Column>, Failure> {
        let mut columns = Vec::new();
        for _ in 0..count {
            columns.push(Column::read(&self.wire.receive().await?)?);
        }
        match end(&self.wire.receive().await?)? {
            Some(_) => Ok(columns),
            None => Err(Failure::Protocol("the columns of a result do not end".into())),
        }
    }
}

impl Column {
    /// The number of the character set of bytes.
    const BINARY: u16 = 63;
    const UNSIGNED: u16 = 0x20;

    fn read(content: &[u8]) -> Result<Self, Failure> {
        let mut bytes = Bytes::new(content);
        for _catalog_schema_and_tables in 0..4 {
            bytes.value()?;
        }
        let name = String::from_utf8_lossy(bytes.value()?).into_owned();
        let _name_in_table = bytes.value()?;
        let _length_of_the_rest = bytes.u8()?;
        let (character_set, _length, kind, flags) = (bytes.u16()?, bytes.u32()?, bytes.u8()?, bytes.u16()?);
        Ok(Self { name, kind, unsigned: flags & Self::UNSIGNED != 0, binary: character_set == Self::BINARY })
    }
}

/// Warnings and status, if this is the end of columns or rows.
fn end(content: &[u8]) -> Result<Option<(u16, u16)>, Failure> {
    if content.first() != Some(&END) || content.len() > END_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = Bytes::new(&content[1..]);
    Ok(Some((bytes.u16()?, bytes.u16()?)))
}
