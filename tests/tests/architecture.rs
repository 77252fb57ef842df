//! The directions of dependencies, also the edges that must not exist. A new crate or a new edge is a decision:
//! it is made in the tables below and explained in `ARCHITECTURE.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use xtask::repo;

/// What each crate of the workspace may use of the others, for building as for its own tests.
const MAY_USE: &[(&str, &[&str])] = &[
    ("surefoot-bench", &["surefoot-connector-api", "surefoot-connectors", "surefoot-engine", "xtask"]),
    ("surefoot-connector-api", &[]),
    ("surefoot-connectors", &["surefoot-connector-api"]),
    ("surefoot-engine", &["surefoot-connector-api"]),
    ("surefoot-fixtures", &[]),
    ("surefoot-macros", &[]),
    ("surefoot-sdk", &["surefoot-macros"]),
    ("surefoot-web", &["surefoot-connector-api", "surefoot-engine"]),
    (
        "surefoot-cli",
        &["surefoot-connector-api", "surefoot-connectors", "surefoot-engine", "surefoot-fixtures", "surefoot-web"],
    ),
    (
        "surefoot-tests",
        &[
            "surefoot-connector-api",
            "surefoot-connectors",
            "surefoot-engine",
            "surefoot-fixtures",
            "surefoot-web",
            "xtask",
        ],
    ),
    ("xtask", &[]),
];

/// What every package under `flows/` and `tests/guests/` may use of the workspace: it could live in its author's own
/// repository.
const FLOWS_MAY_USE: &[&str] = &["surefoot-sdk"];

/// What a crate must not use directly, and why: path by path the invariants of absence in `ARCHITECTURE.md`.
const MUST_NOT_USE: &[(&str, &[&str], &str)] = &[
    (
        "surefoot-engine",
        &["axum", "hyper", "clap", "comfy-table", "reqwest"],
        "the engine knows neither HTTP nor terminals",
    ),
    ("surefoot-engine", &["lettre", "russh", "suppaftp", "tiberius", "tokio-postgres"], "the engine knows no protocol"),
    ("surefoot-connectors", &["object_store", "rusqlite", "wasmtime"], "connectors never see the store or a guest"),
    ("surefoot-connectors", &["axum", "clap"], "connectors know neither our HTTP side nor terminals"),
    ("surefoot-connector-api", &["axum", "clap", "rusqlite", "wasmtime"], "the contract knows neither side of it"),
    ("surefoot-web", &["object_store", "rusqlite", "wasmtime"], "web reaches data only through the engine"),
    ("surefoot-web", &["clap", "comfy-table"], "web knows no terminals"),
    ("surefoot-cli", &["object_store", "rusqlite", "wasmtime"], "the binary reaches data only through the engine"),
    ("surefoot-sdk", &["tokio", "wasmtime"], "guests have no runtime of their own and no host"),
];

/// What is in nothing that we build: one TLS stack (rustls) with one provider of cryptography (aws-lc-rs).
const NOT_BUILT: &[&str] = &["native-tls", "openssl", "openssl-sys", "ring"];

#[test]
fn dependencies_point_one_way() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        match may_use(&metadata, package) {
            Some(allowed) => wrong.extend(
                workspace_dependencies(&metadata, package)
                    .difference(&allowed)
                    .map(|used| format!("{} uses {used}, and must not", package.name)),
            ),
            None => wrong.push(format!("{} is not in the table of this test: decide what it may use", package.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// So that the tables cannot go stale, and that the test above has something to look at.
#[test]
fn the_tables_name_what_exists() {
    let metadata = metadata();
    let existing: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let named = MAY_USE.iter().flat_map(|(name, used)| [*name].into_iter().chain(used.iter().copied()));
    let named = named.chain(MUST_NOT_USE.iter().map(|(name, ..)| *name)).chain(FLOWS_MAY_USE.iter().copied());
    let gone: BTreeSet<&str> = named.filter(|name| !existing.contains(name)).collect();
    assert!(gone.is_empty(), "no such package: {gone:?}");
    assert!(metadata.packages.iter().any(|package| is_flow(&metadata, package)), "no flow was found");
}

#[test]
fn crates_do_not_reach_around_their_neighbours() {
    let metadata = metadata();
    let direct: BTreeMap<&str, BTreeSet<&str>> = metadata
        .packages
        .iter()
        .map(|package| {
            let built = package.dependencies.iter().filter(|used| used.kind != DependencyKind::Development);
            (package.name.as_str(), built.map(|used| used.name.as_str()).collect())
        })
        .collect();
    let mut wrong = Vec::new();
    for (package, banned, why) in MUST_NOT_USE {
        for used in banned.iter().filter(|banned| direct[package].contains(**banned)) {
            wrong.push(format!("{package} uses {used}: {why}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The protocol servers of the demo must not weigh on a server that is built without it.
#[test]
fn the_binary_can_be_built_without_fixtures() {
    let metadata = metadata();
    let cli = metadata.packages.iter().find(|package| package.name.as_str() == "surefoot-cli").unwrap();
    let fixtures = cli.dependencies.iter().find(|used| used.name == "surefoot-fixtures").unwrap();
    assert!(fixtures.optional, "surefoot-fixtures must be an optional dependency of surefoot-cli");
    assert!(cli.features["demo"].contains(&"dep:surefoot-fixtures".to_owned()));
}

#[test]
fn there_is_one_tls_stack() {
    let built = built_packages();
    for expected in ["aws-lc-rs", "rustls", "wasmtime"] {
        assert!(built.contains(expected), "{expected} is not in what cargo lists, so the list cannot be right");
    }
    for banned in NOT_BUILT {
        let ask = "turn off the feature that brings it; `cargo tree -e normal,build -i` shows the way it came";
        assert!(!built.contains(*banned), "{banned} is built: {ask}");
    }
}

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(repo::root().join("Cargo.toml")).no_deps().exec().unwrap()
}

fn is_flow(metadata: &Metadata, package: &Package) -> bool {
    ["flows", "tests/guests"]
        .iter()
        .any(|folder| package.manifest_path.starts_with(metadata.workspace_root.join(folder)))
}

fn may_use(metadata: &Metadata, package: &Package) -> Option<BTreeSet<&'static str>> {
    if is_flow(metadata, package) {
        return Some(FLOWS_MAY_USE.iter().copied().collect());
    }
    let (_, allowed) = MAY_USE.iter().find(|(name, _)| *name == package.name.as_str())?;
    Some(allowed.iter().copied().collect())
}

/// The crates of the workspace that a package uses, in its tests and build scripts too.
fn workspace_dependencies<'m>(metadata: &'m Metadata, package: &'m Package) -> BTreeSet<&'m str> {
    let members: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    package.dependencies.iter().map(|used| used.name.as_str()).filter(|used| members.contains(used)).collect()
}

/// The names of all packages in the built graph: default features, without what only tests use.
fn built_packages() -> BTreeSet<String> {
    let arguments = ["tree", "--workspace", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .args(["--target", "x86_64-unknown-linux-gnu"])
        .current_dir(repo::root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    let list = String::from_utf8(output.stdout).unwrap();
    list.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}
