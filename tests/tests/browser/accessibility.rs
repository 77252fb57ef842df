//! axe-core on every page, in both themes; that a small phone needs to scroll down only; and how much a page transfers.

use anyhow::{Result, ensure};
use serde_json::json;
use surefoot_fixtures::Targets;
use surefoot_tests::browser::Look;
use surefoot_tests::pages::{self, Samples};
use surefoot_tests::workspace::Workspace;

use crate::logged_in;

/// What a page transfers at most, with all that it loads, bytes.
const PAGE_BYTES_MAX: i64 = 150_000;

const BYTES: &str = "return performance.getEntries().reduce((sum, one) => sum + (one.encodedBodySize ?? 0), 0)";

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_on_any_page_in_either_theme() -> Result<()> {
    let (axe, targets) = (xtask::repo::axe()?, Targets::start().await?);
    let mut found = Vec::new();
    for is_full in [false, true] {
        let workspace = Workspace::open()?;
        let samples = if is_full { pages::fill(&workspace, &targets).await? } else { Samples::new() };
        let (server, browser) = logged_in(&workspace).await?;
        for page in pages::all(&samples)? {
            for look in [Look::LIGHT, Look::DARK, Look::NARROW] {
                browser.look(look).await?;
                browser.open(&format!("{}{}", server.url(), page.path)).await?;
                let wrong = browser.axe(&axe).await?;
                found.extend(wrong.into_iter().map(|wrong| format!("{} {look:?}: {wrong}", page.path)));
                let bytes = browser.run(BYTES, json!([])).await?;
                if bytes.as_i64() >= Some(PAGE_BYTES_MAX) {
                    found.push(format!("{} transfers {bytes} bytes", page.path));
                }
                let overflow = "return document.documentElement.scrollWidth - innerWidth";
                let overflow = browser.run(overflow, json!([])).await?;
                if overflow.as_i64() > Some(0) {
                    found.push(format!("{} {look:?}: it is {overflow} pixels too wide", page.path));
                }
            }
        }
    }
    ensure!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
    Ok(())
}
