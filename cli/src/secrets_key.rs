//! Where the key of the secrets comes from: a file, an environment variable, or what a command prints.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;
use clap::Args;
use serde::Deserialize;
use surefoot_engine::SecretsKey;

use crate::failure::Failure;

/// The table `[secrets]` of `surefoot.toml`, and the options that name another key. At most one is given; none means
/// the key that the workspace makes for itself.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[group(id = "key", multiple = false)]
pub(crate) struct Source {
    /// A file that holds the key; a relative path is one in the data folder
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// An environment variable that holds the key
    #[arg(long, value_name = "NAME")]
    key_env: Option<String>,
    /// A command that prints the key, for the shell
    #[arg(long, value_name = "COMMAND")]
    key_command: Option<String>,
}

impl Source {
    /// The key; none when none is named.
    pub(crate) fn key(&self, data: &Path) -> Result<Option<SecretsKey>> {
        let (material, place) = match (&self.key_file, &self.key_env, &self.key_command) {
            (None, None, None) => return Ok(None),
            (Some(file), None, None) => {
                let path = data.join(file);
                let material = std::fs::read(&path).map_err(|error| Failure::place("read", &path, &error))?;
                (material, path.display().to_string())
            }
            (None, Some(name), None) => {
                let missing = || Failure::usage(format!("the environment variable `{name}` is not set"));
                let value = std::env::var_os(name)
                    .ok_or_else(|| missing().hint("surefoot.toml says that it holds the key of the secrets."))?;
                (value.into_encoded_bytes(), format!("the environment variable `{name}`"))
            }
            (None, None, Some(command)) => (printed(command)?, format!("the output of `{command}`")),
            _ => {
                let failure = Failure::usage("the key of the secrets has more than one source");
                return Err(failure.hint("Give one of `key_file`, `key_env` and `key_command`.").into());
            }
        };
        let key = SecretsKey::new(&material).map_err(|error| Failure::usage(format!("{place}: {error}")))?;
        Ok(Some(key))
    }

    /// The variable of the environment that holds it, where one does.
    pub(crate) fn variable(&self) -> Option<&str> {
        self.key_env.as_deref()
    }

    /// The line of `surefoot.toml` that names it; none for the workspace's own key.
    pub(crate) fn setting(&self) -> Option<String> {
        let file = self.key_file.as_ref().map(|file| ("key_file", file.to_string_lossy().into_owned()));
        let env = self.key_env.clone().map(|name| ("key_env", name));
        let command = self.key_command.clone().map(|command| ("key_command", command));
        let (key, value) = file.or(env).or(command)?;
        Some(format!("{key} = {}", toml::Value::String(value)))
    }
}

/// What a command prints. Its messages go where ours go.
fn printed(command: &str) -> Result<Vec<u8>> {
    let failed = |why: String| Failure::usage(format!("`{command}`, which is to print the key of the secrets, {why}"));
    let shell = Command::new("/bin/sh").args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = shell.map_err(|error| failed(format!("cannot be started: {error}")))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(failed(format!("ended with {}", output.status)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_from_one_place() {
        let folder = tempfile::tempdir().unwrap();
        let material = "0123456789abcdef0123456789abcdef";
        std::fs::write(folder.path().join("the-key"), format!("{material}\n")).unwrap();
        let read = |text: &str| toml::from_str::<Source>(text).unwrap().key(folder.path());
        for text in ["key_file = \"the-key\"", &format!("key_command = \"echo {material}\"")] {
            assert!(read(text).unwrap().is_some(), "{text}");
        }
        assert!(read("").unwrap().is_none());
        for (text, hint) in [
            ("key_file = \"missing\"", "missing"),
            ("key_env = \"SUREFOOT_NO_SUCH_VARIABLE\"", "SUREFOOT_NO_SUCH_VARIABLE"),
            ("key_command = \"exit 3\"", "3"),
            ("key_command = \"echo short\"", "less than 16 bytes"),
            ("key_env = \"A\"\nkey_file = \"b\"", "more than one"),
        ] {
            let error = read(text).unwrap_err();
            assert!(format!("{error:#}").contains(hint), "{text}: {error:#}");
        }
    }

    #[test]
    fn the_setting_names_the_source() {
        let source = Source { key_command: Some("pass show \"x\"".into()), ..Source::default() };
        let setting = source.setting().unwrap();
        assert_eq!(toml::from_str::<Source>(&setting).unwrap().key_command, source.key_command, "{setting}");
        assert_eq!(Source::default().setting(), None);
    }
}
