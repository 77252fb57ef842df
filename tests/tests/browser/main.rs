//! The web UI in a real Chromium: the ways that people go, and what axe-core finds on every page. What is on the pages
//! is tested in process, in `web/tests/api/ui/`.

mod accessibility;
mod journeys;

use anyhow::Result;
use surefoot_tests::browser::Browser;
use surefoot_tests::pages::{self, USER};
use surefoot_tests::workspace::{Server, Workspace};

/// A workspace with an admin, who has logged in with a browser.
async fn logged_in(workspace: &Workspace) -> Result<(Server, Browser)> {
    let server = workspace.serve().await?;
    pages::make_user(&server, USER, "admin").await?;
    let browser = Browser::start().await?;
    pages::log_in(&browser, &server, USER).await?;
    Ok((server, browser))
}
