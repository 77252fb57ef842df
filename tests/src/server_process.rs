//! The real binary, serving a workspace in a process of its own, that a test may kill.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// See the module. Killed when dropped.
pub struct SurefootProcess {
    child: Child,
    url: String,
    token: String,
    client: reqwest::Client,
}

impl SurefootProcess {
    /// Starts `surefoot serve` on a data folder and waits until it listens.
    pub async fn start(data: &Path) -> Result<Self> {
        let binary = xtask::repo::binary();
        ensure!(binary.exists(), "{} is not there; run `cargo xtask test`, which builds it", binary.display());
        let mut command = Command::new(binary);
        command.env_clear().arg("--data").arg(data).args(["--output", "json", "serve", "--listen", "127.0.0.1:0"]);
        command.args(["--allow-egress", "127.0.0.1"]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let Some(line) = line else {
            let output = child.wait_with_output().await?;
            anyhow::bail!("surefoot serve ended at once: {}", String::from_utf8_lossy(&output.stderr));
        };
        let ready: Value = serde_json::from_str(&line).with_context(|| format!("`{line}` is not JSON"))?;
        let url = ready["url"].as_str().context("serve says its url")?.trim_end_matches('/').to_owned();
        let token = std::fs::read_to_string(data.join("token"))?.trim().to_owned();
        Ok(Self { child, url, token, client: reqwest::Client::builder().no_proxy().build()? })
    }

    /// `kill -9`.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Base address of its HTTP server, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls the API. The answer must be a success.
    pub async fn api(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.client.request(method, format!("{}/api/v1/{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "{path} answered {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// Starts a flow. Returns the execution's id, which is durable then.
    pub async fn run(&self, flow: &str, input: Value) -> Result<String> {
        let answer =
            self.api(reqwest::Method::POST, &format!("flows/{flow}/run"), Some(json!({ "input": input }))).await?;
        Ok(answer["id"].as_str().context("an id")?.to_owned())
    }

    /// Waits until an execution has ended.
    pub async fn ended(&self, id: &str) -> Result<Value> {
        for _ in 0..12 {
            let row = self.api(reqwest::Method::GET, &format!("executions/{id}/wait?timeout_ms=10000"), None).await?;
            if row["ended_at"].is_string() {
                return Ok(row);
            }
        }
        let row = self.api(reqwest::Method::GET, &format!("executions/{id}"), None).await?;
        anyhow::bail!("execution {id} does not end: {row:#}")
    }

    /// The journal of an execution.
    pub async fn journal(&self, id: &str) -> Result<Vec<Value>> {
        let answer = self.api(reqwest::Method::GET, &format!("executions/{id}/journal"), None).await?;
        Ok(answer["records"].as_array().cloned().unwrap_or_default())
    }
}
