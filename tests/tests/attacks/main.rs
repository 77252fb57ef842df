//! Guests that attack: whatever a component does, its execution fails with an error of its own, others go on, and the
//! host has its memory back.

mod floods;
mod hand_written;
mod memory;
mod names;
mod random;

use anyhow::{Result, ensure};
use serde_json::json;
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

/// That the workspace still does its work.
async fn ensure_at_work(workspace: &Workspace) -> Result<()> {
    ensure!(!workspace.engine.is_degraded(), "the engine is degraded");
    ensure_success(&workspace.run("hello", json!({})).await?)
}
