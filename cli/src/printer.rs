//! The one place that writes to the terminal: standard output is data, standard error is talk.
//!
//! A reader that closes its end early (`surefoot … | head`) is not an error: what it does not want is not written.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

/// How data is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables and lines, for people.
    #[default]
    Text,
    /// JSON, for programs.
    Json,
}

/// Writes data and talk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    format: Format,
}

impl Printer {
    /// With data in that format.
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether data is to be JSON.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// A line of data.
    pub(crate) fn line(self, line: impl Display) -> Result<()> {
        self.one_of_many(line).map(drop)
    }

    /// A line of data that others follow for as long as somebody reads them. False when nobody does any more.
    pub(crate) fn one_of_many(self, line: impl Display) -> Result<bool> {
        tolerant(writeln!(io::stdout().lock(), "{line}"))
    }

    /// Data as it is, without a line feed.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<()> {
        let mut stdout = io::stdout().lock();
        tolerant(stdout.write_all(bytes).and_then(|()| stdout.flush())).map(drop)
    }

    /// A document, indented.
    pub(crate) fn json(self, value: &Value) -> Result<()> {
        self.line(format_args!("{value:#}"))
    }

    /// A document on one line, as one of many.
    pub(crate) fn json_line(self, value: &Value) -> Result<()> {
        self.line(value)
    }

    /// A table without frames. `rows` have as many cells as `header`.
    pub(crate) fn table(self, header: &[&str], rows: Vec<Vec<String>>) -> Result<()> {
        let mut table = plain_table();
        table.set_header(header.iter().copied());
        table.add_rows(rows);
        self.line(trimmed(&table))
    }

    /// Names and their values, one a line.
    pub(crate) fn pairs(self, pairs: Vec<(String, String)>) -> Result<()> {
        let mut table = plain_table();
        table.add_rows(pairs.into_iter().map(|(name, value)| vec![format!("{name}:"), value]));
        self.line(trimmed(&table))
    }

    /// Tells people something.
    pub(crate) fn say(self, message: impl Display) {
        // Talk that nobody can read is no reason to stop.
        let _ = writeln!(io::stderr().lock(), "{message}");
    }

    /// Asks people something; the answer is to stand on the same line.
    pub(crate) fn ask(self, question: impl Display) {
        let _ = write!(io::stderr().lock(), "{question}");
    }

    /// Warns people.
    pub(crate) fn warn(self, message: impl Display) {
        self.say(format_args!("warning: {message}"));
    }

    /// Tells people what went wrong, and what to do.
    pub(crate) fn error(self, message: impl Display, hint: Option<&str>) {
        self.say(format_args!("error: {message}"));
        if let Some(hint) = hint {
            self.say(format_args!("hint: {hint}"));
        }
    }
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// The table without the padding that its frameless form has left and right.
fn trimmed(table: &Table) -> String {
    let lines = table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// False when nobody reads any more.
fn tolerant(written: io::Result<()>) -> Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}
