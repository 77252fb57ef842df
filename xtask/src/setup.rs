//! Makes a fresh machine able to build and test everything, and says what it does. Running it again is safe, and
//! fast when nothing is missing.

mod npm;
mod packages;
mod python;
mod toolchain;

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::run;

/// Installs what is missing.
pub(crate) fn run() -> Result<()> {
    let changed = [toolchain::install()?, packages::install()?, python::install()?, npm::install()?];
    if changed.contains(&true) {
        run::say("setup is complete");
    } else {
        run::say("setup: nothing was missing");
    }
    Ok(())
}

/// The text of a file of the checkout.
fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
