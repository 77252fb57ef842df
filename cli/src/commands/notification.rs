//! `surefoot notification`: who is told when a flow fails, works again, or asks something.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::client::Path;
use crate::context::Context;
use crate::records::{self, Kind, RecordCommand};
use crate::table::{name_of, plain, time};
use crate::{exit_codes, inputs};

const KIND: Kind = Kind {
    name: "notification",
    plural: "notifications",
    columns: &[
        plain("NAME", "name"),
        plain("ENABLED", "is_enabled"),
        plain("ON", "on"),
        name_of("FLOW", "flow_id", "flows"),
        name_of("CONNECTOR", "connector_id", "connectors"),
        name_of("PROJECT", "project_id", "projects"),
        time("MODIFIED", "modified_at"),
        plain("REASON", "disabled_reason"),
    ],
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create or change one
    Set(SetArguments),
    /// Send a test message by one, once, whether or not it is enabled
    Test {
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
    /// What it tells of: failure, recovery, approval
    #[arg(long, value_name = "WORDS", value_delimiter = ',')]
    on: Vec<String>,
    /// The flow it tells of; without one those of the project, or all
    #[arg(long, value_name = "NAME|ID")]
    flow: Option<String>,
    /// The connector that takes it to somebody, of type smtp or http
    #[arg(long, value_name = "NAME|ID")]
    connector: Option<String>,
    /// Addresses that a mail goes to; without them those of the connector
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    to: Vec<String>,
    /// Tell of a failure that lasts again after that long, in milliseconds, or `null` for never
    #[arg(long, value_name = "N", value_parser = inputs::number_or_null)]
    repeat_after_ms: Option<Value>,
    /// Whether the link that answers a question without an account is sent along
    #[arg(long, value_name = "true|false")]
    link: Option<bool>,
    /// The project it belongs to
    #[arg(long, value_name = "NAME|ID")]
    project: Option<String>,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// Let it tell
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Let it tell nothing
    #[arg(long)]
    disable: bool,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Set(arguments) => set(arguments, context).await,
        Command::Test { key } => test(&key, context).await,
        Command::Record(command) => records::run(&KIND, command, context).await,
    }
}

async fn set(arguments: SetArguments, context: &Context) -> Result<u8> {
    let client = context.client().await?;
    let mut fields = Map::new();
    let references = [
        ("flow_id", "flows", arguments.flow),
        ("connector_id", "connectors", arguments.connector),
        ("project_id", "projects", arguments.project),
    ];
    for (field, plural, key) in references {
        if let Some(key) = key {
            fields.insert(field.into(), records::id_of(client, plural, &key).await?.into());
        }
    }
    for (field, values) in [("on", arguments.on), ("to", arguments.to)] {
        if !values.is_empty() {
            fields.insert(field.into(), values.into());
        }
    }
    let optional = [
        ("repeat_after_ms", arguments.repeat_after_ms),
        ("is_link_sent", arguments.link.map(Value::from)),
        ("description", arguments.description.map(Value::from)),
        ("is_enabled", (arguments.enable || arguments.disable).then_some(arguments.enable.into())),
    ];
    fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    records::set(&KIND, &arguments.key, Value::Object(fields), context).await
}

async fn test(key: &str, context: &Context) -> Result<u8> {
    let answer = context.existing().await?.post(Path::api([KIND.plural, key, "test"]), json!({})).await?;
    let (printer, ok) = (context.printer, answer["ok"] == true);
    if printer.is_json() {
        printer.json(&answer)?;
    } else if ok {
        let duration = answer["duration_ms"].as_u64().unwrap_or_default();
        printer.say(format_args!("the test message of `{key}` was taken within {duration} ms"));
        printer.json(&answer["output"])?;
    } else {
        let text = |field: &str| answer["error"][field].as_str().unwrap_or_default();
        let said = format!("the test message of `{key}` was not delivered ({}): {}", text("code"), text("message"));
        printer.error(format_args!("{said}"), None);
    }
    Ok(if ok { exit_codes::SUCCESS } else { exit_codes::RUN_FAILED })
}
