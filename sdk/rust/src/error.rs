//! What can go wrong in a flow: one enum, whose cases a flow can tell apart.

use std::fmt;

use serde_json::{Value, json};

/// A result whose error is [`Error`] unless said otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call did not do what was asked.
///
/// ```
/// use surefoot::{Error, Failure};
///
/// let error = Error::DependencyFailed(Failure {
///     execution_id: "0197".into(),
///     name: "send mail".into(),
///     status: "ENDED_ERROR".into(),
///     code: "auth".into(),
///     message: "the server refused the password".into(),
/// });
/// assert!(error.is_dependency_failed());
/// assert_eq!(error.to_string(), "send mail failed (auth): the server refused the password");
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A child flow or a connection ended without success.
    #[error("{0}")]
    DependencyFailed(Failure),
    /// A wait ran into its timeout; the ids of the dependencies that have not ended.
    #[error("no end within the timeout: {}", .0.join(", "))]
    DependencyTimeout(Vec<String>),
    /// No signal of this name came within the timeout.
    #[error("no signal within the timeout: {0}")]
    SignalTimeout(String),
    /// Another execution held the lock for the whole time.
    #[error("{0}")]
    LockTimeout(String),
    /// The wait for the lock would never have ended: others wait for what this execution holds.
    #[error("deadlock: {0}")]
    Deadlock(String),
    /// Nothing has that name or id.
    #[error("not found: {0}")]
    NotFound(String),
    /// An input is missing or of the wrong shape.
    #[error("invalid input: {0}")]
    InvalidInput(String),
    /// An input that nobody asked for.
    #[error("unknown input: {0}")]
    ExtraInput(String),
    /// The role of this execution does not allow it.
    #[error("permission denied: {0}")]
    PermissionDenied(String),
    /// The record changed meanwhile, or a name is taken.
    #[error("conflict: {0}")]
    Conflict(String),
    /// A limit of this execution or of the workspace.
    #[error("limit exceeded: {0}")]
    LimitExceeded(String),
    /// A value is not of the shape that the flow asked for.
    #[error("unexpected data: {0}")]
    UnexpectedData(String),
    /// Anything a flow itself finds wrong, in its own words.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// An error in the flow's own words; also turns the error of another crate into this one:
    /// `text.parse::<u32>().map_err(Error::other)?`.
    pub fn other(message: impl fmt::Display) -> Self {
        Self::Other(message.to_string())
    }

    /// Whether a child flow or a connection ended without success.
    pub fn is_dependency_failed(&self) -> bool {
        matches!(self, Self::DependencyFailed(_))
    }

    /// Whether a wait, for dependencies, a signal or a lock, ran into its timeout.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::DependencyTimeout(_) | Self::SignalTimeout(_) | Self::LockTimeout(_))
    }

    /// What failed, if a dependency did.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::DependencyFailed(failure) => Some(failure),
            _ => None,
        }
    }

    /// A stable name of the case, for programs: `dependency_failed`, `not_found`, …
    pub fn code(&self) -> &'static str {
        match self {
            Self::DependencyFailed(_) => "dependency_failed",
            Self::DependencyTimeout(_) => "dependency_timeout",
            Self::SignalTimeout(_) => "signal_timeout",
            Self::LockTimeout(_) => "lock_timeout",
            Self::Deadlock(_) => "deadlock",
            Self::NotFound(_) => "not_found",
            Self::InvalidInput(_) => "invalid_input",
            Self::ExtraInput(_) => "extra_input",
            Self::PermissionDenied(_) => "permission_denied",
            Self::Conflict(_) => "conflict",
            Self::LimitExceeded(_) => "limit_exceeded",
            Self::UnexpectedData(_) => "unexpected_data",
            Self::Other(_) => "error",
        }
    }

    /// The error as evidence of a check: its code, and the execution to look at if a dependency failed.
    pub(crate) fn evidence(&self) -> Value {
        match self {
            Self::DependencyFailed(failure) => json!({
                "code": self.code(),
                "execution_id": failure.execution_id,
                "failure_code": failure.code,
                "status": failure.status,
            }),
            Self::DependencyTimeout(ids) => json!({ "code": self.code(), "execution_ids": ids }),
            _ => json!({ "code": self.code() }),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(Self::other)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::UnexpectedData(error.to_string())
    }
}

/// A dependency that ended without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The execution to look at.
    pub execution_id: String,
    /// Its display name.
    pub name: String,
    /// `ENDED_ERROR` or `ENDED_CANCELLED`.
    pub status: String,
    /// Stable, for programs: `auth`, `network`, `interrupted`, `unknown_outcome`, …
    pub code: String,
    /// For people.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { &self.execution_id } else { &self.name };
        let what = if self.status == "ENDED_CANCELLED" { "was cancelled" } else { "failed" };
        write!(f, "{name} {what}")?;
        if !self.code.is_empty() {
            write!(f, " ({})", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// Returns an [`Error::Other`](crate::Error::Other) from the function or check unless the condition holds.
///
/// ```
/// use surefoot::prelude::*;
///
/// fn plausible(rows: u64) -> Result<()> {
///     ensure!(rows > 0, "expected rows, found {rows}");
///     Ok(())
/// }
/// assert_eq!(plausible(0).unwrap_err().to_string(), "expected rows, found 0");
/// assert!(plausible(1).is_ok());
/// ```
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return ::std::result::Result::Err($crate::Error::Other(::std::format!($($text)+)));
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: &str, code: &str, message: &str) -> Failure {
        Failure {
            execution_id: "0197".into(),
            name: "send mail".into(),
            status: status.into(),
            code: code.into(),
            message: message.into(),
        }
    }

    #[test]
    fn failures_read_like_sentences() {
        let cases = [
            (failure("ENDED_ERROR", "auth", "refused"), "send mail failed (auth): refused"),
            (failure("ENDED_CANCELLED", "", ""), "send mail was cancelled"),
            (Failure { name: String::new(), ..failure("ENDED_ERROR", "", "refused") }, "0197 failed: refused"),
        ];
        for (failure, expected) in cases {
            assert_eq!(Error::DependencyFailed(failure).to_string(), expected);
        }
    }

    #[test]
    fn every_case_says_what_it_is() {
        let cases = [
            (Error::DependencyTimeout(vec!["a".into(), "b".into()]), "no end within the timeout: a, b"),
            (Error::SignalTimeout("approved".into()), "no signal within the timeout: approved"),
            (Error::LockTimeout("timed out".into()), "timed out"),
            (Error::Deadlock("two wait".into()), "deadlock: two wait"),
            (Error::NotFound("setting `x`".into()), "not found: setting `x`"),
            (Error::InvalidInput("`src` is missing".into()), "invalid input: `src` is missing"),
            (Error::ExtraInput("`scr`, did you mean `src`?".into()), "unknown input: `scr`, did you mean `src`?"),
            (Error::PermissionDenied("author".into()), "permission denied: author"),
            (Error::Conflict("revision 3".into()), "conflict: revision 3"),
            (Error::LimitExceeded("fan_out_max".into()), "limit exceeded: fan_out_max"),
            (Error::other("no rows"), "no rows"),
        ];
        for (error, expected) in cases {
            assert_eq!(error.to_string(), expected);
            assert!(!error.is_dependency_failed());
        }
    }

    #[test]
    fn an_error_survives_a_reader() {
        let denied = Error::PermissionDenied("file `x`".into());
        assert_eq!(Error::from(std::io::Error::other(denied.clone())), denied);
        let not_ours = std::io::Error::new(std::io::ErrorKind::InvalidData, "not UTF-8");
        assert_eq!(Error::from(not_ours), Error::Other("not UTF-8".into()));
    }

    #[test]
    fn evidence_leads_to_the_execution() {
        let error = Error::DependencyFailed(failure("ENDED_ERROR", "auth", "refused"));
        assert_eq!(
            error.evidence(),
            json!({ "code": "dependency_failed", "execution_id": "0197", "failure_code": "auth",
            "status": "ENDED_ERROR" })
        );
        assert_eq!(Error::other("x").evidence(), json!({ "code": "error" }));
    }
}
