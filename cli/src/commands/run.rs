//! `surefoot run`: starts a flow, shows its log as it comes, waits for its end.

use std::path::Path;
use std::pin::pin;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use crate::client::{self, Call, Client, Method};
use crate::commands::deploy;
use crate::context::Context;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::signals::Signals;
use crate::{exit_codes, follow, inputs, records};

#[derive(Args)]
pub(crate) struct Arguments {
    /// A deployed flow's name or id; or a path (`.`, `./hello`, `hello.wasm`), which is built and deployed first
    #[arg(value_name = "FLOW|DIR|FILE.wasm")]
    flow: String,
    /// The input: JSON, `@FILE`, or `-` for standard input
    #[arg(long, value_name = "JSON")]
    input: Option<String>,
    /// Display name of the execution
    #[arg(long)]
    name: Option<String>,
    /// When it is ended that has not ended: a duration such as `15m` or `2h 30m`, or a time in RFC 3339
    #[arg(long, value_name = "DURATION|TIME")]
    deadline: Option<String>,
    /// Among those that wait for a place of the flow, from -100 to 100: the greatest first
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    priority: Option<i64>,
    /// Do not wait: print the execution's id
    #[arg(long)]
    detach: bool,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<u8> {
    let printer = context.printer;
    let input = inputs::optional_json(arguments.input.as_deref())?;
    let flow = deployed(&arguments.flow, context).await?;
    let signals = Signals::new()?;
    let client = context.client().await?;
    let mut request = json!({ "input": input });
    let given = [
        ("name", arguments.name.map(Value::from)),
        ("deadline", arguments.deadline.map(Value::from)),
        ("priority", arguments.priority.map(Value::from)),
    ];
    for (field, value) in given {
        if let Some(value) = value {
            request[field] = value;
        }
    }
    let started = client.post(client::Path::api(["flows", &flow, "run"]), request).await?;
    let id = started["id"].as_str().unwrap_or_default();
    if arguments.detach {
        return detach(client, printer, &started);
    }
    tracing::info!(execution = id, "following");
    let Some(row) = until_end(client, printer, id, signals).await? else {
        return Ok(exit_codes::INTERRUPTED);
    };
    if printer.is_json() {
        printer.json(&row)?;
    } else if follow::exit_code(&row) == exit_codes::SUCCESS || !row["output"].is_null() {
        printer.json(&row["output"])?;
    }
    if follow::exit_code(&row) != exit_codes::SUCCESS {
        printer.error(follow::outcome(&row), Some(&format!("See what it did: surefoot execution journal {id}")));
    }
    Ok(follow::exit_code(&row))
}

/// The name of the flow that is meant, which is deployed when it is given as a path.
async fn deployed(flow: &str, context: &Context) -> Result<String> {
    if is_path(flow) {
        let component = deploy::component(Path::new(flow), context.printer).await?;
        let record = deploy::upload(context.client().await?, &component.flow, &component.path).await?;
        context.printer.say(deploy::deployed(&record));
        return Ok(component.flow);
    }
    // `run` accepts the engine's own flows too, which have no record.
    let is_folder = Path::new(flow).join("Cargo.toml").is_file();
    if is_folder && records::find(context.client().await?, &super::flow::KIND, flow).await?.is_none() {
        let failure = Failure::usage(format!("there is no deployed flow `{flow}`"));
        return Err(failure.hint(format!("To build, deploy and run the folder: surefoot run ./{flow}")).into());
    }
    Ok(flow.to_owned())
}

/// A name is never taken for a path, whatever folders there are: the same command means the same everywhere.
fn is_path(flow: &str) -> bool {
    flow == "." || flow == ".." || flow.contains('/') || deploy::is_component(Path::new(flow))
}

fn detach(client: &Client, printer: Printer, started: &Value) -> Result<u8> {
    if printer.is_json() {
        printer.json(started)?;
    } else {
        printer.line(started["id"].as_str().unwrap_or_default())?;
    }
    if client.is_local() {
        printer.say("no server runs: it goes on when the workspace is opened next, such as by `surefoot serve`");
    }
    Ok(exit_codes::SUCCESS)
}

/// Follows the execution. The first signal asks it to cancel, the second leaves it: none then.
async fn until_end(client: &Client, printer: Printer, id: &str, mut signals: Signals) -> Result<Option<Value>> {
    let mut following = pin!(follow::until_end(client, id, |line| {
        printer.say(follow::line_text(line));
        Ok(())
    }));
    tokio::select! {
        row = &mut following => return row.map(Some),
        () = signals.until_end() => {}
    }
    let cancelled = client.send(Call::new(Method::POST, client::Path::api(["executions", id, "cancel"]))).await?;
    // A conflict says that it has ended meanwhile.
    if cancelled.status != 409 {
        cancelled.or_failure().await?;
        printer.say("asked it to cancel; once more to leave without waiting");
    }
    tokio::select! {
        row = following => row.map(Some),
        () = signals.until_end() => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_path_is_one() {
        for path in [".", "..", "./hello", "flows/hello", "/tmp/hello", "hello.wasm"] {
            assert!(is_path(path), "{path}");
        }
        for name in ["hello", "native:cron", "a.b"] {
            assert!(!is_path(name), "{name}");
        }
    }
}
