//! `surefoot scheduler`: flows that decide when. `cron` is built in.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use crate::context::Context;
use crate::records::{self, Kind, RecordCommand};
use crate::table::{name_of, plain, time};

const KIND: Kind = Kind {
    name: "scheduler",
    plural: "schedulers",
    columns: &[
        plain("NAME", "name"),
        name_of("FLOW", "flow_id", "flows"),
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
    /// The flow that decides when
    #[arg(long, value_name = "NAME|ID")]
    flow: Option<String>,
    /// The project it belongs to
    #[arg(long, value_name = "NAME|ID")]
    project: Option<String>,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Set(arguments) => set(arguments, context).await,
        Command::Record(command) => records::run(&KIND, command, context).await,
    }
}

async fn set(arguments: SetArguments, context: &Context) -> Result<u8> {
    let client = context.client().await?;
    let mut fields = Map::new();
    for (field, plural, key) in [("flow_id", "flows", arguments.flow), ("project_id", "projects", arguments.project)] {
        match key {
            // The engine's own flows have no record.
            Some(key) if key.starts_with("native:") => drop(fields.insert(field.into(), key.into())),
            Some(key) => drop(fields.insert(field.into(), records::id_of(client, plural, &key).await?.into())),
            None => {}
        }
    }
    if let Some(description) = arguments.description {
        fields.insert("description".into(), description.into());
    }
    records::set(&KIND, &arguments.key, Value::Object(fields), context).await
}
