//! Where things are: the checkout, the build folder, the binary, the test tools.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context, Result};

/// Folders that hold no source of ours, by name, at any depth.
const SKIPPED_FOLDERS: &[&str] = &[".git", "target", "node_modules", "__pycache__"];

/// The checkout: the folder of the workspace's `Cargo.lock`.
///
/// Cargo says at run time which package it runs or tests. What was known when this was compiled comes second: a build
/// folder may serve several checkouts.
#[must_use]
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let above = Path::new(&package).ancestors().find(|folder| folder.join("Cargo.lock").is_file());
        above.expect("packages lie below the workspace's folder").to_owned()
    })
}

/// The build folder: `CARGO_TARGET_DIR`, or `target` in the checkout. A relative value counts from the checkout.
#[must_use]
pub fn target_dir() -> PathBuf {
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Where `cargo xtask test` puts the binary that the tests start.
#[must_use]
pub fn binary() -> PathBuf {
    target_dir().join("debug").join(format!("surefoot{}", env::consts::EXE_SUFFIX))
}

/// The reference of all settings, relative to [`root`]: the binary writes it.
pub const SETTINGS_REFERENCE: &str = "docs/reference/configuration.md";

/// The Python environment with the test servers: `SUREFOOT_TEST_VENV`, or `~/.cache/surefoot/venv`.
///
/// # Errors
/// When neither `SUREFOOT_TEST_VENV` nor `HOME` is set.
pub fn venv() -> Result<PathBuf> {
    tools("SUREFOOT_TEST_VENV", "venv")
}

/// The folder of npm packages for the tests: `SUREFOOT_TEST_NPM`, or `~/.cache/surefoot/npm`.
///
/// # Errors
/// When neither `SUREFOOT_TEST_NPM` nor `HOME` is set.
pub fn npm() -> Result<PathBuf> {
    tools("SUREFOOT_TEST_NPM", "npm")
}

/// The script that finds what is wrong with a page for people who cannot see it, or use a pointer.
///
/// # Errors
/// As [`npm`].
pub fn axe() -> Result<PathBuf> {
    Ok(npm()?.join("node_modules/axe-core/axe.min.js"))
}

/// A folder of test tools, outside of the checkout.
fn tools(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(folder) = env::var_os(variable).filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(folder));
    }
    let home = env::var_os("HOME").with_context(|| format!("neither {variable} nor HOME is set: set one of them"))?;
    Ok(PathBuf::from(home).join(".cache/surefoot").join(name))
}

/// Every file of the checkout, relative to [`root`], sorted; without build folders and version control.
///
/// # Errors
/// When a folder cannot be read.
pub fn files() -> Result<Vec<PathBuf>> {
    files_under(root())
}

/// Every file below `folder`, relative to it, sorted; see [`files`].
///
/// # Errors
/// When a folder cannot be read.
pub fn files_under(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(current) = pending.pop() {
        let entries = fs::read_dir(&current).and_then(|list| list.collect::<io::Result<Vec<_>>>());
        for entry in entries.with_context(|| format!("cannot list {}", current.display()))? {
            let kind = entry.file_type().with_context(|| format!("cannot examine {}", entry.path().display()))?;
            if kind.is_dir() {
                if !SKIPPED_FOLDERS.iter().any(|skipped| entry.file_name() == *skipped) {
                    pending.push(entry.path());
                }
            } else if kind.is_file() {
                let path = entry.path();
                found.push(path.strip_prefix(folder).expect("it was listed below this folder").to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}
