//! `surefoot demo`: everything at once, on this machine alone. It builds the example flows, starts protocol servers on
//! free loopback ports and a server of its own, and calls the webhook of the flow that tests an upgrade.
//!
//! Nothing here is special to the demo but the target systems: the workspace is filled and asked through the API.

mod breakage;
mod call;
mod stage;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use surefoot_fixtures::{System, Targets};

use self::breakage::Breakable;
use self::call::Verdict;
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::guest::{self, Component};
use crate::printer::Printer;
use crate::server::{Endpoint, Server};
use crate::settings::Settings;
use crate::signals::Signals;
use crate::{exit_codes, workspace};

/// How long what is under way may take at the end.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(crate) struct Arguments {
    /// What to break before the call, separated by commas
    #[arg(long = "break", value_name = "WHAT", value_delimiter = ',')]
    breakage: Vec<Breakable>,
    /// Leave everything running until Ctrl-C, to look around
    #[arg(long)]
    keep: bool,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<u8> {
    let printer = context.printer;
    let mut signals = Signals::new()?;
    let flows = tokio::select! {
        flows = build(printer) => flows?,
        () = signals.until_end() => return Ok(exit_codes::INTERRUPTED),
    };
    let targets = Targets::start().await.context("cannot start the target systems")?;
    let addresses = System::ALL.map(|system| format!("{system} {}", targets.service(system).addr()));
    printer.say(format_args!("started the target systems: {}", addresses.join(", ")));

    let home = Home::new(context.data_option())?;
    // Whatever a settings file says: the demo is for this machine alone.
    let mut settings = Settings::default_ones()?;
    settings.server.listen = "127.0.0.1:0".to_owned();
    settings.egress.allow = vec!["127.0.0.1".parse().context("the loopback is a rule")?];
    let endpoint = Endpoint::bind(&settings, home.path()).await?;
    let engine = workspace::open(home.path(), &settings)?;
    let mut server = Server::start(engine, endpoint).await?;
    printer.say(format_args!("started the server: {}, workspace {}", server.url(), home.path().display()));

    let mut shown = tokio::select! {
        shown = show(&arguments, &server, &targets, &flows, &home, printer) => shown,
        () = signals.until_end() => Ok(exit_codes::INTERRUPTED),
    };
    if arguments.keep && shown.as_ref().is_ok_and(|exit_code| *exit_code != exit_codes::INTERRUPTED) {
        printer.say("\nEverything is running. Ctrl-C stops it.");
        tokio::select! {
            error = server.failed() => shown = Err(error),
            () = signals.until_end() => {}
        }
    }
    let stopped = server.stop(GRACE).await;
    shown.and_then(|exit_code| stopped.map(|()| exit_code))
}

/// Fills the workspace, calls the webhook, prints what came of it.
async fn show(
    arguments: &Arguments,
    server: &Server,
    targets: &Targets,
    flows: &[Component],
    home: &Home,
    printer: Printer,
) -> Result<u8> {
    let client = Client::open(home.path().to_owned(), Settings::default_ones, None, None).await?;
    let key = stage::set(&client, targets, flows).await?;
    printer.say(format_args!("deployed {} flows; set up connectors, scheduler, webhook", flows.len()));
    breakage::apply(&arguments.breakage, targets, &client).await?;
    if !arguments.breakage.is_empty() {
        let names: Vec<_> = breakage::all_of(&arguments.breakage).into_iter().map(Breakable::name).collect();
        printer.say(format_args!("broke on purpose: {}", names.join(", ")));
    }

    let verdict = call::webhook(server, &client, &key, printer).await?;
    call::print(&verdict, printer)?;
    let is_kept = arguments.keep || home.is_chosen();
    printer.say(if is_kept { where_to_look(&verdict, home.path(), server, &key) } else { what_to_try(&verdict) });
    Ok(if verdict.status == 200 { exit_codes::SUCCESS } else { exit_codes::RUN_FAILED })
}

/// Builds every example flow.
async fn build(printer: Printer) -> Result<Vec<Component>> {
    let checkout = guest::checkout().ok_or_else(|| {
        let failure =
            Failure::usage("the demo builds its flows from the checkout that this program came from, which is gone");
        failure.hint("Run it there: cargo run --release -- demo")
    })?;
    let folder = checkout.join("flows");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        if path.join("Cargo.toml").is_file() {
            names.extend(path.file_name().and_then(|name| name.to_str()).map(str::to_owned));
        }
    }
    names.sort();
    printer.say(format_args!(
        "building {} example flows for wasm32-wasip2; the first time takes a minute or two",
        names.len()
    ));
    guest::build_packages(&checkout, &names, printer).await
}

/// Where the demo's workspace is.
enum Home {
    /// Gone with the demo.
    Temporary(tempfile::TempDir),
    /// Chosen with `--data`, so it stays.
    Chosen(PathBuf),
}

impl Home {
    fn new(chosen: Option<&Path>) -> Result<Self> {
        match chosen {
            Some(path) => Ok(Self::Chosen(path.to_owned())),
            None => {
                let folder = tempfile::Builder::new().prefix("surefoot-demo-").tempdir();
                folder.map(Self::Temporary).context("cannot make a temporary folder")
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Chosen(path) => path,
        }
    }

    fn is_chosen(&self) -> bool {
        matches!(self, Self::Chosen(_))
    }
}

fn where_to_look(verdict: &Verdict, data: &Path, server: &Server, key: &str) -> String {
    let surefoot = format!("{} --data {}", program(), data.display());
    let (id, url) = (&verdict.execution_id, call::url(server));
    format!(
        "\nLook around:\n  \
         {surefoot} execution show {id}\n  \
         {surefoot} execution list --parent {id}\n  \
         {surefoot} execution log {id}\n  \
         {surefoot} execution journal {id}\n\
         Call it again, while the demo runs (--keep):\n  \
         curl -i -X POST -H 'X-Surefoot-Key: {key}' {url}"
    )
}

fn what_to_try(verdict: &Verdict) -> String {
    let program = program();
    let other = if verdict.status == 200 {
        format!("See it notice what is broken:      {program} demo --break ftp,smtp")
    } else {
        format!("See it with everything in order:   {program} demo")
    };
    format!(
        "\nThe workspace was temporary and is gone.\n  {other}\n  \
         Keep it running and look around:   {program} demo --keep"
    )
}

/// How this program was called.
fn program() -> String {
    let name = std::env::args_os().next().unwrap_or_else(|| OsString::from("surefoot"));
    name.to_string_lossy().into_owned()
}
