//! Which executions commits have changed, for who follows a list of them. While nobody does, nothing is kept.
//!
//! SQLite itself says which rows a transaction touches, so that no write can forget to. What it names may turn out to
//! be unchanged, when a member of a batch was refused; what is not named was not changed.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::executions::Key;
use crate::core::lock;

/// See the module.
#[derive(Default)]
pub(crate) struct Touched {
    is_wanted: AtomicBool,
    /// By the open transaction, or by one that failed: it may be on the disk after all.
    open: Mutex<Vec<Key>>,
    /// By commits, and not taken yet.
    committed: Mutex<BTreeSet<Key>>,
    bell: Notify,
}

impl Touched {
    /// Within a transaction: it inserts or changes that row.
    pub(super) fn touch(&self, key: Key) {
        lock(&self.open).push(key);
    }

    /// After the commit, and before anybody is told of it.
    pub(super) fn committed(&self) {
        let mut open = lock(&self.open);
        if open.is_empty() {
            return;
        }
        // Asked after the commit: who wants to know from now on sees in the store what is not kept here.
        if self.is_wanted.load(Ordering::SeqCst) {
            lock(&self.committed).extend(open.drain(..));
            self.bell.notify_one();
        }
        open.clear();
    }

    /// Keeps what commits touch from now on, or nothing any more.
    pub(crate) fn want(&self, is_wanted: bool) {
        self.is_wanted.store(is_wanted, Ordering::SeqCst);
        if !is_wanted {
            lock(&self.committed).clear();
        }
    }

    /// Returns when a commit has touched something since the last return.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Takes some of what is kept; nothing when nothing is.
    pub(crate) fn take(&self, max: usize) -> Vec<Key> {
        let mut committed = lock(&self.committed);
        std::iter::from_fn(|| committed.pop_first()).take(max).collect()
    }

    /// Keeps what was taken and could not be looked at.
    pub(crate) fn put_back(&self, keys: Vec<Key>) {
        lock(&self.committed).extend(keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_commit_touched_is_kept_once_while_somebody_wants_it() {
        let touched = Touched::default();
        let commit = |keys: &[i64]| {
            keys.iter().for_each(|key| touched.touch(Key(*key)));
            touched.committed();
        };
        commit(&[1]);
        assert_eq!(touched.take(9), []);
        touched.touch(Key(2));
        touched.want(true);
        touched.committed();
        commit(&[5, 3, 5]);
        assert_eq!(touched.take(2), [Key(2), Key(3)]);
        touched.put_back(vec![Key(3)]);
        touched.touch(Key(7));
        assert_eq!(touched.take(9), [Key(3), Key(5)], "what is not committed was given out");
        touched.committed();
        touched.want(false);
        assert_eq!(touched.take(9), []);
    }
}
