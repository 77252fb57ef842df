//! Sleeps for `seconds` (default 3600) and returns how long it slept.
//!
//! The sleep is durable: the flow takes neither a thread nor memory meanwhile, and a restart of the host neither
//! shortens nor lengthens it. The clock is the journal's, so the answer is the same after a restart.

use serde::{Deserialize, Serialize};
use surefoot::prelude::*;

/// What may be asked for.
#[derive(Deserialize)]
#[serde(default)]
struct Request {
    /// How long to sleep; fractions count.
    seconds: f64,
}

impl Default for Request {
    fn default() -> Self {
        Self { seconds: 3600.0 }
    }
}

/// How it went.
#[derive(Serialize)]
struct Slept {
    slept_seconds: f64,
}

#[surefoot::flow]
fn handler(_system: &System, this: &Execution, request: Request) -> Result<Slept> {
    let duration = Duration::try_from_secs_f64(request.seconds)
        .map_err(|error| Error::InvalidInput(format!("`seconds` is {}: {error}", request.seconds)))?;
    let started = this.now();
    this.sleep(duration, &format!("sleep for {} s", request.seconds));
    let slept = this.now().duration_since(started).map_err(Error::other)?;
    Ok(Slept { slept_seconds: slept.as_secs_f64() })
}
