//! What a failed request means: the class of the error, and what is known about its effect.

use std::time::Duration;

use russh_sftp::client::error::Error;
use russh_sftp::client::rawsession::SftpResult;
use russh_sftp::protocol::{Status, StatusCode};
use surefoot_connector_api::{CallError, ErrorClass};

/// What a request is for; the same failure means different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It changes nothing at the server.
    Reading,
    /// It may have changed something once it was sent.
    Changing,
}

/// Awaits one answer within its time limit. `doing` completes "while …" and "… took longer than".
pub(super) async fn within<T>(
    limit: Duration,
    step: Step,
    doing: &str,
    answer: impl Future<Output = SftpResult<T>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(result) => result.map_err(|error| failure(step, doing, &error)),
        Err(_) => {
            let message = format!("{doing} took longer than {} s; see `socket_timeout`", limit.as_secs_f64());
            Err(lost(step, ErrorClass::Timeout, message))
        }
    }
}

/// What `error` means when it ends that step.
pub(super) fn failure(step: Step, doing: &str, error: &Error) -> CallError {
    match error {
        Error::Status(status) => refusal(doing, status),
        Error::UnexpectedPacket | Error::Limited(_) => {
            lost(step, ErrorClass::Protocol, format!("the server's answer does not fit while {doing}: {error}"))
        }
        // The library says no more about it; its texts name its own insides.
        Error::IO(_) | Error::Timeout | Error::UnexpectedBehavior(_) => {
            lost(step, ErrorClass::Network, format!("the connection ended while {doing}"))
        }
    }
}

/// A failure after which nobody knows what the server did, if the step could change anything.
pub(super) fn lost(step: Step, class: ErrorClass, message: String) -> CallError {
    match step {
        Step::Changing => CallError::unknown(class, message),
        Step::Reading => CallError::not_sent(class, message),
    }
}

fn refusal(doing: &str, status: &Status) -> CallError {
    let class = match status.status_code {
        StatusCode::NoSuchFile => ErrorClass::NotFound,
        StatusCode::NoConnection | StatusCode::ConnectionLost => ErrorClass::Network,
        StatusCode::BadMessage | StatusCode::Ok | StatusCode::Eof => ErrorClass::Protocol,
        StatusCode::PermissionDenied | StatusCode::Failure | StatusCode::OpUnsupported => ErrorClass::Refused,
    };
    let said = &status.error_message;
    let said = if said.trim().is_empty() { &status.status_code.to_string() } else { said };
    let message = format!("the server refused {doing}: {said}");
    CallError::rejected(class, message).with_peer_code(status.status_code as u32)
}

#[cfg(test)]
mod tests {
    use surefoot_connector_api::Sent;

    use super::*;

    #[test]
    fn a_status_is_a_refusal_and_anything_else_leaves_a_change_open() {
        let status = |status_code| {
            let error_message = "No such file".to_owned();
            Error::Status(Status { id: 1, status_code, error_message, language_tag: String::new() })
        };
        let error = failure(Step::Changing, "deleting", &status(StatusCode::NoSuchFile));
        assert_eq!((error.class, error.sent), (ErrorClass::NotFound, Sent::Rejected));
        assert_eq!(error.message, "the server refused deleting: No such file");
        assert_eq!(error.peer_code.as_deref(), Some("2"));
        for (step, sent) in [(Step::Reading, Sent::No), (Step::Changing, Sent::Unknown)] {
            let error = failure(step, "testing", &Error::UnexpectedBehavior("session closed".into()));
            assert_eq!((error.class, error.sent), (ErrorClass::Network, sent));
            assert_eq!(failure(step, "testing", &Error::UnexpectedPacket).class, ErrorClass::Protocol);
        }
    }
}
