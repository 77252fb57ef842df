//! Flows: inputs and outputs, child flows, versions.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_tests::workspace::{Workspace, ensure_success, id};

/// A flow compiled from Rust gets its inputs and returns its output.
///
/// Other languages come later.
#[tokio::test(flavor = "multi_thread")]
async fn c_04_a_rust_flow_gets_inputs_and_returns_output() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["hello"]).await?;
    let row = workspace.run("hello", json!({"a": 1})).await?;
    ensure_success(&row)?;
    assert_eq!(row["output"]["a"], 1);
    let log = workspace.engine.log(id(&row), None, 100).await?;
    assert_eq!(log.len(), 1, "{log:?}");
    Ok(())
}

/// A child flow gets the inputs of the call, is waited for, and names its parent.
#[tokio::test(flavor = "multi_thread")]
async fn c_22_a_child_flow_gets_its_inputs_and_is_waited_for() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["test-guest", "my-critical-flow-1"]).await?;
    let child = json!({"mode": "child", "flow": "my-critical-flow-1", "inputs": {"test": true}});
    let row = workspace.run("test-guest", child).await?;
    ensure_success(&row)?;
    assert_eq!(row["output"]["output"]["orders"], 3, "{row:#}");

    let children = children(&workspace, id(&row)).await?;
    assert_eq!(children.len(), 1, "{children:?}");
    assert_eq!(children[0]["input"], json!({"test": true}));
    assert_eq!((&children[0]["name"], &children[0]["status"]), (&json!("my-critical-flow-1"), &json!("ENDED_SUCCESS")));
    Ok(())
}

/// A child flow that fails is an error that the parent can catch, with the child's id, code and message.
#[tokio::test(flavor = "multi_thread")]
async fn c_14_c_22_a_failed_child_is_an_error_that_names_it() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["test-guest"]).await?;
    let misdeed = json!({"mode": "fail", "code": "out_of_paper", "message": "tray 2 is empty"});
    let row = workspace.run("test-guest", json!({"mode": "child", "flow": "test-guest", "inputs": misdeed})).await?;
    ensure_success(&row)?;
    let children = children(&workspace, id(&row)).await?;
    let expected = json!({
        "execution_id": children[0]["id"], "name": "test-guest", "status": "ENDED_ERROR", "code": "out_of_paper",
        "message": "tray 2 is empty",
    });
    assert_eq!(row["output"]["failure"], expected);
    Ok(())
}

/// A cancelled flow takes the child that it waits for along.
#[tokio::test(flavor = "multi_thread")]
async fn c_22_a_cancel_reaches_the_child() -> Result<()> {
    let workspace = Workspace::open_in_still_time()?;
    workspace.deploy(&["test-guest", "long-sleep"]).await?;
    let parent = workspace.start("test-guest", json!({"mode": "child", "flow": "long-sleep", "inputs": {}})).await?;
    let of_parent = json!({"field": "parent_id", "op": "eq", "value": parent});
    let waits = |rows: &[Value]| rows.first().is_some_and(|row| row["status"] == "WAITING");
    let children = workspace.until_rows("execution", of_parent, waits).await?;
    workspace.engine.cancel(&parent, "test").await?;
    assert_eq!(workspace.ended(&parent).await?["status"], "ENDED_CANCELLED");
    assert_eq!(workspace.ended(id(&children[0])).await?["status"], "ENDED_CANCELLED");
    Ok(())
}

/// An execution that waited while a new version was deployed ends on its old one; what starts later has the new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_execution_ends_on_the_version_that_it_began_with() -> Result<()> {
    let workspace = Workspace::open_in_still_time()?;
    let old = workspace.deploy_as("subject", "long-sleep").await?;
    let waiting = workspace.start("subject", json!({"seconds": 3600})).await?;
    workspace.until(&waiting, |row| row["status"] == "WAITING").await?;

    let new = workspace.deploy_as("subject", "hello").await?;
    assert_eq!(old["id"], new["id"], "it is one flow");
    assert_ne!(old["version"], new["version"]);
    assert_eq!(workspace.record(Kind::Flow, "subject").await?["version"], new["version"]);
    // The old machine code is gone from memory then, too.
    let workspace = workspace.reopen().await?;
    workspace.advance(Duration::from_secs(3600))?;

    let ended = workspace.ended(&waiting).await?;
    ensure_success(&ended)?;
    assert_eq!(ended["version"], old["version"]);
    assert_eq!(ended["output"], json!({"slept_seconds": 3600.0}));
    let later = workspace.run("subject", json!({"seconds": 3600})).await?;
    assert_eq!((&later["version"], &later["output"]), (&new["version"], &json!({"seconds": 3600})));
    Ok(())
}

async fn children(workspace: &Workspace, parent: &str) -> Result<Vec<Value>> {
    let of_parent = json!({"field": "parent_id", "op": "eq", "value": parent});
    let is_flow = json!({"field": "type", "op": "eq", "value": "FLOW"});
    workspace.rows("execution", json!({"and": [of_parent, is_flow]})).await
}
