//! A disk that is full, one that cannot be written, and how often it is asked to write for good.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use nix::unistd::Pid;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use surefoot_tests::namespace::Namespace;
use surefoot_tests::server_process::{Launch, SurefootProcess, answer};
use surefoot_tests::workspace::ensure_success;
use tokio::process::Command;

const MIB: u64 = 1 << 20;

/// A write that takes so long that the disk is full when it comes back, milliseconds.
const WRITE_MS: u64 = 2500;

fn is_degraded(status: StatusCode, problem: &Value) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE && problem["code"] == "degraded"
}

/// What is under way when the disk fills: a write, steps, a sleep. Each is to go on when there is room again.
struct UnderWay {
    write: String,
    steps: String,
    sleep: String,
}

impl UnderWay {
    async fn begin(server: &SurefootProcess) -> Result<Self> {
        server.deploy("test-guest").await?;
        server.deploy("hello").await?;
        server.save("settings/fill", json!({})).await?;
        let inputs = json!({"value": "written", "effect": "write", "delay_ms": WRITE_MS});
        let write = json!({"mode": "connect", "connector": "type:echo", "inputs": inputs});
        let begun = Self {
            steps: server.run("test-guest", json!({"mode": "storm", "key": "steps", "steps": 20_000})).await?,
            sleep: server.run("test-guest", json!({"mode": "storm", "key": "sleep", "sleep_ms": 1000})).await?,
            write: server.run("test-guest", write).await?,
        };
        let journal = format!("executions/{}/journal", begun.write);
        let is_begun = |records: &Value| records["records"].as_array().is_some_and(|records| records.len() > 1);
        server.until(Method::GET, &journal, None, |_, records| is_begun(records)).await?;
        Ok(begun)
    }

    /// How often the journal has an end of the write.
    async fn writes_recorded(&self, server: &SurefootProcess) -> Result<usize> {
        let journal = server.journal(&self.write).await?;
        Ok(journal.iter().filter(|record| record["record"] == "settled" && !record["outcome"]["o"].is_null()).count())
    }

    async fn end_well(self, server: &SurefootProcess) -> Result<()> {
        let row = server.ended(&self.write).await?;
        ensure_success(&row)?;
        ensure!(row["output"]["output"]["value"] == "written", "the write was lost: {row:#}");
        ensure!(self.writes_recorded(server).await? == 1, "the write is recorded once");
        ensure_success(&server.ended(&self.sleep).await?)?;
        server.api(Method::POST, &format!("executions/{}/cancel", self.steps), None).await.map(drop).or_else(
            |error| {
                // It was faster than the disk.
                if error.to_string().contains("409") { Ok(()) } else { Err(error) }
            },
        )?;
        let row = server.ended(&self.steps).await?;
        ensure!(["ENDED_SUCCESS", "ENDED_CANCELLED"].contains(&row["status"].as_str().unwrap_or_default()), "{row:#}");
        Ok(())
    }
}

/// Saves something again and again until that is refused because the store is down.
async fn until_degraded(server: &SurefootProcess) -> Result<()> {
    let setting = json!({"value": "x".repeat(100_000)});
    let (_, problem) = server.until(Method::PATCH, "settings/fill", Some(setting), is_degraded).await?;
    ensure!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem:#}");
    Ok(())
}

/// What is answered while the store is down: looking is allowed, all else is a 503 that says when to come again.
async fn ensure_only_looks(server: &SurefootProcess) -> Result<()> {
    for (method, path) in [
        (Method::POST, "flows/hello/run"),
        (Method::POST, "flows/hello/deploy"),
        (Method::POST, "settings"),
        (Method::PATCH, "settings/a"),
        (Method::DELETE, "settings/a"),
        (Method::PUT, "files/a/content"),
    ] {
        let response = server.request(method.clone(), path).json(&json!({})).send().await?;
        ensure!(response.status() == StatusCode::SERVICE_UNAVAILABLE, "{method} {path}: {}", response.status());
        ensure!(response.headers().contains_key("retry-after"), "{method} {path}: {:?}", response.headers());
    }
    let webhook = format!("{}/api/latest/webhook/any/call", server.url());
    for method in [Method::GET, Method::POST] {
        let (status, problem) = answer(reqwest::Client::new().request(method, &webhook)).await?;
        ensure!(is_degraded(status, &problem), "a webhook answered {status}: {problem:#}");
    }
    let (status, problem) = answer(reqwest::Client::new().get(format!("{}/readyz", server.url()))).await?;
    ensure!(is_degraded(status, &problem), "readyz answered {status}: {problem:#}");
    for path in ["flows", "executions", "settings"] {
        server.api(Method::GET, path, None).await?;
    }
    Ok(())
}

/// Whoever is refused is told why, and `doctor` does not say that all is well.
async fn ensure_said(server: &SurefootProcess) -> Result<()> {
    let (_, problem) = answer(reqwest::Client::new().get(format!("{}/readyz", server.url()))).await?;
    ensure!(problem["detail"].as_str().is_some_and(|detail| detail.contains("is full")), "{problem:#}");
    ensure!(problem["hint"].as_str().is_some_and(|hint| hint.contains("make room")), "{problem:#}");
    let found = server.api(Method::GET, "system/doctor", None).await?;
    let degraded = found["findings"].as_array().into_iter().flatten().find(|it| it["code"] == "store_degraded");
    let degraded = degraded.with_context(|| format!("it is not in {found:#}"))?;
    ensure!(degraded["severity"] == "warning" && degraded["message"].to_string().contains("full"), "{degraded:#}");
    Ok(())
}

async fn until_back(server: &SurefootProcess) -> Result<()> {
    let (status, said) = server
        .until(Method::PATCH, "settings/fill", Some(json!({"value": 1})), |status, _| status.is_success())
        .await?;
    ensure!(status.is_success(), "{said:#}");
    Ok(())
}

/// Stops the server, has SQLite look at every page, and starts another one.
async fn ensure_sound(server: SurefootProcess, launch: Launch) -> Result<()> {
    ensure!(server.stop().await? == Some(0), "the server did not stop in order");
    let copy = tempfile::tempdir()?;
    // SQLite does not find its way through /proc.
    for file in ["surefoot.db", "surefoot.db-wal"] {
        let from = launch.data_seen.join(file);
        if from.exists() {
            std::fs::copy(from, copy.path().join(file))?;
        }
    }
    let database = rusqlite::Connection::open(copy.path().join("surefoot.db"))?;
    let said: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    ensure!(said == "ok", "{said}");
    let server = launch.start().await?;
    let id = server.run("hello", json!({})).await?;
    ensure_success(&server.ended(&id).await?)?;
    ensure!(server.stop().await? == Some(0), "the server did not stop in order");
    Ok(())
}

/// Takes all room but none.
fn fill(path: &Path) -> Result<()> {
    let mut ballast = File::create(path)?;
    let block = vec![1; MIB as usize];
    loop {
        if let Err(error) = ballast.write_all(&block) {
            ensure!(error.kind() == std::io::ErrorKind::StorageFull, "{error}");
            return Ok(());
        }
    }
}

/// A disk of 96 MiB, with the server's own log on it too: the write that is under way is recorded in the reserve's
/// place, new work is refused, and all goes on when there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_503_and_nothing_is_lost() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let namespace = Namespace::with_small_disk(folder.path(), 96 * MIB).await?;
    let seen = namespace.seen(folder.path());
    let launch = || -> Result<Launch> {
        let mut launch = Launch::new(&folder.path().join("data"));
        launch.data_seen = seen.join("data");
        launch.through = namespace.enter()?;
        launch.log = Some(File::create(seen.join("log"))?);
        Ok(launch)
    };
    let server = launch()?.start().await?;
    let under_way = UnderWay::begin(&server).await?;
    fill(&seen.join("ballast"))?;
    until_degraded(&server).await?;
    ensure_said(&server).await?;
    ensure_only_looks(&server).await?;
    ensure!(!seen.join("data/reserve").exists(), "the reserve was kept");
    let journal = format!("executions/{}/journal", under_way.write);
    server.until(Method::GET, &journal, None, |_, records| records.to_string().contains("settled")).await?;
    ensure!(under_way.writes_recorded(&server).await? == 1, "the write is recorded while the disk is full");
    ensure_only_looks(&server).await?;
    std::fs::remove_file(seen.join("ballast"))?;
    until_back(&server).await?;
    ensure!(seen.join("data/reserve").exists(), "the reserve is there again");
    under_way.end_well(&server).await?;
    ensure_sound(server, launch()?).await
}

/// Sets how long a file of a process may become, as `prlimit` does.
async fn limit_files(pid: Pid, bytes: &str) -> Result<()> {
    let limit = format!("--fsize={bytes}:unlimited");
    let output = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).output().await?;
    ensure!(output.status.success(), "prlimit: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Every write fails, with another error than that of a full disk: the end of the write under way stays in memory until
/// it can be recorded.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_is_a_503_and_nothing_is_lost() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let launch = || {
        let mut launch = Launch::new(&folder.path().join("data"));
        // The signal of a file that is too long would end the process.
        launch.through = ["env", "--ignore-signal=XFSZ"].map(str::to_owned).to_vec();
        launch
    };
    let server = launch().start().await?;
    let under_way = UnderWay::begin(&server).await?;
    limit_files(server.pid(), "0").await?;
    until_degraded(&server).await?;
    ensure_only_looks(&server).await?;
    // Nobody tells that the write came back: its duration is all there is to wait for. Were it late, it is still true
    // that it cannot be recorded.
    tokio::time::sleep(std::time::Duration::from_millis(WRITE_MS)).await;
    ensure!(under_way.writes_recorded(&server).await? == 0, "it cannot have been recorded");
    limit_files(server.pid(), "unlimited").await?;
    until_back(&server).await?;
    under_way.end_well(&server).await?;
    ensure_sound(server, launch()).await
}

/// `doctor` needs to write nothing.
async fn ensure_doctor_looks(launch: &Launch, data: &Path) -> Result<()> {
    let examine = async |arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let mut command = Command::new(&launch.through[0]);
        command.args(&launch.through[1..]).arg(xtask::repo::binary()).arg("--data").arg(data).args(arguments);
        let output = command.output().await?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8(said)?))
    };
    let (code, said) = examine(&["doctor"]).await?;
    ensure!(code == Some(0) && said.contains("folder_read_only"), "{code:?}: {said}");
    let (code, said) = examine(&["doctor", "--repair"]).await?;
    ensure!(code == Some(69) && said.contains("hint: The data folder must be writable"), "{code:?}: {said}");
    let lock = File::open(data.join("workspace.lock"))?;
    lock.try_lock()?;
    let (code, said) = examine(&["doctor"]).await?;
    ensure!(code == Some(69) && said.contains("is held by"), "{code:?}: {said}");
    drop(lock);
    let (log, index) = (data.join("surefoot.db-wal"), data.join("surefoot.db-shm"));
    ensure!(log.metadata()?.len() > 0, "what was looked at had a log");
    std::fs::rename(&index, data.join("aside"))?;
    let (code, said) = examine(&["doctor"]).await?;
    ensure!(code == Some(64) && said.contains("look at the copy"), "{code:?}: {said}");
    std::fs::rename(&log, data.join("log aside"))?;
    let (code, said) = examine(&["doctor"]).await?;
    // What is in the file alone is older.
    ensure!(!said.contains("cannot be read"), "{code:?}: {said}");
    std::fs::rename(data.join("aside"), index)?;
    Ok(std::fs::rename(data.join("log aside"), log)?)
}

/// A data folder that is there and cannot be written, and one that cannot be made.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_folder_says_what_to_do() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = SurefootProcess::start(&data).await?;
    ensure!(server.stop().await? == Some(0), "the server did not stop in order");
    let before = std::fs::read(data.join("surefoot.db"))?;
    let namespace = Namespace::with_read_only(folder.path()).await?;
    for data in [data.clone(), folder.path().join("other")] {
        let mut launch = Launch::new(&data);
        launch.through = namespace.enter()?;
        let output = launch.command()?.output().await?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(69), "{}: {said}", output.status);
        ensure!(said.contains("error: ") && said.contains(&data.display().to_string()), "{said}");
        ensure!(said.contains("hint: The data folder must be writable"), "{said}");
    }
    let mut launch = Launch::new(&data);
    launch.through = namespace.enter()?;
    ensure_doctor_looks(&launch, &data).await?;
    drop(namespace);
    ensure!(std::fs::read(data.join("surefoot.db"))? == before, "the database was changed");
    let server = SurefootProcess::start(&data).await?;
    ensure!(server.stop().await? == Some(0), "the server did not stop in order");
    Ok(())
}

/// Runs that many executions of so many steps each. Returns how often the disk was flushed for a step.
async fn flushes_per_step(executions: usize, steps: usize) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace");
    let mut launch = Launch::new(&folder.path().join("data"));
    let output = trace.to_str().context("the path is text")?;
    // A disk that takes its time: where flushing is faster than computing, nobody has to wait and nothing is shared.
    let delay = "--inject=fsync,fdatasync:delay_enter=5000";
    let strace = ["strace", "--follow-forks", "--seccomp-bpf", "--trace=fsync,fdatasync", delay, "--output", output];
    launch.through = strace.map(str::to_owned).to_vec();
    let server = launch.start().await?;
    server.deploy("test-guest").await?;
    // The first one also loads the component.
    let id = server.run("test-guest", json!({"mode": "storm", "key": "first"})).await?;
    ensure_success(&server.ended(&id).await?)?;
    let flushes = || -> Result<usize> {
        let trace = std::fs::read_to_string(&trace)?;
        Ok(trace.lines().filter(|line| line.contains("sync(")).count())
    };
    let before = flushes()?;
    let part = json!({"mode": "storm", "key": "steps", "steps": steps});
    let started = (0..executions).map(|_| server.run("test-guest", part.clone()));
    let ids = futures::future::try_join_all(started).await?;
    for id in ids {
        ensure_success(&server.ended(&id).await?)?;
    }
    ensure!(server.stop().await? == Some(0), "the server did not stop in order");
    let after = flushes()?;
    ensure!(after > before, "strace saw nothing");
    Ok((after - before) as f64 / (executions * steps) as f64)
}

/// A commit that serves one execution is one flush: a step that reads costs no more, but for what starting and stopping
/// cost.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_one_execution_is_at_most_one_flush() -> Result<()> {
    let flushes = flushes_per_step(1, 400).await?;
    ensure!(flushes <= 1.1, "{flushes} flushes for each step");
    Ok(())
}

/// A commit serves all who wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn steps_of_many_executions_share_their_flushes() -> Result<()> {
    let flushes = flushes_per_step(32, 100).await?;
    ensure!(flushes < 0.25, "{flushes} flushes for each step");
    Ok(())
}
