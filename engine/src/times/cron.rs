//! Cron expressions: how they are read, and when they come due in a time zone.
//!
//! Five fields: minute, hour, day of month, month, day of week. Six: with seconds in front. Seven: with a year at the
//! end. Or a macro, such as `@daily`. Fields take `*`, `?` (the same in both day fields), numbers, names, lists, ranges
//! and steps; the day of month also `L` (the last one) and `15W` (the weekday nearest to the 15th); the day of week
//! also `5#2` (the second Friday), `5L` (the last one) and a leading `+`. Day of week 0 and 7 are Sunday. With both day
//! fields given either may match, as POSIX has it; with `+` both must.
//!
//! Where the clock jumps: an expression with a fixed second, minute and hour comes once each day that it names, at the
//! end of the gap if its time is skipped, at the first of both if it comes twice. Any other comes whenever the clock on
//! the wall shows a time that it names.

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;

use super::TimesError;
use crate::clock::Timestamp;

/// What stands for a whole expression.
const MACROS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Croner's mark of a value that a field names.
const ALL_BIT: u8 = 1;

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A field: its name, and the letters that it takes beside numbers.
type Field = (&'static str, &'static [&'static str]);

const FIELDS: [Field; 7] = [
    ("second", &[]),
    ("minute", &[]),
    ("hour", &[]),
    ("day of month", &["L", "W", "LW"]),
    ("month", &MONTHS),
    ("day of week", &DAYS),
    ("year", &[]),
];

/// An expression that was read.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    text: String,
    cron: Cron,
}

impl Expression {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, and in which field.
    pub(super) fn parse(text: &str) -> Result<Self, TimesError> {
        let wrong = |reason: String| TimesError(format!("`{text}` is not a cron expression: {reason}"));
        let plain = without_macro(text.trim()).map_err(wrong)?;
        check_fields(plain).map_err(wrong)?;
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Optional).build();
        let cron = parser.parse(plain).map_err(|error| wrong(reason(&error)))?;
        Ok(Self { text: text.trim().to_owned(), cron })
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The first time after `after`; none when there is none before the year 5000.
    pub(super) fn next(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        // Expressions name whole seconds, and the search goes on from the one that `after` is in.
        let seconds = jiff::Timestamp::from_second(after.0.div_euclid(1_000_000)).ok()?;
        let next = self.cron.find_next_occurrence(&seconds.to_zoned(zone.clone()), false).ok()?;
        Some(Timestamp(next.timestamp().as_microsecond()))
    }

    /// What it means, in words: a sentence without its full stop.
    pub(super) fn words(&self) -> String {
        let mut pattern = self.cron.pattern.clone();
        // Croner has no words for the last weekday of a month, and takes no step of years for what it is.
        if pattern.years.step > 1 || self.text.to_ascii_uppercase().contains("LW") {
            return format!("At the times of `{}`", self.text);
        }
        // It takes every step for one that goes through the whole field, and evenly.
        for field in [&mut pattern.seconds, &mut pattern.minutes, &mut pattern.hours, &mut pattern.months] {
            let all = (field.min..=field.max).step_by(field.step.max(1).into());
            let is_even = (field.max - field.min + 1) % field.step.max(1) == 0;
            if !(is_even && all.eq(field.get_set_values(ALL_BIT))) {
                field.step = 1;
            }
        }
        pattern.describe().trim_end_matches('.').to_owned()
    }
}

fn without_macro(text: &str) -> Result<&str, String> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    let found = MACROS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, expression)| *expression).ok_or_else(|| {
        let names: Vec<_> = MACROS.iter().map(|(name, _)| *name).collect();
        format!("macros are {}; for intervals use {{\"every\": \"15m\"}}", names.join(", "))
    })
}

/// Finds what croner takes for something else, or refuses without saying where.
fn check_fields(text: &str) -> Result<(), String> {
    let given: Vec<&str> = text.split_whitespace().collect();
    let fields = match given.len() {
        5 => &FIELDS[1..6],
        6 => &FIELDS[..6],
        7 => &FIELDS[..],
        count => {
            return Err(format!(
                "it has {count} fields, and needs five: minute, hour, day of month, month, day of week"
            ));
        }
    };
    for (given, field) in given.iter().zip(fields) {
        check_field(given, field).map_err(|reason| format!("the {} `{given}` {reason}", field.0))?;
    }
    Ok(())
}

fn check_field(given: &str, (name, letters): &Field) -> Result<(), String> {
    let is_day_of_week = *name == "day of week";
    let given = if is_day_of_week { given.strip_prefix('+').unwrap_or(given) } else { given };
    for item in given.split(',') {
        let upper = item.to_ascii_uppercase();
        if upper.is_empty() {
            return Err("has an empty place in its list".into());
        }
        if is_day_of_week && upper == "L" {
            return Err("does not say which day: 5L is the last Friday".into());
        }
        for word in upper.split(|char: char| !char.is_ascii_alphabetic()).filter(|word| !word.is_empty()) {
            let is_last =
                is_day_of_week && word.strip_suffix('L').is_some_and(|day| day.is_empty() || letters.contains(&day));
            if !letters.contains(&word) && !is_last {
                return Err(match letters {
                    [] => format!("cannot have `{word}`"),
                    letters => format!("cannot have `{word}`; it takes {}", letters.join(", ")),
                });
            }
        }
    }
    Ok(())
}

/// Why croner refuses it, as a fragment.
fn reason(error: &CronError) -> String {
    let text = match error {
        CronError::ComponentError(text) | CronError::IllegalCharacters(text) | CronError::InvalidPattern(text) => {
            text.clone()
        }
        other => other.to_string(),
    };
    let mut chars = text.trim_end_matches('.').chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
