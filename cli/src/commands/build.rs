//! `surefoot build`: a flow's component, its path on standard output.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::context::Context;
use crate::{exit_codes, guest};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The flow's folder
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context) -> Result<u8> {
    let printer = context.printer;
    let component = guest::build(&arguments.folder, printer).await?;
    if printer.is_json() {
        printer.json(&json!({ "flow": component.flow, "component": component.path }))?;
    } else {
        printer.line(component.path.display())?;
    }
    Ok(exit_codes::SUCCESS)
}
