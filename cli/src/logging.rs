//! What the parts of the program note goes to standard error, as text or as JSON: without the secrets of the workspace
//! that is open.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{LazyLock, OnceLock};

use anyhow::Result;
use surefoot_engine::Redaction;
use tracing_subscriber::fmt::{FormatEvent, FormatFields, MakeWriter, SubscriberBuilder};
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::failure::Failure;
use crate::settings::{Log, LogFormat};

/// What is logged, the least first. `surefoot` means all of our crates.
const LEVELS: [&str; 5] = ["error", "warn", "warn,surefoot=info", "warn,surefoot=debug", "info,surefoot=trace"];

/// Changes what is logged.
type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// How to change what is logged, and how many levels more were asked for; none before the start.
static STARTED: OnceLock<(SetFilter, u8)> = OnceLock::new();

/// Begins. Each `verbose` asks for one level more; the filter in `SUREFOOT_LOG` counts more than both.
///
/// # Errors
/// When that filter is none.
pub(crate) fn start(log: Log, verbose: u8) -> Result<()> {
    let filter = filter(log, verbose)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(io::stderr().is_terminal());
    // Otherwise a line that cannot be written, into a file on a full disk say, is a panic where it was to be written.
    let subscriber = subscriber.log_internal_errors(false).with_writer(|| Redacted);
    match log.format {
        LogFormat::Text => begin(subscriber, verbose),
        LogFormat::Json => begin(subscriber.json().flatten_event(true), verbose),
    }
    Ok(())
}

fn begin<N, E, W>(subscriber: SubscriberBuilder<N, E, EnvFilter, W>, verbose: u8)
where
    N: for<'writer> FormatFields<'writer> + Send + Sync + 'static,
    E: FormatEvent<Registry, N> + Send + Sync + 'static,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let subscriber = subscriber.with_filter_reloading();
    let handle = subscriber.reload_handle();
    // It is started once.
    let _ = STARTED.set((Box::new(move |filter| handle.reload(filter)), verbose));
    subscriber.init();
}

/// Logs at another level from now on. The format stays.
///
/// # Errors
/// When the filter in `SUREFOOT_LOG` is none.
pub(crate) fn set_level(log: Log) -> Result<()> {
    let Some((set, verbose)) = STARTED.get() else { return Ok(()) };
    Ok(set(filter(log, *verbose)?)?)
}

fn filter(log: Log, verbose: u8) -> Result<EnvFilter> {
    let level = (log.level as usize + usize::from(verbose)).min(LEVELS.len() - 1);
    match std::env::var("SUREFOOT_LOG") {
        Ok(directives) => EnvFilter::try_new(&directives)
            .map_err(|error| Failure::usage(format!("SUREFOOT_LOG=`{directives}` is not a filter: {error}")).into()),
        Err(_) => Ok(EnvFilter::new(LEVELS[level])),
    }
}

/// What the workspace of this process tells its secrets to.
pub(crate) fn redaction() -> Redaction {
    static REDACTION: LazyLock<Redaction> = LazyLock::new(Redaction::default);
    REDACTION.clone()
}

/// Standard error. Each write is a whole line.
struct Redacted;

impl Write for Redacted {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(&redaction().redacted(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
