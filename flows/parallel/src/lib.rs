//! Starts connections and child flows side by side, waits for all of them, and returns their results in order.
//!
//! Input `n` (default 3) says how many of each. The connections are of type `echo`, which gives back what it gets; the
//! children are the flow `hello`. To be concurrent, *start* first and *wait* afterwards.

use serde::{Deserialize, Serialize};
use surefoot::prelude::*;

/// What may be asked for.
#[derive(Deserialize)]
#[serde(default)]
struct Request {
    /// How many connections, and how many child flows.
    n: u32,
}

impl Default for Request {
    fn default() -> Self {
        Self { n: 3 }
    }
}

/// What came back, in the order of the starts.
#[derive(Serialize)]
struct Answer {
    connections: Vec<u32>,
    flows: Vec<u32>,
}

#[surefoot::flow]
fn handler(_system: &System, this: &Execution, request: Request) -> Result<Answer> {
    let connections = start_each(request.n, |number| {
        this.connect("type:echo").name(format!("echo {number}")).input("value", number).start()
    })?;
    let flows = start_each(request.n, |number| {
        this.flow("hello").name(format!("hello {number}")).input("number", number).start()
    })?;

    let ended = this.wait_for(connections.iter().chain(&flows), ReturnWhen::AllSucceeded)?;
    let (connections, flows) = ended.split_at(connections.len());
    Ok(Answer { connections: numbers(connections, "value")?, flows: numbers(flows, "number")? })
}

fn start_each(n: u32, start: impl Fn(u32) -> Result<Dependency>) -> Result<Vec<Dependency>> {
    (0..n).map(start).collect()
}

fn numbers(ended: &[Ended], field: &str) -> Result<Vec<u32>> {
    ended.iter().map(|one| one.get(field)).collect()
}
