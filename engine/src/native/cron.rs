//! The built-in scheduler: waits for the next time of its setting, starts the flow, ends. What the setting says is read
//! by [`Plan`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::NativeFlow;
use crate::clock::Timestamp;
use crate::journal::HostError;
use crate::planted::{Bug, is_planted};
use crate::session::{End, Ran, RunRequest, Session};
use crate::times::{Plan, Round};

/// A last firing that lies further in the future was stamped by a wrong clock.
const CLOCK_STEP_MAX: Duration = Duration::from_secs(24 * 3600);

pub(super) struct Cron;

#[async_trait]
impl NativeFlow for Cron {
    async fn run(&self, session: Arc<Session>, input: Value) -> Result<Value, End> {
        let text = |field: &str| input[field].as_str().unwrap_or_default().to_owned();
        let setting = session.record_get("setting", &text("setting_id")).await?.map_err(host)?;
        let value = setting.map(|setting| setting["value"].clone()).unwrap_or_default();
        let plan = Plan::parse(&value).map_err(|error| End::Error("invalid_input".into(), error.to_string()))?;
        // From the time that was dealt with last, so that none is lost between two iterations.
        let now = session.now();
        let last = input["previous"]["fired_for"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let last = last.filter(|_| !is_planted(Bug::TimesForgotten));
        // A clock that was set back a little must not make a time fire twice; one that was far ahead must not stop
        // the schedule.
        let from = last.filter(|last| last.since(now) <= CLOCK_STEP_MAX).unwrap_or(now);
        let Some(due) = plan.due(from, last.is_none()) else {
            let reason = plan.times.nothing_after(from).to_string();
            session.retire_schedule(&reason).await?.map_err(host)?;
            return Ok(json!({ "fired_for": from.to_string(), "execution_id": null }));
        };
        session.sleep_until(due, Some(&format!("until {due}"))).await?;
        let round = plan.round(due, session.clock()?);
        tell(&session, &plan, &round)?;
        let (mut runs, mut started) = (Vec::new(), Value::Null);
        for time in &round.times {
            let request = RunRequest { flow: text("flow_id"), at: *time, overlap: plan.overlap };
            let ran = session.start_run(request).await?.map_err(host)?;
            runs.push(match ran {
                Ran::Started(id) => {
                    started = id.clone().into();
                    json!({ "scheduled_for": time.to_string(), "execution_id": id })
                }
                Ran::Skipped(id) => json!({ "scheduled_for": time.to_string(), "skipped_for": id }),
            });
        }
        if plan.times.once().is_some() {
            let reason = if runs.is_empty() { "its time was missed" } else { "it has run" };
            session.retire_schedule(&format!("{reason}: {due}")).await?.map_err(host)?;
        }
        Ok(json!({ "fired_for": round.until.to_string(), "execution_id": started, "runs": runs }))
    }
}

fn host(error: HostError) -> End {
    End::Error("error".into(), error.to_string())
}

/// A line in the log about times that have no run of their own.
fn tell(session: &Session, plan: &Plan, round: &Round) -> Result<(), End> {
    let Some(oldest) = round.left_out else { return Ok(()) };
    if session.is_live() {
        let counters = &session.core().counters;
        counters.schedule_rounds_late.fetch_add(1, Ordering::Relaxed);
        counters.schedule_times_missed.fetch_add(plan.missed(round), Ordering::Relaxed);
    }
    let made_up = match round.times.first() {
        Some(time) => format!("before {time}"),
        None => format!("until {}", round.until),
    };
    let text = format!("the times from {oldest} and {made_up} were missed and have no run of their own");
    session.log("warn", "engine", &text, json!({ "times": plan.times.words() }))
}
