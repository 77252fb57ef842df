//! Schedules and the self-built scheduler that runs them. Time stands still in most of these tests, so that what the
//! engine does at which moment is certain.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use surefoot_engine::Timestamp;
use surefoot_engine::query::Kind;
use surefoot_fixtures::Targets;
use surefoot_tests::workspace::{
    BREAKABLE, SCHEDULER_WAIT, Workspace, ensure_success, expected_body, id, response, time,
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A workspace in still time with an enabled schedule; the scheduler has this setting.
struct Scheduled {
    workspace: Workspace,
    schedule: Value,
}

impl Scheduled {
    async fn with(setting: Value) -> Result<Self> {
        let workspace = Workspace::open_in_still_time()?;
        workspace.deploy(&["hello"]).await?;
        let fields = workspace.prepare_scheduler(setting).await?;
        let schedule = workspace.save(Kind::Schedule, "my-test-schedule", fields).await?;
        Ok(Self { workspace, schedule })
    }

    /// Waits until the newest iteration is number `count` and has this status. Returns all, oldest first.
    async fn until_newest(&self, count: usize, status: &str) -> Result<Vec<Value>> {
        let newest = |rows: &[Value]| rows.len() == count && rows.last().is_some_and(|row| row["status"] == status);
        self.workspace.until_rows("execution", self.iterations(), newest).await
    }

    fn iterations(&self) -> Value {
        let is_schedule = json!({"field": "type", "op": "eq", "value": "SCHEDULE"});
        let of_schedule = json!({"field": "schedule_id", "op": "eq", "value": self.schedule["id"]});
        json!({"and": [is_schedule, of_schedule]})
    }

    async fn enable(&self, is_enabled: bool) -> Result<()> {
        let fields = json!({ "is_enabled": is_enabled });
        self.workspace.save(Kind::Schedule, "my-test-schedule", fields).await.map(drop)
    }

    /// Moves time, and gives whatever could happen then its turn.
    async fn advance(&self, duration: Duration) -> Result<()> {
        self.workspace.advance(duration)?;
        ensure_success(&self.workspace.run("hello", json!({})).await?)
    }

    /// However much time passes, there are no more iterations than `count`, and none is alive.
    async fn nothing_more_happens(&self, count: usize) -> Result<()> {
        for duration in [Duration::from_secs(90), DAY] {
            self.advance(duration).await?;
            let iterations = self.workspace.rows("execution", self.iterations()).await?;
            assert_eq!(iterations.len(), count, "{iterations:#?}");
            assert!(iterations.iter().all(|iteration| iteration["ended_at"].is_string()), "{iterations:#?}");
        }
        Ok(())
    }
}

/// Enabling a schedule creates a SCHEDULE execution that waits for its time, and the example's filter finds it in time.
#[tokio::test(flavor = "multi_thread")]
async fn c_17_c_20_an_enabled_schedule_has_an_execution_that_the_filter_finds() -> Result<()> {
    let scheduled = Scheduled::with(json!({"interval_seconds": 3600})).await?;
    let workspace = &scheduled.workspace;
    scheduled.until_newest(1, "SCHEDULED").await?;
    let before = "2025-12-31T23:59:59.999999Z";
    let filter = |created_after: &str| {
        json!({"and": [
            {"field": "type", "op": "eq", "value": "SCHEDULE"},
            {"field": "schedule_id", "op": "eq", "value": scheduled.schedule["id"]},
            {"field": "created_at", "op": "gt", "value": created_after},
            {"field": "status", "op": "eq", "value": "SCHEDULED"},
        ]})
    };
    let rows = workspace.rows("execution", filter(before)).await?;
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!(
        (&rows[0]["name"], &rows[0]["scheduled_for"]),
        (&json!("my-test-schedule"), &json!("2026-01-01T01:00:00.000000Z"))
    );
    let created_at = rows[0]["created_at"].as_str().unwrap();
    assert!(workspace.rows("execution", filter(created_at)).await?.is_empty(), "`gt` leaves out the moment itself");

    workspace.deploy(&["test-guest"]).await?;
    let query =
        json!({"mode": "query", "kind": "execution", "filter": filter(before), "order": "-created_at", "limit": 1});
    let row = workspace.run("test-guest", query).await?;
    ensure_success(&row)?;
    assert_eq!(row["output"]["rows"][0]["id"], rows[0]["id"]);
    Ok(())
}

/// By the machine's clock the execution is there within the five seconds that the example gives it.
#[tokio::test(flavor = "multi_thread")]
async fn c_20_the_execution_is_there_within_five_seconds() -> Result<()> {
    let workspace = Workspace::open()?;
    let fields = workspace.prepare_scheduler(json!({"interval_seconds": 3600})).await?;
    let schedule = workspace.save(Kind::Schedule, "my-test-schedule", fields).await?;
    let of_schedule = json!({"field": "schedule_id", "op": "eq", "value": schedule["id"]});
    let is_scheduled = |rows: &[Value]| rows.first().is_some_and(|row| row["status"] == "SCHEDULED");
    let rows = workspace.until_rows("execution", of_schedule, is_scheduled).await?;
    let started_after = time(&rows[0], "started_at")?.since(time(&schedule, "created_at")?);
    assert!(started_after < Duration::from_secs(5), "{started_after:?}");
    Ok(())
}

/// With the scheduler's execution killed while the example gives it time, the example reports the scheduler.
#[tokio::test(flavor = "multi_thread")]
async fn c_20_a_scheduler_that_is_killed_is_reported() -> Result<()> {
    let targets = Targets::start().await?;
    let workspace = Workspace::open_in_still_time()?;
    workspace.prepare_upgrade_check(&targets).await?;
    let check = workspace.start("upgrade-safely", json!({})).await?;
    workspace.until(&check, |row| row["message"] == SCHEDULER_WAIT).await?;
    let is_schedule = json!({"field": "type", "op": "eq", "value": "SCHEDULE"});
    let is_scheduled = |rows: &[Value]| rows.first().is_some_and(|row| row["status"] == "SCHEDULED");
    let iterations = workspace.until_rows("execution", is_schedule, is_scheduled).await?;

    workspace.engine.cancel(id(&iterations[0]), "test").await?;
    workspace.ended(id(&iterations[0])).await?;
    workspace.advance(Duration::from_secs(5))?;
    let row = workspace.ended(&check).await?;
    assert_eq!(response(&row)?, (500, expected_body(&[BREAKABLE[4].1])));
    Ok(())
}

/// Disabling a schedule ends its execution, and no new one comes.
#[tokio::test(flavor = "multi_thread")]
async fn c_21_disabling_a_schedule_ends_its_execution() -> Result<()> {
    let scheduled = Scheduled::with(json!({"interval_seconds": 60})).await?;
    scheduled.until_newest(1, "SCHEDULED").await?;
    scheduled.enable(false).await?;
    let schedule = scheduled.workspace.record(Kind::Schedule, "my-test-schedule").await?;
    assert_eq!(schedule["flow_id"], scheduled.schedule["flow_id"], "a save updates the given fields alone");
    scheduled.until_newest(1, "ENDED_CANCELLED").await?;
    scheduled.nothing_more_happens(1).await?;

    scheduled.enable(true).await?;
    scheduled.until_newest(2, "SCHEDULED").await?;
    Ok(())
}

/// After an iteration that succeeded the next one begins at once, and each starts the schedule's flow at its time.
#[tokio::test(flavor = "multi_thread")]
async fn c_28_after_success_the_next_iteration_begins_at_once() -> Result<()> {
    let scheduled = Scheduled::with(json!({"interval_seconds": 60})).await?;
    for count in 1..=3 {
        let iterations = scheduled.until_newest(count, "SCHEDULED").await?;
        let newest = &iterations[count - 1];
        let due: Timestamp = "2026-01-01T00:00:00Z".parse::<Timestamp>()?.after(MINUTE * u32::try_from(count)?);
        assert_eq!(time(newest, "scheduled_for")?, due);
        if let [.., before, newest] = &iterations[..] {
            let pause = time(newest, "created_at")?.since(time(before, "ended_at")?);
            // Times of creation are unique, so it may be a few microseconds.
            assert!(pause < Duration::from_millis(1), "{pause:?}");
            assert_eq!((&before["status"], &newest["input"]["previous"]), (&json!("ENDED_SUCCESS"), &before["output"]));
            let fired = scheduled.workspace.ended(before["output"]["execution_id"].as_str().unwrap()).await?;
            assert_eq!((&fired["name"], &fired["status"]), (&json!("my-test-flow"), &json!("ENDED_SUCCESS")));
        }
        scheduled.workspace.advance(MINUTE)?;
    }
    Ok(())
}

/// After an error the next iteration waits for one minute, and twice as long after each further one.
#[tokio::test(flavor = "multi_thread")]
async fn c_28_after_errors_the_next_iteration_waits_longer_each_time() -> Result<()> {
    let scheduled = Scheduled::with(json!({"broken": true})).await?;
    let moment = Duration::from_millis(1);
    for (count, delay) in [(1, MINUTE), (2, 2 * MINUTE), (3, 4 * MINUTE)] {
        let iterations = scheduled.until_newest(count + 1, "QUEUED").await?;
        let (failed, next) = (&iterations[count - 1], &iterations[count]);
        assert_eq!(
            (&failed["status"], &failed["error_message"]),
            (&json!("ENDED_ERROR"), &json!("the setting says `broken`"))
        );
        let due = time(next, "scheduled_for")?;
        assert_eq!(due, time(failed, "ended_at")?.after(delay));
        // Not a moment too early: the time at which it begins is checked below, when it has.
        scheduled.advance(delay - moment).await?;
        assert_eq!(scheduled.workspace.engine.execution(id(next)).await?["status"], "QUEUED");
        scheduled.workspace.advance(moment)?;
        let begun = scheduled.workspace.ended(id(next)).await?;
        assert_eq!(time(&begun, "started_at")?, due);
    }

    // A success puts an end to that: the error after it is the first one again.
    let working = json!({"value": {"interval_seconds": 60}});
    scheduled.workspace.save(Kind::Setting, "my-test-setting", working).await?;
    let iterations = scheduled.until_newest(5, "QUEUED").await?;
    scheduled.workspace.advance(time(&iterations[4], "scheduled_for")?.since(time(&iterations[3], "ended_at")?))?;
    scheduled.until_newest(5, "SCHEDULED").await?;
    scheduled.workspace.save(Kind::Setting, "my-test-setting", json!({"value": {"broken": true}})).await?;
    scheduled.workspace.advance(MINUTE)?;
    let iterations = scheduled.until_newest(7, "QUEUED").await?;
    assert_eq!((&iterations[4]["status"], &iterations[5]["status"]), (&json!("ENDED_SUCCESS"), &json!("ENDED_ERROR")));
    assert_eq!(time(&iterations[6], "scheduled_for")?, time(&iterations[5], "ended_at")?.after(MINUTE));
    Ok(())
}

/// A cancelled iteration is followed by another one after a minute.
#[tokio::test(flavor = "multi_thread")]
async fn c_28_after_a_cancel_the_next_iteration_waits_for_a_minute() -> Result<()> {
    let scheduled = Scheduled::with(json!({"interval_seconds": 3600})).await?;
    let iterations = scheduled.until_newest(1, "SCHEDULED").await?;
    scheduled.workspace.engine.cancel(id(&iterations[0]), "test").await?;
    let iterations = scheduled.until_newest(2, "QUEUED").await?;
    assert_eq!(iterations[0]["status"], "ENDED_CANCELLED");
    let due = time(&iterations[0], "ended_at")?.after(MINUTE);
    assert_eq!(time(&iterations[1], "scheduled_for")?, due);
    scheduled.workspace.advance(MINUTE)?;
    let iterations = scheduled.until_newest(2, "SCHEDULED").await?;
    assert_eq!(time(&iterations[1], "started_at")?, due);
    Ok(())
}

/// Only disabling or deleting a schedule stops it, also while an iteration waits for its turn after an error.
#[tokio::test(flavor = "multi_thread")]
async fn c_28_disabling_or_deleting_stops_a_schedule() -> Result<()> {
    for setting in [json!({"interval_seconds": 60}), json!({"broken": true})] {
        for delete in [false, true] {
            let scheduled = Scheduled::with(setting.clone()).await?;
            let count = if setting["broken"] == true { 2 } else { 1 };
            let alive = if setting["broken"] == true { "QUEUED" } else { "SCHEDULED" };
            scheduled.until_newest(count, alive).await?;
            if delete {
                scheduled.workspace.engine.delete(Kind::Schedule, "my-test-schedule", true, "test").await?;
            } else {
                scheduled.enable(false).await?;
            }
            scheduled.until_newest(count, "ENDED_CANCELLED").await?;
            scheduled.nothing_more_happens(count).await?;
        }
    }
    Ok(())
}

/// A restart of the engine neither loses an iteration that waits, nor makes a second one.
#[tokio::test(flavor = "multi_thread")]
async fn c_28_a_restart_keeps_the_iteration_that_waits() -> Result<()> {
    let Scheduled { workspace, schedule } = Scheduled::with(json!({"interval_seconds": 60})).await?;
    let scheduled = Scheduled { workspace, schedule };
    let before = scheduled.until_newest(1, "SCHEDULED").await?;
    let Scheduled { workspace, schedule } = scheduled;
    let scheduled = Scheduled { workspace: workspace.reopen().await?, schedule };
    scheduled.workspace.advance(MINUTE)?;
    let after = scheduled.until_newest(2, "SCHEDULED").await?;
    assert_eq!((&before[0]["id"], &after[0]["status"]), (&after[0]["id"], &json!("ENDED_SUCCESS")));
    Ok(())
}
