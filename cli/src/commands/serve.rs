//! `surefoot serve`: opens the workspace, does its work, answers HTTP, until it is told to stop.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use crate::client::{Call, Client, Method, Path as ApiPath};
use crate::context::Context;
use crate::exit_codes;
use crate::server::{Endpoint, Server};
use crate::settings::Flags;
use crate::signals::Signals;
use crate::supervisor::Supervisor;
use crate::workspace;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) flags: Flags,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<u8> {
    let data = context.data();
    let settings = context.settings(&arguments.flags)?;
    let supervisor = Supervisor::from_environment()?;
    let mut signals = Signals::new()?;
    let endpoint = Endpoint::bind(&settings, &data).await?;
    let engine = workspace::open(&data, &settings)?;
    let mut server = Server::start(engine, endpoint).await?;
    announce(&server, &data, context)?;
    supervisor.tell(&format!("READY=1\nSTATUS=answers at {}", server.url()));
    tell_setup_link(&server, context).await;
    let broken = tokio::select! {
        error = server.failed() => Some(error),
        () = signals.next() => None,
        never = supervisor.watch(async || answers(&data).await) => match never {},
    };
    supervisor.tell("STOPPING=1\nSTATUS=lets what is under way end");
    let printer = context.printer;
    printer.say("stopping; a second signal stops at once");
    tokio::select! {
        stopped = server.stop(Duration::from_secs(settings.server.drain_seconds.into())) => stopped?,
        () = signals.next() => {
            printer.warn("stopped at once: what was under way is taken up at the next start");
            return Ok(exit_codes::INTERRUPTED);
        }
    }
    broken.map_or(Ok(exit_codes::SUCCESS), Err)
}

fn announce(server: &Server, data: &Path, context: &Context) -> Result<()> {
    let printer = context.printer;
    if printer.is_json() {
        return printer.json_line(&json!({ "url": server.url(), "socket": server.socket(), "data": data }));
    }
    printer.line(server.url())?;
    printer.say(format_args!("the workspace {} is open; commands with this --data reach it", data.display()));
    printer.say(format_args!("the token for the API is in {}", data.join("token").display()));
    Ok(())
}

/// As long as there never was a user. For the eyes of who started it: it goes to no log.
async fn tell_setup_link(server: &Server, context: &Context) {
    let printer = context.printer;
    match server.setup_link().await {
        Ok(None) => {}
        Ok(Some(link)) => {
            printer.say(format_args!("nobody can log in yet: make the first admin within a day, at {link}"));
        }
        // Whatever it is, the work goes on without.
        Err(error) => printer.warn(format_args!("the link to make the first admin could not be made: {error:#}")),
    }
}

/// Whether this server answers, as one who calls it finds out. What it answers does not matter: one that recovers, or
/// has no room, is not mended by a restart.
async fn answers(data: &Path) -> Result<()> {
    let client = Client::of_server(data, None, None).await?.context("nobody listens on the socket")?;
    client.send(Call::new(Method::GET, ApiPath::below("", ["readyz"]))).await.map(drop)
}
