//! Deterministic WASI: the clock is the journal's, entropy the execution's, sleeping is durable, nothing else exists.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use rand_core::TryRng;
use serde_json::Value;
use tokio::io::AsyncWrite;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

use super::limits::{MemoryLimit, Place};
use crate::clock::Timestamp;
use crate::session::Session;

/// The longest line taken from stdout or stderr, bytes; longer ones are cut into several.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Resources of the host that a guest may hold at one time: streams, timers.
const RESOURCES_MAX: usize = 10_000;

/// What a store holds.
pub(super) struct Guest {
    pub(super) session: Arc<Session>,
    pub(super) limits: MemoryLimit,
    /// Slices computed since the last host call.
    pub(super) slices: u64,
    /// Those of them that no journal has.
    pub(super) live_slices: u64,
    pub(super) place: Place,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl Guest {
    pub(super) fn new(session: Arc<Session>) -> Self {
        let mut seed = [0; 16];
        session.random_bytes(&mut seed);
        let wasi = WasiCtx::builder()
            .wall_clock(JournalClock(session.clone()))
            .monotonic_clock(JournalClock(session.clone()))
            .secure_random(JournalRandom(session.clone()))
            .insecure_random(JournalRandom(session.clone()))
            .insecure_random_seed(u128::from_le_bytes(seed))
            .stdout(LogStream { session: session.clone(), source: "stdout", level: "info" })
            .stderr(LogStream { session: session.clone(), source: "stderr", level: "warn" })
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        let limits = MemoryLimit::new(session.resident().started.limits.memory_bytes_max);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        Self { session, limits, slices: 0, live_slices: 0, place: Place::default(), wasi, table }
    }

    /// The session, for a host call: the guest's computing time starts anew.
    pub(super) fn called(&mut self) -> Arc<Session> {
        if self.slices > 0 {
            (self.slices, self.live_slices) = (0, 0);
            self.place.leave();
        }
        self.session.clone()
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

struct JournalClock(Arc<Session>);

impl HostWallClock for JournalClock {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.now().0).unwrap_or(0))
    }
}

impl HostMonotonicClock for JournalClock {
    fn resolution(&self) -> u64 {
        1000
    }

    fn now(&self) -> u64 {
        nanos_since_start(&self.0)
    }
}

fn nanos_since_start(session: &Session) -> u64 {
    let micros = session.now().0 - session.resident().started.at.0;
    u64::try_from(micros).unwrap_or(0).saturating_mul(1000)
}

/// wasmtime-wasi hands its generators out by value, so each holds the session and draws from the one stream.
struct JournalRandom(Arc<Session>);

impl TryRng for JournalRandom {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.0.random_bytes(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.0.random_bytes(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.random_bytes(bytes);
        Ok(())
    }
}

/// Makes what the guest's runtime takes for a timer a durable sleep.
pub(super) fn shadow_clock(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    monotonic_clock::add_to_linker::<Guest, HasDurableClock>(linker, |guest| DurableClock(guest))
}

struct HasDurableClock;

impl HasData for HasDurableClock {
    type Data<'a> = DurableClock<'a>;
}

struct DurableClock<'a>(&'a mut Guest);

impl DurableClock<'_> {
    fn subscribe(&mut self, after: Duration) -> wasmtime::Result<Resource<DynPollable>> {
        let session = self.0.session.clone();
        self.0.place.leave();
        let due = session.now().after(after);
        let deadline = self.0.table.push(Deadline { session, due })?;
        subscribe(&mut self.0.table, deadline)
    }
}

impl monotonic_clock::Host for DurableClock<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(nanos_since_start(&self.0.session))
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1000)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let rest = when.saturating_sub(nanos_since_start(&self.0.session));
        self.subscribe(Duration::from_nanos(rest))
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe(Duration::from_nanos(duration))
    }
}

struct Deadline {
    session: Arc<Session>,
    due: Timestamp,
}

#[async_trait]
impl Pollable for Deadline {
    async fn ready(&mut self) {
        if let Err(end) = self.session.poll_until(self.due).await {
            self.session.depart(end);
            std::future::pending::<()>().await;
        }
    }
}

/// Lines of stdout and stderr become lines of the execution's log.
#[derive(Clone)]
struct LogStream {
    session: Arc<Session>,
    source: &'static str,
    level: &'static str,
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(LogWriter { stream: self.clone(), line: Vec::new() })
    }

    fn p2_stream(&self) -> Box<dyn wasmtime_wasi::p2::OutputStream> {
        Box::new(LogWriter { stream: self.clone(), line: Vec::new() })
    }
}

struct LogWriter {
    stream: LogStream,
    line: Vec<u8>,
}

impl LogWriter {
    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' || self.line.len() >= LINE_BYTES_MAX {
                self.emit();
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
    }

    fn emit(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let LogStream { session, source, level } = &self.stream;
        if let Err(end) = session.log(level, source, &text, Value::Null) {
            session.depart(end);
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.emit();
        }
    }
}

#[async_trait]
impl Pollable for LogWriter {
    async fn ready(&mut self) {
        if let Err(end) = self.stream.session.caught_up().await {
            self.stream.session.depart(end);
            std::future::pending::<()>().await;
        }
    }
}

impl wasmtime_wasi::p2::OutputStream for LogWriter {
    fn write(&mut self, bytes: bytes::Bytes) -> wasmtime_wasi::p2::StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> wasmtime_wasi::p2::StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> wasmtime_wasi::p2::StreamResult<usize> {
        Ok(64 << 10)
    }
}

impl AsyncWrite for LogWriter {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
