//! HTTP servers: nginx, and Python's `http.server` in `tests/servers/recording_http.py`, which writes down what it is
//! asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::certificates::TestCertificates;
use super::{ServerProcess, is_root, program, user_name, venv_program};

/// The user whom nginx knows below `/private/`.
pub const USER: &str = "webtest";
/// That user's password.
pub const PASSWORD: &str = "web-Pw1!-secret";

/// An HTTP server that runs until it is dropped.
#[derive(Debug)]
pub struct HttpServer {
    process: ServerProcess,
    scheme: &'static str,
}

/// A request as [`HttpServer::recording`] got it.
#[derive(Clone, Debug, Deserialize)]
pub struct ReceivedRequest {
    /// Its method.
    pub method: String,
    /// Its target: path and query.
    pub path: String,
    /// Its headers, by name in lower case.
    pub headers: BTreeMap<String, String>,
    /// Length of the body in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the body, in lower-case hexadecimal.
    pub sha256: String,
    /// The body, or the beginning of a long one.
    pub text: String,
}

impl HttpServer {
    /// An nginx with the folder [`www`](Self::www), with TLS if there are certificates. Below `/files/` files can be
    /// put and deleted, below `/small/` only such of 10 bytes; `/private/` wants a login, `/club/` a certificate of
    /// the client; `/moved/` sends on to `/files/`; `/packed/` has the same as `/files/`, packed for who takes that.
    pub fn nginx(tls: Option<&TestCertificates>) -> Result<Self> {
        let executable = program("nginx")?;
        let process = ServerProcess::start("nginx", |folder, port| {
            for name in ["www/files", "www/private", "www/small", "temp"] {
                std::fs::create_dir_all(folder.join(name))?;
            }
            std::fs::write(folder.join("www/private/hello"), "hello")?;
            std::fs::write(folder.join("users"), users_line()?)?;
            std::fs::write(folder.join("nginx.conf"), nginx_config(folder, port, tls)?)?;
            let mut command = Command::new(&executable);
            command.arg("-c").arg(folder.join("nginx.conf")).arg("-p").arg(folder).args(["-e", "stderr"]);
            Ok(command)
        })?;
        Ok(Self { process, scheme: if tls.is_some() { "https" } else { "http" } })
    }

    /// The server of `tests/servers/recording_http.py`.
    pub fn recording() -> Result<Self> {
        let process = ServerProcess::start("http.server", |folder, port| {
            let mut command = Command::new(venv_program("python")?);
            command
                .arg(xtask::repo::root().join("tests/servers/recording_http.py"))
                .args(["--port", &port.to_string()]);
            command.arg("--requests").arg(requests_file(folder));
            Ok(command)
        })?;
        Ok(Self { process, scheme: "http" })
    }

    /// The address of a path that begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.port())
    }

    /// The port of 127.0.0.1 on which it listens.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// The process, to kill it or to see what it printed.
    pub fn process(&mut self) -> &mut ServerProcess {
        &mut self.process
    }

    /// The folder that nginx shows as `/`.
    pub fn www(&self) -> PathBuf {
        self.process.folder().join("www")
    }

    /// What the recording server was asked so far.
    pub fn requests(&self) -> Result<Vec<ReceivedRequest>> {
        let file = requests_file(self.process.folder());
        // Not there before the first request.
        let text = std::fs::read_to_string(file).unwrap_or_default();
        // A line without its end is being written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).context("a line of JSON")).collect()
    }

    /// What it has printed, to explain a failure.
    pub fn log(&self) -> String {
        self.process.output()
    }
}

fn requests_file(folder: &Path) -> PathBuf {
    folder.join("requests.jsonl")
}

fn users_line() -> Result<String> {
    let output = Command::new(program("openssl")?).args(["passwd", "-apr1", PASSWORD]).output()?;
    Ok(format!("{USER}:{}", String::from_utf8(output.stdout)?))
}

fn nginx_config(folder: &Path, port: u16, tls: Option<&TestCertificates>) -> Result<String> {
    let here = folder.display();
    // As root it would hand its files to a user of its own.
    let user = if is_root() { format!("user {};", user_name()?) } else { String::new() };
    let (ssl, encryption) = match tls {
        None => ("", String::new()),
        Some(tls) => {
            std::fs::write(folder.join("server.crt"), &tls.certificate)?;
            std::fs::write(folder.join("server.key"), &tls.key)?;
            std::fs::write(folder.join("ca.crt"), &tls.ca)?;
            let lines = format!(
                "ssl_certificate {here}/server.crt; ssl_certificate_key {here}/server.key;
                 ssl_client_certificate {here}/ca.crt; ssl_verify_client optional;
                 ssl_protocols TLSv1.2 TLSv1.3;
                 location /club/ {{
                     default_type text/plain;
                     if ($ssl_client_verify != SUCCESS) {{ return 403; }}
                     return 200 $ssl_client_s_dn;
                 }}"
            );
            ("ssl", lines)
        }
    };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = temporary.iter().map(|kind| format!("{kind}_temp_path {here}/temp/{kind};\n")).collect();
    Ok(format!(
        "{user} daemon off; worker_processes 1; pid {here}/nginx.pid; error_log stderr warn; events {{}}
         http {{
             access_log off; default_type application/octet-stream; client_max_body_size 0;
             {temporary}
             server {{
                 listen 127.0.0.1:{port} {ssl}; server_name localhost; root {here}/www;
                 {encryption}
                 location /files/ {{ dav_methods PUT DELETE; create_full_put_path on; }}
                 location /small/ {{ dav_methods PUT; client_max_body_size 10; }}
                 location /private/ {{ auth_basic test; auth_basic_user_file {here}/users; }}
                 location /moved/ {{ return 302 /files/; }}
                 location /packed/ {{ alias {here}/www/files/; gzip on; gzip_types *; gzip_min_length 0; }}
             }}
         }}"
    ))
}
