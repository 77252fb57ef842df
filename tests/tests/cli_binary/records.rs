//! Records of every kind through the binary: by opening the workspace, and through a server that runs.

use serde_json::{Value, json};

use crate::support::Cli;

#[test]
fn records_without_a_server() {
    let cli = Cli::new();
    cli.deploy("hello");
    records(&cli);
    files(&cli);
}

#[test]
fn records_through_a_server() {
    let cli = Cli::new();
    let server = cli.serve(&[]);
    cli.deploy("hello");
    records(&cli);
    files(&cli);
    assert_eq!(server.stop(), Some(0));
}

fn records(cli: &Cli) {
    cli.ok(&["project", "set", "p", "--description", "tests"]);
    cli.ok(&["setting", "set", "s", r#"{"cron": "0 0 1 1 *"}"#]);
    cli.ok(&["setting", "set", "s", "--description", "yearly", r#"{"cron": "0 0 1 1 *"}"#]);
    cli.ok(&["scheduler", "set", "own", "--flow", "hello", "--project", "p"]);
    cli.ok(&[
        "schedule",
        "set",
        "yearly",
        "--scheduler",
        "cron",
        "--setting",
        "s",
        "--flow",
        "hello",
        "--project",
        "p",
    ]);
    cli.ok(&["schedule", "set", "yearly", "--enable"]);
    let id = |plural: &str, name: &str| cli.json(&[plural, "show", name])["id"].clone();
    let schedule = cli.json(&["schedule", "show", "yearly"]);
    assert_eq!(
        ["scheduler_id", "setting_id", "flow_id", "project_id", "is_enabled"].map(|field| schedule[field].clone()),
        [json!("cron"), id("setting", "s"), id("flow", "hello"), id("project", "p"), json!(true)]
    );
    let table = cli.ok(&["schedule", "list"]);
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().take(6).collect();
    assert_eq!(row, ["yearly", "yes", "cron", "s", "hello", "p"], "names stand for ids: {table}");
    let next = cli.json(&["schedule", "next", "--schedule", "yearly", "--from", "2026-05-01T00:00:00Z", "-n", "1"]);
    assert_eq!(next["times"][0]["utc"], "2027-01-01T00:00:00.000000Z");
    cli.ok(&["schedule", "set", "yearly", "--disable"]);
    assert_eq!(cli.json(&["setting", "show", "s"])["revision"], 2);

    connectors(cli);
    for kind in ["schedule", "scheduler", "setting", "project"] {
        let name = cli.json(&[kind, "list"])[0]["name"].as_str().unwrap().to_owned();
        cli.ok(&[kind, "remove", &name]);
        let trash = cli.json(&[kind, "list", "--trash"]);
        assert_eq!(trash[0]["name"], name.as_str(), "{kind}");
        cli.ok(&[kind, "restore", trash[0]["id"].as_str().unwrap()]);
        cli.ok(&[kind, "remove", &name, "--permanently"]);
        assert_eq!(cli.json(&[kind, "list", "--trash"]), json!([]), "{kind}");
        cli.run(&[kind, "show", &name]).refused(64, &["there is no"]);
    }
}

/// A configuration changes value by value, and its secrets come back to nobody.
fn connectors(cli: &Cli) {
    let password = cli.folder().join("password");
    std::fs::write(&password, "12345\n").unwrap();
    cli.ok(&["connector", "set", "c", "--type", "ftp", "hostname=127.0.0.1", "port=1", "password=@password"]);
    cli.ok(&["connector", "set", "c", "port=2", "username=u"]);
    let connector = cli.json(&["connector", "show", "c"]);
    let expected = json!({"hostname": "127.0.0.1", "port": 2, "username": "u", "password": "***"});
    assert_eq!((&connector["config"], &connector["type"]), (&expected, &json!("ftp")));
    assert!(!cli.ok(&["connector", "show", "c"]).contains("12345"));
    cli.ok(&["connector", "set", "c", "--config", r#"{"hostname": "127.0.0.2"}"#]);
    assert_eq!(cli.json(&["connector", "show", "c"])["config"], json!({"hostname": "127.0.0.2"}));

    let echo = cli.json(&["connector", "test", "type:echo", "value=[1, 2]"]);
    assert_eq!((&echo["ok"], &echo["output"]["value"]), (&json!(true), &json!([1, 2])));
    let done = cli.run(&["connector", "test", "c", "src=a", "dst=surefoot:b"]);
    done.refused(1, &["connector `c` failed (egress)"]);
    let types = cli.json(&["connector", "types"]);
    let names: Vec<&Value> = types.as_array().unwrap().iter().map(|ty| &ty["type"]).collect();
    assert_eq!(names, ["echo", "ftp", "http", "mssql", "mysql", "postgres", "scp", "sftp", "smtp", "ssh"]);
    assert!(cli.ok(&["connector", "types", "smtp"]).contains("hostname"));
    cli.ok(&["connector", "remove", "c", "--permanently"]);
}

fn files(cli: &Cli) {
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(cli.folder().join("content"), &content).unwrap();
    let name = "a folder/ä file.bin";
    let stored = cli.json(&["file", "put", name, "content"]);
    assert_eq!(stored["size_bytes"], content.len());
    cli.ok(&["file", "get", name, "copy"]);
    assert!(std::fs::read(cli.folder().join("copy")).unwrap() == content, "what comes back is what was stored");
    assert!(!cli.folder().join("copy.part").exists());

    let done = cli.run_with(&["file", "put", name, "-"], b"from a pipe");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(cli.ok(&["file", "get", name]), "from a pipe");
    cli.ok(&["file", "remove", name]);
    cli.run(&["file", "get", name, "gone"]).refused(64, &["there is no file"]);
    assert!(!cli.folder().join("gone").exists());
    let id = cli.json(&["file", "list", "--trash"])[0]["id"].as_str().unwrap().to_owned();
    cli.ok(&["file", "restore", &id]);
    assert_eq!(cli.ok(&["file", "get", name]), "from a pipe");
}

/// What is not much is compared before any of it is given out, the rest on its way.
#[test]
fn a_damaged_content_is_not_taken_for_the_one_that_was_stored() {
    let cli = Cli::new();
    for (name, length) in [("short", 5), ("long", 5_000_000)] {
        std::fs::write(cli.folder().join(name), vec![7; length]).unwrap();
        let stored = cli.json(&["file", "put", name, name]);
        let sha256 = stored["sha256"].as_str().unwrap();
        let blob = cli.data().join("blobs/sha256").join(&sha256[..2]).join(sha256);
        let mut damaged = vec![7; length];
        damaged[3] = 8;
        std::fs::write(blob, damaged).unwrap();
    }
    let looks = |through_server: bool| {
        cli.run(&["file", "get", "short"]).refused(70, &["`short` cannot be read: it is damaged", "surefoot doctor"]);
        let (code, says) = if through_server { (69, "cut off") } else { (70, "damaged") };
        cli.run(&["file", "get", "long", "copy"]).refused(code, &[says]);
        assert!(!cli.folder().join("copy").exists() && !cli.folder().join("copy.part").exists());
    };
    looks(false);
    let server = cli.serve(&[]);
    looks(true);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn lists_are_filtered_ordered_and_paged() {
    let cli = Cli::new();
    let _server = cli.serve(&[]);
    for number in 1..=3 {
        cli.ok(&["setting", "set", &format!("s-{number}"), &number.to_string()]);
    }
    let names = |arguments: &[&str]| -> Vec<String> {
        let rows = cli.json(&[&["setting", "list"], arguments].concat());
        rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&[]), ["s-3", "s-2", "s-1"]);
    assert_eq!(names(&["--order", "name"]), ["s-1", "s-2", "s-3"]);
    assert_eq!(names(&["--order", "-name", "--limit", "2"]), ["s-3", "s-2"]);
    assert_eq!(names(&["--filter", r#"{"field": "name", "op": "in", "value": ["s-1", "s-9"]}"#]), ["s-1"]);
    let done = cli.run(&["setting", "list", "--limit", "2"]);
    assert!(done.stderr.contains("more than 2"), "{}", done.stderr);
}
