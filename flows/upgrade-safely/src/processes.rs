//! Section 3: critical processes, each a flow with a test mode.

use surefoot::prelude::*;

/// Runs the flow in its test mode.
pub(crate) fn works(this: &Execution, flow: &str) -> Result<Value> {
    let ended = this.flow(flow).input("test", true).run()?;
    Ok(json!({ "execution_id": ended.execution_id, "output": ended.output }))
}
