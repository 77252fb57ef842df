//! `surefoot flow`: deployed flows and their versions.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use crate::client::{Call, Content, Method, Path};
use crate::context::Context;
use crate::records::{self, Kind, RecordCommand};
use crate::table::{self, Column, Shape, name_of, plain, time};
use crate::{exit_codes, inputs};

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
    /// Change how one is run, or where it belongs
    Set(SetArguments),
    /// List the versions of one, newest first
    Versions {
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
    /// An execution that has not ended is ended so long after its start, in milliseconds; `null` for never
    #[arg(long, value_name = "N", value_parser = inputs::number_or_null)]
    deadline_ms: Option<Value>,
    /// So many of its executions may run at one time, and the others wait; `null` for any number
    #[arg(long, value_name = "N", value_parser = inputs::number_or_null)]
    max_concurrent: Option<Value>,
    /// Of its executions among those that wait, from -100 to 100: the greatest first
    #[arg(long, value_name = "N", value_parser = inputs::number_or_null, allow_hyphen_values = true)]
    priority: Option<Value>,
    /// The highest role that its executions have, whoever starts them
    #[arg(long, value_parser = ["viewer", "operator", "author"])]
    role: Option<String>,
    /// JSON Schema of its input, from which the web UI makes a form: JSON, `@FILE`, `-` for standard input, or `null`
    #[arg(long, value_name = "JSON")]
    input_schema: Option<String>,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// The project it belongs to
    #[arg(long, value_name = "NAME|ID")]
    project: Option<String>,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Set(arguments) => set(arguments, context).await,
        Command::Versions { key } => versions(&key, context).await,
        Command::Record(command) => records::run(&KIND, command, context).await,
    }
}

async fn set(arguments: SetArguments, context: &Context) -> Result<u8> {
    let client = context.existing().await?;
    let project = match arguments.project {
        Some(project) => Some(records::id_of(client, "projects", &project).await?.into()),
        None => None,
    };
    let given = [
        ("deadline_ms", arguments.deadline_ms),
        ("max_concurrent", arguments.max_concurrent),
        ("priority", arguments.priority),
        ("role", arguments.role.map(Value::from)),
        ("input_schema", arguments.input_schema.as_deref().map(inputs::json).transpose()?),
        ("description", arguments.description.map(Value::from)),
        ("project_id", project),
    ];
    let fields: Map<String, Value> =
        given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    let path = Path::api([KIND.plural, &arguments.key]);
    let change = Call::new(Method::PATCH, path).content(Content::Json(Value::Object(fields)));
    records::saved(&KIND, context.printer, &client.ask(change).await?, "saved")
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
