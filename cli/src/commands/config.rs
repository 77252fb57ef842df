//! `surefoot config`: what a server on this data folder would be told, and where each value comes from.

use anyhow::Result;
use clap::Args;

use crate::context::Context;
use crate::exit_codes;
use crate::settings::{self, Flags};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Print the reference of all keys instead
    #[arg(long, hide = true)]
    reference: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8> {
    let printer = context.printer;
    if arguments.reference {
        printer.bytes(settings::markdown().as_bytes())?;
        return Ok(exit_codes::SUCCESS);
    }
    let effective = context.effective(&arguments.flags)?;
    if printer.is_json() {
        printer.json(&effective.document())?;
    } else {
        printer.table(&["KEY", "VALUE", "SOURCE", "WHAT IT IS"], effective.rows())?;
    }
    // A value that a server would refuse is shown too, so that one sees where it stands.
    let settings = effective.settings()?;
    settings::unknown(settings::of_process(), &settings).into_iter().for_each(|unknown| printer.warn(unknown));
    Ok(exit_codes::SUCCESS)
}
