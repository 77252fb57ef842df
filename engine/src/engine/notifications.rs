//! Trying a notification rule.

use super::{Engine, EngineResult};
use crate::core::Event;
use crate::notifications;
use crate::query::Kind;
use crate::store::executions;

impl Engine {
    /// Sends a message by a rule, whether or not it is enabled, as a notification would be sent, but once. Returns the
    /// id of the execution that does it, once that is durable.
    pub async fn test_notification(&self, key: &str, by: &str) -> EngineResult<String> {
        let (core, grant, key, by) = (self.core.clone(), self.grant.clone(), key.to_owned(), by.to_owned());
        let begin = move |connection: &rusqlite::Connection| {
            let rule = grant.record(connection, Kind::Notification, &key)?;
            let new = notifications::trial(&core, connection, &rule, &by)?;
            Ok((new.id.clone(), executions::insert(connection, &new, core.now())?))
        };
        Ok(self.write_and_wake(begin, |(_, key)| Some(Event::Wake(*key))).await?.0)
    }
}
