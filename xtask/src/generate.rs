//! Generated documents. Tests fail when one is stale.

use std::process::Command;
use std::{fs, io};

use anyhow::{Context, Result, ensure};
use xtask::{repo, rows};

use crate::{build, run};

/// Writes every generated document.
pub(crate) fn run() -> Result<()> {
    write(rows::FILE, &rows::render(&rows::covered()?))?;
    build::binary()?;
    write(repo::SETTINGS_REFERENCE, &settings_reference()?)
}

/// As the binary has it: its table of settings is nobody else's.
fn settings_reference() -> Result<String> {
    let binary = repo::binary();
    let output = Command::new(&binary).args(["config", "--reference"]).output();
    let output = output.with_context(|| format!("cannot start {}", binary.display()))?;
    ensure!(output.status.success(), "`surefoot config --reference` ended with {}", output.status);
    String::from_utf8(output.stdout).context("the reference is no text")
}

fn write(file: &str, text: &str) -> Result<()> {
    let path = repo::root().join(file);
    match fs::read_to_string(&path) {
        Ok(current) if current == text => run::say(format_args!("{file} is up to date")),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
        _ => {
            fs::create_dir_all(path.parent().expect("the file lies in a folder"))
                .and_then(|()| fs::write(&path, text))
                .with_context(|| format!("cannot write {}", path.display()))?;
            run::say(format_args!("wrote {file}"));
        }
    }
    Ok(())
}
