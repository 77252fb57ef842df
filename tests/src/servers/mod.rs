//! Real servers for tests: each a child process with a folder and a loopback port of its own, gone when dropped.

pub mod certificates;
pub mod ftp;
pub mod mssql;
pub mod smtp;
pub mod ssh;
pub mod stand_in;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long a server may take until it accepts connections.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How often another port is tried when somebody was faster on the one we had picked.
const START_ATTEMPTS: usize = 4;

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    name: &'static str,
    child: Child,
    folder: TempDir,
    port: u16,
}

impl ServerProcess {
    /// Starts the command that `prepare` makes for an empty folder and a free port of 127.0.0.1, and waits until that
    /// port accepts connections. The error carries what the process has printed.
    pub fn start(name: &'static str, prepare: impl Fn(&Path, u16) -> Result<Command>) -> Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::start_once(name, &prepare) {
                Err(error) if attempt < START_ATTEMPTS && error.is::<PortTaken>() => attempt += 1,
                other => return other,
            }
        }
    }

    fn start_once(name: &'static str, prepare: &impl Fn(&Path, u16) -> Result<Command>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("surefoot-test-").tempdir()?;
        let port = free_port()?;
        let mut command = prepare(folder.path(), port).with_context(|| format!("preparing {name}"))?;
        let output = File::create(folder.path().join("output.log"))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let child = command.spawn().with_context(|| format!("starting {name} with {command:?}"))?;
        let mut server = Self { name, child, folder, port };
        server.wait_until_ready()?;
        Ok(server)
    }

    #[expect(clippy::disallowed_methods, reason = "waits for a child process, outside of any runtime, with a deadline")]
    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.ended_early(status));
            }
            if TcpStream::connect_timeout(&self.address(), Duration::from_millis(500)).is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "{} does not accept connections on port {}; it printed:\n{}",
                    self.name,
                    self.port,
                    self.output()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn ended_early(&self, status: ExitStatus) -> anyhow::Error {
        let output = self.output();
        let how = status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
        let report = anyhow::anyhow!("{} ended while it started ({how}); it printed:\n{output}", self.name);
        if output.contains("in use") { report.context(PortTaken) } else { report }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The port of 127.0.0.1 on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder that it has to itself.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("output.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Kills it at once, with its children; connections to it are cut.
    pub fn kill(&mut self) {
        if let Ok(None) = self.child.try_wait()
            && let Ok(group) = i32::try_from(self.child.id())
        {
            // The group is ours alone: it was made for this child, and the child has not been reaped yet.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Somebody else took the port between our look and the server's start.
#[derive(Debug)]
struct PortTaken;

impl std::fmt::Display for PortTaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the port was taken meanwhile")
    }
}

/// A port of 127.0.0.1 on which nobody listens right now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The path of an installed program, looked for in `PATH` and where Debian puts daemons.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("`{name}` is not installed; run cargo xtask setup"))
}

/// A program of the tests' virtual environment, such as `python`.
pub fn venv_program(name: &str) -> Result<PathBuf> {
    let venv = match std::env::var_os("SUREFOOT_TEST_VENV") {
        Some(venv) => PathBuf::from(venv),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache/surefoot/venv"),
    };
    let program = venv.join("bin").join(name);
    if !program.is_file() {
        bail!("`{}` does not exist; run cargo xtask setup", program.display());
    }
    Ok(program)
}

/// Whether the tests run as root. Some servers drop to a user of their own then, others refuse to.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The name of the user who runs the tests.
pub fn user_name() -> Result<String> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?.context("the user has no name")?;
    Ok(user.name)
}
