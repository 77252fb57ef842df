//! The command line's outermost layer: the options of all commands. The commands' own are in their files.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser};

use crate::commands::Command;
use crate::printer::Format;

/// Run tests before, during and after an upgrade, durably, and get one verdict.
#[derive(Parser)]
#[command(name = "surefoot", version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Args)]
pub(crate) struct Global {
    /// Data folder of the workspace [env: SUREFOOT_DATA=] [default: ./surefoot-data]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) data: Option<PathBuf>,
    /// Talk to the server at this address instead of the data folder
    #[arg(long, global = true, value_name = "URL", env = "SUREFOOT_SERVER", help_heading = "Global options")]
    pub(crate) server: Option<String>,
    /// The server's API token
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "SUREFOOT_TOKEN",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    pub(crate) token: Option<String>,
    /// How data is written to standard output
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "text", help_heading = "Global options")]
    pub(crate) output: Format,
    /// Say more about what is going on; twice for even more
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,
}

const AFTER_HELP: &str = "\
Commands talk to the server that runs on the data folder; where none runs they open the workspace themselves.
Exit codes: 0 done, 1 a run failed, 64 cannot be done as asked, 69 server unreachable or workspace held, 70 internal.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
