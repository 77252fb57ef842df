//! Runs a list of steps, one after the other: what tests need that want an execution in a certain state.

use serde::Deserialize;
use surefoot::Kind;
use surefoot::prelude::*;

use crate::{caught, entropy};

/// One thing to do.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Step {
    /// Sleeps.
    Sleep { ms: u64 },
    /// Waits for a signal, and gives its payload or `{timeout}`.
    Signal { name: String, timeout_ms: Option<u64> },
    /// Asks, writes the path of its form into a file and to the log, and gives `[payload, sender]` or `{timeout}`.
    Ask { name: String, message: String, schema: Option<Value>, timeout_ms: Option<u64>, path_file: String },
    /// Calls a connector, and gives `{output}` or `{failure}`. The text `own(NAME)` stands for `secret(NAME)`, which
    /// this flow's own code writes then.
    Connect { connector: String, inputs: Value },
    /// Runs a flow to its end, and gives `{output}` or `{failure}`.
    Child { flow: String, inputs: Value },
    /// Writes a file.
    Write { file: String, content: String },
    /// Gives the text of a file.
    Read { file: String },
    /// Does one that may fail, and gives what came of it or `{error, message}`.
    Caught { step: Box<Step> },
    /// Locks a setting; the lock is kept until it is unlocked.
    Lock { setting: String, timeout_ms: Option<u64> },
    /// Unlocks it.
    Unlock { setting: String },
    /// Locks it, does the steps, and lets the lock go out of scope.
    Locked { setting: String, steps: Vec<Step> },
    /// Saves a setting.
    Save { setting: String, value: Value },
    /// Registers that a setting is saved at the end, whatever the end is.
    OnEnd { setting: String, value: Value },
    /// Draws from every source of chance and time that there is.
    Draw,
    /// Writes a line to the log.
    Log { message: String },
    /// Begins again with other inputs.
    ContinueAsNew { inputs: Value },
}

/// Does all steps, and gives what came of each.
pub(crate) fn run(system: &System, this: &Execution, steps: Vec<Step>) -> Result<Value> {
    steps.into_iter().map(|step| perform(system, this, step)).collect()
}

fn perform(system: &System, this: &Execution, step: Step) -> Result<Value> {
    match step {
        Step::Sleep { ms } => {
            this.sleep(Duration::from_millis(ms), "a step of the script");
            Ok(Value::Null)
        }
        Step::Signal { name, timeout_ms } => {
            match this.wait_signal::<Value>(&name, timeout_ms.map(Duration::from_millis)) {
                Ok(signal) => Ok(signal.payload),
                Err(Error::SignalTimeout(name)) => Ok(json!({ "timeout": name })),
                Err(other) => Err(other),
            }
        }
        Step::Ask { name, message, schema, timeout_ms, path_file } => {
            let ask = this.signal(name).message(message).token();
            let ask = schema.into_iter().fold(ask, |ask, schema| ask.schema(schema));
            let ask = timeout_ms.into_iter().fold(ask, |ask, ms| ask.timeout(Duration::from_millis(ms)));
            let asked = ask.open()?;
            let path = asked.path().unwrap_or_default();
            this.log(Level::Info, format!("answer at {path}"));
            this.set_message(&path);
            system.file(&path_file).write(path)?;
            match asked.wait::<Value>() {
                Ok(answer) => Ok(json!([answer.payload, answer.sender])),
                Err(Error::SignalTimeout(name)) => Ok(json!({ "timeout": name })),
                Err(other) => Err(other),
            }
        }
        Step::Connect { connector, inputs } => caught(this.connect(connector).inputs(with_secrets(inputs)).run()),
        Step::Child { flow, inputs } => caught(this.flow(flow).inputs(inputs).run()),
        Step::Write { file, content } => system.file(&file).write(content).map(|_| Value::Null),
        Step::Read { file } => system.file(&file).read_text().map(Value::from),
        Step::Caught { step } => {
            let done = perform(system, this, *step);
            Ok(done.unwrap_or_else(|error| json!({ "error": error.code(), "message": error.to_string() })))
        }
        Step::Lock { setting, timeout_ms } => {
            system.setting(&setting).lock(timeout_ms.map(Duration::from_millis))?.keep();
            Ok(Value::Null)
        }
        Step::Unlock { setting } => system.setting(&setting).unlock().map(Value::from),
        Step::Locked { setting, steps } => {
            let _lock = system.setting(&setting).lock(None)?;
            run(system, this, steps)
        }
        Step::Save { setting, value } => system.setting(&setting).save(json!({ "value": value })).map(|_| Value::Null),
        Step::OnEnd { setting, value } => {
            this.on_end().save(Kind::Setting, &setting, json!({ "value": value }))?;
            Ok(Value::Null)
        }
        Step::Draw => Ok(entropy::draw(this)),
        Step::Log { message } => {
            this.log(Level::Info, message);
            Ok(Value::Null)
        }
        Step::ContinueAsNew { inputs } => this.continue_as_new(inputs),
    }
}

/// See [`Step::Connect`].
fn with_secrets(inputs: Value) -> Value {
    match inputs {
        Value::String(text) => match text.strip_prefix("own(") {
            Some(rest) => format!("secret({rest}").into(),
            None => text.into(),
        },
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, member)| (name, with_secrets(member))).collect())
        }
        other => other,
    }
}
