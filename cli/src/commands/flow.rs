//! `surefoot flow`: deployed flows and their versions.

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;

use crate::client::Path;
use crate::context::Context;
use crate::exit_codes;
use crate::records::{self, Kind, RecordCommand};
use crate::table::{self, Column, Shape, name_of, plain, time};

pub(crate) const KIND: Kind = Kind {
    name: "flow",
    plural: "flows",
    columns: &[
        plain("NAME", "name"),
        Column { title: "VERSION", field: "version", shape: Shape::Digest },
        Column { title: "SIZE", field: "size_bytes", shape: Shape::Bytes },
        name_of("PROJECT", "project_id", "projects"),
        time("MODIFIED", "modified_at"),
        plain("DESCRIPTION", "description"),
    ],
};

/// What `versions` shows.
const VERSION_COLUMNS: &[Column] = &[
    plain("DIGEST", "digest"),
    Column { title: "SIZE", field: "size_bytes", shape: Shape::Bytes },
    time("DEPLOYED", "deployed_at"),
    plain("BY", "deployed_by"),
    plain("PRESENT", "is_present"),
];

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the versions of one, newest first
    Versions {
        /// Name or id
        key: String,
    },
    #[command(flatten)]
    Record(RecordCommand),
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Versions { key } => versions(&key, context).await,
        Command::Record(command) => records::run(&KIND, command, context).await,
    }
}

async fn versions(key: &str, context: &Context) -> Result<u8> {
    let mut answer = context.existing().await?.get(Path::api(["flows", key, "versions"])).await?;
    // A bare list and a page of one are both fine answers.
    let rows = if answer.is_array() { answer } else { answer["rows"].take() };
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&rows)?;
        return Ok(exit_codes::SUCCESS);
    }
    let none = Default::default();
    let cells = |row: &Value| VERSION_COLUMNS.iter().map(|column| table::cell(row, column, &none)).collect();
    let header: Vec<_> = VERSION_COLUMNS.iter().map(|column| column.title).collect();
    printer.table(&header, rows.as_array().into_iter().flatten().map(cells).collect())?;
    Ok(exit_codes::SUCCESS)
}
