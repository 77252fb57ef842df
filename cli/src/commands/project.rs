//! `surefoot project`: groups of records.

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Map, Value};

use crate::context::Context;
use crate::records::{self, Kind, RecordCommand};
use crate::table::{plain, time};

const KIND: Kind = Kind {
    name: "project",
    plural: "projects",
    columns: &[
        plain("NAME", "name"),
        plain("DESCRIPTION", "description"),
        time("CREATED", "created_at"),
        plain("ID", "id"),
    ],
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create or change one
    Set {
        /// Name or id
        key: String,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
    },
    #[command(flatten)]
    Record(RecordCommand),
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Set { key, description } => {
            let fields: Map<String, Value> =
                description.map(|description| ("description".to_owned(), description.into())).into_iter().collect();
            records::set(&KIND, &key, Value::Object(fields), context).await
        }
        Command::Record(command) => records::run(&KIND, command, context).await,
    }
}
