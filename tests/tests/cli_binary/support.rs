//! Starting the binary, in a workspace of its own and without the environment of whoever runs the tests.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a workspace in it, and the binary to use it.
pub(crate) struct Cli {
    home: TempDir,
}

/// What a process left behind.
#[must_use]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Cli {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    /// The folder in which the binary runs.
    pub(crate) fn folder(&self) -> &Path {
        self.home.path()
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The binary with these arguments, not started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let binary = xtask::repo::binary();
        assert!(binary.is_file(), "{} does not exist: run `cargo xtask test`", binary.display());
        let mut command = Command::new(binary);
        for variable in ["SUREFOOT_SERVER", "SUREFOOT_TOKEN", "SUREFOOT_LOG", "SUREFOOT_WEBHOOK_KEY"] {
            command.env_remove(variable);
        }
        command.env("SUREFOOT_DATA", "data").current_dir(self.folder()).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs to the end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs to the end, with this on standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &[u8]) -> Done {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap().into()
    }

    /// Runs to a good end. Returns standard output.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!(done.code, 0, "{arguments:?}: {}", done.stderr);
        done.stdout
    }

    /// Runs to a good end with `--output json`. Returns the document.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let stdout = self.ok(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {stdout}"))
    }

    /// Deploys an example flow.
    #[track_caller]
    pub(crate) fn deploy(&self, flow: &str) {
        let component = xtask::flows::component(flow).unwrap();
        self.ok(&["deploy", component.to_str().unwrap(), "--name", flow]);
    }

    /// Starts a server on the workspace and waits until it says where it listens.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Server {
        let mut command = self.command(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat());
        let talk = self.folder().join("server.log");
        let mut child = command.stdout(Stdio::piped()).stderr(File::create(&talk).unwrap()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut server = Server { child, stdout, url: String::new() };
        server.stdout.read_line(&mut server.url).unwrap();
        server.url = server.url.trim().to_owned();
        let is_there = server.url.starts_with("http://127.0.0.1:");
        assert!(is_there, "the server said {:?} and {}", server.url, std::fs::read_to_string(talk).unwrap());
        server
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or_else(|| panic!("ended with {}", output.status));
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Done {
    /// That it was refused with this code, and standard error says all of these and nothing is on standard output.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, says: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (code, ""), "{}", self.stderr);
        let has_error = self.stderr.lines().any(|line| line.starts_with("error: "));
        assert!(has_error, "{}", self.stderr);
        for text in says {
            assert!(self.stderr.contains(text), "`{text}` is not in: {}", self.stderr);
        }
    }
}

/// A server that runs. It is killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, and waits. Returns its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        signal(&self.child, Signal::SIGTERM);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that has not been waited for.
pub(crate) fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}
