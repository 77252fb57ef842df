//! `surefoot secret`: values that connectors use and nobody sees. A value never stands on a command line.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use serde_json::{Map, Value, json};
use surefoot_engine::{Config, Engine};

use crate::context::Context;
use crate::exit_codes;
use crate::failure::Failure;
use crate::records::{self, Kind, RecordCommand};
use crate::secrets_key::Source;
use crate::settings::Flags;
use crate::table::{name_of, plain, time};
use crate::workspace;

const KIND: Kind = Kind {
    name: "secret",
    plural: "secrets",
    columns: &[
        plain("NAME", "name"),
        plain("VERSION", "version"),
        time("SET", "value_set_at"),
        name_of("PROJECT", "project_id", "projects"),
        plain("DESCRIPTION", "description"),
    ],
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create one, or give it another value; the value is read from a file, standard input or the terminal
    Set(SetArguments),
    /// Encrypt all secrets with another key; no server may run on the workspace
    Rekey(RekeyArguments),
    #[command(flatten)]
    Record(RecordCommand),
}

#[derive(Args)]
pub(crate) struct SetArguments {
    /// Name or id: letters, digits, `_`, `-`, `.`; connectors refer to it as `secret(NAME)`
    key: String,
    /// The file that holds the value; standard input, or a question on the terminal, when there is none
    #[arg(long, value_name = "FILE")]
    value_file: Option<PathBuf>,
    /// Leave the value as it is
    #[arg(long, conflicts_with = "value_file")]
    keep_value: bool,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// The project whose connectors and flows may use it; all may when there is none
    #[arg(long, value_name = "NAME|ID")]
    project: Option<String>,
}

#[derive(Args)]
pub(crate) struct RekeyArguments {
    #[command(flatten)]
    key: Source,
    /// The key that the workspace made for itself
    #[arg(long, conflicts_with = "key", required_unless_present = "key")]
    own_key: bool,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Set(arguments) => set(arguments, context).await,
        Command::Rekey(arguments) => rekey(&arguments, context).await,
        Command::Record(command) => records::run(&KIND, command, context).await,
    }
}

async fn set(arguments: SetArguments, context: &Context) -> Result<u8> {
    let mut fields = Map::new();
    if !arguments.keep_value {
        fields.insert("value".into(), value(&arguments)?.into());
    }
    if let Some(description) = arguments.description {
        fields.insert("description".into(), description.into());
    }
    if let Some(project) = arguments.project {
        let client = context.client().await?;
        fields.insert("project_id".into(), records::id_of(client, "projects", &project).await?.into());
    }
    records::set(&KIND, &arguments.key, Value::Object(fields), context).await
}

/// One line loses its end; more lines, such as those of a key, stay as they are.
fn value(arguments: &SetArguments) -> Result<String> {
    let mut text = match &arguments.value_file {
        Some(path) => std::fs::read(path).map_err(|error| Failure::place("read", path, &error))?,
        None if std::io::stdin().is_terminal() => asked(&arguments.key)?.into_bytes(),
        None => {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text).context("cannot read standard input")?;
            text
        }
    };
    let line = text.strip_suffix(b"\r\n").or_else(|| text.strip_suffix(b"\n")).filter(|line| !line.contains(&b'\n'));
    text.truncate(line.map_or(text.len(), <[u8]>::len));
    match String::from_utf8(text) {
        Ok(text) if !text.is_empty() => Ok(text),
        Ok(_) => Err(Failure::usage("the value is empty").into()),
        Err(_) => Err(Failure::usage("the value is no text in UTF-8").hint("Store it in base64.").into()),
    }
}

/// Asks on the terminal, which does not show what is typed.
fn asked(name: &str) -> Result<String> {
    let _quiet = Quiet::new()?;
    let mut terminal = std::io::stderr();
    write!(terminal, "value of `{name}`: ")?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("cannot read the terminal")?;
    Ok(line)
}

/// A terminal without echo, until it is dropped.
struct Quiet(Termios);

impl Quiet {
    fn new() -> Result<Self> {
        let before = tcgetattr(std::io::stdin().as_fd()).context("cannot ask on this terminal")?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        quiet.local_flags.insert(LocalFlags::ECHONL);
        tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &quiet).context("cannot hide what is typed")?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // There is nobody to tell when the terminal is gone.
        let _ = tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &self.0);
    }
}

/// Works on the folder itself: what it changes is what the workspace is opened with.
async fn rekey(arguments: &RekeyArguments, context: &Context) -> Result<u8> {
    let data = context.data();
    let settings = context.settings(&Flags::default())?;
    let new = arguments.key.key(&data)?;
    workspace::forbid_dumps();
    let mut config = Config::new(&data);
    config.secrets_key = settings.secrets.key(&data)?;
    let work = move || Engine::rekey(&config, new.as_ref(), "local");
    let count = tokio::task::spawn_blocking(work).await?.map_err(Failure::from)?;
    let setting = arguments.key.setting();
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&json!({ "encrypted": count, "setting": setting }))?;
        return Ok(exit_codes::SUCCESS);
    }
    printer.say(format_args!("encrypted {count} values with the new key; backups of before need the old one"));
    printer.say(match setting {
        Some(setting) => format!("write this into {}:\n[secrets]\n{setting}", file(&data).display()),
        None => format!("take `[secrets]` out of {}, if it is there", file(&data).display()),
    });
    Ok(exit_codes::SUCCESS)
}

fn file(data: &Path) -> PathBuf {
    data.join("surefoot.toml")
}
