//! `surefoot restore`: a new workspace from a backup, standing still until somebody lets it go on.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::json;
use surefoot_engine::{Clock, Restored};

use crate::commands::backup::missing_text;
use crate::context::Context;
use crate::exit_codes;
use crate::failure::Failure;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The backup's folder; the new workspace is the folder of `--data`, empty or not there yet
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context) -> Result<u8> {
    if let Some(server) = context.server_option() {
        let failure = Failure::usage(format!("a server cannot restore; `{server}` was named with --server"));
        let hint = "Leave it out, and unset SUREFOOT_SERVER: the new workspace is made in the folder of --data.";
        return Err(failure.hint(hint).into());
    }
    let (backup, data) = (arguments.backup.clone(), context.data());
    let restoring = tokio::task::spawn_blocking(move || surefoot_engine::restore(&backup, &data, &Clock::System));
    let restored = restoring.await.map_err(|error| anyhow!("the restore broke: {error}"))?.map_err(Failure::from)?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&json!(restored))?;
    } else {
        printer.line(restored.data.display())?;
        printer.say(summary(&restored));
    }
    for content in &restored.missing {
        printer.warn(missing_text(&json!(content)));
    }
    Ok(exit_codes::SUCCESS)
}

fn summary(restored: &Restored) -> String {
    let Restored { data, created_at, engine, executions, schedules, webhooks, notifications, .. } = restored;
    let data = data.display();
    format!(
        "restored what version {engine} backed up at {created_at}. Nothing in it goes on by itself:
  {executions} executions are paused    let one go on: surefoot --data {data} execution resume ID
                               all of them:   surefoot --data {data} execution resume --restored
                               but those of schedules, which go on when their schedule is enabled
  {schedules} schedules are disabled     surefoot --data {data} schedule set NAME --enable
  {webhooks} webhooks are disabled      surefoot --data {data} webhook set NAME --enable
  {notifications} notifications are disabled surefoot --data {data} notification set NAME --enable
Before that, make sure that the workspace it is a copy of is not at work any more: what both do is done twice."
    )
}
