//! When what an execution called was queued and at work, and when it waited by itself: a table whose rows have a bar
//! over one scale. What is drawn also stands beside it as numbers.

use std::fmt::{self, Display, Formatter};

use askama::filters::HtmlSafe;
use serde_json::Value;
use surefoot_engine::Timestamp;

use super::story::Story;
use crate::ui::run::standing;
use crate::ui::words::{Standing, Took, text, time};

/// See the module.
pub(super) struct Timeline {
    from: Timestamp,
    to: Timestamp,
    pub(super) bars: Vec<Bar>,
}

/// One row.
pub(super) struct Bar {
    /// None of what is no execution: the flow's own waits.
    pub(super) id: Option<String>,
    pub(super) name: String,
    /// A call of a connector, a child flow, a wait.
    pub(super) kind: &'static str,
    pub(super) standing: Standing,
    pub(super) created: Timestamp,
    pub(super) queued: Option<Took>,
    pub(super) took: Took,
    /// How often it was tried before.
    pub(super) retries: usize,
    /// Whether its result was taken over from another execution.
    pub(super) is_taken: bool,
    parts: Vec<Part>,
}

/// A piece of a bar.
struct Part {
    class: &'static str,
    from: Timestamp,
    to: Timestamp,
}

/// What the classes of parts say, for the legend.
pub(super) const LEGEND: [(&str, &str); 12] = [
    ("queued", "queued"),
    ("scheduled", "scheduled"),
    ("running", "running"),
    ("waiting", "waiting"),
    ("paused", "paused"),
    ("good", "succeeded"),
    ("bad", "failed"),
    ("cancelled", "cancelled"),
    ("retry", "attempt that failed"),
    ("rest", "between attempts"),
    ("pause", "wait of the flow"),
    ("taken", "taken over, not done again"),
];

/// A piece is no narrower, in percent of the scale.
const PART_PERCENT_MIN: f64 = 0.4;

impl Timeline {
    /// Of a page of children. The waits that began meanwhile stand among them: before the first page there are no
    /// others, and after the last one.
    pub(super) fn new(
        row: &Value,
        children: &[Value],
        story: &Story,
        now: Timestamp,
        (is_first, is_last): (bool, bool),
    ) -> Self {
        let own = time(row, "created_at").unwrap_or(now);
        let bar = |child: &Value| Bar::of(child, story, own, now);
        let mut bars: Vec<Bar> = children.iter().map(bar).collect();
        let since = bars.iter().map(|bar| bar.created).min().filter(|_| !is_first);
        let until = bars.iter().map(|bar| bar.created).max().filter(|_| !is_last);
        let is_here = |at: Timestamp| since.is_none_or(|since| at >= since) && until.is_none_or(|until| at < until);
        let waits = story.own_waits().filter(|wait| is_here(wait.from));
        let end = time(row, "ended_at").unwrap_or(now);
        bars.extend(waits.map(|wait| Bar::of_wait(wait, end)));
        bars.sort_by_key(|bar| bar.created);
        let drawn = || bars.iter().flat_map(|bar| &bar.parts);
        let from = drawn().map(|part| part.from).min().unwrap_or(own);
        let to = drawn().map(|part| part.to).max().unwrap_or(own);
        let from = if is_first { own.min(from) } else { from };
        Self { from, to: to.max(Timestamp(from.0 + 1)), bars }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bars.is_empty()
    }

    /// Which kinds of parts there are.
    pub(super) fn legend(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let has = |class: &str| self.bars.iter().flat_map(|bar| &bar.parts).any(|part| part.class == class);
        LEGEND.into_iter().filter(move |(class, _)| has(class))
    }

    /// The times at the ends and in the middle of the scale, from the begin of the execution on.
    pub(super) fn scale(&self) -> [Took; 3] {
        [0, 1, 2].map(|part| Took(Timestamp(self.from.0 + (self.to.0 - self.from.0) / 2 * part).since(self.from)))
    }

    pub(super) fn lane<'a>(&'a self, bar: &'a Bar) -> Lane<'a> {
        Lane { timeline: self, bar }
    }

    fn percent(&self, at: Timestamp) -> f64 {
        ((at.0 - self.from.0) as f64 / (self.to.0 - self.from.0) as f64).clamp(0.0, 1.0) * 100.0
    }
}

impl Bar {
    fn of(child: &Value, story: &Story, own: Timestamp, now: Timestamp) -> Self {
        let id = text(child, "id");
        let standing = standing(child);
        let created = time(child, "created_at").unwrap_or(now);
        let started = time(child, "started_at");
        let ended = time(child, "ended_at").unwrap_or(now).max(created);
        let is_taken = story.is_taken(id);
        let begun = started.unwrap_or(ended);
        let mut bar = Self {
            id: Some(id.to_owned()),
            name: text(child, "name").to_owned(),
            kind: if child["type"] == "CONNECTION" { "call" } else { "flow" },
            standing,
            created,
            queued: Some(Took(begun.since(created))),
            took: Took(ended.since(begun)),
            retries: child["attempts"].as_array().map_or(0, Vec::len),
            is_taken,
            parts: Vec::new(),
        };
        if is_taken {
            bar.parts.push(Part { class: "taken", from: own, to: own });
            return bar;
        }
        let mut at = begun;
        bar.parts.push(Part { class: "queued", from: created, to: begun });
        let attempts = child["attempts"].as_array().into_iter().flatten();
        for attempt in attempts {
            let (Some(from), Some(to)) = (time(attempt, "began"), time(attempt, "at")) else { continue };
            bar.parts.push(Part { class: "rest", from: at, to: from });
            bar.parts.push(Part { class: "retry", from, to });
            at = to;
        }
        let last = story.last_attempt(id).filter(|last| *last > at).unwrap_or(at).min(ended);
        bar.parts.push(Part { class: "rest", from: at, to: last });
        bar.parts.retain(|part| part.to > part.from);
        bar.parts.push(Part { class: standing.class, from: last, to: ended });
        bar
    }

    fn of_wait(wait: &super::story::Wait, end: Timestamp) -> Self {
        let to = wait.to.unwrap_or(end).max(wait.from);
        let over = Standing { word: "Over", class: "cancelled" };
        Self {
            id: None,
            name: wait.label.clone(),
            kind: "wait",
            standing: if wait.to.is_some() { over } else { Standing::of("WAITING") },
            created: wait.from,
            queued: None,
            took: Took(to.since(wait.from)),
            retries: 0,
            is_taken: false,
            parts: vec![Part { class: "pause", from: wait.from, to }],
        }
    }
}

/// The drawing of one bar.
pub(super) struct Lane<'a> {
    timeline: &'a Timeline,
    bar: &'a Bar,
}

impl HtmlSafe for Lane<'_> {}

impl Display for Lane<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "<svg class=\"lane\" aria-hidden=\"true\">")?;
        for part in &self.bar.parts {
            let from = self.timeline.percent(part.from).min(100.0 - PART_PERCENT_MIN);
            let width = (self.timeline.percent(part.to) - from).max(PART_PERCENT_MIN);
            let (class, took) = (part.class, Took(part.to.since(part.from)));
            let told = LEGEND.iter().find(|(known, _)| *known == class).map_or(class, |(_, told)| told);
            write!(
                f,
                "<rect class=\"{class}\" x=\"{from:.2}%\" width=\"{width:.2}%\"><title>{told}, {took}</title></rect>"
            )?;
        }
        write!(f, "</svg>")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parts(story: &Story) -> Vec<(&'static str, u64)> {
        let at = |second: u32| format!("2026-01-01T00:00:{second:02}Z");
        let child = json!({
            "id": "x.2", "type": "CONNECTION", "status": "ENDED_SUCCESS",
            "created_at": at(0), "started_at": at(2), "ended_at": at(20),
            "attempts": [{"began": at(2), "at": at(5)}, {"began": at(8), "at": at(9)}],
        });
        let [own, now] = [at(0), at(59)].map(|at| at.parse().unwrap());
        let bar = Bar::of(&child, story, own, now);
        bar.parts.iter().map(|part| (part.class, part.to.since(part.from).as_secs())).collect()
    }

    #[test]
    fn queue_attempts_and_pauses_are_told_apart() {
        let settled = json!({"record": "settled", "call": 2, "began": "2026-01-01T00:00:12Z", "attempts": [{}, {}]});
        let told = [("queued", 2), ("retry", 3), ("rest", 3), ("retry", 1), ("rest", 3), ("good", 8)];
        assert_eq!(parts(&Story::of_records(&[settled])), told);
        let taken = json!({"record": "started", "taken_from": [{"execution": "e", "before": 3}]});
        assert_eq!(parts(&Story::of_records(&[taken])), [("taken", 0)]);
    }
}
