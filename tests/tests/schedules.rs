//! Schedules with the built-in scheduler `cron`, and dry runs with any.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use surefoot_engine::Timestamp;
use surefoot_engine::query::Kind;
use surefoot_engine::session::QueryCall;
use surefoot_tests::workspace::{PATIENCE, Workspace};

async fn wait_for_rows(workspace: &Workspace, filter: &Value, enough: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>> {
    let mut changes = workspace.engine.changes();
    let wait = async {
        loop {
            let rows = workspace.rows("execution", filter.clone()).await?;
            if enough(&rows) {
                return Ok(rows);
            }
            let _ = tokio::time::timeout(Duration::from_millis(200), changes.recv()).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await?
}

async fn every_second(workspace: &Workspace) -> Result<Value> {
    workspace.deploy(&["hello"]).await?;
    workspace
        .save(Kind::Setting, "every-second", json!({"value": {"cron": "* * * * * *", "time_zone": "Europe/Vienna"}}))
        .await?;
    let terms = json!({"scheduler_id": "cron", "setting_id": "every-second", "flow_id": "hello", "is_enabled": true});
    workspace.save(Kind::Schedule, "ticks", terms).await
}

/// It starts the flow once for each time, also across a restart, until it is disabled.
#[tokio::test(flavor = "multi_thread")]
async fn cron_fires_once_for_each_time_until_it_is_disabled() -> Result<()> {
    let workspace = Workspace::open()?;
    let schedule = every_second(&workspace).await?;
    let started = json!({"and": [{"field": "type", "op": "eq", "value": "FLOW"}, {"field": "name", "op": "eq",
    "value": "hello"}]});
    wait_for_rows(&workspace, &started, |rows| rows.len() >= 2).await?;
    let workspace = workspace.reopen().await?;
    let rows = wait_for_rows(&workspace, &started, |rows| rows.len() >= 4).await?;
    let mut times: Vec<&str> = rows.iter().filter_map(|row| row["input"]["scheduled_for"].as_str()).collect();
    let count = times.len();
    times.dedup();
    assert_eq!(times.len(), count, "a time fired twice: {rows:#?}");
    workspace.save(Kind::Schedule, "ticks", json!({"is_enabled": false})).await?;
    let alive = json!({"and": [{"field": "schedule_id", "op": "eq", "value": schedule["id"]},
    {"field": "ended_at", "op": "is_null"}]});
    wait_for_rows(&workspace, &alive, <[Value]>::is_empty).await?;
    Ok(())
}

/// A setting that says no times is refused where an enabled schedule has it, with what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_is_refused_with_its_reason() -> Result<()> {
    let workspace = Workspace::open()?;
    every_second(&workspace).await?;
    let wrong = json!({"value": {"cron": "* * * * *", "time_zone": "Mars/Base"}});
    let refused = workspace.save(Kind::Setting, "every-second", wrong).await.expect_err("there is no such zone");
    let refused = refused.to_string();
    assert!(refused.contains("\"ticks\"") && refused.contains("Europe/Vienna"), "{refused}");
    Ok(())
}

/// A schedule that names what does not exist is refused when it is saved.
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_of_something_that_does_not_exist_is_refused() -> Result<()> {
    let workspace = Workspace::open()?;
    every_second(&workspace).await?;
    for (field, value) in [("scheduler_id", "crn"), ("setting_id", "none"), ("flow_id", "helo"), ("project_id", "none")]
    {
        let refused =
            workspace.save(Kind::Schedule, "ticks", json!({field: value})).await.expect_err("it does not exist");
        assert!(refused.to_string().contains(value), "{refused}");
    }
    Ok(())
}

/// The built-in scheduler is not enabled with an expression that can never fire.
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_could_never_fire_is_refused() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["hello"]).await?;
    for (name, value) in [("no-minute", "61 * * * *"), ("no-day", "0 0 30 2 *")] {
        workspace.save(Kind::Setting, name, json!({"value": {"cron": value}})).await?;
        let terms = json!({"scheduler_id": "cron", "setting_id": name, "flow_id": "hello", "is_enabled": true});
        let refused = workspace.save(Kind::Schedule, "never", terms).await.expect_err("it could never fire");
        assert!(refused.to_string().contains(value), "{refused}");
    }
    let without = json!({"scheduler_id": "cron", "flow_id": "hello", "is_enabled": true});
    assert!(workspace.save(Kind::Schedule, "never", without).await.is_err());
    Ok(())
}

/// `SUREFOOT_SCHEDULES` of them come due in the same second. How late the last one was is told, not judged: the machine
/// may be busy.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "a figure for who runs the long form")]
async fn schedules_due_in_one_second_all_fire_once_soak() -> Result<()> {
    let count = std::env::var("SUREFOOT_SCHEDULES").map_or(Ok(200), |count| count.parse::<usize>())?;
    let workspace = Workspace::open_in_still_time()?;
    workspace.deploy(&["hello"]).await?;
    workspace.save(Kind::Setting, "hourly", json!({"value": {"cron": "@hourly"}})).await?;
    let terms = json!({"scheduler_id": "cron", "setting_id": "hourly", "flow_id": "hello", "is_enabled": true});
    let save = async |number| workspace.save(Kind::Schedule, &format!("s{number}"), terms.clone()).await;
    futures::future::try_join_all((0..count).map(save)).await?;
    let waits = json!({"field": "status", "op": "eq", "value": "SCHEDULED"});
    workspace.eventually(async || Ok((number_of(&workspace, &waits).await? == count).then_some(()))).await?;

    let begin = tokio::time::Instant::now();
    workspace.advance(Duration::from_secs(60 * 60))?;
    let fired =
        json!({"and": [{"field": "type", "op": "eq", "value": "FLOW"}, {"field": "ended_at", "op": "is_null"}]});
    let all = json!({"field": "type", "op": "eq", "value": "FLOW"});
    workspace.eventually(async || Ok((number_of(&workspace, &all).await? >= count).then_some(()))).await?;
    let late = begin.elapsed();
    workspace.eventually(async || Ok((number_of(&workspace, &fired).await? == 0).then_some(()))).await?;
    // Each schedule waits for the next hour again.
    workspace.eventually(async || Ok((number_of(&workspace, &waits).await? == count).then_some(()))).await?;
    let rows = pages(&workspace, &all).await?;
    let schedules: BTreeSet<&str> = rows.iter().filter_map(|row| row["input"]["schedule_id"].as_str()).collect();
    assert_eq!((rows.len(), schedules.len()), (count, count), "each fired once");
    assert!(rows.iter().all(|row| row["input"]["scheduled_for"] == "2026-01-01T01:00:00.000000Z"));
    eprintln!("{count} schedules due in one second: the last run was started after {late:?}");
    Ok(())
}

async fn number_of(workspace: &Workspace, filter: &Value) -> Result<usize> {
    Ok(pages(workspace, filter).await?.len())
}

/// All rows, however many pages they take.
async fn pages(workspace: &Workspace, filter: &Value) -> Result<Vec<Value>> {
    let (mut rows, mut cursor) = (Vec::new(), None);
    loop {
        let (kind, filter) = ("execution".into(), Some(filter.clone()));
        let limit = Some(1000);
        let page = workspace.engine.query(QueryCall { kind, filter, limit, cursor, ..QueryCall::default() }).await?;
        rows.extend(page.rows);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(rows);
        }
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("it is a time")
}

/// Of the built-in scheduler and of one that is a flow, in a workspace where nothing of it happens.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_lists_what_would_be_started_and_starts_nothing() -> Result<()> {
    let workspace = Workspace::open_in_still_time()?;
    workspace.deploy(&["hello"]).await?;
    workspace.save(Kind::Setting, "often", json!({"value": {"every": "40m"}})).await?;
    let terms = json!({"scheduler_id": "cron", "setting_id": "often", "flow_id": "hello", "is_enabled": true});
    workspace.save(Kind::Schedule, "built-in", terms).await?;
    let mut own = workspace.prepare_scheduler(json!({"interval_seconds": 1800})).await?;
    own["is_enabled"] = false.into();
    workspace.save(Kind::Schedule, "own", own).await?;

    let (from, to) = (at("2027-06-01T00:00:00Z"), at("2027-06-01T01:30:00Z"));
    let names = vec!["built-in".to_owned(), "own".to_owned()];
    let found = workspace.engine.dry_run(from, to, names).await?;
    let starts: Vec<_> = found.starts.iter().map(|start| (&start.at[11..16], &*start.schedule, &*start.flow)).collect();
    let expected = [
        ("00:00", "built-in", "hello"),
        ("00:30", "own", "my-test-flow"),
        ("00:40", "built-in", "hello"),
        ("01:00", "own", "my-test-flow"),
        ("01:20", "built-in", "hello"),
        ("01:30", "own", "my-test-flow"),
    ];
    assert_eq!(starts, expected);
    assert!(found.is_complete && found.problems.is_empty(), "{found:?}");

    // Without names those that are enabled.
    let found = workspace.engine.dry_run(from, to, Vec::new()).await?;
    assert!(found.starts.len() == 3 && found.starts.iter().all(|start| start.schedule == "built-in"), "{found:?}");

    workspace.save(Kind::Setting, "my-test-setting", json!({"value": {"broken": true}})).await?;
    let found = workspace.engine.dry_run(from, at("2027-06-01T00:04:00Z"), vec!["own".to_owned()]).await?;
    let problems: Vec<_> = found.problems.iter().map(|problem| (&problem.at[11..19], &*problem.message)).collect();
    let message = "the setting says `broken`";
    assert_eq!(problems, [("00:00:00", message), ("00:01:00", message), ("00:03:00", message)]);
    assert!(found.starts.is_empty() && found.is_complete);

    let runs = json!({"field": "type", "op": "eq", "value": "FLOW"});
    assert!(workspace.rows("execution", runs).await?.is_empty());
    assert_eq!(workspace.record(Kind::Schedule, "own").await?["is_enabled"], false);
    let staging = workspace.data().join("blobs/staging");
    let left = std::fs::read_dir(&staging).with_context(|| staging.display().to_string())?;
    assert_eq!(left.count(), 0, "the workspace of a dry run goes with it");
    assert!(workspace.engine.dry_run(to, from, Vec::new()).await.is_err());
    Ok(())
}

/// Times are explained over HTTP, and dry runs made.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_explains_times() -> Result<()> {
    let workspace = Workspace::open()?;
    every_second(&workspace).await?;
    let server = workspace.serve().await?;
    let explain = async |query: &[(&str, &str)]| -> Result<(StatusCode, Value)> {
        let url = reqwest::Url::parse_with_params("http://localhost/", query)?;
        let path = format!("schedule-times?{}", url.query().unwrap_or_default());
        let answer = server.api(Method::GET, &path).send().await?;
        Ok((answer.status(), answer.json().await?))
    };
    let setting = ("setting", r#"{"cron": "0 9 * * *", "time_zone": "Europe/Vienna"}"#);
    let (status, answer) = explain(&[setting, ("from", "2026-07-01T12:00:00Z"), ("count", "1")]).await?;
    let (utc, local) = ("2026-07-02T07:00:00.000000Z", "2026-07-02T09:00:00+02:00");
    let time = json!({"utc": utc, "local": local, "abbreviation": "CEST", "weekday": "Thursday"});
    let expected = json!({"words": "At 09:00, in Europe/Vienna", "time_zone": "Europe/Vienna", "times": [time]});
    assert_eq!((status, answer), (StatusCode::OK, expected));
    let every = ("setting", r#"{"every": "1h"}"#);
    for (query, detail) in [
        (vec![("setting", r#"{"cron": "* * *"}"#)], "it has 3 fields"),
        (vec![every, ("count", "1001")], "1 to 1000"),
        (vec![every, ("count", "0")], "1 to 1000"),
        (vec![every, ("from", "soon")], "`from` cannot be `soon`"),
    ] {
        let (status, problem) = explain(&query).await?;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(problem["detail"].as_str().unwrap_or_default().contains(detail), "{problem}");
    }
    let period = json!({"from": "2030-01-01T00:00:00Z", "to": "2030-01-01T00:00:02Z"});
    let answer = server.api(Method::POST, "schedule-dry-run").body(period.to_string()).send().await?;
    let (status, found): (_, Value) = (answer.status(), answer.json().await?);
    assert_eq!((status, found["starts"].as_array().map(Vec::len)), (StatusCode::OK, Some(3)), "{found}");
    assert_eq!(found["starts"][0], json!({"at": "2030-01-01T00:00:00.000000Z", "schedule": "ticks", "flow": "hello"}));
    Ok(())
}
