//! Settings as locks, with the real binary: flows that hold them, kills, people who look and who take one away.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use surefoot_tests::command::{surefoot, surefoot_json};
use surefoot_tests::server_process::SurefootProcess;

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// A server with the setting `s`, which `test-guest` locks.
    async fn serve(&self) -> Result<SurefootProcess> {
        let server = SurefootProcess::start(&self.data()).await?;
        server.deploy("test-guest").await?;
        server.save("settings/s", json!({"value": 1})).await?;
        Ok(server)
    }

    fn locked_by(&self) -> Result<Value> {
        Ok(surefoot_json(&self.data(), &["setting", "show", "s"])?["locked_by"].clone())
    }
}

/// Runs these steps until it waits.
async fn start(server: &SurefootProcess, steps: Value) -> Result<String> {
    let id = server.run("test-guest", json!({"mode": "script", "steps": steps})).await?;
    let waits = |_, row: &Value| row["status"] == "WAITING";
    server.until(Method::GET, &format!("executions/{id}"), None, waits).await?;
    Ok(id)
}

async fn go(server: &SurefootProcess, id: &str) -> Result<()> {
    server.api(Method::POST, &format!("executions/{id}/signals/go"), Some(json!({}))).await.map(drop)
}

fn caught(step: Value) -> Value {
    json!({"do": "caught", "step": step})
}

fn hold_until_told() -> Value {
    let unlock = caught(json!({"do": "unlock", "setting": "s"}));
    json!([{"do": "lock", "setting": "s"}, {"do": "signal", "name": "go"}, unlock])
}

fn hold_once() -> Value {
    json!([{"do": "locked", "setting": "s", "steps": [{"do": "save", "setting": "s", "value": 2}]}])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_and_its_line_outlive_a_kill_and_others_cannot_change_the_setting() -> Result<()> {
    let scene = Scene::new()?;
    let server = scene.serve().await?;
    let holder = start(&server, hold_until_told()).await?;
    let waiting = start(&server, hold_once()).await?;
    server.kill().await?;

    let server = SurefootProcess::start(&scene.data()).await?;
    let locked_by = scene.locked_by()?;
    ensure!(locked_by["execution_id"] == json!(holder) && locked_by["waiters"] == 1, "{locked_by}");
    let row = server.api(Method::GET, &format!("executions/{waiting}"), None).await?;
    ensure!(row["message"] == "waits for the lock `s`" && row["started_at"].is_string(), "{row:#}");
    let filter = r#"{"field": "locked_by", "op": "is_null", "value": false}"#;
    let listed = surefoot(&scene.data(), &["setting", "list", "--filter", filter])?;
    ensure!(listed.code == 0 && listed.stdout.contains(&holder), "{listed:?}");
    for arguments in [&["setting", "set", "s", "3"][..], &["setting", "remove", "s"]] {
        let refused = surefoot(&scene.data(), arguments)?;
        let says = format!("is locked by execution {holder}");
        ensure!(refused.code == 64 && refused.stderr.contains(&says), "{refused:?}");
    }
    let save = caught(json!({"do": "save", "setting": "s", "value": 3}));
    let intruder = json!([save, caught(json!({"do": "lock", "setting": "s", "timeout_ms": 20}))]);
    let intruder = server.run("test-guest", json!({"mode": "script", "steps": intruder})).await?;
    let output = server.ended(&intruder).await?["output"].clone();
    ensure!(output[0]["error"] == "conflict" && output[1]["error"] == "lock_timeout", "{output:#}");

    go(&server, &holder).await?;
    let (held, waited) = (server.ended(&holder).await?, server.ended(&waiting).await?);
    ensure!(held["output"] == json!([null, null, null]), "{held:#}");
    ensure!(waited["output"] == json!([[null]]) && scene.locked_by()?.is_null(), "{waited:#}");
    ensure!(surefoot_json(&scene.data(), &["setting", "show", "s"])?["value"] == 2);
    Ok(())
}

/// Where the value of the SDK goes out of scope, and where it is unlocked although another has the lock by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_given_up_out_of_scope_and_taken_away_by_command() -> Result<()> {
    let scene = Scene::new()?;
    let server = scene.serve().await?;
    let steps = json!([hold_once()[0], caught(json!({"do": "unlock", "setting": "s"}))]);
    let id = server.run("test-guest", json!({"mode": "script", "steps": steps})).await?;
    let output = server.ended(&id).await?["output"].clone();
    ensure!(output[0] == json!([null]) && output[1]["error"] == "conflict", "{output:#}");
    ensure!(server.journal(&id).await?.iter().filter(|record| record["kind"] == "unlock").count() == 2);

    let holder = start(&server, hold_until_told()).await?;
    let waiting = start(&server, hold_until_told()).await?;
    let unlocked = surefoot_json(&scene.data(), &["setting", "unlock", "s"])?;
    ensure!(unlocked["locked_by"]["execution_id"] == json!(waiting), "{unlocked:#}");
    for (id, error) in [(&holder, json!("conflict")), (&waiting, Value::Null)] {
        go(&server, id).await?;
        let output = server.ended(id).await?["output"].clone();
        ensure!(output[2]["error"] == error, "{output:#}");
    }
    let nothing = surefoot(&scene.data(), &["setting", "unlock", "s"])?;
    ensure!(nothing.code == 64 && nothing.stderr.contains("not locked"), "{nothing:?}");
    let filter = r#"{"field": "action", "op": "eq", "value": "unlock"}"#;
    let audit = surefoot_json(&scene.data(), &["audit", "list", "--filter", filter])?;
    ensure!(audit[0]["action"] == "unlock" && audit[0]["record_name"] == "s", "{audit:#}");
    Ok(())
}

/// Who held a lock when the backup was made holds it in the restored workspace, and gives it on when it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_holder_holds_until_it_goes_on() -> Result<()> {
    let scene = Scene::new()?;
    let server = scene.serve().await?;
    let holder = start(&server, hold_until_told()).await?;
    let waiting = start(&server, hold_once()).await?;
    let (backup, restored) = (scene.path("backup"), scene.path("restored"));
    let text = |path: &PathBuf| path.to_str().map(str::to_owned).context("a plain path");
    surefoot_json(&scene.data(), &["backup", &text(&backup)?])?;
    ensure!(server.stop().await? == Some(0));
    surefoot_json(&restored, &["restore", &text(&backup)?])?;
    let server = SurefootProcess::start(&restored).await?;
    let setting = server.api(Method::GET, "settings/s", None).await?;
    ensure!(setting["locked_by"]["execution_id"] == json!(holder), "{setting:#}");
    go(&server, &holder).await?;
    surefoot_json(&restored, &["execution", "resume", "--restored"])?;
    for id in [&holder, &waiting] {
        let row = server.ended(id).await?;
        ensure!(row["status"] == "ENDED_SUCCESS", "{row:#}");
    }
    Ok(())
}

/// Damage that nothing but a broken disk or hand makes: the holder is gone, or nobody is. Who waits gets the lock.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_finds_and_mends_a_lock_that_nobody_would_give_on() -> Result<()> {
    for (damage, code) in [
        ("UPDATE locks SET execution = 9999 WHERE place = 1", "lock_superfluous"),
        ("DELETE FROM locks WHERE place = 1", "lock_not_given"),
    ] {
        let scene = Scene::new()?;
        let server = scene.serve().await?;
        let holder = start(&server, hold_until_told()).await?;
        let waiting = start(&server, hold_once()).await?;
        let noted = surefoot_json(&scene.data(), &["doctor"])?;
        let findings = noted["findings"].as_array().context("findings")?;
        let waits = findings.iter().find(|finding| finding["code"] == "waiting_for_lock").context("who waits")?;
        ensure!(waits["message"].as_str().is_some_and(|text| text.contains(&holder)), "{waits:#}");
        ensure!(server.stop().await? == Some(0));
        Connection::open(scene.data().join("surefoot.db"))?.execute_batch(damage)?;
        let found = surefoot(&scene.data(), &["doctor"])?;
        ensure!(found.code == 1 && found.stdout.contains(code), "{found:?}");
        let mended = surefoot(&scene.data(), &["doctor", "--repair"])?;
        ensure!(mended.code == 0, "{mended:?}");
        let server = SurefootProcess::start(&scene.data()).await?;
        let row = server.ended(&waiting).await?;
        ensure!(row["output"] == json!([[null]]), "{row:#}");
    }
    Ok(())
}
