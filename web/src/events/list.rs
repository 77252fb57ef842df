//! The events of a list of executions.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use futures::Stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use surefoot_engine::{EngineResult, ListNews, ListPlace, ListWatch};

use super::listener::{Allowed, Listener, answer};
use super::place_of;
use crate::app::{App, Stopping};
use crate::caller::{Caller, InReach};
use crate::extract::InQuery;
use crate::problem::Answer;
use crate::records::parsed_filter;

/// The query of a stream of a list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListEventsQuery {
    /// In the query language, as JSON: the same as of the list.
    filter: Option<String>,
}

pub(super) async fn follow(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    stopping: Stopping,
    InQuery(query): InQuery<ListEventsQuery>,
    headers: HeaderMap,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let place: Option<ListPlace> = place_of(&headers)?;
    let watch = engine.watch_list(parsed_filter(query.filter.as_deref())?.as_ref(), place.as_ref())?;
    let follower = Follower { listener: Listener::new(app, caller, engine, stopping), watch, has_ended: false };
    let events = futures::stream::unfold(follower, async |mut follower| Some((Ok(follower.next().await?), follower)));
    Ok(answer(events))
}

struct Follower {
    listener: Listener,
    watch: ListWatch,
    has_ended: bool,
}

impl Follower {
    /// The next event. None when the caller may hear no more, or after the server said that it stops.
    async fn next(&mut self) -> Option<Event> {
        while !self.has_ended {
            match self.listener.is_allowed() {
                Allowed::Still => {}
                Allowed::Otherwise => self.watch.reset(),
                Allowed::No => return None,
            }
            match self.look().await {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {
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
        None
    }

    async fn look(&mut self) -> EngineResult<Option<Event>> {
        let Some((place, news)) = self.listener.engine.next_of_list(&mut self.watch).await? else { return Ok(None) };
        let event = Event::default().id(place.to_string());
        Ok(Some(match news {
            ListNews::Reset => event.event("reset").data("{}"),
            ListNews::Row(row) => event.event("execution").data(row),
            ListNews::Gone(id) => event.event("removed").data(json!({ "id": &*id }).to_string()),
            // Without data it is no event to whoever listens, but the reader comes back with its id.
            ListNews::Passed => event,
        }))
    }
}
