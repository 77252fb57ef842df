//! Debian packages: the servers and tools that the end-to-end tests start.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context, Result, bail, ensure};
use xtask::repo;

use crate::run;

/// One package a line, `#` begins a comment; relative to the checkout.
const LIST: &str = "tests/packages.txt";

/// Run as root with the packages as arguments. The packages' own services must not start: the tests start servers
/// themselves, on loopback, and a fresh FTP server on a developer's machine is nobody's wish. `--no-remove`, because
/// Debian's FTP servers exclude each other, and one that somebody uses must not vanish.
const INSTALL: &str = r#"
set -eu
policy=/usr/sbin/policy-rc.d
if ! [ -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet
apt-get install --quiet --yes --no-install-recommends --no-remove -- "$@"
"#;

/// Installs the missing packages. True when there were any.
pub(super) fn install() -> Result<bool> {
    install_missing(&listed(&super::read(&repo::root().join(LIST))?))
}

/// Installs one that only machines need which have not got what it brings from elsewhere.
pub(super) fn install_one(name: &str) -> Result<bool> {
    install_missing(&[name.to_owned()])
}

fn install_missing(wanted: &[String]) -> Result<bool> {
    let missing = missing(wanted)?;
    if missing.is_empty() {
        return Ok(false);
    }
    let names = missing.join(" ");
    run::say(format_args!("installing Debian packages with apt-get: {names}"));
    run::say("their services are not started now; if systemd starts one at the next boot, disable it");
    let mut command = as_root(&names)?;
    let status = command.args(["sh", "-c", INSTALL, "install"]).args(&missing).status().context("cannot start sh")?;
    ensure!(
        status.success(),
        "cannot install {names}: see above; an FTP server that is in the way must be removed by hand",
    );
    Ok(true)
}

fn missing(wanted: &[String]) -> Result<Vec<String>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${Package} ${db:Status-Status}\\n"]).args(wanted);
    let Some(answer) = run::output_if_present(&mut query)? else {
        bail!("this is no Debian, so install the equivalents of these packages by hand: {}", wanted.join(" "));
    };
    let installed = installed(&answer);
    Ok(wanted.iter().filter(|name| !installed.contains(name.as_str())).cloned().collect())
}

/// A command line to which a program to be run as root is added.
fn as_root(names: &str) -> Result<Command> {
    let user = run::output_if_present(Command::new("id").arg("-u"))?.unwrap_or_default();
    if user.trim() == "0" {
        return Ok(Command::new("env"));
    }
    if run::output_if_present(Command::new("sudo").arg("--version"))?.is_some() {
        return Ok(Command::new("sudo"));
    }
    bail!("you are not root and there is no sudo: have these Debian packages installed: {names}")
}

fn listed(list: &str) -> Vec<String> {
    let lines = list.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn installed(answer: &str) -> BTreeSet<&str> {
    let lines = answer.lines().filter_map(|line| line.split_once(' '));
    lines.filter(|(_, status)| *status == "installed").map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_may_have_comments() {
        assert_eq!(listed("# servers\nopenssh-server # scp\n\n  vsftpd\n"), ["openssh-server", "vsftpd"]);
    }

    #[test]
    fn removed_but_configured_is_not_installed() {
        let answer = "openssh-server installed\nvsftpd config-files\nproftpd-core not-installed\n";
        assert_eq!(installed(answer), BTreeSet::from(["openssh-server"]));
    }
}
