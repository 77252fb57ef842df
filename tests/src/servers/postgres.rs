//! A PostgreSQL server with TLS and passwords, in a folder of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::certificates::TestCertificates;
use super::{ServerProcess, as_unprivileged, hand_over};

/// The role that owns everything.
pub const USER: &str = "admin";
/// Its password.
pub const PASSWORD: &str = "pg-Pw1!";
/// Whom the server runs as when the tests run as root, since it refuses to be root.
const SYSTEM_USER: &str = "postgres";

/// A running server. Stopped when dropped.
pub struct PostgresServer {
    process: ServerProcess,
    certificates: TestCertificates,
}

impl PostgresServer {
    /// Makes an empty cluster and starts it. It takes encrypted connections as well as plain ones.
    pub fn start() -> Result<Self> {
        let certificates = TestCertificates::generate()?;
        let programs = programs()?;
        let mut process = ServerProcess::start("postgres", |folder, port| {
            let (key, password) = (folder.join("server.key"), folder.join("password"));
            std::fs::write(folder.join("server.pem"), &certificates.certificate)?;
            std::fs::write(&key, &certificates.key)?;
            std::fs::write(&password, PASSWORD)?;
            hand_over(folder, SYSTEM_USER)?;
            hand_over(&key, SYSTEM_USER)?;
            let data = folder.join("data");
            make_cluster(&programs, &data, &password)?;
            let mut command = as_unprivileged(&programs.join("postgres"), SYSTEM_USER);
            command.arg("-D").arg(data).arg("-k").arg(folder).args(["-p", &port.to_string()]);
            for setting in ["listen_addresses=127.0.0.1", "lc_messages=C", "fsync=off", "ssl=on", "max_connections=50"]
            {
                command.args(["-c", setting]);
            }
            command.arg("-c").arg(format!("ssl_cert_file={}", folder.join("server.pem").display()));
            command.arg("-c").arg(format!("ssl_key_file={}", key.display()));
            Ok(command)
        })?;
        // Until then it refuses everybody.
        process.wait_for_output("database system is ready to accept connections")?;
        Ok(Self { process, certificates })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.process.address()
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// The certificate of its authority.
    pub fn ca(&self) -> &str {
        &self.certificates.ca
    }

    /// Inputs that reach the server, without a statement.
    pub fn inputs(&self) -> Value {
        json!({
            "hostname": "127.0.0.1",
            "port": self.process.port(),
            "username": USER,
            "password": PASSWORD,
            "database": "postgres",
            "server_ca": self.ca(),
        })
    }
}

impl Drop for PostgresServer {
    /// At once, but not by a kill, which would leave a segment of shared memory on the machine.
    fn drop(&mut self) {
        self.process.stop(Signal::SIGQUIT);
    }
}

fn make_cluster(programs: &Path, data: &Path, password: &Path) -> Result<()> {
    let mut command = as_unprivileged(&programs.join("initdb"), SYSTEM_USER);
    command.arg("-D").arg(data).args(["-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync"]);
    let output = command.arg("--pwfile").arg(password).output().context("starting initdb")?;
    if !output.status.success() {
        bail!("initdb: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// The folder of the server's programs. Debian keeps those of each version apart, and out of `PATH`.
fn programs() -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut found: Vec<PathBuf> = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    found.retain(|folder| folder.join("initdb").is_file());
    found.sort();
    found.pop().context("PostgreSQL is not installed; run cargo xtask setup")
}
