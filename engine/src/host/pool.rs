//! Instances in memory that is kept for the next ones: mapping it, touching it for the first time and unmapping it
//! costs more than a short flow does, and interrupts the other processors.
//!
//! There are so many places. Who finds none, and a component that does not fit, is given memory of its own.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::limits::{MEMORY_BYTES_MAX, TABLE_ELEMENTS_MAX};
use super::wasi::Guest;

/// Executions that may have their memory here at one time.
const PLACES: u32 = 64;

/// What one of them may have. The components of the usual compilers have half as much.
const CORE_INSTANCES_EACH: u32 = 8;
const TABLES_EACH: u32 = 4;

/// Of a memory, and of a stack, so much stays in place for the next instance, bytes.
const KEPT_BYTES: usize = 512 << 10;

/// See the module.
pub(super) struct Pool {
    pub(super) engine: Engine,
    pub(super) linker: Linker<Guest>,
    places: Arc<Semaphore>,
}

impl Pool {
    /// None where the system does not allow it.
    pub(super) fn new(
        mut config: Config,
        link: impl FnOnce(&Engine) -> wasmtime::Result<Linker<Guest>>,
    ) -> Option<Self> {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(strategy()));
        let made = Engine::new(&config).and_then(|engine| Ok((link(&engine)?, engine)));
        match made {
            Ok((linker, engine)) => Some(Self { engine, linker, places: Arc::new(Semaphore::new(PLACES as usize)) }),
            Err(error) => {
                tracing::warn!("instances are made without a pool, which takes longer: {error:#}");
                None
            }
        }
    }

    /// A place for an execution whose memory has that limit.
    pub(super) fn place(&self, memory_bytes_max: u64) -> Option<OwnedSemaphorePermit> {
        // One that may have more must be able to get it.
        let fits = memory_bytes_max <= MEMORY_BYTES_MAX as u64;
        fits.then(|| self.places.clone().try_acquire_owned().ok()).flatten()
    }
}

fn strategy() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(PLACES)
        .total_core_instances(PLACES * CORE_INSTANCES_EACH)
        .max_core_instances_per_component(CORE_INSTANCES_EACH)
        .total_memories(PLACES)
        .max_memories_per_component(1)
        .max_memory_size(MEMORY_BYTES_MAX)
        .total_tables(PLACES * TABLES_EACH)
        .max_tables_per_component(TABLES_EACH)
        .table_elements(TABLE_ELEMENTS_MAX)
        .total_stacks(PLACES)
        .max_unused_warm_slots(PLACES);
    // Where the system cannot say which pages were written, those would be written anew that were not.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(KEPT_BYTES).table_keep_resident(KEPT_BYTES);
    }
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_places_and_none_for_memory_that_may_grow_larger() {
        let mut config = Config::new();
        config.epoch_interruption(true);
        let pool = Pool::new(config, super::super::link).expect("this system has a pool");
        assert!(pool.place(MEMORY_BYTES_MAX as u64 + 1).is_none());
        let taken: Vec<_> = std::iter::from_fn(|| pool.place(1 << 30)).collect();
        assert_eq!(taken.len(), PLACES as usize);
        drop(taken);
        assert!(pool.place(MEMORY_BYTES_MAX as u64).is_some());
    }
}
