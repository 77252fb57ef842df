//! Running other programs, in the open: each command is shown before it starts.

#![expect(clippy::print_stderr, reason = "telling what is being done is the purpose of this module")]

use std::{
    ffi::OsStr,
    fmt::Display,
    io,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use xtask::repo;

/// The cargo that started this program, to be run in the checkout with an absolute build folder.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(repo::root()).env("CARGO_TARGET_DIR", repo::target_dir());
    command
}

/// Says on standard error what is going on.
pub(crate) fn say(message: impl Display) {
    eprintln!("xtask: {message}");
}

/// Shows the command as it could be typed.
pub(crate) fn show(command: &Command) {
    eprintln!("$ {}", describe(command));
}

/// Shows and runs a command whose output the user sees; fails when it does.
pub(crate) fn visibly(command: &mut Command) -> Result<()> {
    show(command);
    let status = command.status().with_context(|| format!("cannot start {}", describe(command)))?;
    ensure!(status.success(), "`{}` failed with {status}", describe(command));
    Ok(())
}

/// Runs a command silently and gives its standard output, whatever its exit code; `None` when there is no such
/// program.
pub(crate) fn output_if_present(command: &mut Command) -> Result<Option<String>> {
    match command.stdin(Stdio::null()).stderr(Stdio::null()).output() {
        Ok(output) => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => bail!("cannot start {}: {error}", describe(command)),
    }
}

fn describe(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_typed() {
        let mut command = Command::new("/usr/bin/printf");
        command.args(["--", "it's", "", "a=b"]);
        assert_eq!(describe(&command), r"printf -- 'it'\''s' '' a=b");
    }

    #[test]
    fn a_missing_program_is_not_an_error() {
        assert_eq!(output_if_present(&mut Command::new("surefoot-no-such-program")).unwrap(), None);
    }
}
