//! What a failure says: its class, the server's SQLSTATE, and what is known about the effect.

use std::error::Error as _;
use std::io;

use surefoot_connector_api::{CallError, ErrorClass};
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity};

use crate::sql::stream;

/// A failure before any statement was sent.
pub(super) fn before_statement(error: &Error) -> CallError {
    let (class, message) = describe(error);
    with_code(CallError::not_sent(class, message), error)
}

/// A failure after a statement was sent. `undone`: it is proved that nothing was done.
pub(super) fn of_statement(error: &Error, undone: bool) -> CallError {
    let (class, message) = describe(error);
    let failure = if undone { CallError::rejected(class, message) } else { CallError::unknown(class, message) };
    with_code(failure, error)
}

/// `error`, which the client gave when its connection had ended with `broken`.
pub(super) fn cause(broken: &Error, error: CallError) -> CallError {
    let (class, message) = describe(broken);
    with_code(CallError { class, message, ..error }, broken)
}

/// Whether the server itself ended the statement with this error and its transaction with it. An error that ends the
/// connection may come after the commit.
pub(super) fn ends_statement(error: &Error) -> bool {
    let completion_unknown = |code: &str| code.starts_with("08") || code == "40003";
    error.as_db_error().is_some_and(|error| {
        error.parsed_severity() == Some(Severity::Error) && !completion_unknown(error.code().code())
    })
}

fn with_code(failure: CallError, error: &Error) -> CallError {
    match error.code() {
        Some(code) => failure.with_peer_code(code.code()),
        None => failure,
    }
}

fn describe(error: &Error) -> (ErrorClass, String) {
    if let Some(error) = error.as_db_error() {
        return (class_of(error.code().code()), text_of(error));
    }
    if error.is_closed() {
        return stream::describe_io(io::ErrorKind::UnexpectedEof, error);
    }
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        // The driver's kind for messages that are not formed as they should be.
        Some(source) if matches!(source.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
            stream::describe_io(io::ErrorKind::InvalidData, source)
        }
        Some(source) => stream::describe_io(source.kind(), source),
        None => (ErrorClass::Protocol, format!("the server's answer cannot be understood: {error}")),
    }
}

fn class_of(code: &str) -> ErrorClass {
    match code {
        // No such database.
        "3D000" => ErrorClass::NotFound,
        // The server shuts down, or does not take anybody in yet, as while another one takes over.
        "57P01" | "57P02" | "57P03" => ErrorClass::StaleTarget,
        // Of the whole class: wrong password, no such role, not from here.
        _ if code.starts_with("28") => ErrorClass::Auth,
        _ => ErrorClass::Refused,
    }
}

/// Message and hint. The detail quotes values of rows, which belong into no error.
fn text_of(error: &DbError) -> String {
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("server error {}: {}{hint}", error.code().code(), error.message())
}
