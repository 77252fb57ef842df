//! `surefoot token`: what programs and people show to the API.

use std::time::Duration;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::json;
use surefoot_engine::{Clock, Role};

use crate::client::Path;
use crate::context::Context;
use crate::exit_codes;
use crate::failure::Failure;
use crate::records::{self, Kind, ListArguments, RecordCommand};
use crate::table::{name_of, plain, time};

const KIND: Kind = Kind {
    name: "token",
    plural: "tokens",
    columns: &[
        plain("NAME", "name"),
        plain("ROLE", "role"),
        name_of("PROJECT", "project_id", "projects"),
        time("EXPIRES", "expires_at"),
        time("CREATED", "created_at"),
        plain("BY", "created_by"),
        plain("DESCRIPTION", "description"),
    ],
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make one; it is printed this once and stored nowhere
    Create(CreateArguments),
    /// List them, newest first
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Show one; never the token itself
    Show {
        /// Name or id
        key: String,
    },
    /// Take one back, for good
    #[command(visible_alias = "rm")]
    Remove {
        /// Name or id
        key: String,
    },
}

#[derive(Args)]
pub(crate) struct CreateArguments {
    /// What it is called, in lists and in the audit log
    name: String,
    /// What it allows: each role may do what those before it may
    #[arg(long, value_parser = roles())]
    role: String,
    /// For how many days it is good; until it is removed when there is none
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..))]
    days: Option<u16>,
    /// Where it has its role; everywhere when there is none
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
}

/// The names of the roles.
pub(super) fn roles() -> PossibleValuesParser {
    Role::ALL.map(Role::as_str).into()
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Create(arguments) => create(arguments, context).await,
        Command::List(arguments) => records::run(&KIND, RecordCommand::List(arguments), context).await,
        Command::Show { key } => records::run(&KIND, RecordCommand::Show { key }, context).await,
        Command::Remove { key } => records::remove(&KIND, &key, true, context).await,
    }
}

async fn create(arguments: CreateArguments, context: &Context) -> Result<u8> {
    let mut body = json!({ "name": arguments.name, "role": arguments.role });
    if let Some(days) = arguments.days {
        let good_for = Duration::from_secs(u64::from(days) * 24 * 3600);
        body["expires_at"] = Clock::System.now().after(good_for).to_string().into();
    }
    for (field, value) in [("description", arguments.description), ("project_id", arguments.project)] {
        if let Some(value) = value {
            body[field] = value.into();
        }
    }
    let made = context.client().await?.post(Path::api(["tokens"]), body).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&made)?;
        return Ok(exit_codes::SUCCESS);
    }
    let token = made["token"].as_str().ok_or_else(|| Failure::unavailable("the server's answer has no token"))?;
    printer.say(format_args!("made token `{}`; it is shown this once:", arguments.name));
    printer.line(token)?;
    Ok(exit_codes::SUCCESS)
}
