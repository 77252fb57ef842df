//! TLS of the server's own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Certificate, Client, Response};
use surefoot_tests::server_process::{Launch, SurefootProcess};
use surefoot_tests::servers::certificates::TestCertificates;
use surefoot_tests::workspace::PATIENCE;

use crate::support::{rest, sent};

struct Served {
    folder: tempfile::TempDir,
    server: SurefootProcess,
}

impl Served {
    async fn with(certificates: &TestCertificates) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        put(folder.path(), &certificates.certificate, &certificates.key)?;
        let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let arguments = ["--tls-certificate", &file("cert.pem"), "--tls-key", &file("key.pem")];
        let launch = Launch::new(&folder.path().join("data")).with(&arguments);
        let log = std::fs::File::create(folder.path().join("log"))?;
        let server = Launch { log: Some(log), ..launch }.start().await?;
        Ok(Self { folder, server })
    }

    /// Asks over a new connection, trusting that authority alone.
    async fn ask(&self, certificates: &TestCertificates) -> Result<Response> {
        let trusted = Certificate::from_pem(certificates.ca.as_bytes())?;
        let client = Client::builder().tls_certs_only([trusted]).no_proxy().build()?;
        Ok(client.get(format!("{}/healthz", self.server.url())).send().await?)
    }

    async fn until_served_with(&self, certificates: &TestCertificates) -> Result<()> {
        let served = async {
            while self.ask(certificates).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, served).await.context("the new certificate is not used")
    }

    async fn until_logged(&self, text: &str) -> Result<()> {
        let logged = async {
            while !std::fs::read_to_string(self.folder.path().join("log"))?.contains(text) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, logged).await.with_context(|| format!("`{text}` is not in the log"))?
    }
}

/// Both at once, as a renewing program does it: under other names first.
fn put(folder: &Path, certificate: &str, key: &str) -> Result<()> {
    for (name, text) in [("key.pem", key), ("cert.pem", certificate)] {
        let new = folder.join(format!("{name}.new"));
        std::fs::write(&new, text)?;
        std::fs::rename(new, folder.join(name))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_loaded_anew_and_a_bad_one_is_not() -> Result<()> {
    let (first, second) = (TestCertificates::generate()?, TestCertificates::generate()?);
    let served = Served::with(&first).await?;
    ensure!(served.server.url().starts_with("https://127.0.0.1:"), "{}", served.server.url());
    let answer = served.ask(&first).await?;
    ensure!(answer.headers()["strict-transport-security"] == "max-age=31536000", "{:?}", answer.headers());
    ensure!(served.ask(&second).await.is_err(), "it has the other certificate");

    put(served.folder.path(), &second.certificate, &second.key)?;
    served.until_served_with(&second).await?;
    ensure!(served.ask(&first).await.is_err(), "the old certificate is gone");

    put(served.folder.path(), &first.certificate, &second.key)?;
    served.until_logged("the new certificate is not used").await?;
    ensure!(served.ask(&second).await?.status() == 200, "a pair that does not fit changes nothing");
    std::fs::remove_file(served.folder.path().join("cert.pem"))?;
    ensure!(served.ask(&second).await?.status() == 200);
    put(served.folder.path(), &first.certificate, &first.key)?;
    served.until_served_with(&first).await?;
    served.server.stop().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_no_tls_is_told_or_closed_and_nobody_waits_for_them() -> Result<()> {
    let certificates = TestCertificates::generate()?;
    let served = Served::with(&certificates).await?;
    // Connections on which no handshake is begun or ended.
    let _silent = sent(&served.server, b"").await?;
    let _begun = sent(&served.server, b"\x16\x03\x01").await?;
    let mut plain = sent(&served.server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    let told = rest(&mut plain).await?;
    ensure!(told.starts_with("HTTP/1.1 400") && told.ends_with("write https:// in the address\n"), "{told}");
    let length = told.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
    ensure!(told.contains(&format!("Content-Length: {length}\r\n")), "{told}");
    let mut garbage = sent(&served.server, b"\0\x01\x02\x03").await?;
    ensure!(rest(&mut garbage).await?.is_empty());
    ensure!(served.ask(&certificates).await?.status() == 200);
    ensure!(served.server.stop().await? == Some(0), "silent callers must not hold it up");
    Ok(())
}
