//! The built-in scheduler in time that stands still until a test moves it: so it is certain what is late, and how late.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::{Clock, ManualClock, Timestamp};
use crate::core::Config;
use crate::engine::{Engine, EngineResult, WriterMode};
use crate::native::NativeFlow;
use crate::query::Kind;
use crate::scenarios::{PATIENCE, flow};
use crate::session::QueryCall;
use crate::store::records::{self, Saving};

const DAY: &str = "2026-01-01";

/// An engine at 2026-01-01T00:00:00Z, with a schedule.
struct Still {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    engine: Engine,
}

fn at(time: &str) -> Timestamp {
    format!("{DAY}T{time}:00Z").parse().unwrap()
}

fn open(folder: &tempfile::TempDir, clock: &Arc<ManualClock>) -> Engine {
    let mut config = Config::new(folder.path());
    config.clock = Clock::Manual(clock.clone());
    config.idle_before_parking = Duration::from_millis(20);
    let job = flow(|session, _| async move {
        let _ = session.wait_signal("end", None).await?;
        Ok(Value::Null)
    });
    let quick = flow(|_, _| async move { Ok(Value::Null) });
    let flows: Vec<(String, Arc<dyn NativeFlow>)> = vec![("job".into(), job), ("quick".into(), quick)];
    Engine::open_with(config, Vec::new(), flows, WriterMode::Thread).unwrap()
}

impl Still {
    /// With an enabled schedule of a flow: `job` ends when it is told to, `quick` at once.
    async fn with(setting: Value, flow: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(at("00:00"));
        let engine = open(&folder, &clock);
        let core = engine.core.clone();
        let prepare = move |connection: &rusqlite::Connection| {
            for name in ["job", "quick"] {
                let stamp = core.stamp("test");
                let saving = Saving::Either(name.into());
                let record = core.save_record(connection, Kind::Flow, &saving, &serde_json::Map::new(), &stamp)?.after;
                let version = json!({ "version": format!("native:{name}") });
                let id = record["id"].as_str().unwrap_or_default();
                records::set_computed(connection, Kind::Flow, id, &version, &stamp)?;
            }
            Ok(())
        };
        engine.write(prepare).await.unwrap();
        let still = Self { folder, clock, engine };
        still.save(Kind::Setting, "times", json!({ "value": setting })).await.unwrap();
        let terms = json!({"scheduler_id": "cron", "setting_id": "times", "flow_id": flow, "is_enabled": true});
        still.save(Kind::Schedule, "ticks", terms).await.unwrap();
        still
    }

    async fn save(&self, kind: Kind, name: &str, fields: Value) -> EngineResult<Value> {
        self.engine.save(kind, name, fields.as_object().unwrap().clone(), "test").await
    }

    fn move_to(&self, time: &str) {
        self.clock.set(at(time));
    }

    /// The engine stops, time goes on, and it is started again.
    async fn down_until(self, time: &str) -> Self {
        let Self { folder, clock, engine } = self;
        engine.shutdown(Duration::from_secs(5)).await.unwrap();
        clock.set(at(time));
        let engine = open(&folder, &clock);
        Self { folder, clock, engine }
    }

    async fn rows(&self, ty: &str) -> Vec<Value> {
        let filter = json!({"and": [
            {"field": "type", "op": "eq", "value": ty}, {"not": {"field": "schedule_id", "op": "is_null"}},
        ]});
        let order = Some("created_at".to_owned());
        let query = QueryCall { kind: "execution".into(), filter: Some(filter), order, ..QueryCall::default() };
        self.engine.query(query).await.unwrap().rows
    }

    /// Waits until `found` says so about the rows of one type.
    async fn until(&self, ty: &str, found: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut changes = self.engine.changes();
        let looking = async {
            loop {
                let rows = self.rows(ty).await;
                if found(&rows) {
                    return rows;
                }
                let _ = tokio::time::timeout(Duration::from_millis(50), changes.recv()).await;
            }
        };
        match tokio::time::timeout(PATIENCE, looking).await {
            Ok(rows) => rows,
            Err(_) => panic!("it never happened: {:#?}", self.rows(ty).await),
        }
    }

    /// Waits until the schedule waits for that time.
    async fn waits_for(&self, time: &str) {
        let time = at(time).to_string();
        let waits = |row: &Value| row["status"] == "SCHEDULED" && row["scheduled_for"] == time.as_str();
        self.until("SCHEDULE", |rows| rows.last().is_some_and(waits)).await;
    }

    /// Waits until the schedule waits for a run to end.
    async fn waits_for_its_turn(&self) {
        let waits = |row: &Value| row["status"] == "SCHEDULED" && row["message"] == "until the run before has ended";
        self.until("SCHEDULE", |rows| rows.last().is_some_and(waits)).await;
    }

    /// What was started: for which times, and in which state it is.
    async fn runs(&self) -> Vec<String> {
        let show = |row: &Value| {
            let time = row["input"]["scheduled_for"].as_str().unwrap()[11..16].to_owned();
            if row["ended_at"].is_null() { format!("{time} runs") } else { time }
        };
        self.rows("FLOW").await.iter().map(show).collect()
    }

    /// Waits until these are what was started.
    async fn until_runs(&self, runs: &[&str]) {
        let looking = async {
            while self.runs().await != runs {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, looking).await.is_ok();
        assert!(found, "expected {runs:?}: {:?}", self.runs().await);
    }

    /// Lets the oldest job that runs end.
    async fn end_job(&self) {
        let job = self.rows("FLOW").await.into_iter().find(|row| row["ended_at"].is_null()).unwrap();
        self.engine.signal(job["id"].as_str().unwrap(), "end", Value::Null, "test", None).await.unwrap();
    }

    /// Waits until the schedule has disabled itself. Returns the reason.
    async fn disabled(&self) -> String {
        let mut changes = self.engine.changes();
        let looking = async {
            loop {
                let schedule = self.engine.record(Kind::Schedule, "ticks").await.unwrap();
                if schedule["is_enabled"] == false {
                    return schedule["disabled_reason"].as_str().unwrap().to_owned();
                }
                let _ = tokio::time::timeout(Duration::from_millis(50), changes.recv()).await;
            }
        };
        let reason = tokio::time::timeout(PATIENCE, looking).await.expect("it is disabled");
        let alive = |rows: &[Value]| rows.iter().all(|row| row["ended_at"].is_string());
        self.until("SCHEDULE", alive).await;
        reason
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn times_while_the_engine_was_down_are_left_out_or_made_up_for() {
    let cases: [(&str, &[&str], u64); 4] = [
        (r#"{"missed": "skip"}"#, &[], 4),
        (r#"{"missed": "run_once"}"#, &["04:00"], 3),
        (r#"{"missed": "run_all"}"#, &["04:00"], 3),
        (r#"{"missed": "run_all", "missed_window": "24h"}"#, &["01:00", "02:00", "03:00", "04:00"], 0),
    ];
    for (policies, expected, missed) in cases {
        let mut setting = json!({"cron": "0 * * * *"});
        let policies: Value = serde_json::from_str(policies).unwrap();
        setting.as_object_mut().unwrap().extend(policies.as_object().unwrap().clone());
        let still = Still::with(setting, "quick").await;
        still.waits_for("01:00").await;
        let still = still.down_until("04:20").await;
        still.waits_for("05:00").await;
        still.until_runs(expected).await;
        still.move_to("05:00");
        still.waits_for("06:00").await;
        still.until_runs(&[expected, &["05:00"]].concat()).await;
        let figures = still.engine.figures().await.unwrap();
        assert_eq!((figures.schedule_times_missed, figures.schedule_rounds_late), (missed, u64::from(missed > 0)));
        assert_eq!(figures.schedule_runs.count(), expected.len() as u64 + 1, "runs that were made up for are runs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_would_overlap_is_left_out() {
    let still = Still::with(json!({"cron": "0 * * * *", "overlap": "skip"}), "job").await;
    still.waits_for("01:00").await;
    still.move_to("01:00");
    still.waits_for("02:00").await;
    still.move_to("02:00");
    still.waits_for("03:00").await;
    still.until_runs(&["01:00 runs"]).await;
    // Also by another iteration, which knows nothing of what was started before it.
    still.save(Kind::Schedule, "ticks", json!({"is_enabled": false})).await.unwrap();
    still.save(Kind::Schedule, "ticks", json!({"is_enabled": true})).await.unwrap();
    still.waits_for("03:00").await;
    still.move_to("03:00");
    still.waits_for("04:00").await;
    still.until_runs(&["01:00 runs"]).await;
    still.end_job().await;
    still.until_runs(&["01:00"]).await;
    still.move_to("04:00");
    still.until_runs(&["01:00", "04:00 runs"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_would_overlap_waits_for_its_turn() {
    let still = Still::with(json!({"cron": "0 * * * *", "overlap": "queue", "missed": "run_once"}), "job").await;
    still.waits_for("01:00").await;
    still.move_to("01:00");
    still.waits_for("02:00").await;
    still.move_to("02:00");
    still.waits_for_its_turn().await;
    // Also through a restart, while more times come, which are missed.
    let still = still.down_until("04:30").await;
    still.waits_for_its_turn().await;
    still.until_runs(&["01:00 runs"]).await;
    still.end_job().await;
    still.until_runs(&["01:00", "02:00 runs"]).await;
    still.waits_for_its_turn().await;
    still.end_job().await;
    still.until_runs(&["01:00", "02:00", "04:00 runs"]).await;
    still.clock.set(at("04:30").after(Duration::from_secs(2)));
    still.waits_for("05:00").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_missed_run_gets_its_turn() {
    let setting = json!({"cron": "0 * * * *", "overlap": "queue", "missed": "run_all", "missed_window": "24h"});
    let still = Still::with(setting, "job").await;
    still.waits_for("01:00").await;
    let still = still.down_until("03:30").await;
    still.until_runs(&["01:00 runs"]).await;
    still.end_job().await;
    still.until_runs(&["01:00", "02:00 runs"]).await;
    still.end_job().await;
    still.until_runs(&["01:00", "02:00", "03:00 runs"]).await;
    still.waits_for("04:00").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_run_is_cancelled_for_a_new_one() {
    let still = Still::with(json!({"cron": "0 * * * *", "overlap": "cancel_old"}), "job").await;
    still.waits_for("01:00").await;
    still.move_to("01:00");
    still.waits_for("02:00").await;
    still.move_to("02:00");
    still.until_runs(&["01:00", "02:00 runs"]).await;
    assert_eq!(still.rows("FLOW").await[0]["status"], "ENDED_CANCELLED");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_run_where_nothing_is_said() {
    let still = Still::with(json!({"every": "1h"}), "job").await;
    still.waits_for("01:00").await;
    still.move_to("01:00");
    still.waits_for("02:00").await;
    still.move_to("02:00");
    still.until_runs(&["01:00 runs", "02:00 runs"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_once_disables_its_schedule() {
    let still = Still::with(json!({"at": "2026-01-01T06:00:00Z"}), "quick").await;
    still.waits_for("06:00").await;
    still.move_to("06:00");
    assert_eq!(still.disabled().await, "it has run: 2026-01-01T06:00:00.000000Z");
    still.until_runs(&["06:00"]).await;
    let refused = still.save(Kind::Schedule, "ticks", json!({"is_enabled": true})).await.unwrap_err().to_string();
    assert_eq!(refused, "its time, 2026-01-01T06:00:00.000000Z, is over");

    for (missed, runs) in [("run_once", &["06:00"][..]), ("skip", &[])] {
        let still = Still::with(json!({"at": "2026-01-01T06:00:00Z", "missed": missed}), "quick").await;
        still.waits_for("06:00").await;
        let still = still.down_until("08:00").await;
        let reason = if runs.is_empty() { "its time was missed" } else { "it has run" };
        assert_eq!(still.disabled().await, format!("{reason}: 2026-01-01T06:00:00.000000Z"));
        still.until_runs(runs).await;
        let still = still.down_until("09:00").await;
        assert_eq!(still.rows("SCHEDULE").await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_names_no_more_times_disables_its_schedule() {
    let still = Still::with(json!({"cron": "0 0 6 1 1 * 2026"}), "quick").await;
    still.waits_for("06:00").await;
    still.move_to("06:00");
    let reason = still.disabled().await;
    assert_eq!(reason, "`0 0 6 1 1 * 2026` names no time after 2026-01-01T06:00:00.000000Z");
    still.until_runs(&["06:00"]).await;
}

/// Whatever begins iterations for it again: here a clock that was set back.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_runs_once() {
    let still = Still::with(json!({"cron": "0 * * * *"}), "quick").await;
    still.waits_for("01:00").await;
    still.move_to("01:00");
    still.waits_for("02:00").await;
    still.move_to("00:30");
    still.save(Kind::Schedule, "ticks", json!({"is_enabled": false})).await.unwrap();
    still.save(Kind::Schedule, "ticks", json!({"is_enabled": true})).await.unwrap();
    still.waits_for("01:00").await;
    // A second iteration begins a second after the first, by a clock that it saw before.
    still.clock.set(at("01:00").after(Duration::from_secs(5)));
    still.waits_for("02:00").await;
    still.until_runs(&["01:00"]).await;
    let named = still.until("SCHEDULE", |rows| rows.len() == 4).await;
    assert_eq!(named[0]["output"]["execution_id"], named[2]["output"]["execution_id"]);
    assert_eq!(named[2]["output"]["runs"][0]["scheduled_for"], "2026-01-01T01:00:00.000000Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_setting_holds_at_once() {
    let still = Still::with(json!({"cron": "0 * * * *"}), "quick").await;
    still.waits_for("01:00").await;
    still.save(Kind::Setting, "times", json!({"value": {"every": "15m"}})).await.unwrap();
    still.waits_for("00:15").await;
    let cancelled = |rows: &[Value]| rows.len() == 2 && rows[0]["status"] == "ENDED_CANCELLED";
    still.until("SCHEDULE", cancelled).await;
    // What says the same begins nothing.
    still.save(Kind::Setting, "times", json!({"value": {"every": "15m"}, "description": "often"})).await.unwrap();
    still.move_to("00:15");
    still.waits_for("00:30").await;
    assert_eq!(still.rows("SCHEDULE").await.len(), 3);

    for (value, reason) in [
        (json!({"cron": "* * *"}), "it has 3 fields"),
        (json!({"at": "2025-01-01T00:00:00Z"}), "is over"),
        (Value::Null, r#"{"every": "15m"}"#),
    ] {
        let refused = still.save(Kind::Setting, "times", json!({ "value": value })).await.unwrap_err().to_string();
        assert!(refused.starts_with(r#"the enabled schedule "ticks" has this setting: "#), "{refused}");
        assert!(refused.contains(reason), "{refused}");
    }
    let setting = still.engine.record(Kind::Setting, "times").await.unwrap();
    assert_eq!(setting["value"], json!({"every": "15m"}), "what is refused changes nothing");
    still.save(Kind::Schedule, "ticks", json!({"is_enabled": false})).await.unwrap();
    still.save(Kind::Setting, "times", json!({"value": "anything"})).await.unwrap();
}

/// A time that comes between an iteration that was cancelled and the next is made up for.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_iteration_loses_no_time() {
    let still = Still::with(json!({"cron": "0 * * * *"}), "quick").await;
    still.waits_for("01:00").await;
    still.move_to("01:00");
    still.waits_for("02:00").await;
    still.clock.set(at("01:59").after(Duration::from_secs(30)));
    let rows = still.rows("SCHEDULE").await;
    still.engine.cancel(rows[1]["id"].as_str().unwrap(), "test").await.unwrap();
    still.until("SCHEDULE", |rows| rows.len() == 3 && rows[2]["status"] == "QUEUED").await;
    still.clock.set(at("02:00").after(Duration::from_secs(30)));
    still.waits_for("03:00").await;
    still.until_runs(&["01:00", "02:00"]).await;
}

/// Out of the store, as only somebody can do it who has the database: the API refuses that.
async fn vanish(still: &Still, kind: Kind, name: &'static str) -> String {
    let id = still.engine.record(kind, name).await.unwrap()["id"].as_str().unwrap().to_owned();
    let sql = "UPDATE records SET deleted_at = 1 WHERE kind = ?1 AND name = ?2";
    still.engine.write(move |connection| Ok(connection.execute(sql, [kind.as_str(), name])?)).await.unwrap();
    id
}

impl Still {
    /// Waits until the record says that of an error.
    async fn until_error(&self, says: &str) {
        let looking = async {
            loop {
                let schedule = self.engine.record(Kind::Schedule, "ticks").await.unwrap();
                let error = schedule["last_error"].as_str().unwrap_or_default();
                if error.contains(says) && says.is_empty() == error.is_empty() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.expect("the record says so");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_lacks_something_says_so_and_goes_on_when_it_is_back() {
    for (kind, name, says) in [
        (Kind::Scheduler, "cron", "there is no scheduler `cron`"),
        (Kind::Setting, "times", "there is no setting `times`"),
        (Kind::Flow, "quick", "quick"),
    ] {
        let still = Still::with(json!({"cron": "0 * * * *"}), "quick").await;
        still.waits_for("01:00").await;
        let id = vanish(&still, kind, name).await;
        still.move_to("01:00");
        still.until_error(says).await;
        assert_eq!(still.engine.record(Kind::Schedule, "ticks").await.unwrap()["is_enabled"], true);
        still.engine.restore(kind, &id, "test").await.unwrap();
        still.until_error("").await;
        // The flow's run of 01:00 has failed, and is made up for; what the others lacked is the next time.
        still.waits_for("02:00").await;
        still.move_to("02:00");
        still
            .until("FLOW", |rows| rows.iter().any(|row| row["input"]["scheduled_for"] == at("02:00").to_string()))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_scheduler_is_brought_back_at_the_opening() {
    let still = Still::with(json!({"cron": "0 * * * *"}), "quick").await;
    still.waits_for("01:00").await;
    vanish(&still, Kind::Scheduler, "cron").await;
    let still = still.down_until("01:30").await;
    still.until_runs(&["01:00"]).await;
    assert_eq!(still.engine.record(Kind::Scheduler, "cron").await.unwrap()["flow_id"], "native:cron");

    // Another one has its name: the other schedules are none the worse.
    vanish(&still, Kind::Scheduler, "cron").await;
    still.save(Kind::Scheduler, "cron", json!({"flow_id": "native:cron"})).await.unwrap_err();
    let rename = "UPDATE records SET name = 'cron', deleted_at = NULL WHERE kind = 'scheduler' AND id = 'second'";
    still.save(Kind::Scheduler, "second", json!({"id": "second", "flow_id": "native:cron"})).await.unwrap();
    still.engine.write(move |connection| Ok(connection.execute(rename, [])?)).await.unwrap();
    let still = still.down_until("02:30").await;
    still.until_runs(&["01:00", "02:00"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_iteration_is_followed_after_a_minute_each_time() {
    let still = Still::with(json!({"cron": "0 * * * *"}), "quick").await;
    still.waits_for("01:00").await;
    for (now, next) in [("00:10", "00:11"), ("00:20", "00:21"), ("00:30", "00:31")] {
        still.move_to(now);
        let live = still.rows("SCHEDULE").await.pop().unwrap();
        still.engine.cancel(live["id"].as_str().unwrap(), "test").await.unwrap();
        let next = at(next).to_string();
        let begins = |row: &Value| row["status"] == "QUEUED" && row["scheduled_for"] == next.as_str();
        still.until("SCHEDULE", |rows| rows.last().is_some_and(begins)).await;
    }
    assert!(still.engine.record(Kind::Schedule, "ticks").await.unwrap()["last_error"].is_null());
}
