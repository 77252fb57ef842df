//! Requests as bytes, over a connection that is held open as long as a test wants.

use anyhow::{Context, Result};
use surefoot_tests::server_process::SurefootProcess;
use surefoot_tests::workspace::PATIENCE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection, on which this was sent.
pub(crate) async fn sent(server: &SurefootProcess, bytes: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server.address()).await?;
    stream.write_all(bytes).await?;
    Ok(stream)
}

/// Everything that comes until the server closes. A reset is an end too.
pub(crate) async fn rest(stream: &mut TcpStream) -> Result<String> {
    let mut received = Vec::new();
    let read = async {
        // What came before a reset was received all the same.
        let _ = stream.read_to_end(&mut received).await;
    };
    tokio::time::timeout(PATIENCE, read).await.context("the server keeps the connection")?;
    Ok(String::from_utf8_lossy(&received).into_owned())
}

/// Reads until this has come.
pub(crate) async fn until(stream: &mut TcpStream, wanted: &str) -> Result<String> {
    let mut received = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&received).contains(wanted) {
            let count = stream.read_buf(&mut received).await?;
            anyhow::ensure!(count > 0, "the connection ended before `{wanted}`");
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, read).await.with_context(|| format!("`{wanted}` never came"))??;
    Ok(String::from_utf8_lossy(&received).into_owned())
}

/// The status and the headers of an answer, in lower case.
pub(crate) async fn head(server: &SurefootProcess, request: &str) -> Result<String> {
    let mut stream = sent(server, request.as_bytes()).await?;
    Ok(until(&mut stream, "\r\n\r\n").await?.to_ascii_lowercase())
}
