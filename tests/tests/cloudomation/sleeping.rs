//! Sleeps, and what else must not change when a flow is run again from its journal.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_tests::workspace::{Workspace, ensure_success, time};

/// A sleep survives a restart of the engine and ends at its original time; meanwhile its message is shown.
#[tokio::test(flavor = "multi_thread")]
async fn c_16_a_sleep_survives_a_restart() -> Result<()> {
    let workspace = Workspace::open_in_still_time()?;
    workspace.deploy(&["long-sleep"]).await?;
    let id = workspace.start("long-sleep", json!({"seconds": 3600})).await?;
    let row = workspace.until(&id, |row| row["status"] == "WAITING").await?;
    assert_eq!(row["message"], "sleep for 3600 s");
    let started_at = time(&row, "started_at")?;

    // Half before the restart, half after it: the time is due, not measured anew.
    workspace.advance(Duration::from_secs(1800))?;
    let workspace = workspace.reopen().await?;
    workspace.advance(Duration::from_secs(1799))?;
    let row = workspace.engine.execution(&id).await?;
    assert_eq!((&row["status"], &row["message"]), (&json!("WAITING"), &json!("sleep for 3600 s")));
    workspace.advance(Duration::from_secs(1))?;
    let row = workspace.ended(&id).await?;
    ensure_success(&row)?;
    assert_eq!(time(&row, "ended_at")?.since(started_at), Duration::from_secs(3600));
    Ok(())
}

/// By the machine's clock too, a sleep lasts as long as it was asked to.
#[tokio::test(flavor = "multi_thread")]
async fn c_16_a_sleep_is_never_shorter_than_asked_for() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["long-sleep"]).await?;
    let id = workspace.start("long-sleep", json!({"seconds": 1.5})).await?;
    workspace.until(&id, |row| row["status"] == "WAITING").await?;
    let workspace = workspace.reopen().await?;
    let row = workspace.ended(&id).await?;
    ensure_success(&row)?;
    let took = time(&row, "ended_at")?.since(time(&row, "started_at")?);
    assert!(took >= Duration::from_millis(1500), "it returned early: {took:?}");
    Ok(())
}

/// Even the sleep of the guest's own runtime is durable.
#[tokio::test(flavor = "multi_thread")]
async fn c_16_an_ordinary_programs_sleep_is_durable() -> Result<()> {
    let workspace = Workspace::open_in_still_time()?;
    workspace.deploy(&["test-guest"]).await?;
    let id = workspace.start("test-guest", json!({"mode": "sleep-std", "milliseconds": 600_000})).await?;
    workspace.until(&id, |row| row["status"] == "WAITING").await?;
    let workspace = workspace.reopen().await?;
    workspace.advance(Duration::from_secs(600))?;
    let row = workspace.ended(&id).await?;
    ensure_success(&row)?;
    assert_eq!(row["output"], json!({"slept": true}));
    assert_eq!(workspace.calls(&id, "poll").await?.len(), 1);
    Ok(())
}

/// Chance and clocks are the journal's: run again after a restart, a flow draws what it drew before.
#[tokio::test(flavor = "multi_thread")]
async fn chance_and_clocks_are_the_same_after_a_restart() -> Result<()> {
    let workspace = Workspace::open_in_still_time()?;
    workspace.deploy(&["test-guest"]).await?;
    let draw = json!({"mode": "chance", "sleep_seconds": 60});
    let ids = [workspace.start("test-guest", draw.clone()).await?, workspace.start("test-guest", draw).await?];
    for id in &ids {
        workspace.until(id, |row| row["status"] == "WAITING").await?;
    }
    let drawn_last = workspace.record(Kind::Setting, "chance").await?["value"].clone();
    let workspace = workspace.reopen().await?;
    workspace.advance(Duration::from_secs(60))?;

    let mut drawn = Vec::new();
    for id in &ids {
        // A replay that had drawn anything else would have ended with `nondeterminism`.
        let row = workspace.ended(id).await?;
        ensure_success(&row)?;
        drawn.push(row["output"].clone());
    }
    assert!(drawn.iter().any(|drawn| drawn["before"] == drawn_last), "the journal has what was shown before");
    assert_ne!(drawn[0]["before"]["hash"], drawn[1]["before"]["hash"], "each execution has entropy of its own");
    for drawn in &drawn {
        assert_ne!(drawn["before"]["order"], drawn["after"]["order"], "the stream of chance goes on");
        let micros = |when: &str| drawn[when]["system_time"].as_str().unwrap().parse::<u64>().unwrap();
        assert_eq!(micros("after") - micros("before"), 60_000_000, "time passes in calls of the host alone");
        for when in ["before", "after"] {
            assert_eq!(drawn[when]["system_time"], drawn[when]["journal_time"]);
            assert_eq!(drawn[when]["elapsed_ns"], Value::from("0"), "between two calls no time passes");
        }
    }
    Ok(())
}
