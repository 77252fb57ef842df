//! Webhooks: the list, and one: where and how it is called, and what became of its calls. Making and changing one, what
//! its callers must show, and a single call have modules of their own.

mod credentials;
mod delivery;
mod edit;

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use surefoot_engine::query::Kind;
use surefoot_engine::{Engine, Role, WebhookCredential};

use super::commands::quoted;
use super::frame::{Frame, View, page};
use super::record::{self, Names, path_of};
use super::table::{ListQuery, Listing};
use super::words::{Moment, Standing, Took, text};
use crate::app::App;
use crate::caller::InReach;
use crate::extract::{InPath, InQuery, percent_encoded};
use crate::operation::Operation;
use crate::problem::Answer;
use crate::webhooks::deliveries::{self, Delivery};
use crate::webhooks::record::methods;
use crate::webhooks::refused::Refusal;

pub(super) fn operations() -> Vec<Operation> {
    let own = vec![
        Operation::page("/ui/webhooks", list).role(Role::Viewer),
        Operation::page("/ui/webhooks/{key}", show).role(Role::Viewer),
    ];
    let shared = record::operations(Kind::Webhook);
    let below = [edit::operations(), credentials::operations(), delivery::operations()];
    [own, below.into_iter().flatten().collect(), shared].into_iter().flatten().collect()
}

/// Calls a page.
const CALLS: u32 = 20;

#[derive(Template)]
#[template(path = "webhooks.html")]
struct Webhooks {
    frame: Frame,
    list: Listing,
    webhooks: Vec<Row>,
}

impl View for Webhooks {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// A row of the list.
struct Row {
    id: String,
    name: String,
    description: String,
    reason: String,
    standing: Standing,
    is_enabled: bool,
    flow: String,
    methods: String,
    guards: Guards,
    last: Option<Call>,
    may_enable: bool,
}

/// What a webhook asks its callers for.
struct Guards {
    is_key_required: bool,
    has_key: bool,
    is_signature_required: bool,
    has_secret: bool,
}

impl Guards {
    /// The record is one that the engine has shown to who looks; what it hides is asked for by its id.
    fn read(engine: &Engine, record: &Value) -> Answer<Self> {
        let whole = engine.webhook_for_call(text(record, "id"))?;
        let has = |credential: WebhookCredential| whole[credential.fields().0].is_string();
        let (has_key, has_secret) = (has(WebhookCredential::Key), has(WebhookCredential::SigningSecret));
        Ok(Self {
            is_key_required: record["is_key_required"] != false,
            has_key,
            is_signature_required: record["is_signature_required"].as_bool().unwrap_or(has_secret),
            has_secret,
        })
    }

    /// Whether anybody may call who reaches the server.
    fn is_open(&self) -> bool {
        !self.is_key_required && !self.is_signature_required
    }

    /// Why every call is refused.
    fn trouble(&self) -> Option<&'static str> {
        match self {
            Self { is_key_required: true, has_key: false, .. } => {
                Some("It requires a key and has none yet: every call is refused.")
            }
            Self { is_signature_required: true, has_secret: false, .. } => {
                Some("It requires signatures and has no secret yet: every call is refused.")
            }
            _ => None,
        }
    }

    /// In a word or two.
    fn words(&self) -> &'static str {
        match (self.is_key_required, self.is_signature_required) {
            (true, true) => "key and signature",
            (true, false) => "key",
            (false, true) => "signature",
            (false, false) => "nothing",
        }
    }
}

/// A call, as lists show it.
struct Call {
    id: String,
    at: Moment,
    by: String,
    /// Method and path.
    request: String,
    standing: Standing,
    /// The status of the answer; none before the end.
    answer: Option<u16>,
    code: String,
    took: Option<String>,
}

impl Call {
    fn of(delivery: Delivery, frame: &Frame) -> Self {
        let method = delivery.method.unwrap_or_default();
        let path = delivery.path.filter(|path| !path.is_empty()).map(|path| format!("/{path}")).unwrap_or_default();
        Self {
            id: delivery.execution_id,
            at: Moment { at: delivery.created_at.parse().ok(), now: frame.now },
            by: delivery.created_by,
            request: format!("{method} {path}").trim().to_owned(),
            standing: match delivery.answer_status {
                Some(500..) if delivery.status == "ENDED_SUCCESS" => Standing::of("UNSUCCESSFUL"),
                _ => Standing::of(&delivery.status),
            },
            answer: delivery.answer_status,
            code: delivery.error_code,
            took: delivery.duration_ms.map(|ms| match ms {
                0 => "under 1 ms".to_owned(),
                ms => Took(Duration::from_millis(ms)).to_string(),
            }),
        }
    }
}

/// What stands at the top of every page about one webhook.
struct Head {
    row: Value,
    id: String,
    name: String,
    standing: Standing,
    is_enabled: bool,
    guards: Guards,
    methods: Vec<&'static str>,
    tab: &'static str,
    may_enable: bool,
    may_edit: bool,
}

impl Head {
    async fn read(app: &App, engine: &Engine, key: &str, frame: &Frame, tab: &'static str) -> Answer<Self> {
        let row = engine.record(Kind::Webhook, key).await?;
        let is_enabled = row["is_enabled"] == true;
        Ok(Self {
            id: text(&row, "id").to_owned(),
            name: text(&row, "name").to_owned(),
            standing: Standing::of_enabled(is_enabled),
            is_enabled,
            guards: Guards::read(app.whole_engine(), &row)?,
            methods: methods(&row["methods"]),
            tab,
            may_enable: frame.may_for("operator", &row),
            may_edit: frame.may_for("author", &row),
            row,
        })
    }

    fn path(&self, below: &str) -> String {
        path_of(Kind::Webhook, &self.id) + below
    }

    fn word(&self) -> String {
        quoted(&self.name)
    }
}

async fn list(
    State(app): State<App>,
    InReach(engine): InReach,
    frame: Frame,
    InQuery(query): InQuery<ListQuery>,
) -> Answer<Response> {
    let list = Listing::read(&engine, Kind::Webhook, &query, None).await?;
    let names = Names::read(&engine, &[Kind::Flow]).await?;
    let mut webhooks = Vec::new();
    for row in list.rows.iter().filter(|_| !list.trash) {
        let is_enabled = row["is_enabled"] == true;
        let last = deliveries::of(&engine, row, 1, None).await?.rows.into_iter().next();
        webhooks.push(Row {
            id: text(row, "id").to_owned(),
            name: text(row, "name").to_owned(),
            description: text(row, "description").to_owned(),
            reason: text(row, "disabled_reason").to_owned(),
            standing: Standing::of_enabled(is_enabled),
            is_enabled,
            flow: names.of(Kind::Flow, text(row, "flow_id")).to_owned(),
            methods: methods(&row["methods"]).join(", "),
            guards: Guards::read(app.whole_engine(), row)?,
            last: last.map(|last| Call::of(last, &frame)),
            may_enable: frame.may_for("operator", row),
        });
    }
    Ok(page(&Webhooks { frame, list, webhooks }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookQuery {
    /// Of the page of calls.
    cursor: Option<String>,
    #[serde(rename = "done")]
    _done: Option<String>,
}

#[derive(Template)]
#[template(path = "webhook.html")]
struct Webhook {
    frame: Frame,
    head: Head,
    flow: Option<(String, String)>,
    url: String,
    examples: Vec<Example>,
    calls: Vec<Call>,
    next: Option<String>,
    /// Each with when it came, the last of several that are alike.
    refused: Vec<(Refusal, Moment)>,
    /// Since when they are remembered.
    since: Moment,
}

impl View for Webhook {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// A way to call it.
struct Example {
    about: &'static str,
    command: String,
}

async fn show(
    State(app): State<App>,
    InReach(engine): InReach,
    frame: Frame,
    InPath(key): InPath<String>,
    InQuery(query): InQuery<WebhookQuery>,
) -> Answer<Response> {
    let head = Head::read(&app, &engine, &key, &frame, "summary").await?;
    let page_of_calls = deliveries::of(&engine, &head.row, CALLS, query.cursor).await?;
    let calls = page_of_calls.rows.into_iter().map(|delivery| Call::of(delivery, &frame)).collect();
    let flow = engine.record(Kind::Flow, text(&head.row, "flow_id")).await.ok();
    let flow = flow.map(|flow| (text(&flow, "name").to_owned(), path_of(Kind::Flow, text(&flow, "id"))));
    let url = format!("{}/api/latest/webhook/{}/call", frame.base, percent_encoded(&head.name));
    let examples = examples(&head, &url);
    let with_moment = |refusal: Refusal| {
        let at = frame.moment_at(refusal.at.parse().ok());
        (refusal, at)
    };
    let refused = app.options().refused.of(&head.id).into_iter().map(with_moment).collect();
    let since = frame.moment_at(Some(app.since()));
    Ok(page(&Webhook { frame, head, flow, url, examples, calls, next: page_of_calls.next, refused, since }))
}

/// Commands that call it, with what it asks for.
fn examples(head: &Head, url: &str) -> Vec<Example> {
    let url = quoted(url);
    let key = if head.guards.is_key_required { " -H \"X-Surefoot-Key: $KEY\"" } else { "" };
    let method = if head.methods.contains(&"POST") { "POST" } else { head.methods.first().unwrap_or(&"POST") };
    let (method, body) = match method {
        "POST" => (String::new(), " -H 'Content-Type: application/json' -d '{\"order\": 7}'"),
        "GET" | "HEAD" | "DELETE" => (format!(" -X {method}"), ""),
        method => (format!(" -X {method}"), " -H 'Content-Type: application/json' -d '{\"order\": 7}'"),
    };
    if head.guards.is_signature_required {
        let command = format!(
            "ID=msg_$(openssl rand -hex 16); AT=$(date +%s); BODY='{{\"order\": 7}}'\n\
             HEX=$(printf %s \"${{SECRET#whsec_}}\" | base64 -d | od -An -v -tx1 | tr -d ' \\n')\n\
             SIGNATURE=$(printf %s \"$ID.$AT.$BODY\" | openssl dgst -sha256 -mac HMAC -macopt \"hexkey:$HEX\" -binary \
             | base64)\n\
             curl --fail-with-body{method}{key} -H 'Content-Type: application/json' -H \"webhook-id: $ID\" \\\n  \
             -H \"webhook-timestamp: $AT\" -H \"webhook-signature: v1,$SIGNATURE\" -d \"$BODY\" \\\n  {url}"
        );
        return vec![Example { about: "A signed call; SECRET is the signing secret", command }];
    }
    let call = |more: &str, url: &str| format!("curl --fail-with-body{method}{key}{more}{body} \\\n  {url}");
    vec![
        Example { about: "A call that waits for the answer", command: call("", &url) },
        Example {
            about: "A call that does not wait: the answer is the execution's id",
            command: call("", &format!("{url}'?async=1'")),
        },
        Example {
            about: "A call that can be made again, and starts the flow once",
            command: call(" -H 'Idempotency-Key: release-7' \\\n ", &url),
        },
    ]
}
