//! The setting of the built-in scheduler as a form has it, and what it means.

use serde_json::{Map, Value};
use surefoot_engine::{Explanation, NamedTime, Times, Timestamp};

use crate::ui::filled::Filled;
use crate::ui::words::text;

/// What may stand in a setting besides the one that says when.
const OTHERS: [&str; 5] = ["time_zone", "from", "missed", "missed_window", "overlap"];

/// The ways to say when: what is sent, and what people read.
pub(super) const RULES: &[(&str, &str)] =
    &[("cron", "cron expression"), ("every", "interval"), ("at", "once, at a time")];

/// For each way an expression that is right, to try what stands beside one that is not.
const GOOD: [&str; 3] = ["0 9 * * *", "1h", "2030-01-01T00:00:00"];

pub(super) const MISSED: &[(&str, &str)] =
    &[("", "the newest gets a run"), ("skip", "none gets a run"), ("run_all", "each gets a run, the oldest first")];

pub(super) const OVERLAP: &[(&str, &str)] = &[
    ("", "both run"),
    ("skip", "the new one is left out"),
    ("queue", "the new one begins when the old one has ended"),
    ("cancel_old", "the old one is cancelled"),
];

/// Zones that are suggested; any of the IANA database is taken.
pub(super) const ZONES: &[&str] = &[
    "UTC",
    "Africa/Johannesburg",
    "America/Chicago",
    "America/Los_Angeles",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Asia/Shanghai",
    "Asia/Singapore",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Paris",
    "Europe/Vienna",
    "Europe/Zurich",
];

/// What stands in the fields of a form for the value of a setting.
pub(super) fn entered(value: &Value) -> Vec<(String, String)> {
    let rule = RULES.iter().map(|(rule, _)| *rule).find(|rule| value[*rule].is_string()).unwrap_or("cron");
    let default = |name: &str, text: &str| match (name, text) {
        ("missed", "run_once") | ("overlap", "allow") => String::new(),
        (_, text) => text.to_owned(),
    };
    let others = OTHERS.iter().map(|name| ((*name).to_owned(), default(name, text(value, name))));
    let own = [("rule".to_owned(), rule.to_owned()), ("expression".to_owned(), text(value, rule).to_owned())];
    own.into_iter().chain(others).collect()
}

/// The value of a setting that a form says; what is wrong with it stands beside its fields then.
pub(super) fn value(form: &mut Filled) -> Value {
    let rule = RULES.iter().map(|(rule, _)| *rule).find(|rule| *rule == form.value("rule")).unwrap_or("cron");
    let expression = form.required("expression");
    let mut value = Map::from_iter([(rule.to_owned(), Value::from(expression.as_str()))]);
    value.extend(OTHERS.iter().map(|name| ((*name).to_owned(), form.text(name))).filter(|(_, text)| !text.is_null()));
    refuse_wrong(form, rule, &value);
    Value::Object(value)
}

/// Tells all that is wrong at once: what was found stands aside for something right, until nothing more is found.
fn refuse_wrong(form: &mut Filled, rule: &str, value: &Map<String, Value>) {
    let mut value = value.clone();
    let good = RULES.iter().zip(GOOD).find(|((known, _), _)| *known == rule).map_or("", |(_, good)| good);
    // What is missing is told already.
    if value[rule] == "" {
        value.insert(rule.to_owned(), good.into());
    }
    let mut told = Vec::new();
    while let Err(error) = Times::of_setting(&Value::Object(value.clone())) {
        let reason = error.to_string();
        let named = reason.split('`').nth(1).unwrap_or_default();
        let named = if reason.contains("time zone") { "time_zone" } else { named };
        let field = OTHERS.iter().find(|other| **other == named).copied().unwrap_or("expression");
        if told.contains(&field) {
            return;
        }
        match field {
            "expression" => drop(value.insert(rule.to_owned(), good.into())),
            "time_zone" => drop(value.insert(field.to_owned(), "UTC".into())),
            other => drop(value.remove(other)),
        }
        form.refuse(field, reason);
        told.push(field);
    }
}

/// What is shown of times while they are written.
pub(super) struct Preview {
    pub(super) explanation: Option<Explanation>,
    /// Why there are none.
    pub(super) wrong: Option<String>,
    pub(super) policies: Vec<String>,
}

impl Preview {
    /// Of what a form says; nothing of an empty one.
    pub(super) fn of(form: &Filled, now: Timestamp) -> Self {
        let mut form = Filled::default().and(form.entered().to_vec());
        if form.text("expression").is_null() {
            return Self { explanation: None, wrong: None, policies: Vec::new() };
        }
        let value = value(&mut form);
        match Times::of_setting(&value) {
            Ok(times) => {
                let explanation = times.explain(now, 5);
                let wrong = explanation.times.is_empty().then(|| "there is no such time any more".to_owned());
                Self { explanation: Some(explanation), wrong, policies: policies(&value) }
            }
            Err(error) => Self { explanation: None, wrong: Some(error.to_string()), policies: Vec::new() },
        }
    }
}

/// What happens to times that are missed, and to runs that overlap.
pub(super) fn policies(value: &Value) -> Vec<String> {
    let words = |choices: &[(&str, &'static str)], name: &str, default: &str| {
        let chosen = Some(text(value, name)).filter(|text| *text != default).unwrap_or_default();
        choices.iter().find(|(word, _)| *word == chosen).map_or("", |(_, words)| *words)
    };
    let window = match text(value, "missed_window") {
        "" => String::new(),
        window => format!(", of the last {window}"),
    };
    vec![
        format!("Of times that came while nothing could run, {}{window}.", words(MISSED, "missed", "run_once")),
        format!("At a time when a run goes on, {}.", words(OVERLAP, "overlap", "allow")),
    ]
}

/// A time as the clocks of its zone show it: `Tuesday 2026-12-01 10:00:00 CET`.
pub(super) fn local(named: &NamedTime) -> String {
    let clock = named.local.get(..19).unwrap_or(&named.local).replace('T', " ");
    format!("{} {clock} {}", named.weekday, named.abbreviation)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_setting_fills_its_form_and_comes_back() {
        for setting in [
            json!({"cron": "*/5 * * * *", "time_zone": "Europe/Vienna", "missed": "skip", "overlap": "queue"}),
            json!({"every": "15m", "from": "2026-12-01T08:00:00+01:00", "missed_window": "6h"}),
            json!({"at": "2026-12-01T10:00:00", "time_zone": "Europe/Vienna"}),
        ] {
            let mut form = Filled::default().and(entered(&setting));
            assert_eq!(value(&mut form), setting);
            assert!(form.is_right());
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        for (rule, expression) in [("cron", "61 * * * *"), ("every", "often"), ("at", "tomorrow")] {
            let fields =
                [("rule", rule), ("expression", expression), ("time_zone", "Mars/X"), ("missed_window", "soon")];
            let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let mut form = Filled::default().and(fields.to_vec());
            value(&mut form);
            let mut wrong: Vec<_> = form.wrong().iter().map(|wrong| wrong.field.as_str()).collect();
            wrong.sort_unstable();
            assert_eq!(wrong, ["expression", "missed_window", "time_zone"], "{rule}: {:?}", form.wrong());
        }
    }

    #[test]
    fn what_is_wrong_stands_beside_its_field() {
        for (name, text, field) in [
            ("expression", "61 * * * *", "expression"),
            ("expression", "", "expression"),
            ("time_zone", "Europe/Vinena", "time_zone"),
            ("missed_window", "soon", "missed_window"),
            ("from", "2026-12-01T08:00:00Z", "from"),
        ] {
            let fields = [("rule", "cron"), ("expression", "0 9 * * *")].into_iter().filter(|(one, _)| *one != name);
            let fields = fields.chain([(name, text)]).map(|(name, value)| (name.to_owned(), value.to_owned()));
            let mut form = Filled::default().and(fields.collect());
            value(&mut form);
            let wrong: Vec<_> = form.wrong().iter().map(|wrong| wrong.field.as_str()).collect();
            assert_eq!(wrong, [field], "{text}: {:?}", form.wrong());
        }
    }
}
