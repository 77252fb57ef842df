//! Components on disk: their bytes are their identity.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use surefoot_tests::server_process::{Launch, SurefootProcess};
use surefoot_tests::workspace::{PATIENCE, Workspace, ensure_success};

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

/// However many executions want a component that is gone, it is looked for once in a while, and said once for each
/// look. When it is there again, all of them go on; who does not want to wait for that is cancelled.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_component_is_looked_for_once_for_all() -> Result<()> {
    const EXECUTIONS: usize = 30;
    let folder = tempfile::tempdir()?;
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let server = SurefootProcess::start(&data).await?;
    server.deploy("hello").await?;
    assert_eq!(server.stop().await?, Some(0));
    for entry in std::fs::read_dir(data.join("components"))? {
        std::fs::remove_file(entry?.path())?;
    }
    let mut launch = Launch::new(&data);
    launch.log = Some(std::fs::File::create(&log)?);
    let server = launch.start().await?;
    let mut ids = Vec::new();
    for _ in 0..EXECUTIONS {
        ids.push(server.run("hello", json!({})).await?);
    }
    let said = || -> Result<usize> {
        Ok(std::fs::read_to_string(&log)?.lines().filter(|line| line.contains("a component cannot be read")).count())
    };
    let looked_again = async {
        while said()? < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, looked_again).await??;
    assert!(said()? < EXECUTIONS, "it is said for each execution");
    let (cancelled, waiting) = ids.split_first().expect("there are some");
    server.api(reqwest::Method::POST, &format!("executions/{cancelled}/cancel"), None).await?;
    assert_eq!(server.ended(cancelled).await?["status"], "ENDED_CANCELLED");
    server.deploy("hello").await?;
    for id in waiting {
        ensure_success(&server.ended(id).await?)?;
    }
    server.kill().await
}
