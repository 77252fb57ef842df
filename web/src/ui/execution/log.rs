//! The log of an execution, page by page, with its levels.

use askama::Template;
use axum::response::Response;
use serde::Deserialize;
use surefoot_engine::{LogLine, Role};

use super::Head;
use crate::caller::InReach;
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::{Answer, Problem};
use crate::ui::frame::{Frame, View, page};

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::page("/ui/executions/{id}/log", show).role(Role::Viewer)]
}

/// Lines a page.
const LINES: usize = 500;

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
    /// `call.line` of the last line of the page before.
    after: Option<String>,
    /// Lines with that level, and higher ones.
    level: Option<String>,
    /// Lines with that in them.
    search: Option<String>,
}

#[derive(Template)]
#[template(path = "log.html")]
struct Log {
    frame: Frame,
    head: Head,
    lines: Vec<LogLine>,
    level: String,
    search: String,
    levels: [(&'static str, &'static str); 4],
    /// The place of the last line that was looked at, where there are more.
    next: Option<String>,
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
    let mut after = query.after.as_deref().map(parse).transpose()?;
    let (level, search) = (query.level.unwrap_or_default(), query.search.unwrap_or_default());
    let lowest = LEVELS.iter().position(|known| *known == level).unwrap_or(0);
    let needle = search.to_lowercase();
    let (mut lines, mut read, mut is_end) = (Vec::new(), 0, false);
    while lines.len() < LINES && read < LINES_READ_MAX && !is_end {
        let found = engine.log(&id, after, LINES as u32).await?;
        is_end = found.len() < LINES;
        for line in found {
            if lines.len() == LINES {
                is_end = false;
                break;
            }
            after = Some((line.call, line.line));
            read += 1;
            let is_high = LEVELS.iter().position(|known| *known == line.level).unwrap_or(0) >= lowest;
            if is_high && (needle.is_empty() || line.message.to_lowercase().contains(&needle)) {
                lines.push(line);
            }
        }
    }
    let next = after.filter(|_| !is_end).map(|(call, line)| format!("{call}.{line}"));
    Ok(page(&Log { frame, head, lines, level, search, levels: CHOICES, next }))
}

fn parse(text: &str) -> Answer<(u32, u32)> {
    let place = text.split_once('.').and_then(|(call, line)| Some((call.parse().ok()?, line.parse().ok()?)));
    place.ok_or_else(|| Problem::invalid("`after` is not a place that a page of this log gave"))
}
