//! One line of the allow-list: its text forms and what it matches.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One entry of the allow-list: `*`, a host name, `*.example.com` (any name below, not `example.com` itself), an
/// address,
/// or a network such as `10.0.0.0/8`; each with `:PORT` behind it where only that port is meant. IPv6 takes brackets
/// then: `[fd00::/8]:22`. Upper and lower case are the same. As data it is its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EgressRule {
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    Name(String),
    Below(String),
    Address(IpAddr),
    Network { address: IpAddr, prefix: u8 },
}

/// Why a text is not a rule of the allow-list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{rule}\" is not an egress rule: {why}")]
pub struct EgressRuleError {
    /// The text.
    pub rule: String,
    /// What is wrong with it, and what to write instead.
    pub why: String,
}

impl EgressRule {
    pub(super) fn covers_port(&self, port: u16) -> bool {
        self.port.is_none_or(|only| only == port)
    }

    /// Whether it names this host, so that its addresses need not be listed.
    pub(super) fn allows_host(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        match &self.host {
            Host::Any => true,
            Host::Name(name) => *name == host,
            Host::Below(domain) => host
                .strip_suffix(domain.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|rest| !rest.is_empty()),
            Host::Address(_) | Host::Network { .. } => false,
        }
    }

    /// Whether it names this address, by itself or as part of a network.
    pub(super) fn allows_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match &self.host {
            Host::Any => true,
            Host::Name(_) | Host::Below(_) => false,
            Host::Address(only) => *only == address,
            Host::Network { address: network, prefix } => same_prefix(*network, address, *prefix),
        }
    }

    /// Whether it can allow a name only by what the name resolves to.
    pub(super) fn names_addresses(&self) -> bool {
        matches!(self.host, Host::Address(_) | Host::Network { .. })
    }
}

impl FromStr for EgressRule {
    type Err = EgressRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let failed = |why: String| EgressRuleError { rule: text.to_owned(), why };
        let (host, port) = split_port(text.trim()).map_err(failed)?;
        let port = match port {
            None => None,
            Some(digits) => match digits.parse::<u16>() {
                Ok(port) if port > 0 && digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(port),
                _ => return Err(failed(format!("`{digits}` is not a port; write a number from 1 to 65535"))),
            },
        };
        Ok(Self { host: parse_host(host).map_err(failed)?, port })
    }
}

impl TryFrom<String> for EgressRule {
    type Error = EgressRuleError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<EgressRule> for String {
    fn from(rule: EgressRule) -> Self {
        rule.to_string()
    }
}

impl fmt::Display for EgressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match &self.host {
            Host::Any => "*".to_owned(),
            Host::Name(name) => name.clone(),
            Host::Below(domain) => format!("*.{domain}"),
            Host::Address(address) => address.to_string(),
            Host::Network { address, prefix } => format!("{address}/{prefix}"),
        };
        match self.port {
            None => f.write_str(&host),
            Some(port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Some(port) => write!(f, "{host}:{port}"),
        }
    }
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the bracket is never closed")?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(format!("`{rest}` stands behind the bracket; only `:PORT` may")),
        };
    }
    match text.split_once(':') {
        // More than one colon is an IPv6 address, which takes brackets before a port.
        Some((_, port)) if port.contains(':') => Ok((text, None)),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn parse_host(host: &str) -> Result<Host, String> {
    if host == "*" {
        return Ok(Host::Any);
    }
    if let Some((address, prefix)) = host.split_once('/') {
        return parse_network(address, prefix);
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Host::Address(address.to_canonical()));
    }
    match host.strip_prefix("*.") {
        Some(domain) => Ok(Host::Below(parse_name(domain)?)),
        None => Ok(Host::Name(parse_name(host)?)),
    }
}

fn parse_network(address: &str, prefix: &str) -> Result<Host, String> {
    let address: IpAddr = address.parse().map_err(|_| format!("`{address}` is not an address"))?;
    let longest: u8 = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix
        .parse::<u8>()
        .ok()
        .filter(|length| *length <= longest)
        .ok_or_else(|| format!("`/{prefix}` is not a prefix length; write a number from 0 to {longest}"))?;
    let network = masked(address, prefix);
    if network != address {
        return Err(format!("{address} has bits set behind the prefix; write {network}/{prefix}"));
    }
    Ok(Host::Network { address, prefix })
}

fn parse_name(name: &str) -> Result<String, String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err("the host is missing".into());
    }
    if name.contains('*') {
        return Err("`*` stands alone or as `*.` before a domain".into());
    }
    if !name.is_ascii() {
        return Err("write the name in its ASCII form (xn--…)".into());
    }
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if name.len() > 253 || !name.split('.').all(label_fits) {
        return Err(format!("`{name}` is neither a host name nor an address nor a network"));
    }
    // A name whose last part is a number is a mistyped address: no such top-level domain exists.
    if name.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(format!("`{name}` is not a complete address"));
    }
    Ok(name.to_ascii_lowercase())
}

fn same_prefix(network: IpAddr, address: IpAddr, prefix: u8) -> bool {
    network.is_ipv4() == address.is_ipv4() && masked(address, prefix) == network
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}
