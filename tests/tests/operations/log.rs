//! What a server says of each request.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use surefoot_tests::server_process::Launch;

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_one_object_with_what_one_looks_for() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let launch = Launch::new(&folder.path().join("data")).with(&["--log-format", "json"]);
    let server = Launch { log: Some(File::create(&log)?), ..launch }.start().await?;
    let url = format!("{}/api/latest/webhook/none/call/below?key=hunter2", server.url());
    let answer = reqwest::get(url).await?;
    let id = answer.headers()["x-request-id"].to_str()?.to_owned();
    server.stop().await?;

    let logged = std::fs::read_to_string(&log)?;
    ensure!(!logged.contains("hunter2"), "{logged}");
    // What is said to people, and is not logged, is no object.
    let lines = logged.lines().filter(|line| line.starts_with('{')).map(serde_json::from_str::<Value>);
    let lines = lines.collect::<Result<Vec<_>, _>>()?;
    let line = lines.iter().find(|line| line["span"]["id"] == id).with_context(|| format!("no line: {logged}"))?;
    ensure!(line["message"] == "answered" && line["status"] == 404, "{line:#}");
    ensure!(line["route"] == "/api/latest/webhook/{name}/call/{*path}" && line["ms"].is_number(), "{line:#}");
    let span = &line["span"];
    ensure!(span["method"] == "GET" && span["client"] == "127.0.0.1", "{line:#}");
    ensure!(span["path"] == "/api/latest/webhook/none/call/below", "{line:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_leaves_out_what_is_below_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let launch = Launch::new(&folder.path().join("data"));
    let variables = vec![("SUREFOOT_LOG_LEVEL".to_owned(), "warn".to_owned())];
    let server = Launch { log: Some(File::create(&log)?), variables, ..launch }.start().await?;
    reqwest::get(format!("{}/nothing", server.url())).await?;
    server.stop().await?;
    let logged = std::fs::read_to_string(&log)?;
    ensure!(!logged.contains("answered") && !logged.contains("recovered"), "{logged}");
    Ok(())
}
