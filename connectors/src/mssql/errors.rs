//! What a failure says: its class, the server's number, and what is known about the effect.

use std::io;

use surefoot_connector_api::{CallError, ErrorClass};
use tiberius::error::{Error, TokenError};

use crate::sql::stream;

/// Up to this severity an error ends a statement; above, it ends the connection, and what had happened is not certain.
const STATEMENT_SEVERITY_MAX: u8 = 19;
/// From this number on, errors are raised by users' own code, which may carry on or commit as it likes.
const FIRST_USER_NUMBER: u32 = 50_000;
/// A trigger ended the transaction, and may have committed it.
const ENDED_IN_TRIGGER: [u32; 2] = [3609, 3616];

/// A failure before any statement was sent.
pub(super) fn before_statement(error: Error) -> CallError {
    let (class, message, number) = describe(error);
    with_number(CallError::not_sent(class, message), number)
}

/// A failure after a statement was sent. `undone`: it is proved that nothing was done.
pub(super) fn of_statement(error: Error, undone: bool) -> CallError {
    let (class, message, number) = describe(error);
    let error = if undone { CallError::rejected(class, message) } else { CallError::unknown(class, message) };
    with_number(error, number)
}

/// Whether the server itself ended the statement with this error, by its own rules: what the statement had done so far
/// is undone then. What a procedure or trigger raises proves nothing; its statement may well stand.
pub(super) fn ends_statement(error: &Error) -> bool {
    match error {
        Error::Server(token) => {
            token.class() <= STATEMENT_SEVERITY_MAX
                && token.code() < FIRST_USER_NUMBER
                && !ENDED_IN_TRIGGER.contains(&token.code())
                && token.procedure().is_empty()
        }
        _ => false,
    }
}

fn with_number(error: CallError, number: Option<u32>) -> CallError {
    match number {
        Some(number) => error.with_peer_code(number),
        None => error,
    }
}

fn describe(error: Error) -> (ErrorClass, String, Option<u32>) {
    match error {
        Error::Server(token) => (class_of(token.code()), text_of(&token), Some(token.code())),
        Error::Tls(text) => (ErrorClass::Untrusted, tls_text(&text), None),
        Error::Io { kind, message } => {
            let (class, message) = describe_io(kind, &message);
            (class, message, None)
        }
        Error::Routing { host, port } => {
            let message =
                format!("the server sends its clients on to {host}:{port}; set `hostname` and `port` to that");
            (ErrorClass::StaleTarget, message, None)
        }
        other => (ErrorClass::Protocol, format!("the server's answer cannot be understood: {other}"), None),
    }
}

fn class_of(number: u32) -> ErrorClass {
    match number {
        // Login failed; untrusted domain; disabled; locked; expired; must be changed.
        18456 | 18452 | 18470 | 18486 | 18487 | 18488 => ErrorClass::Auth,
        // The database moves to another machine, or is not there right now.
        40197 | 40613 => ErrorClass::StaleTarget,
        // No such database, or none for this login.
        4060 => ErrorClass::NotFound,
        _ => ErrorClass::Refused,
    }
}

fn text_of(token: &TokenError) -> String {
    let (number, severity, state) = (token.code(), token.class(), token.state());
    format!("server error {number} (severity {severity}, state {state}): {}", token.message())
}

/// The driver's text without its advice, which names the driver's functions and not our inputs.
fn tls_text(text: &str) -> String {
    let what = text.split(" To connect anyway").next().unwrap_or(text).trim_end_matches('.');
    format!("{what}; give its CA, or the certificate itself when it is self-signed, in `server_ca`")
}

fn describe_io(kind: io::ErrorKind, message: &str) -> (ErrorClass, String) {
    match kind {
        // The driver hides the cause of a failed read in this kind, and tells it in the text only.
        io::ErrorKind::BrokenPipe if message.starts_with("Protocol error") => {
            stream::describe_io(io::ErrorKind::InvalidData, &message)
        }
        _ => stream::describe_io(kind, &message),
    }
}
