//! Figures, and the table and JSON that they end in.

#![expect(clippy::print_stdout, reason = "the table is what was asked for")]
#![expect(clippy::print_stderr, reason = "says how far it is: a run takes long")]

use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::Table;
use serde::Serialize;

use crate::machine::Machine;
use crate::pairs::{Pairs, median};
use crate::scale::Scale;

/// One line of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// Short, stable, for programs.
    name: String,
    unit: &'static str,
    value: f64,
    /// What stands beside it: the floor, or the same without the burden.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<f64>,
    /// Median of the pairs' ratios.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    /// The ratio of every pair.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ratios: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_met: Option<bool>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

/// What a figure must reach.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// The value is less.
    ValueUnder(f64),
    /// The value is at least that.
    ValueFrom(f64),
    /// The ratio is at least that.
    RatioFrom(f64),
    /// The ratio is at most that.
    RatioUpTo(f64),
}

impl Figure {
    /// A value on its own.
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            unit,
            value,
            reference: None,
            ratio: None,
            ratios: Vec::new(),
            target: None,
            is_met: None,
            note: String::new(),
        }
    }

    /// The median of pairs, and of their ratios.
    pub(crate) fn of_pairs(name: impl Into<String>, pairs: &Pairs, unit: &'static str) -> Self {
        let mut figure = Self::new(name, pairs.value(), unit).beside(pairs.reference());
        figure.ratios = pairs.ratios();
        figure.ratio = Some(median(&figure.ratios));
        figure
    }

    /// Sets what stands beside the value.
    pub(crate) fn beside(mut self, reference: f64) -> Self {
        self.ratio = Some(self.value / reference);
        self.reference = Some(reference);
        self
    }

    /// Sets what must be reached.
    pub(crate) fn target(mut self, target: Target) -> Self {
        let ratio = self.ratio.unwrap_or(f64::NAN);
        self.is_met = Some(match target {
            Target::ValueUnder(bound) => self.value < bound,
            Target::ValueFrom(bound) => self.value >= bound,
            Target::RatioFrom(bound) => ratio >= bound,
            // Below zero is a difference that drowned in noise, and proves nothing.
            Target::RatioUpTo(bound) => (0.0..=bound).contains(&ratio),
        });
        self.target = Some(target);
        self
    }

    /// Says more.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    fn cells(&self) -> [String; 7] {
        let number = |value: Option<f64>| value.map(shown).unwrap_or_default();
        let target = match self.target {
            None => String::new(),
            Some(Target::ValueUnder(bound)) => format!("under {}", shown(bound)),
            Some(Target::ValueFrom(bound)) => format!("from {}", shown(bound)),
            Some(Target::RatioFrom(bound)) => format!("ratio from {bound}"),
            Some(Target::RatioUpTo(bound)) => format!("ratio up to {bound}"),
        };
        let met = match self.is_met {
            None => "",
            Some(true) => "met",
            Some(false) => "NOT MET",
        };
        let value = format!("{} {}", shown(self.value), self.unit);
        let ratio = self.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        [self.name.clone(), value, number(self.reference), ratio, target, met.to_owned(), self.note.clone()]
    }
}

/// A number with three or more significant digits and no more than that after the point.
fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// All that a run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    scale: Scale,
    pairs: usize,
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn new(machine: Machine, scale: Scale, pairs: usize) -> Self {
        Self { machine, scale, pairs, figures: Vec::new() }
    }

    /// Says what is measured on.
    pub(crate) fn print_head(&self) {
        for line in self.machine.lines() {
            eprintln!("{line}");
        }
        eprintln!("each ratio is the median of {} interleaved pairs", self.pairs);
    }

    /// Takes figures in, and says them.
    pub(crate) fn add(&mut self, figures: Vec<Figure>) {
        for figure in figures {
            let cells = figure.cells();
            let filled: Vec<&str> = cells.iter().map(String::as_str).filter(|cell| !cell.is_empty()).collect();
            eprintln!("{}", filled.join(" | "));
            self.figures.push(figure);
        }
    }

    /// The table on standard output.
    pub(crate) fn print_table(&self) {
        let mut table = Table::new();
        table.set_header(["figure", "value", "floor or reference", "ratio", "target", "met", "note"]);
        for figure in &self.figures {
            table.add_row(figure.cells());
        }
        println!("{table}");
    }

    /// Everything as one JSON document.
    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_bounds() {
        let figure = |target| Figure::new("a", 6.0, "ms").beside(10.0).target(target).is_met;
        assert_eq!(figure(Target::ValueUnder(6.0)), Some(false));
        assert_eq!(figure(Target::ValueFrom(6.0)), Some(true));
        assert_eq!(figure(Target::RatioFrom(0.7)), Some(false));
        assert_eq!(figure(Target::RatioUpTo(0.7)), Some(true));
        assert_eq!(Figure::new("a", 6.0, "ms").beside(-10.0).target(Target::RatioUpTo(0.7)).is_met, Some(false));
    }

    #[test]
    fn a_figure_without_a_number_meets_nothing() {
        let met = |target| Figure::new("a", f64::NAN, "ms").beside(1.0).target(target).is_met;
        let targets = [Target::ValueUnder(1.0), Target::ValueFrom(1.0), Target::RatioFrom(0.0), Target::RatioUpTo(9.0)];
        assert_eq!(targets.map(met), [Some(false); 4]);
    }
}
