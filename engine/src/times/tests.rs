//! Times against a second opinion, against what must hold of any times, and against examples.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::json;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The first times of an expression after a moment, on the clocks of its zone.
fn times(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let times = Times::of_cron(expression, zone).unwrap();
    times.explain(at(after), count).times.into_iter().map(|time| time.local).collect()
}

fn dates(expression: &str, count: usize) -> Vec<String> {
    let times = times(expression, "UTC", "2026-01-01T00:00:00Z", count);
    times.into_iter().map(|time| time[5..16].to_owned()).collect()
}

#[test]
fn every_form_of_a_field() {
    let cases = [
        ("*/5 * * * *", "01-01T00:05 01-01T00:10"),
        ("7-59/20 * * * *", "01-01T00:07 01-01T00:27"),
        ("0 9-17/4 * * *", "01-01T09:00 01-01T13:00"),
        ("30 0,12 * * *", "01-01T00:30 01-01T12:30"),
        ("0 0 * JAN,jul MON-fri", "01-02T00:00 01-05T00:00"),
        ("0 0 ? * sun", "01-04T00:00 01-11T00:00"),
        ("0 0 1 * ?", "02-01T00:00 03-01T00:00"),
        ("0 0 * * 7", "01-04T00:00 01-11T00:00"),
        ("0 0 * * 0", "01-04T00:00 01-11T00:00"),
        ("0 0 L * *", "01-31T00:00 02-28T00:00"),
        ("0 0 15W * *", "01-15T00:00 02-16T00:00"),
        ("0 0 1W * *", "02-02T00:00 03-02T00:00"),
        ("0 0 * * 5#2", "01-09T00:00 02-13T00:00"),
        ("0 0 * * FRI#2", "01-09T00:00 02-13T00:00"),
        ("0 0 * * 5L", "01-30T00:00 02-27T00:00"),
        ("0 0 * * FRIL", "01-30T00:00 02-27T00:00"),
        // Either day, as POSIX has it; with `+` both.
        ("0 0 13 * 5", "01-02T00:00 01-09T00:00"),
        ("0 0 13 * +5", "02-13T00:00 03-13T00:00"),
        ("0 0 29 2 *", "02-29T00:00 02-29T00:00"),
        ("@hourly", "01-01T01:00 01-01T02:00"),
        ("@daily", "01-02T00:00 01-03T00:00"),
        ("@midnight", "01-02T00:00 01-03T00:00"),
        ("@weekly", "01-04T00:00 01-11T00:00"),
        ("@monthly", "02-01T00:00 03-01T00:00"),
        ("@Yearly", "01-01T00:00 01-01T00:00"),
        ("@annually", "01-01T00:00 01-01T00:00"),
    ];
    for (expression, expected) in cases {
        assert_eq!(dates(expression, 2).join(" "), expected, "{expression}");
    }
    let seconds = times("*/20 * * * * *", "UTC", "2026-01-01T00:00:00.5Z", 3);
    assert_eq!(seconds, ["2026-01-01T00:00:20+00:00", "2026-01-01T00:00:40+00:00", "2026-01-01T00:01:00+00:00"]);
    let years = times("0 0 12 1 1 * 2028-2029", "UTC", "2026-01-01T00:00:00Z", 5);
    assert_eq!(years, ["2028-01-01T12:00:00+00:00", "2029-01-01T12:00:00+00:00"]);
    assert_eq!(dates("0 0 30 2 *", 1), [""; 0]);
}

#[test]
fn what_is_wrong_is_said_with_its_field() {
    let cases = [
        ("", "it has 0 fields"),
        ("* * * *", "it has 4 fields"),
        ("@reboot", "macros are @yearly"),
        ("@every 5m", r#"{"every": "15m"}"#),
        ("61 * * * *", "`61 * * * *` is not a cron expression: number out of bounds"),
        ("x * * * *", "the minute `x` cannot have `X`"),
        ("* * * MON *", "the month `MON` cannot have `MON`; it takes JAN"),
        ("* * * * JAN", "the day of week `JAN` cannot have `JAN`; it takes SUN"),
        ("* * * * MONDAY", "the day of week `MONDAY`"),
        ("* * 5L * *", "not a cron expression"),
        ("* * X * *", "the day of month `X` cannot have `X`; it takes L, W"),
        ("* * * * L", "5L is the last Friday"),
        ("1,,2 * * * *", "the minute `1,,2` has an empty place"),
        ("*/0 * * * *", "step cannot be zero"),
        ("5-1 * * * *", "not a cron expression"),
        ("* * * * * * * *", "it has 8 fields"),
    ];
    for (expression, expected) in cases {
        let error = Times::of_cron(expression, "UTC").unwrap_err().to_string();
        assert!(error.contains(expected), "{expression}: {error}");
    }
    let error = Times::of_cron("* * * * *", "Mars/Base").unwrap_err().to_string();
    assert_eq!(error, "there is no time zone `Mars/Base`; use a name such as Europe/Vienna");
}

#[test]
fn words_say_what_an_expression_means() {
    let cases = [
        ("30 2 * * *", "At 02:30, in Europe/Vienna"),
        ("*/15 * * * *", "At every 15 minutes, in Europe/Vienna"),
        ("0 9 * * MON-FRI", "At 09:00, on Monday, Tuesday, Wednesday, Thursday, and Friday, in Europe/Vienna"),
        ("0 0 L * *", "At 00:00, on the last day of the month, in Europe/Vienna"),
        ("0 0 LW * *", "At the times of `0 0 LW * *`, in Europe/Vienna"),
        ("0 */6 * * *", "At minute 0, of every 6 hours, in Europe/Vienna"),
        ("0 */25 * * *", "At 00:00, in Europe/Vienna"),
        ("*/40 * * * *", "At minute 0 and 40 past every hour, in Europe/Vienna"),
        ("0-30/10 * * * *", "At minute 0, 10, 20, and 30 past every hour, in Europe/Vienna"),
        ("0 0 1 JAN-MAR/2 *", "At 00:00, on day 1, in January and March, in Europe/Vienna"),
        ("0 0 1 */3 *", "At 00:00, on day 1, in every 3 months, in Europe/Vienna"),
        ("0 0 0 1 1 * 2026-2030/2", "At the times of `0 0 0 1 1 * 2026-2030/2`, in Europe/Vienna"),
    ];
    for (expression, expected) in cases {
        assert_eq!(Times::of_cron(expression, "Europe/Vienna").unwrap().words(), expected, "{expression}");
    }
}

/// The clocks of Berlin go from 02:00 to 03:00 on 2026-03-29, and from 03:00 back to 02:00 on 2026-10-25.
#[test]
fn jumps_of_the_clock_in_both_directions() {
    let cases = [
        ("30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-29T03:00:00+02:00 2026-03-30T02:30:00+02:00"),
        ("30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T02:30:00+02:00 2026-10-26T02:30:00+01:00"),
        ("0 * * * *", "2026-03-29T00:30:00Z", "2026-03-29T03:00:00+02:00 2026-03-29T04:00:00+02:00"),
        ("0 * * * *", "2026-10-25T00:30:00Z", "2026-10-25T02:00:00+01:00 2026-10-25T03:00:00+01:00"),
        ("*/30 * * * *", "2026-10-25T00:10:00Z", "2026-10-25T02:30:00+02:00 2026-10-25T02:00:00+01:00"),
        ("*/30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T02:00:00+02:00 2026-03-30T02:30:00+02:00"),
    ];
    for (expression, after, expected) in cases {
        assert_eq!(times(expression, "Europe/Berlin", after, 2).join(" "), expected, "{expression} after {after}");
    }
}

/// Zones whose clocks jump: by an hour, by half of one, by two, at midnight, in the south; and one that never jumps.
const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Africa/Cairo",
    "Asia/Beirut",
    "America/Santiago",
    "Asia/Kathmandu",
];

const DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// The moments of a year at which the clocks of a zone jump.
fn jumps(zone: &TimeZone, year: i16) -> Vec<Timestamp> {
    let first = Date::new(year, 1, 1).unwrap().to_zoned(TimeZone::UTC).unwrap().timestamp();
    let following = zone.following(first).take_while(|jump| jump.timestamp().to_zoned(TimeZone::UTC).year() == year);
    following.map(|jump| Timestamp(jump.timestamp().as_microsecond())).collect()
}

fn local_date(zone: &TimeZone, time: Timestamp) -> Date {
    jiff::Timestamp::from_microsecond(time.0).unwrap().to_zoned(zone.clone()).date()
}

/// A fixed time comes once each day, also on the days of a jump, and always later than the one before.
#[test]
fn a_fixed_time_comes_once_each_day() {
    let mut days_of_jumps = 0;
    for name in ZONES {
        let zone = moment::zone(name).unwrap();
        for (hour, minute) in [(0, 0), (0, 30), (1, 15), (2, 0), (2, 30), (3, 0), (12, 0), (23, 59)] {
            let times = Times::of_cron(&format!("{minute} {hour} * * *"), name).unwrap();
            for jump in jumps(&zone, 2026) {
                days_of_jumps += 1;
                let mut count: BTreeMap<Date, u32> = BTreeMap::new();
                let (mut time, end) = (Timestamp(jump.0 - 4 * DAY), jump.0 + 4 * DAY);
                while let Some(next) = times.next(time).filter(|next| next.0 < end) {
                    assert!(next > time, "{name} {hour}:{minute} after {time}: {next}");
                    *count.entry(local_date(&zone, next)).or_default() += 1;
                    time = next;
                }
                // The first and the last day are not there as a whole.
                let whole: Vec<_> = count.iter().skip(1).take(count.len() - 2).collect();
                assert!(whole.len() >= 5, "{name}: {count:?}");
                assert!(whole.iter().all(|(_, count)| **count == 1), "{name} {hour}:{minute}: {count:?}");
                let of_jump = whole.iter().any(|(date, _)| **date == local_date(&zone, jump));
                assert!(of_jump, "{name} {hour}:{minute}: nothing on the day of {jump}: {count:?}");
            }
        }
    }
    assert!(days_of_jumps > 100, "{days_of_jumps}");
}

/// What comes at every so many minutes keeps to that through every jump.
#[test]
fn a_pattern_leaves_no_hole() {
    for name in ZONES {
        let zone = moment::zone(name).unwrap();
        for step in [1, 5, 10, 15, 30] {
            let times = Times::of_cron(&format!("*/{step} * * * *"), name).unwrap();
            for jump in jumps(&zone, 2026) {
                let (mut time, end) = (Timestamp(jump.0 - DAY / 4), jump.0 + DAY / 4);
                time = times.next(time).unwrap();
                while time.0 < end {
                    let next = times.next(time).unwrap();
                    let minutes = (next.0 - time.0) / 60_000_000;
                    assert_eq!(minutes, step, "{name}: {time} to {next}");
                    time = next;
                }
            }
        }
    }
}

/// From wherever one asks, the next time is the next of those that stepping finds.
#[test]
fn asking_in_between_gives_the_same_times() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    for name in ZONES {
        let zone = moment::zone(name).unwrap();
        for expression in ["*/20 * * * *", "30 2 * * *", "15,45 0-3 * * *", "0 0 * * 0", "*/7 * * * * *"] {
            let times = Times::of_cron(expression, name).unwrap();
            for jump in jumps(&zone, 2026) {
                let mut time = times.next(Timestamp(jump.0 - DAY / 8)).unwrap();
                for _ in 0..40 {
                    let next = times.next(time).unwrap();
                    let between = i64::from(rng.next_u32()) % (next.0 - time.0);
                    assert_eq!(times.next(Timestamp(time.0 + between)), Some(next), "{expression} in {name}: {time}");
                    time = next;
                }
            }
        }
    }
}

/// One field, from its smallest and largest value.
fn field(rng: &mut ChaCha8Rng, low: u32, high: u32) -> String {
    let mut number = |low: u32, high: u32| low + rng.next_u32() % (high - low + 1);
    match number(0, 6) {
        0 | 1 => "*".into(),
        2 => number(low, high).to_string(),
        3 => {
            let (one, other) = (number(low, high), number(low, high));
            format!("{}-{}", one.min(other), one.max(other))
        }
        4 => format!("*/{}", number(2, 15.min(high))),
        5 => {
            let (one, other) = (number(low, high), number(low, high));
            format!("{}-{}/{}", one.min(other), one.max(other), number(1, 7))
        }
        _ => format!("{},{},{}", number(low, high), number(low, high), number(low, high)),
    }
}

/// The crate `cron` has the same times, where both mean the same: it wants seconds, counts days of the week from
/// Sunday = 1, and takes both day fields together; and its own times are wrong where the clock jumps.
#[test]
fn a_second_opinion_agrees_soak() {
    let count = std::env::var("SUREFOOT_CRON_CASES").map_or(3000, |text| text.parse().expect("it is a number"));
    let rng = &mut ChaCha8Rng::seed_from_u64(7);
    let zones = [("UTC", 0), ("Asia/Kolkata", 19_800), ("Asia/Kathmandu", 20_700), ("America/Phoenix", -25_200)];
    let (mut compared, mut never) = (0, 0);
    for _ in 0..count {
        let with_day_of_week = rng.next_u32() % 2 == 0;
        let [second, minute, hour] = [59, 59, 23].map(|high| field(rng, 0, high));
        let month = field(rng, 1, 12);
        let (day, ours, theirs) = if with_day_of_week {
            let day = rng.next_u32() % 7;
            let name = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"][day as usize];
            ("*".to_owned(), if rng.next_u32() % 2 == 0 { day.to_string() } else { name.into() }, (day + 1).to_string())
        } else {
            (field(rng, 1, 31), "*".to_owned(), "*".to_owned())
        };
        let (name, offset) = zones[rng.next_u32() as usize % zones.len()];
        let our_text = format!("{second} {minute} {hour} {day} {month} {ours}");
        let their_text = format!("{second} {minute} {hour} {day} {month} {theirs}");
        let our_times = Times::of_cron(&our_text, name).unwrap();
        let schedule = ::cron::Schedule::from_str(&their_text).unwrap();
        let start = 1_700_000_000 + i64::from(rng.next_u32() % 200_000_000);
        let zone = chrono::FixedOffset::east_opt(offset).unwrap();
        let from = chrono::DateTime::from_timestamp(start, 0).unwrap().with_timezone(&zone);
        let theirs: Vec<i64> = schedule.after(&from).take(5).map(|time| time.timestamp_micros()).collect();
        let after = Timestamp(start * 1_000_000);
        let ours = std::iter::successors(our_times.next(after), |time| our_times.next(*time));
        let ours: Vec<i64> = ours.take(theirs.len().max(1)).map(|time| time.0).collect();
        assert_eq!(ours, theirs, "{our_text} in {name} after {after}");
        compared += ours.len();
        never += usize::from(ours.is_empty());
    }
    assert!(compared > 4 * count && never < count / 10, "{compared} times of {count} expressions, {never} never come");
}

#[test]
fn intervals_are_counted_from_their_beginning() {
    let next = |value: serde_json::Value, after: &str| {
        let times = Times::of_setting(&value).unwrap();
        times.next(at(after)).unwrap().to_string()
    };
    let every = json!({"every": "15m"});
    assert_eq!(next(every.clone(), "2026-01-01T00:07:00Z"), "2026-01-01T00:15:00.000000Z");
    assert_eq!(next(every, "2026-01-01T00:15:00Z"), "2026-01-01T00:30:00.000000Z");
    let from = json!({"every": "1h 30m", "from": "2026-01-01T08:00:00", "time_zone": "Europe/Vienna"});
    assert_eq!(next(from.clone(), "2025-01-01T00:00:00Z"), "2026-01-01T07:00:00.000000Z");
    assert_eq!(next(from.clone(), "2026-01-01T07:00:00Z"), "2026-01-01T08:30:00.000000Z");
    assert_eq!(next(from, "2026-01-01T09:59:59Z"), "2026-01-01T10:00:00.000000Z");
    assert_eq!(next(json!({"every": "PT90S"}), "1969-12-31T23:59:00Z"), "1970-01-01T00:00:00.000000Z");
}

#[test]
fn a_moment_comes_once() {
    for value in [
        json!({"at": "2026-12-01T10:00:00", "time_zone": "Europe/Vienna"}),
        json!({"at": "2026-12-01T10:00:00+01:00"}),
        json!({"at": "2026-12-01T09:00:00Z", "time_zone": "Europe/Vienna"}),
    ] {
        let times = Times::of_setting(&value).unwrap();
        let moment = at("2026-12-01T09:00:00Z");
        assert_eq!((times.next(Timestamp(0)), times.next(moment)), (Some(moment), None), "{value}");
    }
    let times = Times::of_setting(&json!({"at": "2026-12-01T10:00:00", "time_zone": "Europe/Vienna"})).unwrap();
    assert_eq!(times.words(), "Once, at 2026-12-01T10:00:00+01:00");
}

#[test]
fn settings_that_say_no_times_are_refused_with_what_to_do() {
    let cases = [
        (json!(null), r#"{"cron": "*/5 * * * *""#),
        (json!({}), r#"{"every": "15m"}"#),
        (json!({"cron": "* * * * *", "every": "1h"}), "one of `cron`, `every` and `at`"),
        (json!({"corn": "* * * * *"}), "cannot have `corn`; it takes cron, every, at"),
        (json!({"cron": 5}), "`cron` cannot be 5; it is text"),
        (json!({"cron": "* * * * *", "from": "2026-01-01T00:00:00Z"}), "`from` belongs to `every`"),
        (json!({"every": "1d"}), "a day is not always 24h"),
        (json!({"every": "10ms"}), "at least 1s"),
        (json!({"every": "-5m"}), "`every` cannot be `-5m`"),
        (json!({"every": "9999999h"}), "at most 100 years"),
        (json!({"at": "tomorrow"}), "write it as 2026-12-01T10:00:00"),
        (json!({"at": "2026-12-01T10:00:00"}), "add `time_zone`, or an offset"),
        (
            json!({"at": "2026-03-29T02:30:00", "time_zone": "Europe/Berlin"}),
            "never show 2026-03-29T02:30:00: add the offset that you mean, such as +01",
        ),
        (json!({"at": "2026-10-25T02:30:00", "time_zone": "Europe/Berlin"}), "twice: add the offset"),
        (json!({"every": "1h", "missed": "never"}), "there are skip, run_once and run_all"),
        (json!({"every": "1h", "overlap": "kill"}), "there are allow, skip, queue and cancel_old"),
        (json!({"every": "1h", "missed": "skip", "missed_window": "1h"}), "`missed_window` says how far back"),
        (json!({"every": "1h", "missed": "run_all", "overlap": "skip"}), "\"allow\" or \"queue\""),
    ];
    for (value, expected) in cases {
        let error = Times::of_setting(&value).unwrap_err().to_string();
        assert!(error.contains(expected), "{value}: {error}");
    }
}

fn round(policies: serde_json::Value, due: &str, now: &str) -> (Vec<String>, String, bool) {
    let mut value = json!({"cron": "0 * * * *"});
    value.as_object_mut().unwrap().extend(policies.as_object().unwrap().clone());
    let round = Plan::parse(&value).unwrap().round(at(due), at(now));
    let times = round.times.iter().map(|time| time.to_string()[11..16].to_owned()).collect();
    (times, round.until.to_string()[11..19].to_owned(), round.left_out.is_some())
}

#[test]
fn what_is_missed_is_left_out_or_made_up_for() {
    let (due, in_time, late) = ("2026-01-01T01:00:00Z", "2026-01-01T01:00:30Z", "2026-01-01T04:20:00Z");
    let times = |times: &[&str]| times.iter().map(|&time| time.to_owned()).collect::<Vec<_>>();
    for missed in ["skip", "run_once", "run_all"] {
        assert_eq!(round(json!({"missed": missed}), due, in_time), (times(&["01:00"]), "01:00:30".into(), false));
    }
    assert_eq!(round(json!({"missed": "skip"}), due, late), (times(&[]), "04:20:00".into(), true));
    assert_eq!(
        round(json!({"missed": "skip"}), due, "2026-01-01T04:00:50Z"),
        (times(&["04:00"]), "04:00:50".into(), true)
    );
    assert_eq!(round(json!({}), due, late), (times(&["04:00"]), "04:20:00".into(), true));
    assert_eq!(round(json!({"missed_window": "10m"}), due, late), (times(&[]), "04:20:00".into(), true));
    let all = json!({"missed": "run_all", "missed_window": "24h"});
    assert_eq!(round(all, due, late), (times(&["01:00", "02:00", "03:00", "04:00"]), "04:20:00".into(), false));
    let all = json!({"missed": "run_all", "missed_window": "150m"});
    assert_eq!(round(all, due, late), (times(&["02:00", "03:00", "04:00"]), "04:20:00".into(), true));
    // A hundred at one time, and the rest later.
    let all = json!({"missed": "run_all", "missed_window": "1000h"});
    let (runs, until, left_out) = round(all, due, "2026-01-09T00:00:00Z");
    assert_eq!((runs.len(), until.as_str(), left_out), (100, "04:00:00", false));
}

#[test]
fn the_newest_time_is_found_among_millions() {
    let times = Times::of_cron("* * 3 * * *", "UTC").unwrap();
    let (first, until) = (at("2020-01-01T03:00:00Z"), at("2026-05-05T01:00:00Z"));
    assert_eq!(times.newest(first, until), at("2026-05-04T03:59:59Z"));
    assert_eq!(times.newest(first, first), first);
    assert_eq!(times.newest(first, at("2019-01-01T00:00:00Z")), first);
}
