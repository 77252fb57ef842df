//! Who gets signed webhooks: `tests/servers/webhook_receiver.py`, which verifies them with the library of Standard
//! Webhooks.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::{ServerProcess, venv_program};

/// What calls must be signed with.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver that runs until it is dropped.
#[derive(Debug)]
pub struct WebhookReceiver(ServerProcess);

/// A call as it came.
#[derive(Clone, Debug, Deserialize)]
pub struct ReceivedWebhook {
    /// Its `webhook-id`.
    pub id: Option<String>,
    /// Whether the library says that it is signed with [`SECRET`].
    pub is_verified: bool,
    /// Whether it was answered with 503.
    pub is_refused: bool,
    /// Whether it was taken, and not before.
    pub is_new: bool,
    /// Its body.
    pub body: Value,
}

impl WebhookReceiver {
    /// Starts one.
    pub fn start() -> Result<Self> {
        let process = ServerProcess::start("webhook receiver", |folder, port| {
            let mut command = Command::new(venv_program("python")?);
            command.arg(xtask::repo::root().join("tests/servers/webhook_receiver.py"));
            command.args(["--port", &port.to_string(), "--secret", SECRET]);
            command.arg("--received").arg(folder.join("received")).arg("--down").arg(folder.join("down"));
            Ok(command)
        })?;
        Ok(Self(process))
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.0.port())
    }

    /// Whether calls are answered with 503 from now on.
    pub fn set_down(&self, is_down: bool) -> Result<()> {
        let file = self.file("down");
        match is_down {
            true => std::fs::write(file, "")?,
            false => std::fs::remove_file(file)?,
        }
        Ok(())
    }

    /// What came so far, in order.
    pub fn received(&self) -> Result<Vec<ReceivedWebhook>> {
        // Not there before the first call.
        let text = std::fs::read_to_string(self.file("received")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).context("a line of JSON")).collect()
    }

    /// What was taken, in order.
    pub fn taken(&self) -> Result<Vec<Value>> {
        Ok(self.received()?.into_iter().filter(|call| call.is_new).map(|call| call.body).collect())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.folder().join(name)
    }
}
