//! The real binary, serving a workspace in a process of its own, that a test may kill, stop, or take the disk from.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How to start a server.
#[derive(Debug, Default)]
pub struct Launch {
    /// The data folder.
    pub data: PathBuf,
    /// A program, with its arguments, that starts the binary in its turn.
    pub through: Vec<String>,
    /// Where the test itself finds the data folder, if it is elsewhere for it.
    pub data_seen: PathBuf,
    /// Where its log goes; a temporary file when there is none.
    pub log: Option<File>,
    /// More arguments of `serve`.
    pub arguments: Vec<String>,
    /// Variables of its environment.
    pub variables: Vec<(String, String)>,
}

impl Launch {
    /// The plain binary on that data folder.
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), data_seen: data.to_owned(), ..Self::default() }
    }

    /// With these arguments of `serve` too.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// The command, not started.
    pub fn command(&self) -> Result<Command> {
        let binary = xtask::repo::binary();
        ensure!(binary.exists(), "{} is not there; run `cargo xtask test`, which builds it", binary.display());
        let mut command = match self.through.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        if let Some(path) = std::env::var_os("PATH") {
            command.env_clear().env("PATH", path);
        }
        command.arg("--data").arg(&self.data).args(["--output", "json", "serve", "--listen", "127.0.0.1:0"]);
        command.args(["--allow-egress", "127.0.0.1"]).args(&self.arguments).envs(self.variables.clone());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }

    /// Starts it and waits until it listens.
    pub async fn start(self) -> Result<SurefootProcess> {
        let mut log = match &self.log {
            Some(log) => log.try_clone()?,
            None => tempfile::tempfile()?,
        };
        let mut child = self.command()?.stderr(log.try_clone()?).spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let Some(line) = line else {
            let status = child.wait().await?;
            let mut said = String::new();
            log.rewind()?;
            log.read_to_string(&mut said)?;
            anyhow::bail!("surefoot serve ended at once, with {status}: {said}");
        };
        let ready: Value = serde_json::from_str(&line).with_context(|| format!("`{line}` is not JSON"))?;
        let url = ready["url"].as_str().context("serve says its url")?.trim_end_matches('/').to_owned();
        let token = std::fs::read_to_string(self.data_seen.join("token"))?.trim().to_owned();
        let holder = std::fs::read_to_string(self.data_seen.join("workspace.lock"))?;
        let pid = Pid::from_raw(holder.trim().parse().context("the lock names its process")?);
        // Each request has a connection of its own: none meets the end of another one's.
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build()?;
        Ok(SurefootProcess { child, pid, url, token, client })
    }
}

/// A text as a value in a query or of a form.
pub fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// See the module. Killed when dropped.
pub struct SurefootProcess {
    child: Child,
    /// Of the server, which need not be the child itself.
    pid: Pid,
    url: String,
    token: String,
    client: reqwest::Client,
}

impl SurefootProcess {
    /// Starts `surefoot serve` on a data folder and waits until it listens.
    pub async fn start(data: &Path) -> Result<Self> {
        Launch::new(data).start().await
    }

    /// `kill -9`.
    pub async fn kill(mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.child.wait().await?;
        Ok(())
    }

    /// Asks it to stop in order, and waits. Returns its exit code.
    pub async fn stop(self) -> Result<Option<i32>> {
        self.signal(Signal::SIGTERM)?;
        self.exited().await
    }

    /// Waits for its end. Returns its exit code.
    pub async fn exited(mut self) -> Result<Option<i32>> {
        Ok(self.child.wait().await?.code())
    }

    /// Sends a signal to the server.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(self.pid, signal)?)
    }

    /// Number of the server's process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Base address of its HTTP server, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A request to the API, not sent yet.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}/api/v1/{path}", self.url)).bearer_auth(&self.token)
    }

    /// What of the process is in memory, bytes.
    pub fn resident_bytes(&self) -> Result<usize> {
        let pid = self.child.id().context("the server has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: usize = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib << 10)
    }

    /// Calls the API. The answer must be a success.
    pub async fn api(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let (status, answer) = answer(request).await?;
        ensure!(status.is_success(), "{path} answered {status}: {answer:#}");
        Ok(answer)
    }

    /// Changes the record at a path such as `settings/often`, or creates one of that name.
    pub async fn save(&self, path: &str, mut fields: Value) -> Result<Value> {
        let (kinds, name) = path.split_once('/').with_context(|| format!("{path} is not KINDS/NAME"))?;
        let (status, answer) = answer(self.request(Method::PATCH, path).json(&fields)).await?;
        if status == StatusCode::NOT_FOUND {
            fields["name"] = name.into();
            return self.api(Method::POST, kinds, Some(fields)).await;
        }
        ensure!(status.is_success(), "{path} answered {status}: {answer:#}");
        Ok(answer)
    }

    /// Deploys an example flow or guest under its own name.
    pub async fn deploy(&self, flow: &str) -> Result<()> {
        self.deploy_component(flow, std::fs::read(xtask::flows::component(flow)?)?).await
    }

    /// Makes a component the present version of a flow.
    pub async fn deploy_component(&self, flow: &str, component: Vec<u8>) -> Result<()> {
        let (status, said) =
            answer(self.request(Method::POST, &format!("flows/{flow}/deploy")).body(component)).await?;
        ensure!(status.is_success(), "deploying {flow} answered {status}: {said:#}");
        Ok(())
    }

    /// Address and port of its HTTP server.
    pub fn address(&self) -> &str {
        self.url.split_once("://").map_or("", |(_, address)| address)
    }

    /// The token of its data folder.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Its figures, as text.
    pub async fn metrics(&self) -> Result<String> {
        let request = self.client.get(format!("{}/metrics", self.url)).bearer_auth(&self.token);
        Ok(request.send().await?.error_for_status()?.text().await?)
    }

    /// What the server says of itself.
    pub async fn health(&self) -> Result<Value> {
        Ok(self.client.get(format!("{}/healthz", self.url)).send().await?.error_for_status()?.json().await?)
    }

    /// Calls a webhook that needs no key.
    pub async fn call_webhook(&self, webhook: &str, idempotency_key: &str, body: &Value) -> Result<String> {
        let request = self.client.post(format!("{}/api/latest/webhook/{webhook}/call", self.url)).json(body);
        let response = request.header("idempotency-key", idempotency_key).send().await?.error_for_status()?;
        Ok(response.text().await?)
    }

    /// Starts a flow. Returns the execution's id, which is durable then.
    pub async fn run(&self, flow: &str, input: Value) -> Result<String> {
        let answer = self.api(Method::POST, &format!("flows/{flow}/run"), Some(json!({ "input": input }))).await?;
        Ok(answer["id"].as_str().context("an id")?.to_owned())
    }

    /// Waits until an execution has ended.
    pub async fn ended(&self, id: &str) -> Result<Value> {
        for _ in 0..12 {
            let row = self.api(Method::GET, &format!("executions/{id}/wait?timeout_ms=10000"), None).await?;
            if row["ended_at"].is_string() {
                return Ok(row);
            }
        }
        let row = self.api(Method::GET, &format!("executions/{id}"), None).await?;
        anyhow::bail!("execution {id} does not end: {row:#}")
    }

    /// Calls the API again and again until the answer meets the condition. Returns that answer.
    pub async fn until(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        condition: impl Fn(StatusCode, &Value) -> bool,
    ) -> Result<(StatusCode, Value)> {
        let mut last = None;
        let looking = async {
            loop {
                let request = self.request(method.clone(), path);
                let (status, said) = answer(body.iter().fold(request, |request, body| request.json(body))).await?;
                if condition(status, &said) {
                    return Ok((status, said));
                }
                last = Some((status, said));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let looked = tokio::time::timeout(crate::workspace::PATIENCE, looking).await;
        looked.unwrap_or_else(|_| anyhow::bail!("{path} never answered as it should; last: {last:?}"))
    }

    /// The row of an execution, or of the one that took its place by continuing as new.
    pub async fn last_of_chain(&self, id: &str) -> Result<Value> {
        let mut row = self.api(Method::GET, &format!("executions/{id}"), None).await?;
        while let Some(next) = row["continued_as"].as_str() {
            row = self.api(Method::GET, &format!("executions/{next}"), None).await?;
        }
        Ok(row)
    }

    /// The journal of an execution.
    pub async fn journal(&self, id: &str) -> Result<Vec<Value>> {
        let answer = self.api(Method::GET, &format!("executions/{id}/journal"), None).await?;
        Ok(answer["records"].as_array().cloned().unwrap_or_default())
    }
}

impl Drop for SurefootProcess {
    fn drop(&mut self) {
        // What started the server may die without it. A child that was waited for has no id any more.
        if self.child.id().is_some() {
            let _ = kill(self.pid, Signal::SIGKILL);
        }
    }
}

/// Sends a request. Returns the status, and the document that the answer is, or its text.
pub async fn answer(request: reqwest::RequestBuilder) -> Result<(StatusCode, Value)> {
    let response = request.send().await?;
    let status = response.status();
    let text = response.text().await?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}
