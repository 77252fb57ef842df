//! A real Chromium, driven over WebDriver through Debian's `chromium-driver`: what people do with the pages, and what
//! they see then.
//!
//! WebDriver is a few JSON documents over HTTP, of which the tests need six. The crates that speak all of it either
//! order the members of every JSON document of this workspace differently, by a feature that Cargo unifies, or bring a
//! second HTTP stack.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::workspace::PATIENCE;

/// What a browser does not do here: ask anybody but this machine for anything.
const ARGUMENTS: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
];

/// How a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Of the window, in CSS pixels.
    pub width: u32,
    /// `light` or `dark`.
    pub theme: &'static str,
}

impl Look {
    /// On a desk, by day.
    pub const LIGHT: Self = Self { width: 1280, theme: "light" };
    /// On a desk, by night.
    pub const DARK: Self = Self { width: 1280, theme: "dark" };
    /// On a small phone.
    pub const NARROW: Self = Self { width: 360, theme: "light" };
}

/// See the module. It and all that it started end when this is dropped.
pub struct Browser {
    _driver: Child,
    /// What the driver says goes there; it would end with nobody to say it to.
    _said: Lines<BufReader<ChildStdout>>,
    client: Client,
    /// The address of the session.
    session: String,
}

impl Browser {
    /// Starts one, with a profile of its own.
    ///
    /// # Errors
    /// When Chromium or its driver is missing, or user namespaces are not allowed.
    pub async fn start() -> Result<Self> {
        // In a namespace of its own nothing outlives it: the driver's end is the end of everything in there.
        let mut command = Command::new("unshare");
        command.args([
            "--map-root-user",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "chromedriver",
            "--port=0",
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut driver = command.spawn().context("cannot start unshare, of the package util-linux")?;
        let mut lines = BufReader::new(driver.stdout.take().context("stdout is piped")?).lines();
        let mut port = None;
        while let Some(line) = lines.next_line().await? {
            port =
                line.rsplit_once("on port ").filter(|_| line.contains("successfully")).map(|(_, port)| port.to_owned());
            if port.is_some() {
                break;
            }
        }
        let port = port.context("chromedriver does not start: `cargo xtask setup` installs chromium-driver")?;
        let client = Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let base = format!("http://127.0.0.1:{}", port.trim_end_matches('.'));
        let wanted = json!({"browserName": "chrome", "goog:chromeOptions": {"args": ARGUMENTS}});
        let made = said(client.post(format!("{base}/session")).json(&json!({"capabilities": {"alwaysMatch": wanted}})))
            .await?;
        let id = made["sessionId"].as_str().context("a session has an id")?;
        let browser = Self { session: format!("{base}/session/{id}"), _driver: driver, _said: lines, client };
        browser.look(Look::LIGHT).await?;
        Ok(browser)
    }

    async fn command(&self, path: &str, body: Value) -> Result<Value> {
        said(self.client.post(format!("{}/{path}", self.session)).json(&body)).await
    }

    /// A command of the DevTools protocol, for what WebDriver has not.
    async fn devtools(&self, name: &str, params: Value) -> Result<Value> {
        self.command("goog/cdp/execute", json!({"cmd": name, "params": params})).await
    }

    /// Looks at pages that way from now on.
    pub async fn look(&self, look: Look) -> Result<()> {
        let size = json!({"width": look.width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await?;
        let theme = json!({"features": [{"name": "prefers-color-scheme", "value": look.theme}]});
        self.devtools("Emulation.setEmulatedMedia", theme).await?;
        Ok(())
    }

    /// Goes to an address, and waits until the page is there.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.command("url", json!({ "url": url })).await.map(drop)
    }

    /// Goes back to the page before.
    pub async fn back(&self) -> Result<()> {
        self.command("back", json!({})).await.map(drop)
    }

    /// Runs a script in the page: the body of a function, with `arguments`. A promise that it returns is waited for.
    pub async fn run(&self, script: &str, arguments: Value) -> Result<Value> {
        self.command("execute/sync", json!({"script": script, "args": arguments})).await
    }

    /// The text of the first thing that a selector finds, as people read it; none where there is nothing.
    pub async fn text(&self, selector: &str) -> Result<Option<String>> {
        let script = "const found = document.querySelector(arguments[0]); return found && found.innerText.trim()";
        Ok(self.run(script, json!([selector])).await?.as_str().map(str::to_owned))
    }

    /// Clicks what a selector finds and, if a text is given, has that text: as people do, where it can be seen. A page
    /// that is live may exchange it meanwhile; then what took its place is clicked.
    pub async fn click(&self, selector: &str, text: &str) -> Result<()> {
        let script = "return [...document.querySelectorAll(arguments[0])]
            .find((one) => one.checkVisibility() && one.textContent.includes(arguments[1]))";
        loop {
            let found = self.until_some(&format!("{selector} with `{text}`"), script, json!([selector, text])).await?;
            match self.command(&format!("element/{}/click", element(&found)?), json!({})).await {
                Err(error) if error.to_string().contains("stale element") => {}
                clicked => return clicked.map(drop),
            }
        }
    }

    /// Writes into the field that a selector finds, key by key, in place of what is there.
    pub async fn write(&self, selector: &str, text: &str) -> Result<()> {
        let found = self.command("element", json!({"using": "css selector", "value": selector})).await?;
        let element = element(&found)?;
        self.command(&format!("element/{element}/clear"), json!({})).await?;
        self.command(&format!("element/{element}/value"), json!({ "text": text })).await.map(drop)
    }

    /// Presses keys where the focus is.
    pub async fn press(&self, keys: &str) -> Result<()> {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})])
            .collect();
        self.command("actions", json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]})).await.map(drop)
    }

    /// Waits until a script returns something that counts as true.
    pub async fn until(&self, what: &str, script: &str) -> Result<Value> {
        self.until_some(what, script, json!([])).await
    }

    /// Waits until a page says that.
    pub async fn until_text(&self, selector: &str, text: &str) -> Result<()> {
        let script = "return [...document.querySelectorAll(arguments[0])]
            .some((one) => one.textContent.includes(arguments[1]))";
        self.until_some(&format!("{selector} with `{text}`"), script, json!([selector, text])).await.map(drop)
    }

    /// Waits until a selector finds that many.
    pub async fn until_count(&self, selector: &str, count: usize) -> Result<()> {
        let script = "return document.querySelectorAll(arguments[0]).length === arguments[1]";
        self.until_some(&format!("{count} of {selector}"), script, json!([selector, count])).await.map(drop)
    }

    async fn until_some(&self, what: &str, script: &str, arguments: Value) -> Result<Value> {
        let waiting = async {
            loop {
                // While another page comes, there is none to look at.
                let found = self.run(script, arguments.clone()).await.unwrap_or_default();
                if !(found.is_null() || found == false || found == "" || found == 0) {
                    return found;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(found) => Ok(found),
            Err(_) => {
                let page = self.run("return location.href + '\\n' + document.body.innerText", json!([])).await?;
                anyhow::bail!("there is never {what}; the page is {}", page.as_str().unwrap_or_default())
            }
        }
    }

    /// The page from its top to its end, as a PNG.
    pub async fn screenshot(&self) -> Result<Vec<u8>> {
        let shot = self.devtools("Page.captureScreenshot", json!({"captureBeyondViewport": true})).await?;
        Ok(STANDARD.decode(shot["data"].as_str().context("a picture")?)?)
    }

    /// What axe-core finds wrong with the page, a line each: the rule, and where.
    ///
    /// # Errors
    /// When `axe` is not the script of axe-core.
    pub async fn axe(&self, axe: &Path) -> Result<Vec<String>> {
        let script = std::fs::read_to_string(axe).with_context(|| format!("cannot read {}", axe.display()))?;
        self.run(&format!("{script}; return true"), json!([])).await?;
        let rules = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']";
        let found = self
            .run(
                &format!("return axe.run(document, {{runOnly: {rules}}}).then((found) => found.violations)"),
                json!([]),
            )
            .await?;
        let found = found.as_array().context("axe-core answers a list")?;
        let nodes = |rule: &Value| {
            let nodes = rule["nodes"].as_array().into_iter().flatten();
            nodes
                .map(|node| format!("{} at {}: {}", rule["id"], node["target"], node["failureSummary"]))
                .collect::<Vec<_>>()
        };
        Ok(found.iter().flat_map(nodes).collect())
    }
}

/// The reference of an element in what the driver says.
fn element(found: &Value) -> Result<&str> {
    found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str).context("it is an element")
}

/// What the driver says to a command.
async fn said(request: reqwest::RequestBuilder) -> Result<Value> {
    let response = request.send().await?;
    let status = response.status();
    let mut body: Value = response.json().await?;
    let value = body["value"].take();
    ensure!(status.is_success(), "the browser refuses: {} {}", value["error"], value["message"]);
    Ok(value)
}
