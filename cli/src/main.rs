//! The binary `surefoot`: the composition root. It knows terminals, and joins engine, connectors and web; what a
//! command does is in [`commands`], one file each.
//!
//! Invariant: data is reached through [`client`] alone, which speaks the HTTP API, whether a server runs or not. But
//! for three commands, on a folder that is not at work: `restore` makes one, `doctor` must not set a sick one going,
//! and `secret rekey` changes what it is opened with.

mod cli;
mod client;
mod commands;
mod configuration;
mod context;
mod events;
mod exit_codes;
mod failure;
mod follow;
mod guest;
mod inputs;
mod logging;
mod printer;
mod records;
mod reload;
mod secrets_key;
mod server;
mod settings;
mod signals;
mod supervisor;
mod table;
mod workspace;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use clap::error::ErrorKind;

use crate::cli::Cli;
use crate::context::Context;

/// A step allocates on one thread and frees on another, which this allocator does without a lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long blocking work may hold up the end of the process: a read of a terminal never returns by itself.
const LAST_GRACE: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let context = Context::new(&cli.global);
    let printer = context.printer;
    let log = cli.command.log(&context).and_then(|log| logging::start(log, cli.global.verbose));
    let done = log.and_then(|()| run(cli, context));
    ExitCode::from(done.unwrap_or_else(|error| {
        let report = failure::report(&error);
        printer.error(report.message, report.hint.as_deref());
        report.exit_code
    }))
}

/// Help and version are data and end well; anything else that the parser says is a usage error.
fn refuse(error: &clap::Error) -> ExitCode {
    // There is nobody left to tell when the terminal is gone.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::from(exit_codes::SUCCESS),
        _ => ExitCode::from(exit_codes::USAGE),
    }
}

fn run(cli: Cli, context: Context) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let done = runtime.block_on(async {
        let done = commands::run(cli.command, &context).await;
        let closed = context.close().await;
        done.and_then(|exit_code| closed.map(|()| exit_code))
    });
    runtime.shutdown_timeout(LAST_GRACE);
    done
}
