//! The trash of executions, and the limits of the settings file.

use serde_json::json;

use crate::support::Cli;

/// Looks at the workspace, each of them a process, before a sweep counts as not done.
const LOOKS_MAX: usize = 2000;

#[test]
fn executions_go_to_the_trash_and_come_back() {
    let cli = Cli::new();
    cli.deploy("hello");
    let first = cli.json(&["run", "hello"])["id"].as_str().unwrap().to_owned();
    cli.ok(&["run", "hello"]);
    cli.ok(&["execution", "remove", &first]);
    assert_eq!(cli.json(&["execution", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(cli.json(&["execution", "list", "--trash"])[0]["id"], first.as_str());
    cli.ok(&["execution", "restore", &first]);
    cli.run(&["execution", "restore", &first]).refused(64, &["in the trash"]);
    let system = cli.json(&["system"]);
    assert_eq!((&system["executions_ended"], &system["executions_trashed"]), (&json!(2), &json!(0)));
    let text = cli.ok(&["system"]);
    assert!(
        text.contains("30 days, at most 1000000 executions, at most 10.0 GiB; then in the trash for 7 days"),
        "{text}"
    );
    cli.ok(&["execution", "delete", &first, "--permanently"]);
    cli.run(&["execution", "delete", "none"]).refused(64, &["there is no execution `none`"]);
}

#[test]
fn a_server_keeps_what_the_settings_say() {
    let cli = Cli::new();
    cli.deploy("hello");
    for _ in 0..4 {
        cli.ok(&["run", "hello"]);
    }
    let newest = cli.json(&["execution", "list"])[0]["id"].clone();
    std::fs::write(cli.data().join("surefoot.toml"), "[retention]\nexecutions_max = 1\ntrash_age_days = 0\n").unwrap();
    let server = cli.serve(&[]);
    let swept = (0..LOOKS_MAX).any(|_| {
        let system = cli.json(&["system"]);
        (&system["executions_ended"], &system["executions_trashed"]) == (&json!(1), &json!(0))
    });
    assert!(swept, "{}", cli.json(&["system"]));
    assert_eq!(cli.json(&["execution", "list"])[0]["id"], newest);
    assert_eq!(server.stop(), Some(0));

    std::fs::write(cli.data().join("surefoot.toml"), "[retention]\nage = 1\n").unwrap();
    cli.run(&["execution", "list"]).refused(64, &["surefoot.toml", "age", "hint: "]);
}
