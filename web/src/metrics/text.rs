//! Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write as _};

use surefoot_engine::Distribution;

/// The text so far.
#[derive(Default)]
pub(super) struct Text(String);

/// Samples of one name.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

const INFALLIBLE: &str = "a string takes everything";

impl Text {
    /// Begins a family. `kind` is `counter`, `gauge` or `histogram`.
    pub(super) fn family(&mut self, name: &'static str, kind: &str, about: &str) -> Family<'_> {
        writeln!(self.0, "# HELP {name} {about}\n# TYPE {name} {kind}").expect(INFALLIBLE);
        Family { text: &mut self.0, name }
    }

    pub(super) fn counter(&mut self, name: &'static str, about: &str, value: impl Display) {
        self.family(name, "counter", about).sample(&[], value);
    }

    pub(super) fn gauge(&mut self, name: &'static str, about: &str, value: impl Display) {
        self.family(name, "gauge", about).sample(&[], value);
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

impl Family<'_> {
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, value);
    }

    pub(super) fn distribution(&mut self, labels: &[(&str, &str)], distribution: &Distribution) {
        for (bound, count) in &distribution.buckets {
            let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            self.line("_bucket", &[labels, &[("le", bound.as_str())]].concat(), count);
        }
        self.line("_sum", labels, distribution.sum);
        self.line("_count", labels, distribution.count());
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        write!(self.text, "{}{suffix}", self.name).expect(INFALLIBLE);
        for (index, (name, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let before = if index == 0 { '{' } else { ',' };
            write!(self.text, "{before}{name}=\"{value}\"").expect(INFALLIBLE);
        }
        let after = if labels.is_empty() { "" } else { "}" };
        writeln!(self.text, "{after} {value}").expect(INFALLIBLE);
    }
}
