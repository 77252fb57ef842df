//! An engine in this process, on a workspace as the binary has it when it is measured, with a [`Probe`] as its
//! connector `echo`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use surefoot_engine::{Config, Engine, StartRequest};
use tempfile::TempDir;

use crate::probe::Probe;
use crate::served;

/// Name of the guest, as package and as deployed flow.
pub(crate) const GUEST: &str = "bench-guest";

/// The longest that anything may take which is not measured.
const PATIENCE: Duration = Duration::from_secs(600);

/// See the module. Its folder goes with it.
pub(crate) struct Lab {
    pub(crate) engine: Engine,
    pub(crate) probe: Probe,
    config: Config,
    folder: TempDir,
}

/// The folder of a lab whose engine has stopped. It goes with this.
pub(crate) struct Left(TempDir);

impl Left {
    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }
}

impl Lab {
    /// A new workspace in a folder of its own below `parent`.
    pub(crate) async fn open(parent: &Path) -> Result<Self> {
        Self::open_with(parent, |_| {}).await
    }

    /// The same with another configuration.
    pub(crate) async fn open_with(parent: &Path, configure: impl FnOnce(&mut Config)) -> Result<Self> {
        let folder = tempfile::tempdir_in(parent)?;
        let mut config = Config::new(folder.path().join("data"));
        configure(&mut config);
        let probe = Probe::default();
        let engine = Engine::open(config.clone(), vec![Arc::new(probe.clone())])?;
        served::furnish(&engine).await?;
        Ok(Self { engine, probe, config, folder })
    }

    /// Ends the engine in order, does something with the database, and opens the workspace anew.
    pub(crate) async fn reopen_after(self, meanwhile: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let (database, probe, config) = (self.database(), self.probe.clone(), self.config.clone());
        let Left(folder) = self.leave().await?;
        meanwhile(&database)?;
        let engine = Engine::open(config.clone(), vec![Arc::new(probe.clone())])?;
        Ok(Self { engine, probe, config, folder })
    }

    /// The database file.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("data/surefoot.db")
    }

    /// Starts one execution. Returns its id, which is durable.
    pub(crate) async fn start(&self, input: Value) -> Result<String> {
        let request = StartRequest { flow: GUEST.into(), input, by: "bench".into(), ..StartRequest::default() };
        Ok(self.engine.start(request).await?.0)
    }

    /// Starts an execution for each input, all at once. Returns their ids.
    pub(crate) async fn start_all(&self, inputs: impl IntoIterator<Item = Value>) -> Result<Vec<String>> {
        try_join_all(inputs.into_iter().map(|input| self.start(input))).await
    }

    /// Waits until all have ended well.
    pub(crate) async fn all_ended(&self, ids: &[String]) -> Result<()> {
        for id in ids {
            let row = self.engine.wait_ended(id, Some(PATIENCE)).await?;
            let row = row.with_context(|| format!("execution {id} does not end"))?;
            ensure!(row["status"] == "ENDED_SUCCESS", "an execution failed: {row:#}");
        }
        Ok(())
    }

    /// Runs `executions` at a time, each with `count` steps, and gives the steps per second while all were at work:
    /// the first and the last tenth of the steps are not counted.
    pub(crate) async fn step_rate(&self, work: Work, count: u64) -> Result<f64> {
        let total = count * work.executions;
        self.probe.clear();
        let ids = self.start_all((0..work.executions).map(|tag| work.input(tag, count))).await?;
        self.probe.until(total).await;
        self.all_ended(&ids).await?;
        let noted = self.probe.take();
        ensure!(noted.len() as u64 == total, "{} steps instead of {total}", noted.len());
        let (first, last) = (noted.len() / 10, noted.len() - 1 - noted.len() / 10);
        let seconds = noted[last].at.since(noted[first].at).as_secs_f64();
        Ok((last - first) as f64 / seconds)
    }

    /// Ends the engine in order and leaves the folder.
    pub(crate) async fn leave(self) -> Result<Left> {
        self.engine.shutdown(Duration::from_secs(10)).await?;
        Ok(Left(self.folder))
    }

    /// Ends the engine in order and removes the folder.
    pub(crate) async fn close(self) -> Result<()> {
        Ok(self.leave().await?.0.close()?)
    }
}

/// Steps to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// Executions at one time.
    pub(crate) executions: u64,
    /// Declares each step a write.
    pub(crate) is_write: bool,
}

impl Work {
    /// The input of the guest for `count` steps.
    pub(crate) fn input(self, tag: u64, count: u64) -> Value {
        let mut input = json!({ "mode": "steps", "count": count, "tag": tag });
        if self.is_write {
            input["effect"] = "write".into();
        }
        input
    }
}
