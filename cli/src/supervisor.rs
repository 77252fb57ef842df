//! What systemd, or another supervisor with its protocol, is told: that the server is ready, that it reads its settings
//! anew, that it stops, and that it is alive. Without one nobody is told.

use std::convert::Infallible;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

/// See the module.
pub(crate) struct Supervisor {
    socket: Option<UnixDatagram>,
    /// How long the supervisor waits for a sign of life before it kills.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one that started this process, as the environment names it.
    ///
    /// # Errors
    /// When it is named and cannot be reached.
    pub(crate) fn from_environment() -> Result<Self> {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let socket = text("NOTIFY_SOCKET")
            .map(|path| connect(&path).with_context(|| format!("cannot reach the supervisor at NOTIFY_SOCKET={path}")));
        let is_ours = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = text("WATCHDOG_USEC").filter(|_| is_ours).and_then(|micros| micros.parse().ok());
        Ok(Self { socket: socket.transpose()?, watchdog: micros.map(Duration::from_micros) })
    }

    /// Tells it `READY=1` and the like, one `NAME=VALUE` a line.
    pub(crate) fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            tracing::warn!(%error, state, "the supervisor cannot be told");
        }
    }

    /// Tells it that the settings are read anew, which began just now; `READY=1` ends it.
    ///
    /// # Errors
    /// When the system does not know the time.
    pub(crate) fn tell_reloading(&self) -> Result<()> {
        // It is compared with the time of the signal.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).context("cannot ask for the time")?;
        let micros = now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reads its settings anew"));
        Ok(())
    }

    /// Tells it again and again that the server is alive, as long as `check` says so in time. Never returns.
    pub(crate) async fn watch(&self, check: impl AsyncFn() -> Result<()>) -> Infallible {
        let Some(watchdog) = self.watchdog.filter(|_| self.socket.is_some()) else {
            return std::future::pending().await;
        };
        let interval = watchdog / 3;
        loop {
            match tokio::time::timeout(interval, check()).await {
                Ok(Ok(())) => self.tell("WATCHDOG=1"),
                Ok(Err(error)) => tracing::error!("the server does not answer itself: {error:#}"),
                Err(_) => tracing::error!("the server does not answer itself within {interval:?}"),
            }
            tokio::time::sleep(interval).await;
        }
    }
}

/// A path, or with a leading `@` a name in Linux' abstract namespace.
fn connect(path: &str) -> std::io::Result<UnixDatagram> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A supervisor that does not read must not stop the server.
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}
