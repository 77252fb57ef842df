//! The demo: everything in order, and broken on purpose.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Cli, Done, signal};

/// The labels of the flow's checks, in its order.
const CHECKS: [&str; 7] = [
    "my-ftp-connector",
    "my-scp-connector",
    "my-mssql-connector",
    "my-smtp-connector",
    "my-self-build-scheduler",
    "my-critical-flow-1",
    "my-critical-flow-2",
];

fn outcomes(answer: &Value) -> Vec<(&str, &str)> {
    let checks = answer["checks"].as_array().unwrap().iter();
    checks.map(|check| (check["name"].as_str().unwrap(), check["outcome"].as_str().unwrap())).collect()
}

fn answer(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", done.stdout, done.stderr))
}

/// The webhook answers 200 when nothing is broken, and the demo shows the checks, the answer and the way on.
#[test]
fn c_24_c_25_the_demo_succeeds() {
    let cli = Cli::new();
    let done = cli.run(&["demo", "--data", "kept"]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let lines: Vec<&str> = done.stdout.lines().collect();
    for (line, check) in lines.iter().zip(CHECKS) {
        assert!(line.starts_with("  pass") && line.contains(check), "{}", done.stdout);
    }
    assert!(lines[8].starts_with("HTTP 200 after "), "{}", done.stdout);
    assert_eq!(&lines[9..], ["Test successful."], "{}", done.stdout);
    for said in ["Finished", "started the target systems", "execution journal", "X-Surefoot-Key"] {
        assert!(done.stderr.contains(said), "`{said}` is not in: {}", done.stderr);
    }
    // What it left behind can be looked at, as it says.
    let rows = cli.json(&["--data", "kept", "execution", "list", "--type", "FLOW", "--filter", BY_WEBHOOK]);
    assert_eq!((&rows[0]["name"], &rows[0]["response"]["status"]), (&"upgrade-safely".into(), &200.into()));
    assert!(!cli.folder().join("kept/surefoot.sock").exists());
}

/// With `--keep` the server goes on, and can be asked and called, until Ctrl-C.
#[test]
fn a_kept_demo_runs_until_it_is_stopped() {
    let cli = Cli::new();
    let mut command = cli.command(&["demo", "--keep", "--data", "data", "--output", "json"]);
    let mut child = Killed(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(child.0.stderr.take().unwrap()).lines();
    said.find(|line| line.as_ref().unwrap().contains("Ctrl-C stops it")).expect("it says so").unwrap();
    assert_eq!(cli.json(&["execution", "list", "--filter", BY_WEBHOOK])[0]["status"], "ENDED_SUCCESS");
    assert_eq!(cli.run(&["webhook", "call", "upgrade-check"]).code, 1, "it wants its key");
    signal(&child.0, Signal::SIGINT);
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    assert!(!cli.data().join("surefoot.sock").exists());
}

/// Ends with the test, whatever the test's end.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const BY_WEBHOOK: &str = r#"{"field": "webhook_id", "op": "is_null", "value": false}"#;

/// The webhook answers 500 with every failed check and no other.
#[test]
fn c_24_c_25_the_demo_shows_what_is_broken() {
    let cli = Cli::new();
    let done = cli.run(&["demo", "--break", "scheduler,smtp,flow-2", "--output", "json"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    let answer = answer(&done);
    let broken = ["my-smtp-connector", "my-self-build-scheduler", "my-critical-flow-2"];
    let expected = CHECKS.map(|check| (check, if broken.contains(&check) { "fail" } else { "pass" }));
    assert_eq!(outcomes(&answer), expected);
    assert_eq!(answer["status"], 500);
    let lines: Vec<String> = broken.iter().map(|check| format!("{check} failed")).collect();
    assert_eq!(answer["body"], format!("Test unsuccessful. Errors: \n{}", lines.join("\n")));
}
