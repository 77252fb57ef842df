//! Backups with the real binary: made while executions run, cut off, restored elsewhere.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use surefoot_fixtures::{System, Targets};
use surefoot_tests::command::{command, surefoot, surefoot_json};
use surefoot_tests::namespace::Namespace;
use surefoot_tests::server_process::SurefootProcess;

/// Executions of each sort.
const EXECUTIONS: usize = 50;

/// A folder for workspaces and backups.
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

    /// A server on the workspace `data`, with the guest of the tests.
    async fn serve(&self) -> Result<SurefootProcess> {
        let server = SurefootProcess::start(&self.path("data")).await?;
        server.deploy_component("guest", std::fs::read(xtask::flows::component("test-guest")?)?).await?;
        Ok(server)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

fn script(steps: Value) -> Value {
    json!({"mode": "script", "steps": steps})
}

/// Sends a mail, which is a write, and waits for a signal.
async fn start_mailers(server: &SurefootProcess, targets: &Targets) -> Result<Vec<String>> {
    let config = json!({"type": "smtp", "config": targets.connection(System::Smtp)?});
    server.save("connectors/mail", config).await?;
    let mut ids = Vec::new();
    for number in 0..EXECUTIONS {
        let mail = json!({"from": "a@example.com", "to": "b@example.com", "subject": number.to_string(), "text": "x"});
        let steps = json!([
            {"do": "connect", "connector": "mail", "inputs": mail},
            {"do": "signal", "name": "go"},
        ]);
        ids.push(server.run("guest", script(steps)).await?);
    }
    for id in &ids {
        let waits = |_, said: &Value| {
            said["records"].as_array().is_some_and(|records| records.iter().any(|it| it["kind"] == "wait_signal"))
        };
        server.until(Method::GET, &format!("executions/{id}/journal"), None, waits).await?;
    }
    Ok(ids)
}

/// Calls and sleeps, many times over.
async fn start_busy(server: &SurefootProcess) -> Result<Vec<String>> {
    let call = json!({"do": "connect", "connector": "type:echo", "inputs": {"value": 1, "delay_ms": 5}});
    let steps: Vec<Value> = (0..20).flat_map(|_| [call.clone(), json!({"do": "sleep", "ms": 30})]).collect();
    let mut ids = Vec::new();
    for _ in 0..EXECUTIONS {
        ids.push(server.run("guest", script(json!(steps))).await?);
    }
    Ok(ids)
}

/// Backed up while a hundred executions are under way, and restored elsewhere: all of them are paused, go on when they
/// are told to, and end right; no mail is sent twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_restored_and_its_executions_finish() -> Result<()> {
    let (scene, targets) = (Scene::new()?, Targets::start().await?);
    let server = scene.serve().await?;
    let mailers = start_mailers(&server, &targets).await?;
    let busy = start_busy(&server).await?;
    let made = surefoot_json(&scene.path("data"), &["backup", text(&scene.path("backup"))])?;
    assert_eq!(made["manifest"]["missing"], json!([]));
    server.kill().await?;

    let elsewhere = scene.path("elsewhere");
    let restored = surefoot_json(&elsewhere, &["restore", text(&scene.path("backup"))])?;
    assert!(restored["executions"].as_u64().context("a number")? >= EXECUTIONS as u64, "{restored}");
    let server = SurefootProcess::start(&elsewhere).await?;
    for id in &mailers {
        let row = server.api(Method::GET, &format!("executions/{id}"), None).await?;
        assert_eq!((&row["status"], &row["message"]), (&json!("PAUSED"), &json!("restored")), "{row}");
    }
    let resumed = surefoot_json(&elsewhere, &["execution", "resume", "--restored"])?;
    assert_eq!(resumed["resumed"], restored["executions"]);
    for id in &mailers {
        server.api(Method::POST, &format!("executions/{id}/signals/go"), Some(json!({"payload": 7}))).await?;
    }
    for id in mailers.iter().chain(&busy) {
        let row = server.ended(id).await?;
        assert_eq!(row["status"], "ENDED_SUCCESS", "{row:#}");
    }
    assert_eq!(targets.smtp.mails().len(), EXECUTIONS, "each mail is sent once, before the backup or after it");
    server.kill().await
}

/// What is in a backup is the owner's alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_for_its_owner_alone_and_made_on_the_spot_only() -> Result<()> {
    let scene = Scene::new()?;
    let server = scene.serve().await?;
    server.ended(&server.run("guest", script(json!([{"do": "write", "file": "f", "content": "x"}]))).await?).await?;
    std::fs::write(scene.path("data").join("surefoot.toml"), "[egress]\nallow = []\n")?;
    surefoot_json(&scene.path("data"), &["backup", text(&scene.path("backup"))])?;
    let mode = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o777);
    for file in ["surefoot.db", "surefoot.db-wal"] {
        assert_eq!(mode(&scene.path("data").join(file))?, 0o600, "{file} of the workspace itself");
    }
    assert_eq!(mode(&scene.path("backup"))?, 0o700);
    let files = xtask::repo::files_under(&scene.path("backup"))?;
    for file in &files {
        assert_eq!(mode(&scene.path("backup").join(file))?, 0o600, "{}", file.display());
    }
    let has = |name: &str| files.iter().any(|file| file.starts_with(name));
    for name in ["surefoot.db", "key", "surefoot.toml", "backup.json", "blobs", "components"] {
        assert!(has(name), "{name} is not in {files:?}");
    }
    assert!(!has("token"), "the token of a server is not what its workspace is made of");

    let refused = server.api(Method::POST, "system/backup", Some(json!({"to": "/somewhere"}))).await.unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");
    let again = surefoot(&scene.path("data"), &["backup", text(&scene.path("backup"))])?;
    assert!(again.code == 64 && again.stderr.contains("is there already"), "{again:?}");
    let inside = scene.path("data").join("blobs/x");
    let inside = surefoot(&scene.path("data"), &["backup", text(&inside)])?;
    assert!(inside.code == 64 && inside.stderr.contains("lies in the data folder"), "{inside:?}");
    server.kill().await
}

/// Without a server, and without a name for the backup.
#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_is_not_served_is_backed_up_too() -> Result<()> {
    let scene = Scene::new()?;
    let data = scene.path("data");
    surefoot_json(&data, &["setting", "set", "s", "1"])?;
    let made = surefoot_json(&data, &["backup"])?;
    let path = made["path"].as_str().context("a path")?;
    assert!(Path::new(path).starts_with(data.join("backups")), "{path}");
    surefoot_json(&scene.path("elsewhere"), &["restore", path])?;
    assert_eq!(surefoot_json(&scene.path("elsewhere"), &["setting", "show", "s"])?["value"], 1);
    Ok(())
}

/// A backup that lacks what its database names says so, and is kept for what it has.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_backup_lacks_is_named() -> Result<()> {
    let scene = Scene::new()?;
    let server = scene.serve().await?;
    server.ended(&server.run("guest", script(json!([{"do": "write", "file": "f", "content": "x"}]))).await?).await?;
    let blobs = scene.path("data").join("blobs");
    let blob = xtask::repo::files_under(&blobs)?.pop().context("a content")?;
    let blob = blobs.join(blob);
    for says in ["damaged", "missing"] {
        if says == "damaged" {
            std::fs::write(&blob, "y")?
        } else {
            std::fs::remove_file(&blob)?
        }
        let (backup, elsewhere) = (scene.path(&format!("backup-{says}")), scene.path(&format!("elsewhere-{says}")));
        let ran = surefoot(&scene.path("data"), &["backup", text(&backup)])?;
        assert!(ran.code == 1 && ran.stderr.contains(&format!("named by file `f`: it is {says}")), "{ran:?}");
        let restored = surefoot_json(&elsewhere, &["restore", text(&backup)])?;
        assert_eq!(restored["missing"].as_array().map(Vec::len), Some(1), "{restored:#}");
    }
    server.kill().await
}

/// `kill -9` in the middle of a backup: nothing has its name, what is left cannot be restored, and the next backup of
/// that name succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_cut_off_is_no_backup() -> Result<()> {
    let scene = Scene::new()?;
    let data = scene.path("data");
    let server = scene.serve().await?;
    for number in 0..20 {
        let value = json!({"value": number.to_string().repeat(1 << 20)});
        server.save(&format!("settings/s{number}"), value).await?;
    }
    let (backup, part) = (scene.path("backup"), scene.path("backup.part"));
    let mut client = command(&data, &["backup", text(&backup)])?.stderr(std::process::Stdio::null()).spawn()?;
    while !part.join("surefoot.db").exists() {
        ensure!(!backup.exists(), "the backup was made before it could be cut off");
        ensure!(client.try_wait()?.is_none(), "the backup ended before it could be cut off");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.kill().await?;
    assert_ne!(client.wait()?.code(), Some(0));
    assert!(!backup.exists() && part.exists());
    let ran = surefoot(&scene.path("elsewhere"), &["restore", text(&part)])?;
    assert!(ran.code == 64 && ran.stderr.contains("is not a backup"), "{ran:?}");
    assert!(!scene.path("elsewhere").exists());
    surefoot_json(&data, &["backup", text(&backup)])?;
    assert!(backup.exists() && !part.exists());
    surefoot_json(&scene.path("elsewhere"), &["restore", text(&backup)])?;
    Ok(())
}

/// A backup that is not whole, or a folder that is not empty: nothing is made, and the file is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_refused_by_name() -> Result<()> {
    let scene = Scene::new()?;
    let (data, backup, elsewhere) = (scene.path("data"), scene.path("backup"), scene.path("elsewhere"));
    surefoot_json(&data, &["setting", "set", "s", "1"])?;
    surefoot_json(&data, &["backup", text(&backup)])?;
    let refused = |says: &str| -> Result<()> {
        let ran = surefoot(&elsewhere, &["restore", text(&backup)])?;
        ensure!(ran.code == 64 && ran.stderr.contains(says), "`{says}` is not in {ran:?}");
        Ok(())
    };
    std::fs::create_dir(&elsewhere)?;
    std::fs::write(elsewhere.join("mine"), "")?;
    refused("is not empty")?;
    std::fs::remove_file(elsewhere.join("mine"))?;
    let mend = "bring the file from another copy of this backup, or restore another backup";
    for (file, bytes) in [("key", &[7_u8; 32][..]), ("surefoot.db", b"SQLite format 3\0"), ("backup.json", b"{}")] {
        let whole = std::fs::read(backup.join(file))?;
        std::fs::write(backup.join(file), bytes)?;
        refused(&format!("{file} is"))?;
        refused(mend)?;
        std::fs::remove_file(backup.join(file))?;
        refused(if file == "backup.json" { "is not a backup" } else { file })?;
        std::fs::write(backup.join(file), whole)?;
    }
    let manifest: Value = serde_json::from_slice(&std::fs::read(backup.join("backup.json"))?)?;
    for (field, says) in [("format", "format 99, newer"), ("database_format", "format 99, newer")] {
        let mut newer = manifest.clone();
        newer[field] = json!(99);
        std::fs::write(backup.join("backup.json"), newer.to_string())?;
        refused(says)?;
    }
    std::fs::write(backup.join("backup.json"), manifest.to_string())?;
    assert_eq!(std::fs::read_dir(&elsewhere)?.count(), 0);
    surefoot_json(&elsewhere, &["restore", text(&backup)])?;
    Ok(())
}

/// Two restores to one folder: the second one is told that the first is at work.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_does_not_disturb_another_one() -> Result<()> {
    let scene = Scene::new()?;
    let (data, backup, elsewhere) = (scene.path("data"), scene.path("backup"), scene.path("elsewhere"));
    surefoot_json(&data, &["setting", "set", "s", "1"])?;
    surefoot_json(&data, &["backup", text(&backup)])?;
    let marker = scene.path("elsewhere.restore").join("unfinished");
    std::fs::create_dir(scene.path("elsewhere.restore"))?;
    let other = std::fs::File::create(&marker)?;
    other.try_lock()?;
    let ran = surefoot(&elsewhere, &["restore", text(&backup)])?;
    assert!(ran.code == 64 && ran.stderr.contains("somebody is at work there"), "{ran:?}");
    assert!(marker.exists() && !elsewhere.exists());
    drop(other);
    surefoot_json(&elsewhere, &["restore", text(&backup)])?;
    Ok(())
}

/// The disk that is full is the one that is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_to_a_full_disk_names_that_disk() -> Result<()> {
    let scene = Scene::new()?;
    let (data, small) = (scene.path("data"), scene.path("small"));
    std::fs::create_dir(&small)?;
    std::fs::write(scene.path("content"), vec![7; 3 << 20])?;
    surefoot_json(&data, &["file", "put", "f", text(&scene.path("content"))])?;
    // Enough for the database and not for the content, and not even for the database.
    for bytes in [2 << 20, 64 << 10] {
        let namespace = Namespace::with_small_disk(&small, bytes).await?;
        let enter = namespace.enter()?;
        let mut inside = std::process::Command::new(&enter[0]);
        let backup = command(&data, &["backup", text(&small.join("b"))])?;
        let output = inside.args(&enter[1..]).arg(backup.get_program()).args(backup.get_args()).output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(64), "{}: {said}", output.status);
        ensure!(said.contains(text(&small)) && said.contains("the disk of that folder is full"), "{said}");
        ensure!(std::fs::read_dir(namespace.seen(&small))?.next().is_none(), "something was left behind");
    }
    Ok(())
}

/// A damaged database is not one that is just not available.
#[test]
fn a_damaged_database_is_not_backed_up() -> Result<()> {
    let scene = Scene::new()?;
    let data = scene.path("data");
    surefoot_json(&data, &["setting", "set", "s", "1"])?;
    let database = data.join("surefoot.db");
    // All of it is to stand in the file.
    let log = rusqlite::Connection::open(&database)?;
    log.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    drop(log);
    let mut bytes = std::fs::read(&database)?;
    // What is before, the pages of the schema, makes it a database of this format.
    bytes[32768..].fill(0xff);
    std::fs::write(&database, bytes)?;
    let ran = surefoot(&data, &["backup", text(&scene.path("backup"))])?;
    assert!(ran.code == 70 && ran.stderr.contains("the database is damaged"), "{ran:?}");
    assert!(ran.stderr.contains("hint: `surefoot doctor`") && !scene.path("backup").exists(), "{ran:?}");
    Ok(())
}

/// What a restore that was killed left behind goes with the next one; what is somebody's own stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_cut_off_is_begun_anew() -> Result<()> {
    let scene = Scene::new()?;
    let (data, backup, elsewhere) = (scene.path("data"), scene.path("backup"), scene.path("elsewhere"));
    surefoot_json(&data, &["setting", "set", "s", "1"])?;
    surefoot_json(&data, &["backup", text(&backup)])?;
    let part = scene.path("elsewhere.restore");
    std::fs::create_dir(&part)?;
    std::fs::write(part.join("surefoot.db"), "half")?;
    let ran = surefoot(&elsewhere, &["restore", text(&backup)])?;
    assert!(ran.code == 64 && ran.stderr.contains("in the way") && part.exists(), "{ran:?}");
    std::fs::write(part.join("unfinished"), "")?;
    surefoot_json(&elsewhere, &["restore", text(&backup)])?;
    assert!(!part.exists());
    assert_eq!(surefoot_json(&elsewhere, &["setting", "show", "s"])?["value"], 1);
    Ok(())
}

/// Schedules, webhooks and notifications stand still after a restore, say why, and go on when they are enabled.
#[tokio::test(flavor = "multi_thread")]
async fn schedules_and_webhooks_stand_still_after_a_restore() -> Result<()> {
    let scene = Scene::new()?;
    let elsewhere = scene.path("elsewhere");
    let server = scene.serve().await?;
    let setting = server.save("settings/often", json!({"value": {"cron": "* * * * * *"}})).await?;
    let schedule = json!({"scheduler_id": "cron", "flow_id": "guest", "setting_id": setting["id"], "is_enabled": true});
    server.save("schedules/often", schedule).await?;
    let webhook = json!({"flow_id": "guest", "is_enabled": true, "is_key_required": false});
    server.save("webhooks/hook", webhook).await?;
    server.save("connectors/out", json!({"type": "http", "config": {"url": "http://127.0.0.1:1/"}})).await?;
    let rule = json!({"on": ["failure"], "connector_id": "out", "is_enabled": true});
    server.save("notifications/told", rule).await?;
    surefoot_json(&scene.path("data"), &["backup", text(&scene.path("backup"))])?;
    server.kill().await?;

    let restored = surefoot_json(&elsewhere, &["restore", text(&scene.path("backup"))])?;
    for kind in ["schedules", "webhooks", "notifications"] {
        assert_eq!(restored[kind], 1, "{kind}");
    }
    let server = SurefootProcess::start(&elsewhere).await?;
    surefoot_json(&elsewhere, &["execution", "resume", "--restored"])?;
    for path in ["schedules/often", "webhooks/hook", "notifications/told"] {
        let record = server.api(Method::GET, path, None).await?;
        assert_eq!(
            (&record["is_enabled"], &record["disabled_reason"]),
            (&json!(false), &json!("restored")),
            "{record}"
        );
    }
    let fire = json!({"mode": "respond", "status": 200, "body": "there"});
    assert!(server.call_webhook("hook", "k", &fire).await.unwrap_err().to_string().contains("404"));
    let of_schedule = |status: &str| {
        format!(
            r#"{{"and": [{{"field": "type", "op": "eq", "value": "SCHEDULE"}},
        {{"field": "status", "op": "{status}", "value": "PAUSED"}}]}}"#
        )
    };
    let live = surefoot_json(&elsewhere, &["execution", "list", "--filter", &of_schedule("eq")])?;
    assert_eq!(live.as_array().map(Vec::len), Some(1), "its iteration stands still as the schedule does: {live}");
    let found = surefoot_json(&elsewhere, &["doctor"])?;
    let of_iteration =
        found["findings"].as_array().into_iter().flatten().find(|finding| finding["id"] == live[0]["id"]);
    let remedy = of_iteration.map(|finding| finding["remedy"].clone());
    assert_eq!(remedy, Some(json!("surefoot schedule set 'often' --enable")), "{found:#}");

    for path in ["schedules/often", "webhooks/hook"] {
        let record = server.save(path, json!({"is_enabled": true})).await?;
        assert!(record["disabled_reason"].is_null(), "{record}");
    }
    assert_eq!(server.call_webhook("hook", "k", &fire).await?, "there");
    let iteration = live[0]["id"].as_str().context("an id")?;
    assert_eq!(server.ended(iteration).await?["status"], "ENDED_SUCCESS");
    server.kill().await
}

/// Another key would make every execution that is under way look as if its flow had changed.
#[test]
fn a_workspace_without_its_key_is_not_opened() -> Result<()> {
    let scene = Scene::new()?;
    let data = scene.path("data");
    surefoot_json(&data, &["setting", "set", "s", "1"])?;
    std::fs::remove_file(data.join("key"))?;
    let ran = surefoot(&data, &["setting", "list"])?;
    assert!(ran.code == 70 && ran.stderr.contains("key is missing; restore it from a backup"), "{ran:?}");
    assert!(!data.join("key").exists());
    Ok(())
}

/// Another key of the right length: nothing opens the workspace, and a server at work backs nothing up with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_not_opened_with_another_key() -> Result<()> {
    let scene = Scene::new()?;
    let data = scene.path("data");
    let server = scene.serve().await?;
    let id = server.run("guest", script(json!([{"do": "signal", "name": "go"}]))).await?;
    let key = std::fs::read(data.join("key"))?;
    std::fs::write(data.join("key"), [7; 32])?;
    let refused = |arguments: &[&str], code: i32| -> Result<()> {
        let ran = surefoot(&data, arguments)?;
        ensure!(ran.code == code && ran.stderr.contains("bring back the file `key` from a backup"), "{ran:?}");
        Ok(())
    };
    refused(&["backup", text(&scene.path("backup"))], 64)?;
    assert!(!scene.path("backup").exists());
    server.kill().await?;
    // More often than an execution may be at work when its process dies.
    for _ in 0..4 {
        refused(&["serve", "--listen", "127.0.0.1:0"], 70)?;
    }
    let ran = surefoot(&data, &["doctor"])?;
    assert!(ran.code == 1 && ran.stdout.contains("error   key_wrong  file key"), "{ran:?}");
    std::fs::write(data.join("key"), key)?;
    let server = SurefootProcess::start(&data).await?;
    server.api(Method::POST, &format!("executions/{id}/signals/go"), Some(json!({"payload": 7}))).await?;
    assert_eq!(server.ended(&id).await?["status"], "ENDED_SUCCESS");
    server.kill().await
}

/// A new database would name nothing of what is there, and collection would delete it.
#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_without_its_database_is_not_opened() -> Result<()> {
    let scene = Scene::new()?;
    let data = scene.path("data");
    let server = scene.serve().await?;
    server.ended(&server.run("guest", script(json!([{"do": "write", "file": "f", "content": "x"}]))).await?).await?;
    let backup = surefoot_json(&data, &["backup"])?["path"].as_str().context("a path")?.to_owned();
    // The log stays, as it does when somebody removes the database alone.
    server.kill().await?;
    let log = data.join("surefoot.db-wal");
    ensure!(log.metadata()?.len() > 0);
    let way_back = format!("surefoot restore {backup} --data NEW-FOLDER");
    for state in ["is missing", "is empty"] {
        match state {
            "is missing" => std::fs::remove_file(data.join("surefoot.db"))?,
            _ => std::fs::write(data.join("surefoot.db"), "")?,
        }
        let before = xtask::repo::files_under(&data)?;
        let file = text(&scene.path("other")).to_owned();
        for command in [
            &["setting", "list"][..],
            &["setting", "set", "s", "1"],
            &["serve", "--listen", "127.0.0.1:0"],
            &["backup", &file],
        ] {
            let ran = surefoot(&data, command)?;
            let says = |text: &str| ran.stderr.contains(text);
            assert!(ran.code == 64 && says(state) && says(&way_back), "{command:?}: {ran:?}");
        }
        let ran = surefoot(&data, &["doctor", "--repair"])?;
        let says = |text: &str| ran.stdout.contains(text);
        assert!(ran.code == 1 && says("error   database_missing") && says(state) && says(&way_back), "{ran:?}");
        assert_eq!(xtask::repo::files_under(&data)?, before, "{state}");
        ensure!(log.metadata()?.len() > 0, "the log was touched");
    }
    surefoot_json(&scene.path("elsewhere"), &["restore", &backup])?;
    assert_eq!(surefoot_json(&scene.path("elsewhere"), &["file", "list"])?.as_array().map(Vec::len), Some(1));
    Ok(())
}
