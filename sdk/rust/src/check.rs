//! Checks: named assertions with their evidence.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::error::Result;
use crate::json_text;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    Pass,
    /// Not as it should be.
    Fail,
    /// Passes, but somebody should look.
    Warn,
    /// Not performed.
    Skip,
}

/// One named assertion with its evidence, for
/// [`Execution::check_result`](crate::Execution::check_result). Names are compared between runs, so keep them.
///
/// ```
/// use surefoot::prelude::*;
///
/// let check = CheckResult::warn("disk space").message("12 % left").data(json!({ "free_bytes": 12_000 }));
/// assert!(check.passed());
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a check counts when it is given to `check_result`"]
pub struct CheckResult {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) message: String,
    pub(crate) duration: Option<Duration>,
    pub(crate) data: Value,
}

impl CheckResult {
    /// A check that passed.
    pub fn pass(name: impl Into<String>) -> Self {
        Self::new(name, Outcome::Pass)
    }

    /// A check that failed.
    pub fn fail(name: impl Into<String>) -> Self {
        Self::new(name, Outcome::Fail)
    }

    /// A check that passed, but that somebody should look at.
    pub fn warn(name: impl Into<String>) -> Self {
        Self::new(name, Outcome::Warn)
    }

    /// A check that was not performed; give the reason as the message.
    pub fn skip(name: impl Into<String>) -> Self {
        Self::new(name, Outcome::Skip)
    }

    /// The check that a piece of work amounts to: its value is the evidence, its error the reason.
    pub fn of<T: Serialize>(name: impl Into<String>, result: &Result<T>) -> Self {
        match result {
            Ok(evidence) => Self::pass(name).data(evidence),
            Err(error) => Self::fail(name).message(error.to_string()).data(error.evidence()),
        }
    }

    /// For people: why it came out so.
    pub fn message(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// How long it took.
    pub fn duration(self, duration: Duration) -> Self {
        Self { duration: Some(duration), ..self }
    }

    /// The evidence: anything that can be serialised.
    pub fn data(self, data: impl Serialize) -> Self {
        Self { data: json_text::to_value_or_reason(data), ..self }
    }

    /// Whether it passed, with a warning or without.
    pub fn passed(&self) -> bool {
        matches!(self.outcome, Outcome::Pass | Outcome::Warn)
    }

    fn new(name: impl Into<String>, outcome: Outcome) -> Self {
        Self { name: name.into(), outcome, message: String::new(), duration: None, data: Value::Null }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::Error;

    #[test]
    fn work_becomes_a_check() {
        let passed = CheckResult::of("rows", &Ok(json!({ "rows": 3 })));
        assert_eq!((passed.outcome, passed.message.as_str()), (Outcome::Pass, ""));
        assert_eq!(passed.data, json!({ "rows": 3 }));

        let failed = CheckResult::of("rows", &Err::<(), _>(Error::NotFound("table `t`".into())));
        assert_eq!((failed.outcome, failed.message.as_str()), (Outcome::Fail, "not found: table `t`"));
        assert_eq!(failed.data, json!({ "code": "not_found" }));
        assert!(passed.passed() && !failed.passed());
    }

    #[test]
    fn a_skipped_check_has_not_passed() {
        assert!(!CheckResult::skip("x").passed());
        assert!(CheckResult::warn("x").passed());
    }
}
