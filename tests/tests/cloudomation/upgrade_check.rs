//! The whole example against live target systems.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_fixtures::{Fault, System, Targets};
use surefoot_tests::workspace::{BREAKABLE, SCHEDULER_WAIT, Workspace, ensure_success, expected_body, id, response};

const FTP: &str = BREAKABLE[0].1;
const SCP: &str = BREAKABLE[1].1;
const SMTP: &str = BREAKABLE[3].1;

async fn verdict(workspace: &Workspace) -> Result<(u64, String)> {
    response(&workspace.run_upgrade_check().await?)
}

async fn prepared() -> Result<(Targets, Workspace)> {
    let targets = Targets::start().await?;
    let workspace = Workspace::open_in_still_time()?;
    workspace.prepare_upgrade_check(&targets).await?;
    Ok((targets, workspace))
}

/// A connector that is missing is its label in the answer, and its check says why; nothing reaches its server.
///
/// That a check which cannot be made is told from one that failed comes with the upgrade records.
#[tokio::test(flavor = "multi_thread")]
async fn c_05_a_missing_connector_is_named() -> Result<()> {
    let (targets, workspace) = prepared().await?;
    workspace.engine.delete(Kind::Connector, "my-smtp-connector", true, "test").await?;
    let row = workspace.run_upgrade_check().await?;
    assert_eq!(response(&row)?, (500, expected_body(&[SMTP])));
    let checks = workspace.checks(id(&row)).await?;
    let message = checks[3]["message"].as_str().unwrap();
    assert!(message.contains("there is no connector `my-smtp-connector`"), "{message}");
    assert_eq!(targets.service(System::Smtp).connections(), 0);
    Ok(())
}

/// A failed check does not end the flow: all that failed is listed, in the order of the flow.
#[tokio::test(flavor = "multi_thread")]
async fn c_06_all_failures_are_listed_in_flow_order() -> Result<()> {
    let (targets, workspace) = prepared().await?;
    for system in ["smtp", "ftp"] {
        targets.break_system(system).await?;
    }
    assert_eq!(verdict(&workspace).await?, (500, expected_body(&[FTP, SCP, SMTP])));
    Ok(())
}

/// The example's connections carry the names that it gives them.
#[tokio::test(flavor = "multi_thread")]
async fn c_09_the_examples_connections_have_their_names() -> Result<()> {
    let (targets, workspace) = prepared().await?;
    let row = workspace.run_upgrade_check().await?;
    assert_eq!(response(&row)?, (200, expected_body(&[])));
    let connections = workspace.connections(id(&row)).await?;
    let names: Vec<&Value> = connections.iter().map(|connection| &connection["name"]).collect();
    assert_eq!(names, ["download from FTP server", "move to remote", "execute MSSQL query", "send mail"]);
    assert_eq!(connections[0]["input"], json!({"src": "my/test/file.txt", "dst": "surefoot:my-test-file.txt"}));
    assert_eq!(targets.smtp.mails().len(), 1);
    Ok(())
}

/// Checks have the same names in each run, and a label in the answer is the name of a failed check.
///
/// Their use as names of test cases comes with the reports.
#[tokio::test(flavor = "multi_thread")]
async fn c_23_names_of_checks_are_stable_and_fit_the_labels() -> Result<()> {
    let (targets, workspace) = prepared().await?;
    let mut names = Vec::new();
    for broken in [false, true] {
        if broken {
            targets.break_system("mssql").await?;
            workspace.break_one(&targets, "flow-2").await?;
        }
        let row = workspace.run_upgrade_check().await?;
        let checks = workspace.checks(id(&row)).await?;
        let failed = checks.iter().filter(|check| check["outcome"] == "fail");
        let labels: Vec<String> = failed.map(|check| format!("{} failed", check["name"].as_str().unwrap())).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        assert_eq!(response(&row)?.1, expected_body(&labels));
        assert_eq!(labels.len(), if broken { 2 } else { 0 });
        names.push(checks.into_iter().map(|mut check| check["name"].take()).collect::<Vec<_>>());
    }
    assert_eq!(names[0], names[1]);
    assert_eq!(names[0].len(), BREAKABLE.len());
    Ok(())
}

/// The body is the documented one, byte for byte, with nothing broken, each single thing, and everything.
#[tokio::test(flavor = "multi_thread")]
async fn c_24_the_body_is_exact_for_none_each_and_all_broken() -> Result<()> {
    let (targets, workspace) = prepared().await?;
    assert_eq!(verdict(&workspace).await?, (200, "Test successful.".to_owned()));
    for (what, label) in BREAKABLE {
        workspace.break_one(&targets, what).await?;
        // Without the download there is nothing to move on.
        let labels = if what == "ftp" { vec![FTP, SCP] } else { vec![label] };
        assert_eq!(verdict(&workspace).await?, (500, expected_body(&labels)), "{what} is broken");
        workspace.mend_one(&targets, what).await?;
    }
    for (what, _) in BREAKABLE {
        workspace.break_one(&targets, what).await?;
    }
    let all = "Test unsuccessful. Errors: \n\
        my-ftp-connector failed\n\
        my-scp-connector failed\n\
        my-mssql-connector failed\n\
        my-smtp-connector failed\n\
        my-self-build-scheduler failed\n\
        my-critical-flow-1 failed\n\
        my-critical-flow-2 failed";
    assert_eq!(verdict(&workspace).await?, (500, all.to_owned()));
    for (what, _) in BREAKABLE {
        workspace.mend_one(&targets, what).await?;
    }
    assert_eq!(verdict(&workspace).await?, (200, "Test successful.".to_owned()), "all is mended");
    Ok(())
}

/// With the FTP server down, FTP and SCP are listed, and nothing traps.
#[tokio::test(flavor = "multi_thread")]
async fn c_31_ftp_down_lists_ftp_and_scp() -> Result<()> {
    let (targets, workspace) = prepared().await?;
    targets.break_system("ftp").await?;
    let row = workspace.run_upgrade_check().await?;
    assert_eq!(response(&row)?, (500, expected_body(&[FTP, SCP])));
    let deletes = workspace.calls(id(&row), "file_delete").await?;
    assert!(!deletes.is_empty() && deletes.iter().all(|call| call["reply"] == json!({"b": false})), "{deletes:?}");
    Ok(())
}

/// What an aborted run left behind does not disturb the next one.
///
/// That nothing disturbs a run whose engine is killed is in the tests that kill it.
#[tokio::test(flavor = "multi_thread")]
async fn c_30_a_run_after_an_aborted_one_passes() -> Result<()> {
    let (targets, workspace) = prepared().await?;
    targets.scp.set_fault(Fault::Hang);
    let aborted = workspace.start("upgrade-safely", json!({})).await?;
    let reached = async || Ok((targets.scp.connections() > 0).then_some(()));
    workspace.eventually(reached).await?;
    assert!(workspace.record(Kind::File, "my-test-file.txt").await.is_ok(), "step 1.1 is done");
    workspace.engine.cancel(&aborted, "test").await?;
    assert_eq!(workspace.ended(&aborted).await?["status"], "ENDED_CANCELLED");
    targets.mend_system("scp").await?;

    // More than it leaves behind: an old file under the name, and a schedule that is still enabled.
    workspace.put_file("my-test-file.txt", "of another run").await?;
    let schedule = workspace.prepare_scheduler(json!({"interval_seconds": 3600})).await?;
    workspace.save(Kind::Schedule, "my-test-schedule", schedule.clone()).await?;
    workspace.save(Kind::Schedule, "my-test-schedule", json!({"is_enabled": false})).await?;

    assert_eq!(verdict(&workspace).await?, (200, expected_body(&[])));
    let moved = std::fs::read(targets.scp.file("/path/to/remote/my-test-file.txt"))?;
    assert_eq!(moved, std::fs::read(targets.ftp.root().join("my/test/file.txt"))?);
    Ok(())
}

/// Whatever its end, the example cleans up: cancelled while its schedule is enabled, it leaves neither that nor a file.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_leaves_neither_schedule_nor_file() -> Result<()> {
    let (_targets, workspace) = prepared().await?;
    let check = workspace.start("upgrade-safely", json!({})).await?;
    let in_its_sleep = |row: &Value| row["message"] == SCHEDULER_WAIT && row["status"] == "WAITING";
    workspace.until(&check, in_its_sleep).await?;
    assert_eq!(workspace.record(Kind::Schedule, "my-test-schedule").await?["is_enabled"], true);
    workspace.put_file("my-test-file.txt", "as if the cancel had come before the delete").await?;

    workspace.engine.cancel(&check, "test").await?;
    let row = workspace.ended(&check).await?;
    assert_eq!((&row["status"], &row["response"]), (&json!("ENDED_CANCELLED"), &Value::Null));
    assert_eq!(workspace.record(Kind::Schedule, "my-test-schedule").await?["is_enabled"], false);
    assert!(workspace.record(Kind::File, "my-test-file.txt").await.is_err());
    let is_schedule = json!({"field": "type", "op": "eq", "value": "SCHEDULE"});
    let all_ended = |rows: &[Value]| rows.iter().all(|row| row["ended_at"].is_string());
    let iterations = workspace.until_rows("execution", is_schedule.clone(), all_ended).await?;
    workspace.advance(Duration::from_secs(90))?;
    ensure_success(&workspace.run("my-critical-flow-2", json!({"test": true})).await?)?;
    assert_eq!(workspace.rows("execution", is_schedule).await?.len(), iterations.len(), "no new iteration");
    Ok(())
}
