//! The only way out: resolves a host, checks the egress policy on the resolved addresses, connects.
//!
//! Nothing here speaks a protocol, and no connector opens a socket of its own.

mod forbidden;
mod rule;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

pub use self::rule::{EgressRule, EgressRuleError};
use crate::{CallError, ErrorClass};

/// Which hosts connectors may reach. Link-local, metadata, unspecified and multicast addresses are refused whatever the
/// list says.
#[derive(Clone, Debug, Default)]
pub struct EgressPolicy {
    /// Allowed hosts. Empty: none.
    pub allow: Vec<EgressRule>,
}

/// Opens connections for connectors. Clones obey the same policy.
#[derive(Clone, Debug)]
pub struct Dialer {
    policy: Arc<RwLock<Arc<EgressPolicy>>>,
}

impl Dialer {
    /// A dialer that obeys `policy`.
    pub fn new(policy: EgressPolicy) -> Self {
        Self { policy: Arc::new(RwLock::new(Arc::new(policy))) }
    }

    /// Obeys another policy from now on. What is connected stays so.
    pub fn obey(&self, policy: EgressPolicy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    fn policy(&self) -> Arc<EgressPolicy> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connects to `host:port` within `timeout`, which covers the name service and every address that is tried.
    ///
    /// A rule that names the host allows the addresses to which the name resolves now; a rule with an address or
    /// network
    /// allows any name that resolves into it. Every error is [`Sent::No`](crate::Sent::No): [`ErrorClass::Egress`] when
    /// the policy says no (the message prints the line to add), [`ErrorClass::Network`] when the name does not resolve
    /// or nothing answers, [`ErrorClass::Timeout`] when the time runs out.
    pub async fn connect(&self, host: &str, port: u16, timeout: Duration) -> Result<TcpStream, CallError> {
        let deadline = Instant::now() + timeout;
        let host = unbracketed(host);
        if host.is_empty() {
            return Err(CallError::not_sent(ErrorClass::InvalidInput, "the host name is empty"));
        }
        let policy = self.policy();
        let Some(access) = policy.access_by_name(host, port) else {
            return Err(refused(host, None, port));
        };
        let resolved = resolve(host, port, timeout, deadline).await?;
        let permitted = permitted_addresses(access, &resolved, host, port)?;
        connect_any(&permitted, host, timeout, deadline).await
    }

    /// A dialer for further connections to the peer of `control`: what a protocol with several connections needs, such
    /// as FTP for its data. It reaches no other host, whatever the peer asks for.
    pub fn companion(&self, control: &TcpStream) -> Result<CompanionDialer, CallError> {
        match control.peer_addr() {
            Ok(peer) => Ok(CompanionDialer { peer: peer.ip() }),
            Err(error) => Err(CallError::not_sent(ErrorClass::Network, format!("the connection is gone: {error}"))),
        }
    }
}

/// Opens further connections to a peer that the policy has already allowed; see [`Dialer::companion`].
#[derive(Clone, Copy, Debug)]
pub struct CompanionDialer {
    peer: IpAddr,
}

impl CompanionDialer {
    /// Connects to another port of the peer. Ports below 1024 are refused: they belong to services, and a peer that
    /// names one wants us to talk to something else.
    pub async fn connect(&self, port: u16, timeout: Duration) -> Result<TcpStream, CallError> {
        if port < 1024 {
            let message =
                format!("the peer {} asks for a further connection to its port {port}, a service's", self.peer);
            return Err(CallError::not_sent(ErrorClass::Egress, message));
        }
        let address = SocketAddr::new(self.peer, port);
        connect_any(&[address], &self.peer.to_string(), timeout, Instant::now() + timeout).await
    }
}

/// What the rules say about a host before its addresses are known.
enum Access<'a> {
    /// A rule names the host: whatever it resolves to now is meant.
    Named,
    /// Rules name addresses: each resolved one is looked up.
    ByAddress(&'a EgressPolicy),
}

impl EgressPolicy {
    /// None when no rule could allow this host, so that not even the name service hears of it.
    fn access_by_name(&self, host: &str, port: u16) -> Option<Access<'_>> {
        let for_port = || self.allow.iter().filter(move |rule| rule.covers_port(port));
        if for_port().any(|rule| rule.allows_host(host)) {
            return Some(Access::Named);
        }
        match host.parse::<IpAddr>() {
            Ok(address) => for_port().any(|rule| rule.allows_address(address)).then_some(Access::ByAddress(self)),
            Err(_) => for_port().any(EgressRule::names_addresses).then_some(Access::ByAddress(self)),
        }
    }
}

impl Access<'_> {
    fn allows(&self, address: SocketAddr) -> bool {
        match self {
            Self::Named => true,
            Self::ByAddress(policy) => {
                policy.allow.iter().any(|rule| rule.covers_port(address.port()) && rule.allows_address(address.ip()))
            }
        }
    }
}

fn permitted_addresses(
    access: Access<'_>,
    resolved: &[SocketAddr],
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, CallError> {
    let mut refusal = None;
    let mut permitted = Vec::new();
    for address in resolved {
        let ip = address.ip().to_canonical();
        if let Some(what) = forbidden::reason(ip) {
            let message =
                format!("egress to {} port {port} is refused: {what} is never allowed", shown(host, Some(ip)));
            refusal.get_or_insert_with(|| CallError::not_sent(ErrorClass::Egress, message));
        } else if access.allows(*address) {
            permitted.push(*address);
        } else {
            refusal.get_or_insert_with(|| refused(host, Some(ip), port));
        }
    }
    match (permitted.is_empty(), refusal) {
        (false, _) => Ok(permitted),
        (true, Some(refusal)) => Err(refusal),
        (true, None) => Err(CallError::not_sent(ErrorClass::Network, format!("`{host}` has no address"))),
    }
}

fn refused(host: &str, address: Option<IpAddr>, port: u16) -> CallError {
    let message = format!(
        "egress to {} port {port} is not allowed; add \"{host}\" to allow under [egress] in surefoot.toml",
        shown(host, address)
    );
    CallError::not_sent(ErrorClass::Egress, message)
}

/// `name (address)`, or just the address where that is what was asked for.
fn shown(host: &str, address: Option<IpAddr>) -> String {
    match address {
        Some(address) if host.parse() != Ok(address) => format!("{host} ({address})"),
        _ => host.to_owned(),
    }
}

/// `[::1]` as people write it in addresses, without the brackets.
fn unbracketed(host: &str) -> &str {
    let host = host.trim();
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

async fn resolve(host: &str, port: u16, timeout: Duration, deadline: Instant) -> Result<Vec<SocketAddr>, CallError> {
    match tokio::time::timeout_at(deadline, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(error)) => {
            Err(CallError::not_sent(ErrorClass::Network, format!("cannot resolve `{host}`: {}", plain(&error))))
        }
        Err(_) => Err(out_of_time(&format!("resolving `{host}`"), timeout)),
    }
}

/// Tries the addresses one after the other; each gets an equal share of the time that is left, so that one which
/// swallows packets does not use up the time of the next.
async fn connect_any(
    addresses: &[SocketAddr],
    host: &str,
    timeout: Duration,
    deadline: Instant,
) -> Result<TcpStream, CallError> {
    let mut failure = None;
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let shares = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match tokio::time::timeout(left / shares, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small requests wait for an answer in every protocol here; delaying them only costs time.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, %address, "cannot set nodelay");
                }
                return Ok(stream);
            }
            Ok(Err(error)) => {
                let name = shown(host, Some(address.ip()));
                let message = format!("cannot connect to {name} port {}: {}", address.port(), plain(&error));
                failure = Some(CallError::not_sent(ErrorClass::Network, message));
            }
            Err(_) => {
                let name = shown(host, Some(address.ip()));
                failure = Some(out_of_time(&format!("connecting to {name} port {}", address.port()), timeout));
            }
        }
    }
    Err(failure.unwrap_or_else(|| CallError::not_sent(ErrorClass::Network, format!("`{host}` has no address"))))
}

fn out_of_time(doing: &str, timeout: Duration) -> CallError {
    CallError::not_sent(ErrorClass::Timeout, format!("{doing} took longer than {} s", timeout.as_secs_f64()))
}

/// The system's text in our style: lower case, without the error number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}
