//! The verdict that the caller gets. Pure.

/// The checks that failed, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Report {
    failed: Vec<String>,
}

impl Report {
    /// Makes a check, by name, and remembers if it failed.
    pub(crate) fn add(&mut self, name: &str, passes: impl FnOnce(&str) -> bool) {
        if !passes(name) {
            self.failed.push(format!("{name} failed"));
        }
    }

    /// The text of the answer.
    pub(crate) fn body(&self) -> String {
        if self.failed.is_empty() {
            return "Test successful.".to_owned();
        }
        format!("Test unsuccessful. Errors: \n{}", self.failed.join("\n"))
    }

    /// The HTTP status of the answer.
    pub(crate) fn status(&self) -> u16 {
        if self.failed.is_empty() { 200 } else { 500 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(checks: &[(&str, bool)]) -> Report {
        let mut report = Report::default();
        for (name, passes) in checks {
            report.add(name, |_| *passes);
        }
        report
    }

    #[test]
    fn no_errors() {
        let report = report(&[("my-ftp-connector", true), ("my-critical-flow-2", true)]);
        assert_eq!((report.status(), report.body().as_str()), (200, "Test successful."));
    }

    #[test]
    fn one_error() {
        let report = report(&[("my-ftp-connector", true), ("my-scp-connector", false)]);
        assert_eq!(
            (report.status(), report.body().as_str()),
            (500, "Test unsuccessful. Errors: \nmy-scp-connector failed")
        );
    }

    #[test]
    fn all_errors_in_the_order_of_the_flow() {
        let names = [
            "my-ftp-connector",
            "my-scp-connector",
            "my-mssql-connector",
            "my-smtp-connector",
            "my-self-build-scheduler",
            "my-critical-flow-1",
            "my-critical-flow-2",
        ];
        let body = report(&names.map(|name| (name, false))).body();
        let expected = "Test unsuccessful. Errors: \n\
            my-ftp-connector failed\n\
            my-scp-connector failed\n\
            my-mssql-connector failed\n\
            my-smtp-connector failed\n\
            my-self-build-scheduler failed\n\
            my-critical-flow-1 failed\n\
            my-critical-flow-2 failed";
        assert_eq!(body, expected);
    }
}
