//! Errors that carry an exit code and a hint. Everything else that goes wrong is internal.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;
use surefoot_engine::{ComponentError, EngineError};

use crate::exit_codes;

/// Why a command cannot go on: what happened, what to do about it, how to tell the shell.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    /// One of [`exit_codes`].
    pub(crate) exit_code: u8,
}

const TOKEN_HINT: &str = "Pass --token, or set SUREFOOT_TOKEN; it is in the file `token` of the server's data folder.";

impl Failure {
    /// The command cannot be done as it was asked.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit_code: exit_codes::USAGE }
    }

    /// Nobody is there to do it.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit_code: exit_codes::UNAVAILABLE }
    }

    /// What the file system says of a place that the user named.
    pub(crate) fn place(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        let message = format!("cannot {doing} {}: {error}", path.display());
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                Self::unavailable(message).hint("Make room on that disk, or name another place.")
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Self::usage(message).hint("Name a place that is yours to use.")
            }
            _ => Self::usage(message).hint("Name another place."),
        }
    }

    /// With a sentence that says what to do.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// From a problem document (RFC 9457) that answered a request with `status`.
    pub(crate) fn from_problem(status: u16, problem: &Value) -> Self {
        let text = |field: &str| problem[field].as_str().map(str::to_owned);
        let message =
            text("detail").or_else(|| text("title")).unwrap_or_else(|| format!("the server answered {status}"));
        let hint = match status {
            // The server explains the header; here it is an option.
            401 => Some(TOKEN_HINT.to_owned()),
            _ => text("hint"),
        };
        let exit_code = match status {
            502..=504 => exit_codes::UNAVAILABLE,
            400..=499 => exit_codes::USAGE,
            _ => exit_codes::INTERNAL,
        };
        Self { message, hint, exit_code }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        match &error {
            EngineError::Unavailable(_) => Self::unavailable(message).hint("Look at the server's log, and try again."),
            EngineError::Held { .. } => Self::unavailable(message).hint(
                "A server on this workspace answers on its socket: if it is just starting, try again in a moment.",
            ),
            EngineError::Io { source, .. } if is_no_folder(source.kind()) => {
                Self::usage(message).hint("Name a folder with --data that is there or can be made.")
            }
            EngineError::Io { source, .. } | EngineError::Component(ComponentError::Io { source, .. })
                if let Some(hint) = what_to_do(source.kind()) =>
            {
                Self::unavailable(message).hint(hint)
            }
            EngineError::DiskFull => Self::unavailable(message).hint(MAKE_ROOM),
            EngineError::Damaged(_) => Self { message, hint: None, exit_code: exit_codes::INTERNAL }
                .hint("`surefoot doctor` says what is damaged, and what to do."),
            EngineError::Refused(_) | EngineError::Component(_) => Self::usage(message),
            EngineError::Io { .. } | EngineError::Failed(_) => {
                Self { message, hint: None, exit_code: exit_codes::INTERNAL }
            }
        }
    }
}

const MAKE_ROOM: &str = "Make room on the disk of the data folder.";

/// Whether something stands where a folder was wanted, or none can be made there.
fn is_no_folder(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotADirectory | ErrorKind::AlreadyExists | ErrorKind::NotFound)
}

/// What a user can do about the file system.
fn what_to_do(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::PermissionDenied => {
            Some("The data folder must belong to you and be writable; or choose another one with --data.")
        }
        ErrorKind::ReadOnlyFilesystem => {
            Some("The data folder must be writable: mount it so, or choose another one with --data.")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(MAKE_ROOM),
        _ => None,
    }
}

/// What a user is told of any error: the lines for standard error and the exit code.
pub(crate) struct Report {
    /// The whole chain, outermost first, on one line.
    pub(crate) message: String,
    /// What to do, where somebody knows.
    pub(crate) hint: Option<String>,
    /// One of [`exit_codes`].
    pub(crate) exit_code: u8,
}

/// The first [`Failure`] in the chain decides about code and hint.
pub(crate) fn report(error: &anyhow::Error) -> Report {
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    Report {
        message: format!("{error:#}"),
        hint: failure.and_then(|failure| failure.hint.clone()),
        exit_code: failure.map_or(exit_codes::INTERNAL, |failure| failure.exit_code),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn problems_become_codes_and_hints() {
        let cases = [
            (
                404,
                json!({"detail": "there is no flow `x`", "hint": "Deploy it."}),
                exit_codes::USAGE,
                "there is no flow `x`",
                Some("Deploy it."),
            ),
            (503, json!({"title": "degraded"}), exit_codes::UNAVAILABLE, "degraded", None),
            (500, json!("?"), exit_codes::INTERNAL, "the server answered 500", None),
        ];
        for (status, problem, exit_code, message, hint) in cases {
            let failure = Failure::from_problem(status, &problem);
            assert_eq!(
                (failure.exit_code, failure.message.as_str(), failure.hint.as_deref()),
                (exit_code, message, hint)
            );
        }
        assert!(Failure::from_problem(401, &json!({})).hint.unwrap().contains("--token"));
    }

    #[test]
    fn a_failure_inside_a_chain_is_found() {
        let error =
            anyhow::Error::from(Failure::unavailable("nobody there").hint("Start it.")).context("cannot list flows");
        let report = report(&error);
        assert_eq!(report.message, "cannot list flows: nobody there");
        assert_eq!((report.hint.as_deref(), report.exit_code), (Some("Start it."), exit_codes::UNAVAILABLE));
        let other = Err::<(), _>(std::io::Error::other("disk")).context("cannot write").unwrap_err();
        assert_eq!(super::report(&other).exit_code, exit_codes::INTERNAL);
    }
}
