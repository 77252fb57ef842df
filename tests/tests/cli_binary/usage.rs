//! Help, exit codes, and which stream says what.

use std::net::TcpListener;

use serde_json::json;

use crate::support::Cli;

#[test]
fn help_and_version_are_data_and_end_well() {
    let cli = Cli::new();
    for (arguments, says) in [
        (&["--help"][..], "Exit codes: 0 done, 1 a run failed"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["execution", "list", "--help"], "--parent"),
    ] {
        let done = cli.run(arguments);
        assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(done.stdout.contains(says), "{arguments:?}: {}", done.stdout);
    }
    assert!(!cli.data().exists(), "help makes no workspace");
}

#[test]
fn what_cannot_be_done_as_asked_is_64() {
    let cli = Cli::new();
    cli.ok(&["setting", "set", "s", "1"]);
    for (arguments, says) in [
        (&["nonsense"][..], "nonsense"),
        (&["executions", "list", "--status", "nope"], "[possible values: SCHEDULED,"),
        (&["executions", "list", "--type", "nope"], "[possible values: FLOW,"),
        (&["serve", "--listen", "nonsense"], "`nonsense` is no address to listen on"),
        (&["serve", "--listen", "127.0.0.1:99999"], "Write HOST:PORT"),
        (&["run"], "required"),
        (&["flow", "list", "--output", "xml"], "xml"),
        (&["flow", "list", "--limit", "0"], "0"),
        (&["serve", "--allow-egress", "no such host"], "egress rule"),
        (&["demo", "--break", "everything"], "everything"),
        (&["run", "hello", "--input", "{"], "is not JSON"),
        (&["run", "hello"], "there is no flow `hello`"),
        (&["flow", "show", "hello"], "there is no flow `hello`"),
        (&["flow", "remove", "hello"], "there is no flow `hello`"),
        (&["flow", "list", "--filter", r#"{"field":"colour","op":"eq","value":1}"#], "no field `colour`"),
        (&["execution", "show", "1"], "there is no execution"),
        (&["execution", "resume"], "hint: Name its id; or pass --restored"),
        (
            &["execution", "list", "--filter", r#"{"field":"colour","op":"eq","value":1}"#],
            "the kind execution has no field",
        ),
        (&["deploy", "missing.wasm"], "cannot read"),
        (&["deploy", "."], "there is no Cargo.toml"),
        (&["new", "Not-A-Name"], "Not-A-Name"),
        (
            &["connector", "set", "c", "--type", "telepathy"],
            "hint: Types are echo, ftp, http, mssql, mysql, postgres, scp, sftp, smtp, ssh.",
        ),
        (&["connector", "set", "c", "--type", "ftp", "hots=a"], "no input `hots`"),
        (&["webhook", "set", "w", "--no-key", "--generate-key"], "cannot be used with"),
        (&["schedule", "next", "* * *"], "not a cron expression"),
        (&["schedule", "next", "@daily", "-n", "0"], "0 is not in 1..=1000"),
        (&["--server", "ftp://localhost", "flow", "list"], "write http://HOST:PORT"),
    ] {
        cli.run(arguments).refused(64, &[says]);
    }
}

#[test]
fn a_look_at_a_workspace_that_is_not_there_makes_none() {
    let cli = Cli::new();
    for arguments in [
        &["flow", "list"][..],
        &["executions", "show", "x"],
        &["system"],
        &["file", "get", "f"],
        &["flow", "remove", "f"],
    ] {
        cli.run(arguments).refused(64, &["there is no workspace at data", "hint: Name its folder with --data"]);
        assert!(!cli.data().exists(), "{arguments:?}");
    }
    cli.ok(&["setting", "set", "s", "1"]);
    assert_eq!(cli.json(&["executions", "list", "--status", "running"]), serde_json::json!([]));
}

#[test]
fn an_unreachable_server_is_69() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cli = Cli::new();
    cli.run(&["--server", &format!("http://{address}"), "flow", "list"])
        .refused(69, &["cannot reach the server", "hint: "]);
    assert!(!cli.data().exists(), "with a server's address no workspace is touched");
}

#[test]
fn settings_with_unknown_keys_are_refused() {
    let cli = Cli::new();
    std::fs::create_dir(cli.data()).unwrap();
    std::fs::write(cli.data().join("surefoot.toml"), "[egress]\nalow = []\n").unwrap();
    cli.run(&["flow", "list"]).refused(64, &["surefoot.toml", "alow", "hint: "]);
}

#[test]
fn standard_output_holds_data_alone() {
    let cli = Cli::new();
    cli.ok(&["setting", "set", "s", "1"]);
    let done = cli.run(&["flow", "list"]);
    assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (0, "", "there is no flow\n"));
    let done = cli.run(&["flow", "list", "--output", "json"]);
    assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (0, "[]\n", ""));
}

#[test]
fn times_are_explained() {
    let cli = Cli::new();
    let next = ["schedule", "next", "30 2 * * *", "--tz", "Europe/Berlin", "--from", "2026-03-28T12:00:00Z", "-n", "3"];
    let explained = cli.json(&next);
    assert_eq!(
        (&explained["words"], &explained["time_zone"]),
        (&json!("At 02:30, in Europe/Berlin"), &json!("Europe/Berlin"))
    );
    let times = explained["times"].as_array().unwrap();
    // The clock jumps over 02:30 on the 29th.
    let local: Vec<_> = times.iter().map(|time| time["local"].as_str().unwrap()).collect();
    let expected = ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00", "2026-03-31T02:30:00+02:00"];
    assert_eq!(local, expected);
    let first =
        json!({"utc": "2026-03-29T01:00:00.000000Z", "local": local[0], "abbreviation": "CEST", "weekday": "Sunday"});
    assert_eq!(times[0], first);
    let text = cli.ok(&next);
    let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let second = "Monday 2026-03-30 02:30:00+02:00 CEST 2026-03-30 00:30:00Z";
    assert_eq!(
        (lines[0].as_str(), lines[1].as_str(), lines[3].as_str()),
        ("At 02:30, in Europe/Berlin", "DAY LOCAL UTC", second)
    );

    let every = cli.json(&["schedule", "next", r#"{"every": "15m"}"#, "--from", "2026-01-01T00:00:00Z", "-n", "1"]);
    assert_eq!(every["times"][0]["utc"], "2026-01-01T00:15:00.000000Z");
    let over = cli.run(&["schedule", "next", r#"{"at": "2026-01-01T00:00:00Z"}"#, "--from", "2026-01-02T00:00:00Z"]);
    assert_eq!((over.code, over.stderr.as_str()), (0, "there is no time to come\n"));
}
