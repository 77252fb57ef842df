//! The memory that connections to one simulated database share: the index of its write-ahead log, and the locks on it.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use crate::core::lock;

/// SQLite locks eight slots.
const SLOTS: usize = 8;

/// See the module. It lives as long as one connection uses it, dead or alive.
#[derive(Default)]
pub(super) struct SharedMemory {
    regions: Mutex<Vec<Box<[AtomicU64]>>>,
    /// Per slot: how many share it; -1 when one has it alone.
    slots: Mutex<[i32; SLOTS]>,
}

/// The slots that one connection has.
#[derive(Default)]
pub(super) struct HeldSlots {
    shared: [bool; SLOTS],
    alone: [bool; SLOTS],
}

impl SharedMemory {
    /// The address of a region of `bytes` bytes, zeroed when it is new; none when it is not there and `extend` is
    /// false. It stays where it is as long as `self` lives.
    pub(super) fn region(&self, index: usize, bytes: usize, extend: bool) -> Option<*const AtomicU64> {
        let mut regions = lock(&self.regions);
        while extend && regions.len() <= index {
            regions.push((0..bytes.div_ceil(8)).map(|_| AtomicU64::new(0)).collect());
        }
        regions.get(index).map(|region| region.as_ptr())
    }

    /// Takes `count` slots from `first`, alone or shared. False when another connection is in the way.
    pub(super) fn take(&self, held: &mut HeldSlots, first: usize, count: usize, alone: bool) -> bool {
        let mut slots = lock(&self.slots);
        let range = first..(first + count).min(SLOTS);
        let free = |slot: usize| match alone {
            true => slots[slot] == 0 || held.alone[slot],
            false => slots[slot] >= 0,
        };
        if !range.clone().all(free) {
            return false;
        }
        for slot in range {
            if alone {
                slots[slot] = -1;
                held.alone[slot] = true;
            } else if !held.shared[slot] {
                slots[slot] += 1;
                held.shared[slot] = true;
            }
        }
        true
    }

    /// Gives slots back.
    pub(super) fn give(&self, held: &mut HeldSlots, first: usize, count: usize) {
        let mut slots = lock(&self.slots);
        for slot in first..(first + count).min(SLOTS) {
            if std::mem::take(&mut held.alone[slot]) {
                slots[slot] = 0;
            }
            if std::mem::take(&mut held.shared[slot]) {
                slots[slot] -= 1;
            }
        }
    }

    /// Gives everything back.
    pub(super) fn give_all(&self, held: &mut HeldSlots) {
        self.give(held, 0, SLOTS);
    }
}
