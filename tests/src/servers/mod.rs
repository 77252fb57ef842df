//! Real servers for tests: each a child process with a folder and a loopback port of its own, gone when dropped.

pub mod certificates;
pub mod echo;
pub mod ftp;
pub mod http;
pub mod mssql;
pub mod mysql;
pub mod postgres;
pub mod smtp;
pub mod ssh;
pub mod stand_in;
pub mod webhook_receiver;

use std::fs::{File, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long a server may take until it accepts connections.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How long a server may take to end when it is asked to.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
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

    /// Waits until it has printed `text`, for servers that accept connections before they are ready.
    #[expect(clippy::disallowed_methods, reason = "waits for a child process, outside of any runtime, with a deadline")]
    pub fn wait_for_output(&mut self, text: &str) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while !self.output().contains(text) {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.ended_early(status));
            }
            if Instant::now() > deadline {
                bail!("{} never said `{text}`; it printed:\n{}", self.name, self.output());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
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

    /// Asks it to stop by `signal` and waits for its end; kills it when that takes too long.
    #[expect(clippy::disallowed_methods, reason = "waits for a child process, outside of any runtime, with a deadline")]
    pub fn stop(&mut self, signal: Signal) {
        let deadline = Instant::now() + STOPPED_WITHIN;
        if let (Ok(None), Ok(child)) = (self.child.try_wait(), i32::try_from(self.child.id())) {
            // The child has not been reaped yet, so the number is its own.
            let _ = kill(Pid::from_raw(child), signal);
        }
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
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

/// One server for all tests of a binary that run at the same time: started by the first that asks, gone with the last.
#[derive(Debug)]
pub struct SharedServer<T>(Mutex<Weak<T>>);

impl<T> SharedServer<T> {
    /// Not started yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The server that runs, or what `start` starts.
    pub fn get(&self, start: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        // A test that panicked while it started a server has left none behind.
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = running.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(start()?);
        *running = Arc::downgrade(&server);
        Ok(server)
    }
}

impl<T> Default for SharedServer<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A command that runs `program` as `user` when the tests run as root, for servers that refuse to be root.
fn as_unprivileged(program: &Path, user: &str) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--init-groups", "--"]).arg(program);
    command
}

/// Gives a file or folder to `user` when the tests run as root, so that a server that is not root can use it. Nobody
/// else can read it afterwards.
fn hand_over(path: &Path, user: &str) -> Result<()> {
    let mode = if path.is_dir() { 0o700 } else { 0o600 };
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    if is_root() {
        let user = nix::unistd::User::from_name(user)?.with_context(|| format!("there is no user `{user}`"))?;
        std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    Ok(())
}

/// The name of the user who runs the tests.
pub fn user_name() -> Result<String> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?.context("the user has no name")?;
    Ok(user.name)
}
