//! What is kept of what has ended: executions with the component they ran on, versions of flows.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Clock, ManualClock, Retention};
use surefoot_tests::workspace::Workspace;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Kept for ten days, then five in the trash, in time that the test moves.
fn open() -> Result<Workspace> {
    let start = "2026-01-01T00:00:00Z".parse()?;
    Workspace::open_with(|config| {
        config.clock = Clock::Manual(ManualClock::new(start));
        config.retention = Retention { age: Some(DAY * 10), trash_age: Some(DAY * 5), ..Retention::default() };
    })
}

/// Time passes by days until that is so.
async fn days_until(workspace: &Workspace, condition: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let look = async || {
        workspace.advance(DAY)?;
        Ok(condition().await?.then_some(()))
    };
    workspace.eventually(look).await
}

async fn digests(workspace: &Workspace, flow: &str) -> Result<Vec<Value>> {
    let versions = workspace.engine.versions(flow).await?;
    Ok(versions.into_iter().map(|version| version.digest.into()).collect())
}

fn has_component(workspace: &Workspace, digest: &Value) -> bool {
    let file = |extension| workspace.engine.data().join(format!("components/{}.{extension}", digest.as_str().unwrap()));
    assert_eq!(file("wasm").exists(), file("cwasm").exists(), "machine code stays as long as its component");
    file("wasm").exists()
}

/// A version that was superseded stays while an execution runs on it, and while one that ended is kept or in the trash;
/// then its component goes, and the present one stays for ever.
#[tokio::test(flavor = "multi_thread")]
async fn versions_go_when_no_execution_names_them() -> Result<()> {
    let workspace = open()?;
    let old = workspace.deploy_as("flow", "long-sleep").await?["version"].clone();
    let sleeper = workspace.start("flow", json!({"seconds": 50.0 * DAY.as_secs_f64()})).await?;
    workspace.until(&sleeper, |row| row["status"] == "WAITING").await?;
    let present = workspace.deploy_as("flow", "hello").await?["version"].clone();
    let ended = workspace.run("flow", json!({})).await?["id"].clone();
    let never_run = workspace.deploy_as("other", "my-test-flow").await?["version"].clone();
    workspace.deploy_as("other", "hello").await?;
    assert_eq!(digests(&workspace, "flow").await?.len(), 2);

    workspace.advance(DAY * 20)?;
    days_until(&workspace, async || Ok(!has_component(&workspace, &never_run))).await?;
    assert_eq!(digests(&workspace, "other").await?, std::slice::from_ref(&present));
    assert!(has_component(&workspace, &old), "an execution sleeps on it");
    assert!(has_component(&workspace, &present));
    assert!(digests(&workspace, "flow").await?.contains(&old));

    // It wakes up in another process, on its own version.
    let workspace = workspace.reopen().await?;
    workspace.advance(DAY * 31)?;
    assert_eq!(workspace.ended(&sleeper).await?["output"]["slept_seconds"], 50.0 * DAY.as_secs_f64());
    let newest = workspace.run("flow", json!({})).await?["id"].clone();
    let trash = async || {
        let query = QueryCall { kind: "execution".into(), deleted: true, ..QueryCall::default() };
        Ok::<_, anyhow::Error>(workspace.engine.query(query).await?.rows.into_iter().map(|row| row["id"].clone()))
    };
    days_until(&workspace, async || Ok(trash().await?.any(|id| id == sleeper.as_str()))).await?;
    assert!(has_component(&workspace, &old), "it can be restored");
    let restored = workspace.engine.restore(Kind::Execution, &sleeper, "test").await?;
    assert_eq!(restored["version"], old);
    days_until(&workspace, async || Ok(!has_component(&workspace, &old))).await?;
    assert_eq!(digests(&workspace, "flow").await?, std::slice::from_ref(&present));
    for id in [&sleeper, ended.as_str().unwrap()] {
        assert!(workspace.engine.execution(id).await.is_err(), "{id} is gone with what it ran on");
    }
    assert!(has_component(&workspace, &present));
    assert!(workspace.engine.execution(newest.as_str().unwrap()).await.is_ok(), "the newest stays in any case");

    // What went can come again.
    assert_eq!(workspace.deploy_as("flow", "long-sleep").await?["version"], old);
    workspace.run("flow", json!({"seconds": 0.0})).await?;
    Ok(())
}
