//! Formats: what every released version left behind opens in this one and finishes; what a newer one wrote is refused
//! and stays as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::{Clock, Config, Engine, Manifest, ManualClock, StartRequest, Timestamp};
use surefoot_tests::command::{surefoot, surefoot_json};
use surefoot_tests::samples::{self, Story};
use surefoot_tests::workspace::{PATIENCE, Workspace, id, time};

/// Everything in a sample that sleeps is awake by then.
const LATER: Duration = Duration::from_secs(3600);

/// Opens a copy of a sample, an hour after it was left. The clock stands still: a sample is older every day.
fn open(sample: &Path, story: &Story) -> Result<Workspace> {
    let ends = story.ended.values().map(|row| time(row, "ended_at")).collect::<Result<Vec<Timestamp>>>()?;
    let later = ends.into_iter().max().context("something had ended")?.after(LATER);
    let unpack = |data: &Path| samples::unpack(sample, data);
    Workspace::open_prepared(unpack, |config| config.clock = Clock::Manual(ManualClock::new(later)))
}

/// Executions that were asleep, waiting or at work when a released version was killed go on in this one, and end as
/// they would have.
#[tokio::test(flavor = "multi_thread")]
async fn executions_of_every_released_version_finish() -> Result<()> {
    for sample in samples::all()? {
        let story = samples::story(&sample)?;
        let workspace = open(&sample, &story)?;
        for (name, execution) in &story.under_way {
            match execution.needs.as_deref() {
                None => {}
                Some("resume") => workspace.engine.resume(&execution.id, "test").await.map(drop)?,
                Some(signal) => {
                    let payload = json!({"by": "hand"});
                    workspace.engine.signal(&execution.id, signal, payload, "test", None).await.map(drop)?;
                }
            }
            let row = workspace.ended(&execution.id).await?;
            let context = format!("{name} of {}: {row:#}", story.engine);
            assert_eq!(row["status"], execution.expected_status.as_str(), "{context}");
            match &execution.expected_output {
                Some(expected) => assert_eq!(&row["output"], expected, "{context}"),
                None if name == "write" => {
                    assert_eq!(row["output"][0]["failure"]["code"], "interrupted", "{context}");
                }
                None => {}
            }
        }
    }
    Ok(())
}

/// What had ended when a released version was killed is shown as that version showed it, journals included.
#[tokio::test(flavor = "multi_thread")]
async fn ended_executions_of_every_released_version_are_shown_as_they_were() -> Result<()> {
    for sample in samples::all()? {
        let story = samples::story(&sample)?;
        let workspace = open(&sample, &story)?;
        for (name, before) in &story.ended {
            let row = workspace.engine.execution(id(before)).await?;
            for (field, value) in before.as_object().context("a row")? {
                assert_eq!(&row[field], value, "{field} of {name} of {}", story.engine);
            }
            let journal = workspace.engine.journal(id(before)).await?;
            assert_eq!(journal.first().map(|record| &record["record"]), Some(&json!("started")), "{name}");
        }
        let success = id(&story.ended["success"]);
        let log = workspace.engine.log(success, None, 10).await?;
        assert!(log.iter().any(|line| line.message == "a line of the log"), "{log:?}");
        let checks = workspace.calls(success, "file_write").await?;
        assert_eq!(checks.len(), 1, "{checks:?}");
    }
    Ok(())
}

/// A schedule of a released version fires, and a webhook's idempotency key still joins the call before.
#[tokio::test(flavor = "multi_thread")]
async fn schedules_and_webhooks_of_every_released_version_go_on() -> Result<()> {
    for sample in samples::all()? {
        let story = samples::story(&sample)?;
        let workspace = open(&sample, &story)?;
        let is_fired = |rows: &[Value]| {
            let mut fired = rows.iter().filter(|row| row["input"]["scheduled_for"].is_string());
            fired.any(|row| row["status"] == "ENDED_SUCCESS")
        };
        let of_flow = json!({"field": "type", "op": "eq", "value": "FLOW"});
        workspace.until_rows("execution", of_flow, is_fired).await?;
        let webhook = workspace.record(Kind::Webhook, "hook").await?;
        let request = StartRequest {
            flow: "sample".into(),
            by: "test".into(),
            webhook_id: Some(id(&webhook).to_owned()),
            idempotency_key: Some("the-key".into()),
            ..StartRequest::default()
        };
        let (joined, is_new) = workspace.engine.start(request).await?;
        ensure!(!is_new, "the key of {} was forgotten", story.engine);
        assert_eq!(workspace.ended(&joined).await?["response"]["body"], "once");
    }
    Ok(())
}

/// Every file of a data folder, but for what is of a process: who holds the lock, and SQLite's shared memory.
fn contents(data: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let files = xtask::repo::files_under(data)?.into_iter();
    let of_a_process = |file: &PathBuf| file == Path::new("workspace.lock") || file.ends_with("surefoot.db-shm");
    files.filter(|file| !of_a_process(file)).map(|file| Ok((file.clone(), std::fs::read(data.join(file))?))).collect()
}

/// A copy of the oldest sample that this version has opened and left in order.
async fn opened_before(folder: &Path) -> Result<(PathBuf, Story)> {
    let sample = samples::all()?.remove(0);
    let (data, story) = (folder.join("data"), samples::story(&sample)?);
    samples::unpack(&sample, &data)?;
    let mut config = Config::new(&data);
    config.clock = Clock::Manual(ManualClock::new(Timestamp(0)));
    Engine::open(config, surefoot_connectors::all())?.shutdown(Duration::from_secs(10)).await?;
    Ok((data, story))
}

/// A database of a newer version is refused, with the command that goes back to before its migration; not a byte of the
/// workspace changes, also where the newer version was killed and its migration stands in the log alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_database_is_refused_untouched() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (data, story) = opened_before(folder.path()).await?;
    let set_format = |format: i64| -> Result<Connection> {
        let newer = Connection::open(data.join("surefoot.db"))?;
        newer.pragma_update(None, "user_version", format)?;
        Ok(newer)
    };
    let check = || -> Result<String> {
        let before = contents(&data)?;
        let ran = surefoot(&data, &["flow", "list"])?;
        ensure!(ran.code == 64 && ran.stderr.contains("format 99, newer than this engine's"), "{ran:?}");
        ensure!(contents(&data)? == before, "the workspace was changed");
        Ok(ran.stderr)
    };
    drop(set_format(99)?);
    check()?;
    drop(set_format(1)?);
    let killed = set_format(99)?;
    ensure!(data.join("surefoot.db-wal").metadata()?.len() > 0, "the log is empty: this case is not the other one");
    let stderr = check()?;
    drop(killed);
    let command = stderr.split("surefoot restore ").nth(1).context("the command that goes back")?;
    let backup = command.split(" --data").next().context("the backup")?;
    let elsewhere = folder.path().join("elsewhere");
    let restored = surefoot_json(&elsewhere, &["restore", backup])?;
    // With a child and an iteration of the schedule, but without what a person had paused.
    assert_eq!(restored["executions"], story.under_way.len() + 2 - 1, "{restored}");
    Ok(())
}

/// The backup that is made before a migration is one like any other: what is restored from it finishes.
#[tokio::test(flavor = "multi_thread")]
async fn the_backup_from_before_a_migration_can_be_restored() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (data, story) = opened_before(folder.path()).await?;
    let backups: Vec<_> =
        std::fs::read_dir(data.join("backups"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let [backup] = &backups[..] else { anyhow::bail!("one backup, not {backups:?}") };
    let manifest = Manifest::read(backup)?;
    assert_eq!((manifest.database_format, manifest.missing.len()), (1, 0));
    let later = time(&story.ended["success"], "ended_at")?.after(LATER);
    let clock = Clock::Manual(ManualClock::new(later));
    let restore = |data: &Path| surefoot_engine::restore(backup, data, &clock).map(drop).map_err(Into::into);
    let workspace = Workspace::open_prepared(restore, |config| config.clock = clock.clone())?;
    for name in ["asleep", "with-a-file", "chance", "parent", "write"] {
        let row = workspace.engine.execution(&story.under_way[name].id).await?;
        assert_eq!((&row["status"], &row["message"]), (&json!("PAUSED"), &json!("restored")), "{name}");
    }
    assert!(workspace.engine.resume_restored().await? > 0);
    for name in ["asleep", "with-a-file", "chance", "parent", "write"] {
        let row = workspace.ended(&story.under_way[name].id).await?;
        assert_eq!(row["status"], story.under_way[name].expected_status.as_str(), "{name}: {row:#}");
    }
    let by_hand = workspace.engine.execution(&story.under_way["paused"].id).await?;
    assert_eq!(by_hand["message"], "paused", "what a person paused before stays so");
    Ok(())
}

/// A journal of a newer version is left as it is; what else is in the workspace goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_journal_is_left_as_it_is() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (data, story) = opened_before(folder.path()).await?;
    let journal = |newer: &str| -> Result<Vec<Vec<u8>>> {
        let connection = Connection::open(data.join("surefoot.db"))?;
        let mut statement = connection.prepare(
            "SELECT records FROM journal WHERE execution = (SELECT rowid FROM executions WHERE id = ?1) ORDER BY id",
        )?;
        let rows = statement.query_map([newer], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    let newer = &story.under_way["asleep"].id;
    Connection::open(data.join("surefoot.db"))?.execute(
        "UPDATE journal SET records = CAST(x'63' || substr(records, 2) AS BLOB) WHERE id = (SELECT max(id) FROM journal
             WHERE execution = (SELECT rowid FROM executions WHERE id = ?1))",
        [newer],
    )?;
    let before = journal(newer)?;
    assert_eq!(before.last().and_then(|row| row.first()), Some(&99));
    let mut config = Config::new(&data);
    let later = time(&story.ended["success"], "ended_at")?.after(LATER);
    config.clock = Clock::Manual(ManualClock::new(later));
    let engine = Engine::open(config, surefoot_connectors::all())?;
    let ended = engine.wait_ended(&story.under_way["with-a-file"].id, Some(PATIENCE)).await?;
    assert_eq!(ended.context("it ends")?["status"], "ENDED_SUCCESS");
    let error = engine.journal(newer).await.unwrap_err().to_string();
    assert!(error.contains("journal format 99 is newer"), "{error}");
    assert!(engine.execution(newer).await?["ended_at"].is_null());
    engine.shutdown(Duration::from_secs(10)).await?;
    assert_eq!(journal(newer)?, before);
    Ok(())
}
