//! Following an execution until it ends: its log as it comes, and its last row.
//!
//! The server holds each `wait` open until the end, so an end is seen at once; between two of them the log is read
//! again.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::client::{Client, Path};
use crate::exit_codes;
use crate::table;

/// How late a log line may be seen.
const LOG_DELAY: Duration = Duration::from_millis(300);
/// Log lines asked for at a time.
const LINES_MAX: usize = 1000;

/// Follows an execution, also where it continues as new, and gives every log line to `on_line`. Returns the last row.
pub(crate) async fn until_end(
    client: &Client,
    id: &str,
    mut on_line: impl FnMut(&Value) -> Result<()>,
) -> Result<Value> {
    let mut log = Log::of(id);
    loop {
        for line in log.new_lines(client).await? {
            on_line(&line)?;
        }
        let row = wait(client, &log.id, LOG_DELAY).await?;
        // What was written between the read above and the end, or before another execution took over.
        let last = row["id"].as_str().unwrap_or_default();
        let has_ended = row["ended_at"].is_string();
        while has_ended || log.id != last {
            for line in log.new_lines(client).await? {
                on_line(&line)?;
            }
            match successor(client, &log.id).await? {
                Some(next) if log.id != last => log = Log::of(&next),
                _ => break,
            }
        }
        if has_ended {
            return Ok(row);
        }
    }
}

/// The row of an execution, as soon as it has ended, or after `timeout`.
pub(crate) async fn wait(client: &Client, id: &str, timeout: Duration) -> Result<Value> {
    client.get(Path::api(["executions", id, "wait"]).query("timeout_ms", timeout.as_millis())).await
}

/// What the shell is told about a row that has ended.
pub(crate) fn exit_code(row: &Value) -> u8 {
    if row["status"] == "ENDED_SUCCESS" { exit_codes::SUCCESS } else { exit_codes::RUN_FAILED }
}

/// Why an execution ended as it did, for people.
pub(crate) fn outcome(row: &Value) -> String {
    let text = |field: &str| row[field].as_str().unwrap_or_default();
    let (status, code, message) = (text("status"), text("error_code"), text("error_message"));
    let reason = match (code, message) {
        ("", "") => String::new(),
        ("", message) => format!(": {message}"),
        (code, message) => format!(" ({code}): {message}"),
    };
    format!("execution {} ended with {status}{reason}", text("id"))
}

/// An execution for people, on one line: id, status, name, and what it does or why it failed.
pub(crate) fn row_text(row: &Value) -> String {
    let text = |field: &str| row[field].as_str().unwrap_or_default();
    let about = [text("message"), text("error_code"), text("error_message")].map(str::to_owned);
    let about: Vec<String> = about.into_iter().filter(|text| !text.is_empty()).collect();
    let about = if about.is_empty() { String::new() } else { format!("  {}", table::shortened(&about.join(": "))) };
    format!("{}  {:15}  {}{about}", text("id"), text("status"), table::shortened(text("name")))
}

/// One log line for people: time, level, text, fields.
pub(crate) fn line_text(line: &Value) -> String {
    let text = |field: &str| line[field].as_str().unwrap_or_default();
    let time = text("at").split_once('T').map_or("", |(_, time)| time).get(..12).unwrap_or_default();
    let fields = match &line["fields"] {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("  {name}={}", table::text_of(value))).collect()
        }
        _ => String::new(),
    };
    format!("{time} {:5} {}{fields}", text("level").to_uppercase(), text("message"))
}

/// The log of one execution, read from where the last read ended.
pub(crate) struct Log {
    id: String,
    after: Option<(u64, u64)>,
}

impl Log {
    /// From the beginning.
    pub(crate) fn of(id: &str) -> Self {
        Self { id: id.to_owned(), after: None }
    }

    /// All lines that came since the last call.
    pub(crate) async fn new_lines(&mut self, client: &Client) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        loop {
            let path = Path::api(["executions", &self.id, "log"])
                .query_if("after_call", self.after.map(|(call, _)| call))
                .query_if("after_line", self.after.map(|(_, line)| line))
                .query("limit", LINES_MAX);
            let mut page = client.get(path).await?;
            let Value::Array(lines) = page["lines"].take() else { return Ok(all) };
            let count = lines.len();
            if let Some(last) = lines.last() {
                self.after = Some((last["call"].as_u64().unwrap_or(0), last["line"].as_u64().unwrap_or(0)));
            }
            all.extend(lines);
            if count < LINES_MAX {
                return Ok(all);
            }
        }
    }
}

async fn successor(client: &Client, id: &str) -> Result<Option<String>> {
    let row = client.get(Path::api(["executions", id])).await?;
    Ok(row["continued_as"].as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_and_ends_are_readable() {
        let line = json!({
            "at": "2026-01-31T12:34:56.789012Z", "level": "info", "message": "added up", "fields": {"orders": 3},
        });
        assert_eq!(line_text(&line), "12:34:56.789 INFO  added up  orders=3");
        let row = json!({"id": "e", "status": "ENDED_ERROR", "error_code": "trap", "error_message": "unreachable"});
        assert_eq!(outcome(&row), "execution e ended with ENDED_ERROR (trap): unreachable");
        assert_eq!(exit_code(&row), exit_codes::RUN_FAILED);
        let text = row_text(&json!({"id": "e", "status": "RUNNING", "name": "n", "message": "copies"}));
        assert_eq!(text, "e  RUNNING          n  copies");
        assert_eq!(exit_code(&json!({"status": "ENDED_SUCCESS"})), exit_codes::SUCCESS);
    }
}
