//! Hostile names, wherever a flow may name something: refused with a reason, or not found, and shown in part only.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{ensure_at_work, workspace};

/// Names, and whether a record may have them.
fn names() -> Vec<(String, bool)> {
    let mut names: Vec<(String, bool)> = ["", " ", ".", "..", "a\0b", "a\nb", "\u{1b}[2J", " padded ", "\u{7f}"]
        .into_iter()
        .map(|name| (name.to_owned(), false))
        .collect();
    names.extend(
        [
            "\u{202e}txt.exe",
            "../../etc/passwd",
            "/etc/passwd",
            "native:cron",
            "type:echo",
            "a'; DROP TABLE records; --",
        ]
        .into_iter()
        .map(|name| (name.to_owned(), true)),
    );
    names.push(("ö".repeat(256), true));
    names.push(("x".repeat(257), false));
    names.push(("x".repeat(1 << 20), false));
    names
}

/// A schedule's name is given by the flow.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_saved_under_a_name_that_can_be_shown_or_not_at_all() -> Result<()> {
    let workspace = workspace().await?;
    let mut fields = workspace.prepare_scheduler(json!({})).await?;
    fields["is_enabled"] = false.into();
    for (name, is_allowed) in names() {
        let shown: String = name.chars().take(40).collect();
        let input = json!({"mode": "save-schedule", "name": name, "fields": fields});
        let row = workspace.run("test-guest", input).await?;
        if is_allowed {
            assert_eq!(row["status"], "ENDED_SUCCESS", "{shown:?}: {row:#}");
        } else {
            assert_eq!(row["error_code"], "invalid_input", "{shown:?}: {}", row["error_message"]);
            assert!(row["error_message"].as_str().unwrap().len() < 500, "{shown:?}");
        }
    }
    // Path-like names stay names.
    let folder = workspace.engine.data().parent().unwrap();
    assert!(!folder.join("etc").exists());
    ensure_at_work(&workspace).await
}

/// Flows, connectors, connector types, files, fields and kinds that do not exist.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_hostile_name_is_not_found() -> Result<()> {
    let workspace = workspace().await?;
    for (name, _) in names() {
        let asks: [(Value, &[&str]); 5] = [
            (json!({"mode": "child", "flow": name, "inputs": {}}), &["not_found"]),
            (json!({"mode": "connect", "connector": name, "inputs": {}}), &["not_found", ""]),
            (json!({"mode": "connect", "connector": format!("type:{name}"), "inputs": {}}), &["not_found"]),
            (json!({"mode": "connect", "connector": "type:echo", "inputs": {&name: 1}}), &["extra_input"]),
            (json!({"mode": "get", "field": name}), &["invalid_input"]),
        ];
        for (ask, codes) in asks {
            let row = workspace.run("test-guest", ask.clone()).await?;
            let code = row["error_code"].as_str().unwrap();
            let shown: String = ask.to_string().chars().take(120).collect();
            assert!(codes.contains(&code), "{shown}: {code}: {:.300}", row["error_message"].to_string());
        }
    }
    ensure_at_work(&workspace).await
}
