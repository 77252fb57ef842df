//! `doctor`: what is damaged on purpose is found under its code, only what is safe is repaired, and what is repaired
//! goes on.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::{Clock, Config, Engine, Examination, ManualClock, SecretsKey, Severity, Timestamp, examine};
use surefoot_tests::command::surefoot;
use surefoot_tests::samples::{self, Story};
use surefoot_tests::workspace::PATIENCE;

/// A workspace with executions of every sort, in this version's format, that nobody has open.
struct Patient {
    folder: tempfile::TempDir,
    story: Story,
}

impl Patient {
    async fn new() -> Result<Self> {
        let sample = samples::all()?.remove(0);
        let patient = Self { folder: tempfile::tempdir()?, story: samples::story(&sample)? };
        samples::unpack(&sample, &patient.data())?;
        for (path, mode) in [("", 0o700), ("key", 0o600)] {
            std::fs::set_permissions(patient.data().join(path), std::fs::Permissions::from_mode(mode))?;
        }
        patient.open(Timestamp(0))?.shutdown(Duration::from_secs(10)).await?;
        Ok(patient)
    }

    /// Another one, just the same.
    fn copy(&self) -> Result<Self> {
        let copy = Self { folder: tempfile::tempdir()?, story: samples::story(&samples::all()?.remove(0))? };
        let is_needed = |file: &PathBuf| file != Path::new("reserve");
        for file in xtask::repo::files_under(&self.data())?.into_iter().filter(is_needed) {
            let to = copy.data().join(&file);
            std::fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
            std::fs::copy(self.data().join(&file), to)?;
        }
        std::fs::set_permissions(copy.data(), std::fs::Permissions::from_mode(0o700))?;
        Ok(copy)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// At a time when nothing is due, or everything.
    fn open(&self, now: Timestamp) -> Result<Engine> {
        let mut config = Config::new(self.data());
        config.clock = Clock::Manual(ManualClock::new(now));
        Ok(Engine::open(config, surefoot_connectors::all())?)
    }

    /// A time at which everything is due.
    fn later(&self) -> Result<Timestamp> {
        let ended = self.story.ended["success"]["ended_at"].as_str().context("a time")?;
        Ok(ended.parse::<Timestamp>()?.after(Duration::from_secs(3600)))
    }

    fn database(&self) -> Result<Connection> {
        Ok(Connection::open(self.data().join("surefoot.db"))?)
    }

    fn examine(&self, repair: bool) -> Result<Examination> {
        Ok(examine(&self.data(), repair, &Clock::Manual(ManualClock::new(self.later()?)), Ok(None))?)
    }

    /// The only component, or the only content of a file.
    fn content(&self, folder: &str) -> Result<PathBuf> {
        let folder = self.data().join(folder);
        let files = xtask::repo::files_under(&folder)?.into_iter();
        let mut files = files.filter(|file| file.extension().is_none_or(|extension| extension == "wasm"));
        Ok(folder.join(files.next().context("a file")?))
    }
}

fn codes(examination: &Examination) -> Vec<&'static str> {
    examination.findings.iter().map(|finding| finding.code).collect()
}

/// What a case does to a workspace.
enum Damage {
    Sql(&'static str),
    Files(fn(&Patient) -> Result<()>),
}

use Damage::{Files, Sql};

/// A code, what leads to it, and whether it is repaired.
const CASES: &[(&str, Damage, bool)] = &[
    ("database_damaged", Files(break_a_table), false),
    ("database_newer", Sql("PRAGMA user_version = 99"), false),
    ("database_older", Sql("PRAGMA user_version = 1"), false),
    ("key_missing", Files(|patient| Ok(std::fs::remove_file(patient.data().join("key"))?)), false),
    ("key_damaged", Files(|patient| Ok(std::fs::write(patient.data().join("key"), "short")?)), false),
    ("database_damaged", Sql("DELETE FROM meta"), false),
    ("key_wrong", Files(|patient| Ok(std::fs::write(patient.data().join("key"), [7; 32])?)), false),
    ("execution_damaged", Sql("UPDATE executions SET input = '{bad' WHERE name = 'asleep'"), false),
    ("execution_damaged", Sql("UPDATE executions SET message = CAST(x'ff' AS TEXT) WHERE name = 'asleep'"), false),
    ("record_damaged", Sql("UPDATE records SET data = '{bad' WHERE kind = 'webhook'"), false),
    ("secret_unreadable", Sql(SEALED), false),
    (
        "secrets_key_wrong",
        Files(|patient| {
            patient.database()?.execute_batch(SEALED)?;
            let sql = "UPDATE meta SET value = value + 1 WHERE key = 'secrets_key_check'";
            ensure!(patient.database()?.execute(sql, [])? == 1);
            Ok(())
        }),
        false,
    ),
    (
        "secrets_key_missing",
        Files(|patient| {
            patient.database()?.execute_batch(SEALED)?;
            Ok(std::fs::remove_file(patient.data().join("key"))?)
        }),
        false,
    ),
    ("flow_missing", Sql("UPDATE records SET data = json_set(data, '$.flow_id', 'x') WHERE kind = 'webhook'"), false),
    ("status_contradicts_end", Sql("UPDATE executions SET status = 'ENDED_ERROR' WHERE name = 'asleep'"), false),
    (
        "active_missing",
        Sql("DELETE FROM active WHERE execution = (SELECT rowid FROM executions WHERE name = 'asleep')"),
        true,
    ),
    (
        "active_superfluous",
        Sql("INSERT INTO active (execution, state) SELECT rowid, 0 FROM executions WHERE name = 'success'"),
        true,
    ),
    ("status_contradicts_pause", Sql("UPDATE executions SET status = 'RUNNING' WHERE name = 'paused'"), true),
    ("journal_newer", Sql("UPDATE journal SET records = x'6380' WHERE id = 1"), false),
    ("journal_damaged", Sql("UPDATE journal SET records = x'01c1' WHERE id = 1"), false),
    (
        "journal_cut",
        Sql("DELETE FROM journal WHERE id = (SELECT min(id) FROM journal WHERE execution =
             (SELECT rowid FROM executions WHERE name = 'asleep'))"),
        false,
    ),
    (
        "journal_headless",
        Sql("UPDATE journal SET previous = NULL WHERE id = (SELECT journal_tail FROM active WHERE execution =
             (SELECT rowid FROM executions WHERE name = 'asleep'))"),
        false,
    ),
    (
        "child_missing",
        Sql("DELETE FROM active WHERE execution = (SELECT rowid FROM executions WHERE parent_id IS NOT NULL
                 AND orphan = 0 AND ended_at IS NULL);
             DELETE FROM executions WHERE parent_id IS NOT NULL AND orphan = 0 AND ended_at IS NULL"),
        false,
    ),
    ("parent_missing", Sql("UPDATE executions SET parent_id = 'gone' WHERE name = 'asleep'"), false),
    ("paused_as_suspect", Sql("UPDATE executions SET message = 'suspect: it died' WHERE name = 'paused'"), false),
    ("schedule_idle", Sql("UPDATE schedule_states SET execution_id = 'gone'"), false),
    (
        "schedule_disabled_by_restore",
        Sql("UPDATE records SET data = json_set(data, '$.is_enabled', json('false'), '$.disabled_reason', 'restored')
             WHERE kind = 'schedule'"),
        false,
    ),
    (
        "webhook_disabled_by_restore",
        Sql("UPDATE records SET data = json_set(data, '$.disabled_reason', 'restored') WHERE kind = 'webhook'"),
        false,
    ),
    (
        "notification_disabled_by_restore",
        Sql("INSERT INTO records (kind, id, name, revision, created_at, created_by, modified_at, modified_by, data)
             VALUES ('notification', 'n', 'n', 1, 1, '', 1, '', '{\"disabled_reason\": \"restored\"}')"),
        false,
    ),
    ("component_missing", Files(|patient| Ok(std::fs::remove_file(patient.content("components")?)?)), false),
    ("component_damaged", Files(|patient| Ok(std::fs::write(patient.content("components")?, "other")?)), false),
    ("blob_missing", Files(|patient| Ok(std::fs::remove_file(patient.content("blobs")?)?)), false),
    ("blob_damaged", Files(|patient| Ok(std::fs::write(patient.content("blobs")?, "other")?)), false),
    (
        "machine_code_damaged",
        Files(|patient| Ok(std::fs::write(patient.content("components")?.with_extension("cwasm"), "alien")?)),
        true,
    ),
    (
        "file_open",
        Files(|patient| {
            let everybody = std::fs::Permissions::from_mode(0o644);
            Ok(std::fs::set_permissions(patient.data().join("key"), everybody)?)
        }),
        true,
    ),
    ("leftover", Files(leave_things_behind), true),
];

/// A secret with a name of its own, and a value that nobody sealed.
const SEALED: &str = "INSERT INTO records (kind, id, name, revision, created_at, created_by, modified_at, modified_by,
         data) VALUES ('secret', 's', 'db-password', 1, 1, '', 1, '', '{}');
     INSERT INTO sealed (kind, id, name, version, sealed) VALUES ('secret', 's', 'value', 1, x'0102')";

fn break_a_table(patient: &Patient) -> Result<()> {
    let (page, size): (u64, u64) = patient.database()?.query_row(
        "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_schema WHERE name = 'signals'",
        [],
        |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned())),
    )?;
    let path = patient.data().join("surefoot.db");
    let mut bytes = std::fs::read(&path)?;
    let start = usize::try_from((page - 1) * size)?;
    bytes[start..start + 100].fill(0xff);
    Ok(std::fs::write(path, bytes)?)
}

fn leave_things_behind(patient: &Patient) -> Result<()> {
    for path in ["components/x.wasm.part", "blobs/staging/y", "key.part", "backups/z.part/unfinished"] {
        let path = patient.data().join(path);
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        std::fs::write(path, "")?;
    }
    Ok(())
}

/// Each value by itself, with the key that was given; and a server at work says the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_cannot_be_opened_is_named() -> Result<()> {
    let patient = Patient::new().await?;
    let engine = patient.open(Timestamp(0))?;
    let value = serde_json::Map::from_iter([("value".to_owned(), json!("correct-horse"))]);
    engine.create(Kind::Secret, "good", value, "test").await?;
    engine.shutdown(Duration::from_secs(10)).await?;
    ensure!(patient.examine(false)?.is_well());
    let with = |key: Result<Option<SecretsKey>, String>| {
        let clock = Clock::Manual(ManualClock::new(patient.later()?));
        anyhow::Ok(codes(&examine(&patient.data(), false, &clock, key)?))
    };
    ensure!(with(Ok(Some(SecretsKey::new(&[b'x'; 32])?)))?.contains(&"secrets_key_wrong"));
    ensure!(with(Err("there is no vault".to_owned()))?.contains(&"secrets_key_missing"));

    patient.database()?.execute_batch(SEALED)?;
    let found = patient.examine(false)?;
    let bad: Vec<_> = found.findings.iter().filter(|finding| finding.code == "secret_unreadable").collect();
    let [bad] = bad[..] else { anyhow::bail!("{:#?}", found.findings) };
    ensure!((bad.kind, bad.id.as_str()) == ("secret", "db-password"), "{bad:?}");
    ensure!(bad.message == "`value` cannot be decrypted" && bad.remedy.contains("surefoot secret set"), "{bad:?}");
    let engine = patient.open(Timestamp(0))?;
    let at_work = engine.examine().await?;
    ensure!(at_work.findings.iter().any(|finding| finding.code == "secret_unreadable"), "{:#?}", at_work.findings);
    engine.shutdown(Duration::from_secs(10)).await?;
    Ok(())
}

/// A healthy workspace has notes only, and each kind of damage is found under its code. What is repaired is gone
/// afterwards; what is not is found again. The journals are as they were in any case.
#[tokio::test(flavor = "multi_thread")]
async fn every_damage_has_its_code_and_only_what_is_safe_is_repaired() -> Result<()> {
    let reference = std::fs::read_to_string(xtask::repo::root().join("docs/reference/doctor.md"))?;
    let healthy = Patient::new().await?;
    for (code, damage, is_repaired) in CASES {
        assert!(reference.contains(&format!("`{code}`")), "{code} is not in docs/reference/doctor.md");
        let patient = healthy.copy()?;
        let before = patient.examine(false)?;
        assert!(before.is_well() && !codes(&before).contains(code), "{code}: {:#?}", before.findings);
        match damage {
            Sql(sql) => patient.database()?.execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}"))?,
            Files(damage) => damage(&patient)?,
        }
        let journals = |patient: &Patient| -> Result<Vec<Vec<u8>>> {
            let database = patient.database()?;
            let mut statement = database.prepare("SELECT records FROM journal ORDER BY id")?;
            Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
        };
        let journals_before = journals(&patient)?;
        let found = patient.examine(false)?;
        let finding = found.findings.iter().find(|finding| finding.code == *code);
        let finding = finding.with_context(|| format!("{code} is not in {:#?}", found.findings))?;
        assert!(finding.repaired.is_none() && !finding.remedy.is_empty(), "{finding:?}");
        assert_eq!(found.is_well(), found.findings.iter().all(|finding| finding.severity == Severity::Note));
        let repaired = patient.examine(true)?;
        let of_code = |examination: &Examination| -> Vec<bool> {
            let of_code = examination.findings.iter().filter(|finding| finding.code == *code);
            of_code.map(|finding| finding.repaired.is_some()).collect()
        };
        assert!(of_code(&repaired).iter().all(|was| was == is_repaired), "{code}: {:#?}", repaired.findings);
        assert_eq!(of_code(&patient.examine(false)?).is_empty(), *is_repaired, "{code} after the repair");
        assert_eq!(journals(&patient)?, journals_before, "{code}");
    }
    Ok(())
}

/// An execution that nothing looked at any more goes on after a repair, and ends as it would have.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_repaired_goes_on() -> Result<()> {
    let patient = Patient::new().await?;
    patient.database()?.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM active")?;
    assert!(patient.examine(true)?.is_well());
    let engine = patient.open(patient.later()?)?;
    for name in ["asleep", "between-calls", "with-a-file", "chance", "parent", "write"] {
        let expected = &patient.story.under_way[name];
        let row = engine.wait_ended(&expected.id, Some(PATIENCE)).await?.context("it ends")?;
        assert_eq!(row["status"], expected.expected_status.as_str(), "{name}: {row:#}");
    }
    assert_eq!(engine.execution(&patient.story.under_way["paused"].id).await?["status"], "PAUSED");
    Ok(engine.shutdown(Duration::from_secs(10)).await?)
}

/// Whatever the data folder's own path looks like, what is in it is judged by its own name.
#[tokio::test(flavor = "multi_thread")]
async fn a_repair_leaves_contents_alone_wherever_the_data_folder_is() -> Result<()> {
    let patient = Patient::new().await?;
    let data = patient.folder.path().join("c#.part");
    std::fs::rename(patient.data(), &data)?;
    let files = |folder: &str| xtask::repo::files_under(&data.join(folder));
    let before = (files("blobs")?, files("components")?);
    let found = examine(&data, true, &Clock::Manual(ManualClock::new(patient.later()?)), Ok(None))?;
    assert!(found.is_well() && !codes(&found).contains(&"leftover"), "{:#?}", found.findings);
    assert_eq!((files("blobs")?, files("components")?), before);
    Ok(())
}

/// However much there is of one kind, what is said stays readable, and what is repaired is all of it.
#[tokio::test(flavor = "multi_thread")]
async fn many_findings_of_one_code_are_counted() -> Result<()> {
    let patient = Patient::new().await?;
    patient.database()?.execute_batch(
        "PRAGMA foreign_keys = OFF;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO active (execution, state) SELECT 1000000 + i, 0 FROM n",
    )?;
    let of_code = |found: &Examination| -> Vec<_> {
        let of_code = found.findings.iter().filter(|finding| finding.code == "active_superfluous");
        of_code.map(|finding| (finding.message.clone(), finding.repaired.is_some())).collect()
    };
    let found = of_code(&patient.examine(false)?);
    assert_eq!((found.len(), found.last()), (101, Some(&("900 more like these".to_owned(), false))));
    let repaired = of_code(&patient.examine(true)?);
    assert!(repaired.len() == 101 && repaired.iter().all(|(_, is_repaired)| *is_repaired), "{repaired:?}");
    assert!(of_code(&patient.examine(false)?).is_empty());
    Ok(())
}

/// Beside an engine at work: nothing is wrong with a healthy workspace, and what is late is named.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_at_work_says_what_is_late() -> Result<()> {
    let patient = Patient::new().await?;
    let engine = patient.open(Timestamp(1_000_000_000))?;
    let found = engine.examine().await?;
    assert!(found.is_at_work && found.is_well(), "{:#?}", found.findings);
    // Behind the engine's back, so that its timer knows nothing of it.
    patient.database()?.execute(
        "UPDATE active SET due_at = 1 WHERE execution = (SELECT rowid FROM executions WHERE name = 'asleep')",
        [],
    )?;
    let found = engine.examine().await?;
    assert!(codes(&found).contains(&"overdue") && !found.is_well(), "{:#?}", found.findings);
    Ok(engine.shutdown(Duration::from_secs(10)).await?)
}

/// The command: its exit codes, its two forms of output, with a server and without, and that it sets nothing going.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_what_it_found_in_its_exit_code_too() -> Result<()> {
    let patient = Patient::new().await?;
    let data = patient.data();
    let epoch = || -> Result<i64> {
        Ok(patient.database()?.query_row("SELECT value FROM meta WHERE key = 'epoch'", [], |row| row.get(0))?)
    };
    let before = epoch()?;
    let ran = surefoot(&data, &["doctor"])?;
    ensure!(ran.code == 0 && ran.stdout.contains("note    waiting_for_signal"), "{ran:?}");
    ensure!(ran.stdout.contains("it waits for the signal `go` since"), "{ran:?}");
    std::fs::remove_file(patient.content("blobs")?)?;
    let ran = surefoot(&data, &["doctor", "--output", "json"])?;
    let found: Value = serde_json::from_str(&ran.stdout)?;
    assert_eq!(
        (ran.code, &found["findings"][0]["code"], &found["findings"][0]["severity"]),
        (1, &json!("blob_missing"), &json!("error"))
    );
    assert_eq!(epoch()?, before, "a workspace that is looked at is not opened");
    let ran = surefoot(&data.join("nowhere"), &["doctor"])?;
    ensure!(ran.code == 64 && ran.stderr.contains("there is no workspace"), "{ran:?}");
    with_a_server(&data).await
}

async fn with_a_server(data: &Path) -> Result<()> {
    let server = surefoot_tests::server_process::SurefootProcess::start(data).await?;
    let ran = surefoot(data, &["doctor", "--output", "json"])?;
    let found: Value = serde_json::from_str(&ran.stdout)?;
    assert_eq!((ran.code, &found["is_at_work"]), (1, &json!(true)), "{found:#}");
    let ran = surefoot(data, &["doctor", "--repair"])?;
    ensure!(ran.code == 64 && ran.stderr.contains("Stop the server"), "{ran:?}");
    server.kill().await
}
