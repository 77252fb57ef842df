//! `surefoot backup`: a copy of the workspace, made while it is at work.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

use crate::client::Path;
use crate::context::Context;
use crate::exit_codes;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder to make, which must not be there yet [default: a new one in `backups` of the data folder]
    #[arg(value_name = "FOLDER")]
    to: Option<PathBuf>,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<u8> {
    // The server has another working folder.
    let to = arguments.to.map(std::path::absolute).transpose().context("cannot tell the present folder")?;
    let made = context.existing().await?.post(Path::api(["system", "backup"]), json!({ "to": to })).await?;
    let (printer, manifest) = (context.printer, &made["manifest"]);
    if printer.is_json() {
        printer.json(&made)?;
    } else {
        printer.line(made["path"].as_str().unwrap_or_default())?;
        let files = manifest["files"].as_array().map(Vec::as_slice).unwrap_or_default();
        let bytes: u64 = files.iter().filter_map(|file| file["size_bytes"].as_u64()).sum();
        printer.say(format_args!("{} files, {bytes} bytes, with the workspace's key: keep it safe", files.len()));
    }
    let missing = manifest["missing"].as_array().map(Vec::as_slice).unwrap_or_default();
    for content in missing {
        printer.warn(missing_text(content));
    }
    Ok(if missing.is_empty() { exit_codes::SUCCESS } else { exit_codes::RUN_FAILED })
}

/// A content that the backup lacks, for people.
pub(crate) fn missing_text(content: &Value) -> String {
    let text = |field: &str| content[field].as_str().unwrap_or_default();
    format!("the backup lacks {}, named by {}: {}", text("path"), text("named_by"), text("problem"))
}
