//! `surefoot system`: what the workspace takes on the disk.

use anyhow::Result;
use serde_json::Value;

use crate::client::Path;
use crate::context::Context;
use crate::exit_codes;
use crate::table::{Column, Shape, cell, plain, time};

/// What is shown, one a line.
const LINES: &[Column] = &[
    bytes("database", "database_bytes"),
    bytes("of that in use", "database_used_bytes"),
    bytes("write-ahead log", "log_bytes"),
    plain("contents of files", "contents"),
    bytes("their size", "contents_bytes"),
    plain("components of flows", "components"),
    bytes("their size", "components_bytes"),
    plain("executions under way", "executions_unended"),
    plain("executions that ended", "executions_ended"),
    plain("executions in the trash", "executions_trashed"),
    time("the oldest ended", "oldest_ended_at"),
];

const fn bytes(title: &'static str, field: &'static str) -> Column {
    Column { title, field, shape: Shape::Bytes }
}

pub(crate) async fn run(context: &Context) -> Result<u8> {
    let system = context.existing().await?.get(Path::api(["system"])).await?;
    let printer = context.printer;
    if printer.is_json() {
        printer.json(&system)?;
        return Ok(exit_codes::SUCCESS);
    }
    let none = Default::default();
    let mut lines: Vec<(String, String)> =
        LINES.iter().map(|line| (line.title.to_owned(), cell(&system, line, &none))).collect();
    lines.push(("what has ended is kept".to_owned(), kept(&system["retention"])));
    lines.push(("the audit log is kept".to_owned(), audit_kept(&system["retention"])));
    printer.pairs(lines)?;
    Ok(exit_codes::SUCCESS)
}

/// The limits, in words.
fn kept(retention: &Value) -> String {
    let days = |field: &str| retention[field].as_u64().map(|seconds| format!("{} days", seconds / (24 * 60 * 60)));
    let executions = retention["executions_max"].as_u64().map(|max| format!("at most {max} executions"));
    let size = retention["bytes_max"]
        .as_u64()
        .map(|_| format!("at most {}", cell(retention, &bytes("", "bytes_max"), &Default::default())));
    let limits: Vec<String> = [days("age_seconds"), executions, size].into_iter().flatten().collect();
    let limits = if limits.is_empty() { "for ever".to_owned() } else { limits.join(", ") };
    match days("trash_age_seconds") {
        Some(days) => format!("{limits}; then in the trash for {days}"),
        None => format!("{limits}; then in the trash"),
    }
}

/// The limit of the audit log, in words.
fn audit_kept(retention: &Value) -> String {
    let days = retention["audit_age_seconds"].as_u64().map(|seconds| seconds / (24 * 60 * 60));
    days.map_or("for ever".to_owned(), |days| format!("{days} days"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_are_told_in_words() {
        let all = json!({"age_seconds": 864_000, "executions_max": 7, "bytes_max": 1_572_864, "trash_age_seconds": 0});
        assert_eq!(kept(&all), "10 days, at most 7 executions, at most 1.5 MiB; then in the trash for 0 days");
        assert_eq!(kept(&json!({})), "for ever; then in the trash");
        assert_eq!(audit_kept(&json!({"audit_age_seconds": 864_000})), "10 days");
        assert_eq!(audit_kept(&json!({})), "for ever");
    }
}
