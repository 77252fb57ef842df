//! Flows that trap, compute for ever, take too much memory, panic or exit: that execution fails, with an error that
//! says what happened, and nothing else does.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use surefoot_tests::workspace::{Workspace, ensure_failed, ensure_success, id};

const GIB: u64 = 1 << 30;

/// Each misdeed with the code of its error and what its message has.
fn misdeeds() -> [(Value, &'static str, &'static [&'static str]); 6] {
    [
        (json!({"mode": "panic"}), "panic", &["the guest was asked to panic", "misdeeds.rs:"]),
        (json!({"mode": "trap"}), "trapped", &["flow trapped:", "unreachable", "misdeeds.rs:"]),
        (json!({"mode": "loop"}), "limit_exceeded", &["cpu_ms_max", "300 ms"]),
        (json!({"mode": "allocate", "bytes": GIB}), "limit_exceeded", &["memory_bytes_max", "268435456"]),
        (json!({"mode": "exit", "code": 0}), "exited", &["ended its process"]),
        (json!({"mode": "exit", "code": 3}), "exited", &["ended its process"]),
    ]
}

async fn workspace() -> Result<Workspace> {
    let workspace = Workspace::open_with(|config| config.limits.cpu_ms_max = 300)?;
    workspace.deploy(&["test-guest", "hello"]).await?;
    Ok(workspace)
}

/// Trap, endless loop, 1 GiB of memory, panic, exit: each ends its execution with a code and message of its own.
#[tokio::test(flavor = "multi_thread")]
async fn c_29_each_misdeed_has_an_error_of_its_own() -> Result<()> {
    let workspace = workspace().await?;
    for (misdeed, code, words) in misdeeds() {
        let row = workspace.run("test-guest", misdeed.clone()).await?;
        ensure_failed(&row, code, words).with_context(|| format!("after {misdeed}"))?;
        ensure_success(&workspace.run("hello", json!({})).await?)?;
    }
    Ok(())
}

/// A webhook's caller gets a 500 that says what happened: never a 2xx, never no answer.
#[tokio::test(flavor = "multi_thread")]
async fn c_29_the_caller_of_a_webhook_is_told_of_a_misdeed() -> Result<()> {
    let workspace = workspace().await?;
    workspace.webhook("misdeeds", "test-guest", json!({})).await?;
    let server = workspace.serve().await?;
    for (misdeed, code, words) in misdeeds() {
        let answer = server.webhook(Method::POST, "misdeeds", "").json(&misdeed).send().await?;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR, "{misdeed}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem: Value = answer.json().await?;
        let row = workspace.engine.execution(problem["execution_id"].as_str().unwrap()).await?;
        ensure_failed(&row, code, words).with_context(|| format!("after {misdeed}"))?;
        assert_eq!((&problem["code"], &problem["detail"]), (&row["error_code"], &row["error_message"]));
    }
    Ok(())
}

/// While flows compute for ever, more of them than there are processors, others run; a cancel ends the computing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_29_others_run_while_flows_compute_for_ever() -> Result<()> {
    let workspace = Workspace::open_with(|config| config.limits.cpu_ms_max = 10 * 60 * 1000)?;
    workspace.deploy(&["test-guest", "hello"]).await?;
    let mut endless = Vec::new();
    for _ in 0..4 {
        endless.push(workspace.start("test-guest", json!({"mode": "loop"})).await?);
    }
    for id in &endless {
        workspace.until(id, |row| row["status"] == "RUNNING").await?;
    }
    for _ in 0..3 {
        ensure_success(&workspace.run("hello", json!({})).await?)?;
    }
    for id in &endless {
        assert_eq!(workspace.engine.execution(id).await?["status"], "RUNNING");
        workspace.engine.cancel(id, "test").await?;
        assert_eq!(workspace.ended(id).await?["status"], "ENDED_CANCELLED");
    }
    Ok(())
}

/// At the deadline of a webhook the caller gets 504 with the execution's id, and the flow goes on.
#[tokio::test(flavor = "multi_thread")]
async fn c_29_a_caller_does_not_hang_past_the_deadline() -> Result<()> {
    let workspace = Workspace::open_in_still_time()?;
    workspace.deploy(&["long-sleep"]).await?;
    workspace.webhook("sleeper", "long-sleep", json!({})).await?;
    let server = workspace.serve_with(|options| options.webhook_deadline = Duration::from_millis(300)).await?;
    let answer = server.webhook(Method::POST, "sleeper", "").send().await?;
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    let problem: Value = answer.json().await?;
    let id = problem["execution_id"].as_str().unwrap();
    assert!(workspace.engine.execution(id).await?["ended_at"].is_null());
    workspace.advance(Duration::from_secs(3600))?;
    ensure_success(&workspace.ended(id).await?)?;
    Ok(())
}

/// A caller whose server stops is told so, and gets the answer from the next one, with the same idempotency key.
#[tokio::test(flavor = "multi_thread")]
async fn c_29_a_caller_outlives_a_restart() -> Result<()> {
    let workspace = Workspace::open_in_still_time()?;
    workspace.deploy(&["long-sleep"]).await?;
    workspace.webhook("sleeper", "long-sleep", json!({})).await?;
    let server = workspace.serve().await?;
    let call = |server: &surefoot_tests::workspace::Server| {
        server.webhook(Method::POST, "sleeper", "").header("idempotency-key", "release-7").send()
    };
    let waits = |rows: &[Value]| rows.first().is_some_and(|row| row["status"] == "WAITING");
    let (first, rows) = tokio::join!(call(&server), async {
        let rows =
            workspace.until_rows("execution", json!({"field": "name", "op": "eq", "value": "long-sleep"}), waits).await;
        server.begin_to_stop();
        rows
    });
    let (first, rows) = (first?, rows?);
    assert_eq!(first.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(first.headers()["x-surefoot-execution"], id(&rows[0]));
    server.stop().await?;

    let workspace = workspace.reopen().await?;
    let server = workspace.serve().await?;
    workspace.advance(Duration::from_secs(3600))?;
    let second = call(&server).await?;
    assert_eq!(second.status(), StatusCode::OK);
    assert_eq!(second.headers()["x-surefoot-execution"], id(&rows[0]), "it joined the first call");
    assert_eq!(second.json::<Value>().await?, json!({"slept_seconds": 3600.0}));
    Ok(())
}
