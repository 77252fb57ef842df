//! Formats: what every released version left behind opens in this one and finishes; what a newer one wrote is refused
//! and stays as it is.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::{Clock, ManualClock, StartRequest, Timestamp};
use surefoot_tests::samples::{self, Story};
use surefoot_tests::workspace::{Workspace, id, time};

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
                Some("resume") => workspace.engine.resume(&execution.id).await.map(drop)?,
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
