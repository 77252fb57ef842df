//! Builds flows: cargo makes the component, here is only what to ask it and what it answered.
//!
//! cargo's progress goes to standard error, where the user sees it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::failure::Failure;
use crate::printer::Printer;

/// The target that flows are compiled for.
const TARGET: &str = "wasm32-wasip2";
/// The profile for flows, where a workspace has it: small, with line numbers.
const PROFILE: &str = "flow";
/// The profile that every workspace has.
const PROFILE_FALLBACK: &str = "release";

/// A flow that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Component {
    /// The package's name, which is the flow's unless somebody says otherwise.
    pub(crate) flow: String,
    /// The component's file.
    pub(crate) path: PathBuf,
}

/// Builds the package in `folder`.
///
/// # Errors
/// When there is no package, it does not compile, or it makes no component.
pub(crate) async fn build(folder: &Path, printer: Printer) -> Result<Component> {
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        let shown = folder.display();
        let failure = Failure::usage(match (folder.is_file(), folder.exists()) {
            (true, _) => format!("{shown} is neither a component (.wasm) nor a folder with a flow"),
            (false, true) => format!("there is no Cargo.toml in {shown}"),
            (false, false) => format!("there is no {shown}"),
        });
        return Err(failure.hint("Make a flow with `surefoot new NAME`, or name a flow's folder.").into());
    }
    let name = package_name(&manifest)?;
    let built = build_packages(folder, std::slice::from_ref(&name), printer).await?;
    built.into_iter().find(|component| component.flow == name).ok_or_else(|| {
        let failure = Failure::usage(format!("the package `{name}` was built and there is no component"));
        failure.hint("A flow's Cargo.toml has `[lib]` with `crate-type = [\"cdylib\"]`.").into()
    })
}

/// Builds packages of the workspace that `folder` belongs to.
pub(crate) async fn build_packages(folder: &Path, packages: &[String], printer: Printer) -> Result<Vec<Component>> {
    ensure_target(folder, printer).await?;
    let mut command = cargo(folder);
    command.args(["build", "--target", TARGET, "--profile", profile(folder).await?]);
    command.args(["--message-format", "json-render-diagnostics"]);
    command.args(packages.iter().flat_map(|name| ["--package", name]));
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(no_cargo)?;
    let mut messages = BufReader::new(child.stdout.take().context("cargo's output is a pipe")?).lines();
    let mut components = Vec::new();
    while let Some(line) = messages.next_line().await.context("cannot read what cargo says")? {
        if let Some((manifest, path)) = component_in(&line) {
            components.push(Component { flow: package_name(&manifest)?, path });
        }
    }
    let status = child.wait().await.context("cannot wait for cargo")?;
    if !status.success() {
        return Err(Failure::usage("the flow was not built; what cargo said stands above").into());
    }
    Ok(components)
}

/// One of cargo's messages, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// The manifest and the component's file, when the message says that one was built.
fn component_in(line: &str) -> Option<(PathBuf, PathBuf)> {
    let message: Message = serde_json::from_str(line).ok()?;
    let is_component = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wasm");
    let path = message.filenames.into_iter().find(is_component)?;
    (message.reason == "compiler-artifact").then_some((message.manifest_path, path))
}

/// The part of a manifest that matters here.
#[derive(Deserialize)]
struct Manifest {
    package: Option<Package>,
    #[serde(default)]
    profile: toml::Table,
}

#[derive(Deserialize)]
struct Package {
    name: String,
}

fn read_manifest(path: &Path) -> Result<Manifest> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let wrong = |error: toml::de::Error| Failure::usage(format!("{} is wrong: {error}", path.display()));
    Ok(toml::from_str(&text).map_err(wrong)?)
}

fn package_name(manifest: &Path) -> Result<String> {
    let Some(package) = read_manifest(manifest)?.package else {
        let failure = Failure::usage(format!("{} has no package", manifest.display()));
        return Err(failure.hint("Name the folder of one flow, not of the workspace around it.").into());
    };
    Ok(package.name)
}

/// The profile to build with: it is the workspace's root that says which there are.
async fn profile(folder: &Path) -> Result<&'static str> {
    let mut command = cargo(folder);
    command.args(["locate-project", "--workspace", "--message-format", "plain"]);
    let output = command.stderr(Stdio::inherit()).output().await.map_err(no_cargo)?;
    if !output.status.success() {
        return Err(Failure::usage(format!("cargo finds no workspace for {}", folder.display())).into());
    }
    let root = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let has_profile = read_manifest(&root)?.profile.contains_key(PROFILE);
    Ok(if has_profile { PROFILE } else { PROFILE_FALLBACK })
}

/// Adds the compiler's target where it is missing, and says so.
async fn ensure_target(folder: &Path, printer: Printer) -> Result<()> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).current_dir(folder).output().await;
    let output =
        output.map_err(|_| Failure::usage("there is no Rust compiler").hint("Install Rust from https://rustup.rs."))?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
        return Ok(());
    }
    printer.say(format_args!("the compiler lacks the target {TARGET}; adding it: rustup target add {TARGET}"));
    let added =
        Command::new("rustup").args(["target", "add", TARGET]).current_dir(folder).stdout(Stdio::null()).status().await;
    match added {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("`rustup target add {TARGET}` failed with {status}"),
        Err(_) => {
            let failure =
                Failure::usage(format!("the compiler lacks the target {TARGET}, and there is no rustup to add it"));
            Err(failure.hint("Install the target as you installed the compiler.").into())
        }
    }
}

/// The cargo that started this program, if one did.
fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn no_cargo(error: std::io::Error) -> Failure {
    Failure::usage(format!("cannot start cargo: {error}")).hint("Install Rust from https://rustup.rs.")
}

/// The checkout that cargo runs this program in, or else the one that it was built in, while it is there.
pub(crate) fn checkout() -> Option<PathBuf> {
    let run_in = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let candidates = run_in.into_iter().chain([PathBuf::from(env!("CARGO_MANIFEST_DIR"))]);
    let mut roots = candidates.filter_map(|package| Some(package.parent()?.to_owned()));
    roots.find(|root| root.join("sdk/rust/Cargo.toml").is_file())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn components_are_found_among_the_messages() {
        let artifact = json!({
            "reason": "compiler-artifact", "manifest_path": "/f/Cargo.toml", "filenames": ["/t/x.wasm", "/t/libx.rlib"],
        });
        assert_eq!(component_in(&artifact.to_string()), Some(("/f/Cargo.toml".into(), "/t/x.wasm".into())));
        let others = [
            r#"{"reason":"build-finished","success":true}"#,
            r#"{"reason":"compiler-artifact","filenames":["/t/libx.rlib"]}"#,
            "?",
        ];
        for other in others {
            assert_eq!(component_in(other), None, "{other}");
        }
    }

    #[test]
    fn a_workspace_is_no_flow() {
        let error = package_name(&checkout().unwrap().join("Cargo.toml")).unwrap_err();
        assert!(error.to_string().contains("has no package"), "{error}");
        assert_eq!(package_name(&checkout().unwrap().join("flows/hello/Cargo.toml")).unwrap(), "hello");
    }
}
