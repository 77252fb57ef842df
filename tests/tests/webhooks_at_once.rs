//! Many calls of a webhook at once: this process is the caller, the real binary answers.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use reqwest::Method;
use serde_json::{Value, json};
use surefoot_tests::server_process::SurefootProcess;
use surefoot_tests::workspace::PATIENCE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Calls at one time, each over a connection of its own.
const CALLS: usize = 1000;

/// The API's largest page holds all of them, so that one too many is seen as a further page.
const PAGE: &str = "executions?limit=1000";

/// A call that is answered once: the whole answer, up to the end of its connection, is one response. Returns the
/// execution that it names, and what the flow got.
async fn answered(mut stream: TcpStream, number: usize) -> Result<(String, Value)> {
    let body = json!({ "number": number }).to_string();
    let request = format!(
        "POST /api/latest/webhook/hook/call HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("call {number}: {answer:?}"))?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "call {number}: {answer}");
    let header = |name: &str| {
        let line =
            head.lines().find_map(|line| line.split_once(':').filter(|(found, _)| found.eq_ignore_ascii_case(name)));
        line.map(|(_, value)| value.trim().to_owned()).with_context(|| format!("no {name} in {head}"))
    };
    ensure!(header("content-length")?.parse::<usize>()? == body.len(), "more than one answer: {answer}");
    Ok((header("x-surefoot-execution")?, serde_json::from_str(body)?))
}

/// Each gets the result of its own run, and there is one run a call.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_at_once_are_each_answered_once() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let folder = tempfile::tempdir()?;
    let server = SurefootProcess::start(&folder.path().join("data")).await?;
    server.deploy("hello").await?;
    let webhook = json!({"flow_id": "hello", "is_enabled": true, "is_key_required": false});
    server.save("webhooks/hook", webhook).await?;

    let address = server.url().strip_prefix("http://").context("it listens without TLS")?;
    let streams = futures::future::try_join_all((0..CALLS).map(|_| TcpStream::connect(address))).await?;
    let calls = streams.into_iter().enumerate().map(|(number, stream)| answered(stream, number));
    let answers = tokio::time::timeout(PATIENCE, futures::future::try_join_all(calls)).await??;
    let mut executions = BTreeSet::new();
    for (number, (execution, seen)) in answers.into_iter().enumerate() {
        assert_eq!(seen["json"], json!({ "number": number }), "the answer to another call");
        assert!(executions.insert(execution), "two calls were answered by one run");
    }
    let page = server.api(Method::GET, PAGE, None).await?;
    let rows = page["rows"].as_array().context("rows")?;
    let listed: BTreeSet<String> = rows.iter().filter_map(|row| row["id"].as_str()).map(str::to_owned).collect();
    assert_eq!((listed, &page["next"]), (executions, &Value::Null), "runs and answers are not the same");
    server.stop().await?;
    Ok(())
}
