//! A workspace that answers HTTP: over TCP for everybody with a token, over a socket in the data folder for its owner.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::net::SocketAddr as UnixAddress;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sha2::{Digest as _, Sha256};
use surefoot_engine::Engine;
use surefoot_web::{Access, Connections, Options};
use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::workspace;

/// How often to look whether the socket is there.
const SOCKET_POLL: Duration = Duration::from_millis(5);

/// Connections over TCP at one time, where the system allows so many open files.
const CONNECTIONS_MAX: u64 = 16_384;

/// Connections over the socket at one time.
const LOCAL_CONNECTIONS_MAX: usize = 256;

/// Open files that are left to the store, to connectors and to the socket.
const FILES_KEPT: u64 = 1024;

/// See the module. Stop it with [`Server::stop`]: dropped, it leaves running connector calls to the next start.
pub(crate) struct Server {
    engine: Engine,
    address: SocketAddr,
    socket: PathBuf,
    stop: CancellationToken,
    listeners: JoinSet<Result<()>>,
}

/// An address that is taken for a server, before the workspace is opened and goes to work: where nobody can listen,
/// nothing is begun. Callers wait from then on.
pub(crate) struct Endpoint {
    listener: TcpListener,
    hosts: Vec<String>,
}

impl Endpoint {
    /// Takes the address, for a server on that data folder; port 0 takes a free one. `hosts` are names under which
    /// callers reach it, beside those of the loopback.
    pub(crate) async fn bind(listen: &str, hosts: Vec<String>, data: &Path) -> Result<Self> {
        let socket = workspace::socket(data);
        UnixAddress::from_pathname(&socket).map_err(|error| no_socket(&socket, &error))?;
        Ok(Self { listener: bind(listen).await?, hosts })
    }
}

impl Server {
    /// Begins to answer. The engine is the server's from then on; where it cannot answer, it is closed.
    pub(crate) async fn start(engine: Engine, endpoint: Endpoint) -> Result<Self> {
        let started = Self::answer(engine.clone(), endpoint).await;
        if started.is_err() {
            // In order, since an engine that just dies counts against what it had at work.
            engine.shutdown(Duration::ZERO).await.map_err(Failure::from)?;
        }
        started
    }

    async fn answer(engine: Engine, endpoint: Endpoint) -> Result<Self> {
        let data = engine.data().to_owned();
        let token = workspace::token(&data)?;
        let Endpoint { listener, mut hosts } = endpoint;
        let address = listener.local_addr()?;
        if !address.ip().is_unspecified() {
            hosts.push(match address {
                SocketAddr::V4(v4) => v4.ip().to_string(),
                SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
            });
        }
        let access = Access::Remote { hosts, token_sha256: hex::encode(Sha256::digest(token.as_bytes())) };
        let remote = surefoot_web::router(engine.clone(), Options::new(access));
        let socket = workspace::socket(&data);
        let stop = CancellationToken::new();
        let mut listeners = JoinSet::new();
        let stopped = stop.clone();
        let connections = Connections { max: connections_max(), ..Connections::default() };
        let of_owner = Connections { max: LOCAL_CONNECTIONS_MAX, ..Connections::default() };
        listeners.spawn(async move { Ok(surefoot_web::serve_tcp(listener, remote, connections, stopped).await?) });
        let (local, path, stopped) = (local_router(&engine), socket.clone(), stop.clone());
        listeners.spawn(async move {
            let served = surefoot_web::serve_unix(&path, local, of_owner, stopped).await;
            served.map_err(|error| no_socket(&path, &error))
        });
        let mut server = Self { engine, address, socket, stop, listeners };
        server.until_reachable().await?;
        Ok(server)
    }

    /// Returns when the socket answers: whoever is told about the server then finds it.
    async fn until_reachable(&mut self) -> Result<()> {
        let socket = self.socket.clone();
        let answers = async {
            while UnixStream::connect(&socket).await.is_err() {
                tokio::time::sleep(SOCKET_POLL).await;
            }
        };
        tokio::select! {
            () = answers => Ok(()),
            error = self.failed() => Err(error),
        }
    }

    /// Where it is reached on this machine.
    pub(crate) fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{address}")
    }

    /// The socket of its owner.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns only when a listener ends by itself, which none should.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        match self.listeners.join_next().await {
            Some(Ok(Err(error))) => error.context("the server stopped listening"),
            Some(Err(error)) => anyhow::Error::from(error).context("a listener broke"),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("the server stopped listening"),
        }
    }

    /// Takes nothing new, lets callers get their answers, lets connector calls end for at most `grace`, closes the
    /// workspace.
    pub(crate) async fn stop(mut self, grace: Duration) -> Result<()> {
        self.stop.cancel();
        // Each listener has a grace period of its own, and ends.
        while let Some(ended) = self.listeners.join_next().await {
            if let Ok(Err(error)) = ended {
                tracing::warn!("a listener ended badly: {error:#}");
            }
        }
        Ok(self.engine.shutdown(grace).await.map_err(Failure::from)?)
    }
}

/// As many as this process may have open files for, after it has asked for as many as it may have.
fn connections_max() -> usize {
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = hard.min(CONNECTIONS_MAX + FILES_KEPT);
        if soft < wanted {
            setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
        }
        Ok(soft.max(wanted))
    });
    let allowed = allowed.unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files cannot be asked for or raised");
        FILES_KEPT
    });
    // A small limit is shared; connections then cannot take all of it.
    let for_connections = allowed.saturating_sub(FILES_KEPT).max(allowed / 2).min(CONNECTIONS_MAX);
    usize::try_from(for_connections).unwrap_or(usize::MAX)
}

/// Everything that is served, for the owner of the workspace.
pub(crate) fn local_router(engine: &Engine) -> Router {
    surefoot_web::router(engine.clone(), Options::new(Access::Local))
}

async fn bind(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => {
            let failure = Failure::usage(format!("`{address}` is no address to listen on: {error}"));
            failure.hint("Write HOST:PORT, such as 127.0.0.1:7070; port 0 takes a free one.").into()
        }
        _ => {
            let failure = Failure::unavailable(format!("cannot listen on {address}: {error}"));
            failure.hint("Choose another address with --listen; port 0 takes a free one.").into()
        }
    })
}

fn no_socket(socket: &Path, error: &std::io::Error) -> anyhow::Error {
    let failure = Failure::usage(format!("cannot listen on the socket {}: {error}", socket.display()));
    failure.hint("A socket's path has at most 107 bytes: choose a data folder with a shorter one.").into()
}
