//! Tidiness of this repository, as ordinary tests: what no compiler and no lint sees. Each rule says what to do
//! instead, and has cases of its own beside it. Lints proper are in `clippy.toml` and the root `Cargo.toml`.

mod documents;
mod layout;
mod modules;
mod source;
mod text;

use std::{collections::BTreeSet, fmt, fs, path::Path};

use xtask::{repo, rows};

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// Relative to the checkout, with `/`.
    file: String,
    /// Counted from 1; 0 is the file as a whole.
    line: usize,
    problem: String,
}

impl Finding {
    fn new(file: &str, line: usize, problem: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, problem: problem.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.problem)
    }
}

/// A text file of the checkout.
struct File {
    /// Relative to the checkout, with `/`.
    path: String,
    text: String,
}

impl File {
    fn has_extension(&self, extensions: &[&str]) -> bool {
        Path::new(&self.path).extension().is_some_and(|own| extensions.iter().any(|one| own == *one))
    }

    fn has_folder(&self, name: &str) -> bool {
        self.path.split('/').rev().skip(1).any(|folder| folder == name)
    }
}

/// Every file of the checkout that is text.
fn files() -> Vec<File> {
    let files: Vec<_> = repo::files()
        .unwrap()
        .into_iter()
        .filter_map(|path| {
            let text = String::from_utf8(fs::read(repo::root().join(&path)).unwrap()).ok()?;
            Some(File { path: path.iter().map(|part| part.to_str().unwrap()).collect::<Vec<_>>().join("/"), text })
        })
        .collect();
    assert!(files.iter().any(|file| file.path == "Cargo.toml"), "the checkout was not found");
    files
}

#[track_caller]
fn assert_none(findings: &[Finding]) {
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} findings:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn text_files_are_clean() {
    assert_none(&files().iter().flat_map(text::check).collect::<Vec<_>>());
}

#[test]
fn rust_files_keep_the_rules() {
    assert_none(&files().iter().flat_map(source::check).collect::<Vec<_>>());
}

#[test]
fn rust_files_are_small() {
    assert_none(&source::check_sizes(&files()));
}

#[test]
fn documents_have_one_title_and_no_dead_link() {
    let files = files();
    let exists = |path: &Path| repo::root().join(path).exists();
    assert_none(&files.iter().flat_map(|file| documents::check(file, &exists)).collect::<Vec<_>>());
}

#[test]
fn no_rust_file_is_forgotten() {
    assert_none(&modules::check(&files(), &layout::metadata()));
}

#[test]
fn packages_are_members_with_the_shared_lints() {
    assert_none(&layout::check_manifests(&files(), &layout::metadata()));
}

#[test]
fn every_example_flow_is_run_by_a_test() {
    assert_none(&layout::check_flows(&files(), &xtask::flows::names().unwrap()));
}

#[test]
fn continuous_integration_runs_what_the_readme_says() {
    assert_none(&layout::check_commands(&files()));
}

#[test]
fn the_table_of_rows_is_fresh() {
    let expected = rows::render(&rows::covered().unwrap());
    let path = repo::root().join(rows::FILE);
    let actual = fs::read_to_string(path).unwrap_or_default();
    assert!(actual == expected, "{} is stale: run `cargo xtask generate`", rows::FILE);
}

/// The rows of the main job. A row that is done stays done.
#[test]
fn every_row_of_the_main_job_has_a_test() {
    let covered: BTreeSet<String> = rows::covered().unwrap().into_iter().map(|row| row.row).collect();
    let missing: Vec<String> = (4..=31).map(|n| format!("C-{n:02}")).filter(|row| !covered.contains(row)).collect();
    assert!(missing.is_empty(), "no test is named after these rows: {}", missing.join(", "));
}
