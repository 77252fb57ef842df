//! How documents of the API look in tables. Pure: values in, text out.

use std::collections::BTreeMap;

use serde_json::Value;

/// Characters of a document in a cell, at most.
const CELL_MAX: usize = 80;

/// One column of a kind's table.
pub(crate) struct Column {
    /// Its head.
    pub(crate) title: &'static str,
    /// The field it shows.
    pub(crate) field: &'static str,
    /// How the field is shown.
    pub(crate) shape: Shape,
}

/// How a field is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As it is.
    Plain,
    /// A time, to the second.
    Time,
    /// A size in bytes, with a unit.
    Bytes,
    /// A digest, its first 12 characters.
    Digest,
    /// The id of a record; its name is shown. Holds the kind's plural, as the API has it.
    NameOf(&'static str),
    /// A member of a document.
    Member(&'static str),
}

/// A column of plain values.
pub(crate) const fn plain(title: &'static str, field: &'static str) -> Column {
    Column { title, field, shape: Shape::Plain }
}

/// A column of times.
pub(crate) const fn time(title: &'static str, field: &'static str) -> Column {
    Column { title, field, shape: Shape::Time }
}

/// A column with a member of documents.
pub(crate) const fn member(title: &'static str, field: &'static str, name: &'static str) -> Column {
    Column { title, field, shape: Shape::Member(name) }
}

/// A column with the names of other records.
pub(crate) const fn name_of(title: &'static str, field: &'static str, plural: &'static str) -> Column {
    Column { title, field, shape: Shape::NameOf(plural) }
}

/// The cell of a row. `names` are the names of other records by id.
pub(crate) fn cell(row: &Value, column: &Column, names: &BTreeMap<String, String>) -> String {
    let value = &row[column.field];
    match (column.shape, value) {
        (Shape::Time, Value::String(text)) => to_the_second(text),
        (Shape::Bytes, Value::Number(bytes)) => size(bytes.as_u64().unwrap_or_default()),
        (Shape::Digest, Value::String(text)) => text.chars().take(12).collect(),
        (Shape::NameOf(_), Value::String(id)) => names.get(id).unwrap_or(id).clone(),
        (Shape::Member(name), value) => shortened(&text_of(&value[name])),
        _ => shortened(&text_of(value)),
    }
}

/// A value as a person writes it; documents in their compact form.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

/// On one line and not too long.
pub(crate) fn shortened(text: &str) -> String {
    let line = text.replace('\n', " ");
    match line.char_indices().nth(CELL_MAX) {
        Some(_) => line.chars().take(CELL_MAX - 1).chain(['…']).collect(),
        None => line,
    }
}

/// `2026-01-31T12:34:56.000000Z` becomes `2026-01-31 12:34:56Z`.
fn to_the_second(text: &str) -> String {
    match text.split_once('T') {
        Some((date, time)) if time.ends_with('Z') => {
            format!("{date} {}Z", time.trim_end_matches('Z').split('.').next().unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut rest, mut unit) = (bytes as f64, 0);
    while rest >= 1024.0 && unit + 1 < units.len() {
        rest /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{rest:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(value: Value, shape: Shape) -> String {
        let names = BTreeMap::from([("id-1".to_owned(), "hello".to_owned())]);
        cell(&json!({ "field": value }), &Column { title: "T", field: "field", shape }, &names)
    }

    #[test]
    fn cells_are_short_and_readable() {
        let cases = [
            (json!("2026-01-31T12:34:56.789000Z"), Shape::Time, "2026-01-31 12:34:56Z"),
            (json!(null), Shape::Time, "-"),
            (json!(1023), Shape::Bytes, "1023 B"),
            (json!(1_572_864), Shape::Bytes, "1.5 MiB"),
            (json!("0123456789abcdef"), Shape::Digest, "0123456789ab"),
            (json!("id-1"), Shape::NameOf("flows"), "hello"),
            (json!("id-2"), Shape::NameOf("flows"), "id-2"),
            (json!(true), Shape::Plain, "yes"),
            (json!({"a": 1}), Shape::Plain, r#"{"a":1}"#),
            (json!("two\nlines"), Shape::Plain, "two lines"),
        ];
        for (value, shape, expected) in cases {
            assert_eq!(shown(value, shape), expected);
        }
        assert_eq!(shown(json!("ä".repeat(200)), Shape::Plain).chars().count(), CELL_MAX);
    }
}
