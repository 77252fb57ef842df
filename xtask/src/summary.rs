//! Adds up the summaries that the test programs of one `cargo test` print.

use std::{fmt, mem};

/// The numbers of tests by outcome, over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
}

impl Summary {
    /// Takes the next piece of output, cut anywhere.
    pub(crate) fn read(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let tail = self.rest.split_off(end + 1);
            let line = mem::replace(&mut self.rest, tail);
            self.line(&String::from_utf8_lossy(&line));
        }
    }

    /// Counts a line such as `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; …`.
    /// What was filtered out was not asked for, and is not counted as skipped.
    fn line(&mut self, line: &str) {
        let Some(counts) = line.trim().strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for count in counts.1.split("; ") {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what.trim() {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 3 tests
test a ... ok

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.00s

test result: FAILED. 10 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s
";

    #[test]
    fn results_of_several_programs_are_added_up() {
        let mut summary = Summary::default();
        summary.read(OUTPUT.as_bytes());
        assert_eq!(summary.to_string(), "12 passed, 3 failed, 1 skipped");
    }

    #[test]
    fn output_may_be_cut_anywhere() {
        for cut in 0..OUTPUT.len() {
            let mut summary = Summary::default();
            let (head, tail) = OUTPUT.split_at(cut);
            summary.read(head.as_bytes());
            summary.read(tail.as_bytes());
            assert_eq!((summary.passed, summary.failed, summary.skipped), (12, 3, 1), "cut at {cut}");
        }
    }

    #[test]
    fn what_only_looks_like_a_result_is_not_counted() {
        let mut summary = Summary::default();
        summary.read(b"the log says: test result: ok. 5 passed; 0 failed\ntest result: unknown\n");
        assert_eq!(summary, Summary::default());
    }
}
