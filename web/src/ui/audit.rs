//! The audit log: who changed what and when, with what stood there before and after.

use std::collections::BTreeMap;

use askama::Template;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Role, Timestamp};

use super::filled::Filled;
use super::frame::{Frame, View, page};
use super::words::{Moment, text, time};
use crate::caller::InReach;
use crate::extract::InQuery;
use crate::operation::Operation;
use crate::problem::Answer;

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::page("/ui/audit", list).workspace_role(Role::Admin)]
}

/// Entries on one page.
const ROWS: u32 = 50;

/// What of a value is shown in a difference, characters.
const VALUE_MAX: usize = 2000;

/// What the address says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    /// As the log names them, or a part of that.
    who: Option<String>,
    action: Option<String>,
    /// Of the record.
    kind: Option<String>,
    /// Name of the record, or a part of that.
    name: Option<String>,
    /// Times in UTC, as a browser sends them.
    from: Option<String>,
    until: Option<String>,
    cursor: Option<String>,
}

impl AuditQuery {
    /// All that was asked for, with the names that the address has for it.
    fn pairs(&self) -> [(&'static str, &str); 6] {
        let Self { who, action, kind, name, from, until, .. } = self;
        [("who", who), ("action", action), ("kind", kind), ("name", name), ("from", from), ("until", until)]
            .map(|(field, value)| (field, value.as_deref().map(str::trim).unwrap_or_default()))
    }

    fn is_plain(&self) -> bool {
        self.cursor.is_none() && self.pairs().iter().all(|(_, value)| value.is_empty())
    }

    /// The filter, or what is wrong with what was asked for.
    fn filter(&self, filled: &mut Filled) -> Option<Value> {
        let mut terms = Vec::new();
        for (field, value) in self.pairs().into_iter().filter(|(_, value)| !value.is_empty()) {
            let term = |field: &str, op: &str, value: &str| json!({"field": field, "op": op, "value": value});
            terms.push(match field {
                "who" => term("created_by", "like", &format!("%{value}%")),
                "name" => term("record_name", "like", &format!("%{value}%")),
                "kind" => term("record_kind", "eq", value),
                "action" => term("action", "eq", value),
                _ => match moment(value) {
                    Some(at) => term("created_at", if field == "from" { "gte" } else { "lt" }, &at.to_string()),
                    None => {
                        filled.refuse(field, "it is no time such as 2026-01-31T12:00");
                        continue;
                    }
                },
            });
        }
        (!terms.is_empty()).then(|| json!({ "and": terms }))
    }

    /// The query of the page after that cursor.
    fn after(&self, cursor: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::from("?"));
        query.extend_pairs(self.pairs().into_iter().filter(|(_, value)| !value.is_empty()));
        query.append_pair("cursor", cursor).finish()
    }
}

/// A time as a browser sends it: without its zone, and without seconds that are none.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let seconds = if text.len() == 16 { ":00" } else { "" };
    format!("{text}{seconds}Z").parse().ok()
}

/// A field that is not what it was.
#[derive(Debug, PartialEq, Eq)]
struct Changed {
    field: String,
    before: String,
    after: String,
}

/// What every change changes.
const OF_EVERY_CHANGE: [&str; 3] = ["revision", "modified_at", "modified_by"];

/// What differs between two documents, by path. What is there once only is shown beside nothing.
fn difference(before: &Value, after: &Value) -> Vec<Changed> {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    flatten("", before, &mut old);
    flatten("", after, &mut new);
    let mut fields: Vec<_> = old.keys().chain(new.keys()).cloned().collect();
    fields.sort();
    fields.dedup();
    let is_told = |field: &String| old.get(field) != new.get(field) && !OF_EVERY_CHANGE.contains(&field.as_str());
    let of = |all: &BTreeMap<String, String>, field: &str| all.get(field).cloned().unwrap_or_default();
    let changed = |field: String| Changed { before: of(&old, &field), after: of(&new, &field), field };
    fields.into_iter().filter(is_told).map(changed).collect()
}

/// The values in a document, by their path.
fn flatten(path: &str, value: &Value, all: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, member, all);
            }
        }
        Value::Null => {}
        value => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let shown = match text.char_indices().nth(VALUE_MAX) {
                Some((end, _)) => format!("{} … ({} bytes)", &text[..end], text.len()),
                None => text,
            };
            all.insert(path.to_owned(), shown);
        }
    }
}

/// An entry, as the page shows it.
struct Deed {
    at: Moment,
    who: String,
    action: String,
    kind: String,
    name: String,
    /// Where the record is, for kinds that have pages.
    path: Option<String>,
    changed: Vec<Changed>,
}

impl Deed {
    fn of(row: &Value, now: Timestamp) -> Self {
        let (kind, id) = (text(row, "record_kind"), text(row, "record_id"));
        let known = Kind::parse(kind).ok().filter(|kind| !matches!(kind, Kind::Token | Kind::Audit | Kind::Scheduler));
        Self {
            at: Moment { at: time(row, "created_at"), now },
            who: text(row, "created_by").to_owned(),
            action: text(row, "action").replace('_', " "),
            kind: kind.to_owned(),
            name: text(row, "record_name").to_owned(),
            path: known.filter(|_| !id.is_empty()).map(|kind| super::record::path_of(kind, id)),
            changed: difference(&row["before"], &row["after"]),
        }
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    frame: Frame,
    filled: Filled,
    is_plain: bool,
    is_further: bool,
    deeds: Vec<Deed>,
    next: Option<String>,
    kinds: Vec<(&'static str, &'static str)>,
}

impl View for Audit {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn list(InReach(engine): InReach, frame: Frame, InQuery(query): InQuery<AuditQuery>) -> Answer<Response> {
    let mut filled = Filled::with(query.pairs().map(|(field, value)| (field, value.to_owned())));
    let filter = query.filter(&mut filled);
    let (mut rows, mut next) = (Vec::new(), None);
    if filled.is_right() {
        let cursor = query.cursor.clone();
        let call = QueryCall {
            kind: Kind::Audit.as_str().to_owned(),
            filter,
            limit: Some(ROWS),
            cursor,
            ..QueryCall::default()
        };
        let found = engine.query(call).await?;
        (rows, next) = (found.rows, found.next.map(|cursor| query.after(&cursor)));
    }
    let deeds = rows.iter().map(|row| Deed::of(row, frame.now)).collect();
    let kinds = Kind::ALL.iter().map(|(_, name, _)| (*name, *name)).filter(|(name, _)| *name != "audit");
    let kinds = [("", "all")].into_iter().chain(kinds).collect();
    let (is_plain, is_further) = (query.is_plain(), query.cursor.is_some());
    Ok(page(&Audit { frame, filled, is_plain, is_further, deeds, next, kinds }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(before: &Value, after: &Value) -> Vec<String> {
        let told = |one: Changed| format!("{}: {} -> {}", one.field, one.before, one.after);
        difference(before, after).into_iter().map(told).collect()
    }

    #[test]
    fn only_what_differs_is_told_by_its_path() {
        let before =
            json!({"name": "a", "config": {"host": "x", "password": "***"}, "revision": 1, "modified_by": "p"});
        let after = json!({"name": "a", "config": {"host": "y", "password": "***"}, "revision": 2, "on": [1]});
        assert_eq!(changed(&before, &after), ["config.host: x -> y", "on:  -> [1]"]);
        assert_eq!(changed(&Value::Null, &json!({"name": "a", "more": null})), ["name:  -> a"]);
        assert_eq!(changed(&json!({"value": {"a": 1}}), &json!({"value": {}})), ["value:  -> {}", "value.a: 1 -> "]);
        assert!(changed(&json!({"a": "x".repeat(9000)}), &Value::Null)[0].contains("… (9000 bytes)"));
    }

    #[test]
    fn times_are_read_as_browsers_send_them() {
        let expected = "2026-01-31T12:00:00Z".parse().ok();
        assert_eq!(
            (moment("2026-01-31T12:00"), moment("2026-01-31T12:00:00"), moment("soon")),
            (expected, expected, None)
        );
    }
}
