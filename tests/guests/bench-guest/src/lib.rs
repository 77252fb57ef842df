//! The guest of the benchmark: does the work that is measured, as its input `mode` says.
//!
//! Called through a webhook it takes its inputs from the JSON body. It does nothing besides the calls that are
//! measured; its calls of `echo` carry the number `tag`, by which the benchmark tells executions apart.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use surefoot::prelude::*;
use surefoot::serde_json;

/// What may be asked for.
#[derive(Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case", deny_unknown_fields)]
enum Task {
    /// Calls `echo` that often, one call after the other, and returns how often.
    Steps {
        count: u32,
        #[serde(default)]
        tag: u64,
        /// `write` makes them write steps.
        effect: Option<String>,
    },
    /// Computes without pause, for ever.
    Compute,
    /// Sleeps that often for so long, and calls `echo` with the tag 0 before the first and after each `mark_every`.
    Sleeps { count: u32, milliseconds: u64, mark_every: u32 },
    /// Sleeps until then, in microseconds since the Unix epoch, and calls `echo` with that number as its tag.
    WakeAt { due: u64 },
    /// Sleeps that long.
    Sleep { seconds: u64 },
    /// Does that many steps, waits for the signal `go`, and does one more.
    Replay { count: u32 },
}

#[surefoot::flow]
fn handler(_system: &System, this: &Execution, inputs: Value) -> Result<Value> {
    match serde_json::from_value(without_envelope(inputs))? {
        Task::Steps { count, tag, effect } => {
            for _ in 0..count {
                step(this, tag, effect.as_deref())?;
            }
            Ok(json!({ "steps": count }))
        }
        Task::Compute => loop {
            std::hint::black_box(());
        },
        Task::Sleeps { count, milliseconds, mark_every } => {
            step(this, 0, None)?;
            for n in 1..=count {
                this.sleep(Duration::from_millis(milliseconds), "");
                if n % mark_every == 0 {
                    step(this, 0, None)?;
                }
            }
            Ok(json!({ "sleeps": count }))
        }
        Task::WakeAt { due } => {
            this.sleep_until(time(due), "");
            step(this, due, None)?;
            Ok(json!({ "due": due }))
        }
        Task::Sleep { seconds } => {
            this.sleep(Duration::from_secs(seconds), "");
            Ok(json!({ "slept": seconds }))
        }
        Task::Replay { count } => {
            for _ in 0..count {
                step(this, 0, None)?;
            }
            this.wait_signal::<Value>("go", None)?;
            step(this, 1, None)?;
            Ok(json!({ "steps": count + 1 }))
        }
    }
}

fn step(this: &Execution, tag: u64, effect: Option<&str>) -> Result<()> {
    let call = this.connect("type:echo").input("value", tag);
    match effect {
        Some(effect) => call.input("effect", effect).run()?,
        None => call.run()?,
    };
    Ok(())
}

fn time(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros)
}

/// What a webhook's caller sent as JSON; any other input as it is.
fn without_envelope(mut inputs: Value) -> Value {
    let is_envelope = inputs.get("method").is_some();
    if is_envelope { inputs["json"].take() } else { inputs }
}
