//! Flows through the binary: deploy, run, look, steer; and from a template to a run.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Cli, signal};

/// A flow compiled from Rust gets its input and returns it.
#[test]
fn c_04_run_hello() {
    let cli = Cli::new();
    cli.deploy("hello");
    let row = cli.json(&["run", "hello", "--input", r#"{"a":1}"#]);
    assert_eq!((&row["output"], &row["status"]), (&json!({"a": 1}), &json!("ENDED_SUCCESS")));
    let done = cli.run_with(&["run", "hello", "--input", "-", "--name", "by hand"], br#"{"a": 2}"#);
    assert_eq!(serde_json::from_str::<Value>(&done.stdout).unwrap(), json!({"a": 2}));
    assert!(done.stderr.contains("INFO  hello with 1 inputs"), "the log comes on standard error: {}", done.stderr);

    let rows = cli.json(&["execution", "list", "--flow", "hello", "--status", "ENDED_SUCCESS"]);
    assert_eq!(rows.as_array().unwrap().len(), 2);
    let id = rows[0]["id"].as_str().unwrap();
    assert_eq!(rows[0]["name"], "by hand");
    assert_eq!(cli.json(&["execution", "log", id])[0]["message"], "hello with 1 inputs");
    assert!(cli.ok(&["execution", "log", id]).contains("hello with 1 inputs"));
    assert!(cli.ok(&["execution", "log", id, "--follow"]).contains("hello with 1 inputs"));
    assert_eq!(cli.json(&["execution", "journal", id])[0]["record"], "started");
    assert_eq!(cli.json(&["execution", "wait", id])["id"], id);
}

#[test]
fn a_run_that_fails_is_1() {
    let cli = Cli::new();
    cli.deploy("my-critical-flow-1");
    let done = cli.run(&["run", "my-critical-flow-1", "--input", r#"{"fail": true}"#]);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""), "{}", done.stderr);
    assert!(done.stderr.contains("ENDED_ERROR") && done.stderr.contains("asked to fail"), "{}", done.stderr);
    let done = cli.run(&["run", "my-critical-flow-1", "--input", r#"{"fail": true}"#, "--output", "json"]);
    let row: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((done.code, &row["status"]), (1, &json!("ENDED_ERROR")));
    assert_eq!(cli.run(&["execution", "wait", row["id"].as_str().unwrap()]).code, 1);

    let row = cli.json(&["run", "my-critical-flow-1", "--input", r#"{"test": true}"#]);
    let parent = row["id"].as_str().unwrap();
    let connections = cli.json(&["execution", "list", "--parent", parent, "--type", "CONNECTION"]);
    assert_eq!(connections[0]["name"], "hand on the total");
}

#[test]
fn an_execution_goes_on_from_one_of_its_calls() {
    let cli = Cli::new();
    cli.deploy("my-critical-flow-1");
    let row = cli.json(&["run", "my-critical-flow-1", "--input", r#"{"test": true}"#]);
    let id = row["id"].as_str().unwrap();
    let journal = cli.json(&["execution", "journal", id]);
    let calls = journal.as_array().unwrap().iter().filter(|record| record["record"] == "call").count();
    for arguments in [vec![], vec!["--newest"]] {
        let from = calls.to_string();
        let restart = [&["execution", "restart", id, "--from", &from], &arguments[..]].concat();
        let new = cli.ok(&restart).trim().to_owned();
        let again = cli.json(&["execution", "wait", &new]);
        assert_eq!((&again["output"], &again["restarted_from"]), (&row["output"], &row["id"]), "{again}");
        assert_eq!(again["restarted_from_call"], calls);
    }
    cli.run(&["execution", "restart", id, "--from", "0"]).refused(64, &["a rerun"]);
    cli.run(&["execution", "restart", id, "--from", "1000"]).refused(64, &["restarted from call 1 to"]);
    assert_eq!(cli.run(&["execution", "restart", id]).code, 64);
}

#[test]
fn a_deadline_is_of_one_run_or_of_a_flow() {
    let cli = Cli::new();
    cli.deploy("long-sleep");
    let done = cli.run(&["run", "long-sleep", "--deadline", "1s", "--output", "json"]);
    let row: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((done.code, &row["error_code"]), (1, &json!("deadline")), "{row}");
    let set = |millis: &str| cli.json(&["flow", "set", "long-sleep", "--deadline-ms", millis]);
    assert_eq!(set("1000")["deadline_ms"], 1000);
    let done = cli.run(&["run", "long-sleep"]);
    assert!(done.code == 1 && done.stderr.contains("it had not ended by its deadline"), "{}", done.stderr);
    assert_eq!(set("null").get("deadline_ms"), None);
    let limits = cli.json(&["flow", "set", "long-sleep", "--max-concurrent", "1", "--priority", "-7"]);
    assert_eq!((&limits["max_concurrent"], &limits["priority"]), (&json!(1), &json!(-7)));
    let queued = |priority: &str| {
        let started = cli.json(&["run", "long-sleep", "--detach", "--priority", priority]);
        cli.json(&["execution", "show", started["id"].as_str().unwrap()])
    };
    queued("0");
    let second = queued("-3");
    assert_eq!((&second["status"], &second["priority"]), (&json!("QUEUED"), &json!(-3)));
    assert!(second["message"].as_str().unwrap().starts_with("waits for a place"), "{second}");
    assert_eq!(cli.run(&["flow", "set", "nothing", "--deadline-ms", "1"]).code, 64);
}

#[test]
fn versions_are_kept() {
    let cli = Cli::new();
    for flow in ["hello", "long-sleep"] {
        let component = xtask::flows::component(flow).unwrap();
        cli.ok(&["deploy", component.to_str().unwrap(), "--name", "f"]);
    }
    let versions = cli.json(&["flow", "versions", "f"]);
    assert_eq!((&versions[0]["is_present"], &versions[1]["is_present"]), (&json!(true), &json!(false)));
    assert_eq!(cli.ok(&["flow", "versions", "f"]).lines().count(), 3);
    cli.run(&["deploy", "/dev/null", "--name", "f"]).refused(64, &["Cargo.toml"]);
    std::fs::write(cli.folder().join("bad.wasm"), "no component").unwrap();
    assert_eq!(cli.run(&["deploy", "bad.wasm"]).code, 64);
}

#[test]
fn what_runs_can_be_steered() {
    let cli = Cli::new();
    let _server = cli.serve(&[]);
    cli.deploy("long-sleep");
    let id = cli.ok(&["run", "long-sleep", "--detach"]).trim().to_owned();
    cli.ok(&["execution", "pause", &id]);
    assert_eq!(cli.json(&["execution", "show", &id])["status"], "PAUSED");
    cli.ok(&["execution", "resume", &id]);
    assert_ne!(cli.json(&["execution", "show", &id])["status"], "PAUSED");
    assert!(cli.json(&["execution", "signal", &id, "go", "--payload", "[1]"])["id"].is_string());
    cli.ok(&["execution", "cancel", &id]);
    let done = cli.run(&["execution", "wait", &id, "--output", "json"]);
    let row: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((done.code, &row["status"]), (1, &json!("ENDED_CANCELLED")));
    cli.run(&["execution", "cancel", &id]).refused(64, &["ENDED_CANCELLED"]);
}

/// Ctrl-C is a cancel, also where the run's own process does the work.
#[test]
fn an_interrupted_run_is_cancelled() {
    let cli = Cli::new();
    cli.deploy("long-sleep");
    let mut command = cli.command(&["-v", "run", "long-sleep", "--output", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It says so when it handles signals; the run is in the store then.
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    said.find(|line| line.as_ref().unwrap().contains("following")).expect("it says that it follows").unwrap();
    signal(&child, Signal::SIGINT);
    said.find(|line| line.as_ref().unwrap().contains("asked it to cancel")).expect("it says so").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["status"], "ENDED_CANCELLED");
}

/// Until nobody reads any more, also through a restart of the server.
#[test]
fn a_list_is_followed() {
    let cli = Cli::new();
    cli.deploy("hello");
    let server = cli.serve(&[]);
    let mut command = cli.command(&["execution", "list", "--follow", "--output", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = |is_it: &dyn Fn(&Value) -> bool| loop {
        let line = lines.next().expect("it has no end").unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        if is_it(&event) {
            return event;
        }
    };
    let is_reset = |event: &Value| event["event"] == "reset";
    until(&is_reset);
    let id = cli.json(&["run", "hello"])["id"].clone();
    let has_ended = |event: &Value| event["execution"]["id"] == id && event["execution"]["ended_at"].is_string();
    assert_eq!(until(&has_ended)["execution"]["status"], "ENDED_SUCCESS");
    cli.ok(&["execution", "remove", id.as_str().unwrap()]);
    assert_eq!(until(&|event| event["event"] == "removed")["id"], id);
    assert_eq!(server.stop(), Some(0));
    let _server = cli.serve(&[]);
    until(&is_reset);
    drop(lines);
    cli.json(&["run", "hello"]);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    cli.run(&["execution", "list", "--follow", "--filter", r#"{"field": "no", "op": "eq", "value": 1}"#])
        .refused(64, &["no"]);
}

/// A compiler without the target gets it, and the user is told; where that fails, so does the build.
#[test]
fn the_wasm_target_is_added_where_it_is_missing() {
    let cli = Cli::new();
    cli.ok(&["new", "my-greeter"]);
    let programs = cli.folder().join("programs");
    std::fs::create_dir(&programs).unwrap();
    for (name, script) in [("rustc", "echo /nowhere"), ("rustup", "echo \"$@\" > asked; exit 3")] {
        let path = programs.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    let output = cli.command(&["build", "my-greeter"]).env("PATH", &programs).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("rustup target add wasm32-wasip2") && said.contains("failed with"), "{said}");
    assert_eq!(output.status.code(), Some(70));
    let asked = std::fs::read_to_string(cli.folder().join("my-greeter/asked")).unwrap();
    assert_eq!(asked, "target add wasm32-wasip2\n");
}

/// The template compiles and runs as it is, in a folder that is nowhere near the checkout.
#[test]
fn a_new_flow_compiles_and_runs() {
    let cli = Cli::new();
    cli.ok(&["new", "my-greeter"]);
    cli.run(&["new", "my-greeter"]).refused(64, &["exists already"]);
    cli.run(&["run", "my-greeter"])
        .refused(64, &["there is no deployed flow `my-greeter`", "surefoot run ./my-greeter"]);
    let built = cli.json(&["build", "my-greeter"]);
    assert_eq!(built["flow"], "my-greeter");
    let component = built["component"].as_str().unwrap();
    assert!(cli.folder().join(component).is_file(), "{component}");
    let row = cli.json(&["run", "./my-greeter", "--input", r#"{"name": "Ada"}"#]);
    assert_eq!(row["output"], json!({"greeting": "Hello, Ada!"}));
    cli.ok(&["deploy", "my-greeter"]);
    assert_eq!(
        cli.json(&["flow", "versions", "my-greeter"]).as_array().unwrap().len(),
        1,
        "the same bytes are one version"
    );
    std::fs::write(cli.folder().join("my-greeter/src/lib.rs"), "fn broken(").unwrap();
    let done = cli.run(&["build", "my-greeter"]);
    assert_eq!((done.code, done.stdout.as_str()), (64, ""));
    assert!(done.stderr.contains("what cargo said stands above"), "{}", done.stderr);
}
