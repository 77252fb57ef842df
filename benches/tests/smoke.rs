//! That every figure can still be measured. Not one of them is asserted: in a test run they mean nothing.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use xtask::repo;

/// Runs the benchmark at its smallest and reads what it wrote.
fn measure(groups: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_surefoot-bench"));
    command.args(["--smoke", "--only", groups, "--json"]).arg(&json).arg("--folder").arg(folder.path());
    let output = command.arg("--binary").arg(repo::binary()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap()
}

fn names(report: &Value) -> BTreeSet<&str> {
    report["figures"].as_array().unwrap().iter().map(|figure| figure["name"].as_str().unwrap()).collect()
}

#[test]
fn what_is_measured_in_process_has_a_number() {
    let report = measure("steps,write-steps,disk,wakeups,replay,fairness");
    let expected = [
        "bytes-of-a-step-1",
        "bytes-of-a-step-32",
        "fairness-p99-beside-computing",
        "fairness-p99-beside-many-steps",
        "replay-entries",
        "replay-entry-of-many",
        "replay-processor",
        "replay-resume-without-entries",
        "short-sleep-at-the-end",
        "steps-1",
        "steps-32",
        "steps-512",
        "wake-up-late-max",
        "wake-up-late-p50",
        "wake-up-late-p99",
        "write-steps-1",
        "write-steps-32",
    ];
    assert_eq!(names(&report), expected.into());
    for figure in report["figures"].as_array().unwrap() {
        assert!(figure["value"].is_f64(), "{figure:#}");
    }
}

#[test]
fn what_is_measured_of_the_binary_has_a_number() {
    let report = measure("http,million,crash,sleepers,process");
    let expected = [
        "binary-size",
        "crash-all-progress",
        "crash-first-progress",
        "http-one-step-p50",
        "http-one-step-p50-above-one-commit",
        "http-one-step-p99",
        "http-ten-steps-32-callers",
        "http-ten-steps-processor",
        "memory-after-1000-executions",
        "memory-idle",
        "million-http-one-step-p50",
        "million-http-ten-steps",
        "million-steps-1",
        "million-steps-32",
        "million-steps-512",
        "serve-to-ready",
        "sleeper-memory-after-restart",
        "sleeper-memory-after-start",
        "sleepers-processor",
        "sleepers-restart-to-ready",
        "sleepers-threads",
    ];
    assert_eq!(names(&report), expected.into());
    assert!(report["machine"]["fsync_ms"].is_f64(), "{report:#}");
}
