//! Configuration as files: what is exported is applied again, here and elsewhere.

use std::fs;

use serde_json::{Value, json};

use crate::support::Cli;

/// A workspace with a record of each kind that is configuration.
fn furnished() -> Cli {
    let cli = Cli::new();
    cli.deploy("hello");
    cli.ok(&["project", "set", "shop", "--description", "all about it"]);
    cli.ok(&["setting", "set", "nightly/at 3", r#"{"cron": "0 3 * * *"}"#, "--project", "shop"]);
    cli.ok(&["setting", "set", "limits", r#"{"rows": {"most": 1000, "least": null}}"#]);
    fs::write(cli.folder().join("password"), "correct-horse").unwrap();
    let files = ["hostname=127.0.0.1", "port=2121", "password=@password"];
    cli.ok(&[&["connector", "set", "files", "--type", "ftp", "--retry", r#"{"attempts": 3}"#][..], &files].concat());
    cli.ok(&["scheduler", "set", "own", "--flow", "hello"]);
    let schedule = ["schedule", "set", "nightly", "--scheduler", "cron", "--setting", "nightly/at 3"];
    cli.ok(&[&schedule[..], &["--flow", "hello", "--project", "shop"]].concat());
    cli.ok(&["webhook", "set", "check", "--flow", "hello", "--no-key", "--enable"]);
    cli.ok(&["connector", "set", "alarm", "--type", "http", "url=http://127.0.0.1:1/"]);
    let told = ["notification", "set", "told", "--on", "failure,recovery", "--connector", "alarm", "--flow", "hello"];
    cli.ok(&[&told[..], &["--repeat-after-ms", "86400000", "--enable"]].concat());
    cli
}

fn changes(cli: &Cli, arguments: &[&str]) -> Vec<(String, String)> {
    let plan = cli.json(&[&["apply"], arguments].concat());
    let text = |change: &Value, field: &str| change[field].as_str().unwrap().to_owned();
    let changes = plan["changes"].as_array().unwrap();
    changes
        .iter()
        .map(|change| (text(change, "action"), format!("{} {}", text(change, "kind"), text(change, "name"))))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(action, record)| ((*action).to_owned(), (*record).to_owned())).collect()
}

#[test]
fn what_was_exported_changes_nothing_where_it_came_from() {
    let cli = furnished();
    cli.ok(&["export", "config"]);
    assert_eq!(changes(&cli, &["config", "--yes", "--prune"]), []);
    cli.run(&["export", "config"]).refused(64, &["is there already", "--overwrite"]);
    cli.ok(&["export", "config", "--overwrite"]);
    for entry in walk(&cli.folder().join("config")) {
        let bytes = fs::read(&entry).unwrap();
        let holds = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
        assert!(!holds(b"correct-horse"), "{} holds a secret", entry.display());
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// The one thing that has to be brought by hand are the secrets, and that is said.
#[test]
fn an_export_furnishes_another_workspace() {
    let (cli, other) = (furnished(), Cli::new());
    cli.ok(&["export", other.folder().join("config").to_str().unwrap()]);
    other.run(&["apply", "config", "--yes"]).refused(64, &["`password` in the workspace", "secret(NAME)"]);
    other.run(&["connector", "show", "files"]).refused(64, &["there is no"]);
    let connector = other.folder().join("config/connectors/files.toml");
    let text = fs::read_to_string(&connector).unwrap();
    fs::write(&connector, text.replace("\"***\"", "\"hunter2-hunter2\"")).unwrap();
    other.run(&["apply", "config", "--yes"]).refused(64, &["`password` is secret, and a file is no place for it"]);
    fs::write(&connector, text.replace("password = \"***\"\n", "")).unwrap();

    let done = other.run(&["apply", "config"]);
    assert!(
        done.code == 64 && done.stderr.contains("nobody to ask") && done.stderr.contains("--yes"),
        "{}",
        done.stderr
    );
    let expected = pairs(&[
        ("create", "project shop"),
        ("create", "setting limits"),
        ("create", "setting nightly/at 3"),
        ("create", "connector alarm"),
        ("create", "connector files"),
        ("create", "flow hello"),
        ("create", "scheduler own"),
        ("create", "schedule nightly"),
        ("create", "webhook check"),
        ("create", "notification told"),
    ]);
    assert_eq!(changes(&other, &["config", "--dry-run"]), expected);
    assert_eq!(cli_names(&other, "flow"), json!([]), "a dry run changes nothing");
    assert_eq!(changes(&other, &["config", "--yes"]), expected);
    assert_eq!(changes(&other, &["config", "--yes"]), [], "once is enough");
    let run = other.json(&["run", "hello"]);
    assert_eq!(run["status"], "ENDED_SUCCESS", "{run}");
    let schedule = other.json(&["schedule", "show", "nightly"]);
    assert_eq!(schedule["setting_id"], other.json(&["setting", "show", "nightly/at 3"])["id"]);
    assert_eq!(other.json(&["setting", "show", "nightly/at 3"])["value"], json!({"cron": "0 3 * * *"}));
    let limits = json!({"rows": {"most": 1000, "least": null}});
    assert_eq!(other.json(&["setting", "show", "limits"])["value"], limits);
    let told = other.json(&["notification", "show", "told"]);
    assert_eq!(told["connector_id"], other.json(&["connector", "show", "alarm"])["id"]);
    assert_eq!((&told["on"], &told["is_enabled"]), (&json!(["failure", "recovery"]), &json!(true)));
    assert_eq!(other.json(&["connector", "show", "files"])["retry"]["attempts"], 3);
}

fn cli_names(cli: &Cli, kind: &str) -> Value {
    let rows = cli.json(&[kind, "list"]);
    rows.as_array().unwrap().iter().map(|row| row["name"].clone()).collect()
}

#[test]
fn a_change_of_a_file_is_shown_and_made_and_what_has_no_file_goes_only_when_asked() {
    let cli = furnished();
    cli.ok(&["export", "config"]);
    let webhook = cli.folder().join("config/webhooks/check.toml");
    fs::write(&webhook, "methods = [\"GET\"]\nflow = \"hello\"\n").unwrap();
    fs::remove_file(cli.folder().join("config/schedules/nightly.toml")).unwrap();
    let done = cli.run(&["apply", "config", "--dry-run"]);
    assert_eq!(done.stdout, "~ webhook `check`\n    methods: - → [\"GET\"]\n", "{}", done.stderr);
    assert_eq!(changes(&cli, &["config", "--yes"]), pairs(&[("update", "webhook check")]));
    let webhook = cli.json(&["webhook", "show", "check"]);
    assert_eq!((&webhook["methods"], &webhook["is_enabled"]), (&json!(["GET"]), &json!(true)), "{webhook}");
    assert_eq!(cli_names(&cli, "schedule"), json!(["nightly"]));
    assert_eq!(changes(&cli, &["config", "--yes", "--prune"]), pairs(&[("delete", "schedule nightly")]));
    assert_eq!(cli_names(&cli, "schedule"), json!([]));
    assert_eq!(cli.json(&["schedule", "list", "--trash"])[0]["name"], "nightly");

    // What the workspace would refuse is refused before anything is changed, also by a look.
    for (file, text, says) in [
        ("webhooks/check.toml", "flow = \"hello\"\nmethods = [\"FETCH\"]\n", "`methods` of a webhook"),
        ("flows/hello.toml", "component = \"hello.toml\"\n", "no WebAssembly at all"),
        ("connectors/files.toml", "type = \"ftp\"\n[config]\nport = \"many\"\n", "input `port`"),
    ] {
        let path = cli.folder().join("config").join(file);
        let before = fs::read_to_string(&path).unwrap();
        fs::write(&path, text).unwrap();
        cli.run(&["apply", "config", "--dry-run"]).refused(64, &[says]);
        fs::write(&path, before).unwrap();
    }
    let (there, aside) = (cli.folder().join("config/flows/hello.toml"), cli.folder().join("hello.toml"));
    fs::rename(&there, &aside).unwrap();
    cli.run(&["apply", "config", "--dry-run", "--prune"]).refused(64, &["there is no flow `hello`"]);
    fs::rename(&aside, &there).unwrap();

    fs::write(cli.folder().join("config/schedulers/own.toml"), "flow = \"neverland\"\n").unwrap();
    cli.run(&["apply", "config", "--yes"]).refused(64, &["own.toml: there is no flow `neverland`", "correct `flow`"]);
    fs::write(cli.folder().join("config/schedulers/two.toml"), "name = \"own\"\nflow = \"hello\"\n").unwrap();
    fs::write(cli.folder().join("config/schedulers/own.toml"), "flow = \"hello\"\n").unwrap();
    cli.run(&["apply", "config", "--yes"]).refused(64, &["are the same scheduler"]);
}

/// Roles are configuration, passwords are not, and no file leaves a workspace without an admin.
#[test]
fn who_may_do_what_is_brought_by_files() {
    let (cli, other) = (Cli::new(), Cli::new());
    cli.ok(&["project", "set", "shop/one"]);
    cli.ok(&["user", "create", "ada", "--role", "admin", "--display-name", "Ada"]);
    cli.ok(&["user", "create", "bob", "--role", "viewer", "--project", "shop/one=author"]);
    cli.ok(&["user", "create", "eve"]);
    cli.ok(&["user", "disable", "eve"]);
    let folder = other.folder().join("config");
    cli.ok(&["export", folder.to_str().unwrap()]);
    assert_eq!(changes(&cli, &[folder.to_str().unwrap(), "--yes", "--prune"]), []);
    let all: String = walk(&folder).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    assert!(!all.contains("password") && !all.contains("argon2"), "{all}");

    let users = [("create", "user ada"), ("create", "user bob"), ("create", "user eve")];
    let expected = [&[("create", "project shop/one")][..], &users].concat();
    assert_eq!(changes(&other, &["config", "--dry-run"]), pairs(&expected));
    let done = other.run(&["apply", "config", "--yes"]);
    assert!(done.code == 0 && done.stderr.contains("`surefoot user reset bob`"), "{}", done.stderr);
    assert_eq!(changes(&other, &["config", "--yes"]), [], "once is enough");
    let shop = other.json(&["project", "show", "shop/one"])["id"].as_str().unwrap().to_owned();
    let bob = other.json(&["user", "show", "bob"]);
    assert_eq!((&bob["role"], &bob["project_roles"]), (&json!("viewer"), &json!({ shop: "author" })));
    assert_eq!(other.json(&["user", "show", "eve"])["is_enabled"], false);

    // Who becomes an admin does so before the one who was is none any more.
    let write = |name: &str, text: &str| fs::write(folder.join(format!("users/{name}.toml")), text).unwrap();
    write("ada", "role = \"operator\"\n");
    let nobody = other.run(&["apply", "config", "--yes"]);
    nobody.refused(64, &["nobody would be an admin", "role = \"admin\""]);
    write("bob", "role = \"admin\"\n\n[project_roles]\n\"shop/one\" = \"viewer\"\n");
    let done = other.run(&["apply", "config", "--dry-run"]);
    let bob = "~ user `bob`\n    project_roles.shop/one: author → viewer\n    role: viewer → admin\n";
    let expected = format!("{bob}~ user `ada`\n    role: admin → operator\n");
    assert_eq!(done.stdout, expected, "{}", done.stderr);
    assert_eq!(changes(&other, &["config", "--yes"]), pairs(&[("update", "user bob"), ("update", "user ada")]));
    fs::remove_file(folder.join("users/bob.toml")).unwrap();
    other.run(&["apply", "config", "--yes", "--prune"]).refused(64, &["nobody would be an admin"]);
    write("ada", "role = \"admin\"\n");
    let swapped = pairs(&[("update", "user ada"), ("delete", "user bob")]);
    assert_eq!(changes(&other, &["config", "--yes", "--prune"]), swapped);
    write("zoe", "role = \"emperor\"\n");
    let done = other.run(&["apply", "config", "--yes"]);
    assert!(done.code == 64 && done.stderr.contains("there is no role `emperor`"), "{}", done.stderr);
    fs::remove_file(folder.join("users/zoe.toml")).unwrap();
    write("ada", "role = \"admin\"\n\n[project_roles]\nnowhere = \"viewer\"\n");
    other.run(&["apply", "config", "--yes"]).refused(64, &["ada.toml: there is no project `nowhere`"]);

    // A folder that says nothing of people takes none away.
    fs::remove_dir_all(folder.join("users")).unwrap();
    assert_eq!(changes(&other, &["config", "--yes", "--prune"]), []);
    assert_eq!(cli_names(&other, "user"), json!(["eve", "ada"]));
}
