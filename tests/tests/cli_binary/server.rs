//! The server as a process: who may talk to it, who holds the workspace, how it stops.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::Cli;

#[test]
fn a_second_process_says_who_holds_the_workspace() {
    let cli = Cli::new();
    let server = cli.serve(&[]);
    let holder = format!("held by process {}", server.id());
    cli.run(&["serve", "--listen", "127.0.0.1:0"]).refused(69, &[&holder, "hint: "]);
    // Without its socket the server cannot be asked, and the workspace cannot be opened.
    std::fs::remove_file(cli.data().join("surefoot.sock")).unwrap();
    cli.run(&["flow", "list"]).refused(69, &[&holder, "hint: "]);
    drop(server);
    assert_eq!(cli.json(&["flow", "list"]), json!([]), "a dead process holds nothing");
}

#[test]
fn a_server_drains_when_it_is_told_to_stop() {
    let cli = Cli::new();
    let server = cli.serve(&[]);
    cli.ok(&["setting", "set", "s", "1"]);
    assert_eq!(server.stop(), Some(0));
    assert!(!cli.data().join("surefoot.sock").exists());
    assert_eq!(cli.json(&["setting", "show", "s"])["value"], 1);
}

#[test]
fn a_server_that_cannot_listen_does_not_open_the_workspace() {
    let cli = Cli::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    cli.run(&["serve", "--listen", &address]).refused(69, &["cannot listen on", "hint: "]);
    cli.run(&["serve", "--listen", "nonsense"]).refused(64, &["no address to listen on", "hint: "]);
    let long = "x".repeat(100);
    cli.run(&["serve", "--listen", "127.0.0.1:0", "--data", &long])
        .refused(64, &["cannot listen on the socket", "107"]);
    assert!(!cli.data().exists() && !cli.folder().join(long).exists(), "what is queued there would have begun");
    assert_eq!(cli.serve(&[]).stop(), Some(0));
}

#[test]
fn over_tcp_the_api_wants_the_token() {
    let cli = Cli::new();
    let server = cli.serve(&[]);
    let (url, file) = (server.url.as_str(), cli.data().join("token"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(file).unwrap();
    cli.run(&["--server", url, "flow", "list"]).refused(64, &["token", "hint: Pass --token"]);
    cli.run(&["--server", url, "--token", "wrong", "flow", "list"]).refused(64, &["hint: Pass --token"]);
    assert_eq!(cli.json(&["--server", url, "--token", token.trim(), "flow", "list"]), json!([]));
    assert_eq!(server.stop(), Some(0));

    let server = cli.serve(&[]);
    assert_eq!(cli.json(&["--server", &server.url, "--token", token.trim(), "flow", "list"]), json!([]), "it stays");
}

/// Enabled and keyed in one command, called with the key and without; the key is shown once and stored nowhere.
#[test]
fn a_token_of_ones_own_has_a_role_and_can_be_taken_back() {
    let cli = Cli::new();
    let server = cli.serve(&[]);
    let token = cli.ok(&["token", "create", "ci", "--role", "viewer", "--days", "30"]);
    let with = |arguments: &[&str]| cli.run(&[&["--server", &server.url, "--token", token.trim()], arguments].concat());
    assert_eq!(with(&["flow", "list"]).code, 0);
    with(&["setting", "set", "s", "1"]).refused(64, &["role author", "token ci", "viewer"]);
    with(&["token", "list"]).refused(64, &["role admin"]);
    cli.run(&["token", "create", "ci", "--role", "viewer"]).refused(64, &["exists already"]);
    cli.run(&["token", "create", "x", "--role", "owner"]).refused(64, &["viewer"]);
    let listed = cli.ok(&["token", "list"]);
    assert!(listed.contains("ci") && listed.contains("viewer") && !listed.contains(token.trim()), "{listed}");
    cli.ok(&["token", "remove", "ci"]);
    with(&["flow", "list"]).refused(64, &["token"]);
    let audit = cli.ok(&["audit", "list"]);
    assert!(audit.contains("delete_permanently") && audit.contains("create"), "{audit}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn c_27_webhooks_are_disabled_until_enabled_and_want_their_key() {
    let cli = Cli::new();
    let _server = cli.serve(&[]);
    cli.deploy("hello");
    let key = cli.ok(&["webhook", "set", "w", "--flow", "hello", "--generate-key"]).trim().to_owned();
    assert_eq!(key.len(), 64);
    assert!(cli.run(&["webhook", "call", "w", "--key", &key]).stderr.contains("status 404"), "disabled");
    cli.ok(&["webhook", "set", "w", "--enable"]);
    assert_eq!(cli.run(&["webhook", "call", "w"]).code, 1);
    assert!(cli.run(&["webhook", "call", "w", "--key", "wrong"]).stderr.contains("status 401"));
    let answer = cli.json(&["webhook", "call", "w", "--key", &key, "--json", r#"{"a": 1}"#]);
    assert_eq!((&answer["status"], &answer["body"]["json"]), (&json!(200), &json!({"a": 1})));
    let shown = cli.ok(&["webhook", "show", "w"]) + &cli.ok(&["webhook", "show", "w", "--output", "json"]);
    assert!(!shown.contains(&key) && !shown.contains("sha256"), "{shown}");

    let done = cli.run(&["webhook", "set", "w", "--no-key"]);
    assert!(done.code == 0 && done.stderr.contains("warning: "), "{}", done.stderr);
    assert_eq!(cli.json(&["webhook", "call", "w"])["status"], 200);

    let secret = cli.ok(&["webhook", "set", "w", "--generate-signing-secret"]).trim().to_owned();
    assert!(secret.starts_with("whsec_"), "{secret}");
    assert!(cli.run(&["webhook", "call", "w"]).stderr.contains("status 401"), "it is not signed");
    cli.run(&["webhook", "set", "w", "--signing-secret", "short"]).refused(64, &["whsec_", "24 to 64 bytes"]);
    cli.ok(&["webhook", "set", "w", "--no-signature"]);
    assert_eq!(cli.json(&["webhook", "call", "w"])["status"], 200);
    assert!(!cli.ok(&["webhook", "show", "w", "--output", "json"]).contains(&secret));
    let listed = cli.ok(&["webhook", "deliveries", "w"]);
    assert!(listed.lines().count() == 4 && listed.contains("ENDED_SUCCESS"), "{listed}");
    let newest = cli.json(&["webhook", "deliveries", "w", "--limit", "2"]);
    assert_eq!(newest.as_array().unwrap().len(), 2);
    let again = cli.ok(&["webhook", "replay", "w", newest[1]["execution_id"].as_str().unwrap()]);
    let listed = cli.json(&["webhook", "deliveries", "w"]);
    assert_eq!((&listed[0]["execution_id"], &listed[0]["created_by"]), (&json!(again.trim()), &json!("local")));
    let refused = cli.ok(&["webhook", "deliveries", "w", "--refused"]);
    assert!(refused.contains("requires its key") && refused.contains("it must be signed"), "{refused}");
    let statuses = cli.json(&["webhook", "deliveries", "w", "--refused"]).as_array().unwrap().clone();
    let statuses: Vec<_> = statuses.iter().map(|row| (row["status"].as_u64(), row["times"].as_u64())).collect();
    assert_eq!(statuses, [(Some(401), Some(1)), (Some(401), Some(2)), (Some(404), Some(1))]);
}

#[test]
fn connectors_reach_what_the_settings_allow() {
    let cli = Cli::new();
    std::fs::create_dir(cli.data()).unwrap();
    std::fs::write(cli.data().join("surefoot.toml"), "[egress]\nallow = [\"127.0.0.1\"]\n").unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let test = |host: &str| {
        let (host, port) = (format!("hostname={host}"), format!("port={closed}"));
        cli.run(&["connector", "test", "type:ftp", &host, &port, "src=a", "dst=surefoot:b"])
    };
    test("127.0.0.1").refused(1, &["(network)", "refused"]);
    test("127.0.0.2").refused(1, &["(egress)"]);
    let _server = cli.serve(&["--allow-egress", "127.0.0.2"]);
    test("127.0.0.2").refused(1, &["(network)", "refused"]);
    test("127.0.0.3").refused(1, &["(egress)"]);
}
