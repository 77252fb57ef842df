//! When things happen: cron expressions, intervals and single moments, in any time zone of the IANA database, which is
//! built in. And the setting of the built-in scheduler, which joins such times with what happens to those that are
//! missed and to runs that would overlap.
//!
//! Pure: nothing here reads a clock or the store.

mod cron;
mod explanation;
mod moment;
mod plan;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::clock::Timestamp;
use cron::Expression;

pub use explanation::{Explanation, NamedTime};
pub(crate) use plan::{Overlap, Plan, Round};

/// Why there are no times: a fragment that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TimesError(pub(crate) String);

/// The shortest interval.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Times in one zone.
#[derive(Clone, Debug)]
pub struct Times {
    rule: Rule,
    zone: TimeZone,
    zone_name: String,
}

#[derive(Clone, Debug)]
enum Rule {
    Cron(Box<Expression>),
    /// Once, at that time.
    Once(Timestamp),
    /// At `from` and ever after; without it at multiples of the interval since 1970.
    Every {
        interval: Duration,
        text: String,
        from: Option<Timestamp>,
    },
}

impl Times {
    /// Those of a cron expression, see `docs/guides/schedule-flows.md`.
    ///
    /// # Errors
    /// For what is no expression, and for a zone that does not exist.
    pub fn of_cron(expression: &str, zone: &str) -> Result<Self, TimesError> {
        let rule = Rule::Cron(Box::new(Expression::parse(expression)?));
        Ok(Self { rule, zone: moment::zone(zone)?, zone_name: zone.to_owned() })
    }

    /// Those of the setting of a schedule of the built-in scheduler: a document with `cron`, `every` or `at`.
    ///
    /// # Errors
    /// For what is no such document: what is wrong with it.
    pub fn of_setting(value: &serde_json::Value) -> Result<Self, TimesError> {
        Plan::parse(value).map(|plan| plan.times)
    }

    /// The first time after `after`; none when there is none, or none before the year 5000.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Cron(expression) => expression.next(&self.zone, after),
            Rule::Once(at) => (*at > after).then_some(*at),
            Rule::Every { interval, from, .. } => next_multiple(*interval, *from, after),
        }
    }

    /// The newest time until `until`, which is among them; `first` when there is no newer one.
    pub(crate) fn newest(&self, first: Timestamp, until: Timestamp) -> Timestamp {
        let (mut newest, mut none_after) = (first, until);
        // There may be millions: the newest is found by halving what is left.
        while newest < none_after {
            let middle = Timestamp(newest.0 + (none_after.0 - newest.0) / 2);
            match self.next(middle).filter(|next| *next <= until) {
                Some(next) => newest = next,
                None => none_after = middle,
            }
        }
        newest
    }

    /// The only time that there is, if it is only one.
    pub(crate) fn once(&self) -> Option<Timestamp> {
        match self.rule {
            Rule::Once(at) => Some(at),
            _ => None,
        }
    }

    /// Why there is no time after `after`.
    pub(crate) fn nothing_after(&self, after: Timestamp) -> TimesError {
        TimesError(match &self.rule {
            Rule::Cron(expression) => format!("`{}` names no time after {after}", expression.text()),
            Rule::Once(at) => format!("its time, {at}, is over"),
            Rule::Every { text, .. } => format!("every {text} there is no time after {after}"),
        })
    }
}

fn next_multiple(interval: Duration, from: Option<Timestamp>, after: Timestamp) -> Option<Timestamp> {
    let start = from.unwrap_or_default();
    if from.is_some() && after < start {
        return Some(start);
    }
    let interval = i64::try_from(interval.as_micros()).ok()?;
    let count = after.0.checked_sub(start.0)?.div_euclid(interval);
    count.checked_add(1)?.checked_mul(interval)?.checked_add(start.0).map(Timestamp)
}
