//! An OpenSSH server, and keys for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ServerProcess, is_root, program, user_name};

/// An sshd for the user who runs the tests, with key login only. Runs until it is dropped.
#[derive(Debug)]
pub struct SshServer {
    process: ServerProcess,
    user: String,
}

/// A pair of keys, made by `ssh-keygen` in a folder.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// The file of the private key.
    pub file: PathBuf,
    /// The private key as OpenSSH text.
    pub private: String,
    /// The public key as `ssh-ed25519 AAAA… comment`.
    pub public: String,
}

/// An sshd and the key of a user that it accepts.
#[derive(Debug)]
pub struct SshHost {
    /// The server.
    pub server: SshServer,
    /// The user's key.
    pub key: KeyPair,
    folder: TempDir,
}

impl SshHost {
    /// An ordinary one.
    pub fn start() -> Result<Self> {
        Self::with(|key| SshServer::start(&[key]))
    }

    /// One that runs that line of shell, whatever it is asked for.
    pub fn running(command: &str) -> Result<Self> {
        Self::with(|key| SshServer::start_running(key, command))
    }

    /// One that `start` makes for the user's key.
    pub fn with(start: impl FnOnce(&KeyPair) -> Result<SshServer>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let key = KeyPair::generate(folder.path(), "user", "ed25519", "")?;
        Ok(Self { server: start(&key)?, key, folder })
    }

    /// The inputs that log in there.
    pub fn inputs(&self) -> Result<Value> {
        Ok(json!({
            "hostname": "localhost", "port": self.server.port(), "username": self.server.user(),
            "key": self.key.private, "hostkey": self.server.host_key("ed25519")?, "connect_timeout": 10,
        }))
    }

    /// A path at the server.
    pub fn remote(&self, name: &str) -> String {
        self.server.folder().join(name).display().to_string()
    }

    /// A folder for further keys.
    pub fn keys(&self) -> &Path {
        self.folder.path()
    }
}

impl KeyPair {
    /// A new pair of that kind (`ed25519`, `rsa`, `ecdsa`), encrypted if there is a passphrase.
    pub fn generate(folder: &Path, name: &str, kind: &str, passphrase: &str) -> Result<Self> {
        let file = folder.join(name);
        let output = Command::new(program("ssh-keygen")?)
            .args(["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f"])
            .arg(&file)
            .output()?;
        if !output.status.success() {
            bail!("ssh-keygen: {}", String::from_utf8_lossy(&output.stderr));
        }
        let private = std::fs::read_to_string(&file)?;
        let public = std::fs::read_to_string(file.with_extension("pub"))?.trim().to_owned();
        Ok(Self { file, private, public })
    }

    /// The fingerprint of the public key as `SHA256:…`.
    pub fn fingerprint(&self) -> Result<String> {
        let output =
            Command::new(program("ssh-keygen")?).args(["-l", "-E", "sha256", "-f"]).arg(&self.file).output()?;
        let text = String::from_utf8(output.stdout)?;
        text.split(' ').nth(1).map(str::to_owned).context("ssh-keygen prints a fingerprint")
    }
}

impl SshServer {
    /// An sshd that accepts `keys` and has an ed25519 host key.
    pub fn start(keys: &[&KeyPair]) -> Result<Self> {
        Self::start_with_host_keys(keys, &["ed25519"])
    }

    /// An sshd that accepts `keys` and has host keys of those kinds.
    pub fn start_with_host_keys(keys: &[&KeyPair], host_keys: &[&str]) -> Result<Self> {
        Self::start_with_lines(&keys.iter().map(|key| key.public.clone()).collect::<Vec<_>>(), host_keys)
    }

    /// An sshd that accepts `key` and then runs `command`, a line for the shell, whatever it is asked to run.
    pub fn start_running(key: &KeyPair, command: &str) -> Result<Self> {
        let command = command.replace('"', "\\\"");
        Self::start_with_lines(&[format!("command=\"{command}\" {}", key.public)], &["ed25519"])
    }

    fn start_with_lines(authorized: &[String], host_keys: &[&str]) -> Result<Self> {
        let executable = program("sshd")?;
        if is_root() {
            // Where sshd locks itself in before the login.
            std::fs::create_dir_all("/run/sshd").context("making /run/sshd")?;
        }
        let process = ServerProcess::start("sshd", |folder, port| {
            let here = folder.display();
            let mut host_key_lines = String::new();
            for kind in host_keys {
                KeyPair::generate(folder, &format!("host_{kind}"), kind, "")?;
                host_key_lines.push_str(&format!("HostKey {here}/host_{kind}\n"));
            }
            std::fs::write(folder.join("authorized_keys"), authorized.join("\n"))?;
            let config = format!(
                "Port {port}\nListenAddress 127.0.0.1\n{host_key_lines}PidFile none\n\
                 AuthorizedKeysFile {here}/authorized_keys\nStrictModes no\nUsePAM no\n\
                 PasswordAuthentication yes\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n\
                 AcceptEnv TEST_*\nMaxStartups 200:30:400\nLogLevel VERBOSE\n"
            );
            std::fs::write(folder.join("sshd_config"), config)?;
            let mut command = Command::new(&executable);
            command.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config"));
            Ok(command)
        })?;
        Ok(Self { process, user: user_name()? })
    }

    /// The port of 127.0.0.1 on which it listens.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// The process, to kill it or to see what it printed.
    pub fn process(&mut self) -> &mut ServerProcess {
        &mut self.process
    }

    /// The user who may log in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// A folder for remote files; paths at the server are the same as here.
    pub fn folder(&self) -> &Path {
        self.process.folder()
    }

    /// Its public host key of that kind (`ed25519`, `rsa`), as a line without a host name.
    pub fn host_key(&self, kind: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder().join(format!("host_{kind}.pub")))?.trim().to_owned())
    }

    /// What it has printed, to explain a failure.
    pub fn log(&self) -> String {
        self.process.output()
    }
}
