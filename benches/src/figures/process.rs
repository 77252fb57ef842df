//! The binary at rest: how soon it serves, how much memory it takes, how large it is.

use anyhow::{Context, Result};

use super::http;
use crate::Bench;
use crate::load::{self, Until};
use crate::pairs::median;
use crate::report::{Figure, Target};
use crate::served::{self, Served};
use crate::timing::millis;

/// Million bytes.
const MB: f64 = 1e6;

/// The figures of this group.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir_in(&bench.folder)?;
    let data = folder.path().join("data");
    served::prepare(&data).await?;
    let (mut ready, mut idle, mut used) = (Vec::new(), Vec::new(), Vec::new());
    // The first start is not warm.
    for start in 0..=bench.scale.pairs() {
        let server = Served::start(&bench.binary, &data).await?;
        if start > 0 {
            ready.push(millis(server.ready_after()));
            idle.push(server.memory()? as f64 / MB);
            let target = server.webhook(&http::sleep(0), true)?;
            load::call(&target, 32, Until::Calls(bench.scale.pick(1000, 1000, 32))).await?;
            used.push(server.memory()? as f64 / MB);
        }
        server.stop().await?;
    }
    let size = std::fs::metadata(&bench.binary).context("cannot examine the binary")?.len();
    Ok(vec![
        Figure::new("serve-to-ready", median(&ready), "ms").target(Target::ValueUnder(300.0)),
        Figure::new("memory-idle", median(&idle), "MB").target(Target::ValueUnder(60.0)),
        Figure::new("memory-after-1000-executions", median(&used), "MB"),
        Figure::new("binary-size", size as f64 / MB, "MB").target(Target::ValueUnder(60.0)),
    ])
}
