//! `surefoot setting`: stored JSON documents, which are also locks.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::client::Path;
use crate::context::Context;
use crate::inputs;
use crate::records::{self, Kind, RecordCommand};
use crate::table::{member, name_of, plain, time};

const KIND: Kind = Kind {
    name: "setting",
    plural: "settings",
    columns: &[
        plain("NAME", "name"),
        plain("VALUE", "value"),
        member("LOCKED BY", "locked_by", "execution_id"),
        name_of("PROJECT", "project_id", "projects"),
        time("MODIFIED", "modified_at"),
        plain("DESCRIPTION", "description"),
    ],
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create or change one
    Set(SetArguments),
    /// Take the lock of one from the execution that holds it, and give it to the next
    Unlock {
        /// Name or id
        key: String,
    },
    #[command(flatten)]
    Record(RecordCommand),
}

#[derive(Args)]
pub(crate) struct SetArguments {
    /// Name or id
    key: String,
    /// The document: JSON, `@FILE`, or `-` for standard input
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    value: String,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// The project it belongs to
    #[arg(long, value_name = "NAME|ID")]
    project: Option<String>,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Set(arguments) => {
            let mut fields = json!({ "value": inputs::json(&arguments.value)? });
            if let Some(description) = arguments.description {
                fields["description"] = description.into();
            }
            if let Some(project) = arguments.project {
                fields["project_id"] = records::id_of(context.client().await?, "projects", &project).await?.into();
            }
            records::set(&KIND, &arguments.key, fields, context).await
        }
        Command::Unlock { key } => {
            let path = Path::api([KIND.plural, &key, "unlock"]);
            let record = context.existing().await?.post(path, json!({})).await?;
            records::saved(&KIND, context.printer, &record, "unlocked")
        }
        Command::Record(command) => records::run(&KIND, command, context).await,
    }
}
