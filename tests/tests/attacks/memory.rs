//! The memory of the host, as the system counts it, while guests do what they can to fill it.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use surefoot_tests::server_process::SurefootProcess;
use surefoot_tests::workspace::{ensure_failed, ensure_success};

const MIB: u64 = 1 << 20;

async fn serve(folder: &tempfile::TempDir) -> Result<SurefootProcess> {
    let server = SurefootProcess::start(&folder.path().join("data")).await?;
    server.deploy("test-guest").await?;
    server.deploy("hello").await?;
    run(&server, "hello", json!({})).await?;
    Ok(server)
}

async fn run(server: &SurefootProcess, flow: &str, input: Value) -> Result<Value> {
    let id = server.run(flow, input).await?;
    server.ended(&id).await
}

/// What a process has in memory, bytes.
fn resident_bytes(server: &SurefootProcess) -> Result<u64> {
    let pages = std::fs::read_to_string(format!("/proc/{}/statm", server.pid()))?;
    let pages: u64 = pages.split(' ').nth(1).context("its second number")?.parse()?;
    Ok(pages * 4096)
}

/// Memory that a guest took is there again when its execution has ended, however it ended.
#[tokio::test(flavor = "multi_thread")]
async fn memory_comes_back() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = serve(&folder).await?;
    let take = json!({"mode": "allocate", "bytes": 200 * MIB});
    ensure_success(&run(&server, "test-guest", take.clone()).await?)?;
    let before = resident_bytes(&server)?;
    for _ in 0..3 {
        ensure_success(&run(&server, "test-guest", take.clone()).await?)?;
        let row = run(&server, "test-guest", json!({"mode": "allocate", "bytes": 400 * MIB})).await?;
        ensure_failed(&row, "limit_exceeded", &["memory_bytes_max"])?;
    }
    let grown = resident_bytes(&server)?.saturating_sub(before);
    ensure!(grown < 150 * MIB, "{grown} bytes stayed");
    server.kill().await
}

/// While flows write as fast as they can, others end, and memory does not grow with what is written.
#[tokio::test(flavor = "multi_thread")]
async fn others_end_while_flows_flood_and_memory_stays() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = serve(&folder).await?;
    let before = resident_bytes(&server)?;
    let lines = json!({"mode": "flood", "log-lines": {"lines": u32::MAX, "bytes": 500}});
    let messages = json!({"mode": "flood", "messages": {"messages": u32::MAX, "bytes": 100_000}});
    let mut floods = Vec::new();
    for input in [&lines, &messages, &lines, &messages, &lines] {
        floods.push(server.run("test-guest", input.clone()).await?);
    }
    for id in &floods {
        server.until(Method::GET, &format!("executions/{id}"), None, |_, row| row["status"] != "QUEUED").await?;
    }
    for _ in 0..10 {
        ensure_success(&run(&server, "hello", json!({})).await?)?;
        let grown = resident_bytes(&server)?.saturating_sub(before);
        ensure!(grown < 250 * MIB, "{grown} bytes more");
    }
    for id in &floods {
        // Some may have come to their limit.
        let _ = server.api(Method::POST, &format!("executions/{id}/cancel"), None).await;
        let row = server.ended(id).await?;
        ensure!(row["status"] == "ENDED_CANCELLED" || row["error_code"] == "limit_exceeded", "{row:#}");
    }
    server.kill().await
}
