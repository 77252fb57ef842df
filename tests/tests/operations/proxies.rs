//! Who calls, behind a proxy.

use anyhow::{Result, ensure};
use surefoot_tests::server_process::Launch;

use crate::support::head;

const SPOOFED: &str = "GET /healthz HTTP/1.1\r\nHost: inner\r\nX-Forwarded-For: 192.0.2.7, 198.51.100.9\r\n\
    X-Forwarded-Host: localhost\r\nX-Request-Id: from-the-proxy\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn only_a_trusted_proxy_says_who_calls_and_where() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let launch = |arguments: &[&str]| {
        let launch = Launch::new(&folder.path().join("data")).with(arguments).with(&["--log-level", "debug"]);
        anyhow::Ok(Launch { log: Some(std::fs::File::create(&log)?), ..launch })
    };
    let server = launch(&[])?.start().await?;
    let answer = head(&server, SPOOFED).await?;
    ensure!(answer.starts_with("http/1.1 421") && !answer.contains("from-the-proxy"), "{answer}");
    server.stop().await?;
    let logged = std::fs::read_to_string(&log)?;
    ensure!(logged.contains("client=127.0.0.1") && !logged.contains("192.0.2.7"), "{logged}");

    let server = launch(&["--trusted-proxy", "127.0.0.0/8", "--trusted-proxy", "198.51.100.9"])?.start().await?;
    let answer = head(&server, SPOOFED).await?;
    ensure!(answer.starts_with("http/1.1 200") && answer.contains("x-request-id: from-the-proxy"), "{answer}");
    server.stop().await?;
    let logged = std::fs::read_to_string(&log)?;
    ensure!(logged.contains("client=192.0.2.7") && logged.contains("from-the-proxy"), "{logged}");
    Ok(())
}
