//! `kill -9` of the real binary in the middle of a connector's call, on real servers: what reads or is idempotent is
//! performed again, a write is not.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use surefoot_tests::connector_harness::{merged, sha256};
use surefoot_tests::server_process::{SurefootProcess, answer};
use surefoot_tests::servers::http::{HttpServer, ReceivedRequest};
use surefoot_tests::servers::ssh::SshHost;
use surefoot_tests::workspace::PATIENCE;

/// A file of the workspace.
const FILE: &str = "large";

/// What is in it: more than any buffer on its way holds.
fn content() -> Vec<u8> {
    (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// Calls a connector from a flow, kills the engine once `under_way` holds, starts it again, and gives what the flow
/// returned in the end.
async fn kill_during(connector: &str, inputs: Value, under_way: impl Fn() -> Result<bool>) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = SurefootProcess::start(&data).await?;
    server.deploy("test-guest").await?;
    let upload = server.request(Method::PUT, &format!("files/{FILE}/content")).body(content());
    let (status, said) = answer(upload).await?;
    anyhow::ensure!(status.is_success(), "storing the file answered {status}: {said}");
    let id = server.run("test-guest", json!({ "mode": "connect", "connector": connector, "inputs": inputs })).await?;
    eventually(&under_way).await?;
    server.kill().await?;
    let server = SurefootProcess::start(&data).await?;
    let row = server.ended(&id).await?;
    server.kill().await?;
    assert_eq!(row["status"], "ENDED_SUCCESS", "{row:#}");
    Ok(row["output"].clone())
}

async fn eventually(condition: impl Fn() -> Result<bool>) -> Result<()> {
    let looking = async {
        while !condition()? {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, looking).await.context("the call never got that far")?
}

/// The requests that a server gets which leaves the first one open, and what the flow got.
async fn kill_during_request(inputs: Value) -> Result<(Value, Vec<ReceivedRequest>)> {
    let server = HttpServer::recording()?;
    let mut inputs = inputs;
    inputs["url"] = json!(server.url("/second").replace("localhost", "127.0.0.1"));
    let under_way = || Ok(!server.requests()?.is_empty());
    let returned = kill_during("type:http", inputs, under_way).await.with_context(|| server.log())?;
    Ok((returned, server.requests()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_a_kill_cut_in_two_is_not_sent_again() -> Result<()> {
    let (returned, requests) = kill_during_request(json!({ "method": "POST", "text": "order" })).await?;
    assert_eq!(returned["failure"]["code"], "interrupted", "{returned}");
    assert_eq!(requests.len(), 1, "{requests:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_is_said_to_be_idempotent_is_sent_again_with_the_same_key() -> Result<()> {
    let inputs = json!({ "method": "POST", "text": "order", "effect": "idempotent" });
    let (returned, requests) = kill_during_request(inputs).await?;
    assert_eq!(returned["output"]["text"], "at last", "{returned}");
    let keys: Vec<_> = requests.iter().map(|request| request.headers.get("idempotency-key")).collect();
    assert_eq!(keys.len(), 2, "{requests:?}");
    assert!(keys[0].is_some_and(|key| key.len() >= 32) && keys[0] == keys[1], "{keys:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_a_kill_cut_in_two_is_sent_again() -> Result<()> {
    let inputs = json!({ "method": "PUT", "file": format!("surefoot:{FILE}") });
    let (returned, requests) = kill_during_request(inputs).await?;
    assert_eq!(returned["output"]["text"], "at last", "{returned}");
    let bodies: Vec<_> = requests.iter().map(|request| request.sha256.as_str()).collect();
    let expected = sha256(&content());
    assert_eq!(bodies, [&expected, &expected]);
    Ok(())
}

/// An SSH server as the engine reaches it.
fn inputs(host: &SshHost, more: Value) -> Result<Value> {
    Ok(merged(merged(host.inputs()?, json!({ "hostname": "127.0.0.1" })), more))
}

/// The first session gets a part of the file and then no answer, until the folder of the server is gone.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_a_kill_cut_in_two_is_completed_under_its_name_and_leaves_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let here = folder.path().display();
    let server = "/usr/lib/openssh/sftp-server";
    let host = SshHost::running(&format!(
        "mkdir {here}/first || exec {server}; \
         {{ dd bs=64k count=12; while [ -e {here}/first ]; do sleep 0.05; done; }} | {server}"
    ))?;
    let target = folder.path().join("target");
    let names = || -> Result<Vec<String>> {
        let entries = std::fs::read_dir(folder.path())?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    let upload = json!({ "src": format!("surefoot:{FILE}"), "dst": target.display().to_string() });
    let under_way = || Ok(names()?.iter().any(|name| name.ends_with(".part")));
    let returned = kill_during("type:sftp", inputs(&host, upload)?, under_way).await?;
    assert_eq!(returned["output"]["sha256"], sha256(&content()), "{returned}");
    assert_eq!(std::fs::read(&target)?, content());
    std::fs::remove_dir(folder.path().join("first"))?;
    assert_eq!(names()?, ["target"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_a_kill_cut_in_two_is_not_run_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (here, runs) = (folder.path().display(), folder.path().join("runs"));
    let host = SshHost::start()?;
    let command = format!("echo run >>{here}/runs; while [ -e {here}/runs ]; do sleep 0.05; done");
    let under_way = || Ok(std::fs::exists(&runs)?);
    let returned = kill_during("type:ssh", inputs(&host, json!({ "command": command }))?, under_way).await?;
    assert_eq!(returned["failure"]["code"], "interrupted", "{returned}");
    assert_eq!(std::fs::read_to_string(&runs)?, "run\n");
    Ok(())
}
