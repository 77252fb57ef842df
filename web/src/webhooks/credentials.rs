//! What the callers of a webhook must show: set, replaced and removed here, shown by nothing.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use surefoot_connector_api::SigningSecret;
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Role, WebhookCredential};

use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::{InJson, InPath};
use crate::openapi;
use crate::operation::Operation;
use crate::problem::{Answer, Problem};

/// The key, and the secret of signatures.
pub(crate) fn operations() -> [Operation; 2] {
    let webhook = || openapi::record_reference(Kind::Webhook);
    let set_key = Operation::post("/api/v1/webhooks/{key}/key", set_key)
        .role(Role::Author)
        .summary("Set or remove the key that callers must show; no answer ever shows it")
        .body::<KeyBody>()
        .answers_of(StatusCode::OK, webhook);
    let set_secret = Operation::post("/api/v1/webhooks/{key}/signing-secret", set_secret)
        .role(Role::Author)
        .summary("Set or remove the secret that callers must sign with (Standard Webhooks); no answer ever shows it")
        .body::<SecretBody>()
        .answers_of(StatusCode::OK, webhook);
    [set_key, set_secret]
}

/// How long what is replaced may go on, seconds: 30 days.
const OLD_SECONDS_MAX: u32 = 30 * 24 * 60 * 60;

/// The body of a change of the key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["key"]))]
pub(crate) struct KeyBody {
    /// The new key; null removes the present one. It must be named, so that `{}` removes nothing.
    #[serde(deserialize_with = "required")]
    key: Option<String>,
    /// How long the present key is good besides the new one, at most 2592000; not at all when it is missing.
    #[serde(default)]
    old_seconds: u32,
}

/// The body of a change of the secret.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["secret"]))]
pub(crate) struct SecretBody {
    /// The new secret, `whsec_` and 24 to 64 bytes in base64; null removes the present one. It must be named, so that
    /// `{}` removes nothing.
    #[serde(deserialize_with = "required")]
    secret: Option<String>,
    /// How long the present secret is good besides the new one, at most 2592000; not at all when it is missing.
    #[serde(default)]
    old_seconds: u32,
}

fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

async fn set_key(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(webhook): InPath<String>,
    InJson(KeyBody { key, old_seconds }): InJson<KeyBody>,
) -> Answer<Json<Value>> {
    if key.as_deref() == Some("") {
        return Err(Problem::invalid("the key is empty; give another one, or null to remove it"));
    }
    set(&app, engine, caller, webhook, WebhookCredential::Key, key, old_seconds).await.map(Json)
}

async fn set_secret(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    InPath(webhook): InPath<String>,
    InJson(SecretBody { secret, old_seconds }): InJson<SecretBody>,
) -> Answer<Json<Value>> {
    secret.as_deref().map(SigningSecret::parse).transpose().map_err(Problem::invalid)?;
    set(&app, engine, caller, webhook, WebhookCredential::SigningSecret, secret, old_seconds).await.map(Json)
}

/// Sets what callers must show, or removes it.
///
/// # Errors
/// When what is replaced would go on for too long.
pub(crate) async fn set(
    app: &App,
    engine: Engine,
    caller: Caller,
    webhook: String,
    credential: WebhookCredential,
    value: Option<String>,
    old_seconds: u32,
) -> Answer<Value> {
    if old_seconds > OLD_SECONDS_MAX {
        return Err(Problem::invalid(format!("`old_seconds` is at most {OLD_SECONDS_MAX}, not {old_seconds}")));
    }
    let old_until = (old_seconds > 0).then(|| engine.now().after(Duration::from_secs(old_seconds.into())));
    let set = move |engine: Engine| async move {
        engine.set_webhook_credential(&webhook, credential, value.as_deref(), old_until, &caller.who).await
    };
    app.complete(engine, set).await
}
