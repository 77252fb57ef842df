//! The built-in scheduler: waits for the next time of a cron expression, starts the flow once, ends.
//!
//! Its setting's value is `{"cron": "*/5 * * * *", "time_zone": "Europe/Vienna"}`; the time zone is UTC when it is
//! missing. Expressions have five
//! fields, or six with seconds in front; day of week 0 and 7 are Sunday; with both day fields given either may match,
//! as POSIX has it.
//! A time that a change to summer time skips fires at the end of the gap; one that comes twice fires once.

use std::sync::Arc;

use async_trait::async_trait;
use croner::parser::{CronParser, Seconds};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::NativeFlow;
use crate::clock::Timestamp;
use crate::journal::HostError;
use crate::session::{End, Session};

/// A last firing that lies further in the future was stamped by a wrong clock.
const CLOCK_STEP_MAX: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

pub(super) struct Cron;

/// Why there is no next time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

/// The first time after `after` that `expression` names in `time_zone`.
pub fn next_occurrence(expression: &str, time_zone: &str, after: Timestamp) -> Result<Timestamp, CronError> {
    let cron = CronParser::builder().seconds(Seconds::Optional).build().parse(expression);
    let cron = cron.map_err(|error| CronError(format!("`{expression}` is not a cron expression: {error}")))?;
    let zone = TimeZone::get(time_zone)
        .map_err(|_| CronError(format!("there is no time zone `{time_zone}`; use a name such as Europe/Vienna")))?;
    let after = jiff::Timestamp::from_microsecond(after.0).map_err(|error| CronError(error.to_string()))?;
    let next = cron.find_next_occurrence(&after.to_zoned(zone), false);
    let next = next.map_err(|error| CronError(format!("`{expression}` has no next time: {error}")))?;
    Ok(Timestamp(next.timestamp().as_microsecond()))
}

/// Expression and time zone in the value of a schedule's setting.
pub(crate) fn cron_terms(value: &Value) -> Result<(&str, &str), CronError> {
    let expression = value["cron"].as_str();
    let missing = || CronError(r#"the schedule's setting needs a value such as {"cron": "*/5 * * * *"}"#.into());
    Ok((expression.ok_or_else(missing)?, value["time_zone"].as_str().unwrap_or("UTC")))
}

#[async_trait]
impl NativeFlow for Cron {
    async fn run(&self, session: Arc<Session>, input: Value) -> Result<Value, End> {
        let text = |field: &str| input[field].as_str().unwrap_or_default().to_owned();
        let host = |error: HostError| End::Error("error".into(), error.to_string());
        let setting = session.record_get("setting", &text("setting_id")).await?.map_err(host)?;
        let value = setting.map(|setting| setting["value"].clone()).unwrap_or_default();
        let invalid = |error: CronError| End::Error("invalid_input".into(), error.to_string());
        let (expression, zone) = cron_terms(&value).map_err(invalid)?;
        // From the time that fired last, so that none is lost between two iterations; but what was missed while the
        // engine was down fires once, not as often as it was missed.
        let now = session.now();
        let last =
            input["previous"]["fired_for"].as_str().and_then(|text| text.parse::<Timestamp>().ok()).unwrap_or(now);
        // A clock that was set back a little must not make a time fire twice; one that was far ahead must not stop
        // the schedule.
        let from = if last.since(now) > CLOCK_STEP_MAX { now } else { last };
        let due = next_occurrence(expression, zone, from).map_err(invalid)?;
        session.sleep_until(due, Some(&format!("until {due}"))).await?;
        let flow_input = json!({"schedule_id": input["schedule_id"], "scheduled_for": due.to_string()});
        let started = session.start_flow(&text("flow_id"), flow_input, None, true).await?.map_err(host)?;
        // The next iteration goes on from here, whatever was missed before.
        let fired_for = due.max(session.now());
        Ok(json!({"fired_for": fired_for.to_string(), "execution_id": started}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, zone: &str, after: &str) -> String {
        next_occurrence(expression, zone, after.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn expressions_in_zones() {
        assert_eq!(next("*/5 * * * *", "UTC", "2026-01-01T00:01:00Z"), "2026-01-01T00:05:00.000000Z");
        assert_eq!(next("*/10 * * * * *", "UTC", "2026-01-01T00:01:01Z"), "2026-01-01T00:01:10.000000Z");
        // The gap in spring: 02:30 does not exist; it fires at the gap's end, 03:00 local.
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z"), "2026-03-29T01:00:00.000000Z");
        // The overlap in autumn: 02:30 comes twice and fires once.
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z"), "2026-10-25T00:30:00.000000Z");
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00.000000Z");
    }

    #[test]
    fn errors_say_what_to_do() {
        let now = Timestamp(0);
        assert!(next_occurrence("* * *", "UTC", now).unwrap_err().0.contains("not a cron expression"));
        assert!(next_occurrence("* * * * *", "Mars/Base", now).unwrap_err().0.contains("Europe/Vienna"));
    }
}
