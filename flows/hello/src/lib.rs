//! The smallest flow: logs one line and returns what it was given.

use surefoot::prelude::*;

#[surefoot::flow]
fn handler(_system: &System, _this: &Execution, inputs: Inputs) -> Inputs {
    info!("hello with {} inputs", inputs.as_map().len());
    inputs
}
