//! What times mean, for who writes them, and what schedules would start.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use surefoot_engine::{DryRun, Explanation, Role, Times, Timestamp};

use crate::app::App;
use crate::caller::InReach;
use crate::extract::{InJson, InQuery};
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

/// Times that one answer names, at most.
const TIMES_MAX: u16 = 1000;

/// What concerns times, and no record of its own.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/schedule-times", explain)
            .role(Role::Viewer)
            .summary("What a setting of the built-in scheduler means, in words, and the next times")
            .query::<ExplainQuery>()
            .answers::<Explanation>(StatusCode::OK),
        Operation::post("/api/v1/schedule-dry-run", dry_run)
            .role(Role::Operator)
            .summary("List what schedules would start in a period, without starting it")
            .body::<DryRunBody>()
            .answers::<DryRun>(StatusCode::OK),
    ]
}

/// The query of an explanation.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainQuery {
    /// The value of a setting, as JSON: `{"cron": "*/5 * * * *", "time_zone": "Europe/Vienna"}`.
    setting: String,
    /// From then on, RFC 3339; from now when it is missing.
    from: Option<String>,
    /// How many times; 5 when it is missing.
    #[schemars(range(min = 1, max = 1000))]
    count: Option<u16>,
}

async fn explain(InReach(engine): InReach, InQuery(query): InQuery<ExplainQuery>) -> Answer<Json<Explanation>> {
    let count = query.count.unwrap_or(5);
    if count == 0 || count > TIMES_MAX {
        return Err(Problem::invalid(format!("`count` is 1 to {TIMES_MAX}")));
    }
    let from = match &query.from {
        Some(text) => moment("from", text)?,
        None => engine.now(),
    };
    let setting: Value = serde_json::from_str(&query.setting)
        .map_err(|error| Problem::malformed(format!("the setting is not JSON: {error}")))?;
    let times = Times::of_setting(&setting).map_err(|error| Problem::invalid(error.to_string()))?;
    Ok(Json(times.explain(from, count.into())))
}

/// The body of a dry run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DryRunBody {
    /// The beginning of the period, RFC 3339.
    from: String,
    /// Its end.
    to: String,
    /// Names or ids; all that are enabled when it is missing.
    #[serde(default)]
    schedules: Vec<String>,
}

async fn dry_run(
    State(app): State<App>,
    InReach(engine): InReach,
    InJson(body): InJson<DryRunBody>,
) -> Answer<Json<DryRun>> {
    let (from, to) = (moment("from", &body.from)?, moment("to", &body.to)?);
    let found = app.complete(engine, |engine| async move { engine.dry_run(from, to, body.schedules).await }).await?;
    Ok(Json(found))
}

fn moment(field: &str, text: &str) -> Answer<Timestamp> {
    text.parse().map_err(|error| Problem::invalid(format!("`{field}` cannot be `{text}`: {error}")))
}
