//! The Rust toolchain's parts: the target of the flows, the formatter, the linter.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use xtask::{flows, repo};

use crate::run;

/// Adds the missing parts to the active toolchain. True when something was installed.
pub(super) fn install() -> Result<bool> {
    let sysroot = sysroot()?;
    let mut missing = Vec::new();
    if !sysroot.join("lib/rustlib").join(flows::TARGET).join("lib").is_dir() {
        missing.push(["target", "add", flows::TARGET]);
    }
    for (component, program) in [("clippy", "cargo-clippy"), ("rustfmt", "cargo-fmt")] {
        if !sysroot.join("bin").join(format!("{program}{}", std::env::consts::EXE_SUFFIX)).is_file() {
            missing.push(["component", "add", component]);
        }
    }
    for arguments in &missing {
        add(arguments)?;
    }
    Ok(!missing.is_empty())
}

/// Without rustup we cannot know how the toolchain was installed, so we say what is missing.
fn add(arguments: &[&str; 3]) -> Result<()> {
    let [kind, _, name] = arguments;
    if run::output_if_present(Command::new("rustup").arg("--version"))?.is_none() {
        bail!("the Rust toolchain lacks the {kind} {name}, and there is no rustup to add it: install it");
    }
    run::visibly(Command::new("rustup").args(arguments).current_dir(repo::root()))
}

fn sysroot() -> Result<PathBuf> {
    let output = run::output_if_present(Command::new("rustc").args(["--print", "sysroot"]).current_dir(repo::root()))?;
    let path = output.context("there is no rustc in PATH: install Rust from https://rustup.rs")?;
    Ok(PathBuf::from(path.trim()))
}
