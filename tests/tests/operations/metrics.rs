//! The figures of a server at work.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use surefoot_tests::server_process::SurefootProcess;

/// The reader of Prometheus' own project: families as `[name, type, [[sample, labels, value], …]]`.
const READER: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families as read
families = read(sys.stdin.read())
print(json.dumps([[f.name, f.type, [[s.name, s.labels, s.value] for s in f.samples]] for f in families]))
";

/// Figures as Prometheus reads them.
struct Scrape(Value);

impl Scrape {
    async fn of(server: &SurefootProcess) -> Result<Self> {
        let text = server.metrics().await?;
        let mut python = Command::new(xtask::repo::venv()?.join("bin/python"));
        let mut python = python.args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        python.stdin.take().context("it is a pipe")?.write_all(text.as_bytes())?;
        let output = python.wait_with_output()?;
        ensure!(output.status.success(), "Prometheus cannot read: {text}");
        let families: Value = serde_json::from_slice(&output.stdout)?;
        let typed = families.as_array().into_iter().flatten().filter(|family| family[1] != "unknown").count();
        ensure!(typed > 20 && typed == text.matches("# TYPE ").count(), "{typed} families: {text}");
        Ok(Self(families))
    }

    /// The sum of all samples of that name with these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.0.as_array().into_iter().flatten().filter_map(|family| family[2].as_array()).flatten();
        let is_asked =
            |sample: &&Value| sample[0] == name && labels.iter().all(|(label, value)| sample[1][*label] == *value);
        samples.filter(is_asked).filter_map(|sample| sample[2].as_f64()).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = SurefootProcess::start(&folder.path().join("data")).await?;
    server.deploy("test-guest").await?;
    let echo = json!({"mode": "connect", "connector": "type:echo", "inputs": {"delay_ms": 1}});
    for _ in 0..3 {
        let id = server.run("test-guest", echo.clone()).await?;
        ensure!(server.ended(&id).await?["status"] == "ENDED_SUCCESS");
    }
    let waits = json!({"mode": "script", "steps": [{"do": "signal", "name": "go"}]});
    let id = server.run("test-guest", waits).await?;
    server.until(Method::GET, &format!("executions/{id}"), None, |_, row| row["status"] == "WAITING").await?;
    let stream = server.request(Method::GET, &format!("executions/{id}/events")).send().await?;

    let figures = Scrape::of(&server).await?;
    let of_flow = [("flow", "test-guest"), ("status", "ENDED_SUCCESS")];
    ensure!(figures.sum("surefoot_executions_ended_total", &of_flow) == 3.0);
    ensure!(figures.sum("surefoot_executions_created_total", &[]) >= 4.0);
    ensure!(figures.sum("surefoot_executions_active", &[]) >= 1.0);
    let calls = [("connector", "echo"), ("outcome", "success")];
    ensure!(figures.sum("surefoot_connector_call_duration_seconds_count", &calls) == 3.0);
    ensure!(figures.sum("surefoot_commit_duration_seconds_count", &[]) >= 4.0);
    ensure!(figures.sum("surefoot_journal_records_total", &[]) >= 3.0);
    ensure!(figures.sum("surefoot_database_bytes", &[]) > 0.0);
    ensure!(figures.sum("surefoot_event_streams", &[]) == 1.0);
    let runs = [("route", "/api/v1/flows/{key}/run"), ("method", "POST"), ("status", "201")];
    ensure!(figures.sum("surefoot_http_request_duration_seconds_count", &runs) == 4.0);
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
        ensure!(figures.sum(name, &[]) > 0.0, "{name}");
    }
    drop(stream);
    let figures = Scrape::of(&server).await?;
    ensure!(figures.sum("surefoot_executions_ended_total", &of_flow) == 3.0);
    server.stop().await.map(drop)
}

/// Names that a caller makes up are no labels.
#[tokio::test(flavor = "multi_thread")]
async fn callers_cannot_make_figures_grow() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = SurefootProcess::start(&folder.path().join("data")).await?;
    let client = reqwest::Client::new();
    for n in 0..50 {
        let method = Method::from_bytes(format!("MADEUP{n}").as_bytes())?;
        client.request(method, format!("{}/made/up/{n}", server.url())).send().await?;
        client.get(format!("{}/api/latest/webhook/made-up-{n}/call", server.url())).send().await?;
    }
    let text = server.metrics().await?;
    ensure!(!text.to_ascii_lowercase().contains("made"), "{text}");
    let counts = text.lines().filter(|line| line.starts_with("surefoot_http_request_duration_seconds_count"));
    ensure!(counts.count() <= 3, "{text}");

    let answer = client.get(format!("{}/metrics", server.url())).send().await?;
    ensure!(answer.status() == StatusCode::UNAUTHORIZED);
    let viewer = server.api(Method::POST, "tokens", Some(json!({"name": "prometheus", "role": "viewer"}))).await?;
    let token = viewer["token"].as_str().context("a token")?;
    let answer = client.get(format!("{}/metrics", server.url())).bearer_auth(token).send().await?;
    ensure!(answer.status() == StatusCode::OK);
    server.stop().await.map(drop)
}
