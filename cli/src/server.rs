//! A workspace that answers HTTP: over TCP for everybody with a token, over a socket in the data folder for its owner.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::net::SocketAddr as UnixAddress;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sha2::{Digest as _, Sha256};
use surefoot_engine::Engine;
use surefoot_web::{Access, Connections, Options, Peers, Tls, TlsError};
use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::settings::{Limit, Settings};
use crate::workspace;

/// How often to look whether the socket is there.
const SOCKET_POLL: Duration = Duration::from_millis(5);

/// Connections over the socket at one time.
const LOCAL_CONNECTIONS_MAX: usize = 256;

/// Open files that are left to the store, to connectors and to the socket.
const FILES_KEPT: usize = 1024;

/// See the module. Stop it with [`Server::stop`]: dropped, it leaves running connector calls to the next start.
pub(crate) struct Server {
    engine: Engine,
    address: SocketAddr,
    tls: Option<Tls>,
    socket: PathBuf,
    stop: CancellationToken,
    listeners: JoinSet<Result<()>>,
}

/// An address that is taken for a server, before the workspace is opened and goes to work: where nobody can listen,
/// nothing is begun. Callers wait from then on.
pub(crate) struct Endpoint {
    listener: TcpListener,
    hosts: Vec<String>,
    options: Options,
    connections: Connections,
}

impl Endpoint {
    /// Takes the address, for a server on that data folder, and its certificate.
    ///
    /// # Errors
    /// When the address cannot be had, or must not be used without TLS; when the certificate is none.
    pub(crate) async fn bind(settings: &Settings, data: &Path) -> Result<Self> {
        let socket = workspace::socket(data);
        UnixAddress::from_pathname(&socket).map_err(|error| no_socket(&socket, &error))?;
        let tls = tls(settings)?;
        let listener = bind(&settings.server.listen).await?;
        refuse_in_the_open(listener.local_addr()?, settings)?;
        let limits = &settings.limits;
        let number = |limit: Limit| limit.0.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let connections = Connections {
            max: connections_max(limits.connections_max),
            per_address_max: number(limits.address_connections_max),
            head_bytes_max: limits.head_bytes_max,
            headers_max: limits.headers_max,
            idle_max: Duration::from_secs(limits.idle_seconds_max.into()),
            write_max: Duration::from_secs(limits.write_seconds_max.into()),
            drain_max: Duration::from_secs(settings.server.drain_seconds.into()),
            peers: peers(settings),
            tls,
        };
        let options = options(settings, Access::Local);
        let mut hosts = settings.server.hosts.clone();
        // Who follows a link that we sent is let in.
        hosts.extend(settings.server.public_url.as_ref().map(|url| url.host().to_owned()));
        Ok(Self { listener, hosts, options, connections })
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
        let Endpoint { listener, mut hosts, options, connections } = endpoint;
        let (address, tls) = (listener.local_addr()?, connections.tls.clone());
        if !address.ip().is_unspecified() {
            hosts.push(match address {
                SocketAddr::V4(v4) => v4.ip().to_string(),
                SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
            });
        }
        let access = Access::Remote { hosts, token_sha256: hex::encode(Sha256::digest(token.as_bytes())) };
        // Both count in the same place.
        let metrics = options.metrics.clone();
        let remote = surefoot_web::router(engine.clone(), Options { access, ..options.clone() });
        let local = surefoot_web::router(engine.clone(), options);
        let socket = workspace::socket(&data);
        let stop = CancellationToken::new();
        let mut listeners = JoinSet::new();
        let stopped = stop.clone();
        let of_owner = Connections { max: LOCAL_CONNECTIONS_MAX, tls: None, ..connections.clone() };
        listeners.spawn(async move { Ok(surefoot_web::serve_tcp(listener, remote, connections, stopped).await?) });
        let (remembered, stopped) = (engine.clone(), stop.clone());
        listeners.spawn(async move {
            let remember = metrics.remember(&remembered);
            stopped.run_until_cancelled(remember).await.map_or(Ok(()), |never| match never {})
        });
        let (path, stopped) = (socket.clone(), stop.clone());
        listeners.spawn(async move {
            let served = surefoot_web::serve_unix(&path, local, of_owner, stopped).await;
            served.map_err(|error| no_socket(&path, &error))
        });
        let mut server = Self { engine, address, tls, socket, stop, listeners };
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
        format!("http{}://{address}", if self.has_tls() { "s" } else { "" })
    }

    /// Whether it has TLS of its own.
    pub(crate) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The workspace that it serves.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Loads the certificate anew, where there is one before and after.
    ///
    /// # Errors
    /// When it cannot be used; the one before stays.
    pub(crate) fn reload_tls(&self, settings: &Settings) -> Result<()> {
        let Some((certificate, key)) = tls_files(settings)? else { return Ok(()) };
        match &self.tls {
            Some(tls) => tls.reload(certificate, key).map_err(unusable_tls),
            None => Ok(()),
        }
    }

    /// The address of the form that makes the first admin; good once. None when there is a user, or ever was.
    pub(crate) async fn setup_link(&self) -> Result<Option<String>> {
        let link = self.engine.new_setup_link().await.map_err(Failure::from)?;
        Ok(link.map(|link| self.url() + &surefoot_web::setup_path(&link.token)))
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

/// That many, or as many as this process may have open files for, after it has asked for as many as it may have.
fn connections_max(max: usize) -> usize {
    let files = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = hard.min(files(max.saturating_add(FILES_KEPT)));
        if soft < wanted {
            setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
        }
        Ok(soft.max(wanted))
    });
    let allowed = allowed.unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files cannot be asked for or raised");
        files(FILES_KEPT)
    });
    let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
    // A small limit is shared; connections then cannot take all of it.
    allowed.saturating_sub(FILES_KEPT).max(allowed / 2).min(max).max(1)
}

/// How a router is to behave.
pub(crate) fn options(settings: &Settings, access: Access) -> Options {
    let limits = &settings.limits;
    let per_second = limits.address_requests_per_second_max.0;
    Options {
        body_bytes_max: limits.body_bytes_max,
        webhook_deadline: Duration::from_secs(limits.webhook_seconds_max.into()),
        requests_per_second_max: per_second.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        peers: peers(settings),
        ..Options::new(access)
    }
}

fn peers(settings: &Settings) -> Peers {
    Peers {
        trusted: settings.server.trusted_proxies.clone(),
        forwarded: settings.server.forwarded_header,
        limits_loopback: settings.limits.loopback,
    }
}

fn tls(settings: &Settings) -> Result<Option<Tls>> {
    let load = |(certificate, key)| Tls::load(certificate, key).map_err(unusable_tls);
    tls_files(settings)?.map(load).transpose()
}

fn tls_files(settings: &Settings) -> Result<Option<(PathBuf, PathBuf)>> {
    match (&settings.tls.certificate, &settings.tls.key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some((certificate.clone(), key.clone()))),
        _ => Err(Failure::usage("`tls.certificate` and `tls.key` belong together, and one is missing").into()),
    }
}

fn unusable_tls(error: TlsError) -> anyhow::Error {
    let hint = "Name PEM files: the certificate with those above it, and its private key.";
    Failure::usage(error.to_string()).hint(hint).into()
}

/// Beyond the loopback nothing is served that others can read on the way, unless somebody said so.
fn refuse_in_the_open(address: SocketAddr, settings: &Settings) -> Result<()> {
    let is_safe = address.ip().is_loopback()
        || settings.tls.certificate.is_some()
        || !settings.server.trusted_proxies.is_empty()
        || settings.server.insecure_http;
    if is_safe {
        return Ok(());
    }
    let message = format!("listening on {address} without TLS: tokens and keys could be read on the way");
    let hint = "Give --tls-certificate and --tls-key, or --trusted-proxy for a proxy that has TLS; --insecure-http \
                listens all the same.";
    Err(Failure::usage(message).hint(hint).into())
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
