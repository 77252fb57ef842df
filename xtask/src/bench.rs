//! The benchmark: builds what it measures and what measures it, both in release, and runs it.

use std::process::Command;

use anyhow::Result;
use xtask::repo;

use crate::{build, run};

/// Runs the benchmark with these arguments of its own.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    build::flows()?;
    let packages = ["--package", "surefoot-cli", "--package", "surefoot-bench"];
    run::visibly(run::cargo(["build", "--release"]).args(packages))?;
    let target = repo::target_dir();
    let mut bench = Command::new(target.join("release/surefoot-bench"));
    run::visibly(bench.args(arguments).env("CARGO_TARGET_DIR", target))
}
