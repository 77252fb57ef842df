//! What people write: zones, moments, durations.

use std::sync::LazyLock;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use super::{INTERVAL_MIN, TimesError};
use crate::clock::Timestamp;

/// The database that is built in, whatever the machine has: the same workspace has the same times everywhere.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The time zone with that name.
pub(super) fn zone(name: &str) -> Result<TimeZone, TimesError> {
    ZONES.get(name).map_err(|_| TimesError(format!("there is no time zone `{name}`; use a name such as Europe/Vienna")))
}

/// A moment: with an offset, such as `2026-12-01T10:00:00+01:00`, or as the clock on the wall shows it in a zone.
///
/// # Errors
/// For what is no moment; without a zone and an offset; and for what the clock never shows, or shows twice.
pub(super) fn moment(field: &str, text: &str, zone: Option<(&str, &TimeZone)>) -> Result<Timestamp, TimesError> {
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(timestamp.as_microsecond()));
    }
    let local: DateTime = text.parse().map_err(|_| {
        TimesError(format!("`{field}` cannot be `{text}`; write it as 2026-12-01T10:00:00, or with an offset"))
    })?;
    let Some((name, zone)) = zone else {
        let text = format!("`{field}` does not say in which zone: add `time_zone`, or an offset such as +01:00");
        return Err(TimesError(text));
    };
    let found = zone.to_ambiguous_zoned(local);
    let again = match found.offset() {
        AmbiguousOffset::Unambiguous { .. } => {
            let zoned = found.unambiguous().map_err(|error| TimesError(format!("`{field}`: {error}")))?;
            return Ok(Timestamp(zoned.timestamp().as_microsecond()));
        }
        AmbiguousOffset::Gap { .. } => format!("the clocks of {name} never show {text}"),
        AmbiguousOffset::Fold { .. } => format!("the clocks of {name} show {text} twice"),
    };
    Err(TimesError(format!("`{field}`: {again}: add the offset that you mean, such as {}", offset_of(&found.offset()))))
}

fn offset_of(offset: &AmbiguousOffset) -> String {
    match offset {
        AmbiguousOffset::Unambiguous { offset } => offset.to_string(),
        AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. } => before.to_string(),
    }
}

/// A duration such as `15m`, `1h 30m` or `PT15M`, at least as long as the shortest interval.
pub(super) fn duration(field: &str, text: &str) -> Result<Duration, TimesError> {
    let wrong = |reason: &str| TimesError(format!("`{field}` cannot be `{text}`{reason}"));
    let hint = "; write it as 15m, 1h 30m or 90s (a day is not always 24h: say 24h, or use `cron`)";
    let signed: jiff::SignedDuration = text.parse().map_err(|_| wrong(hint))?;
    let duration = Duration::try_from(signed).map_err(|_| wrong(hint))?;
    match duration {
        _ if duration < INTERVAL_MIN => Err(wrong("; it is at least 1s")),
        _ if duration > Duration::from_secs(100 * 366 * 24 * 60 * 60) => Err(wrong("; it is at most 100 years")),
        _ if !duration.as_nanos().is_multiple_of(1000) => Err(wrong("; there is no time below a microsecond")),
        _ => Ok(duration),
    }
}
