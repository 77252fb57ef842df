//! Locks: settings that one execution holds at a time.

use crate::error::Result;
use crate::host;
use crate::log::{self, Level};

/// A lock that this execution holds. Made by [`RecordRef::lock`](crate::RecordRef::lock).
///
/// It is given up by [`unlock`](Self::unlock), or where this value goes out of scope; at the end of the execution in
/// any case, whatever the end is.
///
/// ```no_run
/// # use surefoot::prelude::*;
/// # fn example(system: &System, this: &Execution) -> Result<()> {
/// let lock = system.setting("production-database").lock(Duration::from_secs(600))?;
/// this.connect("database").input("command", "ALTER TABLE orders ADD COLUMN note text").run()?;
/// lock.unlock()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the lock is given up at once when this is dropped"]
pub struct Lock {
    /// Id of the setting: it may get another name while it is locked.
    setting_id: String,
}

impl Lock {
    pub(crate) fn held(setting_id: String) -> Self {
        Self { setting_id }
    }

    /// The id of the setting.
    pub fn setting_id(&self) -> &str {
        &self.setting_id
    }

    /// Gives the lock up: to who has waited longest for it.
    ///
    /// # Errors
    /// [`Error::Conflict`](crate::Error::Conflict) if somebody took the lock away. What was done since then, others may
    /// have done at the same time.
    pub fn unlock(self) -> Result<()> {
        host::unlock(&self.into_setting_id())
    }

    /// Holds the lock until the execution ends, or until [`RecordRef::unlock`](crate::RecordRef::unlock). When it
    /// continues as new, the execution that takes its place holds the lock: its own
    /// [`lock`](crate::RecordRef::lock) does not wait.
    pub fn keep(self) {
        self.into_setting_id();
    }

    /// Without giving it up.
    fn into_setting_id(mut self) -> String {
        let id = std::mem::take(&mut self.setting_id);
        std::mem::forget(self);
        id
    }
}

/// A guest goes the same way at each replay, so it gives its locks up at the same places.
impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = host::unlock(&self.setting_id) {
            log::write_line(Level::Warn, &format!("a lock was not given up: {error}"), []);
        }
    }
}
