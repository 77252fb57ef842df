//! `surefoot setting`: stored JSON documents.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::context::Context;
use crate::inputs;
use crate::records::{self, Kind, RecordCommand};
use crate::table::{name_of, plain, time};

const KIND: Kind = Kind {
    name: "setting",
    plural: "settings",
    columns: &[
        plain("NAME", "name"),
        plain("VALUE", "value"),
        name_of("PROJECT", "project_id", "projects"),
        time("MODIFIED", "modified_at"),
        plain("DESCRIPTION", "description"),
    ],
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create or change one
    Set(SetArguments),
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
        Command::Record(command) => records::run(&KIND, command, context).await,
    }
}
