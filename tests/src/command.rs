//! One run of the real binary on a data folder.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What a run left behind.
#[derive(Debug)]
#[must_use]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// The binary on a data folder, not started, without the environment of who runs the tests.
///
/// # Errors
/// When it was not built.
pub fn command(data: &Path, arguments: &[&str]) -> Result<Command> {
    let binary = xtask::repo::binary();
    ensure!(binary.exists(), "{} is not there; run `cargo xtask test`, which builds it", binary.display());
    let mut command = Command::new(binary);
    command.env_clear().arg("--data").arg(data).args(arguments).stdin(Stdio::null());
    Ok(command)
}

/// Runs it to its end.
///
/// # Errors
/// When it cannot be started or was killed.
pub fn surefoot(data: &Path, arguments: &[&str]) -> Result<Ran> {
    let output = command(data, arguments)?.output()?;
    let code = output.status.code().with_context(|| format!("{arguments:?} ended with {}", output.status))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran { code, stdout: text(output.stdout), stderr: text(output.stderr) })
}

/// Runs it to a good end, and reads the document that it writes.
///
/// # Errors
/// When it ends with another code than 0, or writes no JSON.
pub fn surefoot_json(data: &Path, arguments: &[&str]) -> Result<Value> {
    let ran = surefoot(data, &[arguments, &["--output", "json"]].concat())?;
    ensure!(ran.code == 0, "{arguments:?} ended with {}: {}", ran.code, ran.stderr);
    serde_json::from_str(&ran.stdout).with_context(|| format!("{arguments:?} wrote {}", ran.stdout))
}
