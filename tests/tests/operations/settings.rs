//! `surefoot config`, the settings file, and where a server must not listen.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use surefoot_tests::command::{command, surefoot, surefoot_json};

fn file(data: &Path, text: &str) -> Result<()> {
    std::fs::create_dir_all(data)?;
    Ok(std::fs::write(data.join("surefoot.toml"), text)?)
}

fn entry<'a>(all: &'a Value, key: &str) -> Result<&'a Value> {
    let found = all.as_array().into_iter().flatten().find(|entry| entry["key"] == key);
    found.with_context(|| format!("{key} is not in {all:#}"))
}

#[test]
fn each_value_is_shown_with_its_source() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    file(&data, "[server]\nlisten = \"127.0.0.1:1\"\nhosts = [\"a.example\"]\n[limits]\nheaders_max = 7\n")?;
    let arguments = ["config", "--listen", "127.0.0.1:2", "--insecure-http", "--output", "json"];
    let output = command(&data, &arguments)?.env("SUREFOOT_LIMITS_HEADERS_MAX", "8").output()?;
    let all: Value = serde_json::from_slice(&output.stdout)?;
    for (key, value, source, line) in [
        ("server.listen", json!("127.0.0.1:2"), "option", Value::Null),
        ("server.insecure_http", json!(true), "option", Value::Null),
        ("server.hosts", json!(["a.example"]), "file", json!(3)),
        ("limits.headers_max", json!(8), "environment", Value::Null),
        ("limits.body_bytes_max", json!(16 << 20), "default", Value::Null),
    ] {
        let shown = entry(&all, key)?;
        ensure!((&shown["value"], &shown["line"]) == (&value, &line) && shown["source"] == source, "{shown:#}");
    }
    let table = surefoot(&data, &["config"])?;
    let line = table.stdout.lines().find(|line| line.starts_with("server.listen")).context("the key has a line")?;
    ensure!(line.contains("127.0.0.1:1") && line.contains("surefoot.toml:2"), "{line}");

    file(&elsewhere(folder.path()), "[server]\nlisten = \"127.0.0.1:3\"\n")?;
    let chosen = elsewhere(folder.path()).join("surefoot.toml");
    let chosen = chosen.to_str().context("a path")?;
    let all = surefoot_json(&data, &["config", "--config", chosen])?;
    ensure!(entry(&all, "server.listen")?["value"] == "127.0.0.1:3", "{all:#}");
    let output = command(&data, &["config", "--output", "json"])?.env("SUREFOOT_CONFIG", chosen).output()?;
    ensure!(serde_json::from_slice::<Value>(&output.stdout)? == all);
    Ok(())
}

fn elsewhere(folder: &Path) -> std::path::PathBuf {
    folder.join("elsewhere")
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_what_to_write() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    for (text, says) in [
        ("[server]\nlisen = \"a\"\n", &["line 2", "`server.lisen`", "Did you mean `server.listen`?"][..]),
        ("[limit]\nheaders_max = 1\n", &["line 1", "`limit.headers_max`", "`limits.headers_max`"]),
        ("[server]\nlisten = 7\n", &["`server.listen`", "surefoot.toml:2", "expected a string"]),
        ("[server\n", &["line 1"]),
        ("[tls]\nkey = \"k\"\n", &["`tls.certificate` and `tls.key` belong together"]),
        ("[tls]\nkey = \"k\"\ncertificate = \"/none.pem\"\n", &["/none.pem", "PEM"]),
    ] {
        file(&data, text)?;
        let ran = surefoot(&data, &["serve"])?;
        ensure!(ran.code == 64, "{text}: {ran:?}");
        for part in says {
            ensure!(ran.stderr.contains(part), "`{part}` is not in {}", ran.stderr);
        }
    }
    Ok(())
}

#[test]
fn beyond_the_loopback_nothing_is_served_in_the_open() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let ran = surefoot(&data, &["serve", "--listen", "0.0.0.0:0"])?;
    ensure!(ran.code == 64 && ran.stderr.contains("without TLS"), "{ran:?}");
    for option in ["--tls-certificate", "--trusted-proxy", "--insecure-http"] {
        ensure!(ran.stderr.contains(option), "{}", ran.stderr);
    }
    ensure!(!data.exists(), "nothing was begun");
    Ok(())
}

#[test]
fn the_reference_of_the_settings_is_fresh() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let reference = surefoot(folder.path(), &["config", "--reference"])?.stdout;
    let document = std::fs::read_to_string(xtask::repo::root().join(xtask::repo::SETTINGS_REFERENCE))?;
    ensure!(document == reference, "it is stale: run `cargo xtask generate`");
    Ok(())
}
