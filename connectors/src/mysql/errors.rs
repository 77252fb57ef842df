//! What a failure says: its class, the server's number, and what is known about the effect.

use std::io;

use surefoot_connector_api::{CallError, ErrorClass};

use super::packet::Bytes;
use crate::sql::stream;

/// Raised while a statement is read or looked up, before any of it is done.
const BEFORE_ANYTHING: [u16; 8] = [
    1044, // no access to the database
    1050, // the table exists
    1054, // no such column
    1064, // no SQL
    1142, // no right to the table
    1143, // no right to the column
    1146, // no such table
    1227, // no right to do that at all
];

/// Why something failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server said no.
    Server(ServerError),
    /// The connection broke.
    Io(io::Error),
    /// What the server sent is not formed as it should be.
    Protocol(String),
    /// The inputs do not fit what the server says of a statement.
    Misfit(String),
    /// Something that already says of itself what it means. What is left of an answer was not read.
    Unusable(CallError),
}

/// An error of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerError {
    pub(super) number: u16,
    /// Five characters; empty before the login.
    pub(super) state: String,
    pub(super) message: String,
}

impl ServerError {
    /// Whether an answer is an error.
    pub(super) fn is(content: &[u8]) -> bool {
        content.first() == Some(&0xFF)
    }

    /// The error that an answer is.
    pub(super) fn read(content: &[u8]) -> Failure {
        match Self::parts(content) {
            Ok(error) => Failure::Server(error),
            Err(failure) => failure,
        }
    }

    fn parts(content: &[u8]) -> Result<Self, Failure> {
        let mut bytes = Bytes::new(content);
        bytes.u8()?;
        let number = bytes.u16()?;
        let rest = bytes.rest();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(match rest.strip_prefix(b"#").and_then(|rest| rest.split_at_checked(5)) {
            Some((state, message)) => Self { number, state: text(state), message: text(message) },
            None => Self { number, state: String::new(), message: text(rest) },
        })
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Unusable(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Failure {
    /// Whether the server said so before it did anything, of a text that is one statement.
    pub(super) fn is_before_anything(&self) -> bool {
        matches!(self, Self::Server(error) if BEFORE_ANYTHING.contains(&error.number))
    }

    /// Whether the connection can still be used.
    pub(super) fn leaves_connection(&self) -> bool {
        matches!(self, Self::Server(_) | Self::Misfit(_))
    }

    /// Whether it is the server that said no.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Server(_))
    }

    /// A failure before any statement was sent.
    pub(super) fn before_statement(self) -> CallError {
        self.error(CallError::not_sent)
    }

    /// A failure after a statement was sent. `undone`: it is proved that nothing was done.
    pub(super) fn of_statement(self, undone: bool) -> CallError {
        self.error(if undone { CallError::rejected } else { CallError::unknown })
    }

    fn error(self, make: fn(ErrorClass, String) -> CallError) -> CallError {
        match self {
            Self::Server(error) => {
                let ServerError { number, state, message } = &error;
                let state = if state.is_empty() { String::new() } else { format!(" ({state})") };
                make(class_of(*number), format!("server error {number}{state}: {message}")).with_peer_code(number)
            }
            Self::Io(error) => {
                let (class, message) = stream::describe_io(error.kind(), &error);
                make(class, message)
            }
            Self::Protocol(why) => {
                make(ErrorClass::Protocol, format!("the server's answer cannot be understood: {why}"))
            }
            Self::Misfit(why) => make(ErrorClass::InvalidInput, why),
            Self::Unusable(error) => error,
        }
    }
}

fn class_of(number: u16) -> ErrorClass {
    match number {
        // Wrong password; not this database; not from this host; by other means only; expired; locked, twice.
        1045 | 1044 | 1130 | 1698 | 1820 | 1862 | 3118 | 4151 => ErrorClass::Auth,
        // No such database.
        1049 => ErrorClass::NotFound,
        // The server shuts down, or has become one that only reads.
        1053 | 1836 => ErrorClass::StaleTarget,
        _ => ErrorClass::Refused,
    }
}
