//! `cargo xtask …`: what is done to this repository, in Rust. `cargo xtask help` lists it.
//!
//! Everything talks on standard error, but for the output of the test runner and the lists that were asked for.

mod bench;
mod build;
mod generate;
mod run;
mod setup;
mod suite;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Automation of the Surefoot repository", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building and testing need: the wasm target, Debian packages, Python test servers
    Setup,
    /// Build the example flows as components, and list them
    Flows,
    /// Run everything: setup, flows, the binary, format, lints, all tests
    Test {
        /// Run only the tests whose name contains this, without format and lints
        #[arg(long, value_name = "NAME")]
        filter: Option<String>,
    },
    /// Run the tests with `soak` in their name in their long form: hours, not minutes
    Soak,
    /// Measure every figure beside its floor, in release; see docs/concepts/performance.md
    Bench {
        /// Passed on: `--only NAME,…`, `--quick`, `--json FILE`, `--help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<String>,
    },
    /// Make pictures of every page of the web UI: light, dark, narrow, of an empty workspace and of a full one
    Screenshots {
        /// Where they go
        #[arg(default_value = "target/screenshots", value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Run only the tests about the repository itself
    Tidy,
    /// Write the generated documents anew
    Generate,
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().command {
        Task::Setup => setup::run()?,
        Task::Bench { arguments } => bench::run(&arguments)?,
        Task::Flows => build::flows()?,
        Task::Generate => generate::run()?,
        Task::Test { filter } => return suite::test(filter.as_deref()),
        Task::Screenshots { folder } => suite::screenshots(&folder)?,
        Task::Soak => return suite::soak(),
        Task::Tidy => return suite::tidy(),
    }
    Ok(ExitCode::SUCCESS)
}
