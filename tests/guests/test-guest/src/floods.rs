//! Too much of one thing: what the limits of an execution are there for.

use serde::Deserialize;
use surefoot::prelude::*;

/// Of what, and how much.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Flood {
    /// Lines of the log, one after the other.
    LogLines { lines: u32, bytes: usize },
    /// Lines on standard output.
    StdoutLines { lines: u32 },
    /// Messages that say what it does.
    Messages { messages: u32, bytes: usize },
    /// One output of that size.
    Output { bytes: usize },
    /// Outputs by name, each of that size.
    Outputs { outputs: u32, bytes: usize },
    /// The text of an error.
    Error { bytes: usize },
    /// A webhook's answer.
    Response { bytes: usize },
    /// Child flows, all started before the first is waited for; and that several times.
    Children { rounds: u32, children: u32, flow: String, inputs: Value },
    /// Itself as a child, which does the same.
    Descendants { flow: String },
    /// Calls of a connector, all started before the first is waited for.
    Connections { connections: u32, delay_ms: u64 },
}

impl Flood {
    pub(crate) fn run(self, this: &Execution) -> Result<Value> {
        match self {
            Self::LogLines { lines, bytes } => {
                let text = "x".repeat(bytes);
                (0..lines).for_each(|_| this.log(Level::Info, &text));
                Ok(json!({ "lines": lines }))
            }
            Self::StdoutLines { lines } => {
                use std::io::Write as _;
                let mut stdout = std::io::stdout().lock();
                (0..lines).try_for_each(|line| writeln!(stdout, "line {line}")).map_err(Error::other)?;
                Ok(json!({ "lines": lines }))
            }
            Self::Messages { messages, bytes } => {
                let text = "x".repeat(bytes);
                (0..messages).for_each(|_| this.set_message(&text));
                Ok(json!({ "messages": messages }))
            }
            Self::Output { bytes } => Ok(Value::String("x".repeat(bytes))),
            Self::Outputs { outputs, bytes } => {
                let text = "x".repeat(bytes);
                (0..outputs).try_for_each(|output| this.set_output(&format!("output-{output}"), &text))?;
                Ok(Value::Null)
            }
            Self::Error { bytes } => this.error("flood", "x".repeat(bytes)),
            Self::Response { bytes } => this.respond(Response::text(200, "x".repeat(bytes))),
            Self::Children { rounds, children, flow, inputs } => {
                let start = || this.flow(flow.clone()).inputs(inputs.clone()).start();
                let rounds = (0..rounds).map(|_| start_all(this, children, start));
                rounds.collect::<Result<Vec<_>>>().map(Value::Array)
            }
            Self::Descendants { flow } => {
                let inputs = json!({ "mode": "flood", "descendants": { "flow": flow } });
                match this.flow(flow).inputs(inputs).run() {
                    Ok(ended) => Ok(json!({ "depth": 1 + ended.output["depth"].as_u64().unwrap_or_default() })),
                    Err(Error::LimitExceeded(text)) => Ok(json!({ "depth": 1, "refused": text })),
                    Err(other) => Err(other),
                }
            }
            Self::Connections { connections, delay_ms } => {
                start_all(this, connections, || this.connect("type:echo").input("delay_ms", delay_ms).start())
            }
        }
    }
}

/// Starts until it has them all or is refused, and waits for those that were started.
fn start_all(this: &Execution, count: u32, start: impl Fn() -> Result<Dependency>) -> Result<Value> {
    let mut started = Vec::new();
    let mut refused = None;
    for _ in 0..count {
        match start() {
            Ok(dependency) => started.push(dependency),
            Err(error) => {
                refused = Some(error.to_string());
                break;
            }
        }
    }
    let ended = this.wait_for(&started, ReturnWhen::AllEnded)?;
    Ok(json!({ "started": started.len(), "ended": ended.len(), "refused": refused }))
}
