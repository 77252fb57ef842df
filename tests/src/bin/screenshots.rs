//! Makes pictures of every page of the web UI: light, dark and narrow, with nothing in the workspace and with something
//! of everything. `cargo xtask screenshots` runs it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use surefoot_fixtures::Targets;
use surefoot_tests::browser::{Browser, Look};
use surefoot_tests::pages::{self, Samples};
use surefoot_tests::workspace::Workspace;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).context("name the folder for the pictures")?;
    std::fs::create_dir_all(&folder)?;
    let browser = Browser::start().await?;
    let targets = Targets::start().await?;
    for kind in ["empty", "full"] {
        let workspace = Workspace::open()?;
        let samples = if kind == "full" { pages::fill(&workspace, &targets).await? } else { Samples::new() };
        let server = workspace.serve().await?;
        pages::make_user(&server, pages::USER, "admin").await?;
        pages::log_in(&browser, &server, pages::USER).await?;
        for page in pages::all(&samples)? {
            for (look, name) in [(Look::LIGHT, "light"), (Look::DARK, "dark"), (Look::NARROW, "narrow")] {
                browser.look(look).await?;
                browser.open(&format!("{}{}", server.url(), page.path)).await?;
                let file = folder.join(format!("{kind}-{}-{name}.png", page.name));
                std::fs::write(&file, browser.screenshot().await?)
                    .with_context(|| format!("cannot write {}", file.display()))?;
            }
        }
        server.stop().await?;
    }
    Ok(())
}
