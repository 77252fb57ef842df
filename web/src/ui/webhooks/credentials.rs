//! What the callers of a webhook must show. A key or a secret that is made here is shown once, by the answer to the
//! form that makes it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use surefoot_connector_api::SigningSecret;
use surefoot_engine::{Engine, Entropy, Role, WebhookCredential};

use super::Head;
use crate::app::App;
use crate::caller::{Caller, InReach};
use crate::extract::InPath;
use crate::operation::Operation;
use crate::problem::{Answer, Problem};
use crate::ui::forms::Fields;
use crate::ui::frame::{Frame, View, page};
use crate::webhooks::credentials::set;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::page("/ui/webhooks/{key}/credentials", ask).role(Role::Author),
        Operation::action("/ui/webhooks/{key}/credentials", change).role(Role::Author),
    ]
}

/// How long what is replaced is good besides: seconds, and what people read.
const OLD: &[(&str, &str)] = &[
    ("0", "The present one is refused at once"),
    ("3600", "The present one is good for an hour more"),
    ("86400", "The present one is good for a day more"),
    ("604800", "The present one is good for a week more"),
];

#[derive(Template)]
#[template(path = "webhook-credentials.html")]
pub(super) struct Credentials {
    frame: Frame,
    head: Head,
    /// What was made: what it is, and its value.
    made: Option<(&'static str, String)>,
}

impl View for Credentials {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// Makes a key for a webhook that has just been made, and shows it.
pub(super) async fn first_key(
    app: &App,
    engine: Engine,
    caller: Caller,
    frame: Frame,
    webhook: &str,
) -> Answer<Response> {
    let key = new_key();
    set(app, engine.clone(), caller, webhook.to_owned(), WebhookCredential::Key, Some(key.clone()), 0).await?;
    show(app, &engine, frame, webhook, Some(("key", key))).await
}

async fn ask(
    State(app): State<App>,
    InReach(engine): InReach,
    frame: Frame,
    InPath(key): InPath<String>,
) -> Answer<Response> {
    show(&app, &engine, frame, &key, None).await
}

async fn show(
    app: &App,
    engine: &Engine,
    frame: Frame,
    key: &str,
    made: Option<(&'static str, String)>,
) -> Answer<Response> {
    let head = Head::read(app, engine, key, &frame, "credentials").await?;
    Ok(page(&Credentials { frame, head, made }))
}

async fn change(
    State(app): State<App>,
    InReach(engine): InReach,
    caller: Caller,
    frame: Frame,
    InPath(webhook): InPath<String>,
    fields: Fields,
) -> Answer<Response> {
    let (credential, what) = match fields.required("credential", "What is to be changed")? {
        "key" => (WebhookCredential::Key, "key"),
        "signing-secret" => (WebhookCredential::SigningSecret, "signing secret"),
        other => return Err(Problem::invalid(format!("there is no `{other}` of a webhook"))),
    };
    let old_seconds = fields.text("old_seconds").unwrap_or("0").parse();
    let old_seconds = old_seconds.map_err(|_| Problem::invalid("`old_seconds` is no whole number"))?;
    let (value, is_made) = match fields.required("do", "What is to be done")? {
        "make" if credential == WebhookCredential::Key => (Some(new_key()), true),
        "make" => (Some(format!("whsec_{}", STANDARD.encode(Entropy::System.bytes32()))), true),
        "remove" => (None, false),
        "set" => (Some(fields.required("value", "The value")?.to_owned()), false),
        other => return Err(Problem::invalid(format!("a {what} cannot be `{other}`"))),
    };
    if let (WebhookCredential::SigningSecret, Some(secret)) = (credential, &value) {
        SigningSecret::parse(secret).map_err(Problem::invalid)?;
    }
    set(&app, engine.clone(), caller, webhook.clone(), credential, value.clone(), old_seconds).await?;
    show(&app, &engine, frame, &webhook, value.filter(|_| is_made).map(|value| (what, value))).await
}

fn new_key() -> String {
    hex::encode(Entropy::System.bytes32())
}
