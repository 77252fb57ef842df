//! Calls of connectors and of other flows: collect the inputs, then `run` or `start`.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::dependency::{Dependency, Ended};
use crate::error::{Error, Result};
use crate::retry::Retry;
use crate::{host, json_text};

/// What happens to a connector call whose outcome a crash of the host made unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnInterrupt {
    /// It ends with code `interrupted`, and the flow decides.
    #[default]
    Fail,
    /// It is performed again, although it may have been performed before.
    Retry,
}

/// A call of a connector, not started yet. Made by [`Execution::connect`](crate::Execution::connect).
///
/// ```no_run
/// # use surefoot::prelude::*;
/// # fn example(this: &Execution) -> Result<()> {
/// let one: u8 = this.connect("my-mssql-connector")
///     .name("count rows")
///     .input("fetchval", "SELECT 1 FROM tbl_my_table")
///     .timeout(Duration::from_secs(10))
///     .run()?
///     .get("result")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a call happens when `run` or `start` is called"]
pub struct Connection {
    connector: String,
    name: Option<String>,
    inputs: CallInputs,
    timeout: Option<Duration>,
    on_interrupt: OnInterrupt,
    policy: Policy,
}

/// What the engine is to do around the call, in place of what the connector says.
#[derive(Debug, Default, Serialize)]
struct Policy {
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<Retry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_ms: Option<u64>,
}

impl Connection {
    pub(crate) fn new(connector: String) -> Self {
        let (inputs, policy) = (CallInputs::default(), Policy::default());
        Self { connector, name: None, inputs, timeout: None, on_interrupt: OnInterrupt::Fail, policy }
    }

    /// The name that people see.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// One input. It overrides the stored one of that name.
    pub fn input(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        self.inputs.add(name.into(), value);
        self
    }

    /// Several inputs: a `json!` object, a map, or a struct.
    pub fn inputs(mut self, inputs: impl Serialize) -> Self {
        self.inputs.extend(inputs);
        self
    }

    /// How long an attempt may take; after that it ends with code `timeout` or `unknown_outcome`.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// What to do after a crash of the host in the middle of the call.
    pub fn on_interrupt(self, on_interrupt: OnInterrupt) -> Self {
        Self { on_interrupt, ..self }
    }

    /// Tries again after a failure, within this call.
    pub fn retry(self, retry: Retry) -> Self {
        Self { policy: Policy { retry: Some(retry), ..self.policy }, ..self }
    }

    /// Takes the result of an equal call that is no older than that, if there is one: only of calls that read, and none
    /// that wrote a file. The journal says when the result was got.
    pub fn cached_for(self, age: Duration) -> Self {
        let cache_ms = Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        Self { policy: Policy { cache_ms, ..self.policy }, ..self }
    }

    /// Starts the call and waits for its end.
    ///
    /// # Errors
    /// [`Error::DependencyFailed`] if it did not succeed, and those of [`start`](Self::start).
    pub fn run(self) -> Result<Ended> {
        self.start()?.into_ended()
    }

    /// Starts the call and goes on.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such connector, [`Error::InvalidInput`] or [`Error::ExtraInput`] if the
    /// inputs do not fit.
    pub fn start(self) -> Result<Dependency> {
        let Self { connector, name, inputs, timeout, on_interrupt, policy } = self;
        let inputs = inputs.into_text()?;
        let policy = match &policy {
            Policy { retry: None, cache_ms: None } => None,
            policy => Some(json_text::encode("the policy", policy)?),
        };
        let options = host::connection_options(name, timeout, on_interrupt);
        let id = host::start_connection(&connector, &inputs, &options, policy.as_deref())?;
        Ok(Dependency::connection(id, options.name.unwrap_or(connector)))
    }
}

/// A child execution of a flow, not started yet. Made by [`Execution::flow`](crate::Execution::flow).
///
/// ```no_run
/// # use surefoot::prelude::*;
/// # fn example(this: &Execution) -> Result<()> {
/// let total: f64 = this.flow("my-critical-flow-1").input("test", true).run()?.get("total")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a flow starts when `run` or `start` is called"]
pub struct FlowCall {
    flow: String,
    name: Option<String>,
    inputs: CallInputs,
    orphan: bool,
}

impl FlowCall {
    pub(crate) fn new(flow: String) -> Self {
        Self { flow, name: None, inputs: CallInputs::default(), orphan: false }
    }

    /// The name that people see.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// One input.
    pub fn input(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        self.inputs.add(name.into(), value);
        self
    }

    /// Several inputs: a `json!` object, a map, or a struct.
    pub fn inputs(mut self, inputs: impl Serialize) -> Self {
        self.inputs.extend(inputs);
        self
    }

    /// It goes on when this execution ends or is cancelled.
    pub fn orphan(self) -> Self {
        Self { orphan: true, ..self }
    }

    /// Starts the flow and waits for its end.
    ///
    /// # Errors
    /// [`Error::DependencyFailed`] if it did not succeed, and those of [`start`](Self::start).
    pub fn run(self) -> Result<Ended> {
        self.start()?.into_ended()
    }

    /// Starts the flow and goes on.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such flow, [`Error::InvalidInput`] if the inputs cannot be written as JSON.
    pub fn start(self) -> Result<Dependency> {
        let inputs = self.inputs.into_text()?;
        let options = host::FlowOptions { name: self.name, orphan: self.orphan };
        let id = host::start_flow(&self.flow, &inputs, &options)?;
        Ok(Dependency::flow(id, options.name.unwrap_or(self.flow)))
    }
}

/// Inputs as they are collected. The first one that cannot be written is kept as an error until the call
/// starts, so the methods that collect need no `?`.
#[derive(Debug, Default)]
struct CallInputs {
    map: Map<String, Value>,
    error: Option<Error>,
}

impl CallInputs {
    fn add(&mut self, name: String, value: impl Serialize) {
        match json_text::to_value(|| format!("input `{name}`"), value) {
            Ok(value) => drop(self.map.insert(name, value)),
            Err(error) => drop(self.error.get_or_insert(error)),
        }
    }

    fn extend(&mut self, inputs: impl Serialize) {
        match object("the inputs", inputs) {
            Ok(map) => self.map.extend(map),
            Err(error) => drop(self.error.get_or_insert(error)),
        }
    }

    fn into_text(self) -> Result<String> {
        match self.error {
            Some(error) => Err(error),
            None => json_text::encode("the inputs", &self.map),
        }
    }
}

/// Anything that serialises as a JSON object.
pub(crate) fn object(what: &str, value: impl Serialize) -> Result<Map<String, Value>> {
    match json_text::to_value(|| what.to_owned(), value)? {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other => Err(Error::InvalidInput(format!("{what} must be an object, not `{other}`"))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn inputs_are_merged_and_the_last_one_wins() {
        let mut inputs = CallInputs::default();
        inputs.add("src".into(), "a");
        inputs.extend(json!({ "dst": "b", "src": "c" }));
        inputs.add("dst".into(), "d");
        assert_eq!(inputs.into_text().unwrap(), r#"{"dst":"d","src":"c"}"#);
    }

    #[test]
    fn the_first_wrong_input_is_the_error_of_the_call() {
        let mut inputs = CallInputs::default();
        inputs.add("map".into(), HashMap::from([(vec![1], 2)]));
        inputs.extend(7);
        let expected = "invalid input: input `map` cannot be written as JSON: key must be a string";
        assert_eq!(inputs.into_text().unwrap_err().to_string(), expected);

        let call = Connection::new("type:echo".into()).inputs([1, 2]);
        assert_eq!(call.start().unwrap_err().to_string(), "invalid input: the inputs must be an object, not `[1,2]`");
    }
}
