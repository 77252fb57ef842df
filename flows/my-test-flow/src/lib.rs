//! What the schedule of `upgrade-safely` would start: it says that it ran, and when.

use serde::Serialize;
use surefoot::prelude::*;

/// When it ran.
#[derive(Serialize)]
struct Ran {
    at: String,
}

#[surefoot::flow]
fn handler(_system: &System, this: &Execution, _inputs: Inputs) -> Result<Ran> {
    let at = this.get("created_at")?;
    info!("the scheduled flow runs");
    Ok(Ran { at })
}
