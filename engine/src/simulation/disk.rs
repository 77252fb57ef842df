//! A disk that loses what was not synced: the files of one simulated workspace, in memory.
//!
//! Each file has what is on the platter and what is only written. A sync moves the second to the first. When the
//! process dies, everything that was written stays; when the power fails, what was not synced is kept, lost or torn by
//! sector. An armed [`Fault`] strikes at a later write or sync, so also in the middle of a commit. [`vfs`](super::vfs)
//! puts this under SQLite.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::shared_memory::SharedMemory;
use crate::core::lock;
use crate::planted::{Bug, is_planted};

/// What a disk writes or loses as a whole, bytes.
pub(super) const SECTOR: usize = 512;

/// What happens to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fault {
    /// The process dies; what was written stays.
    Kill,
    /// The power fails; what was not synced is kept, lost or torn.
    PowerLoss,
    /// A write is refused, after a part of it by chance.
    WriteFails,
    /// This many writes are refused: the disk is full.
    Full(u32),
    /// A sync fails, and what it should have made durable never will be. With `forgotten`, reads show that at once.
    SyncFails {
        /// Whether the system's cache drops the pages.
        forgotten: bool,
    },
    /// A sync fails, and the process dies before it can do anything about it. Its successor still reads what is not on
    /// the disk.
    SyncFailsAndKills,
}

/// Why an operation was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiskError {
    /// The process that asks is dead, or there is no power.
    Down,
    /// See [`Fault::WriteFails`].
    Write,
    /// See [`Fault::Full`].
    Full,
    /// See [`Fault::SyncFails`].
    Sync,
    /// Another connection has the lock.
    Busy,
}

/// The disk of one workspace. Clones are the same disk.
#[derive(Clone)]
pub(super) struct Disk(Arc<Mutex<State>>);

struct State {
    rng: ChaCha8Rng,
    files: BTreeMap<String, FileState>,
    /// Counts deaths: what was opened before the last one is dead.
    generation: u64,
    /// Dead, and not started again.
    down: bool,
    /// Strikes after that many more writes and syncs.
    armed: Option<(u32, Fault)>,
    armed_at_start: Option<(u32, Fault)>,
    full: u32,
    syncs: u64,
    next_handle: u64,
}

#[derive(Default)]
struct FileState {
    /// What a power loss leaves.
    durable: Vec<u8>,
    /// What reads see.
    current: Vec<u8>,
    pending: Vec<Change>,
    /// Lock levels of SQLite by handle.
    locks: BTreeMap<u64, i32>,
    memory: Weak<SharedMemory>,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// An open file.
pub(super) struct Handle {
    disk: Disk,
    path: String,
    id: u64,
    generation: u64,
    /// The file goes when it is closed.
    delete_on_close: bool,
}

impl Disk {
    /// An empty disk. The seed decides what power losses keep.
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0xd15c),
            files: BTreeMap::new(),
            generation: 0,
            down: false,
            armed: None,
            armed_at_start: None,
            full: 0,
            syncs: 0,
            next_handle: 0,
        })))
    }

    /// Lets a fault strike after `after` more writes and syncs.
    pub(super) fn arm(&self, after: u32, fault: Fault) {
        lock(&self.0).armed = Some((after, fault));
    }

    /// Arms a fault for the next start of the machine.
    pub(super) fn arm_at_start(&self, after: u32, fault: Fault) {
        lock(&self.0).armed_at_start = Some((after, fault));
    }

    /// Kills the process now.
    pub(super) fn die(&self, fault: Fault) {
        lock(&self.0).die(fault == Fault::PowerLoss);
    }

    /// Whether the process has died.
    pub(super) fn is_down(&self) -> bool {
        lock(&self.0).down
    }

    /// Starts the machine again.
    pub(super) fn start(&self) {
        let mut state = lock(&self.0);
        state.down = false;
        state.armed = state.armed_at_start.take();
        state.full = 0;
    }

    /// How many syncs were done.
    pub(super) fn syncs(&self) -> u64 {
        lock(&self.0).syncs
    }

    /// Opens a file. None when it is not there and must not be created.
    pub(super) fn open(&self, path: &str, create: bool, delete_on_close: bool) -> Result<Option<Handle>, DiskError> {
        let mut state = lock(&self.0);
        if state.down {
            return Err(DiskError::Down);
        }
        if !create && !state.files.contains_key(path) {
            return Ok(None);
        }
        state.files.entry(path.to_owned()).or_default();
        state.next_handle += 1;
        let (id, generation) = (state.next_handle, state.generation);
        Ok(Some(Handle { disk: self.clone(), path: path.to_owned(), id, generation, delete_on_close }))
    }

    /// Whether there is such a file.
    pub(super) fn exists(&self, path: &str) -> bool {
        lock(&self.0).files.contains_key(path)
    }

    /// Deletes a file, at once for good.
    pub(super) fn delete(&self, path: &str) -> Result<bool, DiskError> {
        let mut state = lock(&self.0);
        if state.down {
            return Err(DiskError::Down);
        }
        state.step(None)?;
        Ok(state.files.remove(path).is_some())
    }

    /// The folder's name in front of the paths of this disk.
    pub(super) fn folder(path: &Path) -> String {
        let path = path.canonicalize().expect("the folder exists");
        format!("{}/", path.to_str().expect("the folder's name is UTF-8"))
    }
}

impl State {
    /// One more write, or sync of a file: what is armed may strike.
    fn step(&mut self, synced: Option<&str>) -> Result<(), DiskError> {
        let Some((after, fault)) = self.armed else { return Ok(()) };
        // A failing sync waits for a sync.
        let of_sync = matches!(fault, Fault::SyncFails { .. } | Fault::SyncFailsAndKills);
        if after > 0 || (of_sync && synced.is_none()) {
            self.armed = Some((after.saturating_sub(1), fault));
            return Ok(());
        }
        self.armed = None;
        match fault {
            Fault::Kill | Fault::PowerLoss => {
                self.die(fault == Fault::PowerLoss);
                Err(DiskError::Down)
            }
            Fault::WriteFails => Err(DiskError::Write),
            Fault::Full(writes) => {
                self.full = writes;
                Ok(())
            }
            Fault::SyncFails { forgotten } => {
                if let Some(file) = synced.and_then(|path| self.files.get_mut(path)) {
                    file.lose_pending(forgotten);
                }
                Err(DiskError::Sync)
            }
            Fault::SyncFailsAndKills => {
                if let Some(file) = synced.and_then(|path| self.files.get_mut(path)) {
                    file.lose_pending(false);
                }
                self.die(false);
                Err(DiskError::Down)
            }
        }
    }

    fn die(&mut self, power: bool) {
        self.down = true;
        self.generation += 1;
        self.armed = None;
        let Self { files, rng, .. } = self;
        for file in files.values_mut() {
            file.locks.clear();
            file.memory = Weak::new();
            if power {
                file.lose_power(rng);
            }
        }
        if power {
            files.retain(|_, file| !file.durable.is_empty());
        }
    }
}

impl FileState {
    /// As a kernel does after a failed sync: the pages are clean from then on, whatever reached the disk.
    fn lose_pending(&mut self, forgotten: bool) {
        self.pending.clear();
        if forgotten {
            self.current.clone_from(&self.durable);
        }
    }

    fn lose_power(&mut self, rng: &mut ChaCha8Rng) {
        let pending = std::mem::take(&mut self.pending);
        let manner = rng.next_u32() % 4;
        let ordered = if pending.is_empty() { 0 } else { rng.next_u32() as usize % pending.len() };
        for (index, change) in pending.into_iter().enumerate() {
            match manner {
                0 => {}
                1 => change.apply(&mut self.durable),
                // In order up to one that is torn.
                2 if index < ordered => change.apply(&mut self.durable),
                2 if index == ordered => change.apply_torn(&mut self.durable, rng),
                2 => {}
                _ => change.apply_torn(&mut self.durable, rng),
            }
        }
        self.current.clone_from(&self.durable);
    }
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Truncate(length) => image.resize(*length, 0),
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*offset..end].copy_from_slice(bytes);
            }
        }
    }

    /// Applies some of its sectors.
    fn apply_torn(&self, image: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
        match self {
            Self::Truncate(_) if rng.next_u32().is_multiple_of(2) => self.apply(image),
            Self::Truncate(_) => {}
            Self::Write { offset, bytes } => {
                let mut at = 0;
                while at < bytes.len() {
                    let rest = SECTOR - (offset + at) % SECTOR;
                    let end = bytes.len().min(at + rest);
                    if rng.next_u32().is_multiple_of(2) {
                        Self::Write { offset: offset + at, bytes: bytes[at..end].to_vec() }.apply(image);
                    }
                    at = end;
                }
            }
        }
    }
}

impl Handle {
    /// Runs `work` on the file, unless the process that opened it is dead.
    fn with<T>(&self, work: impl FnOnce(&mut State, &str) -> Result<T, DiskError>) -> Result<T, DiskError> {
        let mut state = lock(&self.disk.0);
        if state.down || state.generation != self.generation || !state.files.contains_key(&self.path) {
            return Err(DiskError::Down);
        }
        work(&mut state, &self.path)
    }

    fn file<T>(&self, work: impl FnOnce(&mut FileState) -> T) -> Result<T, DiskError> {
        self.with(|state, path| Ok(work(state.files.get_mut(path).expect("looked up above"))))
    }

    /// Fills `buffer` from `offset`, with zeros behind the end. Whether all of it was there.
    pub(super) fn read(&self, buffer: &mut [u8], offset: usize) -> Result<bool, DiskError> {
        self.file(|file| {
            let there = file.current.get(offset..).unwrap_or_default();
            let length = there.len().min(buffer.len());
            buffer[..length].copy_from_slice(&there[..length]);
            buffer[length..].fill(0);
            length == buffer.len()
        })
    }

    pub(super) fn write(&self, bytes: &[u8], offset: usize) -> Result<(), DiskError> {
        self.change(Change::Write { offset, bytes: bytes.to_vec() })
    }

    pub(super) fn truncate(&self, length: usize) -> Result<(), DiskError> {
        self.change(Change::Truncate(length))
    }

    fn change(&self, change: Change) -> Result<(), DiskError> {
        self.with(|state, path| {
            let struck = state.step(None);
            if state.full > 0 && struck.is_ok() {
                state.full -= 1;
                return Err(DiskError::Full);
            }
            let State { files, rng, .. } = state;
            let file = files.get_mut(path);
            match (struck, file) {
                (Ok(()), Some(file)) => {
                    change.apply(&mut file.current);
                    file.pending.push(change);
                    Ok(())
                }
                (Err(DiskError::Write), Some(file)) => {
                    // What a refused write left behind is anybody's guess.
                    let mut image = file.current.clone();
                    change.apply_torn(&mut image, rng);
                    file.pending.push(Change::Truncate(image.len()));
                    file.pending.push(Change::Write { offset: 0, bytes: image.clone() });
                    file.current = image;
                    Err(DiskError::Write)
                }
                (struck, _) => struck.and(Err(DiskError::Down)),
            }
        })
    }

    pub(super) fn sync(&self) -> Result<(), DiskError> {
        let result = self.sync_once();
        // What a file system layer that "helps" would do: the second attempt has nothing to write and succeeds.
        if result == Err(DiskError::Sync) && is_planted(Bug::FailedSyncRetried) {
            return self.sync_once();
        }
        result
    }

    fn sync_once(&self) -> Result<(), DiskError> {
        self.with(|state, path| {
            state.step(Some(path))?;
            state.syncs += 1;
            let Some(file) = state.files.get_mut(path) else { return Err(DiskError::Down) };
            for change in std::mem::take(&mut file.pending) {
                change.apply(&mut file.durable);
            }
            Ok(())
        })
    }

    pub(super) fn size(&self) -> Result<usize, DiskError> {
        self.file(|file| file.current.len())
    }

    /// Takes SQLite's lock of that level (1 shared, 2 reserved, 3 pending, 4 exclusive).
    pub(super) fn lock(&self, level: i32) -> Result<(), DiskError> {
        self.file(|file| {
            let own = file.locks.get(&self.id).copied().unwrap_or(0);
            let others =
                file.locks.iter().filter(|(id, _)| **id != self.id).map(|(_, level)| *level).max().unwrap_or(0);
            if own >= level {
                return Ok(());
            }
            let (allowed, reached) = match level {
                1 => (others < 3, 1),
                2 => (others < 2, 2),
                _ if others >= 2 => (false, own),
                _ => (others == 0, if others == 0 { 4 } else { 3 }),
            };
            if allowed || reached > own {
                file.locks.insert(self.id, if allowed { reached } else { reached.max(own).min(3) });
            }
            if allowed { Ok(()) } else { Err(DiskError::Busy) }
        })?
    }

    /// Goes down to that level.
    pub(super) fn unlock(&self, level: i32) {
        // The locks of the dead are gone.
        let _ = self.file(|file| match level {
            0 => drop(file.locks.remove(&self.id)),
            level => drop(file.locks.insert(self.id, level)),
        });
    }

    /// Whether some connection is about to write.
    pub(super) fn is_reserved(&self) -> Result<bool, DiskError> {
        self.file(|file| file.locks.values().any(|level| *level >= 2))
    }

    /// The memory that the connections to this file share.
    pub(super) fn memory(&self) -> Result<Arc<SharedMemory>, DiskError> {
        self.file(|file| {
            file.memory.upgrade().unwrap_or_else(|| {
                let memory = Arc::new(SharedMemory::default());
                file.memory = Arc::downgrade(&memory);
                memory
            })
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.unlock(0);
        if self.delete_on_close {
            // Nothing to delete after a death.
            let _ = self.with(|state, path| {
                state.files.remove(path);
                Ok(())
            });
        }
    }
}
