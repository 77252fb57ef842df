//! Making and changing a schedule. Its times stand in a setting, which is made and changed along with it; while they
//! are written, the page says what they mean.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Role};

use super::times::{self, Preview};
use super::{Next, is_built_in};
use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InPath, InQuery};
use crate::operation::Operation;
use crate::problem::{Answer, Problem};
use crate::ui::filled::Filled;
use crate::ui::forms::Fields;
use crate::ui::frame::{Frame, View, page, page_with};
use crate::ui::record::{Dependent, Names, dependents, done, id_of};
use crate::ui::words::text;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::page("/ui/schedules/new", ask_new).role(Role::Author),
        Operation::action("/ui/schedules/new", make).role(Role::Author),
        Operation::page("/ui/schedules/preview", preview).role(Role::Viewer),
        Operation::page("/ui/schedules/{key}/edit", ask).role(Role::Author),
        Operation::action("/ui/schedules/{key}/edit", save).role(Role::Author),
    ]
}

/// The fields that name other records.
const REFERENCES: [(&str, Kind); 4] = [
    ("flow_id", Kind::Flow),
    ("scheduler_id", Kind::Scheduler),
    ("setting_id", Kind::Setting),
    ("project_id", Kind::Project),
];

#[derive(Template)]
#[template(path = "schedule-edit.html")]
struct Edit {
    frame: Frame,
    /// The schedule; null for a new one.
    row: Value,
    form: Filled,
    names: Names,
    preview: Preview,
    next: Vec<Next>,
    /// Other schedules with the same setting.
    others: Vec<Dependent>,
}

impl View for Edit {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

impl Edit {
    async fn new(engine: &Engine, frame: Frame, row: Value, form: Filled) -> Answer<Self> {
        let names = Names::read(engine, &REFERENCES.map(|(_, kind)| kind)).await?;
        let preview = Preview::of(&form, frame.now);
        let next = preview.explanation.as_ref().map(|one| Next::all(one, &frame)).unwrap_or_default();
        let others = match row["setting_id"].as_str() {
            Some(key) => match engine.record(Kind::Setting, key).await {
                Ok(setting) => dependents(engine, Kind::Setting, &setting).await?,
                Err(_) => Vec::new(),
            },
            None => Vec::new(),
        };
        let others = others.into_iter().filter(|one| one.name != text(&row, "name")).collect();
        Ok(Self { frame, row, form, names, preview, next, others })
    }

    fn is_new(&self) -> bool {
        self.row.is_null()
    }

    fn back(&self) -> String {
        if self.is_new() { "/ui/schedules".to_owned() } else { format!("/ui/schedules/{}", text(&self.row, "id")) }
    }

    fn zones(&self) -> Vec<String> {
        times::ZONES.iter().map(|zone| (*zone).to_owned()).collect()
    }

    fn flows(&self) -> Vec<String> {
        self.names.all(Kind::Flow)
    }

    fn schedulers(&self) -> Vec<String> {
        self.names.all(Kind::Scheduler)
    }

    fn settings(&self) -> Vec<String> {
        self.names.all(Kind::Setting)
    }

    fn projects(&self) -> Vec<String> {
        self.names.all(Kind::Project)
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
        ("scheduler_id", "cron".to_owned()),
        ("rule", "cron".to_owned()),
        ("flow_id", query.flow.unwrap_or_default()),
        ("is_enabled", "true".to_owned()),
    ]);
    Ok(page(&Edit::new(&engine, frame, Value::Null, form).await?))
}

async fn ask(InReach(engine): InReach, frame: Frame, InPath(key): InPath<String>) -> Answer<Response> {
    let row = engine.record(Kind::Schedule, &key).await?;
    let names = Names::read(&engine, &REFERENCES.map(|(_, kind)| kind)).await?;
    let setting = match row["setting_id"].as_str() {
        Some(key) => engine.record(Kind::Setting, key).await.ok(),
        None => None,
    };
    let named = REFERENCES.map(|(field, kind)| (field.to_owned(), names.of(kind, text(&row, field)).to_owned()));
    let was = setting.as_ref().map(|setting| text(setting, "id").to_owned()).unwrap_or_default();
    let form = Filled::of(&row, &["name", "description", "revision"])
        .and(named.to_vec())
        .and(times::entered(&setting.unwrap_or_default()["value"]))
        .and(vec![("setting_was".to_owned(), was)]);
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
    if !name.is_empty() && engine.record(Kind::Schedule, &name).await.is_ok() {
        form.refuse("name", "there is a schedule of that name");
    }
    send(&app, engine, &caller, frame, Value::Null, form, name).await
}

async fn save(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    InPath(key): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    let row = engine.record(Kind::Schedule, &key).await?;
    let name = text(&row, "name").to_owned();
    send(&app, engine, &caller, frame, row, Filled::sent(&fields), name).await
}

/// Does what was sent, or shows it again with what is wrong, or with what the times mean.
async fn send(
    app: &App,
    engine: Engine,
    caller: &Caller,
    frame: Frame,
    row: Value,
    mut form: Filled,
    name: String,
) -> Answer<Response> {
    if form.is_checked("preview") {
        let form = Filled::default().and(form.entered().to_vec());
        return Ok(page(&Edit::new(&engine, frame, row, form).await?));
    }
    match change(app, &engine, caller, &row, &mut form, &name).await? {
        Some(record) => Ok(done(Kind::Schedule, &record, if row.is_null() { "created" } else { "saved" })),
        None => Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &Edit::new(&engine, frame, row, form).await?)),
    }
}

/// Saves the setting and the schedule; none where something is wrong, which the form says then.
async fn change(
    app: &App,
    engine: &Engine,
    caller: &Caller,
    row: &Value,
    form: &mut Filled,
    name: &str,
) -> Answer<Option<Value>> {
    form.required("flow_id");
    form.required("scheduler_id");
    let mut fields = Map::new();
    for (field, kind) in REFERENCES {
        match id_of(engine, kind, form.value(field)).await {
            Ok(id) => drop(fields.insert(field.to_owned(), id)),
            Err(problem) if problem.status().is_client_error() => form.refuse(field, problem.detail()),
            Err(problem) => return Err(problem),
        }
    }
    let has_times = is_built_in(engine, form.value("scheduler_id").trim()).await;
    let is_own_setting = fields.get("setting_id").is_none_or(|id| id.is_null() || *id == form.value("setting_was"));
    let value = (has_times && is_own_setting).then(|| times::value(form));
    fields.insert("description".to_owned(), form.text("description"));
    if row.is_null() {
        fields.insert("is_enabled".to_owned(), form.is_checked("is_enabled").into());
    } else {
        fields.insert("revision".to_owned(), form.number("revision"));
    }
    if !form.is_right() {
        return Ok(None);
    }
    if let Some(value) = value {
        match save_setting(app, engine, caller, &fields, value, name).await {
            Ok(id) => drop(fields.insert("setting_id".to_owned(), id)),
            Err(problem) if problem.status() == StatusCode::CONFLICT => {
                form.refuse("setting_id", format!("{}; name another one, or choose this", problem.detail()));
                return Ok(None);
            }
            Err(problem) => return form.refused(problem).map(|()| None),
        }
    }
    let (by, key, is_new) = (caller.who.clone(), name.to_owned(), row.is_null());
    let id = text(row, "id").to_owned();
    let saved = app.complete(engine.clone(), |engine| async move {
        match is_new {
            true => engine.create(Kind::Schedule, &key, fields, &by).await,
            false => engine.update(Kind::Schedule, &id, fields, &by).await,
        }
    });
    match saved.await {
        Ok(record) => Ok(Some(record)),
        Err(problem) => form.refused(problem).map(|()| None),
    }
}

/// Changes the setting that the form was filled from, or makes one with the name of the schedule; its id.
async fn save_setting(
    app: &App,
    engine: &Engine,
    caller: &Caller,
    fields: &Map<String, Value>,
    value: Value,
    name: &str,
) -> Answer<Value> {
    let (by, present, name) = (caller.who.clone(), fields["setting_id"].clone(), name.to_owned());
    let project = fields["project_id"].clone();
    let save = |engine: Engine| async move {
        let value = ("value".to_owned(), value);
        match present.as_str() {
            Some(id) if engine.record(Kind::Setting, id).await?["value"] == value.1 => Ok(json!({ "id": id })),
            Some(id) => engine.update(Kind::Setting, id, Map::from_iter([value]), &by).await,
            // One that was made when this was sent before, and then something else was wrong.
            None => match engine.record(Kind::Setting, &name).await {
                Ok(setting) if setting["value"] == value.1 => Ok(setting),
                _ => {
                    let fields = Map::from_iter([value, ("project_id".to_owned(), project)]);
                    engine.create(Kind::Setting, &name, fields, &by).await
                }
            },
        }
    };
    Ok(app.complete(engine.clone(), save).await?["id"].take())
}

/// What times mean, for who writes some.
#[derive(Template)]
#[template(path = "schedule-preview.html")]
struct PreviewPage {
    frame: Frame,
    form: Filled,
    preview: Preview,
    next: Vec<Next>,
}

impl View for PreviewPage {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

impl PreviewPage {
    fn zones(&self) -> Vec<String> {
        times::ZONES.iter().map(|zone| (*zone).to_owned()).collect()
    }
}

async fn preview(frame: Frame, InQuery(query): InQuery<std::collections::HashMap<String, String>>) -> Answer<Response> {
    let known = ["rule", "expression", "time_zone", "from", "missed", "missed_window", "overlap"];
    if let Some(name) = query.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(Problem::invalid(format!("the preview has no field `{name}`")));
    }
    let form = Filled::default().and(query.into_iter().collect());
    let preview = Preview::of(&form, frame.now);
    let next = preview.explanation.as_ref().map(|one| Next::all(one, &frame)).unwrap_or_default();
    Ok(page(&PreviewPage { frame, form, preview, next }))
}
