//! `smtp`: sends a mail through a mail server.
//!
//! A call opens a connection, hands over one mail, and closes. Any refused recipient refuses the mail: it is sent to
//! all or to none. The `Message-ID` follows from the call's idempotency key, so that a mail which was sent twice can be
//! recognised as one.
//!
//! What is known after a failure turns on one moment, the dot that ends the mail: without it, a server delivers
//! nothing; with it, only its answer tells.
//!
//! | module | |
//! |---|---|
//! | `inputs` | what users write, and the one place where second names and defaults are resolved |
//! | `message` | the text of the mail: headers, parts, attachments |
//! | `session` | the dialogue with the server |
//! | `wire` | lines, replies and TLS on the dialer's stream |
//!
//! The dialogue is our own, since the connections must come from the dialer and the moment above must be visible;
//! `lettre` makes the text.

mod inputs;
mod message;
mod session;
mod wire;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, ErrorClass, Inputs};

use crate::schema;
use inputs::{Plan, SmtpInputs};
use message::Message;

/// The connector type `smtp`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Smtp;

/// Outputs of a call.
#[derive(JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
struct SmtpOutputs {
    /// The mail's `Message-ID`, with its angle brackets.
    message_id: String,
    /// What the server answered to the mail: a code and a text, such as `250 2.0.0 queued as 1234`.
    response: String,
}

static INPUT_SCHEMA: LazyLock<Value> = LazyLock::new(schema::schema_of::<SmtpInputs>);
static OUTPUT_SCHEMA: LazyLock<Value> = LazyLock::new(schema::schema_of::<SmtpOutputs>);

#[async_trait]
impl Connector for Smtp {
    fn type_name(&self) -> &'static str {
        "smtp"
    }

    fn description(&self) -> &'static str {
        "Sends a mail through an SMTP server"
    }

    fn input_schema(&self) -> Value {
        INPUT_SCHEMA.clone()
    }

    fn output_schema(&self) -> Value {
        OUTPUT_SCHEMA.clone()
    }

    /// A mail sent twice is two mails.
    fn effect(&self, _: &Inputs) -> Effect {
        Effect::Write
    }

    /// A mail that no machine answers.
    fn delivery(&self, stored: &Inputs, message: &surefoot_connector_api::Message<'_>) -> Result<Inputs, String> {
        let mut inputs = Inputs::new();
        match message.to {
            Some(to) => drop(inputs.insert("to".to_owned(), to.clone())),
            None if ["to", "cc", "bcc"].iter().any(|name| stored.contains_key(*name)) => {}
            None => return Err("a mail needs `to`, an address or a list of them, here or in its connector".to_owned()),
        }
        let mut headers = stored.get("headers").and_then(Value::as_object).cloned().unwrap_or_default();
        headers.insert("Auto-Submitted".to_owned(), "auto-generated".into());
        inputs.insert("headers".to_owned(), headers.into());
        inputs.insert("subject".to_owned(), message.subject.into());
        inputs.insert("text".to_owned(), message.text.into());
        if stored.contains_key("html") {
            inputs.insert("html".to_owned(), Value::Null);
        }
        Ok(inputs)
    }

    async fn call(&self, context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        let plan = Plan::new(schema::parse(&inputs)?)?;
        let handed_over = HandedOver::default();
        let work = async {
            let message = Message::compose(&plan.mail, context.files, context.idempotency_key).await?;
            let message_id = message.message_id.clone();
            let session = session::open(context.dialer, &plan.server).await?;
            let response = session.send(message, &handed_over).await?;
            Ok(json!(SmtpOutputs { message_id, response }))
        };
        let limit = plan.total_timeout;
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) if handed_over.get() => Err(CallError::unknown(
                ErrorClass::Timeout,
                format!("the server has not confirmed the mail within {} s; see `total_timeout`", limit.as_secs_f64()),
            )),
            Err(_) => Err(CallError::not_sent(
                ErrorClass::Timeout,
                format!("the mail was not handed over within {} s; see `total_timeout`", limit.as_secs_f64()),
            )),
        }
    }
}

/// Whether the dot that ends the mail may have left.
#[derive(Default)]
struct HandedOver(AtomicBool);

impl HandedOver {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_hides_the_password_and_refuses_the_unknown() {
        let schema = Smtp.input_schema();
        assert_eq!(schema["properties"]["password"]["writeOnly"], true);
        assert_eq!(schema["additionalProperties"], false);
        for (name, property) in schema["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "input `{name}` has no description");
        }
    }
}
