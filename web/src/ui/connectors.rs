//! Connectors: the list, and one: what is stored of it and what names it. The form that makes and changes one, trying
//! one and its calls have modules of their own.

mod calls;
mod edit;
mod trial;

use std::time::Duration;

use askama::Template;
use axum::response::Response;
use serde_json::Value;
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Role};

use super::commands::quoted;
use super::frame::{Frame, View, page};
use super::record::{self, Dependent, Done, Names, dependents, path_of};
use super::table::{ListQuery, Listing};
use super::words::{Document, duration_text, text};
use crate::caller::InReach;
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

pub(super) fn operations() -> Vec<Operation> {
    let own = vec![
        Operation::page("/ui/connectors", list).role(Role::Viewer),
        Operation::page("/ui/connectors/{key}", show).role(Role::Viewer),
    ];
    let shared = record::operations(Kind::Connector);
    [own, edit::operations(), trial::operations(), calls::operations(), shared].into_iter().flatten().collect()
}

#[derive(Template)]
#[template(path = "connectors.html")]
struct Connectors {
    frame: Frame,
    list: Listing,
    names: Names,
}

impl View for Connectors {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

impl Connectors {
    fn project<'a>(&'a self, row: &'a Value) -> &'a str {
        self.names.of(Kind::Project, text(row, "project_id"))
    }
}

/// What stands at the top of every page about one connector.
struct Head {
    row: Value,
    id: String,
    name: String,
    ty: String,
    tab: &'static str,
    may_edit: bool,
}

impl Head {
    async fn read(engine: &Engine, key: &str, frame: &Frame, tab: &'static str) -> Answer<Self> {
        let row = engine.record(Kind::Connector, key).await?;
        let part = |field: &str| text(&row, field).to_owned();
        let (id, name, ty) = (part("id"), part("name"), part("type"));
        Ok(Self { id, name, ty, tab, may_edit: frame.may_for("author", &row), row })
    }

    fn path(&self, below: &str) -> String {
        path_of(Kind::Connector, &self.id) + below
    }

    fn word(&self) -> String {
        quoted(&self.name)
    }
}

/// A connector type.
struct Type {
    name: &'static str,
    description: &'static str,
    schema: Value,
}

impl Type {
    /// All, by name.
    fn all(engine: &Engine) -> Vec<Self> {
        let types = engine.connector_types();
        let mut types: Vec<_> = types
            .iter()
            .map(|ty| Self { name: ty.type_name(), description: ty.description(), schema: ty.input_schema() })
            .collect();
        types.sort_by_key(|ty| ty.name);
        types
    }

    fn find(engine: &Engine, name: &str) -> Answer<Self> {
        let types = Self::all(engine);
        let known: Vec<_> = types.iter().map(|ty| ty.name).collect();
        let missing =
            Problem::not_found(format!("there is no connector type `{name}`; types are {}", known.join(", ")));
        types.into_iter().find(|ty| ty.name == name).ok_or(missing)
    }
}

/// Inputs that most people fill in first.
const AT_HAND: [&str; 12] = [
    "base_url",
    "hostname",
    "port",
    "database",
    "username",
    "password",
    "token",
    "key",
    "tls",
    "encrypt",
    "from",
    "server_ca",
];

async fn list(InReach(engine): InReach, frame: Frame, InQuery(query): InQuery<ListQuery>) -> Answer<Response> {
    let list = Listing::read(&engine, Kind::Connector, &query, None).await?;
    let names = Names::read(&engine, &[Kind::Project]).await?;
    Ok(page(&Connectors { frame, list, names }))
}

#[derive(Template)]
#[template(path = "connector.html")]
struct Connector {
    frame: Frame,
    head: Head,
    about: &'static str,
    project: String,
    /// Names and values of the stored inputs.
    inputs: Vec<(String, Value)>,
    /// What is done around a call, in words.
    policies: Vec<String>,
    dependents: Vec<Dependent>,
}

impl View for Connector {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

async fn show(
    InReach(engine): InReach,
    frame: Frame,
    InPath(key): InPath<String>,
    InQuery(_): InQuery<Done>,
) -> Answer<Response> {
    let head = Head::read(&engine, &key, &frame, "summary").await?;
    let about = Type::find(&engine, &head.ty).map_or("Its type is none of this version.", |ty| ty.description);
    let inputs = head.row["config"].as_object().into_iter().flatten();
    let inputs = inputs.map(|(name, value)| (name.clone(), value.clone())).collect();
    let dependents = dependents(&engine, Kind::Connector, &head.row).await?;
    let project = match head.row["project_id"].as_str() {
        Some(id) => text(&engine.record(Kind::Project, id).await?, "name").to_owned(),
        None => String::new(),
    };
    let policies = policies(&head.row);
    Ok(page(&Connector { frame, head, about, project, inputs, policies, dependents }))
}

/// What is done around a call, in words.
fn policies(row: &Value) -> Vec<String> {
    let millis = |value: &Value| value.as_u64().map(|millis| duration_text(Duration::from_millis(millis)));
    let retry = row["retry"]["attempts"].as_u64().map(|attempts| format!("{attempts} attempts at most"));
    [
        millis(&row["timeout_ms"]).map(|timeout| format!("an attempt takes {timeout} at most")),
        retry,
        millis(&row["cache_ms"]).map(|age| format!("a result of the last {age} serves equal calls that read")),
    ]
    .into_iter()
    .flatten()
    .collect()
}
