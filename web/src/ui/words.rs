//! How a status, a time, a duration, a size, a document are shown. What is here writes HTML, and escapes what it got.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use askama::filters::HtmlSafe;
use serde_json::Value;
use surefoot_engine::Timestamp;

use crate::page::escaped;

/// A part of a record, as text; empty where it is none.
pub(super) fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or_default()
}

/// A time in a record.
pub(super) fn time(record: &Value, field: &str) -> Option<Timestamp> {
    record[field].as_str().and_then(|text| text.parse().ok())
}

/// How something stands: a picture, a word, and a colour, so that none of them says it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) word: &'static str,
    /// The class of the style, and the name of the picture.
    pub(super) class: &'static str,
}

/// Statuses of executions and approvals, and what else there is to tell apart.
const STANDINGS: [(&str, &str, &str); 25] = [
    ("SCHEDULED", "Scheduled", "scheduled"),
    ("QUEUED", "Queued", "queued"),
    ("RUNNING", "Running", "running"),
    ("WAITING", "Waiting", "waiting"),
    ("PAUSED", "Paused", "paused"),
    ("ENDED_SUCCESS", "Succeeded", "good"),
    ("ENDED_ERROR", "Failed", "bad"),
    ("ENDED_CANCELLED", "Cancelled", "cancelled"),
    // It came to its end, and answered that what it tests did not.
    ("UNSUCCESSFUL", "Unsuccessful", "bad"),
    ("open", "Open", "waiting"),
    ("answered", "Answered", "good"),
    ("expired", "Expired", "cancelled"),
    ("closed", "Closed", "cancelled"),
    ("enabled", "Enabled", "good"),
    ("disabled", "Disabled", "cancelled"),
    ("pass", "Passed", "good"),
    ("fail", "Failed", "bad"),
    ("warn", "Warning", "waiting"),
    ("skip", "Skipped", "cancelled"),
    ("success", "Success", "good"),
    ("error", "Error", "bad"),
    ("interrupted", "Interrupted", "bad"),
    ("note", "Note", "queued"),
    ("well", "Takes work", "good"),
    ("trouble", "Takes nothing new", "bad"),
];

impl Standing {
    /// Of what is enabled, or not.
    pub(super) fn of_enabled(is_enabled: bool) -> Self {
        Self::of(if is_enabled { "enabled" } else { "disabled" })
    }

    /// That of a status, by the word that records have. What is not known is shown as it is not: a neutral dot.
    pub(super) fn of(status: &str) -> Self {
        let found = STANDINGS.iter().find(|(known, ..)| *known == status);
        found.map_or(Self { word: "Unknown", class: "cancelled" }, |(_, word, class)| Self { word, class })
    }
}

impl HtmlSafe for Standing {}

impl Display for Standing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { word, class } = self;
        write!(f, "<span class=\"status {class}\">{}{word}</span>", Icon(class))
    }
}

/// A picture of the sheet that every page has. It says nothing to who cannot see it: a word stands beside it.
pub(super) struct Icon<'a>(pub(super) &'a str);

impl HtmlSafe for Icon<'_> {}

impl Display for Icon<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "<svg class=\"icon\" aria-hidden=\"true\"><use href=\"#i-{}\"/></svg>", self.0)
    }
}

/// A moment: in UTC, with its age. A script may turn it to the reader's own zone, and keeps the age true.
pub(super) struct Moment {
    pub(super) at: Option<Timestamp>,
    pub(super) now: Timestamp,
}

impl Moment {
    /// In a text that has no elements, such as a choice.
    pub(super) fn plain(&self) -> String {
        let at = self.at.map(|at| at.to_string()).unwrap_or_default();
        let second = at.split('.').next().unwrap_or_default().trim_end_matches('Z');
        format!("{} UTC", second.replace('T', " "))
    }
}

impl HtmlSafe for Moment {}

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(at) = self.at else { return f.write_str("<span class=\"none\">never</span>") };
        let exact = at.to_string();
        // `2026-11-30T22:56:46.123456Z`: the date, the time to the second.
        let (day, rest) = exact.split_once('T').unwrap_or((&exact, ""));
        let seconds = rest.split('.').next().unwrap_or_default();
        let age = Age { at, now: self.now };
        write!(
            f,
            "<time datetime=\"{exact}\" title=\"{exact}\"><span>{day}</span> <span>{seconds} <abbr \
             title=\"Coordinated Universal Time\">UTC</abbr></span><span class=\"age\">{age}</span></time>"
        )
    }
}

/// A moment to the millisecond, without its age: for what is read in its order.
pub(super) struct Exact<'a>(pub(super) &'a Timestamp);

impl HtmlSafe for Exact<'_> {}

impl Display for Exact<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let exact = self.0.to_string();
        let millis = exact.get(..23).unwrap_or(&exact).replace('T', " ");
        write!(
            f,
            "<time datetime=\"{exact}\" title=\"{exact}\">{millis} <abbr title=\"Coordinated Universal \
             Time\">UTC</abbr></time>"
        )
    }
}

/// How long ago, or until, in one or two words.
pub(super) struct Age {
    pub(super) at: Timestamp,
    pub(super) now: Timestamp,
}

impl HtmlSafe for Age {}

impl Display for Age {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (past, future) = (self.now.since(self.at), self.at.since(self.now));
        let (duration, is_past) = if future.is_zero() { (past, true) } else { (future, false) };
        let seconds = duration.as_secs();
        let (count, unit) = match seconds {
            0 => return f.write_str(if is_past { "just now" } else { "in a moment" }),
            1..60 => (seconds, "s"),
            60..3600 => (seconds / 60, "min"),
            3600..172_800 => (seconds / 3600, "h"),
            _ => (seconds / 86_400, "days"),
        };
        match is_past {
            true => write!(f, "{count} {unit} ago"),
            false => write!(f, "in {count} {unit}"),
        }
    }
}

/// How long something took: to the millisecond where that says something. A number stays with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Took(pub(super) Duration);

impl Took {
    /// From one moment to another, or until now when there is none.
    pub(super) fn between(from: Option<Timestamp>, to: Option<Timestamp>, now: Timestamp) -> Option<Self> {
        from.map(|from| Self(to.unwrap_or(now).since(from)))
    }
}

impl HtmlSafe for Took {}

impl Display for Took {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (millis, seconds) = (self.0.as_millis(), self.0.as_secs());
        match seconds {
            0 if millis < 10 => write!(f, "{:.1}\u{a0}ms", self.0.as_secs_f64() * 1e3),
            0 => write!(f, "{millis}\u{a0}ms"),
            1..60 => write!(f, "{:.2}\u{a0}s", self.0.as_secs_f64()),
            60..3600 => write!(f, "{}\u{a0}min {}\u{a0}s", seconds / 60, seconds % 60),
            3600..86_400 => write!(f, "{}\u{a0}h {}\u{a0}min", seconds / 3600, seconds / 60 % 60),
            _ => write!(f, "{}\u{a0}d {}\u{a0}h", seconds / 86_400, seconds / 3600 % 24),
        }
    }
}

/// A duration as people write it, which can be read again: `2h 30m`.
pub(super) fn duration_text(duration: Duration) -> String {
    let (millis, seconds) = (duration.subsec_millis(), duration.as_secs());
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"), (millis.into(), "ms")];
    let parts: Vec<_> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// A size, as 1024-based units have it.
pub(super) struct Size(pub(super) u64);

impl HtmlSafe for Size {}

impl Display for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let (mut size, mut units) = (self.0 as f64 / 1024.0, UNITS.iter());
        let mut unit = units.next();
        while size >= 1024.0 {
            size /= 1024.0;
            unit = units.next().or(unit);
        }
        write!(f, "{size:.1} {}", unit.copied().unwrap_or_default())
    }
}

/// What of a document is shown at most, bytes; and of one of many.
const DOCUMENT_BYTES_MAX: usize = 32 << 10;
const EXCERPT_BYTES_MAX: usize = 2 << 10;

/// A document for people: JSON with its lines, or a text as it is.
pub(super) struct Document<'a>(pub(super) &'a Value);

impl HtmlSafe for Document<'_> {}

impl Display for Document<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        show(f, self.0, DOCUMENT_BYTES_MAX)
    }
}

/// The beginning of a document, where a page has many.
pub(super) struct Excerpt<'a>(pub(super) &'a Value);

impl HtmlSafe for Excerpt<'_> {}

impl Display for Excerpt<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        show(f, self.0, EXCERPT_BYTES_MAX)
    }
}

fn show(f: &mut Formatter<'_>, document: &Value, bytes_max: usize) -> fmt::Result {
    let text = match document {
        Value::Null => return f.write_str("<span class=\"none\">none</span>"),
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).map_err(|_| fmt::Error)?,
    };
    let end = text.floor_char_boundary(bytes_max);
    write!(f, "<pre class=\"document\" tabindex=\"0\">{}</pre>", escaped(&text[..end]))?;
    if end < text.len() {
        let (shown, all) = (Size(end as u64), Size(text.len() as u64));
        write!(f, "<p class=\"note\">The first {shown} of {all}. The API has all of it.</p>")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ages_are_told_in_one_unit() {
        let age = |at: i64| Age { at: Timestamp(at * 1_000_000), now: Timestamp(10_000_000_000_000) }.to_string();
        let now = 10_000_000;
        assert_eq!(age(now), "just now");
        assert_eq!(age(now - 59), "59 s ago");
        assert_eq!(age(now - 61), "1 min ago");
        assert_eq!(age(now + 7200), "in 2 h");
        assert_eq!(age(now - 86_400 * 3), "3 days ago");
    }

    #[test]
    fn durations_and_sizes() {
        let took = |micros: u64| Took(Duration::from_micros(micros)).to_string().replace('\u{a0}', " ");
        assert_eq!(took(1_234), "1.2 ms");
        assert_eq!(took(512_345), "512 ms");
        assert_eq!(took(5_016_000), "5.02 s");
        assert_eq!(took(3_661_000_000), "1 h 1 min");
        assert_eq!((Size(1023).to_string(), Size(1 << 20).to_string()), ("1023 B".into(), "1.0 MiB".into()));
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        let text = |millis: u64| duration_text(Duration::from_millis(millis));
        assert_eq!([text(9_000_000), text(61_500), text(0)], ["2h 30m", "1m 1s 500ms", "0s"]);
    }

    #[test]
    fn moments_say_their_zone() {
        let moment = Moment { at: Some(Timestamp(1_700_000_000_000_001)), now: Timestamp(1_700_000_060_000_001) };
        let html = moment.to_string();
        assert!(html.contains("<span>2023-11-14</span> <span>22:13:20 <abbr") && html.contains("1 min ago"), "{html}");
        assert!(html.contains("datetime=\"2023-11-14T22:13:20.000001Z\""), "{html}");
        assert!(Moment { at: None, now: Timestamp(0) }.to_string().contains("never"));
    }

    #[test]
    fn documents_stay_text_and_are_cut() {
        let hostile = json!({"a": "</pre><script>alert(1)</script>"});
        let html = Document(&hostile).to_string();
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"), "{html}");
        let long = json!("ü".repeat(40_000));
        let html = Document(&long).to_string();
        assert!(html.contains("The first 32.0 KiB of 78.1 KiB"), "{}", &html[html.len() - 200..]);
    }
}
