//! The ways that people go.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_fixtures::Targets;
use surefoot_tests::browser::Browser;
use surefoot_tests::pages::{PASSWORD, USER, log_in};
use surefoot_tests::workspace::{Workspace, id};

use crate::logged_in;

/// Who owns a fresh workspace opens the link that the first start prints, and is in.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_admin_makes_an_account_and_logs_in() -> Result<()> {
    let workspace = Workspace::open()?;
    let server = workspace.serve().await?;
    let link = workspace.engine.new_setup_link().await?.context("nobody can log in yet")?;
    let browser = Browser::start().await?;
    browser.open(&format!("{}{}", server.url(), surefoot_web::setup_path(&link.token))).await?;
    browser.write("[name=name]", USER).await?;
    browser.write("[name=password]", PASSWORD).await?;
    browser.write("[name=repeated]", PASSWORD).await?;
    browser.click("button", "Set").await?;
    browser.until_text("h1", "Done").await?;
    browser.click("a", "Log in").await?;
    browser.until_text("h1", "Log in").await?;
    log_in(&browser, &server, USER).await?;
    browser.until_text(".empty h2", "Nothing has run here yet").await?;
    browser.click("button", "Log out").await?;
    browser.until_text("h1", "Log in").await?;
    // Where somebody wanted to go, they come to after the login.
    browser.open(&format!("{}/ui/executions?filter=backup", server.url())).await?;
    browser.write("#name", USER).await?;
    browser.write("#password", PASSWORD).await?;
    browser.click("button", "Log in").await?;
    browser.until_text("h1", "Executions").await?;
    browser.until("the filter", "return document.querySelector('#filter').value === 'backup'").await?;
    Ok(())
}

/// A run is followed without a reload: it begins, it waits, it is cancelled, it is run again with another input.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_followed_cancelled_and_run_again() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["hello", "long-sleep"]).await?;
    let (server, browser) = logged_in(&workspace).await?;
    browser.open(&format!("{}/ui/executions", server.url())).await?;
    browser.run("window.isTheSamePage = true", json!([])).await?;
    let id = workspace.start("long-sleep", json!({})).await?;
    browser.until_text("tbody .status", "Waiting").await?;
    browser.click("tbody th a", "long-sleep").await?;
    browser.until_text(".standing .status", "Waiting").await?;
    browser.run("window.isTheSamePage = true", json!([])).await?;
    workspace.engine.pause(&id, "somebody").await?;
    browser.until_text(".standing .status", "Paused").await?;
    ensure!(browser.run("return window.isTheSamePage", json!([])).await? == true, "it was loaded anew");
    browser.click("button", "Resume").await?;
    browser.until_text(".done", "It goes on").await?;
    ensure!(browser.run("return location.search", json!([])).await? == "", "what was done is told once");
    browser.click(".actions a", "Cancel").await?;
    browser.until_text("h1", "Cancel this execution?").await?;
    browser.click("button", "Cancel it").await?;
    browser.until_text(".standing .status", "Cancelled").await?;
    browser.until_text(".actions a", "Run again").await?;

    let hello = workspace.run("hello", json!({"a": 1})).await?;
    browser.open(&format!("{}/ui/executions/{}/rerun", server.url(), hello["id"].as_str().unwrap_or_default())).await?;
    browser.write("#input", r#"{"greeting": "again"}"#).await?;
    browser.click("button", "Run").await?;
    browser.until_text(".standing .status", "Succeeded").await?;
    browser.until_text("#h-output + .document", "again").await
}

/// Who is asked finds the question by what waits for it, looks at the answer once more, and gives it.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_run_is_approved() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["ask-first"]).await?;
    let id = workspace.start("ask-first", json!({"version": "9.2"})).await?;
    workspace.until(&id, |row| row["status"] == "WAITING").await?;
    let (server, browser) = logged_in(&workspace).await?;
    browser.open(&format!("{}/ui", server.url())).await?;
    browser.click("[aria-labelledby=h-active] a", "ask-first").await?;
    browser.until_text(".question b", "Deploy version 9.2 to production?").await?;
    browser.click(".question a", "Answer it").await?;
    browser.until_text("h1", "Deploy version 9.2 to production?").await?;
    browser.click("label", "Deploy").await?;
    browser.click("button", "Look at the answer").await?;
    browser.until_text("pre.document", "\"go\": true").await?;
    browser.click("button", "Answer").await?;
    browser.until_text(".standing .status", "Answered").await?;
    let row = workspace.ended(&id).await?;
    ensure!(row["output"]["deploy"] == true && row["output"]["by"] == "user root", "{row:#}");
    Ok(())
}

/// A schedule is found in the list and disabled: it starts nothing any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_disabled() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["hello"]).await?;
    workspace.save(Kind::Setting, "often", json!({"value": {"every": "1s"}})).await?;
    let fields = json!({"scheduler_id": "cron", "setting_id": "often", "flow_id": "hello", "is_enabled": true});
    workspace.save(Kind::Schedule, "pulse", fields).await?;
    let (server, browser) = logged_in(&workspace).await?;
    browser.open(&format!("{}/ui", server.url())).await?;
    browser.click("nav a", "Schedules").await?;
    browser.click("tbody th a", "pulse").await?;
    browser.until_text("[aria-labelledby=h-runs] tbody", "Succeeded").await?;
    browser.click(".actions button", "Disable").await?;
    browser.until_text(".standing .status", "Disabled").await?;
    ensure!(workspace.record(Kind::Schedule, "pulse").await?["is_enabled"] == false);
    let coming = json!({"and": [
        {"field": "type", "op": "eq", "value": "SCHEDULE"},
        {"field": "ended_at", "op": "is_null", "value": true},
    ]});
    workspace.until_rows("execution", coming, <[Value]>::is_empty).await.map(drop)
}

/// What a webhook's caller sent is looked at, and delivered again.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_delivery_is_replayed() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["hello"]).await?;
    workspace.webhook("orders", "hello", json!({})).await?;
    let (server, browser) = logged_in(&workspace).await?;
    let call = server.webhook(Method::POST, "orders", "").json(&json!({"order": 7}));
    call.send().await?.error_for_status()?;
    browser.open(&format!("{}/ui", server.url())).await?;
    browser.click("nav a", "Webhooks").await?;
    browser.click("tbody th a", "orders").await?;
    browser.click("#calls th a", "POST").await?;
    browser.until_text("[aria-labelledby=h-request]", "\"order\": 7").await?;
    browser.click("button", "Deliver again").await?;
    browser.until_text(".done", "It was started").await?;
    browser.until_text(".standing .status", "Succeeded").await?;
    browser.click(".crumbs a", "orders").await?;
    browser.until_count("#calls tbody tr", 2).await
}

/// An upgrade check fails while somebody watches; the cause is three clicks from the overview.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_upgrade_check_is_watched_and_its_cause_found_in_three_clicks() -> Result<()> {
    let (workspace, targets) = (Workspace::open()?, Targets::start().await?);
    workspace.prepare_upgrade_check(&targets).await?;
    workspace.run("upgrade-safely", json!({})).await?;
    workspace.break_one(&targets, "smtp").await?;
    let (_server, browser) = logged_in(&workspace).await?;
    browser.run("window.isTheSamePage = true", json!([])).await?;
    let check = workspace.start("upgrade-safely", json!({})).await?;
    browser.until_text("#overview [aria-labelledby=h-active] tbody", "upgrade-safely").await?;
    workspace.ended(&check).await?;
    browser.until_text("#overview [aria-labelledby=h-failed] tbody", "upgrade-safely").await?;
    ensure!(browser.run("return window.isTheSamePage", json!([])).await? == true, "it was loaded anew");

    browser.click("[aria-labelledby=h-failed] a", "upgrade-safely").await?;
    browser.until_text("[aria-labelledby=h-checks] tbody", "my-smtp-connector").await?;
    browser.until_text("[aria-labelledby=h-since] .tag", "regressed").await?;
    browser.click("[aria-labelledby=h-checks] a", "What it called").await?;
    browser.until_text(".standing .status", "Failed").await?;
    browser.until_text(".box.problem", "").await
}

/// The server goes away and comes back, with the page still open: it says so, and then shows what is.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_that_it_is_stale_and_goes_on_after_a_restart() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["long-sleep"]).await?;
    let id = workspace.start("long-sleep", json!({})).await?;
    let (server, browser) = logged_in(&workspace).await?;
    browser.open(&format!("{}/ui/executions/{id}", server.url())).await?;
    browser.until_text(".standing .status", "Waiting").await?;
    browser.run("window.isTheSamePage = true", json!([])).await?;
    let address = server.url().trim_start_matches("http://").to_owned();
    server.stop().await?;
    let stale = "return !document.querySelector('#stale').hidden";
    browser.until("a word that the page is stale", stale).await?;
    let workspace = workspace.reopen().await?;
    workspace.engine.pause(&id, "somebody").await?;
    let _server = workspace.serve_at(&address, |_| {}).await?;
    browser.until_text(".standing .status", "Paused").await?;
    browser.until("no such word any more", "return document.querySelector('#stale').hidden").await?;
    ensure!(browser.run("return window.isTheSamePage", json!([])).await? == true, "it was loaded anew");
    Ok(())
}

/// Who is logged out elsewhere sees no old page as if it were live: it leads to the login, and from there back.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_session_is_over_leads_to_the_login() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["long-sleep"]).await?;
    let id = workspace.start("long-sleep", json!({})).await?;
    let (server, browser) = logged_in(&workspace).await?;
    browser.open(&format!("{}/ui/executions/{id}", server.url())).await?;
    browser.until_text(".standing .status", "Waiting").await?;
    workspace.engine.end_sessions(USER, "somebody").await?;
    browser.until_text("h1", "Log in").await?;
    browser.write("#name", USER).await?;
    browser.write("#password", PASSWORD).await?;
    browser.click("button", "Log in").await?;
    browser.until_text(".standing .status", "Waiting").await
}

/// What somebody has marked or opened is theirs while the page goes on: it is not exchanged under their hands.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_page_leaves_alone_what_somebody_reads() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["test-guest"]).await?;
    let steps = ["go", "on", "end"].map(|name| json!({"do": "signal", "name": name, "timeout_ms": null}));
    let id = workspace.start("test-guest", json!({"mode": "script", "steps": steps})).await?;
    workspace.until(&id, |row| row["status"] == "WAITING").await?;
    let (server, browser) = logged_in(&workspace).await?;
    browser.open(&format!("{}/ui/executions/{id}/journal", server.url())).await?;
    let rows = |name: &str| format!("return document.querySelector('#journal').textContent.includes('signal {name}')");
    browser.until("the first call", &rows("go")).await?;
    browser.click("#journal summary", "Input").await?;
    let first = "return document.querySelector('#journal details').open";
    let others = "return [...document.querySelectorAll('#journal details')].slice(1).some((one) => one.open)";
    workspace.engine.signal(&id, "go", Value::Null, "somebody", None).await?;
    browser.until("the next call", &rows("on")).await?;
    assert_eq!(browser.run(first, json!([])).await?, true, "what was opened stays open");
    assert_eq!(browser.run(others, json!([])).await?, false, "and nothing else");

    browser.run("getSelection().selectAllChildren(document.querySelector('#journal pre'))", json!([])).await?;
    let marked = browser.run("return getSelection().toString()", json!([])).await?;
    ensure!(marked.as_str().is_some_and(|marked| marked.contains("script")), "{marked}");
    workspace.engine.signal(&id, "on", Value::Null, "somebody", None).await?;
    browser.until_text("#stale", "There is something newer").await?;
    assert_eq!(browser.run("return getSelection().toString()", json!([])).await?, marked);
    browser.run("getSelection().removeAllRanges()", json!([])).await?;
    browser.until("the last call", &rows("end")).await?;
    browser.until("no word that the page is old", "return document.querySelector('#stale').hidden").await.map(drop)
}

/// Without a pointer: into the list, to the second row, into it.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_used_by_keyboard() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["hello"]).await?;
    for round in 0..3 {
        workspace.run("hello", json!({ "round": round })).await?;
    }
    let (server, browser) = logged_in(&workspace).await?;
    browser.open(&format!("{}/ui/executions", server.url())).await?;
    browser.press("jj").await?;
    let second = browser.run("return document.querySelectorAll('tr[data-row] th a')[1].pathname", json!([])).await?;
    browser.press("\u{E007}").await?;
    browser.until_text("h1", "hello").await?;
    assert_eq!(browser.run("return location.pathname", json!([])).await?, second);
    browser.back().await?;
    browser.until_text("h1", "Executions").await?;
    browser.press("/").await?;
    browser.press("status=ENDED_ERROR\u{E007}").await?;
    browser.until_text(".empty h2", "Nothing matches").await
}

/// Much of anything comes in pieces, from which all of it can be reached.
#[tokio::test(flavor = "multi_thread")]
async fn an_execution_with_much_in_it_comes_in_pages() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["test-guest"]).await?;
    let calls = json!({"mode": "flood", "connections": {"connections": 250, "delay_ms": 0}});
    let calls = workspace.run("test-guest", calls).await?;
    let lines = json!({"mode": "flood", "log-lines": {"lines": 1000, "bytes": 20}});
    let lines = workspace.run("test-guest", lines).await?;
    let (server, browser) = logged_in(&workspace).await?;
    let at = |row: &Value, below: &str| format!("{}/ui/executions/{}{below}", server.url(), id(row));
    browser.open(&at(&calls, "")).await?;
    for count in [100, 100, 50] {
        browser.until_count(".timeline tbody tr", count).await?;
        if count == 100 {
            browser.click("a[rel=next]", "Next ones").await?;
        }
    }
    assert_eq!(browser.text("a[rel=next]").await?, None);
    browser.open(&at(&calls, "/journal")).await?;
    let pages =
        "return document.querySelectorAll('tr[data-row]').length <= 100 && document.querySelector('[rel=next]')";
    browser.until("a piece of the journal", pages).await?;
    browser.open(&at(&lines, "/log")).await?;
    for count in [300, 300, 300, 100] {
        browser.until_count(".log tbody tr", count).await?;
        if count == 300 {
            browser.click("a[rel=prev]", "Earlier lines").await?;
        }
    }
    browser.click("a[rel=next]", "Later lines").await?;
    browser.until_count(".log tbody tr", 300).await
}
