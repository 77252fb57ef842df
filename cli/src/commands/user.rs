//! `surefoot user`: who may log in, and what they may do.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::token::roles;
use crate::client::{Call, Content, Method, Path};
use crate::context::Context;
use crate::exit_codes;
use crate::failure::Failure;
use crate::records::{self, Kind, ListArguments, RecordCommand};
use crate::table::{plain, time};

const KIND: Kind = Kind {
    name: "user",
    plural: "users",
    columns: &[
        plain("NAME", "name"),
        plain("DISPLAY NAME", "display_name"),
        plain("ROLE", "role"),
        plain("ENABLED", "is_enabled"),
        plain("PASSWORD", "has_password"),
        time("CREATED", "created_at"),
    ],
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make one; a link is printed this once, with which they set their password within a day
    Create(CreateArguments),
    /// Change what one may do, or is called
    Set(SetArguments),
    /// List them, newest first
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Show one; never a password
    Show {
        /// Name or id
        key: String,
    },
    /// Take one's password away and print a link to set another; they are logged out
    Reset {
        /// Name or id
        key: String,
    },
    /// Let one log in again
    Enable {
        /// Name or id
        key: String,
    },
    /// Log one out, and let them in no more
    Disable {
        /// Name or id
        key: String,
    },
    /// Move one to the trash; they are logged out
    #[command(visible_alias = "rm", alias = "remove")]
    Delete {
        /// Name or id
        key: String,
        /// Delete it for good
        #[arg(long)]
        permanently: bool,
    },
}

#[derive(Args)]
pub(crate) struct CreateArguments {
    /// With which they log in
    name: String,
    #[command(flatten)]
    rights: Rights,
}

#[derive(Args)]
pub(crate) struct SetArguments {
    /// Name or id
    key: String,
    #[command(flatten)]
    rights: Rights,
}

#[derive(Args)]
struct Rights {
    /// What they may do in the whole workspace: each role may do what those before it may
    #[arg(long, value_parser = roles())]
    role: Option<String>,
    /// What they may do in a project, such as my-project=author; may be repeated
    #[arg(long, value_name = "PROJECT=ROLE", value_parser = in_project)]
    project: Vec<(String, String)>,
    /// The name for people
    #[arg(long)]
    display_name: Option<String>,
}

fn in_project(text: &str) -> Result<(String, String), String> {
    let (project, role) = text.rsplit_once('=').ok_or("write PROJECT=ROLE, such as my-project=author")?;
    let role: surefoot_engine::Role = role.parse().map_err(|error| format!("{error}"))?;
    Ok((project.to_owned(), role.to_string()))
}

impl Rights {
    /// The fields that were given.
    fn fields(self) -> Value {
        let mut fields = Map::new();
        for (field, value) in [("role", self.role), ("display_name", self.display_name)] {
            fields.extend(value.map(|value| (field.to_owned(), value.into())));
        }
        if !self.project.is_empty() {
            let roles: Map<String, Value> = self.project.into_iter().map(|(key, role)| (key, role.into())).collect();
            fields.insert("project_roles".to_owned(), roles.into());
        }
        fields.into()
    }
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Create(CreateArguments { name, rights }) => {
            let mut fields = rights.fields();
            fields["name"] = name.into();
            let made = context.client().await?.post(Path::api([KIND.plural]), fields).await?;
            tell(&made, "made", context)
        }
        Command::Set(SetArguments { key, rights }) => {
            let change =
                Call::new(Method::PATCH, Path::api([KIND.plural, &key])).content(Content::Json(rights.fields()));
            let record = context.existing().await?.ask(change).await?;
            records::saved(&KIND, context.printer, &record, "saved")
        }
        Command::Reset { key } => {
            let path = Path::api([KIND.plural, &key, "reset"]);
            tell(&context.existing().await?.post(path, json!({})).await?, "reset", context)
        }
        Command::Enable { key } => switch(&key, "enable", "enabled", context).await,
        Command::Disable { key } => switch(&key, "disable", "disabled", context).await,
        Command::List(arguments) => records::run(&KIND, RecordCommand::List(arguments), context).await,
        Command::Show { key } => records::run(&KIND, RecordCommand::Show { key }, context).await,
        Command::Delete { key, permanently } => records::remove(&KIND, &key, permanently, context).await,
    }
}

async fn switch(key: &str, action: &str, done: &str, context: &Context) -> Result<u8> {
    let record = context.existing().await?.post(Path::api([KIND.plural, key, action]), json!({})).await?;
    records::saved(&KIND, context.printer, &record, done)
}

/// Prints the link. A command over the socket does not know under which address people reach the server.
fn tell(made: &Value, done: &str, context: &Context) -> Result<u8> {
    let printer = context.printer;
    if printer.is_json() {
        printer.json(made)?;
        return Ok(exit_codes::SUCCESS);
    }
    let path = made["link"]["path"].as_str().ok_or_else(|| Failure::unavailable("the server's answer has no link"))?;
    let name = made["record"]["name"].as_str().unwrap_or_default();
    printer.say(format_args!("{done} user `{name}`; with this link, at the server's address, they set their password"));
    printer.say("within a day. It is shown this once:");
    match context.server_option() {
        Some(server) => printer.line(format_args!("{}{path}", server.trim_end_matches('/')))?,
        None => printer.line(path)?,
    }
    Ok(exit_codes::SUCCESS)
}
