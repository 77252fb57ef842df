//! Addresses that nobody may reach through a connector, whatever the allow-list says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where clouds hand out credentials to whoever asks, apart from the link-local ones.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Why the address is never reached: what kind of address it is. None where the list decides.
pub(super) fn reason(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => reason_v4(address),
        IpAddr::V6(address) => embedded_v4(address).map_or_else(|| reason_v6(address), reason_v4),
    }
}

fn reason_v4(address: Ipv4Addr) -> Option<&'static str> {
    if address == Ipv4Addr::new(169, 254, 169, 254) || METADATA_V4.contains(&address) {
        Some("a cloud's metadata address")
    } else if address.is_link_local() {
        Some("a link-local address")
    } else if address.octets()[0] == 0 {
        Some("an unspecified address")
    } else if address.is_multicast() || address.is_broadcast() {
        Some("a multicast or broadcast address")
    } else {
        None
    }
}

fn reason_v6(address: Ipv6Addr) -> Option<&'static str> {
    if METADATA_V6.contains(&address) {
        Some("a cloud's metadata address")
    } else if address.is_unicast_link_local() {
        Some("a link-local address")
    } else if address.is_unspecified() {
        Some("an unspecified address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else {
        None
    }
}

/// The IPv4 address that a mapped (`::ffff:0:0/96`) or translated (NAT64, `64:ff9b::/96`) address leads to.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d] = [12, 13, 14, 15].map(|index| address.octets()[index]);
    let nat64 = address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    address.to_ipv4_mapped().or_else(|| nat64.then(|| Ipv4Addr::new(a, b, c, d)))
}
