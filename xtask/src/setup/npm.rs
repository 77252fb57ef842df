//! Scripts from npm that the tests run in a browser.

use std::{fs, io, path::Path, process::Command};

use anyhow::{Context, Result};
use xtask::repo;

use crate::run;

/// What npm installs, with pinned versions, one a line; relative to the checkout.
const LIST: &str = "tests/npm-packages.txt";

/// Inside the folder: a copy of the list that it was made from. Written last.
const STAMP: &str = "surefoot-npm-packages.txt";

/// Installs them anew when there are none or the list changed. True when it did.
pub(super) fn install() -> Result<bool> {
    let wanted = super::read(&repo::root().join(LIST))?;
    let folder = repo::npm()?;
    if is_current(&folder, &wanted)? {
        return Ok(false);
    }
    run::say(format_args!("installing npm packages into {}", folder.display()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if run::output_if_present(Command::new("npm").arg("--version"))?.is_none() {
        super::packages::install_one("npm")?;
    }
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&folder);
    npm.args(wanted.lines().map(str::trim).filter(|line| !line.is_empty()));
    run::visibly(&mut npm)?;
    fs::write(folder.join(STAMP), wanted).with_context(|| format!("cannot write {STAMP} in {}", folder.display()))?;
    Ok(true)
}

/// Whether the folder was made from this list.
fn is_current(folder: &Path, wanted: &str) -> Result<bool> {
    match fs::read_to_string(folder.join(STAMP)) {
        Ok(stamp) => Ok(stamp == wanted),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot read {STAMP} in {}", folder.display())),
    }
}
