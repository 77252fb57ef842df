//! Callers that send too slowly, too much, or nonsense, or that never read, beside one that behaves.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::json;
use surefoot_tests::command::surefoot_json;
use surefoot_tests::server_process::{Launch, SurefootProcess};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{rest, sent, until};

/// Connections of each sort that does nothing.
const EACH: usize = 40;

/// A head that is larger than any.
const HUGE_BYTES: usize = 10 << 20;

/// Requests of the one that behaves, at least.
const GOOD_MIN: usize = 100;

async fn start(arguments: &[&str]) -> Result<(tempfile::TempDir, SurefootProcess)> {
    let folder = tempfile::tempdir()?;
    let server = Launch::new(&folder.path().join("data")).with(arguments).start().await?;
    Ok((folder, server))
}

/// Writes as long as the server takes it.
async fn flood(mut stream: TcpStream, bytes: usize) -> Result<String> {
    let chunk = [b'x'; 64 << 10];
    for _ in 0..bytes / chunk.len() {
        if stream.write_all(&chunk).await.is_err() {
            break;
        }
    }
    rest(&mut stream).await
}

fn post(server: &SurefootProcess, length: usize) -> String {
    let token = server.token();
    format!(
        "POST /api/v1/settings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\
         \r\n\r\n"
    )
}

/// Everything at once: none of it keeps the one that behaves from being served, and none of it is a failure inside.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_callers_cost_the_others_nothing() -> Result<()> {
    let (_folder, server) = start(&["--limits-idle-seconds-max", "2"]).await?;
    server.api(Method::POST, "settings", Some(json!({"name": "s", "value": 1}))).await?;
    let done = AtomicBool::new(false);
    let behaves = async {
        let mut served = 0;
        while served < GOOD_MIN || !done.load(Ordering::SeqCst) {
            let setting = server.api(Method::GET, "settings/s", None).await?;
            ensure!(setting["value"] == 1, "{setting:#}");
            served += 1;
        }
        anyhow::Ok(served)
    };
    let harm = async {
        let harm = harm(&server).await;
        done.store(true, Ordering::SeqCst);
        harm
    };
    let (served, harm) = tokio::join!(behaves, harm);
    harm?;
    ensure!(served? >= GOOD_MIN);
    let metrics = server.metrics().await?;
    let internal = metrics.lines().find(|line| line.contains("status=\"500\""));
    ensure!(internal.is_none(), "{internal:?}");
    ensure!(server.stop().await? == Some(0));
    Ok(())
}

async fn harm(server: &SurefootProcess) -> Result<()> {
    let mut held = Vec::new();
    for _ in 0..EACH {
        held.push(TcpStream::connect(server.address()).await?);
        held.push(sent(server, b"GET /healthz HTTP/1.1\r\nHost: local").await?);
        held.push(sent(server, format!("{}{{\"name\"", post(server, 1000)).as_bytes()).await?);
    }
    let mut huge = sent(server, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Huge: ").await?;
    huge.set_nodelay(true)?;
    let refused = flood(huge, HUGE_BYTES).await?;
    ensure!(refused.is_empty() || refused.starts_with("HTTP/1.1 431"), "{refused}");
    huge = sent(server, format!("GET / HTTP/1.1\r\n{}\r\n", "X-Many: 1\r\n".repeat(5000)).as_bytes()).await?;
    let refused = rest(&mut huge).await?;
    ensure!(refused.is_empty() || refused.starts_with("HTTP/1.1 431"), "{refused}");
    nonsense(server).await?;
    // Who never sent a whole head is closed; who still owes a body is waited for.
    for (_, mut stream) in held.into_iter().enumerate().filter(|(index, _)| index % 3 != 2) {
        ensure!(rest(&mut stream).await?.is_empty(), "nobody asked for anything");
    }
    Ok(())
}

/// What is no HTTP is refused or closed, also behind a request that is well.
async fn nonsense(server: &SurefootProcess) -> Result<()> {
    let many = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(50);
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n\x00\xff garbage \r\n\r\n",
        many.as_bytes(),
    ] {
        let mut stream = sent(server, bytes).await?;
        stream.shutdown().await?;
        let answer = rest(&mut stream).await?;
        ensure!(!answer.contains("HTTP/1.1 5"), "{answer}");
    }
    let last = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut stream = sent(server, format!("{many}{last}").as_bytes()).await?;
    let answered = rest(&mut stream).await?.matches("HTTP/1.1 200").count();
    ensure!(answered == 51, "{answered} of 51 requests in one go were answered");
    Ok(())
}

/// A caller that takes nothing of a long answer is cut off; the file is served to the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_never_reads_is_cut_off() -> Result<()> {
    let (_folder, server) = start(&["--limits-write-seconds-max", "1"]).await?;
    let content = vec![b'x'; 32 << 20];
    let put = server.request(Method::PUT, "files/f/content").body(content.clone());
    put.send().await?.error_for_status()?;
    let head = format!(
        "GET /api/v1/files/f/content HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        server.token()
    );
    let mut stream = sent(&server, head.as_bytes()).await?;
    // The server's end of the connection goes, and its memory with it, while nothing is read here.
    let port = stream.local_addr()?.port();
    while peers_of(&server)?.contains(&port) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received).await;
    ensure!(received.len() < content.len(), "it was sent all the same");
    let whole = server.request(Method::GET, "files/f/content").send().await?.bytes().await?;
    ensure!(whole.len() == content.len());
    server.stop().await.map(drop)
}

/// The ports of those whose connections the server's process has.
fn peers_of(server: &SurefootProcess) -> Result<Vec<u16>> {
    let own = u16::from_str_radix(&format!("{:X}", port_of(server.address())?), 16)?;
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next().unwrap_or_default(), 16).ok();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // The state 01 is a connection that both ends have.
    let open = rows.filter(|row| row.len() > 3 && row[3] == "01" && port(row[1]) == Some(own));
    Ok(open.filter_map(|row| port(row[2])).collect())
}

fn port_of(address: &str) -> Result<u16> {
    Ok(address.rsplit(':').next().context("an address has a port")?.parse()?)
}

/// Also for the loopback, when it is told so.
#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_so_many_requests_and_connections_and_no_more() -> Result<()> {
    let limits = ["--limits-loopback", "--limits-address-requests-per-second-max", "1"];
    let (folder, server) = start(&limits).await?;
    let webhook = json!({"name": "w", "flow_id": "native:connect"});
    server.request(Method::POST, "webhooks").json(&webhook).send().await?.error_for_status()?;
    let mut refused = None;
    for _ in 0..30 {
        let answer = reqwest::get(format!("{}/api/latest/webhook/w/call", server.url())).await?;
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.context("thirty requests, one a second and ten at once: none was refused")?;
    ensure!(refused.headers()["retry-after"].to_str()?.parse::<u32>()? >= 1);
    let problem: serde_json::Value = serde_json::from_slice(&refused.bytes().await?)?;
    ensure!(problem["code"] == "too_many_requests", "{problem:#}");
    // Also of calls that never come to their webhook there is a list. The owner has no limit.
    let listed = surefoot_json(&folder.path().join("data"), &["webhook", "deliveries", "w", "--refused"])?;
    ensure!(listed[0]["status"] == 429 && listed[0]["client"] == "127.0.0.1", "{listed:#}");
    server.stop().await?;

    let limits = ["--limits-loopback", "--limits-address-connections-max", "3"];
    let (_folder, server) = start(&limits).await?;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = sent(&server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
        until(&mut stream, "200 OK").await?;
        held.push(stream);
    }
    let mut more = sent(&server, b"").await?;
    ensure!(rest(&mut more).await?.is_empty());
    drop(held.pop());
    // The place is free as soon as the server has seen the end.
    let again = async {
        loop {
            let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            let mut stream = sent(&server, request).await?;
            if rest(&mut stream).await?.starts_with("HTTP/1.1 200") {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(surefoot_tests::workspace::PATIENCE, again).await.context("the place stays taken")??;
    drop(held);
    server.stop().await.map(drop)
}
