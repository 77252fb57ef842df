//! The end of a server that was told to stop: what it was asked is answered, and what it runs goes on at the next
//! start.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use surefoot_tests::server_process::{Launch, SurefootProcess, percent_encoded};
use surefoot_tests::workspace::PATIENCE;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{rest, sent, until};

/// One request of each sort is under way: an upload that is half sent, a stream of events, a webhook's caller whose
/// flow ends soon and one whose flow does not, one that waits for an execution, one that has said nothing yet.
#[tokio::test(flavor = "multi_thread")]
async fn each_request_under_way_is_answered_and_no_execution_is_lost() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = Launch::new(&data).with(&["--drain-seconds", "10"]).start().await?;
    server.deploy("test-guest").await?;
    let steps = json!({"mode": "script", "steps": [{"do": "signal", "name": "go"}]});
    let id = server.run("test-guest", steps.clone()).await?;
    let webhook = json!({"flow_id": "test-guest", "is_enabled": true, "is_key_required": false});
    server.save("webhooks/w", webhook).await?;

    let token = server.token();
    let head = |line: &str, more: &str| {
        format!("{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
    };
    let put = head("PUT /api/v1/files/f/content", "Content-Length: 10\r\nExpect: 100-continue\r\n");
    let mut upload = sent(&server, put.as_bytes()).await?;
    until(&mut upload, "100 Continue").await?;
    upload.write_all(b"01234").await?;
    let mut stream = sent(&server, head(&format!("GET /api/v1/executions/{id}/events"), "").as_bytes()).await?;
    until(&mut stream, "event: execution").await?;
    let call = async |steps: &Value| -> Result<TcpStream> {
        let body = steps.to_string();
        let more = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        sent(&server, format!("{}{body}", head("POST /api/latest/webhook/w/call", &more)).as_bytes()).await
    };
    let caller = call(&steps).await?;
    let mut silent = sent(&server, b"").await?;
    let running = json!({"field": "webhook_id", "op": "is_null", "value": false});
    let path = format!("executions?filter={}", percent_encoded(&running.to_string()));
    let (_, rows) = server
        .until(Method::GET, &path, None, |_, rows| rows["rows"].as_array().is_some_and(|rows| !rows.is_empty()))
        .await?;
    let called = rows["rows"][0]["id"].as_str().context("an id")?.to_owned();
    let waits =
        sent(&server, head(&format!("GET /api/v1/executions/{id}/wait?timeout_ms=60000"), "").as_bytes()).await?;
    let mut soon = call(&json!({"mode": "script", "steps": [{"do": "sleep", "ms": 2000}]})).await?;
    // The upload, the webhook's callers, who waits, and who asks: what was not read yet would be nobody's fault.
    let all = "surefoot_http_requests_in_flight 5";
    tokio::time::timeout(PATIENCE, async {
        while !server.metrics().await?.lines().any(|line| line == all) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    })
    .await
    .context("they are not all under way")??;

    server.signal(Signal::SIGTERM)?;
    ensure!(rest(&mut silent).await?.is_empty(), "nothing was asked");
    let farewell = rest(&mut stream).await?;
    ensure!(farewell.contains("retry: ") && farewell.ends_with("0\r\n\r\n"), "the stream was cut: {farewell}");
    let answer = rest(&mut soon).await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "the end was there to be waited for: {answer}");
    for (mut waiting, id) in [(caller, &called), (waits, &id)] {
        let answer = rest(&mut waiting).await?.to_ascii_lowercase();
        ensure!(answer.starts_with("http/1.1 503") && answer.contains(id) && answer.contains("stopping"), "{answer}");
        // Whoever came again would start another one.
        ensure!(!answer.contains("retry-after") && answer.contains("do not start another"), "{answer}");
    }
    upload.write_all(b"56789").await?;
    let answer = rest(&mut upload).await?;
    ensure!(answer.starts_with("HTTP/1.1 20") && answer.contains("\"size_bytes\":10"), "{answer}");
    ensure!(server.exited().await? == Some(0));

    let server = SurefootProcess::start(&data).await?;
    for id in [id, called] {
        server.api(Method::POST, &format!("executions/{id}/signals/go"), Some(json!({}))).await?;
        ensure!(server.ended(&id).await?["status"] == "ENDED_SUCCESS");
    }
    server.stop().await.map(drop)
}
