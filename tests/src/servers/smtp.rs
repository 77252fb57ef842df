//! aiosmtpd as a mail server; see `tests/servers/smtp.py`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::certificates::TestCertificates;
use super::{ServerProcess, venv_program};

/// The login that the server knows.
pub const USER: &str = "app";
/// Its password.
pub const PASSWORD: &str = "smtp-Pw1!";

/// How the server encrypts, and whether it wants a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpSetup {
    /// No encryption, no login.
    Plain,
    /// No encryption, no login, and mails of at most 1000 bytes.
    PlainSmall,
    /// STARTTLS, then a login by PLAIN or LOGIN.
    StartTls,
    /// STARTTLS, then a login by LOGIN and nothing else.
    StartTlsLoginOnly,
    /// TLS from the first byte, then a login.
    Implicit,
}

/// A running mail server.
#[derive(Debug)]
pub struct SmtpServer {
    process: ServerProcess,
    setup: SmtpSetup,
    ca: String,
}

/// A mail as the server took it and as Python's mail parser reads it.
#[derive(Clone, Debug, Deserialize)]
pub struct ReceivedMail {
    /// Sender of the envelope.
    pub from: String,
    /// Recipients of the envelope.
    pub to: Vec<String>,
    /// Headers of the mail, decoded.
    pub headers: Map<String, Value>,
    /// What the parser found wrong with the mail.
    pub defects: Vec<String>,
    /// All parts that have no parts themselves, in order.
    pub parts: Vec<ReceivedPart>,
}

/// One part of a mail.
#[derive(Clone, Debug, Deserialize)]
pub struct ReceivedPart {
    /// Media type.
    #[serde(rename = "type")]
    pub media_type: String,
    /// Name of an attachment.
    pub file_name: Option<String>,
    /// Length of the decoded content.
    pub size_bytes: u64,
    /// SHA-256 of the decoded content, in lower-case hexadecimal.
    pub sha256: String,
    /// The content of a text.
    pub text: Option<String>,
}

impl SmtpServer {
    /// Starts a server.
    pub fn start(setup: SmtpSetup) -> Result<Self> {
        let certificates = TestCertificates::generate()?;
        let process = ServerProcess::start("aiosmtpd", |folder, port| {
            let mails = folder.join("mails");
            std::fs::create_dir(&mails)?;
            let pem = folder.join("server.pem");
            std::fs::write(&pem, format!("{}{}", certificates.certificate, certificates.key))?;
            let mut command = Command::new(venv_program("python")?);
            command.arg(xtask::repo::root().join("tests/servers/smtp.py"));
            command.args(["--port", &port.to_string()]).arg("--mails").arg(mails);
            command.arg("--certificate").arg(pem).args(setup.arguments());
            Ok(command)
        })?;
        Ok(Self { process, setup, ca: certificates.ca })
    }

    /// The server's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.process.address()
    }

    /// Its authority's certificate.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// Inputs that reach the server, without a mail.
    pub fn inputs(&self) -> Value {
        let server = json!({ "hostname": "127.0.0.1", "port": self.port() });
        match self.setup {
            SmtpSetup::Plain | SmtpSetup::PlainSmall => with(server, json!({ "tls": "none" })),
            SmtpSetup::StartTls | SmtpSetup::StartTlsLoginOnly => with(server, self.login("starttls")),
            SmtpSetup::Implicit => with(server, self.login("implicit")),
        }
    }

    fn login(&self, tls: &str) -> Value {
        json!({ "tls": tls, "server_ca": self.ca, "username": USER, "password": PASSWORD })
    }

    /// The mails so far, in the order in which they came.
    pub fn mails(&self) -> Result<Vec<ReceivedMail>> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(self.process.folder().join("mails"))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        paths.iter().map(|path| read_mail(path).with_context(|| path.display().to_string())).collect()
    }
}

impl SmtpSetup {
    fn arguments(self) -> Vec<&'static str> {
        let login = ["--user", USER, "--password", PASSWORD];
        match self {
            Self::Plain => vec!["--security", "none"],
            Self::PlainSmall => vec!["--security", "none", "--size-max", "1000"],
            Self::StartTls => [&["--security", "starttls"], login.as_slice()].concat(),
            Self::StartTlsLoginOnly => [&["--security", "starttls", "--mechanism", "LOGIN"], login.as_slice()].concat(),
            Self::Implicit => [&["--security", "implicit"], login.as_slice()].concat(),
        }
    }
}

/// `base` with the fields of `more` added or replaced.
pub fn with(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}

fn read_mail(path: &Path) -> Result<ReceivedMail> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}
