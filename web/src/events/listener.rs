//! Who listens to a stream: for how long they may, and for how long there is something to listen to.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use surefoot_engine::Engine;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::app::{App, Stopping};
use crate::caller::Caller;
use crate::metrics::Counted;

/// How often a stream without news shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// When a reader is to come back to a server that stopped.
const RECONNECT_AFTER: Duration = Duration::from_secs(2);

/// How often it is found out anew who listens, although nothing seems to have changed: times run out.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Listener {
    app: App,
    caller: Caller,
    /// On behalf of the caller, with what they may do now.
    pub(super) engine: Engine,
    /// Told when somebody may do less than before.
    people: watch::Receiver<()>,
    look_again_at: Instant,
    stopping: Stopping,
    _counted: Counted,
}

/// Whether somebody may listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// As before.
    Still,
    /// To other things than before.
    Otherwise,
    /// No more.
    No,
}

impl Listener {
    pub(super) fn new(app: App, caller: Caller, engine: Engine, stopping: Stopping) -> Self {
        let counted = app.options().metrics.open_stream();
        let (people, look_again_at) = (engine.people_changes(), Instant::now() + LOOK_AGAIN);
        Self { app, caller, engine, people, look_again_at, stopping, _counted: counted }
    }

    /// Finds out anew who listens, when that may have changed: a session that was ended hears nothing more.
    pub(super) fn is_allowed(&mut self) -> Allowed {
        let has_changed = self.people.has_changed().unwrap_or(true);
        if !has_changed && Instant::now() < self.look_again_at {
            return Allowed::Still;
        }
        self.people.mark_unchanged();
        self.look_again_at = Instant::now() + LOOK_AGAIN;
        let Ok(caller) = self.caller.renewed(&self.app) else { return Allowed::No };
        let is_same = caller.rights == self.caller.rights;
        self.engine = self.app.engine_for(&caller);
        self.caller = caller;
        if is_same { Allowed::Still } else { Allowed::Otherwise }
    }

    /// Waits for `news`, or until it is time to find out who listens. The last event, when the server stops instead:
    /// without data, so that it is no event to whoever listens, but tells when to come back.
    pub(super) async fn wait(&mut self, news: impl Future<Output = ()>) -> Option<Event> {
        tokio::select! {
            () = news => {}
            () = self.stopping.begun.cancelled() => {
                return Some(Event::default().comment("the server stops").retry(RECONNECT_AFTER));
            }
            _ = self.people.changed() => self.people.mark_changed(),
            () = tokio::time::sleep_until(self.look_again_at) => {}
        }
        None
    }
}

/// The answer that a stream of events is.
pub(super) fn answer<S: Stream<Item = Result<Event, Infallible>> + Send + 'static>(
    events: S,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
