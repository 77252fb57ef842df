//! The end of a run as a trap: how [`End`] leaves a guest.

use std::fmt;
use std::sync::LazyLock;

use wasmtime::{Config, Engine, Store, WasmBacktrace};

use crate::session::End;

/// An end on its way out of the guest. Not [`End`] itself: as an error that would be given a backtrace, for which
/// wasmtime reads the component's debug information anew each time. That takes longer than all else that a park or an
/// end does.
#[derive(Debug)]
struct Carried(End);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the run ended: {:?}", self.0)
    }
}

impl std::error::Error for Carried {}

/// Where no guest runs, so that a backtrace taken here is empty. An error that has one gets no other.
static NOWHERE: LazyLock<Store<()>> = LazyLock::new(|| {
    let mut config = Config::new();
    config.wasm_backtrace_max_frames(None);
    Store::new(&Engine::new(&config).expect("the defaults fit together"), ())
});

impl From<End> for wasmtime::Error {
    fn from(end: End) -> Self {
        Self::new(Carried(end)).context(WasmBacktrace::capture(&*NOWHERE))
    }
}

/// The end that a trap carries, if it is one.
pub(super) fn carried(error: &wasmtime::Error) -> Option<&End> {
    error.downcast_ref::<Carried>().map(|carried| &carried.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_found_again_and_has_its_backtrace() {
        let error = wasmtime::Error::from(End::Cancelled);
        assert!(matches!(carried(&error), Some(End::Cancelled)));
        assert!(error.downcast_ref::<WasmBacktrace>().is_some_and(|backtrace| backtrace.frames().is_empty()));
        assert!(carried(&wasmtime::Error::msg("another")).is_none());
    }
}
