//! `this`: the execution that runs the flow.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ask::{Ask, Signal};
use crate::call::{Connection, FlowCall};
use crate::check::CheckResult;
use crate::dependency::{self, Dependency, Ended, ReturnWhen};
use crate::error::Result;
use crate::log::Level;
use crate::on_end::OnEnd;
use crate::response::Response;
use crate::retry::{self, Retry};
use crate::{host, json_text};

/// The running execution: calls, waits, reports, and ways to end. A handler gets it as `this`.
#[derive(Debug)]
pub struct Execution(());

/// Calls and waits.
impl Execution {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// Prepares a call of a stored connector, by name; `type:NAME` is a connector type without stored
    /// configuration.
    pub fn connect(&self, connector: impl Into<String>) -> Connection {
        Connection::new(connector.into())
    }

    /// Prepares a child execution of a flow, by name or id.
    pub fn flow(&self, flow: impl Into<String>) -> FlowCall {
        FlowCall::new(flow.into())
    }

    /// Waits for several dependencies. Returns those that have ended, in the order given.
    ///
    /// ```no_run
    /// # use surefoot::prelude::*;
    /// # fn example(this: &Execution) -> Result<()> {
    /// let orders = this.connect("shop").input("path", "/orders").start()?;
    /// let stock = this.connect("warehouse").input("path", "/stock").start()?;
    /// let ended = this.wait_for(&[orders, stock], ReturnWhen::AllSucceeded)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::DependencyFailed`](crate::Error::DependencyFailed) with [`ReturnWhen::AllSucceeded`] only.
    pub fn wait_for<'a>(
        &self,
        dependencies: impl IntoIterator<Item = &'a Dependency>,
        when: ReturnWhen,
    ) -> Result<Vec<Ended>> {
        dependency::wait_for(dependencies, when, None)
    }

    /// Waits for several dependencies, at most this long. They go on after a timeout.
    ///
    /// # Errors
    /// [`Error::DependencyTimeout`](crate::Error::DependencyTimeout), and those of [`wait_for`](Self::wait_for).
    pub fn wait_for_at_most<'a>(
        &self,
        dependencies: impl IntoIterator<Item = &'a Dependency>,
        when: ReturnWhen,
        timeout: Duration,
    ) -> Result<Vec<Ended>> {
        dependency::wait_for(dependencies, when, Some(timeout))
    }

    /// Does something until it succeeds, again after failures that the policy names, with durable sleeps between the
    /// attempts, which are counted from 1. The steps of each attempt stand in the journal.
    ///
    /// ```no_run
    /// # use surefoot::prelude::*;
    /// # fn example(this: &Execution) -> Result<()> {
    /// let retry = Retry::attempts(10).backoff(Duration::from_secs(60)).on(["network", "my-critical-flow-failed"]);
    /// this.retry(&retry, |_attempt| this.flow("my-critical-flow-1").run())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// That of the last attempt. An error that is no failure of a dependency is never followed by another attempt.
    #[expect(clippy::disallowed_methods, reason = "in a guest it is the execution's own clock")]
    pub fn retry<T>(&self, retry: &Retry, attempt: impl FnMut(u32) -> Result<T>) -> Result<T> {
        let first = std::time::Instant::now();
        let pause = |pause, error: &crate::Error| self.sleep(pause, &format!("tries again after: {error}"));
        retry::until_it_succeeds(retry, attempt, || first.elapsed(), pause)
    }

    /// Waits for a signal of that name, or takes one that came before.
    ///
    /// ```no_run
    /// # use surefoot::prelude::*;
    /// # fn example(this: &Execution) -> Result<()> {
    /// let signal = this.wait_signal::<Value>("approved", Duration::from_secs(3600))?;
    /// info!("approved by {}", signal.sender);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::SignalTimeout`](crate::Error::SignalTimeout); without a timeout (`None`) it waits for ever.
    /// [`Error::UnexpectedData`](crate::Error::UnexpectedData) if the payload is of another shape; the signal is used
    /// up then.
    pub fn wait_signal<T: DeserializeOwned>(
        &self,
        name: &str,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Signal<T>> {
        Signal::received(name, host::wait_signal(name, timeout.into())?)
    }

    /// Prepares a question, whose answer is a signal of that name: with a schema, a time, and who may answer. Use a
    /// name for questions or for [`wait_signal`](Self::wait_signal), not for both.
    ///
    /// ```no_run
    /// # use surefoot::prelude::*;
    /// # fn example(this: &Execution) -> Result<()> {
    /// let answer = this
    ///     .signal("deploy")
    ///     .message("Deploy version 7 to production?")
    ///     .field("go", json!({"type": "boolean", "title": "Deploy"}))
    ///     .roles(["author"])
    ///     .timeout(Duration::from_secs(24 * 3600))
    ///     .wait::<Value>()?;
    /// ensure!(answer.payload["go"] == true, "{} said no", answer.sender);
    /// # Ok(())
    /// # }
    /// ```
    pub fn signal(&self, name: impl Into<String>) -> Ask {
        Ask::new(name.into())
    }

    /// Sleeps. Never wakes early, and costs nothing however long it is; survives restarts of the host.
    /// The message says why.
    pub fn sleep(&self, duration: Duration, message: &str) {
        host::sleep(duration, message);
    }

    /// Sleeps until that time, which is most often some time after [`now`](Self::now).
    pub fn sleep_until(&self, due: SystemTime, message: &str) {
        host::sleep_until(due, message);
    }

    /// Registers what the engine does at this execution's end, whatever the end is.
    pub fn on_end(&self) -> OnEnd {
        OnEnd::new()
    }
}

/// What the execution knows and tells.
impl Execution {
    /// The time: the journal's, so it is the same when the flow is run again after a crash. It never goes back, and
    /// moves only with the calls of the host.
    pub fn now(&self) -> SystemTime {
        #[expect(clippy::disallowed_methods, reason = "a flow's only clock; the engine links it to its own `Clock`")]
        SystemTime::now()
    }

    /// A field of this execution: `id`, `name`, `type`, `status`, `created_at`, `parent_id`, …
    /// Times are text in RFC 3339 with microseconds, in UTC.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) if there is no such field,
    /// [`Error::UnexpectedData`](crate::Error::UnexpectedData) if it is of another shape.
    pub fn get<T: DeserializeOwned>(&self, field: &str) -> Result<T> {
        json_text::decode(&format!("field `{field}` of this execution"), &host::get(field)?)
    }

    /// Sets one field of the output at once, before the execution ends.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) if the value cannot be written as JSON.
    pub fn set_output(&self, key: &str, value: impl Serialize) -> Result<()> {
        host::set_output(key, &json_text::encode(&format!("output `{key}`"), &value)?);
        Ok(())
    }

    /// One line that says what the execution does now.
    pub fn set_message(&self, text: impl AsRef<str>) {
        host::set_message(text.as_ref());
    }

    /// Logs a line. The macros [`info!`](crate::info), [`warn!`](crate::warn) and their kind also take
    /// fields.
    pub fn log(&self, level: Level, message: impl AsRef<str>) {
        host::log(level, message.as_ref(), "{}");
    }

    /// Performs a check and records outcome, reason, duration and evidence. Returns whether it passed;
    /// a failed check does not end the flow.
    ///
    /// ```no_run
    /// # use surefoot::prelude::*;
    /// # fn example(this: &Execution) -> Result<()> {
    /// let passed = this.check("orders are in", || {
    ///     let rows: u64 = this.connect("db").input("fetchval", "SELECT count(*) FROM orders").run()?.get("result")?;
    ///     ensure!(rows > 0, "the table is empty");
    ///     Ok(json!({ "rows": rows }))
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn check<T: Serialize>(&self, name: &str, body: impl FnOnce() -> Result<T>) -> bool {
        let started = self.now();
        let result = body();
        let duration = self.now().duration_since(started).unwrap_or_default();
        let check = CheckResult::of(name, &result).duration(duration);
        host::check(&check);
        check.passed()
    }

    /// Records a check that the flow made itself.
    pub fn check_result(&self, check: CheckResult) {
        host::check(&check);
    }

    /// Records a measurement; `unit` as people write it: `ms`, `rows`, `%`.
    pub fn metric(&self, name: &str, value: f64, unit: &str) {
        host::metric(name, value, unit);
    }

    /// Groups what follows, until the next section.
    pub fn section(&self, name: &str) {
        host::section(name);
    }
}

/// Ways to end at once. None of them returns, and nothing catches them: code after them, `Drop` included, does
/// not run.
impl Execution {
    /// Ends as successful.
    pub fn success(&self, message: impl AsRef<str>) -> ! {
        host::end_success(message.as_ref())
    }

    /// Ends as failed, with a stable code for programs.
    pub fn error(&self, code: &str, message: impl AsRef<str>) -> ! {
        host::end_error(code, message.as_ref())
    }

    /// Ends as successful and answers the webhook's caller with plain text. Without a webhook, body and status
    /// become the output.
    pub fn webhook_response(&self, body: impl Into<String>, status: u16) -> ! {
        self.respond(Response::text(status, body))
    }

    /// Ends as successful and answers the webhook's caller with a page.
    pub fn webhook_html_response(&self, html: impl Into<String>, status: u16) -> ! {
        self.respond(Response::html(status, html))
    }

    /// Ends as successful and answers the webhook's caller.
    pub fn respond(&self, response: Response) -> ! {
        host::webhook_response(response.status, response.headers, response.body)
    }

    /// Ends and starts anew with other inputs and an empty journal, for flows that would go on for ever.
    ///
    /// # Panics
    /// If the inputs cannot be written as JSON.
    pub fn continue_as_new(&self, inputs: impl Serialize) -> ! {
        match json_text::encode("the inputs", &inputs) {
            Ok(inputs) => host::continue_as_new(&inputs),
            Err(error) => panic!("{error}"),
        }
    }
}
