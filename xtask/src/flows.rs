//! The example flows and the guests of the tests: which there are, and where their components are after
//! `cargo xtask flows`.
//!
//! This is the one place with the rule, for the automation and for the tests: the component of the package `NAME`
//! is `wasm32-wasip2/flow/NAME_WITH_UNDERSCORES.wasm` in the build folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cargo_metadata::MetadataCommand;

use crate::repo;

/// The target that flows are compiled for.
pub const TARGET: &str = "wasm32-wasip2";

/// The cargo profile that flows are compiled with; see the root `Cargo.toml`.
pub const PROFILE: &str = "flow";

/// The names of all example flows, sorted: every package whose manifest lies under `flows/`.
///
/// # Errors
/// When `cargo metadata` fails, or finds no flow at all.
pub fn names() -> Result<Vec<String>> {
    packages_under("flows")
}

/// The names of all guests that exist for tests alone, sorted: every package whose manifest lies under `tests/guests/`.
///
/// # Errors
/// When `cargo metadata` fails, or finds no guest at all.
pub fn guests() -> Result<Vec<String>> {
    packages_under("tests/guests")
}

fn packages_under(folder: &str) -> Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(repo::root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cannot list the packages of the workspace")?;
    let folder = metadata.workspace_root.join(folder);
    let mut names: Vec<String> = metadata
        .packages
        .iter()
        .filter(|package| package.manifest_path.starts_with(&folder))
        .map(|package| package.name.to_string())
        .collect();
    names.sort();
    ensure!(!names.is_empty(), "no package lies under {folder}: what the tests run is missing");
    Ok(names)
}

/// The component of an example flow or guest, which must have been built.
///
/// # Errors
/// When there is no such file; the message says how to build it.
pub fn component(name: &str) -> Result<PathBuf> {
    let path = component_path(name);
    ensure!(path.is_file(), "{} does not exist: run `cargo xtask flows` to build it", path.display());
    Ok(path)
}

/// Where the component of the flow package `name` is once it is built; whether it is there or not.
#[must_use]
pub fn component_path(name: &str) -> PathBuf {
    component_path_in(&repo::target_dir(), name)
}

fn component_path_in(target_dir: &Path, name: &str) -> PathBuf {
    target_dir.join(TARGET).join(PROFILE).join(format!("{}.wasm", name.replace('-', "_")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_become_underscores() {
        let path = component_path_in(Path::new("/build"), "upgrade-safely");
        assert_eq!(path, Path::new("/build/wasm32-wasip2/flow/upgrade_safely.wasm"));
    }

    #[test]
    fn every_folder_is_a_package_of_that_name() {
        for (folder, names) in [("flows", names().unwrap()), ("tests/guests", guests().unwrap())] {
            let folders = std::fs::read_dir(repo::root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
            let mut folders: Vec<String> = folders
                .filter(|path| path.is_dir())
                .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
                .collect();
            folders.sort();
            assert_eq!(names, folders, "a package under {folder} is named after its folder");
        }
    }

    #[test]
    fn a_missing_component_says_how_to_build_it() {
        let error = component("no-such-flow").unwrap_err().to_string();
        assert!(error.contains("no_such_flow.wasm") && error.contains("cargo xtask flows"), "{error}");
    }
}
