//! `surefoot serve`: opens the workspace, does its work, answers HTTP, until it is told to stop.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use crate::client::{Call, Client, Method, Path as ApiPath};
use crate::context::Context;
use crate::reload::Reload;
use crate::server::{Endpoint, Server};
use crate::settings::{self, Flags};
use crate::signals::{Asked, Signals};
use crate::supervisor::Supervisor;
use crate::workspace;
use crate::{exit_codes, failure};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) flags: Flags,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<u8> {
    let data = context.data();
    let settings = context.settings(&arguments.flags)?;
    for unknown in settings::unknown(settings::of_process(), &settings) {
        tracing::warn!("{unknown}");
    }
    let supervisor = Supervisor::from_environment()?;
    let mut signals = Signals::of_server()?;
    let endpoint = Endpoint::bind(&settings, &data).await?;
    let engine = workspace::open(&data, &settings)?;
    let mut server = Server::start(engine, endpoint).await?;
    announce(&server, &data, context)?;
    supervisor.tell(&format!("READY=1\nSTATUS=answers at {}", server.url()));
    tell_setup_link(&server, context).await;
    let broken = until_stopped(&mut server, &mut signals, &supervisor, Reload::new(context, &arguments.flags)?).await;
    supervisor.tell("STOPPING=1\nSTATUS=lets what is under way end");
    let printer = context.printer;
    printer.say("stopping; a second signal stops at once");
    tokio::select! {
        stopped = server.stop(Duration::from_secs(settings.server.drain_seconds.into())) => stopped?,
        () = signals.until_end() => {
            printer.warn("stopped at once: what was under way is taken up at the next start");
            return Ok(exit_codes::INTERRUPTED);
        }
    }
    broken.map_or(Ok(exit_codes::SUCCESS), Err)
}

/// Until somebody asks it to stop, or it broke; meanwhile it reads its settings anew when it is told to.
async fn until_stopped(
    server: &mut Server,
    signals: &mut Signals,
    supervisor: &Supervisor,
    mut reload: Reload<'_>,
) -> Option<anyhow::Error> {
    let data = server.engine().data().to_owned();
    let mut alive = pin!(supervisor.watch(async || answers(&data).await));
    loop {
        tokio::select! {
            error = server.failed() => return Some(error),
            asked = signals.next() => match asked {
                Asked::ToEnd => return None,
                Asked::ToReload => {}
            },
            never = &mut alive => match never {},
        }
        if let Err(error) = supervisor.tell_reloading() {
            tracing::warn!("the supervisor is not told that the settings are read anew: {error:#}");
        }
        let status = match reload.all(server) {
            Ok(()) => format!("answers at {}", server.url()),
            Err(error) => {
                let report = failure::report(&error);
                tracing::error!(error = report.message, hint = report.hint, "the settings stay as they were");
                format!("answers at {}, with the settings of before: the new ones are wrong", server.url())
            }
        };
        supervisor.tell(&format!("READY=1\nSTATUS={status}"));
    }
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
