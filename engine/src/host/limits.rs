//! What bounds a guest: its memory, and its computing time between two host calls.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline};

use super::wasi::Guest;
use crate::core::lock;
use crate::session::{End, Session};

/// Refuses memory beyond the execution's recorded limit, in a way that no guest can catch: none may branch on it.
pub(super) struct MemoryLimit {
    bytes_max: u64,
    /// Of all memories of the guest.
    bytes: u64,
    /// Of all tables of the guest.
    table_elements: usize,
}

/// Table elements of one guest, in all of its tables.
pub(super) const TABLE_ELEMENTS_MAX: usize = 1 << 20;

/// The largest memory that there is in the pool: what an index of 32 bits reaches.
pub(super) const MEMORY_BYTES_MAX: usize = 4 << 30;

/// Core instances, tables and memories of one guest. Compilers make a handful of each.
const INSTANCES_MAX: usize = 1000;
const TABLES_MAX: usize = 1000;
const MEMORIES_MAX: usize = 100;

impl MemoryLimit {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: 0, table_elements: 0 }
    }
}

/// Whether a component's own maximum is reached, which is part of it: the guest may see that. One that is not lower
/// than what the pool has for anybody is that of the pool where an instance is there, and the component's where it has
/// memory of its own: the guest sees neither, since it may be there at one run and not at the next.
fn is_declared(desired: usize, maximum: Option<usize>, of_pool: usize) -> bool {
    maximum.is_some_and(|maximum| desired > maximum && maximum < of_pool)
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if is_declared(desired, maximum, MEMORY_BYTES_MAX) {
            return Ok(false);
        }
        let wanted = self.bytes.saturating_add((desired - current) as u64);
        if wanted > self.bytes_max {
            let message = format!("the flow asked for {wanted} bytes of memory; the limit is {}", self.bytes_max);
            return Err(End::Limit("memory_bytes_max", message).into());
        }
        self.bytes = wanted;
        Ok(true)
    }

    /// The machine has no memory left. That is no fact that a replay would find again.
    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(End::dropped().into())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if is_declared(desired, maximum, TABLE_ELEMENTS_MAX) {
            return Ok(false);
        }
        let wanted = self.table_elements.saturating_add(desired - current);
        if wanted > TABLE_ELEMENTS_MAX {
            let message = format!("the flow asked for {wanted} table elements; the limit is {TABLE_ELEMENTS_MAX}");
            return Err(End::Limit("table_elements_max", message).into());
        }
        self.table_elements = wanted;
        Ok(true)
    }

    /// As with memory.
    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(End::dropped().into())
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

/// Slices without a host call after which a guest computes for long.
const SHORT_SLICES: u64 = 10;

/// The place of a guest among those that compute for long, while it has one.
#[derive(Clone, Default)]
pub(super) struct Place(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Place {
    /// Leaves it to the next.
    pub(super) fn leave(&self) {
        lock(&self.0).take();
    }

    async fn wait_for(self, places: Arc<Semaphore>) {
        // Others first, also where there is a place at once.
        tokio::task::yield_now().await;
        let place = places.acquire_owned().await;
        *lock(&self.0) = Some(place.expect("it is never closed"));
    }
}

/// Lets a guest yield after each slice, and ends it when it computes for too long without a host call. One that
/// computes for long shares the `places` with its like, so that whoever does little between two calls finds a free
/// worker.
pub(super) fn set_slices(store: &mut Store<Guest>, slice: Duration, session: &Arc<Session>, places: &Arc<Semaphore>) {
    let cpu_ms_max = session.resident().started.limits.cpu_ms_max;
    let slices_max = u64::try_from(u128::from(cpu_ms_max) / slice.as_millis().max(1)).unwrap_or(u64::MAX).max(1);
    let places = places.clone();
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |mut context| {
        let guest = context.data_mut();
        guest.session.interruption()?;
        guest.slices += 1;
        // Computing that a replay repeats was paid for when it was first done.
        if guest.session.is_live() {
            guest.live_slices += 1;
        }
        if guest.live_slices > slices_max {
            let message = format!("the flow computed for more than {cpu_ms_max} ms without a host call");
            return Err(End::Limit("cpu_ms_max", message).into());
        }
        if guest.slices <= SHORT_SLICES {
            return Ok(UpdateDeadline::Yield(1));
        }
        guest.place.leave();
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(guest.place.clone().wait_for(places.clone()))))
    });
}

/// Advances the engines' epochs while guests run; asleep otherwise.
pub(super) struct Ticker {
    shared: Arc<Shared>,
}

struct Shared {
    running: AtomicUsize,
    stopped: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Ticker {
    pub(super) fn start(engines: Vec<Engine>, slice: Duration) -> Self {
        let shared = Arc::new(Shared {
            running: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        });
        let ticking = shared.clone();
        std::thread::Builder::new()
            .name("surefoot-ticker".into())
            .spawn(move || ticking.run(&engines, slice))
            .expect("a thread can be started");
        Self { shared }
    }

    /// The epoch advances until the guard is dropped.
    pub(super) fn tick_while_held(&self) -> Ticking {
        // While another runs it is awake.
        if self.shared.running.fetch_add(1, Ordering::SeqCst) == 0 {
            let _guard = self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.wake.notify_all();
        }
        Ticking(self.shared.clone())
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _guard = self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.wake.notify_all();
    }
}

/// See [`Ticker::tick_while_held`].
pub(super) struct Ticking(Arc<Shared>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn run(&self, engines: &[Engine], slice: Duration) {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.stopped.load(Ordering::SeqCst) {
            guard = if self.running.load(Ordering::SeqCst) == 0 {
                self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.wake.wait_timeout_while(guard, slice, |()| !self.stopped.load(Ordering::SeqCst));
                engines.iter().for_each(Engine::increment_epoch);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An instance may have its memory in the pool at one run and not at the next: whatever it asks for, it sees the
    /// same.
    #[test]
    fn growing_ends_the_same_way_in_the_pool_and_outside() {
        for declared in [None, Some(10), Some(TABLE_ELEMENTS_MAX), Some(2 * TABLE_ELEMENTS_MAX)] {
            for desired in [5, 11, TABLE_ELEMENTS_MAX, TABLE_ELEMENTS_MAX + 1, 3 * TABLE_ELEMENTS_MAX] {
                let grows = |maximum| MemoryLimit::new(0).table_growing(0, desired, maximum).map_err(|_| "limit");
                let in_pool = Some(declared.unwrap_or(usize::MAX).min(TABLE_ELEMENTS_MAX));
                assert_eq!(grows(in_pool), grows(declared), "{declared:?} {desired}");
            }
        }
        let bytes_max = 256 << 20;
        for declared in [None, Some(65_536), Some(MEMORY_BYTES_MAX)] {
            for desired in [65_536, 131_072, bytes_max + 1, MEMORY_BYTES_MAX, MEMORY_BYTES_MAX + 1] {
                let limit = || MemoryLimit::new(bytes_max as u64);
                let grows = |maximum| limit().memory_growing(0, desired, maximum).map_err(|_| "limit");
                let in_pool = Some(declared.unwrap_or(usize::MAX).min(MEMORY_BYTES_MAX));
                assert_eq!(grows(in_pool), grows(declared), "{declared:?} {desired}");
            }
        }
    }
}
