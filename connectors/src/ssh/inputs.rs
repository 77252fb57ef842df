//! What users write, and the one command that a call runs.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use surefoot_connector_api::{CallError, workspace_file_name};

use crate::inputs::{EffectName, either, invalid};
use crate::schema::Seconds;
use crate::ssh_session::HostInputs;

const COMMAND_TIMEOUT: Seconds = Seconds(60.0);

/// Inputs of the connector type `ssh`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct SshInputs {
    #[serde(flatten)]
    pub(super) host: HostInputs,
    /// A line for the user's shell at the host. Either this or `script` is needed. Whoever puts a value into it must
    /// quote it for that shell.
    command: Option<String>,
    /// A script, which `interpreter` reads from its standard input. So a command in the script that reads its own
    /// standard input takes the rest of the script; give it `</dev/null`.
    script: Option<String>,
    /// What runs the `script`: a line for the user's shell.
    #[serde(default = "default_interpreter")]
    interpreter: String,
    /// Standard input of the `command`, as text.
    stdin: Option<String>,
    /// Standard input of the `command` from a file of the workspace, `surefoot:NAME` (or `cloudomation:NAME`); it is
    /// streamed.
    stdin_file: Option<String>,
    /// Variables of the environment by name. Servers accept only those that they are set up for (`AcceptEnv`); one that
    /// is not accepted is an error, and nothing is run.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// File of the workspace that takes what the command prints, `surefoot:NAME` (or `cloudomation:NAME`); it is
    /// streamed. If not given, it is in the output.
    stdout_file: Option<String>,
    /// The same for what the command prints as errors.
    stderr_file: Option<String>,
    /// How many bytes of what is printed are in the output, for each of `stdout` and `stderr`; the rest is dropped.
    #[serde(default = "default_output_bytes_max")]
    #[schemars(range(max = 16_777_216))]
    output_bytes_max: u32,
    /// Whether an exit code other than 0 is an error, with that code as `peer_code`. Then no file is stored.
    #[serde(default = "default_true")]
    check: bool,
    /// What running the command twice would mean; `write` if not given.
    #[schemars(with = "Option<EffectName>")]
    #[expect(dead_code, reason = "the effect is read from the raw inputs, before the call")]
    effect: Option<String>,
    /// Seconds that the command may take; 60 by default. It may go on at the host after that.
    command_timeout: Option<Seconds>,
    /// The same as `command_timeout`.
    script_timeout: Option<Seconds>,
}

/// The one command that a call runs.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) command: &'a str,
    pub(super) stdin: Stdin<'a>,
    pub(super) env: &'a BTreeMap<String, String>,
    pub(super) stdout_file: Option<&'a str>,
    pub(super) stderr_file: Option<&'a str>,
    pub(super) output_bytes_max: usize,
    pub(super) check: bool,
}

/// What the command reads.
#[derive(Debug)]
pub(super) enum Stdin<'a> {
    Nothing,
    Text(&'a str),
    File(&'a str),
}

impl SshInputs {
    /// The command to run. Inputs that do not fit together are `InvalidInput`.
    pub(super) fn plan(&self) -> Result<Plan<'_>, CallError> {
        either([("command_timeout", self.command_timeout), ("script_timeout", self.script_timeout)])?;
        let stdin = match (self.stdin.as_deref(), self.stdin_file.as_deref()) {
            (None, None) => Stdin::Nothing,
            (Some(text), None) => Stdin::Text(text),
            (None, Some(file)) => Stdin::File(file_name("stdin_file", file)?),
            (Some(_), Some(_)) => return Err(invalid("give either `stdin` or `stdin_file`")),
        };
        let (command, stdin) = match (self.command.as_deref(), self.script.as_deref(), stdin) {
            (Some(command), None, stdin) => (command, stdin),
            (None, Some(script), Stdin::Nothing) => (self.interpreter.as_str(), Stdin::Text(script)),
            (None, Some(_), _) => {
                return Err(invalid("a `script` is read from standard input, so there can be no `stdin` beside it"));
            }
            _ => return Err(invalid("give either `command` or `script`")),
        };
        if command.trim().is_empty() || command.contains('\0') {
            return Err(invalid("the command is empty or contains a null character"));
        }
        Ok(Plan {
            command,
            stdin,
            env: &self.env,
            stdout_file: self.stdout_file.as_deref().map(|file| file_name("stdout_file", file)).transpose()?,
            stderr_file: self.stderr_file.as_deref().map(|file| file_name("stderr_file", file)).transpose()?,
            output_bytes_max: usize::try_from(self.output_bytes_max).unwrap_or(usize::MAX),
            check: self.check,
        })
    }

    /// How long the command may take.
    pub(super) fn command_limit(&self) -> Duration {
        self.command_timeout.or(self.script_timeout).unwrap_or(COMMAND_TIMEOUT).duration()
    }
}

fn file_name<'a>(input: &str, location: &'a str) -> Result<&'a str, CallError> {
    workspace_file_name(location)
        .filter(|name| !name.is_empty())
        .ok_or_else(|| invalid(format!("input `{input}` must name a file of the workspace, as `surefoot:NAME`")))
}

fn default_interpreter() -> String {
    "/usr/bin/env bash -e".into()
}

fn default_output_bytes_max() -> u32 {
    1 << 20
}

fn default_true() -> bool {
    true
}
