//! Actions on all records that a filter of a list matches: first a page that says how many these are and asks, then
//! what came of it. Each is acted on as the API does it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot_engine::session::QueryCall;

use super::filter;
use super::forms::Fields;
use super::frame::{Frame, View, page};
use super::words::text;
use crate::app::App;
use crate::bulk::{BulkAction, Done, act_on_all, matching};
use crate::caller::{Caller, InReach};
use crate::extract::InQuery;
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

pub(super) fn operations() -> Vec<Operation> {
    let both = |action: BulkAction| {
        let path = path(action);
        let asked = Operation::page(path.clone(), move |engine, frame, query| ask(action, engine, frame, query));
        let done = Operation::action(path, move |app, engine, caller, frame, fields| {
            act(action, app, engine, caller, frame, fields)
        });
        [asked.role(action.role), done.role(action.role)]
    };
    BulkAction::ALL.into_iter().flat_map(both).collect()
}

fn path(action: BulkAction) -> String {
    format!("/ui/bulk/{}/{}", action.kind.plural(), action.name)
}

/// Those that are named one by one.
const NAMED_MAX: u32 = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkQuery {
    /// As it was written in the list.
    #[serde(default)]
    filter: String,
}

#[derive(Template)]
#[template(path = "bulk.html")]
struct Ask {
    frame: Frame,
    action: BulkAction,
    filter: String,
    count: usize,
    /// The names and ids of the first of them.
    first: Vec<(String, String)>,
}

impl View for Ask {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

impl Ask {
    fn list(&self) -> String {
        list(self.action, &self.filter)
    }
}

#[derive(Template)]
#[template(path = "bulk-done.html")]
struct Told {
    frame: Frame,
    action: BulkAction,
    filter: String,
    done: Done,
}

impl View for Told {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

impl Told {
    fn list(&self) -> String {
        list(self.action, &self.filter)
    }
}

/// The list that the filter was written in.
fn list(action: BulkAction, filter: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("filter", filter).finish();
    format!("/ui/{}?{query}", action.kind.plural())
}

fn parsed(action: BulkAction, written: &str) -> Answer<Value> {
    let filter = filter::parse(action.kind, written).map_err(Problem::invalid)?;
    // Everything is asked for in so many words.
    Ok(filter.unwrap_or_else(|| json!({ "and": [] })))
}

async fn ask(
    action: BulkAction,
    InReach(engine): InReach,
    frame: Frame,
    InQuery(BulkQuery { filter }): InQuery<BulkQuery>,
) -> Answer<Response> {
    let document = parsed(action, &filter)?;
    let call = QueryCall {
        kind: action.kind.as_str().to_owned(),
        filter: Some(document.clone()),
        limit: Some(NAMED_MAX),
        ..QueryCall::default()
    };
    let first = engine.outline(call).await?.rows;
    let first = first.iter().map(|row| (text(row, "name").to_owned(), text(row, "id").to_owned())).collect();
    let count = matching(&engine, action.kind, document).await?.len();
    let frame = frame.within(format!("/ui/{}", action.kind.plural()));
    Ok(page(&Ask { frame, action, filter, count, first }))
}

async fn act(
    action: BulkAction,
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    fields: Fields,
) -> Answer<Response> {
    let missing = || Problem::invalid("the filter is missing; an empty one matches everything");
    let filter = fields.get("filter").ok_or_else(missing)?.to_owned();
    let ids = matching(&engine, action.kind, parsed(action, &filter)?).await?;
    let done =
        app.complete(engine, |engine| async move { act_on_all(&engine, action, ids, &caller.who).await }).await?;
    let frame = frame.within(format!("/ui/{}", action.kind.plural()));
    Ok(page(&Told { frame, action, filter, done }))
}
