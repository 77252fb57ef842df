//! `surefoot schedule`: what starts flows at times, and what times mean.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use surefoot_engine::{Clock, Explanation, NamedTime, Times, Timestamp};

use crate::client::Path;
use crate::context::Context;
use crate::exit_codes;
use crate::failure::Failure;
use crate::inputs;
use crate::printer::Printer;
use crate::records::{self, Kind, RecordCommand};
use crate::table::{cell, name_of, plain, time};

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
        plain("REASON", "disabled_reason"),
        plain("LAST ERROR", "last_error"),
    ],
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create or change one
    Set(SetArguments),
    /// Say in words what times mean, and when they come next
    Next(NextArguments),
    /// List what would be started in a period, without starting it: any scheduler is run under a clock of its own
    DryRun(DryRunArguments),
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
    /// The setting that the scheduler reads; for `cron` it holds {"cron": "*/5 * * * *", "time_zone": "UTC"}, {"every":
    /// "15m"} or {"at": "2026-12-01T10:00:00Z"}
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

#[derive(Args)]
pub(crate) struct NextArguments {
    /// A cron expression: '*/5 * * * *', '@daily', or a setting: '{"every": "15m"}'
    #[arg(required_unless_present = "schedule")]
    expression: Option<String>,
    /// The time zone's name, such as Europe/Vienna
    #[arg(long, value_name = "ZONE", conflicts_with = "schedule")]
    tz: Option<String>,
    /// The times of this schedule
    #[arg(long, value_name = "NAME|ID", conflicts_with = "expression")]
    schedule: Option<String>,
    /// From then on instead of from now
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// How many times
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    number: u16,
}

#[derive(Args)]
pub(crate) struct DryRunArguments {
    /// Names or ids, also of schedules that are not enabled; all that are enabled without any
    keys: Vec<String>,
    /// The beginning of the period, such as 2026-12-01T00:00:00Z; now without it
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Its end
    #[arg(long, value_name = "TIME")]
    to: Timestamp,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Set(arguments) => set(arguments, context).await,
        Command::Next(arguments) => next(arguments, context).await,
        Command::DryRun(arguments) => dry_run(arguments, context).await,
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

async fn next(arguments: NextArguments, context: &Context) -> Result<u8> {
    let times = match (&arguments.schedule, arguments.expression.as_deref().unwrap_or_default()) {
        (Some(schedule), _) => times_of(schedule, context).await?,
        (None, expression) => times(expression, arguments.tz.as_deref())?,
    };
    let from = arguments.from.unwrap_or_else(|| Clock::System.now());
    show(&times.explain(from, arguments.number.into()), context.printer)
}

fn times(expression: &str, zone: Option<&str>) -> Result<Times> {
    let times = if expression.trim_start().starts_with('{') {
        let mut setting = inputs::object(expression)?;
        if let Some(zone) = zone {
            setting.insert("time_zone".into(), zone.into());
        }
        Times::of_setting(&setting.into())
    } else {
        Times::of_cron(expression, zone.unwrap_or("UTC"))
    };
    Ok(times.map_err(|error| Failure::usage(error.to_string()))?)
}

/// The times of a schedule of the built-in scheduler.
async fn times_of(key: &str, context: &Context) -> Result<Times> {
    let client = context.existing().await?;
    let schedule = client.get(Path::api([KIND.plural, key])).await?;
    let text = |field: &str| schedule[field].as_str().unwrap_or_default();
    let scheduler = client.get(Path::api(["schedulers", text("scheduler_id")])).await?;
    if scheduler["flow_id"] != "native:cron" {
        let error = format!("the times of `{}` are what its scheduler {} makes them", text("name"), scheduler["name"]);
        return Err(Failure::usage(error).hint("`surefoot schedule dry-run` runs it and shows them").into());
    }
    let setting = client.get(Path::api(["settings", text("setting_id")])).await?;
    Ok(Times::of_setting(&setting["value"]).map_err(|error| Failure::usage(error.to_string()))?)
}

fn show(explanation: &Explanation, printer: Printer) -> Result<u8> {
    if printer.is_json() {
        printer.json(&serde_json::to_value(explanation)?)?;
        return Ok(exit_codes::SUCCESS);
    }
    printer.line(&explanation.words)?;
    if explanation.times.is_empty() {
        printer.say("there is no time to come");
        return Ok(exit_codes::SUCCESS);
    }
    let row = |time: &NamedTime| {
        let local = format!("{} {}", time.local.replace('T', " "), time.abbreviation);
        vec![time.weekday.to_owned(), local, time.utc.replace('T', " ").replace(".000000", "")]
    };
    printer.table(&["DAY", "LOCAL", "UTC"], explanation.times.iter().map(row).collect())?;
    Ok(exit_codes::SUCCESS)
}

async fn dry_run(arguments: DryRunArguments, context: &Context) -> Result<u8> {
    let from = arguments.from.unwrap_or_else(|| Clock::System.now());
    let body = json!({"from": from.to_string(), "to": arguments.to.to_string(), "schedules": arguments.keys});
    let found = context.existing().await?.post(Path::api(["schedule-dry-run"]), body).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&found)?;
        return Ok(exit_codes::SUCCESS);
    }
    let rows = |field: &str| found[field].as_array().cloned().unwrap_or_default();
    let none = Default::default();
    let columns = [time("AT", "at"), plain("SCHEDULE", "schedule"), plain("FLOW", "flow")];
    let starts = rows("starts");
    if starts.is_empty() {
        printer.say("nothing would be started");
    } else {
        let cells = |row: &Value| columns.iter().map(|column| cell(row, column, &none)).collect();
        let header: Vec<_> = columns.iter().map(|column| column.title).collect();
        printer.table(&header, starts.iter().map(cells).collect())?;
    }
    for problem in rows("problems") {
        let text = |field: &str| problem[field].as_str().unwrap_or_default().to_owned();
        printer.warn(format_args!("{} would fail at {}: {}", text("schedule"), text("at"), text("message")));
    }
    if found["is_complete"] != true {
        printer.warn("this is not all: name fewer schedules, or a shorter period");
    }
    Ok(exit_codes::SUCCESS)
}
