//! The rules of egress, case by case, and connections that they allow or refuse.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;

use super::*;
use crate::Sent;

fn policy(rules: &[&str]) -> EgressPolicy {
    EgressPolicy { allow: rules.iter().map(|rule| rule.parse().expect(rule)).collect() }
}

/// What the policy says of `host` when it resolves to `address`.
fn allowed(rules: &[&str], host: &str, address: &str, port: u16) -> Result<(), CallError> {
    let policy = policy(rules);
    let address = SocketAddr::new(address.parse().expect(address), port);
    match policy.access_by_name(host, port) {
        None => Err(refused(host, None, port)),
        Some(access) => permitted_addresses(access, &[address], host, port).map(|_| ()),
    }
}

#[test]
fn rules_match_names_addresses_networks_and_ports() {
    let table: [(&str, &str, &str, u16, bool); 31] = [
        ("*", "ftp.example.com", "10.1.2.3", 21, true),
        ("*:21", "ftp.example.com", "10.1.2.3", 21, true),
        ("*:21", "ftp.example.com", "10.1.2.3", 22, false),
        ("ftp.example.com", "ftp.example.com", "10.1.2.3", 21, true),
        ("FTP.Example.com", "ftp.example.COM.", "10.1.2.3", 21, true),
        ("ftp.example.com", "ftp.example.org", "10.1.2.3", 21, false),
        ("ftp.example.com", "evil-ftp.example.com", "10.1.2.3", 21, false),
        ("ftp.example.com:21", "ftp.example.com", "10.1.2.3", 2121, false),
        ("ftp.example.com", "10.1.2.3", "10.1.2.3", 21, false),
        ("*.example.com", "ftp.example.com", "10.1.2.3", 21, true),
        ("*.example.com", "a.b.example.com", "10.1.2.3", 21, true),
        ("*.example.com", "example.com", "10.1.2.3", 21, false),
        ("*.example.com", "badexample.com", "10.1.2.3", 21, false),
        ("*.example.com", ".example.com", "10.1.2.3", 21, false),
        ("*.example.com:990", "ftp.example.com", "10.1.2.3", 990, true),
        ("10.1.2.3", "10.1.2.3", "10.1.2.3", 21, true),
        ("10.1.2.3", "any.example.com", "10.1.2.3", 21, true),
        ("10.1.2.3", "any.example.com", "10.1.2.4", 21, false),
        ("10.1.2.3:21", "10.1.2.3", "10.1.2.3", 22, false),
        ("10.0.0.0/8", "any.example.com", "10.255.0.1", 21, true),
        ("10.0.0.0/8", "any.example.com", "11.0.0.1", 21, false),
        ("10.0.0.0/8:21", "any.example.com", "10.0.0.1", 22, false),
        ("0.0.0.0/0", "any.example.com", "8.8.8.8", 21, true),
        ("0.0.0.0/0", "any.example.com", "2001:db8::1", 21, false),
        ("192.168.1.128/25", "h.example.com", "192.168.1.127", 21, false),
        ("192.168.1.7/32", "h.example.com", "192.168.1.7", 21, true),
        ("10.0.0.0/8", "any.example.com", "::ffff:10.1.1.1", 21, true),
        ("::1", "localhost", "::1", 21, true),
        ("[::1]:22", "localhost", "::1", 21, false),
        ("fd00::/8", "any.example.com", "fd12::1", 21, true),
        ("[fd00::/8]:22", "any.example.com", "fe12::1", 22, false),
    ];
    for (rule, host, address, port, expected) in table {
        let result = allowed(&[rule], host, address, port);
        assert_eq!(result.is_ok(), expected, "rule {rule}: {host} ({address}) port {port}: {result:?}");
    }
    assert!(allowed(&[], "ftp.example.com", "10.1.2.3", 21).is_err(), "an empty list allows nothing");
}

#[test]
fn some_addresses_are_refused_whatever_the_list_says() {
    let never = [
        "169.254.169.254",
        "169.254.1.1",
        "fe80::1",
        "febf::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "ff02::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
    ];
    for address in never {
        for rules in [&["*"][..], &[address], &["name.example.com"], &["0.0.0.0/0", "::/0"]] {
            for host in [address, "name.example.com"] {
                let error = allowed(rules, host, address, 80).expect_err(address);
                assert_eq!((error.class, error.sent), (ErrorClass::Egress, Sent::No), "{address}: {error}");
            }
        }
    }
    assert_eq!(forbidden::reason("127.0.0.1".parse::<IpAddr>().expect("an address")), None);
}

#[test]
fn a_refusal_prints_the_line_to_add() {
    let error = allowed(&["10.9.0.0/16"], "ftp.example.com", "10.1.2.3", 21).expect_err("refused");
    assert_eq!(
        error.message,
        "egress to ftp.example.com (10.1.2.3) port 21 is not allowed; \
         add \"ftp.example.com\" to allow under [egress] in surefoot.toml"
    );
    let error = allowed(&[], "10.1.2.3", "10.1.2.3", 21).expect_err("refused");
    assert!(error.message.starts_with("egress to 10.1.2.3 port 21 is not allowed; add \"10.1.2.3\""), "{error}");
    let error = allowed(&["*"], "m.example.com", "169.254.169.254", 80).expect_err("refused");
    assert_eq!(
        error.message,
        "egress to m.example.com (169.254.169.254) port 80 is refused: a cloud's metadata address is never allowed"
    );
}

#[test]
fn only_the_permitted_ones_of_several_addresses_are_tried() {
    let policy = policy(&["10.0.0.0/8"]);
    let addresses = ["192.0.2.1:21", "10.0.0.1:21", "169.254.1.1:21"].map(|text| text.parse().expect(text));
    let access = policy.access_by_name("h.example.com", 21).expect("an address could be allowed");
    let permitted = permitted_addresses(access, &addresses, "h.example.com", 21).expect("one is");
    assert_eq!(permitted, [addresses[1]]);
}

#[test]
fn wrong_rules_say_what_to_write() {
    for (text, hint) in [
        ("", "the host is missing"),
        (":21", "the host is missing"),
        ("example.com:", "not a port"),
        ("example.com:0", "1 to 65535"),
        ("example.com:+1", "not a port"),
        ("example.com:70000", "1 to 65535"),
        ("10.1.2.3/8", "write 10.0.0.0/8"),
        ("10.0.0.0/33", "0 to 32"),
        ("fd00::1/8", "write fd00::/8"),
        ("10.1.2", "not a complete address"),
        ("*example.com", "`*` stands alone"),
        ("ftp.*.com", "`*` stands alone"),
        ("https://example.com", "not a port"),
        ("exa mple.com", "neither a host name"),
        ("münchen.de", "ASCII form"),
        ("[::1", "never closed"),
        ("[::1]22", "only `:PORT`"),
        ("a..b", "neither a host name"),
    ] {
        let error = text.parse::<EgressRule>().expect_err(text);
        assert!(error.to_string().contains(hint), "{text}: {error}");
    }
}

#[test]
fn a_rule_prints_as_it_is_read() {
    for text in ["*", "*:21", "a.example.com", "*.example.com:990", "10.0.0.0/8", "::1", "[::1]:22", "[fd00::/8]:22"] {
        let rule: EgressRule = text.parse().expect(text);
        assert_eq!(rule.to_string(), text);
        let data = serde_json::to_value(&rule).expect("a rule is data");
        assert_eq!(serde_json::from_value::<EgressRule>(data).expect("and back"), rule);
    }
}

#[tokio::test]
async fn it_connects_where_it_may_and_only_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it has one").port();
    let timeout = Duration::from_secs(10);
    for rule in ["127.0.0.1", "localhost", "127.0.0.0/8", "*"] {
        let host = if rule == "localhost" { "LOCALHOST" } else { "127.0.0.1" };
        let dialer = Dialer::new(policy(&[rule]));
        let stream = dialer.connect(host, port, timeout).await.expect(rule);
        assert!(stream.nodelay().expect("a socket option"));
        let beside = dialer.companion(&stream).expect("it is connected");
        beside.connect(port, timeout).await.expect("the same peer");
        assert_eq!(beside.connect(22, timeout).await.expect_err("a service").class, ErrorClass::Egress);
    }
    let error = Dialer::new(policy(&["10.0.0.0/8"])).connect("localhost", port, timeout).await.expect_err("refused");
    assert_eq!((error.class, error.sent), (ErrorClass::Egress, Sent::No));
    assert!(error.message.contains("localhost (") && error.message.contains("add \"localhost\""), "{error}");
}

#[tokio::test]
async fn nobody_listening_and_no_such_name_are_network_errors() {
    let port = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("it has one").port();
    let dialer = Dialer::new(policy(&["*"]));
    let error = dialer.connect("127.0.0.1", port, Duration::from_secs(10)).await.expect_err("nobody listens");
    assert_eq!((error.class, error.sent), (ErrorClass::Network, Sent::No));
    assert_eq!(error.message, format!("cannot connect to 127.0.0.1 port {port}: connection refused"));

    // `.invalid` never resolves (RFC 6761); a name service that is out of reach may take its time.
    let error = dialer.connect("nowhere.invalid", 21, Duration::from_secs(10)).await.expect_err("no such name");
    assert!(matches!(error.class, ErrorClass::Network | ErrorClass::Timeout), "{error}");
    assert_eq!(error.sent, Sent::No);
}

#[tokio::test]
async fn another_policy_holds_for_all_clones_from_then_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let dialer = Dialer::new(policy(&[]));
    let clone = dialer.clone();
    let connect = async || clone.connect("127.0.0.1", port, Duration::from_secs(10)).await.map(drop);
    assert_eq!(connect().await.unwrap_err().class, ErrorClass::Egress);
    dialer.obey(policy(&["127.0.0.1"]));
    connect().await.unwrap();
    dialer.obey(policy(&[]));
    assert_eq!(connect().await.unwrap_err().class, ErrorClass::Egress);
}
