//! Listening: connections from a TCP port or a socket file, each in a task of its own, all of them ended in order.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use axum::serve::{Listener, ListenerExt};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::Stopping;

/// For how long requests that are being answered may go on after a shutdown began.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// How long a caller may take to send the head of a request, and how long a connection may be idle.
const HEADER_READ_MAX: Duration = Duration::from_secs(60);

/// Serves connections of a TCP port until `shutdown` is cancelled. Who waits for an execution then is told at once that
/// the server stops; other requests get ten seconds to be answered.
///
/// More than `connections_max` connections have to wait until they are accepted: each takes a file descriptor, and the
/// store needs some too.
pub async fn serve_tcp(
    listener: TcpListener,
    router: Router,
    connections_max: usize,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
    });
    serve(listener, router, connections_max, shutdown).await;
    Ok(())
}

/// Like [`serve_tcp`], on a socket file that only the owner can open (mode 0600). A file that a dead server left behind
/// is replaced; that of a living one, or anything else at that path, is an error. The file is removed at the end.
pub async fn serve_unix(
    path: &Path,
    router: Router,
    connections_max: usize,
    shutdown: CancellationToken,
) -> io::Result<()> {
    refuse_unless_stale(path).await?;
    // Nobody can connect before the mode is set: under its name the socket appears with it.
    let hidden = path.with_extension("new");
    refuse_unless_stale(&hidden).await?;
    remove_if_there(&hidden)?;
    let listener = UnixListener::bind(&hidden)?;
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&hidden, path)?;
    serve(listener, router, connections_max, shutdown).await;
    remove_if_there(path)
}

async fn refuse_unless_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            let text = format!("{} is not a socket; move it away", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Ok(_) => {
            let text = format!("another server listens on {}; stop it first", path.display());
            Err(io::Error::new(io::ErrorKind::AddrInUse, text))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn serve<L: Listener>(mut listener: L, router: Router, connections_max: usize, shutdown: CancellationToken) {
    let router = router.layer(Extension(Stopping(shutdown.clone())));
    let open = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = connections.join_next() => log_panic(ended),
            (stream, _) = listener.accept(), if connections.len() < connections_max => {
                let service = TowerToHyperService::new(router.clone());
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_READ_MAX)
                    .serve_connection(TokioIo::new(stream), service);
                let connection = open.watch(connection);
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection broke");
                    }
                });
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(SHUTDOWN_GRACE, open.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests were still being answered when the server stopped");
    }
    connections.shutdown().await;
}

/// A handler that panics ends its connection and nothing else.
fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}
