//! The exit codes: part of the interface, like the names of the commands. Pipelines branch on them, so no number ever
//! changes its meaning, and 0 to 3 are never used for anything but a verdict.

/// Done; of a run: it succeeded.
pub(crate) const SUCCESS: u8 = 0;
/// A run failed or was cancelled; a webhook, a connector test or the demo answered with a failure; a backup lacks
/// something; `doctor` found something that needs somebody.
pub(crate) const RUN_FAILED: u8 = 1;
/// The command cannot be done as it was asked: unknown options, missing records, refused values.
pub(crate) const USAGE: u8 = 64;
/// The server cannot be reached or takes no work, or another process holds the workspace.
pub(crate) const UNAVAILABLE: u8 = 69;
/// Something broke that is not the caller's fault.
pub(crate) const INTERNAL: u8 = 70;
/// Stopped at once by a second Ctrl-C: 128 + SIGINT, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;
