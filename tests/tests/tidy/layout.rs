//! Rules for the layout: packages, example flows, the commands that the README promises.

use std::{collections::BTreeSet, path::Path};

use cargo_metadata::{Metadata, MetadataCommand};
use xtask::repo;

use crate::{File, Finding};

/// What the README tells a reader to type, each enough on a fresh machine.
const COMMANDS: &[&str] = &["cargo run --release -- demo", "cargo xtask test"];

/// What cargo knows about the packages of the workspace.
pub(crate) fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(repo::root().join("Cargo.toml")).no_deps().exec().unwrap()
}

/// Every manifest belongs to a member of the workspace, and every member takes the shared lints. Manifests below a
/// `templates` folder are material for `surefoot new`.
pub(crate) fn check_manifests(files: &[File], metadata: &Metadata) -> Vec<Finding> {
    let members: BTreeSet<&Path> = metadata
        .packages
        .iter()
        .filter_map(|package| package.manifest_path.as_std_path().strip_prefix(repo::root()).ok())
        .collect();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("/Cargo.toml") && !file.has_folder("templates")) {
        if !members.contains(Path::new(&file.path)) {
            findings.push(Finding::new(
                &file.path,
                0,
                "is no member of the workspace: list it in the root `Cargo.toml`",
            ));
        }
        if !has_shared_lints(&file.text) {
            findings.push(Finding::new(&file.path, 0, "lacks `[lints]` with `workspace = true`"));
        }
        if file.text.contains("autotests = false") {
            findings.push(Finding::new(&file.path, 0, "`autotests = false` lets a test file be forgotten: remove it"));
        }
    }
    findings
}

/// Every example flow is named, as a string, by a test other than these.
pub(crate) fn check_flows(files: &[File], flows: &[String]) -> Vec<Finding> {
    let is_test =
        |file: &&File| file.path.starts_with("tests/") && !file.has_folder("tidy") && file.has_extension(&["rs"]);
    let tests: Vec<&File> = files.iter().filter(is_test).collect();
    let is_named = |flow: &String| tests.iter().any(|file| file.text.contains(&format!("\"{flow}\"")));
    let unused = flows.iter().filter(|flow| !is_named(flow));
    unused.map(|flow| Finding::new(&format!("flows/{flow}"), 0, format!("no test runs the flow {flow:?}"))).collect()
}

/// The README has its two commands, and continuous integration runs one of them and nothing else.
pub(crate) fn check_commands(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let text = |path: &str| files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
    for command in COMMANDS {
        if !text("README.md").lines().any(|line| line.trim() == *command) {
            findings.push(Finding::new("README.md", 0, format!("lacks a line with the command `{command}`")));
        }
    }
    if text(".ci/run").lines().last() != Some("cargo xtask test") {
        findings.push(Finding::new(".ci/run", 0, "does not end with `cargo xtask test`"));
    }
    if !is_executable(&repo::root().join(".ci/run")) {
        findings.push(Finding::new(".ci/run", 0, "is not executable: `chmod +x .ci/run`"));
    }
    findings
}

fn has_shared_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim);
    lines.any(|line| line == "[lints]") && lines.next() == Some("workspace = true")
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn shared_lints_are_recognised() {
        assert!(has_shared_lints("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"));
        assert!(!has_shared_lints("[package]\nname = \"a\"\n"));
        assert!(!has_shared_lints("[lints]\nrust = \"warn\"\n[dependencies]\nworkspace = true\n"));
    }

    #[test]
    fn a_package_outside_the_workspace_is_found() {
        let manifest = "[lints]\nworkspace = true\n";
        let files = [
            file("engine/Cargo.toml", manifest),
            file("stray/Cargo.toml", manifest),
            file("cli/templates/rust/Cargo.toml", ""),
        ];
        let found: Vec<_> = check_manifests(&files, &metadata()).into_iter().map(|finding| finding.file).collect();
        assert_eq!(found, ["stray/Cargo.toml"]);
    }

    #[test]
    fn a_flow_without_a_test_is_found() {
        let files = [file("tests/tests/a.rs", "run(\"hello\")"), file("tests/tests/tidy/a.rs", "\"parallel\"")];
        let found = check_flows(&files, &["hello".to_owned(), "parallel".to_owned()]);
        assert_eq!(found.iter().map(|finding| finding.file.as_str()).collect::<Vec<_>>(), ["flows/parallel"]);
    }

    #[test]
    fn a_missing_command_is_found() {
        let readme = file("README.md", "```sh\ncargo run --release -- demo\ncargo xtask test\n```\n");
        let script = file(".ci/run", "set -e\ncargo xtask test\n");
        assert_eq!(check_commands(&[readme, script]), []);
        assert_eq!(check_commands(&[]).len(), 3);
    }
}
