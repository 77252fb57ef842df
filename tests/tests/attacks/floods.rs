//! Too much of one thing: log lines, messages, outputs, children, connections, calls of itself.

use anyhow::Result;
use serde_json::{Value, json};
use surefoot_tests::workspace::{ensure_failed, ensure_success};

use crate::{ensure_at_work, workspace, workspace_with};

const MIB: u64 = 1 << 20;

fn flood(what: &str, details: Value) -> Value {
    json!({ "mode": "flood", what: details })
}

/// Waits once for every thousand.
async fn patiently<T>(count: u32, wait: impl AsyncFn() -> Result<T>) -> Result<T> {
    for _ in 0..count / 1000 {
        if let Ok(done) = wait().await {
            return Ok(done);
        }
    }
    wait().await
}

/// A million lines: the execution ends at its limit, and what it wrote until then is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_million_log_lines_end_at_the_limit() -> Result<()> {
    let workspace = workspace_with(|limits| {
        limits.log_lines_max = 20_000;
        limits.cpu_ms_max = 60_000;
    })
    .await?;
    for (what, details) in
        [("log-lines", json!({"lines": 1_000_000, "bytes": 10})), ("stdout-lines", json!({"lines": 1_000_000}))]
    {
        let row = workspace.run("test-guest", flood(what, details)).await?;
        ensure_failed(&row, "limit_exceeded", &["log_lines_max", "20000"])?;
        let lines = workspace.engine.log(row["id"].as_str().unwrap(), None, 10_000).await?;
        assert_eq!(lines.len(), 10_000, "{what}");
    }
    ensure_at_work(&workspace).await
}

#[tokio::test(flavor = "multi_thread")]
async fn long_log_lines_end_at_the_limit() -> Result<()> {
    let workspace = workspace_with(|limits| limits.log_bytes_max = 8 * MIB).await?;
    let row = workspace.run("test-guest", flood("log-lines", json!({"lines": 1_000, "bytes": MIB}))).await?;
    ensure_failed(&row, "limit_exceeded", &["log_bytes_max"])
}

/// Outputs, errors and answers of 100 MB.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_returned_is_limited_however_it_is_returned() -> Result<()> {
    let workspace = workspace_with(|limits| {
        limits.memory_bytes_max = 1 << 30;
        limits.cpu_ms_max = 60_000;
    })
    .await?;
    let bytes = 100_000_000;
    for (what, details, limit) in [
        ("output", json!({ "bytes": bytes }), "output_bytes_max"),
        ("outputs", json!({"outputs": 100, "bytes": 1_000_000}), "output_bytes_max"),
        ("error", json!({ "bytes": bytes }), "payload_bytes_max"),
        ("response", json!({ "bytes": bytes }), "output_bytes_max"),
        ("messages", json!({"messages": 1, "bytes": bytes}), "payload_bytes_max"),
        ("log-lines", json!({"lines": 1, "bytes": bytes}), "payload_bytes_max"),
    ] {
        let row = workspace.run("test-guest", flood(what, details)).await?;
        ensure_failed(&row, "limit_exceeded", &[limit]).map_err(|error| error.context(what))?;
    }
    ensure_at_work(&workspace).await
}

/// What is below the limit is taken, and a list of it comes in pages that are not too large.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_large_rows_comes_in_small_pages() -> Result<()> {
    let workspace = workspace().await?;
    for _ in 0..4 {
        ensure_success(&workspace.run("test-guest", flood("output", json!({"bytes": 10 * MIB}))).await?)?;
    }
    let mut query = surefoot_engine::session::QueryCall { kind: "execution".into(), ..Default::default() };
    let mut pages = Vec::new();
    loop {
        let page = workspace.engine.query(query.clone()).await?;
        pages.push(page.rows.len());
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, [1, 1, 1, 1]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stack_fails_one_execution() -> Result<()> {
    let workspace = workspace().await?;
    ensure_failed(
        &workspace.run("test-guest", json!({"mode": "recurse"})).await?,
        "trapped",
        &["call stack exhausted"],
    )?;
    ensure_at_work(&workspace).await
}

/// `SUREFOOT_CHILDREN` says how many; one more than there may be is refused, and the flow may go on.
#[tokio::test(flavor = "multi_thread")]
async fn soak_children_are_limited_at_one_time() -> Result<()> {
    let most: u32 = std::env::var("SUREFOOT_CHILDREN").map_or(300, |most| most.parse().expect("a number"));
    let workspace = workspace_with(|limits| limits.children_max = most).await?;
    // They wait for a signal that never comes, so that none ends.
    let child = json!({"mode": "storm", "key": "child", "signal": "end"});
    let children = json!({"rounds": 1, "children": most + 1, "flow": "test-guest", "inputs": child});
    let parent = workspace.start("test-guest", flood("children", children)).await?;
    patiently(most, async || workspace.until(&parent, |row| row["status"] == "WAITING").await).await?;
    let of_parent = json!({"and": [
        {"field": "parent_id", "op": "eq", "value": parent}, {"field": "type", "op": "eq", "value": "FLOW"},
        {"field": "ended_at", "op": "is_null"},
    ]});
    ensure_at_work(&workspace).await?;
    let starts = workspace.calls(&parent, "start_flow").await?;
    assert_eq!(starts.len(), most as usize + 1);
    let refused = starts.last().unwrap()["reply"].to_string();
    assert!(refused.contains("children_max"), "{refused}");
    workspace.engine.cancel(&parent, "test").await?;
    assert_eq!(workspace.ended(&parent).await?["status"], "ENDED_CANCELLED");
    patiently(most, async || workspace.until_rows("execution", of_parent.clone(), <[Value]>::is_empty).await).await?;
    Ok(())
}

/// Each that ended makes room for another.
#[tokio::test(flavor = "multi_thread")]
async fn children_that_ended_do_not_count() -> Result<()> {
    let workspace = workspace_with(|limits| limits.children_max = 2).await?;
    let children = json!({"rounds": 4, "children": 2, "flow": "hello", "inputs": {}});
    let row = workspace.run("test-guest", flood("children", children)).await?;
    ensure_success(&row)?;
    assert_eq!(row["output"], Value::from(vec![json!({"started": 2, "ended": 2, "refused": null}); 4]));
    Ok(())
}

/// A flow that starts itself ends where the limit is, and each above it is told.
#[tokio::test(flavor = "multi_thread")]
async fn descendants_are_limited() -> Result<()> {
    let workspace = workspace_with(|limits| limits.depth_max = 10).await?;
    let row = workspace.run("test-guest", flood("descendants", json!({"flow": "test-guest"}))).await?;
    ensure_success(&row)?;
    assert_eq!(row["output"]["depth"], 10, "{row:#}");
    Ok(())
}

/// `SUREFOOT_CHILDREN` says how many connections are under way at one time.
#[tokio::test(flavor = "multi_thread")]
async fn soak_connections_are_limited_at_one_time() -> Result<()> {
    let most: u32 = std::env::var("SUREFOOT_CHILDREN").map_or(1000, |most| most.parse().expect("a number"));
    let workspace = workspace_with(|limits| {
        limits.dependencies_max = most;
        limits.cpu_ms_max = 60_000;
    })
    .await?;
    let connections = json!({"connections": most + 1, "delay_ms": 5_000 + u64::from(most)});
    let row = workspace.run("test-guest", flood("connections", connections)).await?;
    ensure_success(&row)?;
    assert_eq!((&row["output"]["started"], &row["output"]["ended"]), (&json!(most), &json!(most)), "{row:#}");
    assert!(row["output"]["refused"].as_str().unwrap_or_default().contains("dependencies_max"), "{row:#}");
    ensure_at_work(&workspace).await
}
