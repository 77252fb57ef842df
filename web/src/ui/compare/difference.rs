//! What is different between two executions, part by part.

use std::collections::HashMap;

use serde_json::Value;
use surefoot_engine::Timestamp;

use crate::ui::execution::{Check, Story};
use crate::ui::run::{Run, standing};
use crate::ui::words::{Standing, Took, text};

/// Places of a document that are told, and how deep it is looked into.
const CHANGES_MAX: usize = 100;

/// A time that differs by less, in milliseconds, or by a smaller factor, is the same to people.
const SLOWER_MS_MIN: f64 = 50.0;
const SLOWER_FACTOR_MIN: f64 = 1.5;

/// One of the two: its row, its journal's story, the rows of what it called.
pub(super) struct Seen<'a> {
    pub(super) row: &'a Value,
    pub(super) story: &'a Story,
    pub(super) calls: &'a [Value],
}

/// See the module.
pub(in crate::ui) struct Comparison {
    /// The earlier one.
    pub(in crate::ui) earlier: Run,
    pub(in crate::ui) facts: Vec<Fact>,
    pub(in crate::ui) input: Vec<Change>,
    pub(in crate::ui) output: Vec<Change>,
    pub(in crate::ui) checks: Vec<Pair>,
    pub(in crate::ui) calls: Vec<Pair>,
    /// Whether what came out is left aside.
    pub(in crate::ui) is_brief: bool,
}

/// A value of each.
pub(in crate::ui) struct Fact {
    pub(in crate::ui) label: &'static str,
    pub(in crate::ui) before: String,
    pub(in crate::ui) after: String,
    pub(in crate::ui) differs: bool,
}

/// A place of a document where two are different; none where one has nothing there.
#[derive(Debug, PartialEq)]
pub(in crate::ui) struct Change {
    pub(in crate::ui) path: String,
    pub(in crate::ui) before: Option<Value>,
    pub(in crate::ui) after: Option<Value>,
}

/// The same check, or the same call, in both.
pub(in crate::ui) struct Pair {
    pub(in crate::ui) name: String,
    before: Option<Side>,
    after: Option<Side>,
    /// What became of it; empty where nothing did.
    pub(in crate::ui) verdict: String,
}

impl Pair {
    pub(in crate::ui) fn sides(&self) -> [Option<&Side>; 2] {
        [self.before.as_ref(), self.after.as_ref()]
    }
}

/// How it went in one of them.
pub(in crate::ui) struct Side {
    pub(in crate::ui) id: Option<String>,
    pub(in crate::ui) standing: Standing,
    pub(in crate::ui) took: Option<Took>,
    pub(in crate::ui) reason: String,
}

impl Comparison {
    pub(super) fn new(before: &Seen<'_>, after: &Seen<'_>, now: Timestamp) -> Self {
        let checks = |seen: &Seen<'_>| seen.story.checks.iter().map(of_check).collect();
        let calls = |seen: &Seen<'_>| seen.calls.iter().map(|row| of_call(row, now)).collect();
        Self {
            earlier: Run::of(before.row, now),
            facts: facts(before, after, now),
            input: changes(&before.row["input"], &after.row["input"]),
            output: changes(&before.row["output"], &after.row["output"]),
            checks: pairs(checks(before), checks(after)),
            calls: pairs(calls(before), calls(after)),
            is_brief: false,
        }
    }

    /// Whether they are the same as far as it was looked.
    pub(in crate::ui) fn is_same(&self) -> bool {
        self.input.is_empty() && self.facts.iter().all(|fact| !fact.differs) && self.verdicts().next().is_none()
    }

    /// The facts that are different, or those that are not.
    pub(in crate::ui) fn facts_that(&self, differ: bool) -> Vec<&Fact> {
        self.facts.iter().filter(|fact| fact.differs == differ).collect()
    }

    /// The places of documents to show, by what these are. A new output is the nature of another run.
    pub(in crate::ui) fn shown_changes(&self) -> Vec<(&'static str, &[Change])> {
        let output: &[Change] = if self.is_brief { &[] } else { self.output.as_slice() };
        [("Input", self.input.as_slice()), ("Output", output)].into_iter().filter(|(_, all)| !all.is_empty()).collect()
    }

    /// The checks and the calls that something became of, or those that went as before.
    pub(in crate::ui) fn pairs_that(&self, differ: bool) -> Vec<(&'static str, Vec<&Pair>)> {
        let parts = [("Checks", &self.checks), ("Calls", &self.calls)].into_iter();
        let is_shown = |pair: &&Pair| pair.verdict.is_empty() != differ;
        let parts = parts.map(|(title, pairs)| (title, pairs.iter().filter(is_shown).collect::<Vec<_>>()));
        parts.filter(|(_, pairs)| !pairs.is_empty()).collect()
    }

    fn verdicts(&self) -> impl Iterator<Item = &Pair> {
        self.checks.iter().chain(&self.calls).filter(|pair| !pair.verdict.is_empty())
    }
}

fn facts(before: &Seen<'_>, after: &Seen<'_>, now: Timestamp) -> Vec<Fact> {
    let status = |row: &Value| standing(row).word.to_owned();
    let version = |row: &Value| text(row, "version").chars().take(19).collect::<String>();
    let fact = |label, of: &dyn Fn(&Seen<'_>) -> String| {
        let (before, after) = (of(before), of(after));
        Fact { label, differs: before != after, before, after }
    };
    let [ran, runs] = [before, after].map(|seen| Run::of(seen.row, now).took);
    let told = |took: Option<Took>| took.map_or_else(|| "–".to_owned(), |took| took.to_string());
    vec![
        fact("Status", &|seen| status(seen.row)),
        fact("Version of the flow", &|seen| version(seen.row)),
        fact("Engine", &|seen| seen.story.engine.clone()),
        fact("Started by", &|seen| text(seen.row, "created_by").to_owned()),
        // No two of them take the same time.
        Fact { label: "Took", before: told(ran), after: told(runs), differs: !slower(ran, runs).is_empty() },
        fact("Error", &|seen| Run::of(seen.row, now).reason),
    ]
}

fn of_check(check: &Check) -> (String, Side) {
    let name = match check.section.as_str() {
        "" => check.name.clone(),
        section => format!("{section}: {}", check.name),
    };
    (name, Side { id: None, standing: check.standing, took: check.took, reason: check.message.clone() })
}

fn of_call(row: &Value, now: Timestamp) -> (String, Side) {
    let Run { id, name, standing, took, reason, .. } = Run::of(row, now);
    (name, Side { id: Some(id), standing, took, reason })
}

/// Pairs what has the same name, the first of one with the first of the other, in the order of the later one.
fn pairs(before: Vec<(String, Side)>, after: Vec<(String, Side)>) -> Vec<Pair> {
    let mut known: HashMap<String, Vec<Side>> = HashMap::new();
    let mut order = Vec::new();
    for (name, side) in before {
        order.push(name.clone());
        known.entry(name).or_default().push(side);
    }
    known.values_mut().for_each(|sides| sides.reverse());
    let mut pairs: Vec<Pair> = after
        .into_iter()
        .map(|(name, side)| {
            let before = known.get_mut(&name).and_then(Vec::pop);
            Pair { verdict: verdict(before.as_ref(), Some(&side)), name, before, after: Some(side) }
        })
        .collect();
    for name in order {
        // What is left of them has no partner.
        if let Some(side) = known.get_mut(&name).and_then(Vec::pop) {
            pairs.push(Pair { verdict: verdict(Some(&side), None), name, before: Some(side), after: None });
        }
    }
    pairs
}

/// What became of it, in words.
fn verdict(before: Option<&Side>, after: Option<&Side>) -> String {
    match (before, after) {
        (Some(_), None) => "gone".to_owned(),
        (None, _) => "new".to_owned(),
        (Some(before), Some(after)) => match (before.standing.class, after.standing.class) {
            ("bad", "bad") if before.reason != after.reason => "another reason".to_owned(),
            (one, other) if one == other => slower(before.took, after.took),
            (_, "bad") => "regressed".to_owned(),
            ("bad", "good") => "fixed".to_owned(),
            _ => "other outcome".to_owned(),
        },
    }
}

fn slower(before: Option<Took>, after: Option<Took>) -> String {
    let (Some(Took(before)), Some(Took(after))) = (before, after) else { return String::new() };
    let [before, after] = [before, after].map(|took| took.as_secs_f64() * 1e3);
    let (less, more, word) = if after > before { (before, after, "slower") } else { (after, before, "faster") };
    let factor = more / less.max(0.001);
    match more - less >= SLOWER_MS_MIN && factor >= SLOWER_FACTOR_MIN {
        true => format!("{factor:.1} times {word}"),
        false => String::new(),
    }
}

/// The places where two documents are different, at most so many.
pub(super) fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    look(String::new(), Some(before), Some(after), &mut found);
    found
}

fn look(path: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Change>) {
    if before == after || found.len() >= CHANGES_MAX {
        return;
    }
    match (before, after) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let names = one.keys().chain(other.keys().filter(|name| !one.contains_key(*name)));
            for name in names {
                look(format!("{path}.{name}"), one.get(name), other.get(name), found);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for index in 0..one.len().max(other.len()) {
                look(format!("{path}[{index}]"), one.get(index), other.get(index), found);
            }
        }
        _ => {
            let path = if path.is_empty() { "all of it".to_owned() } else { path };
            found.push(Change { path, before: before.cloned(), after: after.cloned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn side(status: &str, ms: u64) -> Side {
        let took = Some(Took(Duration::from_millis(ms)));
        Side { id: None, standing: Standing::of(status), took, reason: String::new() }
    }

    #[test]
    fn documents_are_compared_place_by_place() {
        let before = json!({"a": 1, "list": [1, {"x": true}], "gone": "x", "same": [1, 2]});
        let after = json!({"a": 2, "list": [1, {"x": false}, 3], "same": [1, 2], "new": null});
        let told: Vec<_> = changes(&before, &after).into_iter().map(|change| change.path).collect();
        assert_eq!(told, [".a", ".gone", ".list[1].x", ".list[2]", ".new"]);
        assert_eq!(changes(&json!(1), &json!([1]))[0].path, "all of it");
        assert!(changes(&after, &after).is_empty());
        let long = |offset: u32| Value::from((offset..offset + 1000).collect::<Vec<_>>());
        assert_eq!(changes(&long(0), &long(1)).len(), CHANGES_MAX);
    }

    #[test]
    fn what_fails_for_another_reason_is_not_the_same() {
        let failed = |reason: &str| Side { reason: reason.to_owned(), ..side("fail", 10) };
        assert_eq!(verdict(Some(&failed("refused")), Some(&failed("no route"))), "another reason");
        assert_eq!(verdict(Some(&failed("refused")), Some(&failed("refused"))), "");
    }

    #[test]
    fn the_same_name_is_paired_in_order() {
        let named = |name: &str, status: &str, ms: u64| (name.to_owned(), side(status, ms));
        let before = vec![
            named("a", "pass", 10),
            named("b", "pass", 10),
            named("a", "fail", 10),
            named("c", "pass", 400),
            named("d", "pass", 1),
        ];
        let after = vec![
            named("a", "fail", 10),
            named("a", "pass", 10),
            named("c", "pass", 1900),
            named("e", "pass", 1),
            named("d", "pass", 2),
        ];
        let told: Vec<_> = pairs(before, after).into_iter().map(|pair| (pair.name, pair.verdict)).collect();
        let expected =
            [("a", "regressed"), ("a", "fixed"), ("c", "4.8 times slower"), ("e", "new"), ("d", ""), ("b", "gone")];
        assert_eq!(told, expected.map(|(name, verdict)| (name.to_owned(), verdict.to_owned())));
    }
}
