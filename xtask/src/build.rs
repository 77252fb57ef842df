//! Builds: the example flows as components, and the binary that the tests start.

#![expect(clippy::print_stdout, reason = "the list of components is what was asked for")]

use std::fs;

use anyhow::{Context, Result};
use xtask::flows;

use crate::run;

/// Builds every example flow and every guest of the tests, and lists name, size and path of each component on standard
/// output.
pub(crate) fn flows() -> Result<()> {
    let mut names = flows::names()?;
    names.extend(flows::guests()?);
    let mut command = run::cargo(["build", "--target", flows::TARGET, "--profile", flows::PROFILE]);
    command.args(names.iter().flat_map(|name| ["--package", name]));
    run::visibly(&mut command)?;

    let width = names.iter().map(String::len).max().unwrap_or_default();
    for name in &names {
        let path = flows::component(name)
            .with_context(|| format!("the flow {name} was built without a component: its crate-type lacks cdylib"))?;
        let bytes = fs::metadata(&path).with_context(|| format!("cannot examine {}", path.display()))?.len();
        println!("{name:width$}  {:>6} KiB  {}", bytes.div_ceil(1024), path.display());
    }
    Ok(())
}

/// Builds the binary, with the features that the tests of the whole workspace use, so that nothing is built twice.
pub(crate) fn binary() -> Result<()> {
    run::visibly(&mut run::cargo(["build", "--workspace", "--bin", "surefoot"]))
}
