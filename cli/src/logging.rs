//! What the parts of the program note goes to standard error, as text or as JSON: without the secrets of the workspace
//! that is open.

use std::io::{self, IsTerminal as _, Write};
use std::sync::LazyLock;

use anyhow::Result;
use surefoot_engine::Redaction;
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::settings::{Log, LogFormat};

/// What is logged, the least first. `surefoot` means all of our crates.
const LEVELS: [&str; 5] = ["error", "warn", "warn,surefoot=info", "warn,surefoot=debug", "info,surefoot=trace"];

/// Begins. Each `verbose` asks for one level more; the filter in `SUREFOOT_LOG` counts more than both.
///
/// # Errors
/// When that filter is none.
pub(crate) fn start(log: Log, verbose: u8) -> Result<()> {
    let level = (log.level as usize + usize::from(verbose)).min(LEVELS.len() - 1);
    let filter = match std::env::var("SUREFOOT_LOG") {
        Ok(directives) => EnvFilter::try_new(&directives)
            .map_err(|error| Failure::usage(format!("SUREFOOT_LOG=`{directives}` is not a filter: {error}")))?,
        Err(_) => EnvFilter::new(LEVELS[level]),
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(io::stderr().is_terminal());
    // Otherwise a line that cannot be written, into a file on a full disk say, is a panic where it was to be written.
    let subscriber = subscriber.log_internal_errors(false).with_writer(|| Redacted);
    match log.format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
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
