//! The binary at work: `surefoot serve` in a process of its own, on a workspace with the benchmark's guest and a
//! webhook, and what the system says about that process. Linux only: it reads `/proc`.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Map, Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::{Config, Engine};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::lab::GUEST;
use crate::load::Target;
use crate::timing::Stopwatch;

/// Name of the webhook.
const WEBHOOK: &str = "bench";

/// Makes a workspace with what is needed, and leaves it closed.
pub(crate) async fn prepare(data: &Path) -> Result<()> {
    let engine = Engine::open(Config::new(data), surefoot_connectors::all())?;
    furnish(&engine).await?;
    Ok(engine.shutdown(Duration::from_secs(10)).await?)
}

/// Deploys the guest, and gives it a webhook without a key.
pub(crate) async fn furnish(engine: &Engine) -> Result<()> {
    let component = std::fs::read(xtask::flows::component(GUEST)?)?;
    engine.deploy(GUEST, component, "bench").await?;
    let fields = json!({ "flow_id": GUEST, "is_enabled": true, "is_key_required": false });
    let fields: Map<String, Value> = serde_json::from_value(fields)?;
    engine.save(Kind::Webhook, WEBHOOK, fields, "bench").await?;
    Ok(())
}

/// See the module. Killed when dropped.
pub(crate) struct Served {
    child: Child,
    pid: i32,
    url: String,
    ready_after: Duration,
}

impl Served {
    /// Starts the binary on a data folder and waits until it says that it listens.
    pub(crate) async fn start(binary: &Path, data: &Path) -> Result<Self> {
        ensure!(binary.is_file(), "{} is not there: run `cargo xtask bench`, which builds it", binary.display());
        let mut command = Command::new(binary);
        command.env_clear().arg("--data").arg(data).args(["--output", "json", "serve", "--listen", "127.0.0.1:0"]);
        let said = data.with_extension("log");
        let log = File::create(&said).with_context(|| format!("cannot write {}", said.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let watch = Stopwatch::start();
        let mut child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let ready_after = watch.elapsed();
        let Some(line) = line else {
            bail!("surefoot serve ended at once: {}", std::fs::read_to_string(&said)?.trim());
        };
        let ready: Value = serde_json::from_str(&line).with_context(|| format!("`{line}` is not JSON"))?;
        let url = ready["url"].as_str().context("serve says its url")?.trim_end_matches('/').to_owned();
        let pid = i32::try_from(child.id().context("it runs")?)?;
        Ok(Self { child, pid, url, ready_after })
    }

    /// From the start of the process until it said that it listens.
    pub(crate) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Calls of the webhook with this body. Without `wait` only the start is waited for.
    pub(crate) fn webhook(&self, body: &Value, wait: bool) -> Result<Target> {
        let query = if wait { "" } else { "?async=1" };
        Target::new(&format!("{}/api/latest/webhook/{WEBHOOK}/call{query}", self.url), body.to_string())
    }

    /// `kill -9`.
    pub(crate) async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Stops it in order.
    pub(crate) async fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.pid), Signal::SIGTERM)?;
        let status = self.child.wait().await?;
        ensure!(status.success(), "surefoot serve ended with {status}");
        Ok(())
    }

    /// Resident memory, bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        let kib = self.status("VmRSS:")?;
        Ok(kib.trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Threads.
    pub(crate) fn threads(&self) -> Result<u64> {
        Ok(self.status("Threads:")?.parse()?)
    }

    /// Processor time of the threads that it has now.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let path = task?.path().join("schedstat");
            // A thread may end between the list and this.
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            nanoseconds += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    fn status(&self, field: &str) -> Result<String> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        Ok(line.with_context(|| format!("the system does not say `{field}`"))?.trim().to_owned())
    }
}
