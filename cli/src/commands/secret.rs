//! `surefoot secret`: values that connectors use and nobody sees. A value never stands on a command line.

use std::io::{IsTerminal as _, PipeReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use serde_json::{Map, Value, json};
use surefoot_engine::{Config, Engine};

use crate::context::Context;
use crate::exit_codes;
use crate::failure::Failure;
use crate::records::{self, Kind, RecordCommand};
use crate::secrets_key::Source;
use crate::settings::Flags;
use crate::signals::Signals;
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
        let text = match &arguments.value_file {
            Some(path) => std::fs::read(path).map_err(|error| Failure::place("read", path, &error))?,
            None if std::io::stdin().is_terminal() => match asked(&arguments.key).await? {
                Some(line) => line.into_bytes(),
                None => return Ok(exit_codes::INTERRUPTED),
            },
            None => {
                let mut text = Vec::new();
                std::io::stdin().read_to_end(&mut text).context("cannot read standard input")?;
                text
            }
        };
        fields.insert("value".into(), value(text)?.into());
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
fn value(mut text: Vec<u8>) -> Result<String> {
    let line = text.strip_suffix(b"\r\n").or_else(|| text.strip_suffix(b"\n")).filter(|line| !line.contains(&b'\n'));
    text.truncate(line.map_or(text.len(), <[u8]>::len));
    match String::from_utf8(text) {
        Ok(text) if !text.is_empty() => Ok(text),
        Ok(_) => {
            let hint = "Give the value on standard input or with --value-file, or pass --keep-value.";
            Err(Failure::usage("the value is empty").hint(hint).into())
        }
        Err(_) => Err(Failure::usage("the value is no text in UTF-8").hint("Store it in base64.").into()),
    }
}

/// Asks on the terminal, which does not show what is typed. None when the answer is Ctrl-C, or another signal that asks
/// to end: the terminal is as it was by then.
async fn asked(name: &str) -> Result<Option<String>> {
    let mut signals = Signals::new()?;
    let quiet = Quiet::new()?;
    let mut asking = std::io::stderr();
    write!(asking, "value of `{name}`: ")?;
    // Nothing reads before there is a whole line: a read could not be given up.
    let (given_up, asker) = std::io::pipe()?;
    let mut answered = tokio::task::spawn_blocking(move || until_line(&given_up));
    tokio::select! {
        result = &mut answered => result??,
        () = signals.until_end() => {
            drop(asker);
            answered.await??;
            drop(quiet);
            writeln!(asking)?;
            return Ok(None);
        }
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("cannot read the terminal")?;
    Ok(Some(line))
}

/// Returns when the terminal has a line, or the other end of the pipe is gone.
fn until_line(given_up: &PipeReader) -> Result<()> {
    let terminal = std::io::stdin();
    let mut either =
        [PollFd::new(terminal.as_fd(), PollFlags::POLLIN), PollFd::new(given_up.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut either, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            polled => return polled.map(drop).context("cannot wait for the terminal"),
        }
    }
}

/// In place of a key that means something: none does.
const DISABLED: u8 = 0;

/// A terminal without echo, until it is dropped. Its keys that end or stop a process from without, other than Ctrl-C,
/// mean nothing meanwhile: nobody would give the echo back.
struct Quiet(Termios);

impl Quiet {
    fn new() -> Result<Self> {
        let before = tcgetattr(std::io::stdin().as_fd()).context("cannot ask on this terminal")?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        quiet.local_flags.insert(LocalFlags::ECHONL);
        for key in [SpecialCharacterIndices::VSUSP, SpecialCharacterIndices::VQUIT] {
            quiet.control_chars[key as usize] = DISABLED;
        }
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
