//! `surefoot webhook`: names under which HTTP callers start flows and get their answers.

use std::collections::BTreeMap;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use surefoot_engine::Entropy;

use crate::client::{Answer, Call, Client, Content, Method, Path};
use crate::commands::execution;
use crate::context::Context;
use crate::failure::Failure;
use crate::records::{self, Kind, RecordCommand};
use crate::table::{self, Column, name_of, plain, time};
use crate::{exit_codes, inputs, workspace};

pub(crate) const KIND: Kind = Kind {
    name: "webhook",
    plural: "webhooks",
    columns: &[
        plain("NAME", "name"),
        plain("ENABLED", "is_enabled"),
        plain("KEY REQUIRED", "is_key_required"),
        plain("SIGNATURE REQUIRED", "is_signature_required"),
        name_of("FLOW", "flow_id", "flows"),
        plain("METHODS", "methods"),
        name_of("PROJECT", "project_id", "projects"),
        time("MODIFIED", "modified_at"),
    ],
};

/// What a list of deliveries shows.
const DELIVERIES: [Column; 8] = [
    time("AT", "created_at"),
    plain("EXECUTION", "execution_id"),
    plain("BY", "created_by"),
    plain("METHOD", "method"),
    plain("PATH", "path"),
    plain("STATUS", "status"),
    plain("ANSWER", "answer_status"),
    plain("MS", "duration_ms"),
];

/// What a list of refused calls shows.
const REFUSALS: [Column; 6] = [
    time("AT", "at"),
    plain("TIMES", "times"),
    plain("CLIENT", "client"),
    plain("METHOD", "method"),
    plain("ANSWER", "status"),
    plain("WHY", "detail"),
];

/// Where webhooks are called.
const CALLS: &str = "/api/latest/webhook";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create or change one; a new one is disabled until --enable
    Set(Box<SetArguments>),
    /// Call one, as an HTTP caller would, and print the answer's body
    Call(CallArguments),
    /// List what became of its calls, the newest first; `replay` delivers one again
    Deliveries {
        /// Name or id
        key: String,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
        /// Those that were refused, and why, since the server started
        #[arg(long, conflicts_with = "limit")]
        refused: bool,
    },
    /// Deliver one of its calls again: start its flow with the same input
    Replay {
        /// Name or id of the webhook
        key: String,
        /// The execution that the call started; `deliveries` lists them
        #[arg(value_name = "EXECUTION")]
        id: String,
    },
    #[command(flatten)]
    Record(RecordCommand),
}

#[derive(Args)]
pub(crate) struct SetArguments {
    /// Name or id
    key: String,
    /// The flow that a call starts
    #[arg(long, value_name = "NAME|ID")]
    flow: Option<String>,
    /// Answer calls
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Answer no calls
    #[arg(long)]
    disable: bool,
    #[command(flatten)]
    secret: SecretArguments,
    #[command(flatten)]
    signing: SigningArguments,
    /// How long the key or the secret that is replaced is good besides the new one, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    old_seconds: u32,
    /// HTTP methods it answers, such as POST,GET; without it POST alone
    #[arg(long, value_name = "METHODS", value_delimiter = ',')]
    methods: Vec<String>,
    /// The project it belongs to
    #[arg(long, value_name = "NAME|ID")]
    project: Option<String>,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
}

/// The key that callers must show. Only its digest is stored.
#[derive(Args)]
#[group(multiple = false)]
struct SecretArguments {
    /// Callers must show this key; `@FILE` and `-` read it
    #[arg(long = "key", value_name = "KEY", id = "secret")]
    key: Option<String>,
    /// Make a key, and print it once
    #[arg(long)]
    generate_key: bool,
    /// Anybody who reaches the server may call
    #[arg(long)]
    no_key: bool,
}

/// The secret that callers must sign with, by the specification Standard Webhooks.
#[derive(Args)]
#[group(multiple = false)]
struct SigningArguments {
    /// Callers must sign with this secret, `whsec_…`; `@FILE` and `-` read it
    #[arg(long, value_name = "SECRET")]
    signing_secret: Option<String>,
    /// Make a signing secret, and print it once
    #[arg(long)]
    generate_signing_secret: bool,
    /// Callers need not sign
    #[arg(long)]
    no_signature: bool,
}

#[derive(Args)]
pub(crate) struct CallArguments {
    /// Name
    name: String,
    /// What to send: JSON, `@FILE`, or `-` for standard input
    #[arg(long, value_name = "JSON")]
    json: Option<String>,
    /// The HTTP method
    #[arg(long, default_value = "POST")]
    method: Method,
    /// The webhook's key; `@FILE` and `-` read it
    #[arg(long, env = "SUREFOOT_WEBHOOK_KEY", hide_env_values = true)]
    key: Option<String>,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        Command::Set(arguments) => set(*arguments, context).await,
        Command::Call(arguments) => call(&arguments, context).await,
        Command::Deliveries { key, refused: true, .. } => refusals(&key, context).await,
        Command::Deliveries { key, limit, .. } => deliveries(&key, limit, context).await,
        Command::Replay { key, id } => {
            let path = Path::api([KIND.plural, &key, "deliveries", &id, "replay"]);
            execution::start_again(path, json!({}), context).await
        }
        Command::Record(command) => records::run(&KIND, command, context).await,
    }
}

async fn set(arguments: SetArguments, context: &Context) -> Result<u8> {
    let (client, printer) = (context.client().await?, context.printer);
    let mut fields = Map::new();
    for (field, plural, key) in [("flow_id", "flows", &arguments.flow), ("project_id", "projects", &arguments.project)]
    {
        if let Some(key) = key {
            fields.insert(field.into(), records::id_of(client, plural, key).await?.into());
        }
    }
    if arguments.enable || arguments.disable {
        fields.insert("is_enabled".into(), arguments.enable.into());
    }
    if !arguments.methods.is_empty() {
        fields.insert("methods".into(), arguments.methods.iter().map(|method| method.to_uppercase()).collect());
    }
    if let Some(description) = &arguments.description {
        fields.insert("description".into(), description.as_str().into());
    }
    let key = Secret::of_key(&arguments.secret)?;
    if !matches!(key, Secret::Unchanged) {
        fields.insert("is_key_required".into(), (!matches!(key, Secret::None)).into());
    }
    let signing = Secret::of_signatures(&arguments.signing)?;
    if !matches!(signing, Secret::Unchanged) {
        fields.insert("is_signature_required".into(), (!matches!(signing, Secret::None)).into());
    }
    let secrets = [("key", "key", &key), ("signing-secret", "secret", &signing)];
    let mut record = save(client, &arguments.key, fields, secrets, arguments.old_seconds).await?;
    if matches!(key, Secret::None) && record["is_signature_required"] != true {
        printer.warn("anybody who reaches the server may call this webhook");
    }
    let generated = [("key", "key", &key), ("signing_secret", "signing secret", &signing)];
    for (field, _, secret) in generated.into_iter().filter(|_| printer.is_json()) {
        if let Secret::Generated(secret) = secret {
            record[field] = secret.as_str().into();
        }
    }
    records::saved(&KIND, printer, &record, "saved")?;
    for (_, name, secret) in generated.into_iter().filter(|_| !printer.is_json()) {
        if let Secret::Generated(secret) = secret {
            printer.say(format_args!("its {name}, which is shown this once:"));
            printer.line(secret)?;
        }
    }
    Ok(exit_codes::SUCCESS)
}

/// What is to become of a webhook's key, or of its signing secret.
enum Secret {
    Unchanged,
    None,
    Given(String),
    Generated(String),
}

impl Secret {
    fn of_key(arguments: &SecretArguments) -> Result<Self> {
        Ok(match &arguments.key {
            _ if arguments.no_key => Self::None,
            _ if arguments.generate_key => Self::Generated(workspace::new_secret()),
            Some(key) => Self::Given(read_key(key)?),
            None => Self::Unchanged,
        })
    }

    fn of_signatures(arguments: &SigningArguments) -> Result<Self> {
        Ok(match &arguments.signing_secret {
            _ if arguments.no_signature => Self::None,
            _ if arguments.generate_signing_secret => {
                Self::Generated(format!("whsec_{}", STANDARD.encode(Entropy::System.bytes32())))
            }
            Some(secret) => Self::Given(read_key(secret)?),
            None => Self::Unchanged,
        })
    }
}

/// Saves the fields and the secrets: each with its place in the API and its field there. A webhook is enabled last, so
/// that it never answers without what was asked for.
async fn save(
    client: &Client,
    webhook: &str,
    mut fields: Map<String, Value>,
    secrets: [(&str, &str, &Secret); 2],
    old_seconds: u32,
) -> Result<Value> {
    if secrets.iter().all(|(.., secret)| matches!(secret, Secret::Unchanged)) {
        return client.save(KIND.plural, webhook, Value::Object(fields)).await;
    }
    let enable = fields.remove("is_enabled");
    let mut record = client.save(KIND.plural, webhook, Value::Object(fields)).await?;
    let id = record["id"].as_str().unwrap_or(webhook).to_owned();
    for (place, field, secret) in secrets {
        let value = match secret {
            Secret::Unchanged => continue,
            Secret::None => Value::Null,
            Secret::Given(secret) | Secret::Generated(secret) => secret.as_str().into(),
        };
        let body = json!({ field: value, "old_seconds": old_seconds });
        record = client.post(Path::api([KIND.plural, &id, place]), body).await?;
    }
    match enable {
        None => Ok(record),
        Some(enable) => client.save(KIND.plural, webhook, json!({ "is_enabled": enable })).await,
    }
}

async fn deliveries(key: &str, limit: u32, context: &Context) -> Result<u8> {
    let path = Path::api([KIND.plural, key, "deliveries"]).query("limit", limit);
    let mut page = context.existing().await?.get(path).await?;
    list(page["rows"].take(), &DELIVERIES, context, format_args!("no call of {key} started anything"))
}

async fn refusals(key: &str, context: &Context) -> Result<u8> {
    let mut page = context.existing().await?.get(Path::api([KIND.plural, key, "refusals"])).await?;
    let since = table::cell(&page, &time("SINCE", "since"), &BTreeMap::new());
    list(page["rows"].take(), &REFUSALS, context, format_args!("no call of {key} was refused since {since}"))
}

fn list<const N: usize>(
    rows: Value,
    columns: &[Column; N],
    context: &Context,
    none: std::fmt::Arguments<'_>,
) -> Result<u8> {
    let printer = context.printer;
    let Value::Array(rows) = rows else { return Ok(exit_codes::SUCCESS) };
    if printer.is_json() {
        printer.json(&Value::Array(rows))?;
    } else if rows.is_empty() {
        printer.say(none);
    } else {
        let cells = |row: &Value| columns.iter().map(|column| table::cell(row, column, &BTreeMap::new())).collect();
        printer.table(&columns.each_ref().map(|column| column.title), rows.iter().map(cells).collect())?;
    }
    Ok(exit_codes::SUCCESS)
}

async fn call(arguments: &CallArguments, context: &Context) -> Result<u8> {
    let printer = context.printer;
    let key = arguments.key.as_deref().map(read_key).transpose()?;
    let body = arguments.json.as_deref().map(inputs::json).transpose()?;
    let request = request(&arguments.name, arguments.method.clone(), key.as_deref(), body);
    let answer = context.client().await?.send(request).await?;
    let status = answer.status;
    let ok = answer.is_success();
    let body = text(answer).await?;
    if printer.is_json() {
        let document: Value = serde_json::from_str(&body).unwrap_or_else(|_| body.into());
        printer.json(&json!({ "status": status, "body": document }))?;
    } else {
        printer.say(format_args!("status {status}"));
        printer.line(body)?;
    }
    Ok(if ok { exit_codes::SUCCESS } else { exit_codes::RUN_FAILED })
}

/// A webhook's call. The key goes into a header: addresses end up in logs.
pub(crate) fn request(name: &str, method: Method, key: Option<&str>, body: Option<Value>) -> Call {
    let call = Call::new(method, Path::below(CALLS, [name, "call"]));
    let call = match key {
        Some(key) => call.header("x-surefoot-key", key.to_owned()),
        None => call,
    };
    match body {
        Some(body) => call.content(Content::Json(body)),
        None => call,
    }
}

async fn text(answer: Answer) -> Result<String> {
    Ok(String::from_utf8_lossy(&answer.bytes().await?).into_owned())
}

/// A key as it was passed, or from where it was said to be.
fn read_key(key: &str) -> Result<String> {
    let (_, key) = inputs::pair(&format!("key={key}"))?;
    if key.is_empty() {
        return Err(Failure::usage("the key is empty")
            .hint("Use --no-key for a webhook that anybody may call.")
            .into());
    }
    Ok(key)
}
