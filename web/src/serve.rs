//! Listening: connections from a TCP port or a socket file, each in a task of its own, all of them ended in order.
//!
//! What one caller does, or leaves undone, costs the others nothing: every wait for a peer has an end, here for heads
//! and for answers that nobody takes, in `extract` for bodies.

mod patient;
mod places;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use self::patient::Patient;
use self::places::Places;
use crate::app::Stopping;
use crate::peers::{Peer, Peers};
use crate::tls::Tls;

/// After how long without a sign of life a peer is asked for one.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The smallest buffer that the HTTP library has.
const BUFFER_BYTES_MIN: usize = 8192;

/// What a listener allows its callers.
#[derive(Clone, Debug)]
pub struct Connections {
    /// At one time. More have to wait until they are accepted: each takes a file descriptor, and the store needs some
    /// too. HTTP/1.1 has one request at a time on each, so it is also how many requests are at work.
    pub max: usize,
    /// Of one address, as far as [`Peers`] limits it; more are closed at once.
    pub per_address_max: Option<usize>,
    /// Size of a request's line and headers.
    pub head_bytes_max: usize,
    /// Headers of a request.
    pub headers_max: usize,
    /// How long a caller may take for the whole head of its next request.
    pub idle_max: Duration,
    /// How long a caller may take nothing of an answer.
    pub write_max: Duration,
    /// For how long requests that are being answered may go on after a shutdown began.
    pub drain_max: Duration,
    /// Whose addresses are limited.
    pub peers: Peers,
    /// Over TCP: the certificate; none for plain HTTP.
    pub tls: Option<Tls>,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            max: 1024,
            per_address_max: None,
            head_bytes_max: 64 << 10,
            headers_max: 100,
            idle_max: Duration::from_secs(60),
            write_max: Duration::from_secs(60),
            drain_max: Duration::from_secs(30),
            peers: Peers::default(),
            tls: None,
        }
    }
}

/// Serves connections of a TCP port until `shutdown` is cancelled. Requests under way have [`Connections::drain_max`]
/// to be answered; who still waits for an execution shortly before is told that it goes on later.
///
/// # Errors
/// None so far.
pub async fn serve_tcp(
    listener: TcpListener,
    router: Router,
    connections: Connections,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let (places, http) = (Places::default(), Http::new(router, &connections, shutdown.clone()));
    let attend = |stream: TcpStream, address: SocketAddr, watcher| {
        let ip = address.ip().to_canonical();
        let limit = connections.per_address_max.filter(|_| connections.peers.limits(ip));
        let place = match limit.map(|max| places.take(ip, max)) {
            Some(None) => {
                tracing::debug!(%ip, "a connection too many of one address");
                return None;
            }
            place => place.flatten(),
        };
        let (http, tls) = (http.clone(), connections.tls.clone());
        Some(async move {
            let _place = place;
            http.attend_tcp(stream, ip, tls, watcher).await
        })
    };
    let fresh = async {
        match &connections.tls {
            Some(tls) => tls.keep_fresh().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = accept(listener, &connections, shutdown, attend) => Ok(()),
        never = fresh => match never {},
    }
}

/// Like [`serve_tcp`], on a socket file that only the owner can open (mode 0600). A file that a dead server left behind
/// is replaced; that of a living one, or anything else at that path, is an error. The file is removed at the end.
///
/// # Errors
/// When the file cannot be made or removed.
pub async fn serve_unix(
    path: &Path,
    router: Router,
    connections: Connections,
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
    let http = Http::new(router, &connections, shutdown.clone());
    let attend = |stream: UnixStream, _, watcher| {
        let http = http.clone();
        Some(async move { http.attend(stream, Peer::default(), watcher).await })
    };
    accept(listener, &connections, shutdown, attend).await;
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

/// Accepts connections until the shutdown, and lets `attend` attend to each, unless it has no place for it.
async fn accept<L: Listener, F: Future<Output = ()> + Send + 'static>(
    mut listener: L,
    limits: &Connections,
    shutdown: CancellationToken,
    attend: impl Fn(L::Io, L::Addr, Watcher) -> Option<F>,
) {
    let open = GracefulShutdown::new();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = tasks.join_next() => log_panic(ended),
            (stream, address) = listener.accept(), if tasks.len() < limits.max => {
                if let Some(attended) = attend(stream, address, open.watcher()) {
                    tasks.spawn(attended);
                }
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_max, open.shutdown()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "requests were still being answered when the server stopped");
    }
    tasks.shutdown().await;
}

/// Speaks HTTP on a connection.
#[derive(Clone)]
struct Http {
    builder: http1::Builder,
    router: Router,
    write_max: Duration,
    stopping: Stopping,
}

impl Http {
    fn new(router: Router, limits: &Connections, shutdown: CancellationToken) -> Self {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(limits.idle_max)
            .max_headers(limits.headers_max)
            .max_header_size(limits.head_bytes_max)
            .max_buf_size(limits.head_bytes_max.max(BUFFER_BYTES_MIN));
        let stopping = Stopping { begun: shutdown, drain_max: limits.drain_max };
        Self { builder, router, write_max: limits.write_max, stopping }
    }

    async fn attend_tcp(self, stream: TcpStream, ip: IpAddr, tls: Option<Tls>, watcher: Watcher) {
        if let Err(error) = stream.set_nodelay(true).and_then(|()| notice_dead_peer(&stream, self.write_max)) {
            tracing::debug!(%error, "a connection keeps its defaults");
        }
        let peer = Peer { ip: Some(ip), has_tls: tls.is_some() };
        let Some(tls) = tls else {
            return self.attend(stream, peer, watcher).await;
        };
        // Who has not said anything yet loses nothing at a shutdown.
        let accepted = tokio::select! {
            accepted = tls.accept(stream) => accepted,
            () = self.stopping.begun.cancelled() => return,
        };
        match accepted {
            Ok(stream) => self.attend(stream, peer, watcher).await,
            Err(error) => tracing::debug!(%ip, %error, "no TLS was agreed on"),
        }
    }

    async fn attend<T>(self, stream: T, peer: Peer, watcher: Watcher)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Self { builder, router, write_max, stopping } = self;
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(stopping.clone());
            router.clone().oneshot(request)
        });
        let stream = TokioIo::new(Patient::new(stream, write_max));
        if let Err(error) = watcher.watch(builder.serve_connection(stream, service)).await {
            tracing::debug!(%error, "a connection broke");
        }
    }
}

/// A peer that is gone without a word is noticed, also while nothing is to be said, or when it only seems to read.
fn notice_dead_peer(stream: &TcpStream, unanswered_max: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    socket.set_tcp_user_timeout(Some(unanswered_max))
}

/// A handler that panics ends its connection and nothing else.
fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}
