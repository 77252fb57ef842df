//! What a server is told and what it tells: settings, TLS, proxies, supervisor, metrics, log; and what callers that do
//! harm do to the others: nothing. The real binary, and real sockets.

mod drain;
mod hostile;
mod log;
mod metrics;
mod proxies;
mod settings;
mod supervisor;
mod support;
mod tls;
