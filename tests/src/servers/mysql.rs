//! A MariaDB server with TLS and passwords, in a folder of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::certificates::TestCertificates;
use super::{ServerProcess, hand_over, is_root, program};

/// The account that may do everything.
pub const USER: &str = "admin";
/// Its password.
pub const PASSWORD: &str = "my-Pw1!";
/// The database that every connection uses.
pub const DATABASE: &str = "test";
/// Whom the server runs as when the tests run as root.
const SYSTEM_USER: &str = "nobody";

/// A running server. Stopped when dropped.
pub struct MysqlServer {
    process: ServerProcess,
    certificates: TestCertificates,
}

impl MysqlServer {
    /// Makes an empty data folder and starts a server on it. It takes encrypted connections as well as plain ones.
    pub fn start() -> Result<Self> {
        let certificates = TestCertificates::generate()?;
        let (install, server) = (program("mariadb-install-db")?, program("mariadbd")?);
        let process = ServerProcess::start("mariadbd", |folder, port| {
            let (certificate, key, data) = (folder.join("server.pem"), folder.join("server.key"), folder.join("data"));
            std::fs::write(&certificate, &certificates.certificate)?;
            std::fs::write(&key, &certificates.key)?;
            std::fs::create_dir(&data)?;
            let start = folder.join("start.sql");
            std::fs::write(&start, accounts())?;
            for path in [folder, &key, &data, &start] {
                hand_over(path, SYSTEM_USER)?;
            }
            make_data(&install, &data)?;
            let mut command = Command::new(&server);
            // Not what the machine has configured for another server; must be the first argument.
            command.arg("--no-defaults").args(run_as()).arg(argument("--datadir=", &data));
            command.arg(argument("--socket=", &folder.join("socket"))).arg(argument("--init-file=", &start));
            command.arg(argument("--ssl-cert=", &certificate)).arg(argument("--ssl-key=", &key));
            command.arg(format!("--port={port}")).args(["--bind-address=127.0.0.1", "--skip-name-resolve"]);
            command.args([
                "--innodb-flush-log-at-trx-commit=0",
                "--character-set-server=utf8mb4",
                "--max-allowed-packet=64M",
            ]);
            Ok(command)
        })?;
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
            "database": DATABASE,
            "server_ca": self.ca(),
        })
    }
}

/// What the server does before it listens. One statement a line.
fn accounts() -> String {
    format!(
        "CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4;\n\
         CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}';\n\
         GRANT ALL ON *.* TO {USER}@'%' WITH GRANT OPTION;\n"
    )
}

fn make_data(install: &Path, data: &Path) -> Result<()> {
    let mut command = Command::new(install);
    command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    let output = command.args(run_as()).arg(argument("--datadir=", data)).output();
    let output = output.context("starting mariadb-install-db")?;
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("mariadb-install-db: {out}{err}");
    }
    Ok(())
}

fn run_as() -> Option<String> {
    is_root().then(|| format!("--user={SYSTEM_USER}"))
}

fn argument(name: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(name);
    argument.push(path);
    argument
}
