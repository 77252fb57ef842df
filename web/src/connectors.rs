//! Connectors: their types, and a call to try one.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Role, StartRequest, Timestamp};

use crate::app::{App, Stopping, Waited};
use crate::caller::{Caller, InReach};
use crate::extract::{InOptionalJson, InPath};
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

/// Types of connectors, and a call to try one.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/connector-types", types)
            .role(Role::Viewer)
            .summary("The connector types, by name, with the schemas of their inputs and outputs")
            .answers::<Types>(StatusCode::OK),
        Operation::post("/api/v1/connectors/{key}/test", test)
            .role(Role::Author)
            .summary("Call a connector once, as a flow would; `type:NAME` calls a type without a stored configuration")
            .optional_body::<TestBody>()
            .answers::<Tested>(StatusCode::OK),
    ]
}

/// The answer to `GET /api/v1/connector-types`.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Types {
    rows: Vec<Type>,
}

/// A connector type.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Type {
    #[serde(rename = "type")]
    ty: &'static str,
    description: &'static str,
    /// JSON Schema; inputs with `writeOnly` are secrets.
    input_schema: Value,
    /// JSON Schema.
    output_schema: Value,
}

/// How a call to try a connector ended.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Tested {
    ok: bool,
    duration_ms: u64,
    execution_id: String,
    /// When all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
    /// When it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<TestError>,
}

/// Why a call failed.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct TestError {
    code: Value,
    message: Value,
}

async fn types(InReach(engine): InReach) -> Json<Types> {
    let mut types = engine.connector_types();
    types.sort_by_key(|connector| connector.type_name());
    let rows = types.iter().map(|connector| Type {
        ty: connector.type_name(),
        description: connector.description(),
        input_schema: connector.input_schema(),
        output_schema: connector.output_schema(),
    });
    Json(Types { rows: rows.collect() })
}

/// The body of a test.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestBody {
    /// Inputs of the call, over those that are stored.
    #[serde(default)]
    inputs: Map<String, Value>,
}

/// A call that fails is an answer, not a problem: `ok` is false.
async fn test(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    stopping: Stopping,
    InPath(key): InPath<String>,
    InOptionalJson(body): InOptionalJson<TestBody>,
) -> Answer<Json<Tested>> {
    if !key.starts_with("type:") {
        engine.record(Kind::Connector, &key).await?;
    }
    let request = StartRequest {
        flow: "native:connect".to_owned(),
        input: json!({"connector": key, "inputs": body.inputs}),
        name: Some(format!("test of {key}")),
        by: caller.who,
        ..StartRequest::default()
    };
    let (id, _) = app.complete(engine.clone(), |engine| async move { engine.start(request).await }).await?;
    tested(&app, &engine, id, &stopping).await
}

/// Waits for the end of an execution that tries something, and tells how it went.
pub(crate) async fn tested(app: &App, engine: &Engine, id: String, stopping: &Stopping) -> Answer<Json<Tested>> {
    match app.wait_ended(engine, &id, app.options().webhook_deadline, stopping).await? {
        Waited::Ended(row) => Ok(Json(result(&id, &row))),
        Waited::Stopping => Err(Problem::stops_before(&id)),
        Waited::TimeOver => {
            let detail = "the call has not ended within the time that a caller is kept waiting; it goes on";
            let hint = format!("see how it ends: /api/v1/executions/{id}");
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail).hint(hint).execution(&id))
        }
    }
}

fn result(id: &str, row: &Value) -> Tested {
    let at = |field: &str| row[field].as_str().and_then(|text| text.parse::<Timestamp>().ok()).unwrap_or_default();
    let duration_ms = u64::try_from(at("ended_at").since(at("created_at")).as_millis()).unwrap_or(u64::MAX);
    let ok = row["status"] == "ENDED_SUCCESS";
    let error = || TestError { code: row["error_code"].clone(), message: row["error_message"].clone() };
    Tested {
        ok,
        duration_ms,
        execution_id: id.to_owned(),
        output: ok.then(|| row["output"].clone()),
        error: (!ok).then(error),
    }
}
