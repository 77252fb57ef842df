//! The connector type `sftp` against OpenSSH and ProFTPD's mod_sftp, and against peers that misbehave. Keys and host
//! keys are tested with `scp`, which shares them.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use surefoot_connector_api::{CallError, Connector, Effect, ErrorClass, Sent};
use surefoot_connectors::sftp::Sftp;
use surefoot_tests::connector_harness::{
    CallOptions, MemoryGrowth, TestFiles, call, call_with, generated_sha256, merged, runs_elsewhere, sha256,
    without_nulls,
};
use surefoot_tests::servers::ftp::{FtpServer, PASSWORD, ProFtpdOptions, USER};
use surefoot_tests::servers::ssh::{KeyPair, SshHost};
use surefoot_tests::servers::stand_in::{CutAfter, StandIn};

/// Inputs that work, with `more` on top.
fn inputs(host: &SshHost, more: Value) -> Value {
    let inputs = merged(host.inputs().expect("the server has keys"), json!({ "socket_timeout": 10 }));
    without_nulls(merged(inputs, more))
}

async fn sftp(host: &SshHost, files: &TestFiles, more: Value) -> Result<Value, CallError> {
    call(&Sftp, files, inputs(host, more)).await
}

#[tokio::test]
async fn a_file_makes_the_round_trip_on_each_server() -> Result<()> {
    let openssh = SshHost::start()?;
    std::fs::create_dir(openssh.remote("home"))?;
    round_trip(&inputs(&openssh, json!({})), &openssh.remote("home")).await.with_context(|| openssh.server.log())?;

    let folder = tempfile::tempdir()?;
    let host = KeyPair::generate(folder.path(), "host", "ed25519", "")?;
    let ssh_host_key = Some(host.file.clone());
    for keep_existing in [false, true] {
        let options = ProFtpdOptions { ssh_host_key: ssh_host_key.clone(), keep_existing, ..Default::default() };
        let server = FtpServer::proftpd(&options)?;
        let login = json!({
            "hostname": "127.0.0.1", "port": server.port(), "username": USER, "password": PASSWORD,
            "hostkey": host.public, "connect_timeout": 10, "socket_timeout": 10,
        });
        let home = if surefoot_tests::servers::is_root() { String::new() } else { server.home().display().to_string() };
        round_trip(&login, &home).await.with_context(|| format!("proftpd, {keep_existing}: {}", server.log()))?;
    }
    Ok(())
}

/// Everything that a session can do below `home`, and the leftovers at the end.
async fn round_trip(login: &Value, home: &str) -> Result<()> {
    let files = TestFiles::new();
    let content = (0..200_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    files.put("a.bin", content.clone()).put("empty", "");
    let at = |name: &str| format!("{home}/{name}");
    let sftp = async |more: Value| call(&Sftp, &files, merged(login.clone(), more)).await;
    let expected = json!({ "size_bytes": content.len(), "sha256": sha256(&content) });

    sftp(json!({ "mode": "mkdir", "path": at("in") })).await.context("mkdir")?;
    let name = "in/ein Bericht äöü;'\"$(x).bin";
    // Twice: the second one replaces the first.
    for permissions in ["0600", "0640"] {
        let upload = json!({
            "src": "surefoot:a.bin", "dst": at(name), "permissions": permissions, "mtime": 1_700_000_000,
        });
        assert_eq!(sftp(upload).await.context("upload")?, expected);
    }
    assert_eq!(sftp(json!({ "src": at(name), "dst": "cloudomation:b" })).await.context("download")?, expected);
    assert_eq!(files.get("b").as_deref(), Some(&content[..]));
    sftp(json!({ "src": "surefoot:empty", "dst": at("in/empty") })).await?;
    let output = sftp(json!({ "src": at("in/empty"), "dst": "surefoot:back" })).await?;
    assert_eq!((&output["size_bytes"], &output["sha256"]), (&json!(0), &json!(sha256(b""))));

    let stats = sftp(json!({ "mode": "stat", "path": at(name) })).await?["stats"].clone();
    assert_eq!((&stats["type"], &stats["size_bytes"]), (&json!("file"), &json!(content.len())), "{stats}");
    assert_eq!((&stats["permissions"], &stats["modified_at"]), (&json!("0640"), &json!("2023-11-14T22:13:20Z")));

    sftp(json!({ "mode": "rename", "src": at("in/empty"), "dst": at("in/z") })).await.context("rename")?;
    let taken = json!({ "mode": "rename", "src": at("in/z"), "dst": at(name) });
    let error = sftp(taken).await.expect_err("something is there");
    assert_eq!((error.class, error.sent), (ErrorClass::Refused, Sent::Rejected), "{error}");
    sftp(json!({ "mode": "mkdir", "path": at("in/sub") })).await?;
    sftp(json!({ "src": "surefoot:empty", "dst": at("in/sub/deep") })).await?;
    let listed = async |more: Value| -> Result<Vec<String>> {
        let output = sftp(merged(json!({ "mode": "list", "path": at("in") }), more)).await?;
        let entries = output["listing"].as_array().context("a list")?.iter();
        Ok(entries.map(|entry| entry["path"].as_str().unwrap_or_default().to_owned()).collect())
    };
    assert_eq!(listed(json!({})).await?, [at(name), at("in/sub"), at("in/z")]);
    assert_eq!(listed(json!({ "recursive": true })).await?, [at(name), at("in/sub"), at("in/sub/deep"), at("in/z")]);

    let full = sftp(json!({ "mode": "delete", "path": at("in/") })).await.expect_err("it is not empty");
    assert_eq!((full.class, full.sent), (ErrorClass::Refused, Sent::Rejected), "{full}");
    for path in ["in/sub/deep", "in/sub/", name, "in/z", "in/"] {
        sftp(json!({ "mode": "delete", "path": at(path) })).await.context(path)?;
    }
    let gone = sftp(json!({ "mode": "stat", "path": at("in") })).await.expect_err("it is deleted");
    assert_eq!((gone.class, gone.sent), (ErrorClass::NotFound, Sent::Rejected), "{gone}");
    Ok(())
}

#[tokio::test]
async fn permissions_and_time_are_those_of_the_call() -> Result<()> {
    let host = SshHost::start()?;
    let files = TestFiles::new();
    files.put("a", "content");
    let path = host.remote("a");
    sftp(&host, &files, json!({ "src": "surefoot:a", "dst": path, "permissions": "755", "mtime": 1_700_000_000 }))
        .await?;
    let metadata = std::fs::metadata(&path)?;
    assert_eq!((metadata.permissions().mode() & 0o7777, metadata.mtime()), (0o755, 1_700_000_000));
    // A path begins in the home directory, whatever way that is written.
    for path in [json!("~"), json!("~/"), json!(null)] {
        let more = json!({ "mode": "list", "path": path });
        assert!(sftp(&host, &files, more).await?["listing"].is_array());
    }
    // What announces no length is read to its end all the same.
    let output = sftp(&host, &files, json!({ "src": "/proc/self/status", "dst": "surefoot:status" })).await?;
    assert!(output["size_bytes"].as_u64().is_some_and(|size| size > 100), "{output}");
    Ok(())
}

#[tokio::test]
async fn wrong_credentials_are_an_auth_error() -> Result<()> {
    let host = SshHost::start()?;
    let stranger = KeyPair::generate(host.keys(), "stranger", "ed25519", "")?;
    for more in [
        json!({ "key": stranger.private }),
        json!({ "key": null, "password": "wrong-one" }),
        json!({ "username": "no-such-user" }),
    ] {
        let error = sftp(&host, &TestFiles::new(), merged(json!({ "mode": "list" }), more.clone())).await;
        let error = error.expect_err("a stranger");
        assert_eq!((error.class, error.sent), (ErrorClass::Auth, Sent::Rejected), "{more}: {error}");
    }
    let more = json!({ "mode": "list", "hostkey": stranger.public });
    let error = sftp(&host, &TestFiles::new(), more).await.expect_err("another host");
    assert_eq!((error.class, error.sent), (ErrorClass::Untrusted, Sent::No), "{error}");
    let more = json!({ "mode": "list", "hostkey": null, "hostkey_check": false });
    assert!(sftp(&host, &TestFiles::new(), more).await?["warning"].is_string());
    Ok(())
}

#[tokio::test]
async fn what_is_missing_or_refused_says_so() -> Result<()> {
    let host = SshHost::start()?;
    let files = TestFiles::new();
    files.put("a", "content");
    std::fs::create_dir(host.remote("folder"))?;
    for (more, class, sent) in [
        (json!({ "src": host.remote("none"), "dst": "surefoot:x" }), ErrorClass::NotFound, Sent::Rejected),
        (json!({ "src": host.remote("folder"), "dst": "surefoot:x" }), ErrorClass::Refused, Sent::Rejected),
        (json!({ "src": "surefoot:a", "dst": host.remote("none/a") }), ErrorClass::NotFound, Sent::Rejected),
        (json!({ "src": "surefoot:a", "dst": host.remote("folder") }), ErrorClass::Refused, Sent::Rejected),
        (json!({ "src": "surefoot:none", "dst": host.remote("a") }), ErrorClass::NotFound, Sent::No),
        (json!({ "mode": "mkdir", "path": host.remote("folder") }), ErrorClass::Refused, Sent::Rejected),
        (json!({ "mode": "list", "path": host.remote("none") }), ErrorClass::NotFound, Sent::Rejected),
        (json!({ "mode": "delete", "path": host.remote("none") }), ErrorClass::NotFound, Sent::Rejected),
    ] {
        let error = sftp(&host, &files, more.clone()).await.expect_err("it cannot be done");
        assert_eq!((error.class, error.sent), (class, sent), "{more}: {error}");
    }
    assert!(files.stored("x").is_none(), "a failed download stores nothing");
    assert!(parts(&host)?.is_empty(), "a failed upload leaves nothing");
    for (more, hint) in [
        (json!({ "src": "a", "dst": "b" }), "exactly one"),
        (json!({ "src": "surefoot:a", "dst": "b/" }), "directory"),
        (json!({ "mode": "stat" }), "`path` is missing"),
        (json!({ "src": "surefoot:a", "dst": "b", "permissions": "4755" }), "permissions"),
        (json!({ "mode": "list", "pth": "a" }), "did you mean `path`?"),
        (json!({ "mode": "list", "key": null }), "`key` and `password`"),
    ] {
        let error = sftp(&host, &files, more.clone()).await.expect_err("the inputs make no sense");
        assert_eq!((error.class, error.sent), (ErrorClass::InvalidInput, Sent::No), "{more}: {error}");
        assert!(error.message.contains(hint), "{more}: {error}");
    }
    Ok(())
}

/// The temporary files that are at the server.
fn parts(host: &SshHost) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(host.server.folder())?;
    let names =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<Vec<_>>>()?;
    Ok(names.into_iter().filter(|name| name.ends_with(".part")).collect())
}

#[tokio::test]
async fn a_host_that_the_policy_refuses_never_hears_of_us() -> Result<()> {
    let host = SshHost::start()?;
    let options = CallOptions { allow: vec!["localhost:1".into()], ..Default::default() };
    let inputs = inputs(&host, json!({ "mode": "list" }));
    let error = call_with(&Sftp, &TestFiles::new(), inputs, &options).await.expect_err("not on the list");
    assert_eq!((error.class, error.sent), (ErrorClass::Egress, Sent::No), "{error}");
    assert!(error.message.contains("add \"localhost\" to allow under [egress] in surefoot.toml"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_silent_host_is_a_timeout_within_the_configured_time() -> Result<()> {
    let silent = StandIn::silent()?;
    let mute = SshHost::running("read -r never; exit 0")?;
    let files = TestFiles::new();
    for (host_port, more) in [
        (Some(silent.port()), json!({ "mode": "list", "connect_timeout": 0.5 })),
        (None, json!({ "mode": "list", "socket_timeout": 0.5 })),
    ] {
        let more = host_port.iter().fold(more, |more, port| merged(more, json!({ "port": port })));
        let error = sftp(&mute, &files, more.clone()).await.expect_err("it never answers");
        assert_eq!((error.class, error.sent), (ErrorClass::Timeout, Sent::No), "{more}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_peer_that_does_not_speak_sftp_is_never_success() -> Result<()> {
    for (command, classes) in [
        ("echo Welcome to the host; cat >/dev/null", &[ErrorClass::Network, ErrorClass::Protocol][..]),
        ("exit 1", &[ErrorClass::Network]),
        // The version in a packet of half its length.
        ("printf '\\000\\000\\000\\005\\002\\000\\000'", &[ErrorClass::Network]),
        // A status where the version should be.
        (
            "printf '\\0\\0\\0\\21e\\0\\0\\0\\1\\0\\0\\0\\4'; head -c 8 /dev/zero; cat >/dev/null",
            &[ErrorClass::Network, ErrorClass::Protocol, ErrorClass::Timeout],
        ),
    ] {
        let host = SshHost::running(command)?;
        let more = json!({ "mode": "delete", "path": "a", "socket_timeout": 2 });
        let error = sftp(&host, &TestFiles::new(), more).await.expect_err(command);
        assert!(classes.contains(&error.class), "{command}: {error:?}");
        assert_eq!(error.sent, Sent::No, "{command}: {error}");
    }
    let host = SshHost::start()?;
    for peer in [StandIn::babbling(b"HTTP/1.1 400 Bad Request\r\n\r\n")?, StandIn::hanging_up_after(b"SSH-2.0-x\r\n")?]
    {
        let more = json!({ "mode": "list", "port": peer.port(), "connect_timeout": 1 });
        let error = sftp(&host, &TestFiles::new(), more).await.expect_err("it is no server");
        assert!(matches!(error.class, ErrorClass::Network | ErrorClass::Protocol | ErrorClass::Timeout), "{error:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_that_is_cut_is_never_success() -> Result<()> {
    const SIZE: u64 = 16 << 20;
    let host = SshHost::start()?;
    std::fs::File::create(host.remote("large"))?.set_len(SIZE)?;
    let files = TestFiles::new();
    files.put_generated("large", SIZE).hash_only();
    let server = ([127, 0, 0, 1], host.server.port()).into();
    for bytes in [10, 500, 1500, 100_000, 8 << 20] {
        for (cut, more) in [
            (CutAfter::Answered(bytes), json!({ "src": host.remote("large"), "dst": "surefoot:back" })),
            (CutAfter::Asked(bytes), json!({ "src": "surefoot:large", "dst": host.remote("up") })),
        ] {
            let proxy = StandIn::cutting(server, cut)?;
            let started = tokio::time::Instant::now();
            let error =
                sftp(&host, &files, merged(more, json!({ "port": proxy.port() }))).await.expect_err("it was cut");
            assert!(matches!(error.class, ErrorClass::Network | ErrorClass::Protocol), "{cut:?}: {error:?}");
            assert!(
                started.elapsed() < Duration::from_secs(8),
                "a cut is noticed without waiting for a limit: {cut:?}"
            );
            assert!(files.stored("back").is_none(), "{cut:?}");
            assert!(!std::fs::exists(host.remote("up"))?, "{cut:?}");
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
    let host = SshHost::start()?;
    let files = TestFiles::new();
    files.put_generated("large", SIZE).hash_only();
    let expected = json!({ "size_bytes": SIZE, "sha256": generated_sha256(SIZE) });

    let growth = MemoryGrowth::start();
    let path = host.remote("large");
    let up = sftp(&host, &files, json!({ "src": "surefoot:large", "dst": path })).await?;
    let down = sftp(&host, &files, json!({ "src": path, "dst": "surefoot:back" })).await?;
    let grown = growth.peak_kib();
    assert_eq!((&up, &down), (&expected, &expected));
    assert_eq!(files.stored("back").context("it was stored")?.size_bytes, SIZE);
    assert!(grown < 40 << 10, "memory has grown by {grown} KiB");
    Ok(())
}

#[tokio::test]
async fn an_upload_whose_source_fails_leaves_nothing_behind() -> Result<()> {
    let host = SshHost::start()?;
    std::fs::write(host.remote("a"), "old")?;
    let files = TestFiles::new();
    files.put_failing("a", vec![b'x'; 300_000]);
    let more = json!({ "src": "surefoot:a", "dst": host.remote("a") });
    let error = sftp(&host, &files, more).await.expect_err("it breaks");
    assert_eq!((error.class, error.sent), (ErrorClass::Storage, Sent::Unknown), "{error}");
    assert_eq!(std::fs::read(host.remote("a"))?, b"old");
    assert!(parts(&host)?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_attempt_takes_over_what_an_interrupted_one_has_left() -> Result<()> {
    let host = SshHost::start()?;
    let files = TestFiles::new();
    files.put_generated("large", 256 << 20);
    // Dropped in the middle, as when the process dies.
    let upload = inputs(&host, json!({ "src": "surefoot:large", "dst": host.remote("large") }));
    let something_has_arrived = async {
        while parts(&host)?.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        _ = call(&Sftp, &files, upload) => anyhow::bail!("the upload was faster than the test"),
        arrived = something_has_arrived => arrived?,
    }
    assert_eq!(parts(&host)?.len(), 1);
    files.put("large", "short this time");
    sftp(&host, &files, json!({ "src": "surefoot:large", "dst": host.remote("large") })).await?;
    assert_eq!(std::fs::read(host.remote("large"))?, b"short this time");
    assert!(parts(&host)?.is_empty());
    Ok(())
}

#[test]
fn effects_follow_the_inputs() {
    let base = json!({ "hostname": "h", "username": "u", "password": "p" });
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
        let inputs = merged(base.clone(), more);
        assert_eq!(Sftp.effect(inputs.as_object().expect("an object")), effect, "{inputs}");
    }
    let schema = Sftp.input_schema();
    for secret in ["password", "key", "passphrase"] {
        assert_eq!(schema["properties"][secret]["writeOnly"], true, "{schema:#}");
    }
}
