//! Stand-ins for Microsoft SQL Server on the protocol layer of pysqlbridge; see `tests/servers/mssql.py`.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use super::certificates::TestCertificates;
use super::{ServerProcess, venv_program};

/// The login that the server knows.
pub const USER: &str = "sa";
/// Its password.
pub const PASSWORD: &str = "S3cret!pw";
/// How many rows the table `big` has.
pub const BIG_ROWS: usize = 50_000;

/// A running server.
pub struct MssqlServer {
    process: ServerProcess,
    certificates: TestCertificates,
}

/// What is behind the protocol.
#[derive(Clone, Copy)]
enum Behind {
    Tables,
    Sqlite,
}

impl MssqlServer {
    /// pysqlbridge with its own, read-only engine, and two tables: `people` with `id` and `name` of ada, grace and
    /// edsger; `big` with `id` and `label`, of [`BIG_ROWS`] rows.
    pub fn read_only() -> Result<Self> {
        Self::start(Behind::Tables)
    }

    /// A writable, empty database.
    pub fn writable() -> Result<Self> {
        Self::start(Behind::Sqlite)
    }

    fn start(behind: Behind) -> Result<Self> {
        let certificates = TestCertificates::generate()?;
        let process = ServerProcess::start("pysqlbridge", |folder, port| {
            let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
            std::fs::write(&certificate, &certificates.certificate)?;
            std::fs::write(&key, &certificates.key)?;
            let mut command = Command::new(venv_program("python")?);
            command.arg(xtask::repo::root().join("tests/servers/mssql.py"));
            command.args(["--port", &port.to_string(), "--user", USER, "--password", PASSWORD]);
            command.arg("--certificate").arg(certificate).arg("--key").arg(key);
            match behind {
                Behind::Tables => command.arg("--tables").arg(write_tables(folder)?),
                Behind::Sqlite => command.arg("--sqlite").arg(folder.join("database.sqlite")),
            };
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

    /// The certificate of the server itself.
    pub fn certificate(&self) -> &str {
        &self.certificates.certificate
    }

    /// Inputs that reach the server, without a statement.
    pub fn inputs(&self) -> Value {
        json!({
            "hostname": "127.0.0.1",
            "port": self.process.port(),
            "username": USER,
            "password": PASSWORD,
            "server_ca": self.ca(),
        })
    }
}

fn write_tables(folder: &Path) -> Result<std::path::PathBuf> {
    std::fs::write(folder.join("people.csv"), "id,name\n1,ada\n2,grace\n3,edsger\n")?;
    let mut big = String::from("id,label\n");
    for id in 1..=BIG_ROWS {
        writeln!(big, "{id},row number {id}")?;
    }
    std::fs::write(folder.join("big.csv"), big)?;
    let config = folder.join("tables.json");
    let tables = json!({ "tables": [
        { "name": "people", "csv": folder.join("people.csv") },
        { "name": "big", "csv": folder.join("big.csv") },
    ]});
    std::fs::write(&config, tables.to_string())?;
    Ok(config)
}
