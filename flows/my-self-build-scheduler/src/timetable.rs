//! When the flow runs next. Pure: time comes in as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use surefoot::prelude::*;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// Times that repeat: at every multiple of a period since the epoch, each by the same offset later.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Timetable {
    period_seconds: u64,
    offset_seconds: u64,
}

impl Timetable {
    /// The first time after `now`, never `now` itself: one time starts one flow.
    pub(crate) fn next_after(&self, now: SystemTime) -> Result<SystemTime> {
        let now_seconds = now.duration_since(UNIX_EPOCH).map_err(Error::other)?.as_secs();
        // An hour past midnight with an offset of two: counted from the offset of the period before.
        let since_offset = now_seconds + self.period_seconds - self.offset_seconds;
        let next = (since_offset / self.period_seconds) * self.period_seconds + self.offset_seconds;
        Ok(UNIX_EPOCH + Duration::from_secs(next))
    }

    fn every(period_seconds: u64) -> Result<Self> {
        ensure!((1..=366 * DAY_SECONDS).contains(&period_seconds), "`interval_seconds` must be 1 to a year");
        Ok(Self { period_seconds, offset_seconds: 0 })
    }

    fn daily_at(time: &str) -> Result<Self> {
        let parsed = time.split_once(':').and_then(|(hour, minute)| {
            let (hour, minute): (u64, u64) = (hour.parse().ok()?, minute.parse().ok()?);
            (hour < 24 && minute < 60).then_some((hour * 60 + minute) * 60)
        });
        let offset_seconds =
            parsed.ok_or_else(|| Error::other(format!("`daily_at` must be a time such as `06:30`, not `{time}`")))?;
        Ok(Self { period_seconds: DAY_SECONDS, offset_seconds })
    }
}

/// From a setting's document.
impl TryFrom<&Value> for Timetable {
    type Error = Error;

    fn try_from(setting: &Value) -> Result<Self> {
        match (setting.get("interval_seconds"), setting.get("daily_at")) {
            (Some(Value::Number(seconds)), None) if seconds.is_u64() => {
                Self::every(seconds.as_u64().unwrap_or_default())
            }
            (None, Some(Value::String(time))) => Self::daily_at(time),
            _ => Err(Error::other(format!(
                "the setting needs either `interval_seconds`, a whole number, or `daily_at`, a time such as \
                     `06:30`; it is {setting}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds since the epoch, of the first day.
    fn next(setting: Value, now: f64) -> f64 {
        let timetable = Timetable::try_from(&setting).unwrap();
        let next = timetable.next_after(UNIX_EPOCH + Duration::from_secs_f64(now)).unwrap();
        next.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
    }

    #[test]
    fn intervals_are_multiples_since_the_epoch() {
        let setting = json!({ "interval_seconds": 60 });
        for (now, expected) in [(0.0, 60.0), (0.5, 60.0), (59.9, 60.0), (60.0, 120.0), (60.1, 120.0)] {
            assert_eq!(next(setting.clone(), now), expected, "after {now}");
        }
    }

    #[test]
    fn daily_times_are_today_or_tomorrow() {
        let setting = json!({ "daily_at": "06:30" });
        let (half_past_six, day) = (23_400.0, DAY_SECONDS as f64);
        for (now, expected) in [
            (0.0, half_past_six),
            (half_past_six - 0.1, half_past_six),
            (half_past_six, half_past_six + day),
            (day - 1.0, half_past_six + day),
            (day + 1.0, half_past_six + day),
        ] {
            assert_eq!(next(setting.clone(), now), expected, "after {now}");
        }
    }

    #[test]
    fn a_setting_without_a_time_is_refused() {
        for setting in [
            json!({}),
            json!(null),
            json!({ "interval_seconds": 0 }),
            json!({ "interval_seconds": -1 }),
            json!({ "interval_seconds": "60" }),
            json!({ "interval_seconds": 60, "daily_at": "06:30" }),
            json!({ "daily_at": "24:00" }),
            json!({ "daily_at": "6" }),
        ] {
            assert!(Timetable::try_from(&setting).is_err(), "{setting}");
        }
    }
}
