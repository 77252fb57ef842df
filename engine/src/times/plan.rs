//! The setting of the built-in scheduler.
//!
//! `{"cron": "*/5 * * * *", "time_zone": "Europe/Vienna"}`, or `{"every": "15m", "from": "2026-01-01T00:05:00Z"}`, or
//! `{"at": "2026-12-01T10:00:00", "time_zone": "Europe/Vienna"}`; each with `missed`, `missed_window` and `overlap`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::cron::Expression;
use super::{Rule, Times, TimesError, moment};
use crate::clock::Timestamp;

/// A time that the schedule comes to later than this is missed and no longer just late.
const LATE_MAX: Duration = Duration::from_secs(60);

/// With `run_all`, when the setting does not say: times that lie further back are not made up for.
const RUN_ALL_WINDOW: Duration = Duration::from_secs(60 * 60);

/// Missed times of one iteration that are counted, at most.
const MISSED_MAX: usize = 10_000;

/// Runs that one iteration starts, at most. The next one goes on from there.
const RUNS_MAX: usize = 100;

const KEYS: [&str; 8] = ["cron", "every", "at", "from", "time_zone", "missed", "missed_window", "overlap"];

/// What happens to times that came while nothing could run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Missed {
    /// They are left out.
    Skip,
    /// One run makes up for all of them.
    #[default]
    RunOnce,
    /// Each has its run.
    RunAll,
}

/// What happens at a time while a run that the schedule started before goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Overlap {
    /// Both run.
    #[default]
    Allow,
    /// The time is left out.
    Skip,
    /// The new run begins when the other has ended. Times that come meanwhile are missed ones.
    Queue,
    /// The other is cancelled.
    CancelOld,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) times: Times,
    missed: Missed,
    missed_window: Option<Duration>,
    pub(crate) overlap: Overlap,
}

/// What one iteration does when its time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    /// The times that get a run.
    pub(crate) times: Vec<Timestamp>,
    /// All until then are dealt with: the next iteration begins after it.
    pub(crate) until: Timestamp,
    /// The oldest time that gets no run, if there is one.
    pub(crate) left_out: Option<Timestamp>,
}

impl Plan {
    /// Reads a setting.
    ///
    /// # Errors
    /// What is wrong with it: an unknown or contradicting field, an expression or zone that does not exist.
    pub(crate) fn parse(value: &Value) -> Result<Self, TimesError> {
        let fields = fields(value)?;
        let zone_name = text(fields, "time_zone")?;
        let zone = zone_name.map(moment::zone).transpose()?;
        let named = zone_name.zip(zone.as_ref());
        let moment = |field| text(fields, field)?.map(|text| moment::moment(field, text, named)).transpose();
        let rule = match (text(fields, "cron")?, text(fields, "every")?, text(fields, "at")?) {
            (Some(expression), None, None) => Rule::Cron(Box::new(Expression::parse(expression)?)),
            (None, Some(every), None) => {
                let interval = moment::duration("every", every)?;
                Rule::Every { interval, text: every.to_owned(), from: moment("from")? }
            }
            (None, None, Some(_)) => Rule::Once(moment("at")?.ok_or_else(missing)?),
            (None, None, None) => return Err(missing()),
            _ => return Err(TimesError("a setting has one of `cron`, `every` and `at`".into())),
        };
        if fields.contains_key("from") && !fields.contains_key("every") {
            return Err(TimesError("`from` belongs to `every`".into()));
        }
        let times = Times {
            rule,
            zone: zone.unwrap_or(jiff::tz::TimeZone::UTC),
            zone_name: zone_name.unwrap_or("UTC").to_owned(),
        };
        let plan = Self {
            times,
            missed: choice(fields, "missed", "skip, run_once and run_all")?,
            missed_window: text(fields, "missed_window")?
                .map(|text| moment::duration("missed_window", text))
                .transpose()?,
            overlap: choice(fields, "overlap", "allow, skip, queue and cancel_old")?,
        };
        plan.check_policies()?;
        Ok(plan)
    }

    fn check_policies(&self) -> Result<(), TimesError> {
        let text = match (self.missed, self.overlap) {
            (Missed::Skip, _) if self.missed_window.is_some() => {
                "`missed_window` says how far back missed times are made up for, and with `missed`: \"skip\" none are"
            }
            (Missed::RunAll, Overlap::Skip | Overlap::CancelOld) => {
                "with `missed`: \"run_all\" several runs are due at one time: `overlap` is \"allow\" or \"queue\" then"
            }
            _ => return Ok(()),
        };
        Err(TimesError(text.into()))
    }

    /// The next time when all until `from` is dealt with; none when there is no more. What comes once and has not come
    /// so far is still to come, however late.
    pub(crate) fn due(&self, from: Timestamp, is_first: bool) -> Option<Timestamp> {
        self.times.once().filter(|_| is_first).or_else(|| self.times.next(from))
    }

    /// What to do `now`, when `due` has come or is past.
    pub(crate) fn round(&self, due: Timestamp, now: Timestamp) -> Round {
        let newest = self.times.newest(due, now);
        let is_within = |window: Option<Duration>| window.is_none_or(|window| now.since(newest) <= window);
        let times = match self.missed {
            Missed::Skip => is_within(Some(LATE_MAX)).then_some(newest).into_iter().collect(),
            Missed::RunOnce => is_within(self.missed_window).then_some(newest).into_iter().collect(),
            Missed::RunAll => return self.all(due, now),
        };
        let left_out = (times != [due]).then_some(due);
        Round { times, until: now, left_out }
    }

    /// How many times of a round get no run; of many, so many as are worth counting.
    pub(crate) fn missed(&self, round: &Round) -> u64 {
        let until = round.times.first().copied().unwrap_or(Timestamp(round.until.0 + 1));
        let following = std::iter::successors(round.left_out, |time| self.times.next(*time));
        following.take_while(|time| *time < until).take(MISSED_MAX).map(|_| 1).sum()
    }

    /// Every time within the window, the oldest first.
    fn all(&self, due: Timestamp, now: Timestamp) -> Round {
        let oldest = now.before(self.missed_window.unwrap_or(RUN_ALL_WINDOW));
        let first = if due >= oldest { Some(due) } else { self.times.next(Timestamp(oldest.0 - 1)) };
        let following = std::iter::successors(first, |time| self.times.next(*time));
        let times: Vec<_> = following.take_while(|time| *time <= now).take(RUNS_MAX).collect();
        let until = if times.len() < RUNS_MAX { now } else { times.last().copied().unwrap_or(now) };
        let left_out = (times.first() != Some(&due)).then_some(due);
        Round { times, until, left_out }
    }
}

fn missing() -> TimesError {
    let text =
        r#"the schedule's setting needs a value such as {"cron": "*/5 * * * *", "time_zone": "Europe/Vienna"}, "#;
    TimesError(format!(r#"{text}{{"every": "15m"}} or {{"at": "2026-12-01T10:00:00Z"}}"#))
}

fn fields(value: &Value) -> Result<&Map<String, Value>, TimesError> {
    let fields = value.as_object().ok_or_else(missing)?;
    match fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        None => Ok(fields),
        Some(unknown) => Err(TimesError(format!("the setting cannot have `{unknown}`; it takes {}", KEYS.join(", ")))),
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, TimesError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(TimesError(format!("`{name}` cannot be {other}; it is text"))),
    }
}

fn choice<T: for<'a> Deserialize<'a> + Default>(
    fields: &Map<String, Value>,
    name: &str,
    choices: &str,
) -> Result<T, TimesError> {
    let Some(text) = text(fields, name)? else { return Ok(T::default()) };
    serde_json::from_value(text.into())
        .map_err(|_| TimesError(format!("`{name}` cannot be `{text}`; there are {choices}")))
}
