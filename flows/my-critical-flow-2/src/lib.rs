//! A critical flow: compares the own ledger with the bank's statement and lists what does not agree.
//!
//! It fetches both at once. In earnest they are the files `ledger.json` and `statement.json`; with `test: true` they
//! are two samples that come through `echo` connections, and nothing is stored. `fail: true`, or a setting
//! `my-critical-flow-2` with `{"broken": true}`, makes it fail.

mod reconcile;

use serde::{Deserialize, Serialize};
use surefoot::prelude::*;

use crate::reconcile::{Bookings, differences};

const NAME: &str = "my-critical-flow-2";

/// What may be asked for.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Request {
    /// Work harmlessly.
    test: bool,
    /// Fail.
    fail: bool,
}

/// The result of the comparison.
#[derive(Serialize)]
struct Comparison {
    compared: usize,
    differences: Vec<String>,
}

#[surefoot::flow]
fn handler(system: &System, this: &Execution, request: Request) -> Result<Comparison> {
    ensure!(!request.fail, "asked to fail");
    ensure!(!is_broken(system)?, "setting `{NAME}` says `broken`");

    let (ledger, statement) = if request.test { fetch_samples(this)? } else { read_files(system)? };
    let differences = differences(&ledger, &statement);
    if request.test {
        ensure!(
            differences == ["2026-002: 900 in the ledger, 90 at the bank"],
            "the samples differ by {differences:?}"
        );
    }
    this.metric("differences", differences.len() as f64, "bookings");
    Ok(Comparison { compared: ledger.len(), differences })
}

fn is_broken(system: &System) -> Result<bool> {
    let Some(setting) = system.setting(NAME).find()? else { return Ok(false) };
    let value: Value = setting.get("value")?;
    Ok(value.get("broken") == Some(&Value::Bool(true)))
}

/// Both at once: the second starts before the first has answered.
fn fetch_samples(this: &Execution) -> Result<(Bookings, Bookings)> {
    let fetch = |what: &str, sample: Value| this.connect("type:echo").name(what).input("value", sample).start();
    let ledger = fetch("fetch the ledger", json!({ "2026-001": 1_250, "2026-002": 900 }))?;
    let statement = fetch("fetch the statement", json!({ "2026-001": 1_250, "2026-002": 90 }))?;
    let ended = this.wait_for([&ledger, &statement], ReturnWhen::AllSucceeded)?;
    let [ledger, statement] = &ended[..] else { return Err(Error::other("expected two answers")) };
    Ok((ledger.get("value")?, statement.get("value")?))
}

fn read_files(system: &System) -> Result<(Bookings, Bookings)> {
    let read =
        |name: &str| -> Result<Bookings> { Ok(surefoot::serde_json::from_str(&system.file(name).read_text()?)?) };
    Ok((read("ledger.json")?, read("statement.json")?))
}
