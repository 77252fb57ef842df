//! `surefoot apply`: a workspace becomes as the files of a folder say.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;

use crate::configuration::{self, Action, Change, Plan, Workspace};
use crate::context::Context;
use crate::exit_codes;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::table;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder, as `surefoot export` writes it
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Change without asking
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Move records that have no file to the trash
    #[arg(long)]
    prune: bool,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<u8> {
    let items = configuration::read(&arguments.folder)?;
    let (client, printer) = (context.client().await?, context.printer);
    let plan = Workspace::read(client).await?.plan(items, arguments.prune, client).await?;
    if !printer.is_json() {
        print(&plan, printer)?;
    }
    let is_wanted = !arguments.dry_run && !plan.changes.is_empty() && (arguments.yes || confirmed(printer)?);
    let mut made = 0;
    if is_wanted {
        for change in &plan.changes {
            change.make(client).await.map_err(|error| {
                let (kind, name) = (change.kind.as_str(), &change.name);
                error.context(format!("{made} of {} changes were made; {kind} `{name}` was not", plan.changes.len()))
            })?;
            made += 1;
        }
    }
    if printer.is_json() {
        let changes: Vec<Value> = plan.changes.iter().map(Change::to_json).collect();
        printer.json(&json!({ "changes": changes, "unchanged": plan.unchanged, "made": made }))?;
    } else if made > 0 {
        printer.say(format_args!("made {made} changes"));
        let is_new = |change: &&Change| change.kind == Kind::User && change.action == Action::Create;
        for Change { name, .. } in plan.changes.iter().filter(is_new) {
            printer.say(format_args!(
                "`{name}` has no password yet: `surefoot user reset {name}` makes a link to set one"
            ));
        }
    }
    Ok(exit_codes::SUCCESS)
}

fn print(plan: &Plan, printer: Printer) -> Result<()> {
    for change in &plan.changes {
        let sign = match change.action {
            Action::Create => '+',
            Action::Update => '~',
            Action::Delete => '-',
        };
        printer.line(format_args!("{sign} {} `{}`", change.kind.as_str(), change.name))?;
        for (field, before, after) in &change.differences {
            let (before, after) = (table::shortened(&table::text_of(before)), table::shortened(&table::text_of(after)));
            match change.action {
                Action::Create => printer.line(format_args!("    {field}: {after}"))?,
                _ => printer.line(format_args!("    {field}: {before} → {after}"))?,
            }
        }
    }
    match plan.changes.len() {
        0 => printer.say(format_args!("nothing to change; {} records are as the files say", plan.unchanged)),
        changes => printer.say(format_args!("{changes} to change, {} as the files say", plan.unchanged)),
    }
    Ok(())
}

/// Asks a person. Where nobody can be asked, `--yes` has to say so.
fn confirmed(printer: Printer) -> Result<bool> {
    if !std::io::stdin().is_terminal() || printer.is_json() {
        let failure = Failure::usage("there is nobody to ask whether these changes are wanted");
        return Err(failure.hint("Pass --yes to make them, or --dry-run to look only.").into());
    }
    printer.ask("make these changes? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "yes"))
}
