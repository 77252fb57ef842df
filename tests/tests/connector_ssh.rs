//! The connector type `ssh` against OpenSSH, and against peers that misbehave. Keys and host keys are tested with
//! `scp`, which shares them.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use surefoot_connector_api::{CallError, Connector, Effect, ErrorClass, Sent};
use surefoot_connectors::ssh::Ssh;
use surefoot_tests::connector_harness::{
    CallOptions, MemoryGrowth, TestFiles, call, call_with, generated_sha256, merged, runs_elsewhere, sha256,
    without_nulls,
};
use surefoot_tests::servers::ssh::{KeyPair, SshHost};
use surefoot_tests::servers::stand_in::{CutAfter, StandIn};

/// Inputs that work, with `more` on top.
fn inputs(host: &SshHost, more: Value) -> Value {
    let inputs = merged(host.inputs().expect("the server has keys"), json!({ "command_timeout": 30 }));
    without_nulls(merged(inputs, more))
}

async fn ssh(host: &SshHost, files: &TestFiles, more: Value) -> Result<Value, CallError> {
    call(&Ssh, files, inputs(host, more)).await
}

/// Without a file store.
async fn run(host: &SshHost, more: Value) -> Result<Value, CallError> {
    ssh(host, &TestFiles::new(), more).await
}

#[tokio::test]
async fn a_command_runs_with_what_it_reads_and_prints() -> Result<()> {
    let host = SshHost::start()?;
    let output = run(&host, json!({ "command": "echo out ü; echo err >&2; cat", "stdin": "in" })).await;
    let expected = json!({
        "exit_code": 0, "stdout": "out ü\nin", "stdout_size_bytes": 9, "stderr": "err\n", "stderr_size_bytes": 4,
    });
    assert_eq!(output.with_context(|| host.server.log())?, expected);

    let quiet = run(&host, json!({ "command": "true" })).await?;
    assert_eq!((&quiet["stdout"], &quiet["exit_code"]), (&json!(""), &json!(0)));
    // Nothing is to be read, and the command sees that.
    assert_eq!(run(&host, json!({ "command": "cat; echo end" })).await?["stdout"], "end\n");
    // A command that does not read all that it is given.
    let more = json!({ "command": "head -c 3", "stdin": "x".repeat(10 << 20) });
    assert_eq!(run(&host, more).await?["stdout"], "xxx");
    // One that fills its output before it reads.
    let more = json!({ "command": "head -c 3000000 /dev/zero | tr '\\0' a; wc -c", "stdin": "x".repeat(3_000_000) });
    let output = run(&host, merged(more, json!({ "output_bytes_max": 4_000_000 }))).await?;
    assert_eq!(output["stdout_size_bytes"], 3_000_008);
    assert!(output["stdout"].as_str().is_some_and(|text| text.ends_with("a3000000\n")));
    Ok(())
}

#[tokio::test]
async fn a_script_is_read_by_its_interpreter() -> Result<()> {
    let host = SshHost::start()?;
    let script = "x=(one 'two \" $x')\nfor y in \"${x[@]}\"; do echo \"$y\"; done\n";
    assert_eq!(run(&host, json!({ "script": script })).await?["stdout"], "one\ntwo \" $x\n");
    let more = json!({ "script": "echo $0 $1", "interpreter": "sh -s -- argument" });
    assert_eq!(run(&host, more).await?["stdout"], "sh argument\n");
    // The default interpreter stops at the first error.
    let error = run(&host, json!({ "script": "false\necho never" })).await.expect_err("it fails");
    assert_eq!(error.peer_code.as_deref(), Some("1"));
    Ok(())
}

#[tokio::test]
async fn the_environment_is_set_or_nothing_runs() -> Result<()> {
    let host = SshHost::start()?;
    let more = json!({ "command": "echo $TEST_A-$TEST_B", "env": { "TEST_A": "a b", "TEST_B": "" } });
    assert_eq!(run(&host, more).await?["stdout"], "a b-\n");
    let marker = host.remote("marker");
    let more = json!({ "command": format!("touch {marker}"), "env": { "TEST_A": "1", "OTHER": "2" } });
    let error = run(&host, more).await.expect_err("it is not accepted");
    assert_eq!((error.class, error.sent), (ErrorClass::Refused, Sent::Rejected), "{error}");
    assert!(error.message.contains("`OTHER`"), "{error}");
    assert!(!std::fs::exists(marker)?);
    Ok(())
}

#[tokio::test]
async fn a_failed_command_is_an_error_unless_it_is_not_checked() -> Result<()> {
    let host = SshHost::start()?;
    let fails = json!({ "command": "echo said; echo why not >&2; exit 7" });
    let files = TestFiles::new();
    let error = ssh(&host, &files, merged(fails.clone(), json!({ "stdout_file": "surefoot:out" }))).await;
    let error = error.expect_err("exit code 7");
    assert_eq!((error.class, error.sent), (ErrorClass::Refused, Sent::Unknown), "{error}");
    assert_eq!(error.peer_code.as_deref(), Some("7"));
    assert_eq!(error.message, "the command ended with exit code 7: why not");
    assert!(files.stored("out").is_none());
    let reads = merged(fails.clone(), json!({ "effect": "read" }));
    assert_eq!(run(&host, reads).await.expect_err("exit code 7").sent, Sent::Rejected);
    let output = run(&host, merged(fails, json!({ "check": false }))).await?;
    assert_eq!(
        (&output["exit_code"], &output["stdout"], &output["stderr"]),
        (&json!(7), &json!("said\n"), &json!("why not\n"))
    );

    let killed = json!({ "command": "kill -KILL $$" });
    let error = run(&host, killed.clone()).await.expect_err("it is killed");
    assert_eq!(error.peer_code.as_deref(), Some("KILL"), "{error}");
    let output = run(&host, merged(killed, json!({ "check": false }))).await?;
    assert_eq!((&output["exit_code"], &output["exit_signal"]), (&Value::Null, &json!("KILL")));
    Ok(())
}

#[tokio::test]
async fn output_is_limited_or_goes_to_files() -> Result<()> {
    let host = SshHost::start()?;
    let files = TestFiles::new();
    let more = json!({ "command": "head -c 100000 /dev/zero | tr '\\0' a; printf b >&2", "output_bytes_max": 10 });
    let output = ssh(&host, &files, more).await?;
    assert_eq!((&output["stdout"], &output["stdout_size_bytes"]), (&json!("aaaaaaaaaa"), &json!(100_000)));
    assert_eq!((&output["stderr"], &output["truncated"]), (&json!("b"), &json!(true)));
    let more = json!({
        "command": "printf 'a\\377b'; printf c >&2", "stdout_file": "surefoot:out", "stderr_file": "cloudomation:err",
    });
    let output = ssh(&host, &files, more).await?;
    assert!(output.get("stdout").is_none() && output.get("stderr").is_none(), "{output}");
    assert_eq!(files.get("out").as_deref(), Some(&b"a\xffb"[..]));
    assert_eq!(files.get("err").as_deref(), Some(&b"c"[..]));
    let replaced = run(&host, json!({ "command": "printf 'a\\377b'" })).await?;
    assert_eq!(replaced["stdout"], "a\u{fffd}b");
    Ok(())
}

#[tokio::test]
async fn wrong_credentials_are_an_auth_error() -> Result<()> {
    let host = SshHost::start()?;
    let stranger = KeyPair::generate(host.keys(), "stranger", "ed25519", "")?;
    for (more, class, sent) in [
        (json!({ "key": stranger.private }), ErrorClass::Auth, Sent::Rejected),
        (json!({ "key": null, "password": "wrong-one" }), ErrorClass::Auth, Sent::Rejected),
        (json!({ "username": "no-such-user" }), ErrorClass::Auth, Sent::Rejected),
        (json!({ "hostkey": stranger.public }), ErrorClass::Untrusted, Sent::No),
        (json!({ "hostkey": null }), ErrorClass::InvalidInput, Sent::No),
    ] {
        let error = run(&host, merged(json!({ "command": "true" }), more.clone())).await.expect_err("a stranger");
        assert_eq!((error.class, error.sent), (class, sent), "{more}: {error}");
    }
    let more = json!({ "command": "true", "hostkey": null, "hostkey_check": false });
    assert!(run(&host, more).await?["warning"].is_string());
    Ok(())
}

#[tokio::test]
async fn inputs_that_make_no_sense_are_refused() -> Result<()> {
    let host = SshHost::start()?;
    for (more, hint) in [
        (json!({}), "`command` or `script`"),
        (json!({ "command": "a", "script": "b" }), "`command` or `script`"),
        (json!({ "command": " " }), "empty"),
        (json!({ "script": "a", "stdin": "b" }), "standard input"),
        (json!({ "command": "a", "stdin": "b", "stdin_file": "surefoot:c" }), "either"),
        (json!({ "command": "a", "stdin_file": "c" }), "`surefoot:NAME`"),
        (json!({ "command": "a", "stdout_file": "surefoot:" }), "`stdout_file`"),
        (json!({ "command": "a", "script_timeout": 1 }), "mean the same"),
        (json!({ "command": "a", "env": { "A=B": "c" } }), "`A=B`"),
        (json!({ "comand": "a" }), "did you mean `command`?"),
    ] {
        let error = run(&host, more.clone()).await.expect_err("it makes no sense");
        assert_eq!((error.class, error.sent), (ErrorClass::InvalidInput, Sent::No), "{more}: {error}");
        assert!(error.message.contains(hint), "{more}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_host_that_the_policy_refuses_never_hears_of_us() -> Result<()> {
    let host = SshHost::start()?;
    let options = CallOptions { allow: vec!["localhost:1".into()], ..Default::default() };
    let inputs = inputs(&host, json!({ "command": "true" }));
    let error = call_with(&Ssh, &TestFiles::new(), inputs, &options).await.expect_err("not on the list");
    assert_eq!((error.class, error.sent), (ErrorClass::Egress, Sent::No), "{error}");
    assert!(error.message.contains("add \"localhost\" to allow under [egress] in surefoot.toml"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_silent_host_is_a_timeout_within_the_configured_time() -> Result<()> {
    let host = SshHost::start()?;
    let silent = StandIn::silent()?;
    let hold = host.remote("hold");
    std::fs::write(&hold, "")?;
    // Ends with the folder.
    let waits = format!("while [ -e {hold} ]; do sleep 0.05; done");
    for (more, sent) in [
        (json!({ "port": silent.port(), "connect_timeout": 0.5 }), Sent::No),
        (json!({ "command_timeout": 0.5 }), Sent::Unknown),
        (json!({ "command_timeout": 0.5, "effect": "read" }), Sent::No),
    ] {
        let started = tokio::time::Instant::now();
        let more = merged(inputs(&host, json!({ "command": waits, "command_timeout": null })), more);
        let error = call(&Ssh, &TestFiles::new(), more.clone()).await.expect_err("it never ends");
        assert_eq!((error.class, error.sent), (ErrorClass::Timeout, sent), "{more}: {error}");
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_that_is_cut_is_never_success() -> Result<()> {
    let host = SshHost::start()?;
    let files = TestFiles::new();
    files.put_generated("large", 16 << 20).hash_only();
    let server = ([127, 0, 0, 1], host.server.port()).into();
    for bytes in [10, 500, 1500, 100_000, 8 << 20] {
        for cut in [CutAfter::Answered(bytes), CutAfter::Asked(bytes)] {
            let proxy = StandIn::cutting(server, cut)?;
            let more = json!({
                "command": "cat", "stdin_file": "surefoot:large", "stdout_file": "surefoot:back", "port": proxy.port(),
            });
            let error = ssh(&host, &files, more).await.expect_err("it was cut");
            assert!(matches!(error.class, ErrorClass::Network | ErrorClass::Protocol), "{cut:?}: {error:?}");
            // Between these the login ends and the command begins.
            assert!(bytes > 500 || error.sent == Sent::No, "{cut:?}: {error:?}");
            assert!(bytes < 100_000 || error.sent == Sent::Unknown, "{cut:?}: {error:?}");
            assert!(files.stored("back").is_none(), "{cut:?}");
        }
    }
    for peer in [StandIn::babbling(b"HTTP/1.1 400 Bad Request\r\n\r\n")?, StandIn::hanging_up_after(b"SSH-2.0-x\r\n")?]
    {
        let more = json!({ "command": "true", "port": peer.port(), "connect_timeout": 1 });
        let error = run(&host, more).await.expect_err("it is no server");
        assert!(matches!(error.class, ErrorClass::Network | ErrorClass::Protocol | ErrorClass::Timeout), "{error:?}");
        assert_eq!(error.sent, Sent::No, "{error}");
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
    let growth = MemoryGrowth::start();
    let more = json!({ "command": "cat", "stdin_file": "surefoot:large", "stdout_file": "surefoot:back" });
    let output = ssh(&host, &files, more).await?;
    let grown = growth.peak_kib();
    assert_eq!(output["stdout_size_bytes"], SIZE);
    let stored = files.stored("back").context("it was stored")?;
    assert_eq!((stored.size_bytes, stored.sha256), (SIZE, generated_sha256(SIZE)));
    assert!(grown < 40 << 10, "memory has grown by {grown} KiB");
    Ok(())
}

#[tokio::test]
async fn what_a_command_reads_from_the_workspace_may_fail() -> Result<()> {
    let host = SshHost::start()?;
    let files = TestFiles::new();
    files.put_failing("broken", vec![b'x'; 300_000]).put("fine", "content");
    let path = host.remote("copy");
    let copy = |file: &str| json!({ "command": format!("cat >{path}"), "stdin_file": format!("surefoot:{file}") });
    ssh(&host, &files, copy("fine")).await?;
    assert_eq!(sha256(&std::fs::read(&path)?), sha256(b"content"));
    let error = ssh(&host, &files, copy("broken")).await.expect_err("it breaks");
    assert_eq!((error.class, error.sent), (ErrorClass::Storage, Sent::Unknown), "{error}");
    let error = ssh(&host, &files, copy("none")).await.expect_err("it is not there");
    assert_eq!((error.class, error.sent), (ErrorClass::NotFound, Sent::No), "{error}");
    Ok(())
}

#[test]
fn a_command_writes_unless_the_call_says_otherwise() {
    for (more, effect) in [
        (json!({}), Effect::Write),
        (json!({ "effect": "read" }), Effect::Read),
        (json!({ "effect": "idempotent" }), Effect::Idempotent),
    ] {
        let inputs = merged(json!({ "hostname": "h", "username": "u", "command": "true" }), more);
        assert_eq!(Ssh.effect(inputs.as_object().expect("an object")), effect, "{inputs}");
    }
    let schema = Ssh.input_schema();
    for secret in ["password", "key", "passphrase"] {
        assert_eq!(schema["properties"][secret]["writeOnly"], true, "{schema:#}");
    }
    for (name, property) in schema["properties"].as_object().expect("an object") {
        assert!(property["description"].is_string(), "input `{name}` has no description");
    }
}
