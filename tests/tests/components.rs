//! Components on disk: their bytes are their identity.

use anyhow::Result;
use serde_json::json;
use surefoot_tests::workspace::{Workspace, ensure_success};

/// Another program under a digest is not run, and deploying the right one again mends the file: what had started goes
/// on.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_component_is_not_run_and_is_mended_by_a_deploy() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["long-sleep"]).await?;
    let id = workspace.start("long-sleep", json!({"seconds": 3})).await?;
    workspace.until(&id, |row| row["status"] == "WAITING").await?;
    let other = std::fs::read(xtask::flows::component("hello")?)?;
    let workspace = workspace
        .reopen_after(|data| {
            for entry in std::fs::read_dir(data.join("components"))? {
                let path = entry?.path();
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("wasm") => std::fs::write(&path, &other)?,
                    _ => std::fs::remove_file(&path)?,
                }
            }
            Ok(())
        })
        .await?;
    let early = workspace.engine.wait_ended(&id, Some(std::time::Duration::from_secs(5))).await?;
    assert!(early.is_none(), "it ran on another program: {early:#?}");
    workspace.deploy(&["long-sleep"]).await?;
    ensure_success(&workspace.ended(&id).await?)
}
