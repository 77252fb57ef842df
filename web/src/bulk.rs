//! Actions on all records that match a filter.
//!
//! First the ones that match are found, then each is acted on for itself, as one request for it would: what one of them
//! refuses keeps nobody from the others, and is told.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use surefoot_engine::query::{Kind, LIMIT_MAX};
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Engine, EngineError, EngineResult, Role};

use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::InJson;
use crate::operation::Operation;
use crate::problem::{Answer, Problem};
use crate::records::enabled;

/// How many one request may act on.
const MATCHES_MAX: usize = 100_000;

/// How many refusals are told one by one.
const REFUSALS_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Cancel,
    Pause,
    Resume,
    Enable,
    Disable,
    Delete,
}

/// An action on all that match.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BulkAction {
    pub(crate) kind: Kind,
    /// In paths, and for people.
    pub(crate) name: &'static str,
    action: Action,
    /// What one such request needs too.
    pub(crate) role: Role,
}

const fn bulk(kind: Kind, name: &'static str, action: Action, role: Role) -> BulkAction {
    BulkAction { kind, name, action, role }
}

impl BulkAction {
    /// What there is.
    pub(crate) const ALL: [Self; 11] = [
        bulk(Kind::Execution, "cancel", Action::Cancel, Role::Operator),
        bulk(Kind::Execution, "pause", Action::Pause, Role::Operator),
        bulk(Kind::Execution, "resume", Action::Resume, Role::Operator),
        bulk(Kind::Execution, "delete", Action::Delete, Role::Author),
        bulk(Kind::Schedule, "enable", Action::Enable, Role::Operator),
        bulk(Kind::Schedule, "disable", Action::Disable, Role::Operator),
        bulk(Kind::Webhook, "enable", Action::Enable, Role::Operator),
        bulk(Kind::Webhook, "disable", Action::Disable, Role::Operator),
        bulk(Kind::Notification, "enable", Action::Enable, Role::Operator),
        bulk(Kind::Notification, "disable", Action::Disable, Role::Operator),
        bulk(Kind::File, "delete", Action::Delete, Role::Author),
    ];

    /// Those of a kind.
    pub(crate) fn of(kind: Kind) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |action| action.kind == kind)
    }
}

pub(crate) fn operations() -> Vec<Operation> {
    let operation = |action: BulkAction| {
        let (kinds, name) = (action.kind.plural(), action.name);
        Operation::post(format!("/api/v1/bulk/{kinds}/{name}"), move |app, engine, caller, body| {
            act(action, app, engine, caller, body)
        })
        .role(action.role)
        .summary(format!("{name} all {kinds} that match a filter"))
        .body::<BulkBody>()
        .answers::<Done>(StatusCode::OK)
    };
    BulkAction::ALL.into_iter().map(operation).collect()
}

/// What to act on.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkBody {
    /// In the query language; it must be named. `{"and": []}` matches everything.
    filter: Value,
    /// Do nothing, and tell how many match.
    #[serde(default)]
    dry_run: bool,
}

/// What was done.
#[derive(Default, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Done {
    /// How many matched.
    pub(crate) matched: usize,
    /// On how many it was done; none in a dry run.
    pub(crate) done: usize,
    /// How many refused it, or ended or went meanwhile.
    pub(crate) refused: usize,
    /// The first of those, with the reason.
    pub(crate) refusals: Vec<Refused>,
}

/// One that refused.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Refused {
    pub(crate) id: String,
    pub(crate) reason: String,
}

async fn act(
    action: BulkAction,
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InJson(BulkBody { filter, dry_run }): InJson<BulkBody>,
) -> Answer<Json<Done>> {
    let ids = matching(&engine, action.kind, filter).await?;
    if dry_run {
        return Ok(Json(Done { matched: ids.len(), ..Done::default() }));
    }
    // In one piece: a caller who goes away does not leave half of them undone.
    let all = |engine: Engine| async move { act_on_all(&engine, action, ids, &caller.who).await };
    Ok(Json(app.complete(engine, all).await?))
}

pub(crate) async fn act_on_all(engine: &Engine, action: BulkAction, ids: Vec<String>, who: &str) -> EngineResult<Done> {
    let mut done = Done { matched: ids.len(), ..Done::default() };
    for id in ids {
        match act_on(engine, action.kind, action.action, &id, who).await {
            Ok(true) => done.done += 1,
            Ok(false) => done.refuse(id, "it was deleted meanwhile".to_owned()),
            Err(EngineError::Refused(refusal)) => done.refuse(id, refusal.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

impl Done {
    fn refuse(&mut self, id: String, reason: String) {
        self.refused += 1;
        if self.refusals.len() < REFUSALS_MAX {
            self.refusals.push(Refused { id, reason });
        }
    }
}

/// The ids of all that match.
pub(crate) async fn matching(engine: &Engine, kind: Kind, filter: Value) -> Answer<Vec<String>> {
    let (mut ids, mut cursor) = (Vec::new(), None);
    loop {
        let call = QueryCall {
            kind: kind.as_str().to_owned(),
            filter: Some(filter.clone()),
            limit: Some(LIMIT_MAX),
            cursor,
            ..QueryCall::default()
        };
        let page = engine.query(call).await?;
        ids.extend(page.rows.iter().filter_map(|row| row["id"].as_str().map(str::to_owned)));
        if ids.len() > MATCHES_MAX {
            let detail = format!("more than {MATCHES_MAX} {} match; nothing was done", kind.plural());
            return Err(Problem::invalid(detail).hint("narrow the filter, and repeat"));
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(ids),
        }
    }
}

/// False when there was nothing to act on.
async fn act_on(engine: &Engine, kind: Kind, action: Action, id: &str, who: &str) -> EngineResult<bool> {
    match action {
        Action::Cancel => engine.cancel(id, who).await.map(drop),
        Action::Pause => engine.pause(id, who).await.map(drop),
        Action::Resume => engine.resume(id, who).await.map(drop),
        Action::Enable => engine.update(kind, id, enabled(true), who).await.map(drop),
        Action::Disable => engine.update(kind, id, enabled(false), who).await.map(drop),
        Action::Delete => return engine.delete(kind, id, false, who).await,
    }?;
    Ok(true)
}
