//! One execution of a storm. It does a bit of everything, and says which of its writes were interrupted.

use serde::Deserialize;
use surefoot::prelude::*;

/// What to do, in this order. `key` tells its writes from those of all others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    key: String,
    /// Calls that read.
    #[serde(default)]
    steps: u32,
    /// Calls of the connector `ledger` that write.
    #[serde(default)]
    writes: u32,
    #[serde(default)]
    sleep_ms: u64,
    /// Name of a signal to wait for.
    signal: Option<String>,
    /// Parts that are played as children, at one time.
    #[serde(default)]
    children: Vec<Value>,
}

impl Part {
    pub(crate) fn play(self, this: &Execution) -> Result<Value> {
        for step in 0..self.steps {
            let ended = this.connect("type:echo").input("value", step).run()?;
            ensure!(ended.output["value"] == step, "step {step} answered {}", ended.output);
        }
        let mut interrupted = Vec::new();
        for write in 0..self.writes {
            let line = format!("{}/{write}", self.key);
            match this.connect("ledger").input("params", [&line]).run() {
                Ok(_) => {}
                Err(Error::DependencyFailed(failure)) if failure.code == "interrupted" => interrupted.push(line),
                Err(other) => return Err(other),
            }
        }
        if self.sleep_ms > 0 {
            this.sleep(Duration::from_millis(self.sleep_ms), "in the storm");
        }
        let signal = match self.signal {
            Some(name) => this.wait_signal::<Value>(&name, None)?.payload,
            None => Value::Null,
        };
        let children: Vec<Dependency> = self
            .children
            .into_iter()
            .map(|part| this.flow("test-guest").inputs(part).start())
            .collect::<Result<_>>()?;
        let ended = this.wait_for(&children, ReturnWhen::AllSucceeded)?;
        let children: Vec<Value> = ended.into_iter().map(|child| child.output).collect();
        Ok(json!({ "key": self.key, "interrupted": interrupted, "signal": signal, "children": children }))
    }
}
