//! The guest of the end-to-end tests: does one thing, which its input `mode` names, and returns what it saw.
//!
//! Called through a webhook it takes its inputs from the JSON body. What goes wrong on purpose is in `misdeeds`;
//! nothing here may know more of the host than the SDK shows.

mod entropy;
mod floods;
mod misdeeds;
mod script;
mod storm;

use serde::Deserialize;
use surefoot::prelude::*;
use surefoot::{Kind, serde_json};

/// What may be asked for.
#[derive(Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case", deny_unknown_fields)]
enum Task {
    /// Panics.
    Panic,
    /// Executes the instruction `unreachable`.
    Trap,
    /// Computes for ever.
    Loop,
    /// Takes that much memory.
    Allocate { bytes: usize },
    /// Ends its process.
    Exit { code: i32 },
    /// Calls itself until the stack is full.
    Recurse,
    /// Too much of one thing.
    Flood(floods::Flood),
    /// A part of a storm: steps, writes, a signal, a sleep, children.
    Storm(storm::Part),
    /// Ends with an error of its own.
    Fail { code: String, message: String },
    /// Returns a field of the execution.
    Get { field: String },
    /// Calls a connector, and says of a file whether it was there before and is there after that.
    Exists { file: String, connector: String, inputs: Value },
    /// Deletes a file twice, and returns both results.
    DeleteTwice { file: String },
    /// Calls a connector, in so many attempts, and returns `{output}` or `{failure}`.
    Connect { connector: String, inputs: Value, attempts: Option<u32> },
    /// Calls a connector in attempts that are calls of their own, and returns `{output}` or `{failure}`.
    RetryConnect { connector: String, inputs: Value, attempts: u32 },
    /// Runs a flow and returns `{output}` or `{failure}`.
    Child { flow: String, inputs: Value },
    /// Returns `{rows}` of a query, or `{error, message}`; takes no more rows than `take` from it.
    Query {
        kind: String,
        filter: Option<Value>,
        order: Option<String>,
        limit: Option<u64>,
        page_rows: Option<u32>,
        take: Option<usize>,
    },
    /// Saves a schedule and returns its id twice: from the answer, and read anew.
    SaveSchedule { name: String, fields: Value },
    /// Sleeps as an ordinary program does.
    SleepStd { milliseconds: u64 },
    /// Draws from every source of chance and time that there is, before and after a sleep.
    Chance { sleep_seconds: u64 },
    /// Does these steps, and returns what came of each.
    Script { steps: Vec<script::Step> },
    /// Answers the caller.
    Respond { status: u16, body: String, content_type: Option<String>, headers: Option<Vec<(String, String)>> },
}

#[surefoot::flow]
fn handler(system: &System, this: &Execution, inputs: Value) -> Result<Value> {
    if inputs.get("scheduled_for").is_some() {
        // A schedule started it, and chooses the input.
        return Ok(inputs);
    }
    match serde_json::from_value(without_envelope(inputs))? {
        Task::Panic => misdeeds::panic(),
        Task::Trap => misdeeds::trap(),
        Task::Loop => misdeeds::compute_for_ever(),
        Task::Allocate { bytes } => Ok(json!({ "sum": misdeeds::allocate(bytes) })),
        Task::Exit { code } => misdeeds::exit(code),
        Task::Recurse => Ok(json!({ "depth": misdeeds::recurse(1) })),
        Task::Flood(flood) => flood.run(this),
        Task::Storm(part) => part.play(this),
        Task::Fail { code, message } => this.error(&code, message),
        Task::Get { field } => Ok(json!({ "value": this.get::<Value>(&field)? })),
        Task::Exists { file, connector, inputs } => {
            let before = system.file(&file).exists()?;
            this.connect(connector).inputs(inputs).run()?;
            Ok(json!({ "before": before, "after": system.file(&file).exists()? }))
        }
        Task::DeleteTwice { file } => {
            let deleted = [system.file(&file).delete(true)?, system.file(&file).delete(true)?];
            Ok(json!({ "deleted": deleted }))
        }
        Task::Connect { connector, inputs, attempts } => {
            let call = this.connect(connector).inputs(inputs);
            caught(attempts.into_iter().fold(call, |call, attempts| call.retry(quick_retry(attempts))).run())
        }
        Task::RetryConnect { connector, inputs, attempts } => {
            caught(this.retry(&quick_retry(attempts), |_| this.connect(&connector).inputs(&inputs).run()))
        }
        Task::Child { flow, inputs } => caught(this.flow(flow).inputs(inputs).run()),
        Task::Query { kind, filter, order, limit, page_rows, take } => {
            let mut query = system.records(kind_named(&kind)?);
            query = filter.into_iter().fold(query, |query, filter| query.filter(filter));
            query = order.into_iter().fold(query, |query, order| query.order(order));
            query = limit.into_iter().fold(query, |query, limit| query.limit(limit));
            query = page_rows.into_iter().fold(query, |query, rows| query.page_rows(rows));
            rows(query.into_iter().take(take.unwrap_or(usize::MAX)))
        }
        Task::SaveSchedule { name, fields } => {
            let saved = system.schedule(&name).save(fields)?;
            Ok(json!({ "saved": saved.get::<String>("id")?, "read": system.schedule(&name).get::<String>("id")? }))
        }
        Task::SleepStd { milliseconds } => {
            misdeeds::sleep(Duration::from_millis(milliseconds));
            Ok(json!({ "slept": true }))
        }
        Task::Script { steps } => script::run(system, this, steps),
        Task::Chance { sleep_seconds } => chance(system, this, Duration::from_secs(sleep_seconds)),
        Task::Respond { status, body, content_type, headers } => {
            let plain = || "text/plain; charset=utf-8".to_owned();
            let response = Response::new(status).content(&content_type.unwrap_or_else(plain), body);
            let headers = headers.unwrap_or_default();
            this.respond(headers.into_iter().fold(response, |response, (name, value)| response.header(name, value)))
        }
    }
}

/// What a webhook's caller sent as JSON; what a schedule starts is a part of a storm; any other input as it is.
fn without_envelope(mut inputs: Value) -> Value {
    if let Some(time) = inputs.get("scheduled_for") {
        return json!({ "mode": "storm", "key": time, "writes": 1 });
    }
    let is_envelope = inputs.get("method").is_some();
    if is_envelope { inputs["json"].take() } else { inputs }
}

fn quick_retry(attempts: u32) -> Retry {
    Retry::attempts(attempts).backoff(Duration::from_millis(1))
}

fn caught(result: Result<Ended>) -> Result<Value> {
    match result {
        Ok(ended) => Ok(json!({ "output": ended.output })),
        Err(Error::DependencyFailed(failure)) => Ok(json!({ "failure": {
            "execution_id": failure.execution_id,
            "name": failure.name,
            "status": failure.status,
            "code": failure.code,
            "message": failure.message,
        }})),
        Err(other) => Err(other),
    }
}

fn kind_named(name: &str) -> Result<Kind> {
    let known = [Kind::Execution, Kind::Schedule, Kind::Setting, Kind::File];
    let found = known.into_iter().find(|kind| kind.as_str() == name);
    found.ok_or_else(|| Error::InvalidInput(format!("the guest knows no kind `{name}`")))
}

fn rows(records: impl Iterator<Item = Result<Record>>) -> Result<Value> {
    match records.collect::<Result<Vec<_>>>() {
        Ok(records) => Ok(json!({ "rows": records.iter().map(Record::fields).collect::<Vec<_>>() })),
        Err(error) => Ok(json!({ "error": error.code(), "message": error.to_string() })),
    }
}

/// Shows the first draw to the host before the sleep: a replay that drew anything else would not be believed.
fn chance(system: &System, this: &Execution, sleep: Duration) -> Result<Value> {
    let before = entropy::draw(this);
    system.setting("chance").save(json!({ "value": before }))?;
    this.sleep(sleep, "between two draws");
    Ok(json!({ "before": before, "after": entropy::draw(this) }))
}
