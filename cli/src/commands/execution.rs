//! `surefoot execution`: what ran and runs, and steering it.

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use surefoot_engine::Status;

use crate::client::Path;
use crate::context::Context;
use crate::events::Events;
use crate::failure::Failure;
use crate::follow::{self, Log};
use crate::records::{self, Kind, Wanted};
use crate::table::{self, name_of, plain, time};
use crate::{exit_codes, inputs};

pub(crate) const KIND: Kind = Kind {
    name: "execution",
    plural: "executions",
    columns: &[
        plain("ID", "id"),
        plain("TYPE", "type"),
        plain("NAME", "name"),
        plain("STATUS", "status"),
        plain("MESSAGE", "message"),
        time("CREATED", "created_at"),
        time("ENDED", "ended_at"),
        name_of("FLOW", "flow_id", "flows"),
        plain("ERROR", "error_message"),
    ],
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List them, newest first
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Show one
    Show {
        /// Id
        id: String,
    },
    /// Show the log of one
    Log {
        /// Id
        id: String,
        /// Go on until it ends
        #[arg(long, short)]
        follow: bool,
    },
    /// Show what one did: its calls and their results
    Journal {
        /// Id
        id: String,
    },
    /// Ask one to end; it does at its next call
    Cancel {
        /// Id
        id: String,
    },
    /// Let one do nothing until it is resumed
    Pause {
        /// Id
        id: String,
    },
    /// Let a paused one go on, or all that a restore paused
    Resume {
        /// Id
        id: Option<String>,
        /// All that a restore paused; iterations of schedules go on when their schedule is enabled
        #[arg(long, conflicts_with = "id")]
        restored: bool,
    },
    /// Start the flow of one anew, in its present version
    Rerun {
        /// Id
        id: String,
        /// Another input: JSON, `@FILE`, or `-` for standard input; the same one when there is none
        #[arg(long, value_name = "JSON")]
        input: Option<String>,
    },
    /// Start one that has ended once more from one of its calls, with the results of the calls before that one
    Restart {
        /// Id
        id: String,
        /// The number of the first call that is made anew; `execution journal` shows the numbers
        #[arg(long, value_name = "CALL")]
        from: u32,
        /// Run the flow's present version and not the one that ran: it must make the same calls up to there
        #[arg(long)]
        newest: bool,
    },
    /// Send a signal that one waits for, or will
    Signal {
        /// Id
        id: String,
        /// The signal's name
        name: String,
        /// What it carries: JSON, `@FILE`, or `-` for standard input
        #[arg(long, value_name = "JSON")]
        payload: Option<String>,
    },
    /// Wait until one has ended, and show it
    Wait {
        /// Id
        id: String,
    },
    /// Move one that has ended to the trash, with all that it started
    #[command(visible_aliases = ["rm", "delete"])]
    Remove {
        /// Id
        id: String,
        /// Delete it for good
        #[arg(long)]
        permanently: bool,
    },
    /// Take one out of the trash, with all that it started
    Restore {
        /// Id; `list --trash` shows it
        id: String,
    },
}

#[derive(Args)]
pub(crate) struct ListArguments {
    /// Only those that match, such as '{"field": "error_code", "op": "eq", "value": "trap"}'
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// Only those with this status, such as RUNNING
    #[arg(long, ignore_case = true, value_parser = statuses())]
    status: Option<String>,
    /// Only those of this flow
    #[arg(long, value_name = "NAME|ID")]
    flow: Option<String>,
    /// Only the children and connections of this execution
    #[arg(long, value_name = "ID")]
    parent: Option<String>,
    /// Only those of this type: FLOW, CONNECTION or SCHEDULE
    #[arg(long, value_name = "TYPE", ignore_case = true, value_parser = ["FLOW", "CONNECTION", "SCHEDULE"])]
    r#type: Option<String>,
    /// The field to order by; with a leading `-` the largest first
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    order: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Those in the trash
    #[arg(long)]
    trash: bool,
    /// Then go on with what changes in the list, a line each
    #[arg(long, conflicts_with = "trash")]
    follow: bool,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::List(arguments) => list(arguments, context).await,
        Command::Show { id } => {
            let row = context.existing().await?.get(Path::api(["executions", &id])).await?;
            records::show(context.printer, &row)
        }
        Command::Log { id, follow } => log(&id, follow, context).await,
        Command::Journal { id } => journal(&id, context).await,
        Command::Cancel { id } => steer(&id, "cancel", context).await,
        Command::Pause { id } => steer(&id, "pause", context).await,
        Command::Resume { id: Some(id), .. } => steer(&id, "resume", context).await,
        Command::Resume { id: None, restored: true } => resume_restored(context).await,
        Command::Resume { id: None, restored: false } => {
            let failure = Failure::usage("it is not said which execution is to go on");
            Err(failure.hint("Name its id; or pass --restored for all that a restore paused.").into())
        }
        Command::Rerun { id, input } => {
            let body = match input.as_deref() {
                Some(input) => json!({ "input": inputs::json(input)? }),
                None => json!({}),
            };
            start_again(Path::api(["executions", &id, "rerun"]), body, context).await
        }
        Command::Restart { id, from, newest } => {
            let version = if newest { "newest" } else { "same" };
            let body = json!({ "from": from, "version": version });
            start_again(Path::api(["executions", &id, "restart"]), body, context).await
        }
        Command::Signal { id, name, payload } => {
            let payload = inputs::optional_json(payload.as_deref())?;
            let path = Path::api(["executions", &id, "signals", &name]);
            let sent = context.existing().await?.post(path, json!({ "payload": payload })).await?;
            if context.printer.is_json() {
                context.printer.json(&sent)?;
            } else {
                context.printer.say(format_args!("sent signal `{name}` to {id}"));
            }
            Ok(exit_codes::SUCCESS)
        }
        Command::Wait { id } => {
            let row = follow::until_end(context.existing().await?, &id, |_| Ok(())).await?;
            records::show(context.printer, &row)?;
            Ok(follow::exit_code(&row))
        }
        Command::Remove { id, permanently } => records::remove(&KIND, &id, permanently, context).await,
        Command::Restore { id } => records::restore(&KIND, &id, context).await,
    }
}

/// What an execution may be doing. One that does not exist would only make an empty list.
fn statuses() -> PossibleValuesParser {
    PossibleValuesParser::new(Status::ALL.map(|(_, text)| text))
}

async fn list(arguments: ListArguments, context: &Context) -> Result<u8> {
    let equals = |field: &str, value: Value| json!({ "field": field, "op": "eq", "value": value });
    let mut filters: Vec<Value> = arguments.filter.as_deref().map(inputs::json).transpose()?.into_iter().collect();
    let upper = |text: Option<String>| text.map(|text| text.to_uppercase());
    let given =
        [("status", upper(arguments.status)), ("parent_id", arguments.parent), ("type", upper(arguments.r#type))];
    filters.extend(given.into_iter().filter_map(|(field, value)| Some(equals(field, value?.into()))));
    if let Some(flow) = arguments.flow {
        filters.push(equals("flow_id", records::id_of(context.existing().await?, "flows", &flow).await?.into()));
    }
    let filter = match filters.len() {
        0 | 1 => filters.pop(),
        _ => Some(json!({ "and": filters })),
    };
    let wanted = Wanted { filter, order: arguments.order, limit: arguments.limit, trash: arguments.trash };
    match arguments.follow {
        true => follow_list(&wanted, context).await,
        false => records::list(&KIND, &wanted, context).await,
    }
}

/// With JSON one line of JSON for each event; the rows that there are come as if they had just changed.
async fn follow_list(wanted: &Wanted, context: &Context) -> Result<u8> {
    let (client, printer) = (context.existing().await?, context.printer);
    let path = Path::api(["executions", "events"]).query_if("filter", wanted.filter.as_ref());
    let mut events = Events::of(client, printer, path);
    loop {
        let (name, document) = events.next().await?;
        let mut lines = Vec::new();
        match name.as_str() {
            "reset" if printer.is_json() => {
                let (rows, _) = records::fetch(client, KIND.plural, wanted).await?;
                lines.push(json!({ "event": name }).to_string());
                lines.extend(rows.iter().map(|row| json!({ "event": "execution", "execution": row }).to_string()));
            }
            "reset" => drop(records::list(&KIND, wanted, context).await?),
            "execution" if printer.is_json() => lines.push(json!({ "event": name, "execution": document }).to_string()),
            "execution" => lines.push(follow::row_text(&document)),
            _ if printer.is_json() => lines.push(json!({ "event": name, "id": document["id"] }).to_string()),
            _ => lines.push(format!("{}  is not in the list any more", document["id"].as_str().unwrap_or_default())),
        }
        for line in lines {
            if !printer.one_of_many(line)? {
                return Ok(exit_codes::SUCCESS);
            }
        }
    }
}

/// With `--follow` and JSON one line of JSON for each line, otherwise an array.
async fn log(id: &str, follow: bool, context: &Context) -> Result<u8> {
    let (client, printer) = (context.existing().await?, context.printer);
    if follow {
        let print = |line: &Value| {
            if printer.is_json() { printer.json_line(line) } else { printer.line(follow::line_text(line)) }
        };
        let row = follow::until_end(client, id, print).await?;
        printer.say(follow::outcome(&row));
        return Ok(exit_codes::SUCCESS);
    }
    let lines = Log::of(id).new_lines(client).await?;
    if printer.is_json() {
        printer.json(&Value::Array(lines))?;
    } else {
        for line in &lines {
            printer.line(follow::line_text(line))?;
        }
    }
    Ok(exit_codes::SUCCESS)
}

async fn journal(id: &str, context: &Context) -> Result<u8> {
    let mut journal = context.existing().await?.get(Path::api(["executions", id, "journal"])).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&journal["records"])?;
        return Ok(exit_codes::SUCCESS);
    }
    let Value::Array(records) = journal["records"].take() else { return Ok(exit_codes::SUCCESS) };
    let none = Default::default();
    let at = time("AT", "at");
    let rows = records.iter().map(|record| {
        let text = |field: &str| if record[field].is_null() { String::new() } else { table::text_of(&record[field]) };
        vec![text("seq"), table::cell(record, &at, &none), text("record"), text("call"), text("kind"), detail(record)]
    });
    printer.table(&["SEQ", at.title, "RECORD", "CALL", "KIND", "WHAT"], rows.collect())?;
    Ok(exit_codes::SUCCESS)
}

/// What a record of the journal holds beside its head, on one line.
fn detail(record: &Value) -> String {
    let shown = ["args", "result", "error", "version"].iter().filter_map(|field| match &record[*field] {
        Value::Null => None,
        value => Some(format!("{field} {}", table::shortened(&table::text_of(value)))),
    });
    shown.collect::<Vec<_>>().join("  ")
}

async fn resume_restored(context: &Context) -> Result<u8> {
    let client = context.existing().await?;
    let answer = client.post(Path::api(["system", "resume-restored"]), json!({})).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&answer)?;
    } else {
        printer.say(format_args!("{} executions go on", answer["resumed"]));
        if client.is_local() {
            printer.say("no server runs: they go on when the workspace is opened next, such as by `surefoot serve`");
        }
    }
    Ok(exit_codes::SUCCESS)
}

/// Says the id of the new execution.
/// Starts something anew that was started before, and prints the id of the new execution.
pub(crate) async fn start_again(path: Path, body: Value, context: &Context) -> Result<u8> {
    let started = context.existing().await?.post(path, body).await?;
    if context.printer.is_json() {
        context.printer.json(&started)?;
    } else {
        context.printer.line(started["id"].as_str().unwrap_or_default())?;
    }
    Ok(exit_codes::SUCCESS)
}

async fn steer(id: &str, action: &str, context: &Context) -> Result<u8> {
    let row = context.existing().await?.post(Path::api(["executions", id, action]), json!({})).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&row)?;
    } else {
        printer.say(format_args!("execution {id} has status {}", table::text_of(&row["status"])));
    }
    Ok(exit_codes::SUCCESS)
}
