//! The file store, as flows and connectors see it.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use surefoot_engine::query::Kind;
use surefoot_engine::session::QueryCall;
use surefoot_fixtures::{FTP_FILE, REMOTE_FOLDER, Targets};
use surefoot_tests::workspace::{Workspace, ensure_success};

const FILE: &str = "my-test-file.txt";

/// A file is not there before a download, and is after it.
#[tokio::test(flavor = "multi_thread")]
async fn c_07_a_file_exists_after_its_download_and_not_before() -> Result<()> {
    let targets = Targets::start().await?;
    let workspace = Workspace::open()?;
    workspace.deploy(&["test-guest"]).await?;
    workspace.save_connectors(&targets).await?;
    let inputs = json!({"src": FTP_FILE, "dst": format!("cloudomation:{FILE}")});
    let exists = json!({"mode": "exists", "file": FILE, "connector": "my-ftp-connector", "inputs": inputs});
    let row = workspace.run("test-guest", exists).await?;
    ensure_success(&row)?;
    assert_eq!(row["output"], json!({"before": false, "after": true}));
    Ok(())
}

/// A plain delete moves to the trash, where it can be restored from; a permanent one does not.
#[tokio::test(flavor = "multi_thread")]
async fn c_08_delete_goes_to_the_trash_unless_permanent() -> Result<()> {
    let workspace = Workspace::open()?;
    let engine = &workspace.engine;
    for permanently in [false, true] {
        let name = format!("file-{permanently}");
        workspace.put_file(&name, "content").await?;
        assert!(engine.delete(Kind::File, &name, permanently, "test").await?);
        assert!(!engine.delete(Kind::File, &name, permanently, "test").await?, "a second delete finds nothing");
    }
    let trash = QueryCall { kind: "file".into(), deleted: true, ..QueryCall::default() };
    let trash = engine.query(trash).await?.rows;
    let names: Vec<&Value> = trash.iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["file-false"]);

    engine.restore(Kind::File, trash[0]["id"].as_str().unwrap(), "test").await?;
    let restored = workspace.record(Kind::File, "file-false").await?;
    assert_eq!(restored["sha256"], hex::encode(Sha256::digest("content")));
    Ok(())
}

/// An FTP download stores the server's bytes, under either scheme of the file store.
#[tokio::test(flavor = "multi_thread")]
async fn c_10_a_downloaded_file_has_the_servers_bytes() -> Result<()> {
    let targets = Targets::start().await?;
    let workspace = Workspace::open()?;
    workspace.save_connectors(&targets).await?;
    // More than one packet, of every byte.
    let content: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(targets.ftp.root().join(FTP_FILE), &content)?;
    let expected = hex::encode(Sha256::digest(&content));
    for scheme in ["surefoot", "cloudomation"] {
        let name = format!("by-{scheme}");
        let inputs = json!({"src": FTP_FILE, "dst": format!("{scheme}:{name}")});
        ensure_success(&workspace.connect("my-ftp-connector", inputs).await?)?;
        let stored = workspace.record(Kind::File, &name).await?;
        assert_eq!((&stored["sha256"], &stored["size_bytes"]), (&json!(expected), &json!(content.len())));
    }
    Ok(())
}

/// An SCP upload stores the workspace's bytes at the remote host, with the mode and time of the call.
#[tokio::test(flavor = "multi_thread")]
async fn c_11_an_uploaded_file_has_the_workspaces_bytes_mode_and_time() -> Result<()> {
    let targets = Targets::start().await?;
    let workspace = Workspace::open()?;
    workspace.save_connectors(&targets).await?;
    workspace.put_file(FILE, "This goes to the remote host.\n").await?;
    let remote = format!("{REMOTE_FOLDER}/{FILE}");
    let inputs = |more: Value| {
        let mut inputs = json!({"src": format!("cloudomation:{FILE}"), "dst": remote});
        inputs.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        inputs
    };
    for (more, mode) in [(json!({}), 0o644), (json!({"mode": "600", "mtime": 1_000_000_000}), 0o600)] {
        ensure_success(&workspace.connect("my-scp-connector", inputs(more)).await?)?;
        let stored = targets.scp.file(&remote);
        assert_eq!(std::fs::read_to_string(&stored)?, "This goes to the remote host.\n");
        assert_eq!(stored.metadata()?.permissions().mode() & 0o777, mode);
    }
    let modified = targets.scp.file(&remote).metadata()?.modified()?;
    assert_eq!(modified.duration_since(UNIX_EPOCH)?, Duration::from_secs(1_000_000_000));
    Ok(())
}

/// Deleting a file that is not there is an answer, not an error.
#[tokio::test(flavor = "multi_thread")]
async fn c_31_deleting_a_missing_file_is_no_error() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["test-guest"]).await?;
    workspace.put_file(FILE, "content").await?;
    let row = workspace.run("test-guest", json!({"mode": "delete-twice", "file": FILE})).await?;
    ensure_success(&row)?;
    assert_eq!(row["output"]["deleted"], json!([true, false]));
    Ok(())
}
