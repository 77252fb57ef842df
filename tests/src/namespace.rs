//! A mount namespace of a test's own: folders on a small disk, or read-only, without harm to the machine and also for
//! an ordinary user.
//!
//! The machine must allow user namespaces, as Linux does by default; where it does not, the error says so.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// See the module. It ends when this is dropped; what was written to its disks is gone then.
pub struct Namespace {
    holder: Child,
    /// Its end lets the holder end.
    _hold: ChildStdin,
}

impl Namespace {
    /// A namespace in which `folder` is a disk of that many bytes.
    pub async fn with_small_disk(folder: &Path, bytes: u64) -> Result<Self> {
        Self::with(folder, &format!("mount -t tmpfs -o size={bytes},mode=0700 tmpfs \"$0\"")).await
    }

    /// A namespace in which `folder` is there, and cannot be written.
    pub async fn with_read_only(folder: &Path) -> Result<Self> {
        Self::with(folder, "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"").await
    }

    async fn with(folder: &Path, mount: &str) -> Result<Self> {
        // It lasts as long as its standard input.
        let script = format!("{mount} && echo mounted && cat");
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &script]).arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut holder = command.spawn().context("cannot start unshare, of the package util-linux")?;
        let hold = holder.stdin.take().context("stdin is piped")?;
        let stdout = holder.stdout.take().context("stdout is piped")?;
        let said = BufReader::new(stdout).lines().next_line().await?;
        if said.as_deref() != Some("mounted") {
            drop(hold);
            let output = holder.wait_with_output().await?;
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            anyhow::bail!("this test needs user namespaces; allow `unshare --map-root-user --mount` here: {said}");
        }
        let namespace = Self { holder, _hold: hold };
        ensure!(namespace.seen(folder).exists(), "the namespace cannot be looked into");
        Ok(namespace)
    }

    /// A program, with its arguments, that starts another one inside.
    pub fn enter(&self) -> Result<Vec<String>> {
        let holder = self.holder.id().context("the holder is at work")?;
        let arguments = ["nsenter", "--user", "--preserve-credentials", "--mount", "--target", &holder.to_string()];
        Ok(arguments.map(str::to_owned).to_vec())
    }

    /// Where the test itself finds what is at `path` inside.
    pub fn seen(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id().unwrap_or_default()));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }
}
