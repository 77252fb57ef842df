//! The connector type `ftp` against ProFTPD and pyftpdlib, and against peers that misbehave.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use surefoot_connector_api::{CallError, Connector, Effect, ErrorClass, Sent};
use surefoot_connectors::ftp::Ftp;
use surefoot_tests::connector_harness::{
    CallOptions, MemoryGrowth, TestFiles, call, call_with, generated_sha256, merged, runs_elsewhere, sha256,
};
use surefoot_tests::servers::certificates::TestCertificates;
use surefoot_tests::servers::ftp::{FtpServer, PASSWORD, ProFtpdOptions, USER};
use surefoot_tests::servers::stand_in::{CutAfter, FtpEnding, StandIn, ftp_stand_in};

/// Inputs for a server on that port, with `more` on top.
fn inputs(port: u16, more: Value) -> Value {
    let mut inputs = json!({
        "hostname": "localhost", "port": port, "username": USER, "password": PASSWORD,
        "connect_timeout": 10, "socket_timeout": 10,
    });
    let all = inputs.as_object_mut().expect("an object");
    all.extend(more.as_object().expect("an object").clone());
    inputs
}

async fn ftp(port: u16, files: &TestFiles, more: Value) -> Result<Value, CallError> {
    call(&Ftp, files, inputs(port, more)).await
}

#[tokio::test]
async fn a_file_makes_the_round_trip_on_each_server() -> Result<()> {
    let tls = TestCertificates::generate()?;
    let with_tls = json!({ "tls": "explicit", "server_ca": tls.ca });
    let proftpd_tls = ProFtpdOptions { tls: Some(tls.clone()), tls_required: true, ..Default::default() };
    let implicit = json!({ "tls": "implicit", "server_ca": tls.ca });
    let proftpd_implicit = ProFtpdOptions { tls_implicit: true, ..proftpd_tls.clone() };
    let forbidding = ProFtpdOptions { keep_existing: true, ..Default::default() };
    for (name, server, extra) in [
        ("proftpd", FtpServer::proftpd(&ProFtpdOptions::default())?, json!({})),
        ("proftpd that keeps existing files", FtpServer::proftpd(&forbidding)?, json!({})),
        ("proftpd with TLS", FtpServer::proftpd(&proftpd_tls)?, with_tls.clone()),
        ("proftpd with implicit TLS", FtpServer::proftpd(&proftpd_implicit)?, implicit),
        ("pyftpdlib", FtpServer::pyftpdlib(None)?, json!({})),
        ("pyftpdlib with TLS", FtpServer::pyftpdlib(Some(&tls))?, with_tls),
    ] {
        round_trip(&server, &extra).await.with_context(|| format!("{name}; it says:\n{}", server.log()))?;
    }
    Ok(())
}

/// Everything that a session can do, and the leftovers at the end.
async fn round_trip(server: &FtpServer, extra: &Value) -> Result<()> {
    let files = TestFiles::new();
    let content = (0..200_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    files.put("a.bin", content.clone());
    let with = |more: Value| {
        let mut all = extra.clone();
        all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        all
    };

    ftp(server.port(), &files, with(json!({ "mode": "mkdir", "path": "in" }))).await?;
    let upload = with(json!({ "src": "surefoot:a.bin", "dst": "in/grüße a.bin" }));
    // Twice: the second one replaces the first, and leaves nothing else.
    for _ in 0..2 {
        let output = ftp(server.port(), &files, upload.clone()).await?;
        assert_eq!(output, json!({ "size_bytes": content.len(), "sha256": sha256(&content) }));
    }
    assert_eq!(server.names("in")?, ["grüße a.bin"]);
    assert_eq!(std::fs::read(server.home().join("in/grüße a.bin"))?, content);

    let download = with(json!({ "src": "in/grüße a.bin", "dst": "cloudomation:b.bin" }));
    for _ in 0..2 {
        let output = ftp(server.port(), &files, download.clone()).await?;
        assert_eq!(output, json!({ "size_bytes": content.len(), "sha256": sha256(&content) }));
        assert_eq!(files.get("b.bin").as_deref(), Some(&content[..]));
    }

    let stat = ftp(server.port(), &files, with(json!({ "mode": "stat", "path": "in/grüße a.bin" }))).await?;
    assert_eq!(stat["stats"]["type"], "file", "{stat}");
    assert_eq!(stat["stats"]["size_bytes"], content.len(), "{stat}");
    let stat = ftp(server.port(), &files, with(json!({ "mode": "stat", "path": "in" }))).await?;
    assert_eq!((&stat["stats"]["type"], &stat["stats"]["name"]), (&json!("directory"), &json!("in")), "{stat}");

    ftp(server.port(), &files, with(json!({ "mode": "rename", "src": "in/grüße a.bin", "dst": "in/b" }))).await?;
    ftp(server.port(), &files, with(json!({ "mode": "mkdir", "path": "in/deep" }))).await?;
    ftp(server.port(), &files, with(json!({ "src": "surefoot:a.bin", "dst": "in/deep/c" }))).await?;
    let listing = ftp(server.port(), &files, with(json!({ "mode": "list", "path": "in", "recursive": true }))).await?;
    let listing = listing["listing"].as_array().context("a listing")?;
    let short: Vec<_> =
        listing.iter().map(|e| (e["path"].as_str(), e["type"].as_str(), e["size_bytes"].as_u64())).collect();
    let size = Some(content.len() as u64);
    assert_eq!(
        short,
        [
            (Some("in/b"), Some("file"), size),
            (Some("in/deep"), Some("directory"), None),
            (Some("in/deep/c"), Some("file"), size),
        ]
    );
    assert!(listing[0]["modified_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{listing:?}");
    let root = ftp(server.port(), &files, with(json!({ "mode": "list" }))).await?;
    assert_eq!(root["listing"][0]["path"], "in", "{root}");

    for path in ["in/deep/c", "in/deep/", "in/b", "in/"] {
        ftp(server.port(), &files, with(json!({ "mode": "delete", "path": path }))).await?;
    }
    assert!(server.names("")?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_old_server_without_facts_and_lengths_does_as_well() -> Result<()> {
    let server = FtpServer::old_pyftpdlib()?;
    let files = TestFiles::new();
    files.put("a", "content");
    ftp(server.port(), &files, json!({ "mode": "mkdir", "path": "sub" })).await?;
    for _ in 0..2 {
        ftp(server.port(), &files, json!({ "src": "surefoot:a", "dst": "sub/a b" })).await?;
    }
    assert_eq!(server.names("sub")?, ["a b"]);
    let output = ftp(server.port(), &files, json!({ "src": "sub/a b", "dst": "surefoot:b" })).await?;
    assert_eq!(output, json!({ "size_bytes": 7, "sha256": sha256(b"content") }));
    let listing = ftp(server.port(), &files, json!({ "mode": "list", "recursive": true })).await?;
    let expected = json!({ "listing": [
        { "name": "sub", "path": "sub", "type": "directory" },
        { "name": "a b", "path": "sub/a b", "type": "file", "size_bytes": 7 },
    ]});
    assert_eq!(listing, expected);
    let stat = ftp(server.port(), &files, json!({ "mode": "stat", "path": "sub" })).await?;
    assert_eq!(stat["stats"]["type"], "directory", "{stat}");
    let stat = ftp(server.port(), &files, json!({ "mode": "stat", "path": "sub/a b" })).await?;
    assert_eq!(stat["stats"], json!({ "name": "a b", "path": "sub/a b", "type": "file", "size_bytes": 7 }));
    let error = ftp(server.port(), &files, json!({ "mode": "stat", "path": "none" })).await.expect_err("it is missing");
    assert_eq!(error.class, ErrorClass::NotFound, "{error}");
    Ok(())
}

#[tokio::test]
async fn an_empty_file_is_a_file() -> Result<()> {
    let server = FtpServer::proftpd(&ProFtpdOptions::default())?;
    let files = TestFiles::new();
    files.put("empty", "");
    ftp(server.port(), &files, json!({ "src": "surefoot:empty", "dst": "empty" })).await?;
    let output = ftp(server.port(), &files, json!({ "src": "empty", "dst": "surefoot:back" })).await?;
    assert_eq!(output, json!({ "size_bytes": 0, "sha256": sha256(b"") }));
    assert_eq!(files.get("back").as_deref(), Some(&b""[..]));
    Ok(())
}

#[tokio::test]
async fn wrong_credentials_are_an_auth_error() -> Result<()> {
    let server = FtpServer::proftpd(&ProFtpdOptions::default())?;
    let pyftpdlib = FtpServer::pyftpdlib(None)?;
    for port in [server.port(), pyftpdlib.port()] {
        let wrong = json!({ "password": "wrong-one", "mode": "list" });
        let error = ftp(port, &TestFiles::new(), wrong).await.expect_err("the password is wrong");
        assert_eq!((error.class, error.sent), (ErrorClass::Auth, Sent::Rejected), "{error}");
        assert_eq!(error.peer_code.as_deref(), Some("530"), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_missing_or_refused_says_so() -> Result<()> {
    let server = FtpServer::proftpd(&ProFtpdOptions::default())?;
    let files = TestFiles::new();
    files.put("a", "content");
    std::fs::create_dir(server.home().join("there"))?;
    for (more, class, sent) in [
        (json!({ "src": "none", "dst": "surefoot:x" }), ErrorClass::NotFound, Sent::Rejected),
        (json!({ "mode": "stat", "path": "none" }), ErrorClass::NotFound, Sent::Rejected),
        (json!({ "mode": "list", "path": "none" }), ErrorClass::NotFound, Sent::Rejected),
        (json!({ "mode": "delete", "path": "none" }), ErrorClass::NotFound, Sent::Rejected),
        (json!({ "mode": "rename", "src": "none", "dst": "x" }), ErrorClass::NotFound, Sent::Rejected),
        (json!({ "mode": "mkdir", "path": "there" }), ErrorClass::Refused, Sent::Rejected),
        (json!({ "src": "surefoot:a", "dst": "none/a" }), ErrorClass::NotFound, Sent::Rejected),
        (json!({ "src": "surefoot:none", "dst": "a" }), ErrorClass::NotFound, Sent::No),
    ] {
        let error = ftp(server.port(), &files, more.clone()).await.expect_err("nothing is there");
        assert_eq!((error.class, error.sent), (class, sent), "{more}: {error}");
    }
    assert_eq!(server.names("")?, ["there"]);
    assert!(files.stored("x").is_none(), "a failed download stores nothing");
    Ok(())
}

#[tokio::test]
async fn inputs_that_make_no_sense_are_refused_before_anything_is_sent() -> Result<()> {
    // Nobody listens on port 1, so reaching the network would be another error.
    for (more, hint) in [
        (json!({}), "`src` and `dst`"),
        (json!({ "src": "a", "dst": "b" }), "exactly one"),
        (json!({ "src": "surefoot:a", "dst": "surefoot:b" }), "exactly one"),
        (json!({ "src": "a", "dst": "surefoot:" }), "empty"),
        (json!({ "src": "surefoot:a", "dst": "in/" }), "is a directory"),
        (json!({ "mode": "stat" }), "`path` is missing"),
        (json!({ "mode": "rename", "src": "a", "dst": "surefoot:b" }), "at the server"),
        (json!({ "mode": "delete", "path": "a\r\nDELE b" }), "line break"),
        (json!({ "mode": "delete", "path": "a", "recursive": true }), "`recursive`"),
        (json!({ "mode": "list", "tls": "explicit", "server_ca": "none" }), "`server_ca`"),
        (json!({ "mode": "list", "socket_timeout": 0 }), "socket_timeout"),
        (json!({ "mode": "lost" }), "mode"),
        (json!({ "mode": "list", "pasword": "x" }), "did you mean `password`"),
    ] {
        let error = ftp(1, &TestFiles::new(), more.clone()).await.expect_err("the inputs make no sense");
        assert_eq!((error.class, error.sent), (ErrorClass::InvalidInput, Sent::No), "{more}: {error}");
        assert!(error.message.contains(hint), "{more}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_host_that_the_policy_refuses_never_hears_of_us() -> Result<()> {
    let server = FtpServer::proftpd(&ProFtpdOptions::default())?;
    let port = server.port();
    let list = inputs(port, json!({ "mode": "list" }));
    let closed = CallOptions { allow: vec!["10.0.0.0/8".into()], ..Default::default() };
    let error = call_with(&Ftp, &TestFiles::new(), list.clone(), &closed).await.expect_err("not on the list");
    assert_eq!((error.class, error.sent), (ErrorClass::Egress, Sent::No));
    assert!(error.message.contains("add \"localhost\" to allow under [egress] in surefoot.toml"), "{error}");

    // A rule for the control port covers the data connections to the same host.
    let open = CallOptions { allow: vec![format!("localhost:{port}")], ..Default::default() };
    call_with(&Ftp, &TestFiles::new(), list, &open).await?;
    Ok(())
}

#[tokio::test]
async fn a_silent_server_is_a_timeout_within_the_configured_time() -> Result<()> {
    let silent = StandIn::silent()?;
    let stalling = ftp_stand_in(FtpEnding::Stall)?;
    for port in [silent.port(), stalling.port()] {
        let more = json!({ "src": "a", "dst": "surefoot:a", "socket_timeout": 0.5 });
        let started = tokio::time::Instant::now();
        let error = ftp(port, &TestFiles::new(), more).await.expect_err("it never answers");
        assert_eq!((error.class, error.sent), (ErrorClass::Timeout, Sent::No), "{error}");
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    }
    Ok(())
}

#[tokio::test]
async fn nonsense_and_cuts_are_never_success() -> Result<()> {
    for (peer, class) in [
        (StandIn::babbling(b"HTTP/1.1 400 Bad Request\r\n\r\n")?, ErrorClass::Protocol),
        (StandIn::babbling(b"\xff\xfe\x00\x01\n")?, ErrorClass::Protocol),
        (StandIn::babbling(b"999 what\r\n")?, ErrorClass::Protocol),
        (StandIn::babbling(b"421 come back later\r\n")?, ErrorClass::Network),
        (StandIn::hanging_up_after(b"")?, ErrorClass::Network),
        (StandIn::hanging_up_after(b"220 rea")?, ErrorClass::Network),
        (StandIn::hanging_up_after(b"220 ready\r\n")?, ErrorClass::Network),
    ] {
        let error = ftp(peer.port(), &TestFiles::new(), json!({ "mode": "list" })).await.expect_err("it is no server");
        assert_eq!(error.class, class, "{error}");
        assert_ne!(error.sent, Sent::Unknown, "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_download_that_is_cut_is_never_success() -> Result<()> {
    for ending in [FtpEnding::FalseComplete, FtpEnding::Aborted, FtpEnding::HangUp] {
        let peer = ftp_stand_in(ending)?;
        let files = TestFiles::new();
        let more = json!({ "src": "a", "dst": "surefoot:a" });
        let error = ftp(peer.port(), &files, more).await.expect_err("half of it is missing");
        assert_eq!(error.class, ErrorClass::Network, "{ending:?}: {error}");
        assert!(files.stored("a").is_none(), "{ending:?}");
    }
    Ok(())
}

#[tokio::test]
async fn data_connections_go_to_the_control_peer_whatever_the_server_names() -> Result<()> {
    let peer = ftp_stand_in(FtpEnding::ForeignAddress)?;
    let files = TestFiles::new();
    let output = ftp(peer.port(), &files, json!({ "src": "a", "dst": "surefoot:a" })).await?;
    assert_eq!(output["size_bytes"], 1000);
    Ok(())
}

#[tokio::test]
async fn the_certificate_must_be_the_right_one() -> Result<()> {
    let tls = TestCertificates::generate()?;
    let other = TestCertificates::generate()?;
    let options = ProFtpdOptions { tls: Some(tls.clone()), tls_required: true, ..Default::default() };
    let server = FtpServer::proftpd(&options)?;
    let list = |more: Value| {
        let mut all = json!({ "mode": "list" });
        all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        all
    };
    // The machine does not know the authority, and another authority does not help.
    for more in [json!({ "tls": "explicit" }), json!({ "tls": "explicit", "server_ca": other.ca })] {
        let error = ftp(server.port(), &TestFiles::new(), list(more)).await.expect_err("nobody vouches for it");
        assert_eq!((error.class, error.sent), (ErrorClass::Untrusted, Sent::No), "{error}");
    }
    let error = ftp(server.port(), &TestFiles::new(), list(json!({}))).await.expect_err("it wants TLS");
    assert_eq!(error.class, ErrorClass::Refused, "{error}");
    assert!(error.message.contains("set `tls` to `explicit`"), "{error}");

    let plain = FtpServer::pyftpdlib(None)?;
    let more = list(json!({ "tls": "explicit", "server_ca": tls.ca }));
    let error = ftp(plain.port(), &TestFiles::new(), more).await.expect_err("it has no TLS");
    assert_eq!(error.class, ErrorClass::Refused, "{error}");
    Ok(())
}

#[tokio::test]
async fn implicit_tls_fails_as_tls_and_logins_fail() -> Result<()> {
    let tls = TestCertificates::generate()?;
    let options =
        ProFtpdOptions { tls: Some(tls.clone()), tls_required: true, tls_implicit: true, ..Default::default() };
    let server = FtpServer::proftpd(&options)?;
    let plain = FtpServer::proftpd(&ProFtpdOptions::default())?;
    let silent = StandIn::silent()?;
    let hanging_up = StandIn::hanging_up_after(b"")?;
    let files = TestFiles::new();
    for (port, more, class, sent) in [
        (server.port(), json!({}), ErrorClass::Untrusted, Sent::No),
        (server.port(), json!({ "server_ca": tls.ca, "password": "wrong-one" }), ErrorClass::Auth, Sent::Rejected),
        (plain.port(), json!({ "server_ca": tls.ca }), ErrorClass::Protocol, Sent::No),
        (silent.port(), json!({ "server_ca": tls.ca, "socket_timeout": 0.5 }), ErrorClass::Timeout, Sent::No),
        (hanging_up.port(), json!({ "server_ca": tls.ca }), ErrorClass::Network, Sent::No),
    ] {
        let more = merged(json!({ "mode": "list", "tls": "implicit" }), more);
        let error = ftp(port, &files, more.clone()).await.expect_err("it cannot work");
        assert_eq!((error.class, error.sent), (class, sent), "{more}: {error}");
    }
    let options = CallOptions { allow: vec!["localhost:1".into()], ..Default::default() };
    let refused = inputs(server.port(), json!({ "mode": "list", "tls": "implicit", "server_ca": tls.ca }));
    let error = call_with(&Ftp, &files, refused, &options).await.expect_err("not on the list");
    assert_eq!((error.class, error.sent), (ErrorClass::Egress, Sent::No), "{error}");

    std::fs::File::create(server.home().join("large"))?.set_len(16 << 20)?;
    for bytes in [10, 400] {
        let proxy = StandIn::cutting(([127, 0, 0, 1], server.port()).into(), CutAfter::Answered(bytes))?;
        let more = json!({ "src": "large", "dst": "surefoot:back", "tls": "implicit", "server_ca": tls.ca });
        let error = ftp(proxy.port(), &files, more).await.expect_err("it was cut");
        assert!(matches!(error.class, ErrorClass::Network | ErrorClass::Protocol), "{bytes}: {error:?}");
        assert!(files.stored("back").is_none());
    }
    Ok(())
}

#[tokio::test]
async fn large_files_pass_through_without_being_held() -> Result<()> {
    if runs_elsewhere("large_files_pass_through_without_being_held") {
        return Ok(());
    }
    let tls = TestCertificates::generate()?;
    let implicit =
        ProFtpdOptions { tls: Some(tls.clone()), tls_required: true, tls_implicit: true, ..Default::default() };
    for (options, encryption) in
        [(ProFtpdOptions::default(), json!({})), (implicit, json!({ "tls": "implicit", "server_ca": tls.ca }))]
    {
        large_file(&FtpServer::proftpd(&options)?, &encryption).await?;
    }
    Ok(())
}

async fn large_file(server: &FtpServer, encryption: &Value) -> Result<()> {
    const SIZE: u64 = 100 << 20;
    let files = TestFiles::new();
    files.put_generated("large", SIZE).hash_only();
    let expected = json!({ "size_bytes": SIZE, "sha256": generated_sha256(SIZE) });

    let growth = MemoryGrowth::start();
    let transfer = async |src: &str, dst: &str| {
        ftp(server.port(), &files, merged(encryption.clone(), json!({ "src": src, "dst": dst }))).await
    };
    let up = transfer("surefoot:large", "large").await?;
    let down = transfer("large", "surefoot:back").await?;
    let grown = growth.peak_kib();
    assert_eq!((&up, &down), (&expected, &expected));
    let stored = files.stored("back").context("it was stored")?;
    assert_eq!((stored.size_bytes, Value::from(stored.sha256)), (SIZE, expected["sha256"].clone()));
    assert!(grown < 40 << 10, "memory has grown by {grown} KiB");
    assert_eq!(server.names("")?, ["large"]);
    Ok(())
}

#[tokio::test]
async fn an_upload_whose_source_fails_leaves_nothing_behind() -> Result<()> {
    let server = FtpServer::proftpd(&ProFtpdOptions::default())?;
    std::fs::write(server.home().join("a"), "old")?;
    let files = TestFiles::new();
    files.put_failing("a", vec![b'x'; 300_000]);
    let error = ftp(server.port(), &files, json!({ "src": "surefoot:a", "dst": "a" })).await.expect_err("it breaks");
    assert_eq!(error.class, ErrorClass::Storage, "{error}");
    assert_eq!(server.names("")?, ["a"]);
    assert_eq!(std::fs::read(server.home().join("a"))?, b"old");
    Ok(())
}

#[tokio::test]
async fn an_attempt_takes_over_what_an_interrupted_one_has_left() -> Result<()> {
    for keep_existing in [false, true] {
        let server = FtpServer::proftpd(&ProFtpdOptions { keep_existing, ..Default::default() })?;
        let files = TestFiles::new();
        files.put_generated("large", 64 << 20);
        // Dropped in the middle, as when the process dies.
        let upload = inputs(server.port(), json!({ "src": "surefoot:large", "dst": "large" }));
        tokio::select! {
            _ = call(&Ftp, &files, upload) => anyhow::bail!("the upload was faster than the test"),
            () = something_has_arrived(&server) => {}
        }
        assert!(server.names("")?[0].ends_with(".part"), "{:?}", server.names("")?);

        files.put("large", "short this time");
        ftp(server.port(), &files, json!({ "src": "surefoot:large", "dst": "large" })).await?;
        assert_eq!(server.names("")?, ["large"], "keep_existing {keep_existing}");
        assert_eq!(std::fs::read(server.home().join("large"))?, b"short this time");
    }
    Ok(())
}

/// Waits until the server has stored some bytes of a file.
async fn something_has_arrived(server: &FtpServer) {
    let home = server.home();
    loop {
        let entries = std::fs::read_dir(&home).into_iter().flatten().flatten();
        if entries.filter_map(|entry| entry.metadata().ok()).any(|meta| meta.len() > 1 << 20) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_server_that_dies_during_a_transfer_is_an_error() -> Result<()> {
    const SIZE: u64 = 4 << 30;
    for upload in [true, false] {
        let mut server = FtpServer::proftpd(&ProFtpdOptions::default())?;
        let files = TestFiles::new();
        files.put_generated("large", SIZE).hash_only();
        let more = if upload {
            json!({ "src": "surefoot:large", "dst": "large" })
        } else {
            std::fs::File::create(server.home().join("large"))?.set_len(SIZE)?;
            json!({ "src": "large", "dst": "surefoot:back" })
        };
        let transfer = call(&Ftp, &files, inputs(server.port(), more));
        tokio::pin!(transfer);
        let arrived = async {
            if upload {
                something_has_arrived(&server).await;
            } else {
                while files.received_bytes() < 1 << 20 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        };
        tokio::select! {
            result = &mut transfer => anyhow::bail!("it ended too early: {result:?}"),
            () = arrived => {}
        }
        server.process().kill();
        let error = transfer.await.expect_err("the server is dead");
        assert_eq!(error.class, ErrorClass::Network, "upload {upload}: {error}");
        assert_eq!(error.sent, if upload { Sent::Unknown } else { Sent::No }, "upload {upload}: {error}");
        assert!(files.stored("back").is_none());
    }
    Ok(())
}

#[tokio::test]
async fn effects_follow_the_inputs() {
    for (more, effect) in [
        (json!({ "src": "a", "dst": "surefoot:a" }), Effect::Read),
        (json!({ "mode": "list" }), Effect::Read),
        (json!({ "mode": "stat", "path": "a" }), Effect::Read),
        (json!({ "src": "surefoot:a", "dst": "a" }), Effect::Idempotent),
        (json!({ "mode": "delete", "path": "a" }), Effect::Write),
        (json!({ "mode": "mkdir", "path": "a" }), Effect::Write),
        (json!({ "mode": "rename", "src": "a", "dst": "b" }), Effect::Write),
        (json!({ "src": "a", "dst": "b" }), Effect::Write),
    ] {
        let inputs = inputs(21, more.clone());
        assert_eq!(Ftp.effect(inputs.as_object().expect("an object")), effect, "{more}");
    }
    let schema = Ftp.input_schema();
    assert_eq!(schema["properties"]["password"]["writeOnly"], true, "{schema:#}");
    assert_eq!(schema["properties"]["mode"]["default"], "transfer", "{schema:#}");
}
