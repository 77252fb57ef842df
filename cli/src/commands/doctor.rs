//! `surefoot doctor`: what is damaged, and what stands still and why.

use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::{Value, json};
use surefoot_engine::Clock;

use crate::client::Path;
use crate::context::Context;
use crate::exit_codes;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::settings::Flags;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Mend what can be mended without loss; no server may run
    #[arg(long)]
    repair: bool,
}

/// A server is asked. Where none runs, the workspace is looked at without setting it going.
pub(crate) async fn run(arguments: &Arguments, context: &Context) -> Result<u8> {
    let repair = arguments.repair;
    let examination = match context.server().await? {
        Some(_) if repair => {
            let failure = Failure::usage("a workspace that is at work cannot be repaired");
            return Err(failure.hint("Stop the server, then run this again.").into());
        }
        Some(client) => client.get(Path::api(["system", "doctor"])).await?,
        None => {
            let data = context.data();
            let key = context.settings(&Flags::default()).and_then(|settings| settings.secrets.key(&data));
            let key = key.map_err(|error| error.to_string());
            let examining = move || surefoot_engine::examine(&data, repair, &Clock::System, key);
            let examined = tokio::task::spawn_blocking(examining).await;
            json!(examined.map_err(|error| anyhow!("the examination broke: {error}"))?.map_err(Failure::from)?)
        }
    };
    let findings = examination["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let open = findings.iter().filter(|finding| finding["severity"] != "note" && finding["repaired"].is_null()).count();
    if context.printer.is_json() {
        context.printer.json(&examination)?;
    } else {
        show(findings, open, context.printer)?;
    }
    Ok(if open == 0 { exit_codes::SUCCESS } else { exit_codes::RUN_FAILED })
}

fn show(findings: &[Value], open: usize, printer: Printer) -> Result<()> {
    for finding in findings {
        let text = |field: &str| finding[field].as_str().unwrap_or_default();
        printer.line(format_args!(
            "{:7} {}  {} {}: {}",
            text("severity"),
            text("code"),
            text("kind"),
            text("id"),
            text("message")
        ))?;
        match finding["repaired"].as_str() {
            Some(repaired) => printer.line(format_args!("        repaired: {repaired}"))?,
            None => printer.line(format_args!("        {}", text("remedy")))?,
        }
    }
    printer.say(match (findings.len(), open) {
        (0, _) => "all is well".to_owned(),
        (_, 0) => "nothing that needs you".to_owned(),
        (_, open) => format!("{open} findings need you"),
    });
    Ok(())
}
