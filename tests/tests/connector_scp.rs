//! The connector type `scp` against OpenSSH and ProFTPD's mod_sftp, and against peers that misbehave.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use surefoot_connector_api::{CallError, Connector, Effect, ErrorClass, Sent};
use surefoot_connectors::scp::Scp;
use surefoot_tests::connector_harness::{
    CallOptions, MemoryGrowth, TestFiles, call, call_with, generated_sha256, merged, runs_elsewhere, sha256,
    without_nulls,
};
use surefoot_tests::servers::ftp::{FtpServer, PASSWORD, ProFtpdOptions, USER};
use surefoot_tests::servers::ssh::{KeyPair, SshHost, SshServer};
use surefoot_tests::servers::stand_in::{CutAfter, StandIn};

/// Inputs that work, with `more` on top.
fn inputs(host: &SshHost, more: Value) -> Result<Value> {
    Ok(without_nulls(merged(merged(host.inputs()?, json!({ "copy_timeout": 30 })), more)))
}

async fn scp(host: &SshHost, files: &TestFiles, more: Value) -> Result<Value, CallError> {
    call(&Scp, files, inputs(host, more).expect("the server has keys")).await
}

#[tokio::test]
async fn a_file_makes_the_round_trip() -> Result<()> {
    let setup = SshHost::start()?;
    let files = TestFiles::new();
    let content = (0..200_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    files.put("a.bin", content.clone()).put("empty", "");
    let path = setup.remote("it's a \"file\"; touch pwned $(touch pwned) `x` *.bin");
    let (size_bytes, hash) = (content.len(), sha256(&content));

    let upload = json!({ "src": "surefoot:a.bin", "dst": path, "mode": "0600", "mtime": 1_700_000_000 });
    // Twice: the second one replaces the first.
    for _ in 0..2 {
        let output = scp(&setup, &files, upload.clone()).await?;
        let expected = json!({ "size_bytes": size_bytes, "sha256": hash, "mode": "0600", "mtime": 1_700_000_000 });
        assert_eq!(output, expected);
    }
    assert_eq!(std::fs::read(&path)?, content);
    let metadata = std::fs::metadata(&path)?;
    assert_eq!((metadata.permissions().mode() & 0o7777, metadata.mtime()), (0o600, 1_700_000_000));

    for _ in 0..2 {
        let output = scp(&setup, &files, json!({ "src": path, "dst": "cloudomation:b" })).await?;
        let expected = json!({ "size_bytes": size_bytes, "sha256": hash, "mode": "0600", "mtime": 1_700_000_000 });
        assert_eq!(output, expected);
        assert_eq!(files.get("b").as_deref(), Some(&content[..]));
    }

    let empty = setup.remote("empty");
    scp(&setup, &files, json!({ "src": "surefoot:empty", "dst": empty, "mode": "644" })).await?;
    assert_eq!(std::fs::metadata(&empty)?.permissions().mode() & 0o7777, 0o644);
    let output = scp(&setup, &files, json!({ "src": empty, "dst": "surefoot:back" })).await?;
    assert_eq!((&output["size_bytes"], &output["sha256"]), (&json!(0), &json!(sha256(b""))));

    let folder = setup.remote("folder");
    std::fs::create_dir(&folder)?;
    scp(&setup, &files, json!({ "src": "surefoot:a.bin", "dst": folder })).await?;
    assert_eq!(std::fs::read(format!("{folder}/a.bin"))?, content);
    assert!(!setup.server.folder().join("pwned").exists());
    Ok(())
}

#[tokio::test]
async fn every_kind_of_key_logs_in() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let encrypted = KeyPair::generate(folder.path(), "encrypted", "ed25519", "pass phrase")?;
    let rsa = KeyPair::generate(folder.path(), "rsa", "rsa", "")?;
    let ecdsa = KeyPair::generate(folder.path(), "ecdsa", "ecdsa", "")?;
    let setup = SshHost::with(|plain| SshServer::start(&[plain, &encrypted, &rsa, &ecdsa]))?;
    let plain = &setup.key;
    let files = TestFiles::new();
    files.put("a", "content");
    for more in [
        json!({ "key": plain.private }),
        json!({ "key": encrypted.private, "passphrase": "pass phrase" }),
        json!({ "key": rsa.private }),
        json!({ "key": ecdsa.private }),
        // As it comes out of a text field.
        json!({ "key": format!("\n  {}\r\n\n", plain.private.replace('\n', "\r\n")) }),
        // With both, the password is the second choice.
        json!({ "password": "not needed" }),
    ] {
        let copy = json!({ "src": "surefoot:a", "dst": setup.remote("a") });
        scp(&setup, &files, merged(copy, more.clone()))
            .await
            .with_context(|| format!("{more}\n{}", setup.server.log()))?;
    }
    for (more, hint) in [
        (json!({ "key": encrypted.private }), "give `passphrase`"),
        (json!({ "key": encrypted.private, "passphrase": "another-one" }), "`passphrase` is wrong"),
        (json!({ "key": plain.public }), "not a private key"),
        (json!({ "key": null }), "`key` and `password`"),
    ] {
        let copy = json!({ "src": "surefoot:a", "dst": setup.remote("a") });
        let error = scp(&setup, &files, merged(copy, more.clone())).await.expect_err(hint);
        assert_eq!((error.class, error.sent), (ErrorClass::InvalidInput, Sent::No), "{more}: {error}");
        assert!(error.message.contains(hint), "{more}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_password_logs_in_at_another_server() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = KeyPair::generate(folder.path(), "host", "ed25519", "")?;
    let server = FtpServer::proftpd(&ProFtpdOptions { ssh_host_key: Some(host.file.clone()), ..Default::default() })?;
    let inputs = |more| {
        let inputs = json!({
            "hostname": "127.0.0.1", "port": server.port(), "username": USER, "password": PASSWORD,
            "hostkey": host.public, "connect_timeout": 10, "copy_timeout": 30,
        });
        merged(inputs, more)
    };
    let files = TestFiles::new();
    files.put("a", "content");
    call(&Scp, &files, inputs(json!({ "src": "surefoot:a", "dst": "a", "mtime": 1_700_000_000 })))
        .await
        .with_context(|| server.log())?;
    assert_eq!(std::fs::read(server.home().join("a"))?, b"content");
    let output = call(&Scp, &files, inputs(json!({ "src": "a", "dst": "surefoot:b" }))).await?;
    let expected = json!({ "size_bytes": 7, "sha256": sha256(b"content"), "mode": "0644", "mtime": 1_700_000_000 });
    assert_eq!(output, expected);

    let wrong = json!({ "src": "a", "dst": "surefoot:b", "password": "wrong-one" });
    let error = call(&Scp, &files, inputs(wrong)).await.expect_err("the password is wrong");
    assert_eq!((error.class, error.sent), (ErrorClass::Auth, Sent::Rejected), "{error}");
    let missing = json!({ "src": "none", "dst": "surefoot:b" });
    let error = call(&Scp, &files, inputs(missing)).await.expect_err("nothing is there");
    assert_eq!(error.class, ErrorClass::NotFound, "{error}");
    Ok(())
}

#[tokio::test]
async fn wrong_credentials_are_an_auth_error() -> Result<()> {
    let setup = SshHost::start()?;
    let stranger = KeyPair::generate(setup.keys(), "stranger", "ed25519", "")?;
    for more in [
        json!({ "key": stranger.private }),
        json!({ "key": null, "password": "wrong-one" }),
        json!({ "key": stranger.private, "password": "wrong-one" }),
        json!({ "username": "no-such-user" }),
    ] {
        let copy = json!({ "src": "/etc/hostname", "dst": "surefoot:a" });
        let error = scp(&setup, &TestFiles::new(), merged(copy, more.clone())).await;
        let error = error.expect_err(&format!("{more}\n{}", setup.server.log()));
        assert_eq!((error.class, error.sent), (ErrorClass::Auth, Sent::Rejected), "{more}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn the_host_key_must_be_the_right_one() -> Result<()> {
    let setup = SshHost::with(|key| SshServer::start_with_host_keys(&[key], &["ed25519", "rsa"]))?;
    let copy = |more| merged(json!({ "src": setup.remote("host_rsa.pub"), "dst": "surefoot:a" }), more);
    let (ed25519, rsa) = (setup.server.host_key("ed25519")?, setup.server.host_key("rsa")?);
    let host =
        KeyPair { file: setup.server.folder().join("host_ed25519"), private: String::new(), public: ed25519.clone() };
    let fingerprint = host.fingerprint()?;
    let stranger = KeyPair::generate(setup.keys(), "stranger", "ed25519", "")?;
    let files = TestFiles::new();
    let known_hosts = format!("[localhost]:{} {ed25519}\n", setup.server.port());
    let several = format!("{}\n{ed25519}", stranger.public);
    for hostkey in [&ed25519, &rsa, &fingerprint, &known_hosts, &several] {
        let output = scp(&setup, &files, copy(json!({ "hostkey": hostkey }))).await.with_context(|| hostkey.clone())?;
        assert!(output.get("warning").is_none(), "{output}");
    }

    let ecdsa = KeyPair::generate(setup.keys(), "ecdsa", "ecdsa", "")?;
    for (wrong, hint) in [
        (&stranger.public, fingerprint.as_str()),
        (&stranger.fingerprint()?, fingerprint.as_str()),
        (&ecdsa.public, "no key of the kind"),
    ] {
        let error = scp(&setup, &files, copy(json!({ "hostkey": wrong }))).await.expect_err("another host");
        assert_eq!((error.class, error.sent), (ErrorClass::Untrusted, Sent::No), "{error}");
        assert!(error.message.contains(hint), "{error}");
    }

    let error = scp(&setup, &files, copy(json!({ "hostkey": null }))).await.expect_err("it is needed");
    assert_eq!(error.class, ErrorClass::InvalidInput, "{error}");
    assert!(error.message.contains("`hostkey` is needed"), "{error}");
    let output = scp(&setup, &files, copy(json!({ "hostkey": null, "hostkey_check": false }))).await?;
    assert!(output["warning"].as_str().is_some_and(|warning| warning.contains(&fingerprint)), "{output}");
    Ok(())
}

#[tokio::test]
async fn what_is_missing_or_refused_says_so() -> Result<()> {
    let setup = SshHost::start()?;
    let files = TestFiles::new();
    files.put("a", "content");
    std::fs::create_dir(setup.server.folder().join("folder"))?;
    for (more, class, sent) in [
        (json!({ "src": setup.remote("none"), "dst": "surefoot:x" }), ErrorClass::NotFound, Sent::Rejected),
        (json!({ "src": setup.remote("folder"), "dst": "surefoot:x" }), ErrorClass::Refused, Sent::Rejected),
        (json!({ "src": "surefoot:a", "dst": setup.remote("none/a") }), ErrorClass::NotFound, Sent::Rejected),
        (json!({ "src": "surefoot:a", "dst": setup.remote("authorized_keys/a") }), ErrorClass::Refused, Sent::Rejected),
        (json!({ "src": "surefoot:none", "dst": setup.remote("a") }), ErrorClass::NotFound, Sent::No),
    ] {
        let error = scp(&setup, &files, more.clone()).await.expect_err("it cannot be done");
        assert_eq!((error.class, error.sent), (class, sent), "{more}: {error}");
    }
    assert!(files.stored("x").is_none(), "a failed download stores nothing");
    for (more, hint) in [
        (json!({ "src": "a", "dst": "b" }), "exactly one"),
        (json!({ "src": "surefoot:a", "dst": "surefoot:b" }), "exactly one"),
        (json!({ "src": "surefoot:", "dst": "b" }), "empty"),
        (json!({ "src": "a\nb", "dst": "surefoot:b" }), "line break"),
        (json!({ "src": "surefoot:a", "dst": "b", "mode": "4755" }), "mode"),
        (json!({ "src": "surefoot:a", "dst": "b", "hostkey": "none" }), "`hostkey`"),
    ] {
        let error = scp(&setup, &files, more.clone()).await.expect_err("the inputs make no sense");
        assert_eq!((error.class, error.sent), (ErrorClass::InvalidInput, Sent::No), "{more}: {error}");
        assert!(error.message.contains(hint), "{more}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_host_that_the_policy_refuses_never_hears_of_us() -> Result<()> {
    let setup = SshHost::start()?;
    let inputs = inputs(&setup, json!({ "src": "/etc/hostname", "dst": "surefoot:a" }))?;
    let options = CallOptions { allow: vec!["localhost:1".into()], ..Default::default() };
    let error = call_with(&Scp, &TestFiles::new(), inputs, &options).await.expect_err("not on the list");
    assert_eq!((error.class, error.sent), (ErrorClass::Egress, Sent::No), "{error}");
    assert!(error.message.contains("add \"localhost\" to allow under [egress] in surefoot.toml"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_silent_host_is_a_timeout_within_the_configured_time() -> Result<()> {
    let setup = SshHost::running("sleep 60")?;
    let silent = StandIn::silent()?;
    let files = TestFiles::new();
    files.put("a", "content");
    for (more, sent) in [
        (json!({ "src": "a", "dst": "surefoot:a", "port": silent.port(), "connect_timeout": 0.5 }), Sent::No),
        (json!({ "src": "a", "dst": "surefoot:a", "copy_timeout": 0.5 }), Sent::No),
        (json!({ "src": "surefoot:a", "dst": "a", "copy_timeout": 0.5 }), Sent::Unknown),
    ] {
        let started = tokio::time::Instant::now();
        let error = scp(&setup, &files, more.clone()).await.expect_err("it never answers");
        assert_eq!((error.class, error.sent), (ErrorClass::Timeout, sent), "{more}: {error}");
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    }
    Ok(())
}

#[tokio::test]
async fn a_peer_that_is_no_ssh_server_is_never_success() -> Result<()> {
    let setup = SshHost::start()?;
    for peer in [
        StandIn::babbling(b"SSH-2.0-x\r\n\x00\x00\x00\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")?,
        StandIn::babbling(b"SSH-1.0-old\r\nnonsense nonsense nonsense nonsense\r\n")?,
        StandIn::babbling(b"HTTP/1.1 400 Bad Request\r\n\r\n")?,
        StandIn::hanging_up_after(b"")?,
        StandIn::hanging_up_after(b"SSH-2.0-OpenSSH_9.2\r\n")?,
    ] {
        let more = json!({ "src": "a", "dst": "surefoot:a", "port": peer.port(), "connect_timeout": 1 });
        let error = scp(&setup, &TestFiles::new(), more).await.expect_err("it is no server");
        assert!(matches!(error.class, ErrorClass::Network | ErrorClass::Protocol | ErrorClass::Timeout), "{error:?}");
        assert_eq!(error.sent, Sent::No, "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_command_that_is_no_scp_is_never_success() -> Result<()> {
    for (command, class, hint) in [
        ("echo Welcome to the host; cat >/dev/null", ErrorClass::Protocol, "Welcome to the host"),
        ("echo scp: command not found >&2; exit 127", ErrorClass::Refused, "no command scp"),
        ("echo no shell for you >&2; exit 1", ErrorClass::Refused, "no shell for you"),
        ("printf '\\001scp: disk: input/output error\\n'; exit 1", ErrorClass::Refused, "input/output error"),
        ("printf 'C0644 100 a\\nshort'", ErrorClass::Refused, "status 0"),
        ("printf 'C0644 100 a\\nshort'; kill -9 $$", ErrorClass::Network, "after 5 of 100 bytes"),
        ("printf 'C0644 5 a\\nshort\\001scp: a: read error\\n'", ErrorClass::Refused, "read error"),
        ("printf 'C0644 5 a\\nshort\\000C0644 5 b\\nshort\\000'", ErrorClass::Protocol, "more than the one file"),
        ("printf 'C0644 5 a\\nshort\\000'; exit 3", ErrorClass::Refused, "status 3"),
        ("printf 'C0644 5a a\\n'", ErrorClass::Protocol, "no header"),
        ("printf 'C0644 99999999999999999999 a\\n'", ErrorClass::Protocol, "no header"),
        ("printf 'D0755 0 a\\n'", ErrorClass::InvalidInput, "directory"),
        ("printf 'C0644'", ErrorClass::Protocol, "cut"),
        ("head -c 100000 /dev/zero | tr '\\000' C", ErrorClass::Protocol, "cut"),
    ] {
        let setup = SshHost::running(command)?;
        let files = TestFiles::new();
        let error = scp(&setup, &files, json!({ "src": "a", "dst": "surefoot:a" })).await.expect_err(command);
        assert_eq!(error.class, class, "{command}: {error:?}");
        assert!(error.message.contains(hint), "{command}: {error}");
        assert!(files.stored("a").is_none(), "{command}");
    }
    for (command, class, sent) in [
        ("echo Welcome; cat >/dev/null", ErrorClass::Protocol, Sent::No),
        ("exit 127", ErrorClass::Refused, Sent::Rejected),
        ("printf '\\000\\001scp: a: Permission denied\\n'", ErrorClass::Refused, Sent::Rejected),
        ("printf '\\000'; head -c 4 >/dev/null; kill -9 $$", ErrorClass::Network, Sent::Unknown),
        ("printf '\\000\\000'; head -c 100 >/dev/null; printf '\\002disk full\\n'", ErrorClass::Refused, Sent::Unknown),
        ("printf '\\000\\000\\000'; cat >/dev/null", ErrorClass::Protocol, Sent::Unknown),
        ("printf '\\000\\000'; head -c 100 >/dev/null; kill -9 $$", ErrorClass::Network, Sent::Unknown),
        ("printf '\\000\\000\\000'; cat >/dev/null", ErrorClass::Protocol, Sent::Unknown),
        ("printf '\\000\\000'; cat >/dev/null; kill -9 $$", ErrorClass::Timeout, Sent::Unknown),
    ] {
        let setup = SshHost::running(command)?;
        let files = TestFiles::new();
        files.put_generated("large", 32 << 20);
        let limit = if class == ErrorClass::Timeout { 3 } else { 30 };
        let more = json!({ "src": "surefoot:large", "dst": "a", "copy_timeout": limit });
        let error = scp(&setup, &files, more).await.expect_err(command);
        assert_eq!((error.class, error.sent), (class, sent), "{command}: {error:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_that_is_cut_is_never_success() -> Result<()> {
    const SIZE: u64 = 16 << 20;
    let setup = SshHost::start()?;
    std::fs::File::create(setup.remote("large"))?.set_len(SIZE)?;
    let files = TestFiles::new();
    files.put_generated("large", SIZE).hash_only();
    let server = ([127, 0, 0, 1], setup.server.port()).into();
    for bytes in [10, 500, 1500, 100_000, 8 << 20] {
        for (cut, more) in [
            (CutAfter::Answered(bytes), json!({ "src": setup.remote("large"), "dst": "surefoot:back" })),
            (CutAfter::Asked(bytes), json!({ "src": "surefoot:large", "dst": setup.remote("up") })),
        ] {
            let proxy = StandIn::cutting(server, cut)?;
            let more = merged(more, json!({ "port": proxy.port() }));
            let error = scp(&setup, &files, more).await.expect_err("it was cut");
            assert!(matches!(error.class, ErrorClass::Network | ErrorClass::Protocol), "{cut:?}: {error:?}");
            assert!(files.stored("back").is_none(), "{cut:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn large_files_pass_through_without_being_held() -> Result<()> {
    if runs_elsewhere("large_files_pass_through_without_being_held") {
        return Ok(());
    }
    const SIZE: u64 = 100 << 20;
    let setup = SshHost::start()?;
    let files = TestFiles::new();
    files.put_generated("large", SIZE).hash_only();
    let expected = generated_sha256(SIZE);

    let growth = MemoryGrowth::start();
    let path = setup.remote("large");
    let up = scp(&setup, &files, json!({ "src": "surefoot:large", "dst": path })).await?;
    let down = scp(&setup, &files, json!({ "src": path, "dst": "surefoot:back" })).await?;
    let grown = growth.peak_kib();
    for output in [&up, &down] {
        assert_eq!((&output["size_bytes"], &output["sha256"]), (&json!(SIZE), &json!(expected)));
    }
    let stored = files.stored("back").context("it was stored")?;
    assert_eq!((stored.size_bytes, stored.sha256), (SIZE, expected));
    assert!(grown < 40 << 10, "memory has grown by {grown} KiB");
    Ok(())
}

#[tokio::test]
async fn an_upload_whose_source_fails_is_an_error() -> Result<()> {
    let setup = SshHost::start()?;
    let files = TestFiles::new();
    files.put_failing("a", vec![b'x'; 300_000]);
    let more = json!({ "src": "surefoot:a", "dst": setup.remote("a") });
    let error = scp(&setup, &files, more).await.expect_err("it breaks");
    assert_eq!((error.class, error.sent), (ErrorClass::Storage, Sent::Unknown), "{error}");
    Ok(())
}

#[tokio::test]
async fn effects_follow_the_inputs() -> Result<()> {
    let base = json!({ "hostname": "h", "username": "u", "password": "p" });
    for (more, effect) in [
        (json!({ "src": "a", "dst": "surefoot:a" }), Effect::Read),
        (json!({ "src": "surefoot:a", "dst": "a" }), Effect::Idempotent),
        (json!({ "src": "a", "dst": "a" }), Effect::Write),
    ] {
        let inputs = merged(base.clone(), more);
        assert_eq!(Scp.effect(inputs.as_object().context("an object")?), effect, "{inputs}");
    }
    let schema = Scp.input_schema();
    for secret in ["password", "key", "passphrase"] {
        assert_eq!(schema["properties"][secret]["writeOnly"], true, "{schema:#}");
    }
    Ok(())
}
