//! Server-sent events: what happens to one execution, as it becomes durable, and to a list of them (`list`).
//!
//! A stream reads the store, and is only woken by the engine: it can begin anywhere, and go on where another one ended.
//! Each event's id says how far its reader has come; `Last-Event-ID` brings the reader back there, also after a restart
//! of the server.

mod list;
mod listener;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, Sse};
use futures::Stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot_engine::{EngineResult, JournalPlace, JournalReader, Role, Watch};

use self::listener::{Allowed, Listener, answer};
use crate::app::{App, Stopping};
use crate::caller::{Caller, InReach};
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

/// Log lines or journal rows that a stream holds at a time.
const PAGE: u16 = 100;

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/executions/{id}/events", follow)
            .role(Role::Viewer)
            .summary(
                "What happens to an execution, as server-sent events; `Last-Event-ID` goes on where a stream ended",
            )
            .query::<EventsQuery>()
            .answers_bytes(StatusCode::OK, "text/event-stream"),
        Operation::get("/api/v1/executions/events", list::follow)
            .role(Role::Viewer)
            .summary("What happens to a list of executions, as server-sent events; `Last-Event-ID` goes on as above")
            .query::<list::ListEventsQuery>()
            .answers_bytes(StatusCode::OK, "text/event-stream"),
    ]
}

/// The query of a stream.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    /// Send the records of the journal too.
    #[serde(default)]
    journal: bool,
}

/// How far a reader has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    /// The last line of the log, by its key.
    line: Option<(u32, u32)>,
    journal: JournalPlace,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some((call, line)) => write!(f, "{call}.{line}")?,
            None => f.write_str("-")?,
        }
        write!(f, "_{}.{}.{}", self.journal.row, self.journal.of_row, self.journal.records)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (line, journal) = text.split_once('_').ok_or(())?;
        let line = match line.split_once('.') {
            None if line == "-" => None,
            None => return Err(()),
            Some((call, line)) => Some((number(call)?, number(line)?)),
        };
        let [row, of_row, records] = journal.split('.').collect::<Vec<_>>().try_into().map_err(|_| ())?;
        let journal = JournalPlace { row: number(row)?, of_row: number(of_row)?, records: number(records)? };
        Ok(Self { line, journal })
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, ()> {
    text.parse().map_err(|_| ())
}

/// The place to which a reader has come.
fn place_of<P: FromStr>(headers: &HeaderMap) -> Answer<Option<P>> {
    let Some(id) = headers.get("last-event-id") else { return Ok(None) };
    let place = id.to_str().ok().and_then(|id| id.parse().ok());
    place.map(Some).ok_or_else(|| {
        Problem::malformed("`Last-Event-ID` is not the id of an event of this stream")
            .hint("send none, and read from the beginning")
    })
}

async fn follow(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    stopping: Stopping,
    InPath(id): InPath<String>,
    InQuery(EventsQuery { journal }): InQuery<EventsQuery>,
    headers: HeaderMap,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let place: Place = place_of(&headers)?.unwrap_or_default();
    let mut follower = Follower {
        watch: engine.watch(&id),
        journal: journal.then(|| engine.journal_from(&id, place.journal)),
        shown: Value::Null,
        waiting: VecDeque::new(),
        has_ended: false,
        listener: Listener::new(app, caller, engine, stopping),
        place,
        id,
    };
    // What is not there is refused, and not an empty stream.
    follower.look().await?;
    let events = futures::stream::unfold(follower, async |mut follower| Some((Ok(follower.next().await?), follower)));
    Ok(answer(events))
}

struct Follower {
    listener: Listener,
    id: String,
    journal: Option<JournalReader>,
    watch: Watch,
    place: Place,
    /// The row that was sent last.
    shown: Value,
    waiting: VecDeque<Event>,
    has_ended: bool,
}

impl Follower {
    /// The next event. None at the end of the execution, or after the server said that it stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.has_ended || self.listener.is_allowed() == Allowed::No {
                return None;
            }
            match self.look().await {
                Ok(true) => {}
                Ok(false) => {
                    if let Some(farewell) = self.listener.wait(self.watch.rung()).await {
                        self.has_ended = true;
                        return Some(farewell);
                    }
                }
                Err(error) => {
                    // The reader comes back with the id of its last event, when the store does.
                    tracing::debug!(%error, "a stream of events ends early");
                    return None;
                }
            }
        }
    }

    /// Reads what is new. False when nothing is.
    async fn look(&mut self) -> EngineResult<bool> {
        // The row is read first: of an execution that has ended, everything is there.
        let row = self.listener.engine.execution(&self.id).await?;
        let lines = self.listener.engine.log(&self.id, self.place.line, PAGE.into()).await?;
        for line in &lines {
            self.place.line = Some((line.call, line.line));
            self.send("log", json!(line));
        }
        let records = match &mut self.journal {
            Some(journal) => journal.page(PAGE.into()).await?,
            None => Vec::new(),
        };
        let has_more = !lines.is_empty() || !records.is_empty();
        for (record, place) in records {
            self.place.journal = place;
            self.send("journal", record);
        }
        if has_more {
            return Ok(true);
        }
        let is_news = row != self.shown;
        if is_news {
            self.has_ended = row["ended_at"].is_string();
            self.send("execution", row.clone());
            self.shown = row;
        }
        Ok(is_news)
    }

    fn send(&mut self, name: &str, document: Value) {
        self.waiting.push_back(Event::default().event(name).id(self.place.to_string()).data(document.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for place in [
            Place::default(),
            Place { line: Some((7, 0)), journal: JournalPlace { row: 3, of_row: 2, records: 12 } },
            Place { line: None, journal: JournalPlace { row: 1, of_row: 1, records: 1 } },
        ] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for wrong in ["", "1", "1.2", "_", "1.2_", "-_1", "a.b_1.2.3", "1.2_1.2", "1.2_1.2.3.4", "-1.2_1.2.3"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
