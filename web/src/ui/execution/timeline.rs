//! When what an execution started was queued and at work, as bars over its own time.

use std::fmt::{self, Display, Formatter};

use askama::filters::HtmlSafe;
use serde_json::Value;
use surefoot_engine::Timestamp;

use super::super::words::{Took, text, time};
use crate::page::escaped;

/// See the module.
pub(super) struct Timeline {
    from: Timestamp,
    to: Timestamp,
    bars: Vec<Bar>,
}

struct Bar {
    id: String,
    name: String,
    ty: String,
    class: &'static str,
    word: &'static str,
    created: Timestamp,
    started: Option<Timestamp>,
    /// Its end, or now.
    ended: Timestamp,
    /// How often it was tried before.
    attempts: usize,
}

/// Size of the drawing in its own units; a row of it.
const WIDTH: f64 = 1000.0;
const ROW: f64 = 26.0;

/// What stands left of the bars.
const LEFT: f64 = 240.0;

/// The height of the scale.
const TOP: f64 = 22.0;

impl Timeline {
    pub(super) fn new(row: &Value, children: &[Value], now: Timestamp) -> Self {
        let from = time(row, "started_at").or_else(|| time(row, "created_at")).unwrap_or(now);
        let bars: Vec<Bar> = children.iter().map(|child| Bar::of(child, now)).collect();
        // A page of it shows the time of that page.
        let first = bars.iter().map(|bar| bar.created).min().unwrap_or(from);
        let last = bars.iter().map(|bar| bar.ended).max().unwrap_or(from);
        let from = from.max(first.min(last)).min(first);
        Self { from, to: last.max(Timestamp(from.0 + 1)), bars }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bars.is_empty()
    }

    fn x(&self, at: Timestamp) -> f64 {
        let share = (at.0 - self.from.0) as f64 / (self.to.0 - self.from.0) as f64;
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT)
    }
}

impl Bar {
    fn of(child: &Value, now: Timestamp) -> Self {
        let standing = super::Standing::of(text(child, "status"));
        let created = time(child, "created_at").unwrap_or(now);
        Self {
            id: text(child, "id").to_owned(),
            name: text(child, "name").to_owned(),
            ty: text(child, "type").to_owned(),
            class: standing.class,
            word: standing.word,
            created,
            started: time(child, "started_at"),
            ended: time(child, "ended_at").unwrap_or(now).max(created),
            attempts: child["attempts"].as_array().map_or(0, Vec::len),
        }
    }
}

impl HtmlSafe for Timeline {}

impl Display for Timeline {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let height = TOP + ROW * self.bars.len() as f64;
        write!(f, "<div class=\"scroll timeline\" tabindex=\"0\"><svg viewBox=\"0 0 {WIDTH} {height}\" ")?;
        write!(f, "role=\"group\" aria-label=\"When each of them was queued and at work\">")?;
        for part in 0..=4 {
            let at = Timestamp(self.from.0 + (self.to.0 - self.from.0) / 4 * part);
            let x = self.x(at);
            let took = Took(at.since(self.from));
            write!(f, "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{height}\"/>")?;
            let class = if part == 4 { "scale" } else { "label" };
            write!(f, "<text class=\"{class}\" x=\"{x:.1}\" y=\"14\">+{took}</text>")?;
        }
        for (index, bar) in self.bars.iter().enumerate() {
            self.bar(f, bar, TOP + ROW * index as f64)?;
        }
        write!(f, "</svg></div>")
    }
}

impl Timeline {
    fn bar(&self, f: &mut Formatter<'_>, bar: &Bar, y: f64) -> fmt::Result {
        let begun = bar.started.unwrap_or(bar.ended);
        let (queued, took) = (Took(begun.since(bar.created)), Took(bar.ended.since(begun)));
        let tried = if bar.attempts > 0 { format!(", {} attempts before", bar.attempts) } else { String::new() };
        let (id, name) = (escaped(&bar.id), escaped(&bar.name));
        write!(f, "<a href=\"/ui/executions/{id}\"><title>{name}: {}, queued {queued}, took {took}{tried}", bar.word)?;
        write!(f, "</title><rect class=\"hit\" x=\"0\" y=\"{y}\" width=\"{WIDTH}\" height=\"{ROW}\"/>")?;
        let shown: String = bar.name.chars().take(30).collect();
        let baseline = y + 17.0;
        write!(f, "<text class=\"name\" x=\"4\" y=\"{baseline}\">{}</text>", escaped(&shown))?;
        let kind = if bar.ty == "CONNECTION" { "call" } else { "flow" };
        write!(f, "<text class=\"scale\" x=\"{}\" y=\"{baseline}\">{kind}</text>", LEFT - 8.0)?;
        let (from, begin, end) = (self.x(bar.created), self.x(begun), self.x(bar.ended));
        let (y, height) = (y + 7.0, ROW - 14.0);
        if begin - from > 0.5 {
            write!(
                f,
                "<rect class=\"wait\" x=\"{from:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{height}\"/>",
                begin - from
            )?;
        }
        let width = (end - begin).max(3.0);
        write!(
            f,
            "<rect class=\"{}\" x=\"{begin:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\"/></a>",
            bar.class
        )
    }
}
