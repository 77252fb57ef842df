//! Places that the user names: what cannot be done there is a usage error, with its cause and what to do.

use crate::support::Cli;

/// A workspace with a backup, a plain file, and a content.
fn scene() -> Cli {
    let cli = Cli::new();
    std::fs::write(cli.folder().join("plain"), "x").unwrap();
    cli.ok(&["file", "put", "f", "plain"]);
    cli.ok(&["backup", "whole"]);
    cli
}

fn backups_are_refused(cli: &Cli) {
    for (to, says) in [
        ("plain/x", "plain"),
        ("plain/x/y", "plain"),
        ("/proc/x", "/proc/x.part"),
        ("/proc/x/y", "/proc/x"),
        ("data/x/y", "lies in the data folder"),
        ("..", "is there already"),
    ] {
        cli.run(&["backup", to]).refused(64, &[says, "name "]);
    }
    assert!(!cli.data().join("x").exists(), "nothing is made where a backup must not be");
    assert!(cli.json(&["backup", "new/folders/b"])["path"].is_string());
    cli.ok(&["backup", "data/backups/mine/b"]);
    for name in ["new", "data/backups/mine"] {
        std::fs::remove_dir_all(cli.folder().join(name)).unwrap();
    }
}

#[test]
fn a_backup_says_why_it_cannot_be_where_it_was_asked_for() {
    let cli = scene();
    backups_are_refused(&cli);
    let server = cli.serve(&[]);
    backups_are_refused(&cli);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_restore_says_why_it_cannot_be_where_it_was_asked_for() {
    let cli = scene();
    for (backup, data, says) in [
        ("whole/backup.json", "new", "is not a backup"),
        ("plain", "new", "is not a backup"),
        ("/proc", "new", "is not a backup"),
        ("whole", "plain", "listing plain"),
        ("whole", "/proc/x", "/proc/x.restore"),
        ("whole", "whole/sub", "lies in the backup itself"),
        ("whole", "whole/sub/sub", "lies in the backup itself"),
        ("whole", "data/../whole/sub", "lies in the backup itself"),
    ] {
        cli.run(&["--data", data, "restore", backup]).refused(64, &[says, "name "]);
    }
    assert!(!cli.folder().join("new").exists() && !cli.folder().join("whole/sub").exists());
    cli.run(&["--server", "http://localhost:1", "restore", "whole"])
        .refused(64, &["a server cannot restore", "hint: "]);
    cli.ok(&["--data", "new/folders/w", "restore", "whole"]);
    assert_eq!(cli.ok(&["--data", "new/folders/w", "file", "get", "f"]), "x");
}

#[test]
fn a_data_folder_that_is_none_is_64() {
    let cli = scene();
    for data in ["plain", "plain/x", "/proc/x"] {
        for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["setting", "set", "s", "1"]] {
            cli.run(&[&["--data", data], command].concat()).refused(64, &[data, "hint: Name a"]);
        }
        cli.run(&["--data", data, "doctor"]).refused(64, &["there is no workspace"]);
        cli.run(&["--data", data, "flow", "list"]).refused(64, &["there is no workspace"]);
    }
}

#[test]
fn a_file_is_not_written_where_it_cannot_be() {
    let cli = scene();
    for path in ["/proc/x", "plain/x", "nowhere/x", "/dev/full/x"] {
        cli.run(&["file", "get", "f", path])
            .refused(64, &[&format!("cannot write {path}"), "hint: Name another place."]);
    }
}
