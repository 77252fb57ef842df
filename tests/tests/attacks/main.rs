//! Guests that attack: whatever a component does, its execution fails with an error of its own, others go on, and the
//! host has its memory back.

mod floods;
mod hand_written;
mod memory;
mod names;
mod random;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use surefoot_tests::workspace::{Workspace, ensure_success};

/// A guest may compute for that long here, milliseconds: enough for what is honest in an unoptimised build.
const CPU_MS_MAX: u64 = 500;

/// A workspace with the guest that misbehaves on demand, and one that does not.
async fn workspace() -> Result<Workspace> {
    workspace_with(|_| {}).await
}

async fn workspace_with(limit: impl FnOnce(&mut surefoot_engine::journal::Limits)) -> Result<Workspace> {
    let workspace = Workspace::open_with(|config| {
        config.limits.cpu_ms_max = CPU_MS_MAX;
        limit(&mut config.limits);
    })?;
    workspace.deploy(&["test-guest", "hello"]).await?;
    Ok(workspace)
}

/// That the execution failed with that code, and says all of these.
fn ensure_failed(row: &Value, code: &str, words: &[&str]) -> Result<()> {
    ensure!(row["status"] == "ENDED_ERROR" && row["error_code"] == code, "expected {code}: {row:#}");
    let message = row["error_message"].as_str().context("the message is text")?;
    ensure!(words.iter().all(|word| message.contains(word)), "expected {words:?} in {message:?}");
    Ok(())
}

/// That the workspace still does its work.
async fn ensure_at_work(workspace: &Workspace) -> Result<()> {
    ensure!(!workspace.engine.is_degraded(), "the engine is degraded");
    ensure_success(&workspace.run("hello", json!({})).await?)
}
