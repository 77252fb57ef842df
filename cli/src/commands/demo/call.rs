//! The call of the webhook, over real HTTP, and the checks of its execution as they end.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::WEBHOOK;
use crate::client::{Client, Method, Path};
use crate::commands::webhook;
use crate::follow;
use crate::printer::Printer;
use crate::server::Server;
use crate::settings::Settings;

/// How late a check may be seen.
const CHECK_DELAY: Duration = Duration::from_millis(200);

/// What came of the call.
pub(super) struct Verdict {
    /// The HTTP status.
    pub(super) status: u16,
    /// The execution that answered.
    pub(super) execution_id: String,
    body: String,
    url: String,
    duration: Duration,
    checks: Vec<Value>,
}

/// Where the webhook is called.
pub(super) fn url(server: &Server) -> String {
    format!("{}/api/latest/webhook/{WEBHOOK}/call", server.url())
}

/// Calls the webhook and prints each check as it ends.
pub(super) async fn webhook(server: &Server, client: &Client, key: &str, printer: Printer) -> Result<Verdict> {
    let url = url(server);
    printer.say(format_args!("\nPOST {url}\n"));
    let webhook_id = crate::records::id_of(client, "webhooks", WEBHOOK).await?;
    let before = newest(client, &webhook_id).await?;
    let http = Client::open(PathBuf::new(), Settings::default_ones, Some(&server.url()), None).await?;
    let began = Instant::now();
    let called = async {
        let answer = http.send(webhook::request(WEBHOOK, Method::POST, Some(key), None)).await?;
        let status = answer.status;
        anyhow::Ok((status, answer.bytes().await?, began.elapsed()))
    };
    let mut checks = Checks { printer, seen: Vec::new() };
    let mut called = pin!(called);
    // The checks are only watched; the answer counts.
    let answered = tokio::select! {
        answered = &mut called => answered?,
        watched = checks.watch(client, &webhook_id, before.as_deref()) => {
            watched?;
            called.await?
        }
    };
    let execution_id = newest(client, &webhook_id).await?.filter(|id| Some(id) != before.as_ref()).unwrap_or_default();
    if !execution_id.is_empty() {
        checks.print_new(client, &execution_id).await?;
    }
    let (status, body, duration) = answered;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Verdict { status, execution_id, body, url, duration, checks: checks.seen })
}

/// Prints the answer.
pub(super) fn print(verdict: &Verdict, printer: Printer) -> Result<()> {
    if printer.is_json() {
        let duration_ms = u64::try_from(verdict.duration.as_millis()).unwrap_or(u64::MAX);
        return printer.json(&json!({
            "url": verdict.url, "status": verdict.status, "body": verdict.body, "duration_ms": duration_ms,
            "execution_id": verdict.execution_id, "checks": verdict.checks,
        }));
    }
    printer.line(format_args!("\nHTTP {} after {:.1} s", verdict.status, verdict.duration.as_secs_f64()))?;
    printer.line(&verdict.body)
}

/// The checks that have been seen.
struct Checks {
    printer: Printer,
    seen: Vec<Value>,
}

impl Checks {
    /// Prints checks as they come, until the execution has ended.
    async fn watch(&mut self, client: &Client, webhook_id: &str, before: Option<&str>) -> Result<()> {
        let id = loop {
            match newest(client, webhook_id).await? {
                Some(id) if Some(id.as_str()) != before => break id,
                _ => tokio::time::sleep(CHECK_DELAY).await,
            }
        };
        loop {
            let row = follow::wait(client, &id, CHECK_DELAY).await?;
            self.print_new(client, &id).await?;
            if row["ended_at"].is_string() {
                return Ok(());
            }
        }
    }

    async fn print_new(&mut self, client: &Client, id: &str) -> Result<()> {
        let journal = client.get(Path::api(["executions", id, "journal"])).await?;
        let records = journal["records"].as_array().into_iter().flatten();
        let checks = records.filter(|record| record["kind"] == "check").map(|record| &record["args"]);
        for check in checks.skip(self.seen.len()).cloned().collect::<Vec<_>>() {
            if self.printer.is_json() {
                self.printer.say(check_line(&check));
            } else {
                self.printer.line(check_line(&check))?;
            }
            self.seen.push(check);
        }
        Ok(())
    }
}

fn check_line(check: &Value) -> String {
    let text = |field: &str| check[field].as_str().unwrap_or_default();
    let duration = check["duration_ms"].as_u64().map(|ms| format!("{ms} ms")).unwrap_or_default();
    let line =
        format!("  {:6}{:26}{duration:>9}  {}", text("outcome"), text("name"), text("message").replace('\n', " "));
    line.trim_end().to_owned()
}

/// The webhook's newest execution.
async fn newest(client: &Client, webhook_id: &str) -> Result<Option<String>> {
    let filter = json!({"field": "webhook_id", "op": "eq", "value": webhook_id});
    let page = client.get(Path::api(["executions"]).query("filter", filter).query("limit", 1)).await?;
    Ok(page["rows"][0]["id"].as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_one_line() {
        let check =
            json!({"name": "my-ftp-connector", "outcome": "fail", "message": "refused\nby peer", "duration_ms": 12});
        assert_eq!(check_line(&check), "  fail  my-ftp-connector              12 ms  refused by peer");
        let check = json!({"name": "my-ftp-connector", "outcome": "pass", "message": "", "duration_ms": null});
        assert_eq!(check_line(&check), "  pass  my-ftp-connector");
    }
}
