//! The calls of the host, one function each, in this crate's own types. Nothing else touches the bindings.
//!
//! Built for any target but WebAssembly there is no host, and every function panics and says so.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::bindings::surefoot::flow::{execution, files, records, types};
use crate::call::OnInterrupt;
use crate::check::{CheckResult, Outcome};
use crate::dependency::ReturnWhen;
use crate::error::{Error, Failure, Result};
use crate::file::FileStat;
use crate::log::Level;

pub(crate) use crate::bindings::surefoot::flow::execution::{
    Asked, ConnectionOptions, EndAction, Ended, FlowOptions, Question, SignalReceived,
};
pub(crate) use crate::bindings::surefoot::flow::records::{Page, QuerySpec};

/// Panics unless there is a host. Generated bindings would say no more than "unreachable".
#[track_caller]
fn need_host(call: &str) {
    if cfg!(not(target_family = "wasm")) {
        panic!("`{call}` needs the Surefoot host, which only a flow built for wasm32-wasip2 and run by Surefoot has");
    }
}

pub(crate) fn get(field: &str) -> Result<String> {
    need_host("execution.get");
    Ok(execution::get(field)?)
}

pub(crate) fn set_output(key: &str, value: &str) {
    need_host("execution.set-output");
    execution::set_output(key, value);
}

pub(crate) fn set_message(text: &str) {
    need_host("execution.set-message");
    execution::set_message(text);
}

pub(crate) fn log(level: Level, message: &str, fields: &str) {
    need_host("execution.log");
    let level = match level {
        Level::Debug => execution::Level::Debug,
        Level::Info => execution::Level::Info,
        Level::Warn => execution::Level::Warn,
        Level::Error => execution::Level::Error,
    };
    execution::log(level, message, fields);
}

pub(crate) fn check(check: &CheckResult) {
    need_host("execution.check");
    let outcome = match check.outcome {
        Outcome::Pass => execution::CheckOutcome::Pass,
        Outcome::Fail => execution::CheckOutcome::Fail,
        Outcome::Warn => execution::CheckOutcome::Warn,
        Outcome::Skip => execution::CheckOutcome::Skip,
    };
    execution::check(&execution::CheckResult {
        name: check.name.clone(),
        outcome,
        message: check.message.clone(),
        duration_ms: check.duration.map(millis),
        data: check.data.to_string(),
    });
}

pub(crate) fn metric(name: &str, value: f64, unit: &str) {
    need_host("execution.metric");
    execution::metric(name, value, unit);
}

pub(crate) fn section(name: &str) {
    need_host("execution.section");
    execution::section(name);
}

pub(crate) fn sleep(duration: Duration, message: &str) {
    need_host("execution.sleep");
    execution::sleep(millis(duration), some_text(message));
}

pub(crate) fn sleep_until(due: SystemTime, message: &str) {
    need_host("execution.sleep-until");
    // A time before the epoch is in the past like the epoch itself.
    let since_epoch = due.duration_since(UNIX_EPOCH).unwrap_or_default();
    execution::sleep_until(millis(since_epoch), some_text(message));
}

pub(crate) fn connection_options(
    name: Option<String>,
    timeout: Option<Duration>,
    on_interrupt: OnInterrupt,
) -> ConnectionOptions {
    let on_interrupt = match on_interrupt {
        OnInterrupt::Fail => execution::OnInterrupt::Fail,
        OnInterrupt::Retry => execution::OnInterrupt::Retry,
    };
    ConnectionOptions { name, timeout_ms: timeout.map(millis), on_interrupt }
}

pub(crate) fn start_connection(
    connector: &str,
    inputs: &str,
    options: &ConnectionOptions,
    policy: Option<&str>,
) -> Result<String> {
    need_host("execution.start-connection");
    // Without a policy it is the call of before there were any: journals out there have it.
    Ok(match policy {
        None => execution::start_connection(connector, inputs, options),
        Some(policy) => execution::start_connection_with(connector, inputs, options, policy),
    }?)
}

pub(crate) fn start_flow(flow: &str, inputs: &str, options: &FlowOptions) -> Result<String> {
    need_host("execution.start-flow");
    Ok(execution::start_flow(flow, inputs, options)?)
}

pub(crate) fn wait(ids: &[String], when: ReturnWhen, timeout: Option<Duration>) -> Result<Vec<Ended>> {
    need_host("execution.wait");
    let when = match when {
        ReturnWhen::AllEnded => execution::ReturnWhen::AllEnded,
        ReturnWhen::AllSucceeded => execution::ReturnWhen::AllSucceeded,
        ReturnWhen::FirstEnded => execution::ReturnWhen::FirstEnded,
    };
    Ok(execution::wait(ids, when, timeout.map(millis))?)
}

/// The output of a connection, once it has succeeded.
pub(crate) fn wait_connection(id: &str, timeout: Option<Duration>) -> Result<String> {
    need_host("execution.wait-connection");
    Ok(execution::wait_connection(id, timeout.map(millis))?)
}

pub(crate) fn cancel(id: &str) -> Result<()> {
    need_host("execution.cancel");
    Ok(execution::cancel(id)?)
}

pub(crate) fn wait_signal(name: &str, timeout: Option<Duration>) -> Result<SignalReceived> {
    need_host("execution.wait-signal");
    Ok(execution::wait_signal(name, timeout.map(millis))?)
}

pub(crate) fn ask(name: &str, question: &Question) -> Result<Asked> {
    need_host("execution.ask");
    Ok(execution::ask(name, question)?)
}

pub(crate) fn wait_answer(id: &str) -> Result<SignalReceived> {
    need_host("execution.wait-answer");
    Ok(execution::wait_answer(id)?)
}

pub(crate) fn lock(setting: &str, timeout: Option<Duration>) -> Result<String> {
    need_host("execution.lock");
    Ok(execution::lock(setting, timeout.map(millis))?)
}

pub(crate) fn unlock(setting: &str) -> Result<()> {
    need_host("execution.unlock");
    Ok(execution::unlock(setting)?)
}

pub(crate) fn on_end(action: &EndAction) -> Result<()> {
    need_host("execution.on-end");
    Ok(execution::on_end(action)?)
}

pub(crate) fn end_success(message: &str) -> ! {
    need_host("execution.end-success");
    execution::end_success(message);
    ended()
}

pub(crate) fn end_error(code: &str, message: &str) -> ! {
    need_host("execution.end-error");
    execution::end_error(code, message);
    ended()
}

pub(crate) fn webhook_response(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> ! {
    need_host("execution.webhook-response");
    execution::webhook_response(&execution::Response { status, headers, body });
    ended()
}

pub(crate) fn continue_as_new(inputs: &str) -> ! {
    need_host("execution.continue-as-new");
    execution::continue_as_new(inputs);
    ended()
}

/// The host never returns from the calls that end an execution. Aborts without a panic: the panic hook would
/// call such a function again.
fn ended() -> ! {
    std::process::abort()
}

pub(crate) fn get_record(kind: &str, key: &str) -> Result<Option<String>> {
    need_host("records.get");
    Ok(records::get(kind, key)?)
}

pub(crate) fn save_record(kind: &str, key: &str, fields: &str) -> Result<String> {
    need_host("records.save");
    Ok(records::save(kind, key, fields)?)
}

pub(crate) fn delete_record(kind: &str, key: &str, permanently: bool) -> Result<bool> {
    need_host("records.delete");
    Ok(records::delete(kind, key, permanently)?)
}

pub(crate) fn query_records(query: &QuerySpec) -> Result<Page> {
    need_host("records.query");
    Ok(records::query(query)?)
}

pub(crate) fn stat_file(name: &str) -> Result<Option<FileStat>> {
    need_host("files.stat");
    Ok(files::stat(name)?.map(FileStat::from))
}

pub(crate) fn read_file(name: &str, offset: u64, length: u32) -> Result<Vec<u8>> {
    need_host("files.read");
    Ok(files::read(name, offset, length)?)
}

pub(crate) fn write_file(name: &str, content: &[u8]) -> Result<FileStat> {
    need_host("files.write");
    Ok(files::write(name, content)?.into())
}

pub(crate) fn delete_file(name: &str, permanently: bool) -> Result<bool> {
    need_host("files.delete");
    Ok(files::delete(name, permanently)?)
}

/// Whole milliseconds, rounded up: a wait never ends early.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn some_text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        match error {
            types::Error::DependencyFailed(failure) => Self::DependencyFailed(Failure {
                execution_id: failure.execution_id,
                name: failure.name,
                status: failure.status,
                code: failure.code,
                message: failure.message,
            }),
            types::Error::DependencyTimeout(ids) => Self::DependencyTimeout(ids),
            types::Error::SignalTimeout(text) => Self::SignalTimeout(text),
            types::Error::NotFound(text) => Self::NotFound(text),
            types::Error::InvalidInput(text) => Self::InvalidInput(text),
            types::Error::ExtraInput(text) => Self::ExtraInput(text),
            types::Error::PermissionDenied(text) => Self::PermissionDenied(text),
            types::Error::Conflict(text) => Self::Conflict(text),
            types::Error::LimitExceeded(text) => Self::LimitExceeded(text),
        }
    }
}

impl From<execution::LockError> for Error {
    fn from(error: execution::LockError) -> Self {
        match error {
            execution::LockError::Timeout(text) => Self::LockTimeout(text),
            execution::LockError::Deadlock(text) => Self::Deadlock(text),
            execution::LockError::Other(error) => error.into(),
        }
    }
}

impl From<files::FileStat> for FileStat {
    fn from(stat: files::FileStat) -> Self {
        Self { name: stat.name, size_bytes: stat.size_bytes, sha256: stat.sha256 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up() {
        assert_eq!(millis(Duration::ZERO), 0);
        assert_eq!(millis(Duration::from_nanos(1)), 1);
        assert_eq!(millis(Duration::from_millis(5)), 5);
        assert_eq!(millis(Duration::MAX), u64::MAX);
    }

    #[test]
    #[should_panic(expected = "`records.get` needs the Surefoot host")]
    fn without_a_host_a_call_says_so() {
        let _ = get_record("file", "x");
    }
}
