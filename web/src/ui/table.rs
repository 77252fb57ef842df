//! Lists of records on pages: a filter bar, an order, pages by cursor. The address holds all of it.

use serde::Deserialize;
use serde_json::Value;
use surefoot_engine::Engine;
use surefoot_engine::query::{Field, FieldType, Kind};
use surefoot_engine::session::QueryCall;

use super::filter;
use crate::problem::{Answer, Problem};

/// Rows a page.
pub(super) const ROWS: u32 = 50;

const STATUSES: [&str; 8] =
    ["RUNNING", "WAITING", "QUEUED", "PAUSED", "SCHEDULED", "ENDED_SUCCESS", "ENDED_ERROR", "ENDED_CANCELLED"];

fn with_values(field: &str, values: &[&str]) -> Vec<String> {
    values.iter().map(|value| format!("{field}={value}")).collect()
}

/// What the address of a list says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// In the query language, or its short form.
    pub(super) filter: Option<String>,
    pub(super) order: Option<String>,
    pub(super) cursor: Option<String>,
    /// `1`: what is in the trash.
    pub(super) trash: Option<String>,
    /// What was done before.
    #[serde(rename = "done")]
    _done: Option<String>,
}

/// A page of a list.
pub(super) struct Listing {
    pub(super) kind: Kind,
    pub(super) rows: Vec<Value>,
    /// The cursor of the next page.
    pub(super) next: Option<String>,
    /// As it was written.
    pub(super) filter: String,
    /// The filter as a document; null where there is none.
    pub(super) document: Value,
    pub(super) order: String,
    pub(super) trash: bool,
    /// Whether it is not the first page.
    pub(super) is_further: bool,
    /// What is wrong with the filter.
    pub(super) wrong: Option<String>,
}

impl Listing {
    /// Reads a page. `always` must hold besides what the address says; a wrong filter is told on the page.
    pub(super) async fn read(engine: &Engine, kind: Kind, query: &ListQuery, always: Option<Value>) -> Answer<Self> {
        let written = query.filter.clone().unwrap_or_default();
        let mut listing = Self {
            kind,
            rows: Vec::new(),
            next: None,
            filter: written.clone(),
            document: Value::Null,
            order: query.order.clone().unwrap_or_else(|| "-created_at".to_owned()),
            trash: query.trash.as_deref() == Some("1"),
            is_further: query.cursor.is_some(),
            wrong: None,
        };
        let document = match filter::parse(kind, &written) {
            Ok(document) => document,
            Err(reason) => return Ok(Self { wrong: Some(reason), ..listing }),
        };
        listing.document = document.clone().unwrap_or_default();
        let call = QueryCall {
            kind: kind.as_str().to_owned(),
            filter: filter::both(always, document),
            order: Some(listing.order.clone()),
            limit: Some(ROWS),
            cursor: query.cursor.clone(),
            deleted: listing.trash,
        };
        match engine.query(call).await.map_err(Problem::from) {
            Ok(page) => (listing.rows, listing.next) = (page.rows, page.next),
            Err(problem) if problem.status().is_client_error() => listing.wrong = Some(problem.detail().to_owned()),
            Err(problem) => return Err(problem),
        }
        Ok(listing)
    }

    /// Terms that a filter may begin with, for suggestions: fields, and values where there are few.
    pub(super) fn suggestions(&self) -> Vec<String> {
        let fields = self.kind.fields().filter(|field| !field.hidden && field.ty != FieldType::Json);
        let term = |field: &Field| match (self.kind, field.name, field.ty) {
            (Kind::Execution, "status", _) => with_values("status", &STATUSES),
            (Kind::Execution, "type", _) => with_values("type", &["FLOW", "CONNECTION", "SCHEDULE"]),
            (_, name, FieldType::Bool) => with_values(name, &["true", "false"]),
            (_, name, FieldType::Time) => vec![format!("{name}>")],
            (_, name, FieldType::Text | FieldType::Integer | FieldType::Json) => vec![format!("{name}=")],
        };
        fields.flat_map(term).collect()
    }

    /// The query of another page of this list, with this filter and order.
    fn query(&self, pairs: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::from("?"));
        let own = [("filter", self.filter.as_str()), ("trash", if self.trash { "1" } else { "" })];
        let own =
            own.into_iter().filter(|(name, value)| !value.is_empty() && !pairs.iter().any(|(one, _)| one == name));
        query.extend_pairs(own).extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
        query.finish()
    }

    /// The query of the next page.
    pub(super) fn next_page(&self) -> Option<String> {
        let cursor = self.next.as_deref()?;
        Some(self.query(&[("order", self.shown_order()), ("cursor", cursor)]))
    }

    /// The query of the first page.
    pub(super) fn first_page(&self) -> String {
        self.query(&[("order", self.shown_order())])
    }

    /// The query of the list with another filter.
    pub(super) fn filtered(&self, filter: &str) -> String {
        self.query(&[("filter", filter)])
    }

    /// Nothing in the address but what everybody gets.
    fn shown_order(&self) -> &str {
        if self.order == "-created_at" { "" } else { &self.order }
    }

    /// Whether nothing limits what is shown.
    pub(super) fn is_plain(&self) -> bool {
        self.filter.is_empty() && !self.trash && !self.is_further
    }
}
