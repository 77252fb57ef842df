//! Opens many streams of events, in a process of its own: says `open` when each has had its first event, and `ended`
//! when each has had the row of an execution's end.
//!
//! Usage: `event_streams HOST:PORT PATH COUNT FIRST`, where `FIRST` is the name of the first event, with the token in
//! `SUREFOOT_TOKEN`.

#![expect(clippy::print_stdout, reason = "it tells its caller how far it is")]

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, count, first] = &arguments[..] else {
        bail!("usage: event_streams HOST:PORT PATH COUNT FIRST")
    };
    let count: usize = count.parse()?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let token = std::env::var("SUREFOOT_TOKEN").context("SUREFOOT_TOKEN is not set")?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    let first = Arc::new(format!("event: {first}"));
    let (request, all_open) = (Arc::new(request), Arc::new(Barrier::new(count + 1)));
    let mut streams = JoinSet::new();
    for _ in 0..count {
        let (address, request, all_open) = (address.clone(), request.clone(), all_open.clone());
        let first = first.clone();
        streams.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut received = Vec::new();
            until(&mut stream, &mut received, first.as_bytes()).await?;
            ensure!(received.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&received));
            all_open.wait().await;
            until(&mut stream, &mut received, b"\"status\":\"ENDED_SUCCESS\"").await
        });
    }
    tokio::select! {
        _ = all_open.wait() => println!("open"),
        failed = streams.join_next() => bail!("a stream ended before all were open: {failed:?}"),
    }
    while let Some(ended) = streams.join_next().await {
        ended??;
    }
    println!("ended");
    Ok(())
}

async fn until(stream: &mut TcpStream, received: &mut Vec<u8>, wanted: &[u8]) -> Result<()> {
    while !received.windows(wanted.len()).any(|window| window == wanted) {
        ensure!(stream.read_buf(received).await? > 0, "the stream ended: {}", String::from_utf8_lossy(received));
    }
    Ok(())
}
