//! `surefoot serve`: opens the workspace, does its work, answers HTTP, until it is told to stop.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use surefoot_connector_api::EgressRule;

use crate::context::Context;
use crate::exit_codes;
use crate::server::{Endpoint, Server};
use crate::signals::Signals;
use crate::workspace;

/// Where to listen when nobody says: the loopback, since a deployed flow is code that runs.
const LISTEN_DEFAULT: &str = "127.0.0.1:7070";

/// How long connector calls and callers may take after the first signal.
const GRACE: Duration = Duration::from_secs(30);

#[derive(Args)]
pub(crate) struct Arguments {
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:7070, or what surefoot.toml says]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// A name under which callers reach the server, beside localhost; may be repeated
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// A host that connectors may reach, such as db.example.com:1433 or 10.0.0.0/8; may be repeated
    #[arg(long, value_name = "HOST")]
    allow_egress: Vec<EgressRule>,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<u8> {
    let data = context.data();
    let settings = workspace::Settings::read(&data)?;
    let mut signals = Signals::new()?;
    let egress = [settings.egress.allow, arguments.allow_egress].concat();
    let listen = arguments.listen.or(settings.server.listen).unwrap_or_else(|| LISTEN_DEFAULT.to_owned());
    let endpoint = Endpoint::bind(&listen, [settings.server.hosts, arguments.allow_host].concat(), &data).await?;
    let engine = workspace::open(&data, egress, settings.retention.retention())?;
    let mut server = Server::start(engine, endpoint).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json_line(&json!({ "url": server.url(), "socket": server.socket(), "data": data }))?;
    } else {
        printer.line(server.url())?;
        printer.say(format_args!("the workspace {} is open; commands with this --data reach it", data.display()));
        printer.say(format_args!("the token for the API is in {}", data.join("token").display()));
    }
    let broken = tokio::select! {
        error = server.failed() => Some(error),
        () = signals.next() => None,
    };
    printer.say("stopping; a second signal stops at once");
    tokio::select! {
        stopped = server.stop(GRACE) => stopped?,
        () = signals.next() => {
            printer.warn("stopped at once: what was under way is taken up at the next start");
            return Ok(exit_codes::INTERRUPTED);
        }
    }
    broken.map_or(Ok(exit_codes::SUCCESS), Err)
}
