//! Who waits for one thing is told of that thing alone, however many others wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::core::lock;

/// A bell for each thing that somebody waits for, by id.
#[derive(Clone, Default)]
pub(crate) struct Bells(Arc<Mutex<HashMap<String, watch::Sender<()>>>>);

/// One who waits. Hears every ring since it began to listen.
pub(crate) struct Listener {
    bells: Bells,
    id: String,
    bell: watch::Receiver<()>,
}

impl Bells {
    /// Begins to listen.
    pub(crate) fn listen(&self, id: &str) -> Listener {
        let mut bells = lock(&self.0);
        let bell = bells.entry(id.to_owned()).or_insert_with(|| watch::Sender::new(()));
        Listener { bells: self.clone(), id: id.to_owned(), bell: bell.subscribe() }
    }

    /// Tells all who listen.
    pub(crate) fn ring(&self, id: &str) {
        if let Some(bell) = lock(&self.0).get(id) {
            bell.send_replace(());
        }
    }

    /// Tells all who listen for anything.
    pub(crate) fn ring_all(&self) {
        lock(&self.0).values().for_each(|bell| bell.send_replace(()));
    }

    /// Whether somebody listens.
    #[cfg(test)]
    pub(crate) fn is_awaited(&self, id: &str) -> bool {
        lock(&self.0).contains_key(id)
    }
}

impl Listener {
    /// Returns when the bell has rung since the last return, or since the listening began.
    pub(crate) async fn rung(&mut self) {
        // The sender is there as long as somebody listens.
        let _ = self.bell.changed().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut bells = lock(&self.bells.0);
        if bells.get(&self.id).is_some_and(|bell| bell.receiver_count() == 1) {
            bells.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_ring_between_listening_and_waiting_is_heard_and_nothing_stays_behind() {
        let bells = Bells::default();
        bells.ring("a");
        let (mut first, mut second, mut other) = (bells.listen("a"), bells.listen("a"), bells.listen("b"));
        bells.ring("a");
        first.rung().await;
        second.rung().await;
        assert!(first.rung().now_or_never().is_none(), "one ring was heard twice");
        assert!(other.rung().now_or_never().is_none(), "the ring of another was heard");
        drop((first, other));
        bells.ring("a");
        second.rung().await;
        drop(second);
        assert!(lock(&bells.0).is_empty());
    }
}
