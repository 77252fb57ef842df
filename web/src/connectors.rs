//! Connectors: their types, and a call to try one.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::{StartRequest, Timestamp};

use crate::app::{App, Stopping, Waited};
use crate::extract::{InOptionalJson, InPath};
use crate::problem::{Answer, Problem};

/// `GET /api/v1/connector-types`: `{rows}`, by name.
pub(crate) async fn types(State(app): State<App>) -> Json<Value> {
    let mut types = app.engine().connector_types();
    types.sort_by_key(|connector| connector.type_name());
    let rows: Vec<Value> = types
        .iter()
        .map(|connector| {
            json!({
                "type": connector.type_name(),
                "description": connector.description(),
                "input_schema": connector.input_schema(),
                "output_schema": connector.output_schema(),
            })
        })
        .collect();
    Json(json!({ "rows": rows }))
}

/// The body of a test.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestBody {
    /// Inputs of the call, over those that are stored.
    #[serde(default)]
    inputs: Map<String, Value>,
}

/// `POST /api/v1/connectors/KEY/test`: calls the connector once, as a flow would. KEY may be `type:NAME` for a type
/// without a stored configuration. A call that fails is an answer, not a problem: `ok` is false.
pub(crate) async fn test(
    State(app): State<App>,
    stopping: Stopping,
    InPath(key): InPath<String>,
    InOptionalJson(body): InOptionalJson<TestBody>,
) -> Answer<Json<Value>> {
    if !key.starts_with("type:") {
        app.engine().record(Kind::Connector, &key).await?;
    }
    let request = StartRequest {
        flow: "native:connect".to_owned(),
        input: json!({"connector": key, "inputs": body.inputs}),
        name: Some(format!("test of {key}")),
        by: app.who().to_owned(),
        ..StartRequest::default()
    };
    let (id, _) = app.complete(|engine| async move { engine.start(request).await }).await?;
    match app.wait_ended(&id, app.options().webhook_deadline, &stopping).await? {
        Waited::Ended(row) => Ok(Json(result(&id, &row))),
        Waited::Stopping => Err(Problem::stopping().execution(&id)),
        Waited::TimeOver => {
            let detail = "the call has not ended within the time that a caller is kept waiting; it goes on";
            let hint = format!("see how it ends: /api/v1/executions/{id}");
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail).hint(hint).execution(&id))
        }
    }
}

fn result(id: &str, row: &Value) -> Value {
    let at = |field: &str| row[field].as_str().and_then(|text| text.parse::<Timestamp>().ok()).unwrap_or_default();
    let duration_ms = u64::try_from(at("ended_at").since(at("created_at")).as_millis()).unwrap_or(u64::MAX);
    let ok = row["status"] == "ENDED_SUCCESS";
    let mut result = json!({"ok": ok, "duration_ms": duration_ms, "execution_id": id});
    if ok {
        result["output"] = row["output"].clone();
    } else {
        result["error"] = json!({"code": row["error_code"], "message": row["error_message"]});
    }
    result
}
