//! `surefoot new`: the folder of a new flow, made from the SDK's template. It compiles and runs as it is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::{exit_codes, guest};

/// The template's files: their path in the folder, and their text with `{{name}}` and `{{sdk}}`.
const TEMPLATE: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("../../../sdk/rust/template/Cargo.toml.tmpl")),
    ("src/lib.rs", include_str!("../../../sdk/rust/template/src/lib.rs.tmpl")),
    ("README.md", include_str!("../../../sdk/rust/template/README.md.tmpl")),
    (".gitignore", include_str!("../../../sdk/rust/template/.gitignore.tmpl")),
];

/// The SDK's release that fits this program.
const SDK_VERSION: &str = "0.1";

#[derive(Args)]
pub(crate) struct Arguments {
    /// The flow's folder; its last part becomes the flow's name
    #[arg(value_name = "NAME")]
    folder: PathBuf,
    /// Use the Rust SDK in this folder instead of the released one
    #[arg(long, value_name = "PATH")]
    sdk: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8> {
    let folder = &arguments.folder;
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    check_name(name)?;
    if folder.exists() {
        let failure = Failure::usage(format!("{} exists already", folder.display()));
        return Err(failure.hint("Choose another name, or remove it.").into());
    }
    let sdk = sdk_line(arguments.sdk.as_deref())?;
    for (path, text) in TEMPLATE {
        let path = folder.join(path);
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(&path, text.replace("{{name}}", name).replace("{{sdk}}", &sdk))
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
    }
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&json!({ "flow": name, "folder": folder }))?;
    } else {
        printer.say(format_args!("made the flow `{name}`; run it: surefoot run {}", as_path(folder)));
    }
    Ok(exit_codes::SUCCESS)
}

/// Cargo's rules for the names of packages, in lower case.
fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(fits) {
        return Ok(());
    }
    let failure = Failure::usage(format!("`{name}` cannot be the name of a flow's package"));
    Err(failure.hint("Use lower-case letters, digits, `-` and `_`, and begin with a letter.").into())
}

/// The line of `[dependencies]` for the SDK.
fn sdk_line(given: Option<&Path>) -> Result<String> {
    let folder = match given {
        Some(folder) if !folder.join("Cargo.toml").is_file() => {
            return Err(Failure::usage(format!("there is no SDK in {}", folder.display())).into());
        }
        Some(folder) => Some(folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?),
        None => guest::checkout().map(|checkout| checkout.join("sdk/rust")),
    };
    Ok(match folder {
        Some(folder) => format!("surefoot-sdk = {{ path = {} }}", toml::Value::from(folder.to_string_lossy().as_ref())),
        None => format!("surefoot-sdk = \"{SDK_VERSION}\""),
    })
}

/// A folder so that `surefoot run` takes it for one.
fn as_path(folder: &Path) -> String {
    if folder.components().count() == 1 { format!("./{}", folder.display()) } else { folder.display().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_packages_names() {
        for name in ["hello", "my-flow_2"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "2nd", "My", "a b", "-a", "a/b", "ä"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn no_placeholder_is_unknown() {
        for (path, text) in TEMPLATE {
            let filled = text.replace("{{name}}", "x").replace("{{sdk}}", "y");
            assert!(!filled.contains("{{"), "{path}");
        }
    }
}
