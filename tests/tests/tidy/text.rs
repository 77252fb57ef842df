//! Rules for every text file: whitespace, and no trace of the machine it was written on.

use crate::{File, Finding};

/// Kinds of files whose whitespace we decide; others (recorded answers, keys) are as they came.
const FORMATTED: &[&str] = &["css", "html", "js", "md", "py", "rs", "sh", "sql", "toml", "wit"];

/// What means something only on the machine of whoever wrote it. Put together here, so that this file is clean.
const LOCAL: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("../sha", "red"),
    concat!(".lib", "rary/"),
    concat!("/root/", ".cache"),
    concat!("/tmp/", "brief"),
    concat!("CLOUD", "OMATION.md"),
    concat!("CONNEC", "TORS.md"),
    concat!("DESI", "GN.md"),
    concat!("MISSI", "ON.md"),
    concat!("PEE", "RS.md"),
    concat!("SPI", "KE.md"),
    concat!("STY", "LE.md"),
];

pub(crate) fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut report = |line: usize, problem: String| findings.push(Finding::new(&file.path, line, problem));
    let is_formatted = file.has_extension(FORMATTED);
    for (index, line) in file.text.split('\n').enumerate() {
        if let Some(word) = LOCAL.iter().find(|word| line.contains(**word)) {
            report(index + 1, format!("`{word}` exists on one machine only: say what the reader can use"));
        }
        if is_formatted && line.contains('\t') {
            report(index + 1, "a tab: use spaces".to_owned());
        }
        if is_formatted && line.ends_with([' ', '\t', '\r']) {
            report(index + 1, "whitespace at the end of the line".to_owned());
        }
    }
    if is_formatted && !file.text.is_empty() && (!file.text.ends_with('\n') || file.text.ends_with("\n\n")) {
        report(0, "a file ends with one line feed".to_owned());
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<usize> {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        check(&file).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn whitespace_is_checked_in_what_we_format() {
        assert_eq!(problems("a.rs", "fine\n"), [0_usize; 0]);
        assert_eq!(problems("a.rs", "\tx\nfine\nx \nx\r\n"), [1, 3, 4]);
        assert_eq!(problems("a.rs", "no end"), [0]);
        assert_eq!(problems("a.rs", "two ends\n\n"), [0]);
        assert_eq!(problems("golden.txt", "\tx \r"), [0_usize; 0]);
    }

    #[test]
    fn local_words_are_found_in_every_file() {
        for word in LOCAL {
            assert_eq!(problems("golden.txt", &format!("fine\nsee {word}x\n")), [2], "{word}");
        }
        assert_eq!(problems("a.md", "a network share, a design, a workspace/\n"), [0_usize; 0]);
    }
}
