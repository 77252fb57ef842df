//! What the parts of the program note goes to standard error, as text or as JSON.

use std::io::IsTerminal as _;

use anyhow::Result;
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
    let writer = std::io::stderr;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(writer().is_terminal());
    // Otherwise a line that cannot be written, into a file on a full disk say, is a panic where it was to be written.
    let subscriber = subscriber.log_internal_errors(false).with_writer(writer);
    match log.format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}
