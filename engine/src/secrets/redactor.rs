//! Takes secrets out of what is stored, shown and logged, in whichever form they stand there.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use serde_json::{Number, Value};
use surefoot_connector_api::REDACTED;

use super::encodings::{DECODERS, Pattern, View, is_base64, patterns};
use crate::core::lock;

/// Shorter ones are not searched for, bytes: they stand everywhere by chance.
pub(super) const SEARCHED_BYTES_MIN: usize = 4;

/// Encodings within encodings that are undone.
const DEPTH_MAX: usize = 3;

/// Knows secrets, and finds them.
#[derive(Default)]
pub(crate) struct Redactor {
    known: HashSet<String>,
    patterns: Vec<Pattern>,
    automaton: Option<AhoCorasick>,
}

impl Redactor {
    /// For these secrets. White space around them does not count.
    pub(crate) fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let searched = |secret: &String| secret.trim().len() >= SEARCHED_BYTES_MIN && secret.trim() != REDACTED;
        let known: HashSet<String> = secrets.into_iter().filter(searched).collect();
        let mut patterns: Vec<Pattern> = known.iter().flat_map(|secret| patterns(secret.trim())).collect();
        patterns.sort();
        let automaton = (!patterns.is_empty()).then(|| {
            // The default takes more memory than it is worth with few and long patterns.
            let builder = AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).to_owned();
            let bytes = patterns.iter().map(|pattern| &pattern.bytes);
            builder.build(bytes).expect("secrets are bounded, and their patterns far fewer than it takes")
        });
        Self { known, patterns, automaton }
    }

    /// Whether it finds this one, or need not.
    pub(crate) fn knows(&self, secret: &str) -> bool {
        secret.trim().len() < SEARCHED_BYTES_MIN || self.known.contains(secret)
    }

    /// Whether it knows none.
    pub(crate) fn is_empty(&self) -> bool {
        self.automaton.is_none()
    }

    /// The text with `***` in the place of each secret.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// Like [`text`](Self::text), of any bytes.
    pub(crate) fn bytes<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let mut found = Vec::new();
        if let Some(automaton) = &self.automaton {
            self.search(automaton, &View::new(text), 0, &mut found);
        }
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        found.sort_unstable_by_key(|range| range.start);
        let (mut redacted, mut end) = (Vec::with_capacity(text.len()), 0);
        for range in found {
            // What overlaps, or touches, is one.
            if range.start > end || redacted.is_empty() {
                redacted.extend_from_slice(&text[end.min(range.start)..range.start]);
                redacted.extend_from_slice(REDACTED.as_bytes());
            }
            end = end.max(range.end);
        }
        redacted.extend_from_slice(&text[end..]);
        Cow::Owned(redacted)
    }

    /// Redacts every text in a document, names of members included, and numbers that are a secret as a whole.
    pub(crate) fn value(&self, value: &mut Value) {
        if !self.is_empty() {
            let is_secret = |number: &Number| self.known.iter().any(|secret| secret.trim() == number.to_string());
            replace_in(value, &|text| self.text(text), &is_secret);
        }
    }

    /// Redacts what texts of a document end with that is the beginning of a secret: the rest may have been cut off.
    pub(crate) fn ends(&self, value: &mut Value) {
        replace_in(value, &|text| self.without_end(text), &|_| false);
    }

    /// The same in a text.
    pub(crate) fn end(&self, text: &mut String) {
        if let Cow::Owned(redacted) = self.without_end(text) {
            *text = redacted;
        }
    }

    fn without_end<'a>(&self, text: &'a str) -> Cow<'a, str> {
        // What a character that was cut in two has become.
        let whole = text.trim_end_matches('\u{FFFD}').as_bytes();
        let cut_off = |pattern: &Pattern| {
            let lengths = (SEARCHED_BYTES_MIN..pattern.bytes.len()).rev();
            lengths.into_iter().find(|length| whole.ends_with(&pattern.bytes[..*length]))
        };
        match self.patterns.iter().filter_map(cut_off).max() {
            Some(length) => Cow::Owned(String::from_utf8_lossy(&whole[..whole.len() - length]).into_owned() + REDACTED),
            None => Cow::Borrowed(text),
        }
    }

    /// Redacts in place.
    pub(crate) fn replace(&self, text: &mut String) {
        if let Cow::Owned(redacted) = self.text(text) {
            *text = redacted;
        }
    }

    fn search(&self, automaton: &AhoCorasick, view: &View<'_>, depth: usize, found: &mut Vec<Range<usize>>) {
        let bytes = &*view.bytes;
        for hit in automaton.find_overlapping_iter(bytes) {
            let Pattern { before, after, .. } = &self.patterns[hit.pattern()];
            let (mut start, mut end) = (hit.start(), hit.end());
            if *before > 0 && start > 0 && is_base64(bytes[start - 1]) {
                start -= 1;
            }
            if *after > 0 && bytes.get(end).is_some_and(|byte| is_base64(*byte)) {
                end += 1;
            }
            found.push(view.in_text(start..end));
        }
        if depth < DEPTH_MAX {
            for view in DECODERS.iter().filter_map(|decoder| view.decoded(decoder)) {
                self.search(automaton, &view, depth + 1, found);
            }
        }
    }
}

/// Replaces every text in a document, names of members included, and by `***` the numbers that `is_secret` names.
pub(crate) fn replace_in(
    value: &mut Value,
    replaced: &impl Fn(&str) -> Cow<'_, str>,
    is_secret: &impl Fn(&Number) -> bool,
) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(new) = replaced(text) {
                *text = new;
            }
        }
        Value::Number(number) if is_secret(number) => *value = REDACTED.into(),
        Value::Array(items) => items.iter_mut().for_each(|item| replace_in(item, replaced, is_secret)),
        Value::Object(members) => {
            if members.keys().any(|name| matches!(replaced(name), Cow::Owned(_))) {
                let all = std::mem::take(members).into_iter();
                members.extend(all.map(|(name, member)| (replaced(&name).into_owned(), member)));
            }
            members.values_mut().for_each(|member| replace_in(member, replaced, is_secret));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What the workspace that was opened last knows to be secret, for those who print while it is open. Clones are the
/// same.
#[derive(Clone, Default)]
pub struct Redaction(Arc<Mutex<Arc<Redactor>>>);

impl std::fmt::Debug for Redaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Redaction {
    /// The text with `***` in the place of each secret of the workspace, as it is, percent-encoded, JSON-escaped or in
    /// base64. Secrets of less than 4 bytes are not searched for.
    pub fn redacted<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let redactor = lock(&self.0).clone();
        redactor.bytes(text)
    }

    pub(super) fn set(&self, redactor: Arc<Redactor>) {
        *lock(&self.0) = redactor;
    }
}

#[cfg(test)]
mod tests;
