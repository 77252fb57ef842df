//! `surefoot schedule`: what starts flows at times, and a calculator for cron expressions.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use surefoot_engine::{Clock, next_occurrence};

use crate::context::Context;
use crate::exit_codes;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::records::{self, Kind, RecordCommand};
use crate::table::{name_of, plain, time};

const KIND: Kind = Kind {
    name: "schedule",
    plural: "schedules",
    columns: &[
        plain("NAME", "name"),
        plain("ENABLED", "is_enabled"),
        name_of("SCHEDULER", "scheduler_id", "schedulers"),
        name_of("SETTING", "setting_id", "settings"),
        name_of("FLOW", "flow_id", "flows"),
        name_of("PROJECT", "project_id", "projects"),
        time("MODIFIED", "modified_at"),
    ],
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create or change one
    Set(SetArguments),
    /// Show when a cron expression comes due
    Next {
        /// Five fields, or six with seconds in front: '*/5 * * * *'
        expression: String,
        /// The time zone's name, such as Europe/Vienna
        #[arg(long, value_name = "ZONE", default_value = "UTC")]
        tz: String,
        /// How many times
        #[arg(short, long, value_name = "N", default_value_t = 5)]
        number: u16,
    },
    #[command(flatten)]
    Record(RecordCommand),
}

#[derive(Args)]
pub(crate) struct SetArguments {
    /// Name or id
    key: String,
    /// What decides when; `cron` is built in
    #[arg(long, value_name = "NAME|ID")]
    scheduler: Option<String>,
    /// The setting that the scheduler reads; for `cron` it holds {"cron": "*/5 * * * *", "time_zone": "UTC"}
    #[arg(long, value_name = "NAME|ID")]
    setting: Option<String>,
    /// The flow to start
    #[arg(long, value_name = "NAME|ID")]
    flow: Option<String>,
    /// The project it belongs to
    #[arg(long, value_name = "NAME|ID")]
    project: Option<String>,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// Let it start the flow
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Let it start nothing
    #[arg(long)]
    disable: bool,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Set(arguments) => set(arguments, context).await,
        Command::Next { expression, tz, number } => next(&expression, &tz, number, context.printer),
        Command::Record(command) => records::run(&KIND, command, context).await,
    }
}

async fn set(arguments: SetArguments, context: &Context) -> Result<u8> {
    let client = context.client().await?;
    let mut fields = Map::new();
    let references = [
        ("scheduler_id", "schedulers", arguments.scheduler),
        ("setting_id", "settings", arguments.setting),
        ("flow_id", "flows", arguments.flow),
        ("project_id", "projects", arguments.project),
    ];
    for (field, plural, key) in references {
        if let Some(key) = key {
            fields.insert(field.into(), records::id_of(client, plural, &key).await?.into());
        }
    }
    if let Some(description) = arguments.description {
        fields.insert("description".into(), description.into());
    }
    if arguments.enable || arguments.disable {
        fields.insert("is_enabled".into(), arguments.enable.into());
    }
    records::set(&KIND, &arguments.key, Value::Object(fields), context).await
}

fn next(expression: &str, zone: &str, number: u16, printer: Printer) -> Result<u8> {
    let mut after = Clock::System.now();
    let mut times = Vec::new();
    for _ in 0..number {
        after = next_occurrence(expression, zone, after).map_err(|error| Failure::usage(error.to_string()))?;
        times.push(after.to_string());
    }
    if printer.is_json() {
        printer.json(&times.into())?;
    } else {
        for time in times {
            printer.line(time)?;
        }
    }
    Ok(exit_codes::SUCCESS)
}
