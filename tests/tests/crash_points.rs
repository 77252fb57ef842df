//! Every example flow, whatever it does: the process dies before and after each of its commits and twice in a row, each
//! of its calls fails, it is cancelled at each of its commits. The flows are found, not listed: a new one is covered
//! by itself.
//!
//! The short form takes some points of each flow; `SUREFOOT_CRASH_POINTS` says how many, and `all` takes all.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use serde_json::{Value, json};
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, ErrorClass, Inputs};
use surefoot_engine::session::QueryCall;
use surefoot_engine::{CommitMoment, Config, Engine, StartRequest};
use surefoot_fixtures::Targets;
use surefoot_tests::workspace::{PATIENCE, Workspace};
use tokio::sync::Notify;

/// An input that every example flow understands: each takes its own and leaves the rest.
fn input() -> Value {
    json!({
        "test": true, "n": 2, "seconds": 0.4, "schedule_wait_seconds": 1,
        "schedule_id": "by hand", "setting_id": "each second", "flow_id": "my-test-flow",
    })
}

/// How many points of `count` are taken, and which.
fn points(count: u32) -> Vec<u32> {
    let asked = std::env::var("SUREFOOT_CRASH_POINTS").unwrap_or_else(|_| "2".into());
    let taken = if asked == "all" { count } else { asked.parse().expect("SUREFOOT_CRASH_POINTS is a number or `all`") };
    (0..taken.min(count)).map(|index| (index * 2 + 1) * count / (2 * taken.min(count))).collect()
}

/// What happens to one run.
#[derive(Clone, Debug, Default)]
struct Trouble {
    /// Where the first processes die, one after the other: at which of their commits.
    deaths: Vec<(u32, Moment)>,
    /// Which call of a connector fails, counted from 0.
    failing_call: Option<u32>,
    /// After which commit the flow is cancelled.
    cancel_at: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    Before,
    After,
}

/// What became of a run.
#[derive(Debug)]
struct Ended {
    row: Value,
    journal: Vec<Value>,
    /// Commits of the last process.
    commits: u32,
    calls: u32,
    deaths: usize,
}

/// A connector that counts the calls of all, and lets one of them fail.
struct Counted {
    connector: Arc<dyn Connector>,
    calls: Arc<AtomicU32>,
    failing: Option<u32>,
}

#[async_trait]
impl Connector for Counted {
    fn type_name(&self) -> &'static str {
        self.connector.type_name()
    }

    fn description(&self) -> &'static str {
        self.connector.description()
    }

    fn input_schema(&self) -> Value {
        self.connector.input_schema()
    }

    fn output_schema(&self) -> Value {
        self.connector.output_schema()
    }

    fn effect(&self, inputs: &Inputs) -> Effect {
        self.connector.effect(inputs)
    }

    async fn call(&self, context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        if Some(self.calls.fetch_add(1, Ordering::SeqCst)) == self.failing {
            return Err(CallError::rejected(ErrorClass::Refused, "told to fail"));
        }
        self.connector.call(context, inputs).await
    }
}

/// All that an example flow may need, in a folder that is copied for each run.
async fn prepare(targets: &Targets) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let workspace = Workspace::open_with(|config| config.data = data)?;
    workspace.prepare_upgrade_check(targets).await?;
    for flow in xtask::flows::names()? {
        workspace.deploy_as(&flow, &flow).await?;
    }
    let setting = json!({"value": {"interval_seconds": 1}});
    workspace.save(surefoot_engine::query::Kind::Setting, "each second", setting).await?;
    workspace.engine.shutdown(PATIENCE).await?;
    Ok(folder)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            // Machine code is large and never changed.
            false if entry.path().extension().is_some_and(|ending| ending == "cwasm") => {
                std::fs::hard_link(entry.path(), &target)?;
            }
            false => drop(std::fs::copy(entry.path(), &target)?),
        }
    }
    Ok(())
}

/// Runs a flow through its trouble to its end.
async fn play(template: &Path, flow: &str, trouble: &Trouble) -> Result<Ended> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    copy(&template.join("data"), &data)?;
    let calls = Arc::new(AtomicU32::new(0));
    let mut deaths = trouble.deaths.iter();
    let mut died = 0;
    loop {
        let death = deaths.next().copied();
        let (commits, dead) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let (counted, told) = (commits.clone(), dead.clone());
        let mut config = Config::new(&data);
        config.egress = surefoot_connector_api::EgressPolicy { allow: vec!["127.0.0.1".parse()?] };
        config.dies_at = Some(Arc::new(move |moment| {
            let commit = counted.fetch_add(u32::from(moment == CommitMoment::After), Ordering::SeqCst);
            let moment = if moment == CommitMoment::Before { Moment::Before } else { Moment::After };
            let dies = death == Some((commit, moment));
            if dies {
                told.notify_one();
            }
            dies
        }));
        let wrap = |connector| -> Arc<dyn Connector> {
            Arc::new(Counted { connector, calls: calls.clone(), failing: trouble.failing_call })
        };
        let engine = Engine::open(config, surefoot_connectors::all().into_iter().map(wrap).collect())?;
        let ended = tokio::select! {
            ended = run(&engine, flow, trouble, &commits) => Some(ended?),
            () = dead.notified() => None,
        };
        let commits = commits.load(Ordering::SeqCst);
        engine.shutdown(if ended.is_some() { PATIENCE } else { Duration::ZERO }).await?;
        match ended {
            Some((row, journal)) => {
                return Ok(Ended { row, journal, commits, calls: calls.load(Ordering::SeqCst), deaths: died });
            }
            None => died += 1,
        }
    }
}

/// Starts the flow, or joins what a former process started, and waits until it and all that it started have ended.
async fn run(engine: &Engine, flow: &str, trouble: &Trouble, commits: &AtomicU32) -> Result<(Value, Vec<Value>)> {
    let request = StartRequest {
        flow: flow.to_owned(),
        input: input(),
        by: "test".into(),
        webhook_id: Some("test".into()),
        idempotency_key: Some("the one".into()),
        ..StartRequest::default()
    };
    let id = match engine.start(request).await {
        Ok((id, _)) => id,
        // The process died under it.
        Err(_) => std::future::pending().await,
    };
    let mut changes = engine.changes();
    let work = async {
        loop {
            if trouble.cancel_at.is_some_and(|at| commits.load(Ordering::SeqCst) > at) {
                // It may have ended meanwhile.
                let _ = engine.cancel(&id, "test").await;
                break;
            }
            if engine.execution(&id).await?["ended_at"].is_string() {
                break;
            }
            // A change is announced, or a commit is nobody's: both are seen soon.
            let _ = tokio::time::timeout(Duration::from_millis(20), changes.recv()).await;
        }
        let row = engine.wait_ended(&id, None).await?.context("it waits for ever")?;
        let unended = json!({"and": [
            {"field": "ended_at", "op": "is_null"}, {"field": "type", "op": "eq", "value": "FLOW"},
        ]});
        let query = QueryCall { kind: "execution".into(), filter: Some(unended), ..QueryCall::default() };
        while !engine.query(query.clone()).await?.rows.is_empty() {
            let _ = tokio::time::timeout(Duration::from_millis(20), changes.recv()).await;
        }
        anyhow::Ok((row, engine.journal(&id).await?))
    };
    tokio::time::timeout(PATIENCE, work).await.with_context(|| format!("{flow} is stuck: {trouble:?}"))?
}

fn calls_made(ended: &Ended) -> Vec<Value> {
    ended.journal.iter().filter(|record| record["record"] == "call").map(|record| record["kind"].clone()).collect()
}

fn was_interrupted(ended: &Ended) -> bool {
    ended.journal.iter().any(|record| record["record"] == "settled" && record["outcome"] == "i")
}

/// Whatever happens, these never do.
fn ensure_in_order(flow: &str, trouble: &Trouble, ended: &Ended) -> Result<()> {
    let code = ended.row["error_code"].as_str().unwrap_or_default();
    let bad = ["internal", "nondeterminism", "journal_damaged", "unsupported"].contains(&code);
    ensure!(!bad && ended.row["ended_at"].is_string(), "{flow} with {trouble:?} ended as {:#}", ended.row);
    Ok(())
}

/// The same end as without the trouble, but for a write that was cut in two.
fn ensure_same(flow: &str, trouble: &Trouble, calm: &Ended, ended: &Ended) -> Result<()> {
    ensure_in_order(flow, trouble, ended)?;
    if was_interrupted(ended) {
        return Ok(());
    }
    let (before, after) = (&calm.row, &ended.row);
    for field in ["status", "error_code", "response"] {
        ensure!(
            before[field] == after[field],
            "{flow} with {trouble:?}: {field} was {} and is {after:#}",
            before[field]
        );
    }
    ensure!(calls_made(calm) == calls_made(ended), "{flow} with {trouble:?} made other calls: {:#?}", ended.journal);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn soak_every_example_flow_survives_deaths_failures_and_cancels_at_every_point() -> Result<()> {
    let targets = Targets::start().await?;
    let template = prepare(&targets).await?;
    let template = template.path();
    let flows = xtask::flows::names()?;
    ensure!(flows.len() >= 8, "the example flows are not found: {flows:?}");
    let mut deaths = 0;
    for flow in &flows {
        let calm = play(template, flow, &Trouble::default()).await?;
        ensure!(calm.row["status"] == "ENDED_SUCCESS", "{flow} does not succeed: {:#}", calm.row);
        for (index, commit) in points(calm.commits).into_iter().enumerate() {
            let moment = if index % 2 == 0 { Moment::Before } else { Moment::After };
            let other = if index % 2 == 0 { Moment::After } else { Moment::Before };
            // Twice in a row: what was replayed is replayed again.
            for moments in [vec![(commit, moment)], vec![(commit, other), (1, moment)]] {
                let trouble = Trouble { deaths: moments, ..Trouble::default() };
                let ended = play(template, flow, &trouble).await?;
                ensure_same(flow, &trouble, &calm, &ended)?;
                deaths += ended.deaths;
            }
            let trouble = Trouble { cancel_at: Some(commit), ..Trouble::default() };
            ensure_in_order(flow, &trouble, &play(template, flow, &trouble).await?)?;
        }
        for call in points(calm.calls) {
            let trouble = Trouble { failing_call: Some(call), ..Trouble::default() };
            ensure_in_order(flow, &trouble, &play(template, flow, &trouble).await?)?;
        }
    }
    ensure!(deaths >= flows.len() * 2, "the processes died only {deaths} times");
    Ok(())
}
