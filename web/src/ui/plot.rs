//! Plots, as SVG made here: exact values on each mark, for a pointer and for who hears the page, and a table beneath.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use askama::filters::HtmlSafe;

use super::words::Took;
use crate::page::escaped;

/// One column of stacked bars.
pub(super) struct Bar {
    /// What the column is of, such as a time.
    pub(super) label: String,
    /// A number for each series; empty where there is none to show, which is not zero.
    pub(super) values: Vec<f64>,
}

/// Stacked bars over time.
pub(super) struct Bars {
    /// What is shown, for who cannot see it.
    pub(super) title: String,
    /// The name of each series, and the class of its colour.
    pub(super) series: Vec<(&'static str, &'static str)>,
    pub(super) bars: Vec<Bar>,
    /// What a number is of; empty for counts.
    pub(super) unit: &'static str,
}

/// Size of the drawing, in its own units.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 140.0;

/// What is left free at the left for the scale, and at the bottom for the first and the last label.
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 18.0;

impl HtmlSafe for Bars {}

impl Display for Bars {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { title, series, bars, .. } = self;
        let title = escaped(title);
        write!(f, "<figure class=\"plot\"><figcaption>{title}<span class=\"legend\">")?;
        for (name, class) in series {
            write!(f, "<span class=\"key {class}\">{}</span>", escaped(name))?;
        }
        write!(f, "</span></figcaption>")?;
        write!(f, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">")?;
        let top = bars.iter().map(|bar| bar.values.iter().sum::<f64>()).fold(0.0, f64::max);
        let top = round_up(top);
        let floor = HEIGHT - BOTTOM;
        for share in [0.0, 0.5, 1.0] {
            let y = floor - share * (floor - 8.0);
            write!(f, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>")?;
            // There is no half of a thing that is counted.
            if self.unit.is_empty() && (top * share).fract() != 0.0 {
                continue;
            }
            let value = self.number(top * share);
            write!(f, "<text class=\"scale\" x=\"{}\" y=\"{:.1}\">{value}</text>", LEFT - 6.0, y + 4.0)?;
        }
        let step = (WIDTH - LEFT) / bars.len().max(1) as f64;
        for (index, bar) in bars.iter().enumerate() {
            self.bar(f, bar, LEFT + step * index as f64, step, top)?;
        }
        if let (Some(first), Some(last)) = (bars.first(), bars.last()) {
            let y = HEIGHT - 4.0;
            write!(f, "<text class=\"label\" x=\"{LEFT}\" y=\"{y}\">{}</text>", escaped(&first.label))?;
            write!(f, "<text class=\"label end\" x=\"{WIDTH}\" y=\"{y}\">{}</text>", escaped(&last.label))?;
        }
        write!(f, "</svg>")?;
        self.table(f)?;
        write!(f, "</figure>")
    }
}

impl Bars {
    /// One column, with one text for all of it: who points at it reads every number.
    fn bar(&self, f: &mut Formatter<'_>, bar: &Bar, x: f64, step: f64, top: f64) -> fmt::Result {
        let floor = HEIGHT - BOTTOM;
        let parts: Vec<String> = self
            .series
            .iter()
            .zip(&bar.values)
            .map(|((name, _), value)| format!("{name}: {}", self.number(*value)))
            .collect();
        let told = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
        write!(f, "<g class=\"column\"><title>{}: {}</title>", escaped(&bar.label), escaped(&told))?;
        write!(f, "<rect class=\"hit\" x=\"{x:.1}\" y=\"0\" width=\"{step:.1}\" height=\"{floor}\"/>")?;
        let mut y = floor;
        for ((_, class), value) in self.series.iter().zip(&bar.values) {
            let height = if top > 0.0 { value / top * (floor - 8.0) } else { 0.0 };
            if height > 0.0 {
                y -= height;
                let (x, width) = (x + step * 0.1, step * 0.8);
                write!(
                    f,
                    "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
                )?;
            }
        }
        write!(f, "</g>")
    }

    fn table(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "<details><summary>The numbers</summary><div class=\"scroll\" tabindex=\"0\"><table><thead><tr>")?;
        write!(f, "<th scope=\"col\">When</th>")?;
        for (name, _) in &self.series {
            write!(f, "<th scope=\"col\" class=\"number\">{}</th>", escaped(name))?;
        }
        write!(f, "</tr></thead><tbody>")?;
        for bar in &self.bars {
            write!(f, "<tr><th scope=\"row\">{}</th>", escaped(&bar.label))?;
            for index in 0..self.series.len() {
                match bar.values.get(index) {
                    Some(value) => write!(f, "<td class=\"number\">{}</td>", self.number(*value))?,
                    None => write!(f, "<td class=\"number\"><span class=\"none\">–</span></td>")?,
                }
            }
            write!(f, "</tr>")?;
        }
        write!(f, "</tbody></table></div></details>")
    }

    fn number(&self, value: f64) -> String {
        if self.unit == "s" && value > 0.0 {
            return Took(Duration::from_secs_f64(value)).to_string();
        }
        let digits = if value.fract() == 0.0 || value >= 100.0 { 0 } else { 2 };
        let space = if self.unit.is_empty() { "" } else { " " };
        format!("{value:.digits$}{space}{}", self.unit)
    }
}

/// The next number that a scale may end with: 1, 2 or 5 and zeros.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|end| *end >= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_with_round_numbers() {
        let ends = [0.0, 0.3, 1.0, 3.0, 7.0, 12.0, 99.0, 101.0].map(round_up);
        assert_eq!(ends, [1.0, 0.5, 1.0, 5.0, 10.0, 20.0, 100.0, 200.0]);
    }

    #[test]
    fn every_value_is_named_where_it_is_drawn_and_in_the_table() {
        let bars = vec![Bar { label: "<10:00>".into(), values: vec![3.0, 1.5] }];
        let series = vec![("succeeded", "good"), ("failed", "bad")];
        let html = Bars { title: "Runs".into(), series, bars, unit: "" }.to_string();
        assert!(html.contains("<title>&lt;10:00&gt;: succeeded: 3, failed: 1.50</title>"), "{html}");
        assert!(html.contains("<td class=\"number\">1.50</td>"), "{html}");
    }

    #[test]
    fn where_nothing_was_measured_is_a_gap_and_no_zero() {
        let bars = vec![Bar { label: "a".into(), values: vec![] }, Bar { label: "b".into(), values: vec![0.0] }];
        let html = Bars { title: "Took".into(), series: vec![("Median", "accent")], bars, unit: "s" }.to_string();
        assert!(html.contains("<title>a: nothing</title>") && html.contains("<title>b: Median: 0 s</title>"), "{html}");
        let cells = "<td class=\"number\"><span class=\"none\">–</span></td>";
        assert_eq!(html.matches(cells).count(), 1, "{html}");
    }
}
