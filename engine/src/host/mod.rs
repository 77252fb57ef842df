//! The WebAssembly side: compiles components, links the contract and a deterministic WASI, runs instances.
//!
//! A guest has no socket, no file, no real clock, no real entropy. Machine code is compiled when a flow is deployed
//! and kept on disk
//! with a MAC, because loading it is `unsafe`.

mod contract;
mod end;
mod failing;
mod limits;
mod makers;
mod pool;
mod wasi;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine, Store};

use crate::clock::Timestamp;
use crate::collection::{Held, Holds};
use crate::core::lock;
use crate::files::sha256_hex;
use crate::journal::is_too_deep;
use crate::session::{End, Session};

use contract::{Flow, FlowPre};
use failing::Failing;
pub use makers::{Maker, made_with};

use limits::Ticker;
use pool::Pool;
use wasi::Guest;

/// The time slice of a guest before others get their turn.
const SLICE: Duration = Duration::from_millis(1);

/// Bytes of the MAC before the machine code in a cache file.
const MAC_BYTES: usize = 32;

/// The largest component, bytes.
const COMPONENT_BYTES_MAX: usize = 256 << 20;

/// Why a component was refused.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// It is no component, or not one for this contract.
    #[error("{0}")]
    Invalid(String),
    /// The stored bytes are not those that were deployed.
    #[error("the component {} is damaged; deploy the same component again", .0.display())]
    Damaged(PathBuf),
    /// Reading or writing the components' folder failed.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Where an instance has its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Memory {
    /// In the pool, if it fits there.
    Pooled,
    /// It gets its own.
    Own,
}

/// See the module.
pub(crate) struct WasmHost {
    engine: Engine,
    linker: Linker<Guest>,
    pool: Option<Pool>,
    folder: PathBuf,
    key: [u8; 32],
    /// Components by digest.
    loaded: Mutex<HashMap<(Memory, String), FlowPre<Guest>>>,
    loading: Mutex<()>,
    failing: Mutex<Failing>,
    ticker: Ticker,
    /// For guests that compute for long: they leave one worker to all others.
    long_computing: Arc<Semaphore>,
    /// Components that are about to become the version of a flow.
    pub(crate) holds: Holds,
}

/// Refuses bytes that are no component, as far as that can be seen without compiling them.
pub fn check_component(component: &[u8]) -> Result<(), ComponentError> {
    if component.len() > COMPONENT_BYTES_MAX {
        return Err(ComponentError::Invalid(format!("the component is larger than {COMPONENT_BYTES_MAX} bytes")));
    }
    if component.starts_with(b"\0asm\x0d\0\x01\0") {
        return Ok(());
    }
    let what = if component.starts_with(b"\0asm\x01\0\0\0") { "a core module" } else { "no WebAssembly at all" };
    Err(ComponentError::Invalid(format!(
        "this is {what}, not a WebAssembly component; build the flow with `surefoot build`, which uses the target \
         wasm32-wasip2"
    )))
}

impl WasmHost {
    /// A host that keeps components in `folder`.
    pub(crate) fn new(folder: &Path, key: &[u8; 32]) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true);
        config.cranelift_nan_canonicalization(true);
        config.wasm_relaxed_simd(true);
        config.relaxed_simd_deterministic(true);
        // Whatever the environment says: a trap names the guest's line, and cached machine code fits.
        config.wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Enable);
        let engine = Engine::new(&config)?;
        let linker = link(&engine)?;
        let pool = Pool::new(config, link);
        let ticker = Ticker::start(pool.iter().map(|pool| &pool.engine).chain([&engine]).cloned().collect(), SLICE);
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            engine,
            linker,
            pool,
            folder: folder.to_owned(),
            key: *key,
            loaded: Mutex::default(),
            loading: Mutex::default(),
            failing: Mutex::default(),
            ticker,
            long_computing: Arc::new(Semaphore::new(workers.saturating_sub(1).max(1))),
            holds: Holds::default(),
        })
    }

    /// Checks, stores and compiles a component. Returns its digest; it stays while the rest is held.
    pub(crate) fn install(&self, component: &[u8]) -> Result<(String, Held), ComponentError> {
        check_component(component)?;
        let digest = sha256_hex(component);
        let held = self.holds.hold_blocking(&digest);
        let path = self.folder.join(format!("{digest}.wasm"));
        {
            let _loading = lock(&self.loading);
            // A file that is damaged is mended by deploying the same component again.
            if std::fs::read(&path).map(|present| sha256_hex(&present)).ok().as_deref() != Some(digest.as_str()) {
                write_durably(&path, component)?;
            }
        }
        lock(&self.failing).is_good(&digest);
        if let Err(error) = self.load(Memory::Pooled, &digest) {
            if let ComponentError::Invalid(_) = error {
                // It never ran and never will. What cannot be removed is only space.
                let _ = self.remove(&digest);
            }
            return Err(error);
        }
        Ok((digest, held))
    }

    /// The digests of all components that are stored, or of which machine code is.
    pub(crate) fn stored(&self) -> std::io::Result<Vec<String>> {
        let mut digests = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = PathBuf::from(entry?.file_name());
            let is_ours = path.extension().is_some_and(|extension| extension == "wasm" || extension == "cwasm");
            digests.extend(path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_ours).map(str::to_owned));
        }
        digests.sort_unstable();
        digests.dedup();
        Ok(digests)
    }

    /// Deletes a component with its machine code. One that is gone already is no error.
    pub(crate) fn remove(&self, digest: &str) -> std::io::Result<()> {
        let _loading = lock(&self.loading);
        lock(&self.loaded).retain(|(_, loaded), _| loaded != digest);
        for path in [self.cache_path(digest), self.folder.join(format!("{digest}.wasm"))] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Like [`load`](Self::load), for a run. What cannot be read may be there later, and ends no execution: however
    /// many want it, it is looked for again when its time has come, and said once for each look.
    fn load_for_run(&self, memory: Memory, digest: &str, now: Timestamp) -> Result<FlowPre<Guest>, End> {
        let mut failing = lock(&self.failing);
        if let Some(again) = failing.not_before(digest).filter(|again| *again > now) {
            return Err(End::postponed(again));
        }
        match self.load(memory, digest) {
            Ok(pre) => {
                failing.is_good(digest);
                Ok(pre)
            }
            Err(error @ ComponentError::Invalid(_)) => Err(End::Error("component".into(), error.to_string())),
            Err(error) => {
                let again = failing.failed(digest, now);
                tracing::error!(%error, again_at = %again, "a component cannot be read; what runs on it waits");
                Err(End::postponed(again))
            }
        }
    }

    /// The compiled component, from memory, the cache on disk, or by compiling it.
    fn load(&self, memory: Memory, digest: &str) -> Result<FlowPre<Guest>, ComponentError> {
        if let Some(found) = self.loaded(memory, digest) {
            return Ok(found);
        }
        // One at a time: a recovery begins many executions of one version at once.
        let _loading = lock(&self.loading);
        if let Some(found) = self.loaded(memory, digest) {
            return Ok(found);
        }
        let component = match self.load_cached(memory, digest) {
            Some(component) => component,
            None => self.compile(memory, digest)?,
        };
        let invalid = |error: wasmtime::Error| {
            ComponentError::Invalid(format!("the component does not fit the contract surefoot:flow@0.1.0: {error:#}"))
        };
        let linker = self.pool_of(component.engine()).map_or(&self.linker, |pool| &pool.linker);
        let pre = FlowPre::new(linker.instantiate_pre(&component).map_err(invalid)?).map_err(invalid)?;
        lock(&self.loaded).insert((memory, digest.to_owned()), pre.clone());
        Ok(pre)
    }

    fn loaded(&self, memory: Memory, digest: &str) -> Option<FlowPre<Guest>> {
        lock(&self.loaded).get(&(memory, digest.to_owned())).cloned()
    }

    /// The pool, if that is its engine.
    fn pool_of(&self, engine: &Engine) -> Option<&Pool> {
        self.pool.as_ref().filter(|pool| Engine::same(&pool.engine, engine))
    }

    fn load_cached(&self, memory: Memory, digest: &str) -> Option<Component> {
        let file = std::fs::read(self.cache_path(digest)).ok()?;
        let (mac, code) = file.split_at_checked(MAC_BYTES)?;
        if self.mac(digest, code).verify_slice(mac).is_err() {
            tracing::warn!(digest, "the cached machine code is not ours; compiling again");
            return None;
        }
        // SAFETY: the MAC proves that this workspace's engine wrote exactly these bytes. Code of another wasmtime or
        // configuration is refused by `deserialize` itself.
        #[expect(unsafe_code, reason = "the one way to load machine code; see SAFETY")]
        let load = |engine: &Engine| unsafe { Component::deserialize(engine, code) }.ok();
        let pool = self.pool.as_ref().filter(|_| memory == Memory::Pooled);
        let pooled = pool.and_then(|pool| load(&pool.engine));
        // One that does not fit into the pool is refused there.
        pooled.or_else(|| load(&self.engine))
    }

    /// The bytes of a component, as they were deployed.
    pub(crate) fn read(&self, digest: &str) -> Result<Vec<u8>, ComponentError> {
        let path = self.folder.join(format!("{digest}.wasm"));
        let bytes = std::fs::read(&path).map_err(|source| ComponentError::Io {
            doing: "reading",
            path: path.clone(),
            source,
        })?;
        if sha256_hex(&bytes) != digest {
            return Err(ComponentError::Damaged(path));
        }
        Ok(bytes)
    }

    fn compile(&self, memory: Memory, digest: &str) -> Result<Component, ComponentError> {
        let bytes = self.read(digest)?;
        let invalid =
            |error: wasmtime::Error| ComponentError::Invalid(format!("the component cannot be compiled: {error:#}"));
        let component = Component::new(&self.engine, &bytes).map_err(invalid)?;
        let code = component.serialize().map_err(invalid)?;
        let mut file = self.mac(digest, &code).finalize().into_bytes().to_vec();
        file.extend_from_slice(&code);
        match write_durably(&self.cache_path(digest), &file) {
            Ok(()) => Ok(self.load_cached(memory, digest).unwrap_or(component)),
            Err(error) => {
                tracing::warn!(%error, "machine code is not kept; it will be compiled again");
                Ok(component)
            }
        }
    }

    fn cache_path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}.cwasm"))
    }

    fn mac(&self, digest: &str, code: &[u8]) -> Hmac<Sha256> {
        mac_of(&self.key, digest, code)
    }

    /// A component, and its place in the pool if it is of that.
    async fn placed(
        &self,
        session: &Session,
        digest: &str,
    ) -> Result<(FlowPre<Guest>, Option<OwnedSemaphorePermit>), End> {
        let pre = self.loaded_for_run(session, Memory::Pooled, digest).await?;
        let Some(pool) = self.pool_of(pre.engine()) else { return Ok((pre, None)) };
        match pool.place(session.resident().started.limits.memory_bytes_max) {
            Some(place) => Ok((pre, Some(place))),
            None => Ok((self.loaded_for_run(session, Memory::Own, digest).await?, None)),
        }
    }

    /// Loads a component on a thread that may block, if it is not loaded.
    async fn loaded_for_run(&self, session: &Session, memory: Memory, digest: &str) -> Result<FlowPre<Guest>, End> {
        if let Some(pre) = self.loaded(memory, digest) {
            return Ok(pre);
        }
        let (core, digest) = (session.core().clone(), digest.to_owned());
        let load = move || core.host.load_for_run(memory, &digest, core.now());
        tokio::task::spawn_blocking(load).await.map_err(|_| End::dropped())?
    }

    /// Runs a component's handler once.
    pub(crate) async fn run(&self, session: Arc<Session>, digest: &str, input: Value) -> Result<Value, End> {
        let (pre, _place) = self.placed(&session, digest).await?;
        let mut store = Store::new(pre.engine(), Guest::new(session.clone()));
        store.limiter(|guest| &mut guest.limits);
        let _ticking = self.ticker.tick_while_held();
        limits::set_slices(&mut store, SLICE, &session, &self.long_computing);
        let call = async {
            let flow = pre.instantiate_async(&mut store).await?;
            flow.call_handler(&mut store, &input.to_string()).await
        };
        let result = tokio::select! {
            biased;
            result = call => result,
            // A sleep of the guest's own runtime has no way to end a run but this.
            end = session.departed() => return Err(end),
        };
        match result {
            Ok(Ok(output)) => match session.check_output(output.len()).map(|()| serde_json::from_str(&output))? {
                Ok(output) if is_too_deep(&output) => {
                    Err(End::Error("invalid_output".into(), "the flow's output is nested too deep".into()))
                }
                Ok(output) => Ok(output),
                Err(error) => {
                    Err(End::Error("invalid_output".into(), format!("the flow's output is not JSON: {error}")))
                }
            },
            Ok(Err(text)) => Err(session.check_payload(text.len()).err().unwrap_or(End::Error("error".into(), text))),
            Err(error) => Err(end_of(&session, &error)),
        }
    }
}

/// Whether this is machine code that an engine with this workspace's key compiled of that component.
pub(crate) fn is_own_machine_code(key: &[u8; 32], digest: &str, file: &[u8]) -> bool {
    let parts = file.split_at_checked(MAC_BYTES);
    parts.is_some_and(|(mac, code)| mac_of(key, digest, code).verify_slice(mac).is_ok())
}

fn mac_of(key: &[u8; 32], digest: &str, code: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(b"machine code");
    mac.update(digest.as_bytes());
    mac.update(code);
    mac
}

/// Links what guests may import.
fn link(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    linker.allow_shadowing(true);
    wasi::shadow_clock(&mut linker)?;
    linker.allow_shadowing(false);
    Flow::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    Ok(linker)
}

/// What a trap says about the run.
fn end_of(session: &Session, error: &wasmtime::Error) -> End {
    if let Some(end) = end::carried(error) {
        return end.clone();
    }
    let words = session.last_words();
    let words = if words.is_empty() { String::new() } else { format!("; the flow's last words: {words}") };
    if error.downcast_ref::<wasmtime_wasi::I32Exit>().is_some() {
        return End::Error("exited".into(), format!("the flow ended its process instead of returning{words}"));
    }
    let text = match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => trap.to_string(),
        None => format!("{error:#}"),
    };
    let place = error.downcast_ref::<wasmtime::WasmBacktrace>().and_then(first_place).unwrap_or_default();
    End::Error("trapped".into(), format!("flow trapped: {}{place}{words}", text.trim_start_matches("wasm trap: ")))
}

/// The innermost frame that debug information knows.
fn first_place(backtrace: &wasmtime::WasmBacktrace) -> Option<String> {
    let frame = backtrace.frames().first()?;
    let symbol = frame.symbols().iter().find_map(|symbol| Some(format!("{}:{}", symbol.file()?, symbol.line()?)));
    let function = || frame.symbols().first()?.name().or(frame.func_name()).map(str::to_owned);
    Some(format!(" at {}", symbol.or_else(function)?))
}

/// Writes a file so that after a crash it is whole or not there.
fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), ComponentError> {
    let io = |doing| {
        let path = path.to_owned();
        move |source| ComponentError::Io { doing, path, source }
    };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".part");
    let temporary = PathBuf::from(temporary);
    std::fs::write(&temporary, bytes).map_err(io("writing"))?;
    let file = std::fs::File::open(&temporary).map_err(io("opening"))?;
    file.sync_all().map_err(io("syncing"))?;
    std::fs::rename(&temporary, path).map_err(io("renaming"))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("syncing the folder of"))
}
