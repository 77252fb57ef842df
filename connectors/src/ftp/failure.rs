//! What a failed step of a session means: the class of the error, and what is known about its effect.

use std::io::ErrorKind;
use std::time::Duration;

use suppaftp::types::Response;
use suppaftp::{FtpError, FtpResult, Status};
use surefoot_connector_api::{CallError, ErrorClass};

/// What a step is for; the same answer means different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Until the server has said hello.
    Greeting,
    /// Encrypting the control connection.
    Tls,
    /// Sending the credentials.
    Login,
    /// Whatever changes nothing at the server.
    Reading,
    /// Whatever may have changed something once it was sent.
    Changing,
}

/// Awaits one step within its time limit. `doing` completes "while …" and "… took longer than".
pub(super) async fn within<T>(
    limit: Duration,
    step: Step,
    doing: &str,
    work: impl Future<Output = FtpResult<T>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(|error| failure(step, doing, error)),
        Err(_) => Err(timed_out(step, doing, limit)),
    }
}

/// The error for a step that took too long.
pub(super) fn timed_out(step: Step, doing: &str, limit: Duration) -> CallError {
    lost(step, ErrorClass::Timeout, format!("{doing} took longer than {} s", limit.as_secs_f64()))
}

/// The error for a connection that broke during a step.
pub(super) fn cut(step: Step, doing: &str, error: &std::io::Error) -> CallError {
    lost(step, ErrorClass::Network, format!("the connection broke while {doing}: {error}"))
}

/// The reply code of an answer that was not the wanted one: `550`. None for any other error.
pub(super) fn reply_code(error: &FtpError) -> Option<u16> {
    match error {
        FtpError::UnexpectedResponse(response) => code_of(response),
        _ => None,
    }
}

/// What `error` means when it ends that step.
pub(super) fn failure(step: Step, doing: &str, error: FtpError) -> CallError {
    match error {
        FtpError::UnexpectedResponse(response) => refusal(step, doing, &response),
        FtpError::ConnectionError(error) => connection_failure(step, doing, error),
        FtpError::SecureError(error) => tls_failure(step, doing, &error),
        FtpError::BadResponse | FtpError::InvalidAddress(_) => {
            lost(step, ErrorClass::Protocol, format!("the answer while {doing} is not FTP"))
        }
        FtpError::DataConnectionAlreadyOpen => {
            lost(step, ErrorClass::Protocol, format!("a transfer was still open while {doing}"))
        }
    }
}

fn connection_failure(step: Step, doing: &str, error: std::io::Error) -> CallError {
    // The dialer's own error, on its way through the library.
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<CallError>()) {
        return error.clone();
    }
    match error.kind() {
        ErrorKind::InvalidInput => {
            CallError::not_sent(ErrorClass::InvalidInput, format!("cannot send what is needed for {doing}: {error}"))
        }
        ErrorKind::InvalidData => lost(step, ErrorClass::Protocol, format!("the answer while {doing}: {error}")),
        ErrorKind::TimedOut => lost(step, ErrorClass::Timeout, format!("the time ran out while {doing}")),
        _ => cut(step, doing, &error),
    }
}

fn tls_failure(step: Step, doing: &str, error: &str) -> CallError {
    // The library hands over text only; these words are rustls's for everything that concerns certificates.
    let class = if error.contains("peer certificate") {
        ErrorClass::Untrusted
    } else if error.contains("corrupt message") || error.contains("inappropriate") {
        ErrorClass::Protocol
    } else {
        ErrorClass::Network
    };
    let hint =
        if class == ErrorClass::Untrusted { "; give its authority in `server_ca` if it is your own" } else { "" };
    lost(step, class, format!("TLS failed while {doing}: {error}{hint}"))
}

fn refusal(step: Step, doing: &str, response: &Response) -> CallError {
    let Some(code) = code_of(response) else {
        return lost(step, ErrorClass::Protocol, format!("the answer while {doing} is not FTP"));
    };
    let said = String::from_utf8_lossy(&response.body);
    let said = said.trim_end();
    if !(400..600).contains(&code) {
        let message = format!("the server's answer does not fit while {doing}: {said}");
        return lost(step, ErrorClass::Protocol, message).with_peer_code(code);
    }
    let class = refusal_class(step, code, said);
    let hint = refusal_hint(step, class, said);
    CallError::rejected(class, format!("the server refused {doing}: {said}{hint}")).with_peer_code(code)
}

fn refusal_class(step: Step, code: u16, said: &str) -> ErrorClass {
    match (step, code) {
        (Step::Tls, _) => ErrorClass::Refused,
        (Step::Login, 430 | 530 | 532) => ErrorClass::Auth,
        (Step::Login, 550) => ErrorClass::Refused,
        // Too busy, going down, or the data connection did not come about: later it may be different.
        (_, 421 | 425 | 426 | 450 | 451) => ErrorClass::Network,
        (_, 530 | 532) => ErrorClass::Auth,
        (_, 550) if says_no_for_another_reason(said) => ErrorClass::Refused,
        (_, 550) => ErrorClass::NotFound,
        _ => ErrorClass::Refused,
    }
}

/// 550 is the only sign of a missing file, and it is also the answer to everything that is not allowed.
fn says_no_for_another_reason(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    ["permi", "denied", "exists", "not allowed", "not empty", "not a regular", "not a plain", "is a directory", "quota"]
        .iter()
        .any(|sign| said.contains(sign))
}

fn refusal_hint(step: Step, class: ErrorClass, said: &str) -> &'static str {
    let wants_tls = said.contains("TLS") || said.contains("SSL");
    match (step, class) {
        (Step::Tls, _) => "; if it offers no TLS, set `tls` to `none`",
        (Step::Login, ErrorClass::Refused) if wants_tls => "; set `tls` to `explicit`",
        (_, ErrorClass::Auth) => "; check `username` and `password`",
        _ => "",
    }
}

/// A failure after which nobody knows what the server did, if the step could change anything.
fn lost(step: Step, class: ErrorClass, message: String) -> CallError {
    match step {
        Step::Changing => CallError::unknown(class, message),
        Step::Greeting | Step::Tls | Step::Login | Step::Reading => CallError::not_sent(class, message),
    }
}

fn code_of(response: &Response) -> Option<u16> {
    if response.status != Status::Unknown {
        return u16::try_from(response.status.code()).ok();
    }
    // The library knows a part of the codes only.
    let digits = response.body.rsplit(|byte| *byte == b'\n').find(|line| line.len() >= 4)?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|code| (100..600).contains(code))
}

#[cfg(test)]
mod tests {
    use surefoot_connector_api::Sent;

    use super::*;

    fn said(step: Step, status: Status, body: &str) -> CallError {
        failure(step, "testing", FtpError::UnexpectedResponse(Response::new(status, body.as_bytes().to_vec())))
    }

    #[test]
    fn answers_mean_what_the_step_makes_of_them() {
        for (step, status, body, class) in [
            (Step::Login, Status::NotLoggedIn, "530 Login incorrect.", ErrorClass::Auth),
            (Step::Login, Status::FileUnavailable, "550 SSL/TLS required", ErrorClass::Refused),
            (Step::Tls, Status::NotLoggedIn, "530 Please login", ErrorClass::Refused),
            (Step::Reading, Status::FileUnavailable, "550 x: No such file or directory", ErrorClass::NotFound),
            (Step::Reading, Status::FileUnavailable, "550 x: Permission denied", ErrorClass::Refused),
            (Step::Changing, Status::FileUnavailable, "550 d: File exists", ErrorClass::Refused),
            (Step::Reading, Status::TransferAborted, "426 cut", ErrorClass::Network),
            (Step::Greeting, Status::NotAvailable, "421 too many users", ErrorClass::Network),
            (Step::Changing, Status::ExceededStorage, "552 quota", ErrorClass::Refused),
            (Step::Login, Status::Unknown, "534 TLS please", ErrorClass::Refused),
        ] {
            let error = said(step, status, body);
            assert_eq!((error.class, error.sent), (class, Sent::Rejected), "{body}: {error}");
            assert_eq!(error.peer_code.as_deref(), Some(&body[..3]), "{body}");
        }
    }

    #[test]
    fn an_answer_out_of_place_is_unknown_only_where_something_may_have_changed() {
        let error = said(Step::Changing, Status::AboutToSend, "150 what?");
        assert_eq!((error.class, error.sent), (ErrorClass::Protocol, Sent::Unknown));
        let error = said(Step::Reading, Status::Unknown, "999 what?");
        assert_eq!((error.class, error.sent), (ErrorClass::Protocol, Sent::No));
        let error = said(Step::Reading, Status::FileUnavailable, "550-a\r\n550 b\r\n");
        assert!(error.message.ends_with("550-a\r\n550 b"), "{error}");
    }
}
