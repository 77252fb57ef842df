//! Times for people: in words, and as lists with the names of days.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Rule, Times};
use crate::clock::Timestamp;

/// What times mean, and when they come next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Explanation {
    /// In words, with the zone.
    pub words: String,
    /// The zone's name.
    pub time_zone: String,
    /// The next times; fewer than were asked for when there are no more.
    pub times: Vec<NamedTime>,
}

/// One time, as different clocks show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NamedTime {
    /// In UTC.
    pub utc: String,
    /// On the clocks of the zone, with the offset: `2026-12-01T10:00:00+01:00`.
    pub local: String,
    /// The zone's abbreviation at that time, such as CET.
    pub abbreviation: String,
    /// The day of the week there.
    pub weekday: &'static str,
}

impl Times {
    /// In words, with the zone: `At 10:00, on Monday, in Europe/Vienna`.
    pub fn words(&self) -> String {
        match &self.rule {
            Rule::Cron(expression) => format!("{}, in {}", expression.words(), self.zone_name),
            Rule::Once(at) => format!("Once, at {}", self.local(*at)),
            Rule::Every { text, from: Some(from), .. } => format!("Every {text} from {}", self.local(*from)),
            Rule::Every { text, from: None, .. } => format!("Every {text}, counted from 1970-01-01T00:00:00Z"),
        }
    }

    /// The words and the first `count` times after `after`.
    pub fn explain(&self, after: Timestamp, count: usize) -> Explanation {
        let times = std::iter::successors(self.next(after), |time| self.next(*time));
        Explanation {
            words: self.words(),
            time_zone: self.zone_name.clone(),
            times: times.take(count).map(|time| self.named(time)).collect(),
        }
    }

    /// A time as the clocks of the zone show it.
    pub fn named(&self, time: Timestamp) -> NamedTime {
        let zoned = jiff::Timestamp::from_microsecond(time.0).map(|time| time.to_zoned(self.zone.clone()));
        NamedTime {
            utc: time.to_string(),
            local: self.local(time),
            abbreviation: zoned.as_ref().map(|zoned| zoned.strftime("%Z").to_string()).unwrap_or_default(),
            weekday: zoned.map_or("", |zoned| day_name(zoned.weekday())),
        }
    }

    fn local(&self, time: Timestamp) -> String {
        let zoned = jiff::Timestamp::from_microsecond(time.0).map(|time| time.to_zoned(self.zone.clone()));
        zoned.map_or_else(|_| time.to_string(), |zoned| zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
    }
}

fn day_name(day: jiff::civil::Weekday) -> &'static str {
    use jiff::civil::Weekday;
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}
