//! A critical flow: adds up the orders in `orders.json` and hands the total on.
//!
//! It is written to be tested: with `test: true` it does the same work, with a few orders of its own, a file of its
//! own that it deletes again, and an `echo` connection in place of the receiver. `fail: true`, or a setting
//! `my-critical-flow-1` with `{"broken": true}`, makes it fail, to show what a broken flow looks like.

mod orders;

use serde::{Deserialize, Serialize};
use surefoot::prelude::*;

use crate::orders::Order;

const NAME: &str = "my-critical-flow-1";

/// What may be asked for.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Request {
    /// Work harmlessly.
    test: bool,
    /// Fail.
    fail: bool,
}

/// The result of the work.
#[derive(Serialize)]
struct Summary {
    orders: usize,
    total_cents: u64,
}

#[surefoot::flow]
fn handler(system: &System, this: &Execution, request: Request) -> Result<Summary> {
    ensure!(!request.fail, "asked to fail");
    ensure!(!is_broken(system)?, "setting `{NAME}` says `broken`");

    let orders = if request.test { orders::samples() } else { read_orders(system)? };
    let total_cents = orders::total_cents(&orders)?;
    info!(orders = orders.len(), total_cents = total_cents; "added up");

    let summary_file = if request.test { "my-critical-flow-1-test.json" } else { "orders-summary.json" };
    if request.test {
        this.on_end().delete_file(summary_file)?;
    }
    let summary = json!({ "orders": orders.len(), "total_cents": total_cents });
    system.file(summary_file).write(summary.to_string())?;

    let stored: Value = surefoot::serde_json::from_str(&system.file(summary_file).read_text()?)?;
    let handed_on: Value =
        this.connect("type:echo").name("hand on the total").input("value", stored).run()?.get("value")?;
    ensure!(handed_on == summary, "handed on {summary}, but {handed_on} arrived");
    Ok(Summary { orders: orders.len(), total_cents })
}

fn is_broken(system: &System) -> Result<bool> {
    let Some(setting) = system.setting(NAME).find()? else { return Ok(false) };
    let value: Value = setting.get("value")?;
    Ok(value.get("broken") == Some(&Value::Bool(true)))
}

fn read_orders(system: &System) -> Result<Vec<Order>> {
    Ok(surefoot::serde_json::from_str(&system.file("orders.json").read_text()?)?)
}
