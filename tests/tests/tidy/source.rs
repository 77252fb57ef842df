//! Rules for Rust files: a head that explains, lines and files that can be read, nothing left half done.

use crate::{File, Finding};

const LINE_WIDTH_MAX: usize = 120;

/// No production file is longer, but for [`LONGER`].
const FILE_LINES_MAX: usize = 800;

/// Nine of ten production files are not longer.
const FILE_LINES_P90_MAX: usize = 400;

/// Files that may be longer than [`FILE_LINES_MAX`]: path, lines, why. This list only shrinks.
const LONGER: &[(&str, usize, &str)] = &[];

/// What is not left in the sources, and what to do instead. Put together here, so that this file is clean.
const BANNED: &[(&str, &str)] = &[
    (concat!("FIX", "ME"), "repair it now, or open an issue"),
    (concat!("XX", "X"), "repair it now, or open an issue"),
    (concat!("dbg", "!("), "use `tracing`, or nothing"),
    (concat!("tod", "o!("), "write it, or leave the case out of the type"),
    (concat!("unimple", "mented!("), "write it, or leave the case out of the type"),
    (concat!("#[ign", "ore"), "a test that does not run proves nothing: repair it or remove it"),
];

pub(crate) fn check(file: &File) -> Vec<Finding> {
    if !file.has_extension(&["rs"]) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut report = |line: usize, problem: String| findings.push(Finding::new(&file.path, line, problem));
    if !file.text.starts_with("//! ") {
        report(1, "a file begins with `//! ` and what lives here, what may not".to_owned());
    }
    for (index, line) in file.text.lines().enumerate() {
        let width = line.chars().count();
        if width > LINE_WIDTH_MAX && !line.contains("://") {
            report(index + 1, format!("{width} characters, of at most {LINE_WIDTH_MAX}: break the line"));
        }
        for (banned, instead) in BANNED.iter().filter(|(banned, _)| contains_word(line, banned)) {
            report(index + 1, format!("`{banned}`: {instead}"));
        }
    }
    findings
}

/// The budgets of file lengths, and that the exceptions are still needed.
pub(crate) fn check_sizes(files: &[File]) -> Vec<Finding> {
    check_sizes_with(files, LONGER)
}

fn check_sizes_with(files: &[File], longer: &[(&str, usize, &str)]) -> Vec<Finding> {
    let mut sizes: Vec<(usize, &str)> = files
        .iter()
        .filter(|file| is_production(file))
        .map(|file| (production_lines(&file.text), &*file.path))
        .collect();
    sizes.sort_unstable();
    let mut findings = Vec::new();
    for (lines, path) in &sizes {
        let max = longer.iter().find(|(longer, ..)| longer == path).map_or(FILE_LINES_MAX, |(_, lines, _)| *lines);
        if *lines > max {
            findings.push(Finding::new(
                path,
                0,
                format!("{lines} lines, of at most {max}: split it by what changes together"),
            ));
        }
    }
    for (path, max, _) in longer {
        match sizes.iter().find(|(_, known)| known == path) {
            Some((lines, _)) if *lines > FILE_LINES_MAX => {}
            _ => findings.push(Finding::new(path, 0, format!("needs its exception of {max} lines no more: remove it"))),
        }
    }
    let p90 = sizes.get((sizes.len() * 9 / 10).min(sizes.len().saturating_sub(1)));
    if let Some((lines, path)) = p90.filter(|(lines, _)| *lines > FILE_LINES_P90_MAX) {
        let problem =
            format!("more than one production file in ten is longer than {FILE_LINES_P90_MAX} (this one: {lines})");
        findings.push(Finding::new(path, 0, problem));
    }
    findings
}

/// Whether a file is part of what we deliver: not a test.
fn is_production(file: &File) -> bool {
    let is_test = file.has_folder("tests") || file.path.ends_with("/tests.rs");
    file.has_extension(&["rs"]) && !is_test
}

/// The lines before an inline `mod tests`, comments and empty lines included.
fn production_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{'));
    tests.unwrap_or(lines.len())
}

/// Whether `line` has `word` and not as a part of a longer one.
fn contains_word(line: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let may_go_on = !word.ends_with(char::is_alphanumeric);
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !is_part(before) && (may_go_on || !is_part(after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    fn lines_found(text: &str) -> Vec<usize> {
        check(&file("engine/src/a.rs", text)).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_file_begins_with_its_purpose() {
        assert_eq!(lines_found("//! The purpose.\n"), [0_usize; 0]);
        assert_eq!(lines_found("use std::fmt;\n//! Too late.\n"), [1]);
        assert!(check(&file("a.sql", "select 1;\n")).is_empty());
    }

    #[test]
    fn long_lines_are_found_unless_they_hold_an_address() {
        let exact = "x".repeat(120);
        assert_eq!(lines_found(&format!("//! Docs.\n{exact}\n{exact}x\n// https://{exact}\n")), [3]);
    }

    #[test]
    fn leftovers_are_found_as_whole_words() {
        for (banned, _) in BANNED {
            assert_eq!(lines_found(&format!("//! Docs.\n    {banned})\n")), [2], "{banned}");
        }
        let template = format!("//! Docs.\n\"{}\" my_{}1)\n", "X".repeat(6), BANNED[2].0);
        assert_eq!(lines_found(&template), [0_usize; 0]);
    }

    #[test]
    fn inline_tests_do_not_count() {
        assert_eq!(production_lines("a\nb\n#[cfg(test)]\nmod tests {\n}\n"), 2);
        assert_eq!(production_lines("a\n#[cfg(test)]\nmod tests;\nb\n"), 4);
    }

    #[test]
    fn sizes_have_a_hard_stop_and_exceptions_only_shrink() {
        let files = |lines: usize| {
            let mut files: Vec<File> = (0..20).map(|n| file(&format!("engine/src/{n}.rs"), "x\n")).collect();
            files.push(file("engine/src/big.rs", &"x\n".repeat(lines)));
            files.push(file("engine/tests/huge.rs", &"x\n".repeat(5_000)));
            files
        };
        assert_eq!(check_sizes_with(&files(800), &[]), []);
        assert_eq!(check_sizes_with(&files(801), &[]).len(), 1);
        let exception = [("engine/src/big.rs", 900, "a table")];
        assert_eq!(check_sizes_with(&files(900), &exception), []);
        assert_eq!(check_sizes_with(&files(901), &exception).len(), 1, "grew beyond its exception");
        assert_eq!(check_sizes_with(&files(800), &exception).len(), 1, "needs no exception any more");
        assert_eq!(check_sizes_with(&files(1)[..20], &exception).len(), 1, "is gone");
    }

    #[test]
    fn most_files_are_short() {
        let files: Vec<File> =
            (0..10).map(|n| file(&format!("engine/src/{n}.rs"), &"x\n".repeat(380 + n * 5))).collect();
        assert_eq!(check_sizes_with(&files, &[]).len(), 1);
        assert_eq!(check_sizes_with(&files[..5], &[]), []);
    }
}
