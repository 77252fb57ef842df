//! What asks a process to end: SIGINT and SIGTERM, and what asks a server to read its settings anew: SIGHUP. One stream
//! from which none is lost.

use std::io::{self, IsTerminal as _};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// See the module.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None where it ends the process, as it does by default.
    hang_up: Option<Signal>,
}

/// What a process is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    ToEnd,
    ToReload,
}

impl Signals {
    /// From now on SIGINT and SIGTERM do not end the process by themselves.
    pub(crate) fn new() -> Result<Self> {
        Self::with(None)
    }

    /// Nor does SIGHUP. On a terminal it says that the terminal is gone, and is like the others.
    pub(crate) fn of_server() -> Result<Self> {
        Self::with(Some(listen(SignalKind::hangup())?))
    }

    fn with(hang_up: Option<Signal>) -> Result<Self> {
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())?, hang_up })
    }

    /// Returns at the next one.
    pub(crate) async fn next(&mut self) -> Asked {
        let hung_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Asked::ToEnd,
            _ = self.terminate.recv() => Asked::ToEnd,
            _ = hung_up => if io::stderr().is_terminal() { Asked::ToEnd } else { Asked::ToReload },
        }
    }

    /// Returns at the next one that asks the process to end.
    pub(crate) async fn until_end(&mut self) {
        while self.next().await != Asked::ToEnd {}
    }
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).context("cannot listen for signals")
}
