//! Who is at the other end: the peer of a connection, and the client that a trusted proxy speaks for.
//!
//! What a request says of itself counts only when a trusted proxy says it. Everybody else's headers are as good as
//! their body.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use axum::http::header::{FORWARDED, HOST};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use serde::Deserialize;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Whose word is taken, and who is limited.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// Proxies that say who calls. They have no limits of their own: their clients have.
    pub trusted: Vec<ProxyNet>,
    /// Where proxies say it.
    pub forwarded: ForwardedHeader,
    /// Whether limits for one address are also for the loopback.
    pub limits_loopback: bool,
}

/// The address of a proxy, or a network of them: `10.0.0.5`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ProxyNet(IpNet);

/// The headers in which proxies say who calls. Only one kind is believed: a proxy that writes one kind passes the other
/// one on as its client wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// An address or network that is none.
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{0}` is neither an address nor a network; write 10.0.0.5 or 10.0.0.0/8")]
pub struct NoProxyNet(String);

impl FromStr for ProxyNet {
    type Err = NoProxyNet;

    fn from_str(text: &str) -> Result<Self, NoProxyNet> {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(Self).map_err(|_| NoProxyNet(text.to_owned()))
    }
}

impl TryFrom<String> for ProxyNet {
    type Error = NoProxyNet;

    fn try_from(text: String) -> Result<Self, NoProxyNet> {
        text.parse()
    }
}

/// The other end of a connection. An extension of each request that came over one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peer {
    /// None: not over TCP.
    pub(crate) ip: Option<IpAddr>,
    /// Whether our own TLS is between.
    pub(crate) has_tls: bool,
}

/// Who calls, as far as addresses go: the one for logs and for limits. An extension of each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientAddress {
    /// None: the owner, on the socket or in the same process.
    pub(crate) ip: Option<IpAddr>,
    /// Whether nobody could read the request on its way: by our TLS, or by the proxy's word.
    pub(crate) is_https: bool,
}

impl Peers {
    /// Who calls, by a request's headers. Where a trusted proxy names the host that was called, that one becomes the
    /// request's.
    pub(crate) fn client(&self, peer: Peer, headers: &mut HeaderMap) -> ClientAddress {
        let own = ClientAddress { ip: peer.ip, is_https: peer.has_tls };
        if !peer.ip.is_some_and(|ip| self.is_trusted(ip)) {
            return own;
        }
        let said = match self.forwarded {
            ForwardedHeader::XForwarded => Said::in_x_forwarded(headers),
            ForwardedHeader::Forwarded => Said::in_forwarded(headers),
        };
        if let Some(host) = said.host.and_then(|host| HeaderValue::from_str(&host).ok()) {
            headers.insert(HOST, host);
        }
        let is_https = said.proto.map_or(own.is_https, |proto| proto.eq_ignore_ascii_case("https"));
        ClientAddress { ip: self.outermost(peer.ip, &said.hops), is_https }
    }

    /// Whether limits for one address are for this one.
    pub(crate) fn limits(&self, ip: IpAddr) -> bool {
        !self.is_trusted(ip) && (self.limits_loopback || !ip.to_canonical().is_loopback())
    }

    fn is_trusted(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|proxy| proxy.0.contains(&ip.to_canonical()))
    }

    /// From the nearest hop outwards, the first one that is no trusted proxy. What comes before something that is no
    /// address is not believed.
    fn outermost(&self, peer: Option<IpAddr>, hops: &[String]) -> Option<IpAddr> {
        let mut client = peer;
        for hop in hops.iter().rev() {
            let Some(ip) = address(hop) else { break };
            client = Some(ip);
            if !self.is_trusted(ip) {
                break;
            }
        }
        client
    }
}

/// What stands for an address where it is counted: of IPv6 the network, since one caller has all of it.
pub(crate) fn counted_as(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

/// What proxies said: the hops from the client on, and of the last one how and where it was called.
#[derive(Default)]
struct Said {
    hops: Vec<String>,
    proto: Option<String>,
    host: Option<String>,
}

impl Said {
    fn in_x_forwarded(headers: &HeaderMap) -> Self {
        let last = |name| elements(headers, &name, ',').pop();
        let (proto, host) = (last(X_FORWARDED_PROTO), last(X_FORWARDED_HOST));
        Self { hops: elements(headers, &X_FORWARDED_FOR, ','), proto, host }
    }

    fn in_forwarded(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        for element in elements(headers, &FORWARDED, ',') {
            let field = |wanted: &str| {
                let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
                let found = pairs.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                found.map(|(_, value)| value.trim_matches('"').to_owned())
            };
            said.hops.push(field("for").unwrap_or_default());
            (said.proto, said.host) = (field("proto"), field("host"));
        }
        said
    }
}

/// The parts of all headers of that name, in their order.
fn elements(headers: &HeaderMap, name: &HeaderName, separator: char) -> Vec<String> {
    let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
    values.flat_map(|value| value.split(separator)).map(|part| part.trim().to_owned()).collect()
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let ip = bare.parse::<IpAddr>().ok().or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|at| at.ip()));
    ip.map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(forwarded: ForwardedHeader) -> Peers {
        let trusted = ["10.0.0.0/8", "fd00::1"].map(|net| net.parse().unwrap()).to_vec();
        Peers { trusted, forwarded, limits_loopback: false }
    }

    /// The client, and the host that its request names.
    fn client(peers: &Peers, peer: &str, headers: &[(&'static str, &str)]) -> (String, bool, String) {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let mut all = HeaderMap::from_iter([(HOST, HeaderValue::from_static("inner"))]);
        for (name, value) in headers {
            all.append(name, value);
        }
        let client = peers.client(Peer { ip: Some(peer.parse().unwrap()), has_tls: false }, &mut all);
        (client.ip.unwrap().to_string(), client.is_https, all[HOST].to_str().unwrap().to_owned())
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_as_far_as_they_reach() {
        let peers = peers(ForwardedHeader::XForwarded);
        let all = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "outer")];
        let plain = |ip: &str| (ip.to_owned(), false, "inner".to_owned());
        assert_eq!(client(&peers, "203.0.113.9", &all), plain("203.0.113.9"));
        assert_eq!(client(&peers, "10.1.2.3", &all), ("192.0.2.1".into(), true, "outer".into()));
        assert_eq!(client(&peers, "fd00::1", &all).0, "192.0.2.1");
        assert_eq!(client(&peers, "fd00::2", &all).0, "fd00::2");
        assert_eq!(client(&peers, "::ffff:10.0.0.1", &all).0, "192.0.2.1");
        for (chain, expected) in [
            ("198.51.100.7, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
            ("198.51.100.7, 10.0.0.3, 10.0.0.2", "198.51.100.7"),
            ("10.0.0.4, 10.0.0.3", "10.0.0.4"),
            ("192.0.2.1, unknown, 10.0.0.2", "10.0.0.2"),
            ("192.0.2.1, ", "10.1.2.3"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("192.0.2.1:8080", "192.0.2.1"),
        ] {
            assert_eq!(client(&peers, "10.1.2.3", &[("x-forwarded-for", chain)]), plain(expected), "{chain}");
        }
        let twice = [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client(&peers, "10.1.2.3", &twice).0, "192.0.2.1");
        assert_eq!(client(&peers, "10.1.2.3", &[("forwarded", "for=192.0.2.1")]), plain("10.1.2.3"));
        assert_eq!(client(&peers, "10.1.2.3", &[]), plain("10.1.2.3"));
    }

    #[test]
    fn forwarded_is_read_as_its_specification_has_it() {
        let peers = peers(ForwardedHeader::Forwarded);
        let said = |text| client(&peers, "10.1.2.3", &[("forwarded", text), ("x-forwarded-for", "192.0.2.99")]);
        let text =
            r#"for=198.51.100.7;host=spoofed, For="[2001:db8::1]:4711"; Proto=HTTPS;host="outer:1", for=10.0.0.2"#;
        assert_eq!(said(text).0, "2001:db8::1");
        assert_eq!(said("for=192.0.2.1;proto=https;host=outer"), ("192.0.2.1".into(), true, "outer".into()));
        assert_eq!(said("for=_hidden;proto=http").0, "10.1.2.3");
        assert_eq!(said("proto=http").0, "10.1.2.3");
    }

    #[test]
    fn limits_are_for_strangers() {
        let mut peers = peers(ForwardedHeader::XForwarded);
        let limits = |peers: &Peers, ip: &str| peers.limits(ip.parse().unwrap());
        for (ip, expected) in [("192.0.2.1", true), ("10.0.0.1", false), ("127.0.0.1", false), ("::1", false)] {
            assert_eq!(limits(&peers, ip), expected, "{ip}");
        }
        peers.limits_loopback = true;
        assert!(limits(&peers, "127.0.0.1") && !limits(&peers, "10.0.0.1"));
        assert_eq!(counted_as("2001:db8::1:2:3:4".parse().unwrap()), "2001:db8::".parse::<IpAddr>().unwrap());
        assert_eq!(counted_as("::ffff:192.0.2.1".parse().unwrap()), "192.0.2.1".parse::<IpAddr>().unwrap());
    }
}
