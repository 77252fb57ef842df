//! What became of a webhook's calls, told from the executions that they started, and delivering one again. Calls that
//! were refused started none: they are in [`refused`](super::refused).

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Engine, Role, Timestamp};

use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InPath, InQuery};
use crate::flows::StartedExecution;
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

/// The list of them, and what can be done with one.
pub(crate) fn operations() -> [Operation; 2] {
    let listed = Operation::get("/api/v1/webhooks/{key}/deliveries", list)
        .role(Role::Viewer)
        .summary("What became of a webhook's calls, the newest first")
        .query::<ListQuery>()
        .answers::<Deliveries>(StatusCode::OK);
    let replayed = Operation::post("/api/v1/webhooks/{key}/deliveries/{id}/replay", replay)
        .role(Role::Operator)
        .summary("Deliver a call again: a rerun of the execution that it started, with the same input")
        .answers::<StartedExecution>(StatusCode::CREATED);
    [listed, replayed]
}

/// Deliveries a page, when the request does not say, and at most.
const LIMIT: u32 = 20;
const LIMIT_MAX: u32 = 100;

/// The query of a list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Deliveries a page, 1 to 100; 20 when it is missing.
    limit: Option<u32>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// A page.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Deliveries {
    pub(crate) rows: Vec<Delivery>,
    /// The `cursor` of the next page; null after the last.
    pub(crate) next: Option<String>,
}

/// One call, and what became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Delivery {
    /// The execution that it started.
    pub(crate) execution_id: String,
    /// When it came.
    pub(crate) created_at: String,
    /// `webhook NAME`, or who delivered it again.
    pub(crate) created_by: String,
    /// The method; null where the input is another than a call has.
    pub(crate) method: Option<String>,
    /// Below `/call`.
    pub(crate) path: Option<String>,
    pub(crate) content_type: Option<String>,
    /// Length of the body as its sender said, bytes.
    pub(crate) content_length: Option<u64>,
    /// How many files came with it.
    pub(crate) files: usize,
    /// Of the execution.
    pub(crate) status: String,
    /// Of the answer for a caller who waits; null before the end.
    pub(crate) answer_status: Option<u16>,
    pub(crate) error_code: String,
    /// From the call to the end; null before the end.
    pub(crate) duration_ms: Option<u64>,
    /// The execution that goes on with it.
    pub(crate) continued_as: Option<String>,
}

async fn list(
    InReach(engine): InReach,
    InPath(webhook): InPath<String>,
    InQuery(ListQuery { limit, cursor }): InQuery<ListQuery>,
) -> Answer<Json<Deliveries>> {
    let limit = limit.unwrap_or(LIMIT);
    if limit > LIMIT_MAX {
        return Err(Problem::invalid(format!("limit must be 1 to {LIMIT_MAX}, not {limit}")));
    }
    let webhook = engine.record(Kind::Webhook, &webhook).await?;
    of(&engine, &webhook, limit, cursor).await.map(Json)
}

/// A page of what became of the calls of a webhook, whose record this is.
pub(crate) async fn of(engine: &Engine, webhook: &Value, limit: u32, cursor: Option<String>) -> Answer<Deliveries> {
    let query = QueryCall {
        kind: Kind::Execution.as_str().to_owned(),
        filter: Some(json!({"field": "webhook_id", "op": "eq", "value": webhook["id"]})),
        order: Some("-created_at".to_owned()),
        limit: Some(limit),
        cursor,
        deleted: false,
    };
    let page = engine.query(query).await?;
    Ok(Deliveries { rows: page.rows.iter().map(Delivery::of).collect(), next: page.next })
}

/// The execution that a call of the webhook started, whose record this is.
pub(crate) async fn call_of(engine: &Engine, webhook: &Value, id: &str) -> Answer<Value> {
    let row = engine.execution(id).await?;
    if row["webhook_id"] == webhook["id"] {
        return Ok(row);
    }
    let name = webhook["name"].as_str().unwrap_or_default();
    let problem = Problem::not_found(format!("the execution {id} is no delivery of the webhook `{name}`"));
    Err(problem.hint("GET /api/v1/webhooks/NAME/deliveries lists those that are"))
}

/// Delivers a call again, in the flow's present version. The execution that it starts is a call of the webhook too.
pub(crate) async fn deliver_again(
    app: &App,
    engine: Engine,
    webhook: &Value,
    id: String,
    caller: Caller,
) -> Answer<String> {
    call_of(&engine, webhook, &id).await?;
    app.complete(engine, |engine| async move { engine.rerun(&id, None, &caller.who).await }).await
}

async fn replay(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath((webhook, id)): InPath<(String, String)>,
) -> Answer<Response> {
    let webhook = engine.record(Kind::Webhook, &webhook).await?;
    deliver_again(&app, engine, &webhook, id, caller).await.map(StartedExecution::answer)
}

impl Delivery {
    fn of(row: &Value) -> Self {
        let input = &row["input"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            execution_id: text(&row["id"]).unwrap_or_default(),
            created_at: text(&row["created_at"]).unwrap_or_default(),
            created_by: text(&row["created_by"]).unwrap_or_default(),
            method: text(&input["method"]),
            path: text(&input["path"]),
            content_type: text(&input["headers"]["content-type"]),
            content_length: input["headers"]["content-length"].as_str().and_then(|length| length.parse().ok()),
            files: input["files"].as_array().map_or(0, Vec::len),
            status: text(&row["status"]).unwrap_or_default(),
            answer_status: super::answer::status_of(row),
            error_code: text(&row["error_code"]).unwrap_or_default(),
            duration_ms: duration_ms(row),
            continued_as: text(&row["continued_as"]),
        }
    }
}

fn duration_ms(row: &Value) -> Option<u64> {
    let at = |field: &str| row[field].as_str()?.parse::<Timestamp>().ok();
    u64::try_from(at("ended_at")?.since(at("created_at")?).as_millis()).ok()
}
