//! FTP servers: ProFTPD and pyftpdlib. Both know one user and show one folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::certificates::TestCertificates;
use super::{ServerProcess, is_root, program, user_name, venv_program};

/// The user that every test server knows.
pub const USER: &str = "ftptest";
/// That user's password.
pub const PASSWORD: &str = "ftp-Pw1!-secret";

/// An FTP server that runs until it is dropped.
#[derive(Debug)]
pub struct FtpServer {
    process: ServerProcess,
}

/// How a ProFTPD is set up.
#[derive(Clone, Default)]
pub struct ProFtpdOptions {
    /// Offers explicit TLS with this certificate; data connections must resume the control connection's session.
    pub tls: Option<TestCertificates>,
    /// Refuses everything before TLS.
    pub tls_required: bool,
    /// Speaks TLS from the first byte.
    pub tls_implicit: bool,
    /// Refuses to write or rename over existing files, as ProFTPD does unless told otherwise.
    pub keep_existing: bool,
    /// Speaks SSH (SFTP and SCP) in place of FTP, with this host key (a file).
    pub ssh_host_key: Option<PathBuf>,
}

impl FtpServer {
    /// A ProFTPD.
    pub fn proftpd(options: &ProFtpdOptions) -> Result<Self> {
        let executable = program("proftpd")?;
        let process = ServerProcess::start("proftpd", |folder, port| {
            std::fs::create_dir(folder.join("home"))?;
            write_private(&folder.join("passwd"), &passwd_line(folder)?)?;
            std::fs::write(folder.join("proftpd.conf"), proftpd_config(folder, port, options)?)?;
            let mut command = Command::new(&executable);
            command.args(["-n", "-q", "-c"]).arg(folder.join("proftpd.conf"));
            Ok(command)
        })?;
        Ok(Self { process })
    }

    /// A pyftpdlib, with explicit TLS if there are certificates.
    pub fn pyftpdlib(tls: Option<&TestCertificates>) -> Result<Self> {
        Self::start_pyftpdlib(tls, "")
    }

    /// A pyftpdlib that lacks what RFC 3659 has added: MLSD, MLST, SIZE, MDTM.
    pub fn old_pyftpdlib() -> Result<Self> {
        Self::start_pyftpdlib(None, "MLSD,MLST,SIZE,MDTM")
    }

    fn start_pyftpdlib(tls: Option<&TestCertificates>, without: &str) -> Result<Self> {
        let python = venv_program("python")?;
        let process = ServerProcess::start("pyftpdlib", |folder, port| {
            std::fs::create_dir(folder.join("home"))?;
            std::fs::write(folder.join("server.py"), PYFTPD)?;
            let mut command = Command::new(&python);
            command.arg(folder.join("server.py")).args([USER, PASSWORD]).arg(folder.join("home")).arg(port.to_string());
            command.arg(without);
            if let Some(tls) = tls {
                std::fs::write(folder.join("server.pem"), format!("{}{}", tls.certificate, tls.key))?;
                command.arg(folder.join("server.pem"));
            }
            Ok(command)
        })?;
        Ok(Self { process })
    }

    /// The port of 127.0.0.1 on which it listens.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// The process, to kill it or to see what it printed.
    pub fn process(&mut self) -> &mut ServerProcess {
        &mut self.process
    }

    /// The folder that the user sees as `/`.
    pub fn home(&self) -> PathBuf {
        self.process.folder().join("home")
    }

    /// The names in a folder below the user's, sorted.
    pub fn names(&self, folder: &str) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(self.home().join(folder))?;
        let mut names =
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    /// What it has logged, to explain a failure.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.process.folder().join("system.log")).unwrap_or_default();
        format!("{log}{}", self.process.output())
    }
}

fn passwd_line(folder: &Path) -> Result<String> {
    let output = Command::new(program("openssl")?).args(["passwd", "-6", PASSWORD]).output()?;
    let hash = String::from_utf8(output.stdout)?;
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    Ok(format!("{USER}:{}:{uid}:{gid}::{}:/bin/sh\n", hash.trim(), folder.join("home").display()))
}

/// ProFTPD refuses a password file that others may read.
fn write_private(path: &Path, content: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, content)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).context("setting permissions")
}

fn proftpd_config(folder: &Path, port: u16, options: &ProFtpdOptions) -> Result<String> {
    let here = folder.display();
    let user = user_name()?;
    let overwrite = if options.keep_existing { "off" } else { "on" };
    let mut config = format!(
        "ServerName test\nServerType standalone\nDefaultAddress 127.0.0.1\nSocketBindTight on\nPort {port}\n\
         UseIPv6 off\nUseReverseDNS off\nUser {user}\nGroup {group}\nPidFile {here}/pid\n\
          ScoreboardFile {here}/scoreboard\n\
         DelayEngine off\nWtmpLog off\nRequireValidShell off\nAuthOrder mod_auth_file.c\nAuthUserFile {here}/passwd\n\
         TransferLog none\nSystemLog {here}/system.log\nAllowOverwrite {overwrite}\nTimesGMT on\n",
        group = nix::unistd::Group::from_gid(nix::unistd::getegid())?.context("the group has no name")?.name,
    );
    if is_root() {
        config.push_str("RootLogin on\nDefaultRoot ~\n");
    }
    if let Some(tls) = &options.tls {
        write_private(&folder.join("server.crt"), &tls.certificate)?;
        write_private(&folder.join("server.key"), &tls.key)?;
        let implicit = if options.tls_implicit { "TLSOptions UseImplicitSSL\n" } else { "" };
        let required = if options.tls_required { "on" } else { "off" };
        config.push_str(&format!(
            "LoadModule mod_tls.c\nTLSEngine on\nTLSLog {here}/tls.log\nTLSRequired {required}\n\
             TLSECCertificateFile {here}/server.crt\nTLSECCertificateKeyFile {here}/server.key\n\
             TLSProtocol TLSv1.2 TLSv1.3\n{implicit}"
        ));
    }
    if let Some(key) = &options.ssh_host_key {
        config.push_str(&format!(
            "LoadModule mod_sftp.c\nSFTPEngine on\nSFTPLog {here}/sftp.log\nSFTPHostKey {}\nSFTPAuthMethods password\n",
            key.display()
        ));
    }
    Ok(config)
}

const PYFTPD: &str = r#"
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer

user, password, home, port, without = sys.argv[1:6]
authorizer = DummyAuthorizer()
authorizer.add_user(user, password, home, perm="elradfmwMT")
handler = TLS_FTPHandler if len(sys.argv) > 6 else FTPHandler
handler.authorizer = authorizer
handler.proto_cmds = {name: about for name, about in handler.proto_cmds.items() if name not in without.split(",")}
if len(sys.argv) > 6:
    handler.certfile = sys.argv[6]
    handler.tls_control_required = True
    handler.tls_data_required = True
FTPServer(("127.0.0.1", int(port)), handler).serve_forever()
"#;
