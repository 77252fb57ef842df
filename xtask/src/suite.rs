//! Running tests: all of them, the long ones, those about the repository itself.

#![expect(clippy::print_stdout, reason = "the output of the test runner is passed on")]

use std::{
    io::{Read, Write},
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Error, Result, ensure};

use crate::{build, run, setup, summary::Summary};

/// What soaking changes: tests that do a number of rounds read it from here, and have `soak` in their name.
const SOAK: &[(&str, &str)] = &[
    ("SUREFOOT_CHILDREN", "10000"),
    ("SUREFOOT_CRASH_POINTS", "all"),
    ("SUREFOOT_CRON_CASES", "300000"),
    ("SUREFOOT_ENDED_EXECUTIONS", "1000000"),
    ("SUREFOOT_FUZZ_CASES", "5000"),
    ("SUREFOOT_FUZZ_SECONDS", "600"),
    ("SUREFOOT_KILL_ROUNDS", "200"),
    ("SUREFOOT_RETENTION_SEEDS", "200"),
    ("SUREFOOT_SCHEDULES", "1000"),
    ("SUREFOOT_SIM_SEEDS", "20000"),
    ("SUREFOOT_STORM_ROUNDS", "100"),
    ("SUREFOOT_STREAMS", "10000"),
];

/// Everything, or with a filter only the tests whose name contains it.
///
/// Format and lints do not keep the tests from running: all that is wrong is seen in one go.
pub(crate) fn test(filter: Option<&str>) -> Result<ExitCode> {
    prepare()?;
    let mut command = run::cargo(["test", "--workspace", "--no-fail-fast"]);
    if let Some(filter) = filter {
        return conclude(&tests(command.args(["--", filter]))?, &[]);
    }
    let lints =
        [&["fmt", "--all", "--check"][..], &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]];
    let complaints: Vec<_> =
        lints.iter().filter_map(|arguments| run::visibly(&mut run::cargo(*arguments)).err()).collect();
    conclude(&tests(&mut command)?, &complaints)
}

/// The long form of the tests that have one. A value that is already set is kept.
pub(crate) fn soak() -> Result<ExitCode> {
    prepare()?;
    let mut command = run::cargo(["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"]);
    command.args(["--", "soak", "--nocapture"]);
    for (name, long) in SOAK {
        let value = std::env::var(name).unwrap_or_else(|_| (*long).to_owned());
        run::say(format_args!("{name}={value}"));
        command.env(name, value);
    }
    conclude(&tests(&mut command)?, &[])
}

/// The tests about the repository itself: budgets, layout, directions of dependencies.
pub(crate) fn tidy() -> Result<ExitCode> {
    let arguments = ["test", "--package", "surefoot-tests", "--test", "tidy", "--test", "architecture"];
    conclude(&tests(run::cargo(arguments).arg("--no-fail-fast"))?, &[])
}

/// Pictures of every page of the web UI, for people to look at.
pub(crate) fn screenshots(folder: &Path) -> Result<()> {
    setup::run()?;
    build::flows()?;
    let arguments = ["run", "--quiet", "--package", "surefoot-tests", "--bin", "screenshots", "--"];
    run::visibly(run::cargo(arguments).arg(folder))?;
    run::say(format_args!("the pictures are in {}", folder.display()));
    Ok(())
}

fn prepare() -> Result<()> {
    setup::run()?;
    build::flows()?;
    build::binary()
}

/// Runs `cargo test`, passing its output on as it comes, and adds up the results of its test programs.
fn tests(command: &mut Command) -> Result<Summary> {
    run::show(command);
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let mut from_tests = child.stdout.take().expect("standard output is a pipe");
    let mut to_user = std::io::stdout();
    let mut summary = Summary::default();
    let mut buffer = [0; 8192];
    loop {
        let length = from_tests.read(&mut buffer).context("cannot read the output of the tests")?;
        if length == 0 {
            break;
        }
        to_user.write_all(&buffer[..length]).and_then(|()| to_user.flush()).context("cannot write output")?;
        summary.read(&buffer[..length]);
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() && summary.failed == 0 {
        run::say("a test program was not built or ended before its summary: this counts as one failure");
        summary.failed = 1;
    }
    Ok(summary)
}

/// Says what was wrong besides the tests, and then, as the last line, the result of the tests.
fn conclude(summary: &Summary, complaints: &[Error]) -> Result<ExitCode> {
    for complaint in complaints {
        run::say(complaint);
    }
    ensure!(summary.passed + summary.failed > 0, "no test was run");
    println!("{summary}");
    let is_good = summary.failed == 0 && complaints.is_empty();
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
