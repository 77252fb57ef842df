//! The one query language, for all kinds: parsing, checking, and both of its evaluations, SQL and in memory.
//!
//! A filter is `{"field","op","value"}`, `{"and":[…]}`, `{"or":[…]}` or `{"not":…}`; ops are `eq neq lt lte gt gte
//! like in
//! is_null`. An unknown field or op is an error, never an empty result. `like` is case-sensitive (`%` any text, `_`
//! one character). A
//! comparison with a missing value is false, except `neq`. `order` is a field name, descending with a leading `-`;
//! missing values come last and
//! ties are broken by id.

mod filter;
mod kind;
mod sql;
mod tally;

pub use filter::{Filter, Op};
pub use kind::{CONNECTION_FIELDS, Field, FieldType, Kind};
pub(crate) use sql::{conditions, in_projects, plan, projects_of_execution};
pub use tally::{Tally, UNSUCCESSFUL};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Rows a page, at most.
pub const LIMIT_MAX: u32 = 1000;

/// What to list.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Of which kind.
    pub kind: Kind,
    /// Which rows; none for all.
    pub filter: Option<Filter>,
    /// In which order.
    pub order: Order,
    /// Rows a page.
    pub limit: u32,
    /// Where a page before ended.
    pub cursor: Option<Cursor>,
    /// Rows in the trash instead of the others.
    pub deleted: bool,
    /// Only what is in the projects with these ids; none for everything.
    pub projects: Option<Vec<String>>,
    /// Executions without their inputs, outputs and responses, which may be long.
    pub without_documents: bool,
}

/// A field and a direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The field.
    pub field: &'static Field,
    /// Largest first.
    pub descending: bool,
}

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cursor(
    /// The last row's value of the order field.
    pub Value,
    /// Its id.
    pub String,
    /// Of which list: the kind and the order. Version 0.1.0 did not say; its journals have such cursors.
    #[serde(default)]
    pub Option<String>,
);

/// A page of rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page {
    /// Each a JSON object.
    pub rows: Vec<Value>,
    /// Where the next page starts; none after the last.
    pub next: Option<String>,
}

/// Why a query was refused. For users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueryError(pub(crate) String);

impl Query {
    /// Parses and checks the parts of a query. `order` defaults to the newest first, `limit` to 100.
    pub fn parse(
        kind: Kind,
        filter: Option<&Value>,
        order: Option<&str>,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<Self, QueryError> {
        let filter = filter.map(|filter| Filter::parse(kind, filter)).transpose()?;
        let order = order.unwrap_or("-created_at");
        let (name, descending) = match order.strip_prefix('-') {
            Some(name) => (name, true),
            None => (order, false),
        };
        let field = kind.field(name)?;
        if field.ty == FieldType::Json {
            return Err(QueryError(format!("`{name}` is a document and cannot be ordered by")));
        }
        let limit = limit.unwrap_or(100);
        if limit == 0 || limit > LIMIT_MAX {
            return Err(QueryError(format!("limit must be 1 to {LIMIT_MAX}, not {limit}")));
        }
        let order = Order { field, descending };
        let mut query =
            Self { kind, filter, order, limit, cursor: None, deleted: false, projects: None, without_documents: false };
        query.cursor = cursor.map(Cursor::parse).transpose()?;
        match &query.cursor {
            Some(Cursor(_, _, Some(list))) if *list != query.list() => Err(QueryError(format!(
                "the cursor is of a page of {list}, not of {}; give the cursor of the page before, or none to begin",
                query.list()
            ))),
            _ => Ok(query),
        }
    }

    /// The kind and the order: a cursor is a place in one such list, whatever the filter.
    pub(crate) fn list(&self) -> String {
        let sign = if self.order.descending { "-" } else { "" };
        format!("{} by {sign}{}", self.kind.as_str(), self.order.field.name)
    }
}

impl Cursor {
    pub(crate) fn parse(text: &str) -> Result<Self, QueryError> {
        hex::decode(text)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| QueryError("the cursor is not one that a page gave".into()))
    }

    /// The text form, opaque to users.
    pub fn to_text(&self) -> String {
        hex::encode(serde_json::to_vec(self).expect("a cursor is plain JSON"))
    }
}

#[cfg(test)]
mod tests;
