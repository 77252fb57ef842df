//! A month of what schedules would start: a dry run, which starts nothing.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use surefoot_engine::query::Kind;
use surefoot_engine::{Cut, DryRun, Role, Times, Timestamp};

use super::times;
use crate::app::App;
use crate::caller::InReach;
use crate::extract::{InQuery, percent_encoded};
use crate::operation::Operation;
use crate::problem::{Answer, Problem};
use crate::ui::filled::Filled;
use crate::ui::frame::{Frame, View, page};
use crate::ui::record::Names;

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::page("/ui/schedules/calendar", show).role(Role::Operator)]
}

/// Times of one schedule that a day names; of more it tells the first and the last.
const NAMED: usize = 3;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CalendarQuery {
    /// Such as `2026-12`; the present one when it is missing.
    month: Option<String>,
    /// Whose days are meant.
    zone: Option<String>,
    /// One schedule alone, by name or id.
    schedule: Option<String>,
}

#[derive(Template)]
#[template(path = "calendar.html")]
struct Calendar {
    frame: Frame,
    form: Filled,
    month: Month,
    weeks: Vec<[Option<Day>; 7]>,
    found: DryRun,
    schedules: Vec<String>,
}

impl View for Calendar {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

impl Calendar {
    /// The query of another month.
    fn at(&self, month: &Month) -> String {
        self.of(month, self.form.value("schedule"))
    }

    /// The query of one schedule alone.
    fn alone(&self, cut: &Cut) -> String {
        self.of(&self.month, &cut.schedule)
    }

    fn of(&self, month: &Month, schedule: &str) -> String {
        let zone = self.form.value("zone");
        let schedule = match schedule {
            "" => String::new(),
            schedule => format!("&schedule={}", percent_encoded(schedule)),
        };
        format!("?month={}&zone={}{schedule}", month.text(), percent_encoded(zone))
    }

    fn before(&self) -> String {
        self.at(&self.month.before())
    }

    fn after(&self) -> String {
        self.at(&self.month.after())
    }

    fn zones(&self) -> Vec<String> {
        times::ZONES.iter().map(|zone| (*zone).to_owned()).collect()
    }
}

/// A day of the month, with what begins on it.
struct Day {
    number: u8,
    is_today: bool,
    starts: Vec<Starts>,
}

/// What one schedule starts on a day.
struct Starts {
    schedule: String,
    /// The times of day.
    times: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Month {
    year: i32,
    /// From 1.
    month: u8,
}

impl Month {
    fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let parsed = Self { year: year.parse().ok()?, month: month.parse().ok()? };
        ((1..=12).contains(&parsed.month) && (1970..=4999).contains(&parsed.year)).then_some(parsed)
    }

    fn text(self) -> String {
        format!("{:04}-{:02}", self.year, self.month)
    }

    fn name(self) -> String {
        format!("{} {}", MONTHS[usize::from(self.month) - 1], self.year)
    }

    fn before(self) -> Self {
        match self.month {
            1 => Self { year: self.year - 1, month: 12 },
            month => Self { month: month - 1, ..self },
        }
    }

    fn after(self) -> Self {
        match self.month {
            12 => Self { year: self.year + 1, month: 1 },
            month => Self { month: month + 1, ..self },
        }
    }

    fn days(self) -> u8 {
        match self.month {
            2 if self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }
}

async fn show(
    State(app): State<App>,
    InReach(engine): InReach,
    frame: Frame,
    InQuery(query): InQuery<CalendarQuery>,
) -> Answer<Response> {
    let zone = query.zone.map(|zone| zone.trim().to_owned()).filter(|zone| !zone.is_empty());
    let zone = zone.unwrap_or_else(|| "UTC".to_owned());
    let clock = Times::of_cron("* * * * *", &zone).map_err(|error| Problem::invalid(error.to_string()))?;
    let today = local(&clock, frame.now);
    let month = match &query.month {
        Some(text) => Month::parse(text).ok_or_else(|| Problem::invalid("`month` is one such as 2026-12"))?,
        None => today.get(..7).and_then(Month::parse).ok_or_else(|| Problem::invalid("this year has no calendar"))?,
    };
    let schedule = query.schedule.map(|schedule| schedule.trim().to_owned()).filter(|schedule| !schedule.is_empty());
    // What is over was not planned any more: what became of it is in the list of executions.
    let (begin, end) = (begin_of(month, &zone)?, begin_of(month.after(), &zone)?);
    let from = begin.max(frame.now).min(end);
    let schedules: Vec<String> = schedule.iter().cloned().collect();
    let run = app
        .complete(engine.clone(), |engine| async move { engine.dry_run(from, Timestamp(end.0 - 1), schedules).await });
    let found = run.await?;
    let first = clock.named(begin).weekday;
    let weeks = weeks(month, first, &today, &by_day(&found, &clock));
    let names = Names::read(&engine, &[Kind::Schedule]).await?;
    let form = Filled::with([("zone", zone), ("schedule", schedule.unwrap_or_default()), ("month", month.text())]);
    Ok(page(&Calendar { frame, form, month, weeks, found, schedules: names.all(Kind::Schedule) }))
}

/// A time on the clocks of a zone: `2026-12-01T10:00:00+01:00`.
fn local(clock: &Times, at: Timestamp) -> String {
    clock.named(at).local
}

/// When a month begins there. Where the clocks never show midnight, as some do in spring, an hour later.
fn begin_of(month: Month, zone: &str) -> Answer<Timestamp> {
    let at = |hour: u8| {
        let at = format!("{}-01T{hour:02}:00:00", month.text());
        let times = Times::of_setting(&json!({ "at": at, "time_zone": zone }));
        times.map(|times| times.next(Timestamp(i64::MIN)).unwrap_or_default())
    };
    at(0).or_else(|_| at(1)).map_err(|error| Problem::invalid(error.to_string()))
}

/// By day and schedule, the times of day.
fn by_day(found: &DryRun, clock: &Times) -> BTreeMap<u8, BTreeMap<String, Vec<String>>> {
    let mut days: BTreeMap<u8, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for start in &found.starts {
        let Some(at) = start.at.parse().ok().map(|at| local(clock, at)) else { continue };
        let (day, time) = (at.get(8..10).and_then(|day| day.parse().ok()), at.get(11..16).unwrap_or_default());
        if let Some(day) = day {
            days.entry(day).or_default().entry(start.schedule.clone()).or_default().push(time.to_owned());
        }
    }
    days
}

fn weeks(
    month: Month,
    first: &str,
    today: &str,
    starts: &BTreeMap<u8, BTreeMap<String, Vec<String>>>,
) -> Vec<[Option<Day>; 7]> {
    let offset = WEEKDAYS.iter().position(|day| *day == first).unwrap_or_default();
    let mut weeks = Vec::new();
    for number in 1..=month.days() {
        let place = offset + usize::from(number) - 1;
        if place.is_multiple_of(7) || weeks.is_empty() {
            weeks.push([const { None }; 7]);
        }
        let all = starts.get(&number).into_iter().flatten();
        let starts = all.map(|(schedule, times)| Starts { schedule: schedule.clone(), times: times_of(times) });
        let is_today = today.get(..10) == Some(&format!("{}-{number:02}", month.text()));
        let day = Day { number, is_today, starts: starts.collect() };
        if let Some(week) = weeks.last_mut() {
            week[place % 7] = Some(day);
        }
    }
    weeks
}

fn times_of(times: &[String]) -> String {
    match times {
        [first, .., last] if times.len() > NAMED => format!("{} times, {first} to {last}", times.len()),
        times => times.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_each_other_and_have_their_days() {
        let month = |text: &str| Month::parse(text).unwrap();
        assert_eq!((month("2026-12").after(), month("2026-01").before()), (month("2027-01"), month("2025-12")));
        assert_eq!(["2024-02", "2100-02", "2000-02", "2026-04"].map(|text| month(text).days()), [29, 28, 29, 30]);
        assert!(["2026-13", "2026-00", "26", "x-y", "1969-12"].iter().all(|text| Month::parse(text).is_none()));
    }

    #[test]
    fn a_month_begins_on_its_weekday_with_what_each_day_starts() {
        let times = vec!["09:00".to_owned(), "10:00".to_owned(), "11:00".to_owned(), "12:00".to_owned()];
        let starts = BTreeMap::from([(31, BTreeMap::from([("s".to_owned(), times)]))]);
        let weeks = weeks(Month::parse("2026-12").unwrap(), "Tuesday", "2026-12-01T10:00:00Z", &starts);
        assert!(weeks[0][0].is_none() && weeks[0][1].as_ref().is_some_and(|day| day.number == 1 && day.is_today));
        let last = weeks[4][3].as_ref().unwrap();
        assert_eq!((last.number, last.starts[0].times.as_str()), (31, "4 times, 09:00 to 12:00"));
        assert!(weeks.len() == 5 && weeks[4][4].is_none());
    }

    #[test]
    fn a_month_begins_where_its_zone_says_also_without_a_midnight() {
        let begin = |text: &str, zone: &str| begin_of(Month::parse(text).unwrap(), zone).unwrap().to_string();
        assert_eq!(begin("2026-12", "Europe/Vienna"), "2026-11-30T23:00:00.000000Z");
        // The clocks of Paraguay went from midnight to one on the first of October 2023.
        assert_eq!(begin("2023-10", "America/Asuncion"), "2023-10-01T04:00:00.000000Z");
    }
}
