//! The benchmark: measures the engine and the binary, each figure beside its floor, and says which targets are met.
//!
//! `cargo xtask bench` builds and runs it. What each figure is stands in `docs/concepts/performance.md`; how one is
//! measured is in its file under `figures/`. No test asserts a time: the tests only see that all of this still runs.

mod compare;
mod database;
mod figures;
mod floor;
mod lab;
mod load;
mod machine;
mod pairs;
mod probe;
mod report;
mod scale;
mod served;
mod timing;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum as _};
use xtask::repo;

use figures::Group;
use report::Report;
use scale::Scale;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "surefoot-bench", about = "Measures Surefoot beside its floor", disable_version_flag = true)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Measure only these groups of figures
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Group>,
    /// Write the figures as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Three pairs instead of ten, and smaller numbers: minutes instead of half an hour
    #[arg(long)]
    quick: bool,
    /// Only see that everything runs: the figures mean nothing
    #[arg(long, hide = true, conflicts_with = "quick")]
    smoke: bool,
    /// Where the data is written: the disk of this folder is what is measured [default: the build folder]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The binary that is measured [default: the one that `cargo build --release` makes]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Load servers in turn, and compare what they do
    Load(compare::Arguments),
}

/// What every figure is given.
pub(crate) struct Bench {
    /// How much is done.
    pub(crate) scale: Scale,
    /// Where the data is written.
    pub(crate) folder: PathBuf,
    /// The binary `surefoot`.
    pub(crate) binary: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(Command::Load(arguments)) = &arguments.command {
        return compare::run(arguments).await;
    }
    let folder = arguments.folder.unwrap_or_else(|| repo::target_dir().join("bench"));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let scale = match (arguments.quick, arguments.smoke) {
        (_, true) => Scale::Smoke,
        (true, _) => Scale::Quick,
        _ => Scale::Full,
    };
    let binary = arguments.binary.unwrap_or_else(|| repo::target_dir().join("release/surefoot"));
    let bench = Bench { scale, folder, binary };
    let groups = if arguments.only.is_empty() { Group::value_variants() } else { &arguments.only };
    let mut report = Report::new(machine::Machine::look_at(&bench.folder)?, scale, scale.pairs());
    report.print_head();
    for group in groups {
        let figures =
            group.measure(&bench).await.with_context(|| format!("the group {group} could not be measured"))?;
        report.add(figures);
    }
    report.print_table();
    match &arguments.json {
        Some(path) => report.write_json(path),
        None => Ok(()),
    }
}
