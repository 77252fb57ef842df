//! `kill -9` of the real binary at random moments of the upgrade-safely flow. The target systems live in the test's
//! own process, and
//! survive.
//!
//! `SUREFOOT_KILL_ROUNDS` says how often each variant is killed.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use surefoot_fixtures::{Fault, System, Targets};
use surefoot_tests::server_process::{Launch, SurefootProcess};
use surefoot_tests::workspace::{PATIENCE, Workspace, expected_body};

/// The longest time until the kill. The flow takes about that long, most of it in its sleep.
const KILL_WITHIN_MS: u64 = 1400;

fn rounds() -> usize {
    std::env::var("SUREFOOT_KILL_ROUNDS").map_or(10, |rounds| rounds.parse().expect("SUREFOOT_KILL_ROUNDS is a number"))
}

/// A moment after the start. Half of them are in the busy parts before and after the flow's sleep.
fn moment(round: usize) -> Duration {
    let random = u64::from_le_bytes(uuid::Uuid::new_v4().into_bytes()[..8].try_into().expect("eight bytes"));
    Duration::from_millis(match round % 4 {
        0 => random % 120,
        1 => 1000 + random % (KILL_WITHIN_MS - 1000),
        _ => random % KILL_WITHIN_MS,
    })
}

/// A workspace on disk with all that the flow needs, and nobody at work on it.
async fn prepare(data: &Path, targets: &Targets) -> Result<()> {
    let data = data.to_owned();
    let workspace = Workspace::open_with(|config| config.data = data)?;
    workspace.prepare_upgrade_check(targets).await?;
    workspace.engine.shutdown(Duration::from_secs(10)).await?;
    Ok(())
}

struct Ended {
    status: u64,
    body: String,
    journal: Vec<Value>,
}

/// Starts the flow, kills the engine after `moment`, starts it again, and waits for the end.
async fn run_with_a_kill(data: &Path, input: &Value, moment: Duration) -> Result<Ended> {
    let server = SurefootProcess::start(data).await?;
    let id = server.run("upgrade-safely", input.clone()).await?;
    tokio::time::sleep(moment).await;
    server.kill().await?;
    let server = SurefootProcess::start(data).await?;
    let row = server.ended(&id).await?;
    let journal = server.journal(&id).await?;
    let schedule = server.api(Method::GET, "schedules/my-test-schedule", None).await?;
    ensure!(schedule["is_enabled"] == false, "the schedule was left enabled: {schedule}");
    server.kill().await?;
    let response = &row["response"];
    let status = response["status"].as_u64().with_context(|| format!("no response: {row:#}"))?;
    Ok(Ended { status, body: response["body"].as_str().unwrap_or_default().to_owned(), journal })
}

/// Names of the connections that a kill cut between intent and result.
fn interrupted(journal: &[Value]) -> Vec<String> {
    let cut = journal.iter().filter(|record| record["record"] == "settled" && record["outcome"] == "i");
    cut.map(|settled| {
        let start = journal.iter().find(|record| record["record"] == "call" && record["call"] == settled["call"]);
        start.and_then(|start| start["args"]["connector"].as_str()).unwrap_or_default().to_owned()
    })
    .collect()
}

/// Kills the flow with this input at random moments, as often as asked for. `check` gets each end, how many mails were
/// sent meanwhile, and what to say when it is wrong.
async fn kill_at_random(input: Value, check: impl Fn(&Ended, usize, &str)) -> Result<()> {
    let targets = Targets::start().await?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    prepare(&data, &targets).await?;
    for round in 0..rounds() {
        let moment = moment(round);
        let mails = targets.smtp.mails().len();
        let ended = run_with_a_kill(&data, &input, moment).await?;
        let sent = targets.smtp.mails().len() - mails;
        check(&ended, sent, &format!("round {round}, killed after {moment:?}, journal: {:#?}", ended.journal));
    }
    Ok(())
}

/// The answer is the same whenever the engine is killed, but for a mail that was cut in two: then exactly that check
/// fails.
#[tokio::test(flavor = "multi_thread")]
async fn c_30_soak_kills_at_random_moments_change_nothing_but_an_interrupted_mail() -> Result<()> {
    kill_at_random(json!({"schedule_wait_seconds": 1}), |ended, sent, context| {
        let answer = (ended.status, ended.body.as_str());
        if interrupted(&ended.journal).is_empty() {
            assert_eq!(answer, (200, expected_body(&[]).as_str()), "{context}");
            assert_eq!(sent, 1, "{context}");
        } else {
            assert_eq!(interrupted(&ended.journal), ["my-smtp-connector"], "{context}");
            assert_eq!(answer, (500, expected_body(&["my-smtp-connector failed"]).as_str()), "{context}");
            assert!(sent <= 1, "{context}");
        }
    })
    .await
}

/// With `on_interrupt=retry` on the mail the answer is always the same.
#[tokio::test(flavor = "multi_thread")]
async fn c_30_soak_kills_with_retry_on_the_mail_always_end_the_same() -> Result<()> {
    kill_at_random(json!({"schedule_wait_seconds": 1, "mail_on_interrupt": "retry"}), |ended, sent, context| {
        assert_eq!((ended.status, ended.body.as_str()), (200, expected_body(&[]).as_str()), "{context}");
        assert!(sent >= 1, "{context}");
    })
    .await
}

/// Starts the flow while `system` accepts connections and says nothing, kills the engine in the middle of that call,
/// mends the system, and
/// waits for the end.
async fn kill_in_the_middle_of(system: System, targets: &Targets, data: &Path) -> Result<(Value, Vec<Value>)> {
    let service = targets.service(system);
    service.set_fault(Fault::Hang);
    let before = service.connections();
    let server = SurefootProcess::start(data).await?;
    let id = server.run("upgrade-safely", json!({"schedule_wait_seconds": 1})).await?;
    let called = async {
        while service.connections() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), called).await.context("the system was never called")?;
    server.kill().await?;
    targets.mend_system(&system.to_string()).await?;
    let server = SurefootProcess::start(data).await?;
    let row = server.ended(&id).await?;
    let journal = server.journal(&id).await?;
    server.kill().await?;
    Ok((row, journal))
}

/// A read or idempotent call that a kill cut in two is performed again.
#[tokio::test(flavor = "multi_thread")]
async fn reads_and_idempotent_calls_that_a_kill_cut_in_two_are_performed_again() -> Result<()> {
    let targets = Targets::start().await?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    prepare(&data, &targets).await?;
    for system in [System::Ftp, System::Scp, System::Mssql] {
        let (row, journal) = kill_in_the_middle_of(system, &targets, &data).await?;
        assert_eq!(row["response"]["body"], expected_body(&[]), "{system}: {journal:#?}");
    }
    Ok(())
}

/// The first Ctrl-C waits for a call that takes ten minutes; the second one does not, and the next start takes it up.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_stops_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let server = Launch { log: Some(File::create(&log)?), ..Launch::new(&data) }.start().await?;
    server.deploy("test-guest").await?;
    let call = json!({"mode": "connect", "connector": "type:echo", "inputs": {"delay_ms": 600_000}});
    let id = server.run("test-guest", call).await?;
    server.until(Method::GET, &format!("executions/{id}"), None, |_, row| row["status"] == "RUNNING").await?;
    server.signal(Signal::SIGINT)?;
    let stops = async {
        while !std::fs::read_to_string(&log)?.contains("a second signal stops at once") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, stops).await.context("it never said that it stops")??;
    server.signal(Signal::SIGINT)?;
    assert_eq!(server.exited().await?, Some(130));
    let server = SurefootProcess::start(&data).await?;
    let row = server.api(Method::GET, &format!("executions/{id}"), None).await?;
    assert!(row["ended_at"].is_null(), "it was under way: {row:#}");
    server.api(Method::POST, &format!("executions/{id}/cancel"), None).await?;
    assert_eq!(server.ended(&id).await?["status"], "ENDED_CANCELLED");
    server.kill().await
}

/// A kill while the mail server has not answered: the intent is durable, the result is not, and the mail is not sent
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_a_kill_cut_in_two_ends_as_interrupted() -> Result<()> {
    let targets = Targets::start().await?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    prepare(&data, &targets).await?;
    let (row, journal) = kill_in_the_middle_of(System::Smtp, &targets, &data).await?;
    assert_eq!(row["response"]["body"], expected_body(&["my-smtp-connector failed"]), "{row:#}");
    let mut checks = journal.iter().filter(|record| record["kind"] == "check");
    let mail = checks.find(|check| check["args"]["name"] == "my-smtp-connector").context("a check of that name")?;
    assert!(mail["args"]["message"].as_str().unwrap_or_default().contains("interrupted"), "{mail:#}");
    assert_eq!(targets.smtp.mails().len(), 0, "what may have been done is not done again");
    Ok(())
}
