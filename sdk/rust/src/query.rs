//! Queries: filters, and rows read page by page.

use std::collections::VecDeque;
use std::iter::FusedIterator;
use std::ops;

use serde_json::{Value, json};

use crate::error::Result;
use crate::host;
use crate::record::{Kind, Record};

/// A condition on records. Build it from [`field`] with `&`, `|` and `!`, or take the JSON form as it is.
///
/// ```
/// use surefoot::prelude::*;
///
/// let filter = field("type").eq("SCHEDULE") & field("created_at").gt("2026-01-01T00:00:00.000000Z");
/// let raw = Filter::raw(json!({ "and": [
///     { "field": "type", "op": "eq", "value": "SCHEDULE" },
///     { "field": "created_at", "op": "gt", "value": "2026-01-01T00:00:00.000000Z" },
/// ]}));
/// assert_eq!(filter, raw);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Filter(Value);

impl Filter {
    /// A filter in its JSON form: `{"field", "op", "value"}`, `{"and": […]}`, `{"or": […]}` or `{"not": …}`. The
    /// host checks it.
    pub fn raw(filter: Value) -> Self {
        Self(filter)
    }

    /// The JSON form.
    pub fn as_value(&self) -> &Value {
        &self.0
    }

    /// Joins two filters; lists of the same operator become one list.
    fn join(self, operator: &str, other: Self) -> Self {
        let mut operands = self.into_operands(operator);
        operands.extend(other.into_operands(operator));
        Self(json!({ operator: operands }))
    }

    fn into_operands(self, operator: &str) -> Vec<Value> {
        match self.0 {
            Value::Object(mut map) if map.len() == 1 && map.get(operator).is_some_and(Value::is_array) => {
                match map.remove(operator) {
                    Some(Value::Array(operands)) => operands,
                    _ => unreachable!("the guard saw an array"),
                }
            }
            single => vec![single],
        }
    }
}

impl From<Value> for Filter {
    fn from(filter: Value) -> Self {
        Self::raw(filter)
    }
}

impl ops::BitAnd for Filter {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        self.join("and", other)
    }
}

impl ops::BitOr for Filter {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.join("or", other)
    }
}

impl ops::Not for Filter {
    type Output = Self;

    fn not(self) -> Self {
        Self(json!({ "not": self.0 }))
    }
}

/// A field to build a [`Filter`] from.
pub fn field(name: impl Into<String>) -> Field {
    Field(name.into())
}

/// A field in a filter; its methods are the comparisons.
#[derive(Debug, Clone)]
#[must_use]
pub struct Field(String);

impl Field {
    /// Equal.
    pub fn eq(self, value: impl Into<Value>) -> Filter {
        self.leaf("eq", value)
    }

    /// Not equal.
    pub fn neq(self, value: impl Into<Value>) -> Filter {
        self.leaf("neq", value)
    }

    /// Less than.
    pub fn lt(self, value: impl Into<Value>) -> Filter {
        self.leaf("lt", value)
    }

    /// Less than or equal.
    pub fn lte(self, value: impl Into<Value>) -> Filter {
        self.leaf("lte", value)
    }

    /// Greater than.
    pub fn gt(self, value: impl Into<Value>) -> Filter {
        self.leaf("gt", value)
    }

    /// Greater than or equal.
    pub fn gte(self, value: impl Into<Value>) -> Filter {
        self.leaf("gte", value)
    }

    /// Like a pattern, in which `%` is any text and `_` any character. Case matters.
    pub fn like(self, pattern: impl Into<String>) -> Filter {
        self.leaf("like", pattern.into())
    }

    /// One of these values.
    pub fn is_in<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Filter {
        self.leaf("in", values.into_iter().map(Into::into).collect::<Vec<Value>>())
    }

    /// Null, or not.
    pub fn is_null(self, is_null: bool) -> Filter {
        self.leaf("is_null", is_null)
    }

    fn leaf(self, op: &str, value: impl Into<Value>) -> Filter {
        Filter(json!({ "field": self.0, "op": op, "value": value.into() }))
    }
}

/// A query for records. Nothing is read until it is iterated.
///
/// ```no_run
/// # use surefoot::prelude::*;
/// # fn example(system: &System) -> Result<()> {
/// for execution in system.executions().filter(field("status").eq("ENDED_ERROR")).limit(20) {
///     info!("{} failed", execution?.name());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is read until the query is iterated"]
pub struct Query {
    kind: Kind,
    filter: Option<Filter>,
    order: Option<String>,
    limit: Option<u64>,
    page_rows: u32,
}

impl Query {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, filter: None, order: None, limit: None, page_rows: 100 }
    }

    /// Only records that this filter accepts, and the ones before it.
    pub fn filter(self, filter: impl Into<Filter>) -> Self {
        let filter = match self.filter {
            Some(before) => before & filter.into(),
            None => filter.into(),
        };
        Self { filter: Some(filter), ..self }
    }

    /// Sorts by a field; with a leading `-` downwards.
    pub fn order(self, field: impl Into<String>) -> Self {
        Self { order: Some(field.into()), ..self }
    }

    /// At most so many records.
    pub fn limit(self, rows: u64) -> Self {
        Self { limit: Some(rows), ..self }
    }

    /// How many records a call of the host returns: 1 to 1,000, and 100 if nothing is said.
    pub fn page_rows(self, rows: u32) -> Self {
        Self { page_rows: rows.clamp(1, 1_000), ..self }
    }

    /// The first record; `None` if there is none. Reads one row.
    ///
    /// # Errors
    /// Those of the host: an unknown field or operator is an error, never an empty result.
    pub fn first(self) -> Result<Option<Record>> {
        self.limit(1).into_iter().next().transpose()
    }

    /// All records.
    ///
    /// # Errors
    /// As for [`first`](Self::first).
    pub fn all(self) -> Result<Vec<Record>> {
        self.into_iter().collect()
    }
}

impl IntoIterator for Query {
    type Item = Result<Record>;
    type IntoIter = Rows;

    fn into_iter(self) -> Rows {
        let first = host::QuerySpec {
            kind: self.kind.as_str().to_owned(),
            filter: self.filter.map(|filter| filter.0.to_string()),
            order: self.order,
            limit: self.page_rows,
            cursor: None,
        };
        Rows { kind: self.kind, left: self.limit.unwrap_or(u64::MAX), page: VecDeque::new(), next: Some(first) }
    }
}

/// The records of a query, read page by page as they are asked for. Ends after the first error.
#[derive(Debug)]
pub struct Rows {
    kind: Kind,
    /// How many may still be returned.
    left: u64,
    page: VecDeque<String>,
    /// What reads the next page; none after the last.
    next: Option<host::QuerySpec>,
}

impl Rows {
    /// The next row's text, from as many pages as it takes.
    fn next_row(&mut self, read: impl Fn(&host::QuerySpec) -> Result<host::Page>) -> Result<Option<String>> {
        while self.left > 0 {
            if let Some(row) = self.page.pop_front() {
                self.left -= 1;
                return Ok(Some(row));
            }
            let Some(mut query) = self.next.take() else { break };
            query.limit = query.limit.min(u32::try_from(self.left).unwrap_or(u32::MAX));
            let page = read(&query)?;
            self.page = page.rows.into();
            self.next = page.next.map(|cursor| host::QuerySpec { cursor: Some(cursor), ..query });
        }
        Ok(None)
    }

    /// Nothing comes after an error.
    fn stop(&mut self) {
        self.page.clear();
        self.next = None;
    }
}

impl Iterator for Rows {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.next_row(host::query_records).transpose()?;
        let record = row.and_then(|text| Record::decode(self.kind, &text));
        if record.is_err() {
            self.stop();
        }
        Some(record)
    }
}

impl FusedIterator for Rows {}

#[cfg(test)]
mod tests;
