//! `kill -9` of the real binary, again and again, with 500 executions in flight: all end right, no write is done twice.
//!
//! The ledger is a table of an SQL server in the test's own process, which survives. Each write inserts a line of its
//! own. `SUREFOOT_STORM_ROUNDS` says how many storms there are.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use surefoot_fixtures::tds::{self, TdsConfig, TdsServer};
use surefoot_tests::server_process::{Launch, SurefootProcess, answer};
use tokio::sync::watch;

/// Executions that are started for one storm; with their children they are 500.
const PARENTS: usize = 350;

/// Callers at one time.
const CALLERS: usize = 16;

/// The schedule that ticks all the time, every second.
const TICKS: &str = "ticks";

fn rounds() -> usize {
    std::env::var("SUREFOOT_STORM_ROUNDS")
        .map_or(5, |rounds| rounds.parse().expect("SUREFOOT_STORM_ROUNDS is a number"))
}

/// Below `end`, by chance.
fn random(end: u64) -> u64 {
    u64::from_le_bytes(uuid::Uuid::new_v4().into_bytes()[..8].try_into().expect("eight bytes")) % end
}

/// What the execution of that number does: reads, or writes, or a sleep, a signal, children, or all of them.
fn part(round: usize, number: usize) -> Value {
    let key = format!("{round}-{number}");
    let sleep_ms = random(2500);
    match number % 7 {
        0 => json!({"mode": "storm", "key": key, "steps": 20}),
        1 => json!({"mode": "storm", "key": key, "writes": 3}),
        2 => json!({"mode": "storm", "key": key, "sleep_ms": sleep_ms, "steps": 2}),
        3 => json!({"mode": "storm", "key": key, "steps": 1, "signal": "go", "writes": 1}),
        4 => {
            let child = |n: u32| json!({"mode": "storm", "key": format!("{key}-{n}"), "steps": 2, "writes": 1});
            json!({"mode": "storm", "key": key, "children": [child(0), child(1), child(2)]})
        }
        5 => json!({"mode": "storm", "key": key, "writes": 1, "sleep_ms": sleep_ms, "signal": "go"}),
        _ => json!({"mode": "storm", "key": key, "steps": 3, "writes": 1, "sleep_ms": 200}),
    }
}

/// The server that is there at the moment; none while there is none.
type Present = watch::Receiver<Option<Arc<SurefootProcess>>>;

/// Asks until there is an answer: whoever starts something through a webhook with an idempotency key may do that.
async fn insist(
    mut present: Present,
    request: impl Fn(&SurefootProcess) -> reqwest::RequestBuilder,
) -> Result<(StatusCode, Value)> {
    loop {
        let server = present.wait_for(Option::is_some).await?.clone().context("there is one")?;
        match answer(request(&server).timeout(Duration::from_secs(30))).await {
            Ok((status, said)) if status != StatusCode::SERVICE_UNAVAILABLE => return Ok((status, said)),
            Ok(_) | Err(_) => {}
        }
        drop(server);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Starts one execution, exactly once, and sends it its signal, if it waits for one. Returns its id.
async fn start(present: Present, round: usize, number: usize) -> Result<String> {
    let input = part(round, number);
    let (status, said) = insist(present.clone(), |server| {
        let url = format!("{}/api/latest/webhook/storm/call?async=1", server.url());
        let key = format!("{round}-{number}");
        reqwest::Client::new().post(url).header("idempotency-key", key).json(&input)
    })
    .await?;
    ensure!(status == StatusCode::ACCEPTED, "starting {input} answered {status}: {said:#}");
    let id = said["id"].as_str().context("an id")?.to_owned();
    if let Some(name) = input["signal"].as_str() {
        let path = format!("executions/{id}/signals/{name}");
        let body = json!({"payload": number, "id": format!("{id}-{name}")});
        let (status, said) = insist(present, |server| server.request(Method::POST, &path).json(&body)).await?;
        // It may have come through before, although nobody heard of that, and the execution has ended by it.
        ensure!(status == StatusCode::ACCEPTED || status == StatusCode::CONFLICT, "{path}: {status}: {said:#}");
    }
    Ok(id)
}

struct Storm {
    folder: tempfile::TempDir,
    ledger: TdsServer,
}

impl Storm {
    /// A workspace with flow, webhook, ledger and a schedule, and nobody at work on it.
    async fn prepare() -> Result<Self> {
        let storm = Self { folder: tempfile::tempdir()?, ledger: tds::start(TdsConfig::default()).await? };
        storm.ledger.database()?.execute_batch("CREATE TABLE ledger (line TEXT NOT NULL)")?;
        let server = SurefootProcess::start(&storm.data()).await?;
        server.deploy("test-guest").await?;
        let put = async |path: &str, fields: Value| server.save(path, fields).await;
        let credentials = storm.ledger.credentials();
        let address = storm.ledger.addr();
        let config = json!({
            "hostname": address.ip().to_string(), "port": address.port(), "encrypt": "off",
            "username": credentials.username, "password": credentials.password,
            "execute": "INSERT INTO ledger (line) VALUES (@P1)",
        });
        put("connectors/ledger", json!({"type": "mssql", "config": config})).await?;
        let flow = server.api(Method::GET, "flows/test-guest", None).await?;
        let webhook = json!({"flow_id": flow["id"], "is_enabled": true, "is_key_required": false});
        put("webhooks/storm", webhook).await?;
        let setting = put("settings/every-second", json!({"value": {"cron": "* * * * * *"}})).await?;
        let schedule = json!({
            "scheduler_id": "cron", "setting_id": setting["id"], "flow_id": flow["id"], "is_enabled": true,
        });
        put(&format!("schedules/{TICKS}"), schedule).await?;
        server.kill().await?;
        Ok(storm)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Every line of the ledger, and how often it is there.
    fn lines(&self) -> Result<BTreeMap<String, i64>> {
        let database = self.ledger.database()?;
        let mut statement = database.prepare("SELECT line, count(*) FROM ledger GROUP BY line")?;
        let lines = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(lines.collect::<Result<_, _>>()?)
    }
}

/// Kills the server when it has been at work for a while, stops it for a moment before that, kills the next one while
/// it recovers, and lets the one after that work.
async fn rage(data: &Path, present: &watch::Sender<Option<Arc<SurefootProcess>>>) -> Result<Arc<SurefootProcess>> {
    let server = Arc::new(SurefootProcess::start(data).await?);
    present.send_replace(Some(server.clone()));
    tokio::time::sleep(Duration::from_millis(random(2500))).await;
    server.signal(Signal::SIGSTOP)?;
    tokio::time::sleep(Duration::from_millis(random(200))).await;
    server.signal(Signal::SIGCONT)?;
    tokio::time::sleep(Duration::from_millis(random(100))).await;
    present.send_replace(None);
    server.signal(Signal::SIGKILL)?;
    // A process with much memory takes a while to go, and has the workspace until then.
    let lock = File::open(data.join("workspace.lock"))?;
    tokio::task::spawn_blocking(move || lock.lock()).await??;
    // This one is killed before it listens, or just after.
    let mut next = Launch::new(data).command()?.stderr(std::process::Stdio::null()).spawn()?;
    tokio::time::sleep(Duration::from_millis(random(300))).await;
    next.kill().await?;
    let server = Arc::new(SurefootProcess::start(data).await?);
    present.send_replace(Some(server.clone()));
    Ok(server)
}

/// What an execution and its children say of their writes: those that are done, and those that were interrupted.
fn check_part(input: &Value, output: &Value, lines: &BTreeMap<String, i64>) -> Result<()> {
    ensure!(output["key"] == input["key"], "the output is of another: {output:#}");
    let interrupted: Vec<&str> =
        output["interrupted"].as_array().context("a list")?.iter().filter_map(Value::as_str).collect();
    for write in 0..input["writes"].as_u64().unwrap_or_default() {
        let line = format!("{}/{write}", input["key"].as_str().unwrap_or_default());
        match (lines.get(&line).copied().unwrap_or_default(), interrupted.contains(&line.as_str())) {
            (1, _) | (0, true) => {}
            (count, is_interrupted) => bail!("{line} was written {count} times; interrupted: {is_interrupted}"),
        }
    }
    let none = Vec::new();
    let children = input["children"].as_array().unwrap_or(&none);
    let ended = output["children"].as_array().context("a list")?;
    ensure!(children.len() == ended.len(), "a child is missing: {output:#}");
    children.iter().zip(ended).try_for_each(|(input, output)| check_part(input, output, lines))
}

/// One storm: returns when all that was started has ended, and each is right.
async fn storm(storm: &Storm, round: usize) -> Result<()> {
    let (present, at_present) = watch::channel(None);
    let starts = futures::stream::iter(0..PARENTS)
        .map(|number| start(at_present.clone(), round, number))
        .buffered(CALLERS)
        .try_collect::<Vec<String>>();
    let data = storm.data();
    let (ids, server) = tokio::try_join!(starts, rage(&data, &present))?;
    let rows: Vec<Value> =
        futures::stream::iter(&ids).map(|id| server.ended(id)).buffered(CALLERS).try_collect().await?;
    let lines = storm.lines()?;
    for (number, row) in rows.iter().enumerate() {
        let input = &row["input"]["json"];
        ensure!(row["status"] == "ENDED_SUCCESS", "round {round}: {row:#}");
        ensure!(input["key"] == format!("{round}-{number}"), "another execution under this key: {row:#}");
        check_part(input, &row["output"], &lines).with_context(|| format!("round {round}: {row:#}"))?;
    }
    check_ticks(&server, &lines).await?;
    drop((at_present, present));
    Arc::into_inner(server).context("nobody else has it")?.kill().await
}

/// Each time of the schedule was fired once, and the schedule goes on.
async fn check_ticks(server: &SurefootProcess, lines: &BTreeMap<String, i64>) -> Result<()> {
    let twice: Vec<_> = lines.iter().filter(|(_, count)| **count > 1).collect();
    ensure!(twice.is_empty(), "written twice: {twice:?}");
    let schedule = server.api(Method::GET, &format!("schedules/{TICKS}"), None).await?;
    let filter = json!({"and": [
        {"field": "schedule_id", "op": "eq", "value": schedule["id"]}, {"field": "ended_at", "op": "is_null"},
    ]});
    let path = format!("executions?filter={filter}");
    let is_alive = |_, rows: &Value| rows["rows"].as_array().is_some_and(|rows| rows.len() == 1);
    server.until(Method::GET, &path, None, is_alive).await.context("the schedule has one live iteration")?;
    Ok(())
}

/// See the module.
#[tokio::test(flavor = "multi_thread")]
async fn soak_storms_of_kills_lose_nothing_and_do_nothing_twice() -> Result<()> {
    let prepared = Storm::prepare().await?;
    for round in 0..rounds() {
        storm(&prepared, round).await.with_context(|| format!("round {round}"))?;
    }
    Ok(())
}
