//! Streams of events from the real server: through a `kill -9`, and many at one time.

#![expect(clippy::print_stderr, reason = "a soak tells its figures")]

use std::collections::BTreeMap;

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
        Self::open_at(server, &format!("executions/{id}/events"), last_id).await
    }

    async fn open_at(server: &SurefootProcess, path: &str, last_id: Option<String>) -> Result<Self> {
        let mut request = server.request(Method::GET, path);
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

/// What a page shows that follows a list: it loads the list when it is told to, and changes what it shows as it hears.
#[derive(Default)]
struct Shown {
    rows: BTreeMap<String, Value>,
    resets: usize,
}

impl Shown {
    async fn load(server: &SurefootProcess) -> Result<BTreeMap<String, Value>> {
        let page = server.api(Method::GET, "executions?limit=1000", None).await?;
        let rows = page["rows"].as_array().context("no rows")?.iter();
        Ok(rows.map(|row| (row["id"].as_str().unwrap_or_default().to_owned(), row.clone())).collect())
    }

    /// Shows what comes until `is_enough`.
    async fn until(
        &mut self,
        server: &SurefootProcess,
        stream: &mut Stream,
        is_enough: impl Fn(&BTreeMap<String, Value>) -> bool,
    ) -> Result<()> {
        while self.resets == 0 || !is_enough(&self.rows) {
            let (name, document) = stream.next().await?.context("the stream has no end")?;
            let id = document["id"].as_str().unwrap_or_default().to_owned();
            match name.as_str() {
                "reset" => (self.rows, self.resets) = (Self::load(server).await?, self.resets + 1),
                "execution" => drop(self.rows.insert(id, document)),
                _ => drop(self.rows.remove(&id)),
            }
        }
        Ok(())
    }
}

fn have_ended(rows: &BTreeMap<String, Value>, count: usize) -> bool {
    rows.values().filter(|row| row["type"] == "FLOW" && row["ended_at"].is_string()).count() == count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_followed_through_broken_connections_and_a_kill() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = SurefootProcess::start(&data).await?;
    server.deploy("test-guest").await?;
    let script = |ms: u64| json!({"mode": "script", "steps": [{"do": "sleep", "ms": ms}]});
    let mut shown = Shown::default();
    let mut stream = Stream::open_at(&server, "executions/events", None).await?;
    for _ in 0..5 {
        server.run("test-guest", script(50)).await?;
    }
    shown.until(&server, &mut stream, |rows| have_ended(rows, 5)).await?;

    // What happens while nobody listens comes when the reader is back.
    let last_id = stream.last_id.take();
    drop(stream);
    for _ in 0..5 {
        let id = server.run("test-guest", script(0)).await?;
        server.api(Method::GET, &format!("executions/{id}/wait"), None).await?;
    }
    let mut stream = Stream::open_at(&server, "executions/events", last_id).await?;
    shown.until(&server, &mut stream, |rows| have_ended(rows, 10)).await?;
    ensure!(shown.resets == 1, "the list was loaded anew although nothing was missed");

    // Of what happened before the kill nothing is remembered, so the list is loaded anew.
    for _ in 0..5 {
        server.run("test-guest", script(500)).await?;
    }
    let last_id = stream.last_id.take();
    server.kill().await?;
    let server = SurefootProcess::start(&data).await?;
    let mut stream = Stream::open_at(&server, "executions/events", last_id).await?;
    shown.until(&server, &mut stream, |rows| have_ended(rows, 15)).await?;
    ensure!(shown.resets == 2, "the list was loaded {} times", shown.resets);
    ensure!(shown.rows == Shown::load(&server).await?, "what is shown is not what there is");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn soak_many_streams_are_each_told_of_the_end() -> Result<()> {
    soak_streams(|id| (format!("/api/v1/executions/{id}/events"), "execution")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn soak_many_streams_of_the_list_are_each_told_of_the_end() -> Result<()> {
    soak_streams(|_| ("/api/v1/executions/events".to_owned(), "reset")).await
}

/// Streams of that path, whose first event has that name.
async fn soak_streams(of: impl Fn(&str) -> (String, &'static str)) -> Result<()> {
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
    let (path, first) = of(&id);
    let before = server.resident_bytes()?;
    let mut client = tokio::process::Command::new(env!("CARGO_BIN_EXE_event_streams"))
        .args([server.url().trim_start_matches("http://"), &path, &streams.to_string(), first])
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
