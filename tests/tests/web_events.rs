//! Streams of events from the real server: through a `kill -9`, and many at one time.

#![expect(clippy::print_stderr, reason = "a soak tells its figures")]

use anyhow::{Context, Result, ensure};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use surefoot_tests::server_process::SurefootProcess;
use tokio::io::{AsyncBufReadExt as _, BufReader};

const LINES: usize = 6;

/// Streams at one time, where `SUREFOOT_STREAMS` says nothing.
const STREAMS: usize = 300;

/// What a stream may take of the server's memory, where there are so many that what the first of them brought with them
/// does not count.
const STREAM_BYTES_MAX: usize = 64 << 10;
const MANY_STREAMS: usize = 5000;

/// Reads a stream event by event.
struct Stream {
    response: Response,
    buffer: String,
    last_id: Option<String>,
}

impl Stream {
    async fn open(server: &SurefootProcess, id: &str, last_id: Option<String>) -> Result<Self> {
        let mut request = server.request(Method::GET, &format!("executions/{id}/events"));
        if let Some(last_id) = &last_id {
            request = request.header("last-event-id", last_id);
        }
        Ok(Self { response: request.send().await?.error_for_status()?, buffer: String::new(), last_id })
    }

    /// The next event: its name and document. None at the end of the stream.
    async fn next(&mut self) -> Result<Option<(String, Value)>> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.buffer = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                // Without data it only shows that the stream is alive.
                if let Some(data) = field("data: ") {
                    self.last_id = field("id: ");
                    return Ok(Some((field("event: ").context("no name")?, serde_json::from_str(&data)?)));
                }
                continue;
            }
            match self.response.chunk().await? {
                Some(chunk) => self.buffer += std::str::from_utf8(&chunk)?,
                None => return Ok(None),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_a_kill_and_loses_and_doubles_no_line() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = SurefootProcess::start(&data).await?;
    server.deploy("test-guest").await?;
    let lines = (0..LINES).map(|n| json!({"do": "log", "message": format!("line {n}")}));
    let steps: Vec<Value> = lines.flat_map(|line| [line, json!({"do": "sleep", "ms": 200})]).collect();
    let id = server.run("test-guest", json!({"mode": "script", "steps": steps})).await?;

    let mut stream = Stream::open(&server, &id, None).await?;
    let mut seen = Vec::new();
    while seen.len() < LINES / 2 {
        let (name, event) = stream.next().await?.context("the stream ended before the execution")?;
        if name == "log" {
            seen.push(event["message"].clone());
        }
    }
    let last_id = stream.last_id.take();
    server.kill().await?;

    let server = SurefootProcess::start(&data).await?;
    let mut stream = Stream::open(&server, &id, last_id).await?;
    let mut last = Value::Null;
    while let Some((name, event)) = stream.next().await? {
        match name.as_str() {
            "log" => seen.push(event["message"].clone()),
            _ => last = event,
        }
    }
    ensure!(last["status"] == "ENDED_SUCCESS", "{last:#}");
    let expected: Vec<Value> = (0..LINES).map(|n| json!(format!("line {n}"))).collect();
    ensure!(seen == expected, "{seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn soak_many_streams_are_each_told_of_the_end() -> Result<()> {
    let streams = match std::env::var("SUREFOOT_STREAMS") {
        Ok(streams) => streams.parse()?,
        Err(_) => STREAMS,
    };
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = SurefootProcess::start(&data).await?;
    server.deploy("test-guest").await?;
    let steps = json!([{"do": "signal", "name": "go"}]);
    let id = server.run("test-guest", json!({"mode": "script", "steps": steps})).await?;
    let before = server.resident_bytes()?;
    let mut client = tokio::process::Command::new(env!("CARGO_BIN_EXE_event_streams"))
        .args([server.url().trim_start_matches("http://"), &id, &streams.to_string()])
        .env("SUREFOOT_TOKEN", std::fs::read_to_string(data.join("token"))?.trim())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut said = BufReader::new(client.stdout.take().context("it is a pipe")?).lines();
    ensure!(said.next_line().await?.as_deref() == Some("open"), "not all streams could be opened");
    let each = server.resident_bytes()?.saturating_sub(before) / streams;
    eprintln!("{streams} streams, {each} bytes of the server's memory each");
    ensure!(streams < MANY_STREAMS || each < STREAM_BYTES_MAX, "a stream takes {each} bytes");
    // Others are served meanwhile, and the streams learn of what they did.
    server.api(Method::POST, &format!("executions/{id}/signals/go"), Some(json!({}))).await?;
    ensure!(said.next_line().await?.as_deref() == Some("ended"), "not all streams were told of the end");
    ensure!(client.wait().await?.success(), "the client of the streams failed");
    Ok(())
}
