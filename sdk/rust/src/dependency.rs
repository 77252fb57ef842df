//! Started connections and child flows, and what became of them.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Failure, Result};
use crate::{host, json_text};

/// The status after success.
const SUCCESS: &str = "ENDED_SUCCESS";

/// What a wait for several dependencies waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReturnWhen {
    /// Until all have ended, however.
    AllEnded,
    /// Until all have succeeded; the first that did not is the error.
    #[default]
    AllSucceeded,
    /// Until one has ended.
    FirstEnded,
}

/// A connection or child flow that was started. Dropping it changes nothing: it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    id: String,
    name: String,
    is_connection: bool,
}

impl Dependency {
    pub(crate) fn connection(id: String, name: String) -> Self {
        Self { id, name, is_connection: true }
    }

    pub(crate) fn flow(id: String, name: String) -> Self {
        Self { id, name, is_connection: false }
    }

    /// The id of its execution.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name that people see.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until it has succeeded.
    ///
    /// # Errors
    /// [`Error::DependencyFailed`] if it ended otherwise.
    pub fn wait(&self) -> Result<Ended> {
        self.clone().into_ended()
    }

    /// Waits until it has succeeded, at most this long. It goes on after a timeout.
    ///
    /// # Errors
    /// [`Error::DependencyTimeout`] if it has not ended by then, [`Error::DependencyFailed`] if it failed.
    pub fn wait_at_most(&self, timeout: Duration) -> Result<Ended> {
        self.clone().ended(Some(timeout))
    }

    /// Asks it to end, and does not wait for that.
    ///
    /// # Errors
    /// Those of the host; one that has ended already is none.
    pub fn cancel(&self) -> Result<()> {
        host::cancel(&self.id)
    }

    /// Like [`wait`](Self::wait).
    pub(crate) fn into_ended(self) -> Result<Ended> {
        self.ended(None)
    }

    fn ended(self, timeout: Option<Duration>) -> Result<Ended> {
        if self.is_connection {
            let output = host::wait_connection(&self.id, timeout)?;
            return Ended::succeeded_with(self, &output);
        }
        let ended = host::wait(std::slice::from_ref(&self.id), ReturnWhen::AllSucceeded, timeout)?;
        let unsaid = || Error::other(format!("the host did not say how {} ended", self.name));
        let ended = ended.into_iter().next().ok_or_else(unsaid)?;
        Ended::from_host(ended, self.name)
    }
}

/// Waits for several; none at all have ended already.
pub(crate) fn wait_for<'a>(
    dependencies: impl IntoIterator<Item = &'a Dependency>,
    when: ReturnWhen,
    timeout: Option<Duration>,
) -> Result<Vec<Ended>> {
    let dependencies: Vec<&Dependency> = dependencies.into_iter().collect();
    if dependencies.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<String> = dependencies.iter().map(|dependency| dependency.id.clone()).collect();
    // Those that have ended come in the order in which they were asked for.
    let mut asked = dependencies.iter();
    host::wait(&ids, when, timeout)?
        .into_iter()
        .map(|ended| {
            let name = asked.find(|dependency| dependency.id == ended.execution_id);
            Ended::from_host(ended, name.map(|dependency| dependency.name.clone()).unwrap_or_default())
        })
        .collect()
}

/// A dependency that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// The id of its execution.
    pub execution_id: String,
    /// The name that people see.
    pub name: String,
    /// `ENDED_SUCCESS`, `ENDED_ERROR` or `ENDED_CANCELLED`.
    pub status: String,
    /// Stable code of the failure; empty after success.
    pub code: String,
    /// For people.
    pub message: String,
    /// What it returned; for most connectors an object.
    pub output: Value,
}

impl Ended {
    /// Whether it succeeded; after [`Connection::run`](crate::Connection::run) it always did.
    pub fn succeeded(&self) -> bool {
        self.status == SUCCESS
    }

    /// Itself if it succeeded, otherwise the error that `run` would have returned.
    ///
    /// # Errors
    /// [`Error::DependencyFailed`] if it did not succeed.
    pub fn ok(self) -> Result<Self> {
        if self.succeeded() {
            return Ok(self);
        }
        let Self { execution_id, name, status, code, message, output: _ } = self;
        Err(Error::DependencyFailed(Failure { execution_id, name, status, code, message }))
    }

    /// One field of the output.
    ///
    /// # Errors
    /// [`Error::UnexpectedData`] if the output has no such field or it is of another shape. A missing field reads
    /// as `None` of an `Option`.
    pub fn get<T: DeserializeOwned>(&self, field: &str) -> Result<T> {
        let value = self.output.get(field).cloned().unwrap_or(Value::Null);
        json_text::from_value(&format!("output `{field}` of {}", self.label()), value)
    }

    /// The whole output.
    ///
    /// # Errors
    /// [`Error::UnexpectedData`] if it is of another shape.
    pub fn output<T: DeserializeOwned>(&self) -> Result<T> {
        json_text::from_value(&format!("the output of {}", self.label()), self.output.clone())
    }

    fn from_host(ended: host::Ended, name: String) -> Result<Self> {
        let host::Ended { execution_id, status, code, message, output } = ended;
        let output = read_output(&output)?;
        Ok(Self { execution_id, name, status, code, message, output })
    }

    /// Of a connection: after success there is nothing else to be said of it.
    fn succeeded_with(Dependency { id, name, .. }: Dependency, output: &str) -> Result<Self> {
        let (code, message, output) = (String::new(), String::new(), read_output(output)?);
        Ok(Self { execution_id: id, name, status: SUCCESS.to_owned(), code, message, output })
    }

    fn label(&self) -> &str {
        if self.name.is_empty() { &self.execution_id } else { &self.name }
    }
}

fn read_output(text: &str) -> Result<Value> {
    if text.is_empty() { Ok(Value::Null) } else { json_text::decode("the output", text) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ended(status: &str, output: &str) -> Ended {
        let ended = host::Ended {
            execution_id: "0197".into(),
            status: status.into(),
            code: "network".into(),
            message: "connection reset".into(),
            output: output.into(),
        };
        Ended::from_host(ended, "read rows".into()).unwrap()
    }

    #[test]
    fn output_is_read_by_field_or_whole() {
        let ended = ended("ENDED_SUCCESS", r#"{"result": 1}"#);
        assert_eq!(ended.get::<u8>("result"), Ok(1));
        assert_eq!(ended.get::<Option<u8>>("rows"), Ok(None));
        assert_eq!(ended.output::<Value>(), Ok(json!({ "result": 1 })));
        let expected = "unexpected data: output `rows` of read rows: invalid type: null, expected u8";
        assert_eq!(ended.get::<u8>("rows").unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_failed_one_becomes_the_error_that_run_returns() {
        assert!(ended("ENDED_SUCCESS", "").ok().is_ok());
        let error = ended("ENDED_ERROR", "null").ok().unwrap_err();
        assert_eq!(error.to_string(), "read rows failed (network): connection reset");
    }

    #[test]
    fn waiting_for_none_needs_no_host() {
        assert_eq!(wait_for([], ReturnWhen::FirstEnded, None), Ok(Vec::new()));
    }
}
