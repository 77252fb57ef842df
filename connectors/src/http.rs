//! Connector type `http`: one request to an HTTP server, HTTP/1.1, plain or with TLS, and its answer.
//!
//! hyper speaks the protocol on a stream that the dialer of the call has opened, for each redirect too: so the egress
//! policy sees every address. A client library that opens its own connections is not used for that reason, and neither
//! are proxies of the environment. A call has its connection to itself.
//!
//! | module | |
//! |---|---|
//! | `inputs` | what users write, and the one place where second names and defaults are resolved |
//! | `multipart` | a body of several parts, files among them |
//! | `request` | the request of one hop: its target, headers and body |
//! | `connection` | a stream to the server of one hop, with TLS, that notices when nothing moves |
//! | `exchange` | request and answer, hop after hop |
//! | `redirect` | where an answer sends us on to, and what may go along |
//! | `answer` | what an answer means, and its body, to a file or inline |
//! | `content` | that body, unpacked where it comes packed |
//! | `fate` | what is known about the effect when something fails |

mod answer;
mod connection;
mod content;
mod exchange;
mod fate;
mod inputs;
mod multipart;
mod redirect;
mod request;

use std::sync::LazyLock;

use async_trait::async_trait;
use serde_json::Value;
use surefoot_connector_api::{CallContext, CallError, Connector, Effect, Inputs, Message};

use self::answer::HttpOutput;
use self::inputs::{HttpInputs, Plan};
use crate::inputs::effect_override;
use crate::schema;

/// The connector type `http`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Http;

static INPUT_SCHEMA: LazyLock<Value> = LazyLock::new(schema::schema_of::<HttpInputs>);
static OUTPUT_SCHEMA: LazyLock<Value> = LazyLock::new(schema::schema_of::<HttpOutput>);

#[async_trait]
impl Connector for Http {
    fn type_name(&self) -> &'static str {
        "http"
    }

    fn description(&self) -> &'static str {
        "Sends a request to an HTTP server, such as a REST API, and gives its answer."
    }

    fn input_schema(&self) -> Value {
        INPUT_SCHEMA.clone()
    }

    fn output_schema(&self) -> Value {
        OUTPUT_SCHEMA.clone()
    }

    /// GET, HEAD and OPTIONS read, PUT and DELETE are idempotent, POST and PATCH write, unless the input `effect` says
    /// otherwise.
    fn effect(&self, inputs: &Inputs) -> Effect {
        if let Some(effect) = effect_override(inputs) {
            return effect;
        }
        match inputs.get("method").map(|method| method.as_str().unwrap_or_default()) {
            None | Some("GET" | "HEAD" | "OPTIONS") => Effect::Read,
            Some("PUT" | "DELETE") => Effect::Idempotent,
            Some(_) => Effect::Write,
        }
    }

    /// The document as the body of a POST. The same twice is the same as once for whoever looks at its id, which they
    /// are told to do.
    fn delivery(&self, stored: &Inputs, message: &Message<'_>) -> Result<Inputs, String> {
        if message.to.is_some() {
            return Err("a connector of type `http` delivers to its `url`; leave out `to`".to_owned());
        }
        if !stored.contains_key("url") && !stored.contains_key("base_url") {
            return Err("the connector has no `url` to deliver to".to_owned());
        }
        let mut inputs = Inputs::new();
        // Of what is stored nothing else is the body, or takes the answer away.
        for other in ["text", "form", "urlencoded", "multipart", "file", "dst"]
            .into_iter()
            .filter(|name| stored.contains_key(*name))
        {
            inputs.insert(other.to_owned(), Value::Null);
        }
        inputs.insert("method".to_owned(), "POST".into());
        inputs.insert("json".to_owned(), message.document.clone());
        inputs.insert("message_id".to_owned(), message.id.into());
        inputs.insert("effect".to_owned(), "idempotent".into());
        Ok(inputs)
    }

    async fn call(&self, context: &CallContext<'_>, inputs: Inputs) -> Result<Value, CallError> {
        let reads = self.effect(&inputs) == Effect::Read;
        let plan = Plan::new(schema::parse::<HttpInputs>(&inputs)?)?;
        let output = exchange::perform(context, &plan, reads).await?;
        Ok(serde_json::to_value(output).expect("an output is plain data with text keys"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_is_described_and_secrets_are_hidden() {
        let schema = Http.input_schema();
        for (name, property) in schema["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "input `{name}` has no description");
        }
        for secret in ["password", "token", "client_key", "secret_headers", "secret_query", "signing_secret"] {
            assert_eq!(schema["properties"][secret]["writeOnly"], true, "{secret}: {schema:#}");
        }
    }
}
