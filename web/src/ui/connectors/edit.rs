//! Making and changing a connector, with a form from the schema of its type. Secrets are names of secrets of the
//! workspace, or values, which are shown to nobody again.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use surefoot_engine::query::Kind;
use surefoot_engine::{Deadline, Engine, Role};

use super::{AT_HAND, Type};
use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::Answer;
use crate::schema_form::{FormHtml, SchemaForm};
use crate::ui::filled::Filled;
use crate::ui::forms::Fields;
use crate::ui::frame::{Frame, View, page, page_with};
use crate::ui::record::{Names, done};
use crate::ui::words::{duration_text, text};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::page("/ui/connectors/new", ask_new).role(Role::Author),
        Operation::action("/ui/connectors/new", make).role(Role::Author),
        Operation::page("/ui/connectors/{key}/edit", ask).role(Role::Author),
        Operation::action("/ui/connectors/{key}/edit", save).role(Role::Author),
    ]
}

/// What the names of the fields of the inputs begin with.
const PREFIX: &str = "in.";

/// The choice of a type.
#[derive(Template)]
#[template(path = "connector-types.html")]
struct Types {
    frame: Frame,
    types: Vec<Type>,
}

impl View for Types {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

#[derive(Template)]
#[template(path = "connector-edit.html")]
struct Edit {
    frame: Frame,
    /// The connector; null for a new one.
    row: Value,
    ty: Type,
    form: Filled,
    fields: FormHtml,
    projects: Vec<String>,
}

impl View for Edit {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

impl Edit {
    async fn new(engine: &Engine, frame: Frame, row: Value, ty: Type, form: Filled) -> Answer<Self> {
        let projects = Names::read(engine, &[Kind::Project]).await?.all(Kind::Project);
        let fields = SchemaForm::partial(&ty.schema, PREFIX, &AT_HAND).html(Some(form.entered()), form.wrong());
        Ok(Self { frame, row, ty, form, fields, projects })
    }

    fn is_new(&self) -> bool {
        self.row.is_null()
    }

    fn back(&self) -> String {
        if self.is_new() { "/ui/connectors".to_owned() } else { format!("/ui/connectors/{}", text(&self.row, "id")) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewQuery {
    /// The type; a choice of them where none is named.
    #[serde(rename = "type")]
    ty: Option<String>,
}

async fn ask_new(InReach(engine): InReach, frame: Frame, InQuery(query): InQuery<NewQuery>) -> Answer<Response> {
    let Some(ty) = query.ty else {
        return Ok(page(&Types { frame, types: Type::all(&engine) }));
    };
    let ty = Type::find(&engine, &ty)?;
    Ok(page(&Edit::new(&engine, frame, Value::Null, ty, Filled::default()).await?))
}

async fn ask(InReach(engine): InReach, frame: Frame, InPath(key): InPath<String>) -> Answer<Response> {
    let row = engine.record(Kind::Connector, &key).await?;
    let ty = Type::find(&engine, text(&row, "type"))?;
    let names = Names::read(&engine, &[Kind::Project]).await?;
    let millis = |field: &str| row[field].as_u64().map(Duration::from_millis).map(duration_text).unwrap_or_default();
    let own = [
        ("timeout_ms", millis("timeout_ms")),
        ("cache_ms", millis("cache_ms")),
        ("project_id", names.of(Kind::Project, text(&row, "project_id")).to_owned()),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let inputs = SchemaForm::partial(&ty.schema, PREFIX, &AT_HAND).entered(&row["config"]);
    let form = Filled::of(&row, &["description", "retry", "revision"]).and(own).and(inputs);
    Ok(page(&Edit::new(&engine, frame, row, ty, form).await?))
}

async fn make(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    InQuery(query): InQuery<NewQuery>,
    fields: Fields,
) -> Answer<Response> {
    let Some(ty) = query.ty else {
        return Ok(page(&Types { frame, types: Type::all(&engine) }).into_response());
    };
    let ty = Type::find(&engine, &ty)?;
    let mut form = Filled::sent(&fields);
    let name = form.required("name");
    let mut fields = fields_of(&mut form, &ty);
    fields.insert("type".to_owned(), ty.name.into());
    if form.is_right() {
        let create = |engine: Engine| async move { engine.create(Kind::Connector, &name, fields, &caller.who).await };
        match app.complete(engine.clone(), create).await {
            Ok(record) => return Ok(done(Kind::Connector, &record, "created")),
            Err(problem) => form.refused(problem)?,
        }
    }
    Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &Edit::new(&engine, frame, Value::Null, ty, form).await?))
}

async fn save(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    InPath(key): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    let row = engine.record(Kind::Connector, &key).await?;
    let ty = Type::find(&engine, text(&row, "type"))?;
    let mut form = Filled::sent(&fields);
    let mut fields = fields_of(&mut form, &ty);
    fields.insert("revision".to_owned(), form.number("revision"));
    if form.is_right() {
        let id = text(&row, "id").to_owned();
        let update = |engine: Engine| async move { engine.update(Kind::Connector, &id, fields, &caller.who).await };
        match app.complete(engine.clone(), update).await {
            Ok(record) => return Ok(done(Kind::Connector, &record, "saved")),
            Err(problem) => form.refused(problem)?,
        }
    }
    Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &Edit::new(&engine, frame, row, ty, form).await?))
}

fn fields_of(form: &mut Filled, ty: &Type) -> Map<String, Value> {
    let schema = SchemaForm::partial(&ty.schema, PREFIX, &AT_HAND);
    let config = match schema.read(form.entered()) {
        Ok(config) => {
            form.refuse_all(schema.check(&config));
            config
        }
        Err(wrong) => {
            form.refuse_all(wrong);
            Value::Null
        }
    };
    let fields = [
        ("config", config),
        ("timeout_ms", millis(form, "timeout_ms")),
        ("retry", form.json("retry")),
        ("cache_ms", millis(form, "cache_ms")),
        ("description", form.text("description")),
        ("project_id", form.text("project_id")),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Milliseconds of a duration such as `90s`, or null where nothing is there.
fn millis(form: &mut Filled, field: &str) -> Value {
    match form.text(field).as_str().map(str::parse::<Deadline>) {
        None => Value::Null,
        Some(Ok(Deadline::After(after))) => u64::try_from(after.as_millis()).unwrap_or(u64::MAX).into(),
        Some(_) => {
            form.refuse(field, "it is no duration; write one such as 90s, 15m or 2h 30m");
            Value::Null
        }
    }
}
