//! Making and changing a webhook.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Role};

use super::credentials;
use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::Answer;
use crate::schema_form::FormHtml;
use crate::ui::filled::Filled;
use crate::ui::forms::Fields;
use crate::ui::frame::{Frame, View, page, page_with};
use crate::ui::record::{Names, done, id_of};
use crate::ui::words::text;
use crate::webhooks::record::{METHODS, methods};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::page("/ui/webhooks/new", ask_new).role(Role::Author),
        Operation::action("/ui/webhooks/new", make).role(Role::Author),
        Operation::page("/ui/webhooks/{key}/edit", ask).role(Role::Author),
        Operation::action("/ui/webhooks/{key}/edit", save).role(Role::Author),
    ]
}

/// What is sent, and what people read.
const SIGNATURES: &[(&str, &str)] =
    &[("", "required when there is a signing secret"), ("true", "required always"), ("false", "not looked at")];

/// What the names of the boxes of methods begin with.
const METHOD: &str = "method.";

#[derive(Template)]
#[template(path = "webhook-edit.html")]
struct Edit {
    frame: Frame,
    /// The webhook; null for a new one.
    row: Value,
    form: Filled,
    names: Names,
}

impl View for Edit {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

impl Edit {
    async fn new(engine: &Engine, frame: Frame, row: Value, form: Filled) -> Answer<Self> {
        let names = Names::read(engine, &[Kind::Flow, Kind::Project]).await?;
        Ok(Self { frame, row, form, names })
    }

    fn is_new(&self) -> bool {
        self.row.is_null()
    }

    fn back(&self) -> String {
        if self.is_new() { "/ui/webhooks".to_owned() } else { format!("/ui/webhooks/{}", text(&self.row, "id")) }
    }

    fn flows(&self) -> Vec<String> {
        self.names.all(Kind::Flow)
    }

    fn projects(&self) -> Vec<String> {
        self.names.all(Kind::Project)
    }

    fn methods(&self) -> Vec<FormHtml> {
        METHODS.iter().map(|method| self.form.check(&format!("{METHOD}{method}"), method, "")).collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewQuery {
    /// Name or id of the flow.
    flow: Option<String>,
}

async fn ask_new(InReach(engine): InReach, frame: Frame, InQuery(query): InQuery<NewQuery>) -> Answer<Response> {
    let form = Filled::with([
        ("flow_id", query.flow.unwrap_or_default()),
        ("method.POST", "true".to_owned()),
        ("is_key_required", "true".to_owned()),
        ("is_enabled", "true".to_owned()),
    ]);
    Ok(page(&Edit::new(&engine, frame, Value::Null, form).await?))
}

async fn ask(InReach(engine): InReach, frame: Frame, InPath(key): InPath<String>) -> Answer<Response> {
    let row = engine.record(Kind::Webhook, &key).await?;
    let names = Names::read(&engine, &[Kind::Flow, Kind::Project]).await?;
    let yes = |is: bool| if is { "true".to_owned() } else { String::new() };
    let boxes = methods(&row["methods"]).into_iter().map(|method| (format!("{METHOD}{method}"), yes(true)));
    let signatures = row["is_signature_required"].as_bool().map(|is| is.to_string()).unwrap_or_default();
    let own = [
        ("flow_id", names.of(Kind::Flow, text(&row, "flow_id")).to_owned()),
        ("project_id", names.of(Kind::Project, text(&row, "project_id")).to_owned()),
        ("is_key_required", yes(row["is_key_required"] != false)),
        ("is_signature_required", signatures),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
    let form = Filled::of(&row, &["description", "revision"]).and(own.chain(boxes).collect());
    Ok(page(&Edit::new(&engine, frame, row, form).await?))
}

async fn make(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    fields: Fields,
) -> Answer<Response> {
    let mut form = Filled::sent(&fields);
    let name = form.required("name");
    let mut fields = fields_of(&engine, &mut form).await?;
    fields.insert("is_enabled".to_owned(), form.is_checked("is_enabled").into());
    let wants_key = form.is_checked("is_key_required");
    if form.is_right() {
        let by = caller.who.clone();
        let create = |engine: Engine| async move { engine.create(Kind::Webhook, &name, fields, &by).await };
        match app.complete(engine.clone(), create).await {
            // Until it has its key it refuses all calls.
            Ok(record) if wants_key => {
                return credentials::first_key(&app, engine, caller, frame, text(&record, "id")).await;
            }
            Ok(record) => return Ok(done(Kind::Webhook, &record, "created")),
            Err(problem) => form.refused(problem)?,
        }
    }
    Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &Edit::new(&engine, frame, Value::Null, form).await?))
}

async fn save(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    InPath(key): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    let row = engine.record(Kind::Webhook, &key).await?;
    let mut form = Filled::sent(&fields);
    let mut fields = fields_of(&engine, &mut form).await?;
    fields.insert("revision".to_owned(), form.number("revision"));
    if form.is_right() {
        let id = text(&row, "id").to_owned();
        let update = |engine: Engine| async move { engine.update(Kind::Webhook, &id, fields, &caller.who).await };
        match app.complete(engine.clone(), update).await {
            Ok(record) => return Ok(done(Kind::Webhook, &record, "saved")),
            Err(problem) => form.refused(problem)?,
        }
    }
    Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &Edit::new(&engine, frame, row, form).await?))
}

async fn fields_of(engine: &Engine, form: &mut Filled) -> Answer<Map<String, Value>> {
    form.required("flow_id");
    let mut fields = Map::new();
    for (field, kind) in [("flow_id", Kind::Flow), ("project_id", Kind::Project)] {
        match id_of(engine, kind, form.value(field)).await {
            Ok(id) => drop(fields.insert(field.to_owned(), id)),
            Err(problem) if problem.status().is_client_error() => form.refuse(field, problem.detail()),
            Err(problem) => return Err(problem),
        }
    }
    let methods: Vec<&str> =
        METHODS.into_iter().filter(|method| form.is_checked(&format!("{METHOD}{method}"))).collect();
    if methods.is_empty() {
        form.refuse("method.POST", "choose one method at least");
    }
    let signatures = match form.value("is_signature_required") {
        "true" => true.into(),
        "false" => false.into(),
        _ => Value::Null,
    };
    fields.extend([
        ("methods".to_owned(), methods.into()),
        ("is_key_required".to_owned(), form.is_checked("is_key_required").into()),
        ("is_signature_required".to_owned(), signatures),
        ("description".to_owned(), form.text("description")),
    ]);
    Ok(fields)
}
