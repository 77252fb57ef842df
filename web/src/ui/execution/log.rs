//! The log of an execution, page by page from its end, with its levels.

use askama::Template;
use axum::response::Response;
use serde::Deserialize;
use surefoot_engine::{Engine, LogLine, Role, Timestamp};

use super::Head;
use crate::caller::InReach;
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::{Answer, Problem};
use crate::ui::frame::{Frame, View, page};
use crate::ui::words::{Exact, Size};

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::page("/ui/executions/{id}/log", show).role(Role::Viewer)]
}

/// Lines a page.
const LINES: usize = 300;

/// When the lines of a page have more than this, bytes, the page is full, however few they are.
const PAGE_BYTES_MAX: usize = 48 << 10;

/// What is shown of a line, bytes.
const LINE_BYTES_MAX: usize = 8 << 10;

/// Lines that one request reads while it looks for what was asked for.
const LINES_READ_MAX: usize = 50_000;

/// What a level counts among the others.
const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];

/// What a reader chooses from, and how it is called.
const CHOICES: [(&str, &str); 4] =
    [("", "all"), ("info", "info and above"), ("warn", "warnings and errors"), ("error", "errors")];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    /// The lines after that one: `call.line`.
    after: Option<String>,
    /// The lines before that one.
    before: Option<String>,
    /// Lines with that level, and higher ones.
    level: Option<String>,
    /// Lines with that in them.
    search: Option<String>,
}

/// The number of a call, and of a line before it.
type Place = (u32, u32);

#[derive(Template)]
#[template(path = "log.html")]
struct Log {
    frame: Frame,
    head: Head,
    lines: Vec<LogLine>,
    level: String,
    search: String,
    levels: [(&'static str, &'static str); 4],
    /// The places to go on from, where there may be more: to earlier lines, and to later ones.
    earlier: Option<String>,
    later: Option<String>,
    /// How far it was looked for lines, where that was not all there is.
    stopped: Option<Stopped>,
}

/// Where a search was broken off: nobody knows what comes behind.
struct Stopped {
    /// How many lines were looked at.
    read: usize,
    /// When the last one of them was written.
    at: Timestamp,
    /// The query to go on with.
    on: String,
}

impl View for Log {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn show(
    InReach(engine): InReach,
    frame: Frame,
    InPath(id): InPath<String>,
    InQuery(query): InQuery<LogQuery>,
) -> Answer<Response> {
    let head = Head::read(&engine, &id, &frame, "log").await?;
    let is_forward = query.after.is_some();
    let from = query.after.or(query.before).as_deref().map(parse).transpose()?;
    let (level, search) = (query.level.unwrap_or_default(), query.search.unwrap_or_default());
    let wanted = Wanted::new(&level, &search);
    let Found { lines, earlier, later, stopped } =
        find(&engine, &id, is_forward, from, &wanted, LINES_READ_MAX).await?;
    let [earlier, later] =
        [earlier, later].map(|place: Option<Place>| place.map(|(call, line)| format!("{call}.{line}")));
    let on = if is_forward { ("after", later.clone()) } else { ("before", earlier.clone()) };
    let stopped = stopped.zip(on.1).map(|((read, at), place)| {
        let pairs = [(on.0, place.as_str()), ("level", level.as_str()), ("search", search.as_str())];
        let on = form_urlencoded::Serializer::new(String::from("?")).extend_pairs(pairs).finish();
        Stopped { read, at, on }
    });
    Ok(page(&Log { frame, head, lines, level, search, levels: CHOICES, earlier, later, stopped }))
}

/// Which lines are shown.
struct Wanted {
    lowest: usize,
    needle: String,
}

impl Wanted {
    fn new(level: &str, search: &str) -> Self {
        Self { lowest: rank(level), needle: search.to_lowercase() }
    }

    fn has(&self, line: &LogLine) -> bool {
        rank(&line.level) >= self.lowest
            && (self.needle.is_empty() || line.message.to_lowercase().contains(&self.needle))
    }
}

fn rank(level: &str) -> usize {
    LEVELS.iter().position(|known| *known == level).unwrap_or(0)
}

/// The lines of a page, in order, and the places behind which there may be others.
struct Found {
    lines: Vec<LogLine>,
    earlier: Option<Place>,
    later: Option<Place>,
    /// How many lines were looked at, and when the last of them was written, where it was given up before the end.
    stopped: Option<(usize, Timestamp)>,
}

/// Looks through pieces of the log, from a place or its end on, until a page is full, there is no more, or it was
/// enough.
async fn find(
    engine: &Engine,
    id: &str,
    is_forward: bool,
    from: Option<Place>,
    wanted: &Wanted,
    read_max: usize,
) -> Answer<Found> {
    let (mut lines, mut read, mut bytes, mut is_end, mut at) = (Vec::new(), 0, 0, false, from);
    let mut last_at = None;
    let is_full = |lines: &[LogLine], bytes: usize| lines.len() == LINES || bytes > PAGE_BYTES_MAX;
    while !is_full(&lines, bytes) && read < read_max && !is_end {
        let mut piece = match is_forward {
            true => engine.log(id, at, LINES as u32).await?,
            false => engine.log_before(id, at, LINES as u32).await?,
        };
        if !is_forward {
            piece.reverse();
        }
        is_end = piece.len() < LINES;
        for line in piece {
            if is_full(&lines, bytes) {
                is_end = false;
                break;
            }
            at = Some((line.call, line.line));
            last_at = Some(line.at);
            read += 1;
            if wanted.has(&line) {
                let line = shown(line);
                bytes += line.message.len();
                lines.push(line);
            }
        }
    }
    let more = at.filter(|_| !is_end);
    let stopped = last_at.filter(|_| more.is_some() && !is_full(&lines, bytes)).map(|at| (read, at));
    if is_forward {
        // The place itself is a line of the page before.
        return Ok(Found { lines, earlier: from.map(|(call, line)| (call, line + 1)), later: more, stopped });
    }
    lines.reverse();
    let last = lines.last().map(|line| (line.call, line.line));
    Ok(Found { lines, earlier: more, later: last.filter(|_| from.is_some()), stopped })
}

/// A line as it is shown: of bounded length, and without fields that there are none of.
fn shown(mut line: LogLine) -> LogLine {
    if line.fields.as_object().is_some_and(serde_json::Map::is_empty) {
        line.fields = serde_json::Value::Null;
    }
    let (length, end) = (line.message.len(), line.message.floor_char_boundary(LINE_BYTES_MAX));
    if end < length {
        line.message.truncate(end);
        line.message.push_str(&format!(" … and {} more; the API has all of it", Size((length - end) as u64)));
    }
    line
}

fn parse(text: &str) -> Answer<Place> {
    let place = text.split_once('.').and_then(|(call, line)| Some((call.parse().ok()?, line.parse().ok()?)));
    place.ok_or_else(|| Problem::invalid("`after` or `before` is not a place that a page of this log gave"))
}
