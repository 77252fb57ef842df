//! Secrets, end to end: they reach the servers that connectors call, and stand nowhere else, whatever those servers
//! say.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_tests::command::{command, surefoot, surefoot_json};
use surefoot_tests::leaks::{find_leak, search_data};
use surefoot_tests::server_process::{Launch, SurefootProcess};
use surefoot_tests::servers::echo::EchoServer;
use surefoot_tests::workspace::{Workspace, id};

/// What stands in each of the twenty, between letters of its own: what encoders treat differently.
const SIGNS: [&str; 10] = [
    "plain",
    "a\"b\\c'd",
    "ü ß € 😀",
    "50% %41 +&=",
    "line one of it\nline two of it",
    "</>?:;",
    "a b  c",
    "\t{}[]",
    "~-._!",
    "x/y+z==",
];

fn twenty() -> Vec<String> {
    let random = || uuid::Uuid::new_v4().simple().to_string()[..10].to_owned();
    (0..20).map(|n| format!("{}{}{}", random(), SIGNS[n / 2], random())).collect()
}

/// Gives the binary a secret, in turns on standard input and in a file, and returns all that it says.
fn set_secret(data: &Path, name: &str, value: &str, by_file: bool) -> Result<String> {
    let file = data.with_file_name("value");
    let mut arguments = vec!["secret", "set", name, "--output", "json"];
    if by_file {
        std::fs::write(&file, value)?;
        arguments.extend(["--value-file", file.to_str().context("a path")?]);
    }
    let mut command = command(data, &arguments)?;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("it is piped")?;
    if !by_file {
        stdin.write_all(value.as_bytes())?;
    }
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    if by_file {
        std::fs::remove_file(&file)?;
    }
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// The configuration of a connector that uses the secret, each number in another place.
fn config(url: &str, n: usize, secret: &str) -> Value {
    let reference = format!("secret(s{n})");
    let secret = if n.is_multiple_of(3) { secret } else { &reference };
    match n % 4 {
        0 => json!({ "url": url, "secret_query": { "key": secret } }),
        1 => json!({ "url": url, "username": "user", "password": secret }),
        2 => json!({ "url": url, "query": { "open": reference } }),
        _ => json!({ "url": url, "method": "POST", "text": reference, "secret_query": { "key": secret } }),
    }
}

/// Everything that the API shows of the workspace.
async fn everything(server: &SurefootProcess) -> Result<String> {
    let get = async |path: String| -> Result<String> {
        Ok(server.request(Method::GET, &path).send().await?.error_for_status().context(path)?.text().await?)
    };
    let mut shown = server.health().await?.to_string();
    for (kind, ..) in Kind::ALL {
        shown += &get(format!("{}?limit=1000", kind.plural())).await?;
        shown += &get(format!("{}?limit=1000&deleted=true", kind.plural())).await?;
    }
    shown += &server.metrics().await?;
    let rows = server.api(Method::GET, "executions?limit=1000", None).await?;
    for row in rows["rows"].as_array().context("rows")? {
        for what in ["", "/journal", "/log"] {
            shown += &get(format!("executions/{}{what}", id(row))).await?;
        }
    }
    Ok(shown)
}

async fn start(data: &Path, log: &File) -> Result<SurefootProcess> {
    // As much as can be logged.
    let through = ["env", "SUREFOOT_LOG=trace"].map(str::to_owned).to_vec();
    Launch { through, log: Some(log.try_clone()?), ..Launch::new(data) }.start().await
}

/// Twenty secrets are used, echoed in every form, and the server is killed meanwhile. They are found in no byte of the
/// data folder, of the logs, of any answer, of a backup, nor of what the command line prints.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_secrets_are_found_nowhere() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (data, backup, mut log) = (folder.path().join("data"), folder.path().join("backup"), tempfile::tempfile()?);
    let (echo, secrets) = (EchoServer::start()?, twenty());
    let server = start(&data, &log).await?;
    let mut said = String::new();
    for (n, secret) in secrets.iter().enumerate() {
        said += &set_secret(&data, &format!("s{n}"), secret, n % 2 == 0)?;
        let fields = json!({ "type": "http", "config": config(&echo.url(), n, secret) });
        said += &server.save(&format!("connectors/c{n}"), fields).await?.to_string();
    }
    server.deploy("test-guest").await?;
    let call = |n: usize, inputs: Value| json!({ "do": "connect", "connector": format!("c{n}"), "inputs": inputs });
    let mut steps: Vec<Value> = (0..20).map(|n| call(n, json!({}))).collect();
    steps.push(json!({ "do": "signal", "name": "go" }));
    let paths = ["fail/", "binary/", "x"];
    steps.extend((0..20).map(|n| call(n, json!({ "path": paths[n % 3] }))));
    let run = server.run("test-guest", json!({ "mode": "script", "steps": steps })).await?;
    server.until(Method::GET, &format!("executions/{run}"), None, |_, row| row["status"] == "WAITING").await?;
    server.kill().await?;

    let server = start(&data, &log).await?;
    server.api(Method::POST, &format!("executions/{run}/signals/go"), Some(json!({}))).await?;
    let row = server.ended(&run).await?;
    assert_eq!(row["status"], "ENDED_SUCCESS", "{row:#}");
    let told = echo.told();
    for (n, secret) in secrets.iter().enumerate() {
        let count = told.iter().filter(|told| *told == secret).count();
        assert!(count >= 2, "the echo was told {secret:?}, which is c{n}'s, {count} times");
    }
    assert!(row["output"].to_string().matches("***").count() > 400, "it was echoed: {row:#}");

    let fields = json!({ "flow_id": "test-guest", "is_enabled": true, "is_key_required": false });
    server.save("webhooks/hook", fields).await?;
    let connect = json!({ "mode": "connect", "connector": "c4", "inputs": {} });
    said += &server.call_webhook("hook", "1", &connect).await?;
    assert!(said.contains("you said ***"), "{said}");
    for n in [0, 1, 2, 3] {
        let ran = surefoot(&data, &["connector", "test", &format!("c{n}"), "path=fail/"])?;
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        said += &(ran.stdout + &ran.stderr);
    }
    let backup_path = backup.to_str().context("a path")?;
    for arguments in [
        &["secret", "list"][..],
        &["secret", "show", "s1"],
        &["connector", "list"],
        &["connector", "show", "c1"],
        &["execution", "show", &run],
        &["execution", "journal", &run],
        &["audit", "list"],
        &["backup", backup_path],
    ] {
        let ran = surefoot(&data, arguments)?;
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
        said += &(ran.stdout + &ran.stderr);
    }
    said += &everything(&server).await?;
    server.kill().await?;
    log.rewind()?;
    let read = log.read_to_string(&mut said)?;
    assert!(read > 10_000, "a log that says much: {read}");

    assert!(said.contains("c19") && said.contains("you said"), "the search looks at the right things");
    assert_eq!(find_leak(said.as_bytes(), &secrets), None);
    assert!(search_data(&data, &secrets)? > 100_000);
    assert!(search_data(&backup, &secrets)? > 100_000);
    assert!(search_data(&data, &["you said ".to_owned()]).is_err(), "what was echoed stands there");
    Ok(())
}

/// Who calls again after a secret was changed uses the new value, a replay asks nothing again, a reference in an input
/// that is not secret is a text like any other, and one that the flow was called with is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_changed_while_flows_run() -> Result<()> {
    let (workspace, echo) = (Workspace::open()?, EchoServer::start()?);
    workspace.deploy(&["test-guest"]).await?;
    workspace.save(Kind::Secret, "key", json!({ "value": "the first value" })).await?;
    let config = json!({ "url": echo.url(), "secret_query": { "key": "secret(key)" } });
    workspace.save(Kind::Connector, "c", json!({ "type": "http", "config": config })).await?;
    let call = |inputs: Value| json!({ "do": "connect", "connector": "c", "inputs": inputs });
    let steps = json!([
        call(json!({})),
        { "do": "signal", "name": "go" },
        call(json!({ "secret_query": { "other": "own(key)" } })),
        call(json!({ "query": { "open": "secret(open)" } })),
        { "do": "caught", "step": call(json!({ "secret_query": { "other": "secret(of-caller)" } })) },
        call(json!({ "secret_query": { "key": "own(missing)" } })),
    ]);
    workspace.save(Kind::Secret, "of-caller", json!({ "value": "not the caller's value" })).await?;
    let run = workspace.start("test-guest", json!({ "mode": "script", "steps": steps })).await?;
    workspace.until(&run, |row| row["status"] == "WAITING").await?;
    workspace.save(Kind::Secret, "key", json!({ "value": "the second value" })).await?;
    let workspace = workspace.reopen().await?;
    workspace.engine.signal(&run, "go", json!({}), "test", None).await?;
    let row = workspace.ended(&run).await?;
    assert_eq!(row["status"], "ENDED_ERROR", "{row:#}");
    let message = row["error_message"].as_str().unwrap_or_default();
    assert!(message.contains("there is no secret `missing`"), "{row:#}");
    let told = echo.told();
    let of_interest: Vec<_> = told.iter().filter(|told| told.contains("value") || told.contains("secret(")).collect();
    assert_eq!(of_interest, ["the first value", "the second value", "secret(open)", "the second value"]);
    Ok(())
}

/// What an engine of before left in clear is encrypted by the next opening, and none of its bytes are left.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_clear_is_encrypted_at_the_next_opening() -> Result<()> {
    let (workspace, echo) = (Workspace::open()?, EchoServer::start()?);
    let (secret, tried) = ("an old password in clear".to_owned(), "a password tried of old".to_owned());
    let config = json!({ "url": echo.url(), "username": "u", "password": "another" });
    let record = workspace.save(Kind::Connector, "c", json!({ "type": "http", "config": config })).await?;
    let input = json!({ "connector": "c", "inputs": { "password": "another" } });
    let run = workspace.start("native:connect", input).await?;
    workspace.ended(&run).await?;
    let secrets = [secret.clone(), tried.clone()];
    let workspace = workspace
        .reopen_after(|data| {
            let database = Connection::open(data.join("surefoot.db"))?;
            database.execute_batch("DELETE FROM sealed; UPDATE meta SET value = 0 WHERE key = 'secrets_swept'")?;
            let sql = "UPDATE records SET data = json_set(data, '$.config.password', ?2) WHERE id = ?1";
            database.execute(sql, [id(&record), &secret])?;
            let sql = "UPDATE executions SET input = json_set(input, '$.inputs.password', ?2) WHERE id = ?1";
            database.execute(sql, [&run, &tried])?;
            drop(database);
            ensure!(search_data(data, &secrets).is_err(), "it stands there in clear");
            Ok(())
        })
        .await?;
    search_data(workspace.data(), &secrets)?;
    assert_eq!(workspace.record(Kind::Connector, "c").await?["config"]["password"], "***");
    let again = workspace.start("native:connect", json!({ "connector": "c", "inputs": {} })).await?;
    assert_eq!(workspace.ended(&again).await?["status"], "ENDED_SUCCESS");
    let again = workspace.engine.rerun(&run, None, "test").await?;
    assert_eq!(workspace.ended(&again).await?["status"], "ENDED_SUCCESS");
    let told = echo.told();
    assert!(told.contains(&secret) && told.contains(&tried), "{told:?}");
    let workspace = workspace.reopen().await?;
    search_data(workspace.data(), &secrets)?;
    Ok(())
}

/// The key comes from where `surefoot.toml` says, is changed by a command, and no other opens the workspace.
#[test]
fn the_key_of_the_secrets_is_changed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let secret = "kept under lock and key";
    set_secret(&data, "s", secret, false)?;
    let settings = |text: &str| std::fs::write(data.join("surefoot.toml"), text);
    let show = || surefoot(&data, &["secret", "show", "s"]);
    std::fs::write(folder.path().join("the-key"), format!("{}\n", uuid::Uuid::new_v4().simple()))?;
    let file = folder.path().join("the-key");
    let file = file.to_str().context("a path")?;

    let rekeyed = surefoot_json(&data, &["secret", "rekey", "--key-file", file])?;
    assert_eq!(rekeyed["encrypted"], 1, "{rekeyed}");
    let refused = show()?;
    assert!(refused.code != 0 && refused.stderr.contains("[secrets]"), "{}", refused.stderr);
    settings(&format!("[secrets]\n{}\n", rekeyed["setting"].as_str().context("a line")?))?;
    assert_eq!(show()?.code, 0);

    let printed = format!("cat '{file}' | tr a-f 0-5");
    let rekeyed = surefoot_json(&data, &["secret", "rekey", "--key-command", &printed])?;
    assert_ne!(show()?.code, 0, "the old key opens nothing");
    settings(&format!("[secrets]\n{}\n", rekeyed["setting"].as_str().context("a line")?))?;
    assert_eq!(show()?.code, 0);
    let entries = surefoot_json(&data, &["audit", "list"])?;
    let rekeys = entries.as_array().into_iter().flatten().filter(|entry| entry["action"] == "rekey").count();
    assert_eq!(rekeys, 2, "{entries:#}");

    surefoot_json(&data, &["secret", "rekey", "--own-key"])?;
    settings("")?;
    assert_eq!(show()?.code, 0);
    search_data(&data, &[secret.to_owned()])?;
    let both = surefoot(&data, &["secret", "rekey", "--own-key", "--key-file", file])?;
    assert_eq!(both.code, 64, "{}", both.stderr);
    Ok(())
}

/// A value is taken from a file or standard input, a single line without its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_loses_the_end_of_its_only_line() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let echo = EchoServer::start()?;
    let values = [("one-line \n", "one-line "), ("dos-line\r\n", "dos-line"), ("of two\nlines\n", "of two\nlines\n")];
    let server = SurefootProcess::start(&data).await?;
    for (n, (given, stored)) in values.into_iter().enumerate() {
        set_secret(&data, "s", given, n % 2 == 0)?;
        let config = json!({ "url": echo.url(), "secret_query": { "key": "secret(s)" } });
        server.save("connectors/c", json!({ "type": "http", "config": config })).await?;
        let ran = surefoot(&data, &["connector", "test", "c"])?;
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(echo.told().iter().filter(|told| *told == stored).count(), 1, "{stored:?}");
    }
    for (given, code) in [("", 64), ("\n", 64)] {
        let mut command = command(&data, &["secret", "set", "s"])?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        child.stdin.take().context("it is piped")?.write_all(given.as_bytes())?;
        assert_eq!(child.wait()?.code(), Some(code), "{given:?}");
    }
    Ok(())
}
