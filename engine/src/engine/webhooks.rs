//! Webhooks, for the one who answers calls: their records, and what callers must show.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Engine, EngineResult};
use crate::audit::{self, Deed};
use crate::clock::Timestamp;
use crate::files::sha256_hex;
use crate::query::Kind;
use crate::secrets::signing;
use crate::store::records;

/// What a webhook's callers may have to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookCredential {
    /// The key. Its digest alone is stored, in the field `key_sha256`.
    Key,
    /// The secret that calls are signed with, which is sealed: it must be known to check a signature.
    SigningSecret,
}

impl WebhookCredential {
    /// The fields of [`webhook_for_call`](Engine::webhook_for_call): the present value, and the one before, `{value,
    /// until}`, as long as it is good too.
    pub const fn fields(self) -> (&'static str, &'static str) {
        match self {
            Self::Key => ("key_sha256", "old_key"),
            Self::SigningSecret => ("signing_secret", "old_signing_secret"),
        }
    }

    fn action(self, is_set: bool) -> &'static str {
        match (self, is_set) {
            (Self::Key, true) => "set_key",
            (Self::Key, false) => "remove_key",
            (Self::SigningSecret, true) => "set_signing_secret",
            (Self::SigningSecret, false) => "remove_signing_secret",
        }
    }
}

impl Engine {
    /// Sets, or with none removes, what a webhook's callers must show. With `old_until` the present one is good too, up
    /// to then.
    pub async fn set_webhook_credential(
        &self,
        webhook: &str,
        credential: WebhookCredential,
        value: Option<&str>,
        old_until: Option<Timestamp>,
        by: &str,
    ) -> EngineResult<Value> {
        let (core, webhook, stamp) = (self.core.clone(), webhook.to_owned(), self.core.stamp(by));
        let (grant, value) = (self.grant.clone(), value.map(str::to_owned));
        self.write(move |connection| {
            let before = grant.record(connection, Kind::Webhook, &webhook)?;
            let id = before["id"].as_str().unwrap_or_default().to_owned();
            let fields = match credential {
                WebhookCredential::Key => key_fields(&before, value.as_deref(), old_until),
                WebhookCredential::SigningSecret => {
                    signing::seal(&core.secrets.vault, connection, &id, value.as_deref(), old_until)?
                }
            };
            records::set_computed(connection, Kind::Webhook, &id, &fields, &stamp)?;
            let after = records::require(connection, Kind::Webhook, &id)?;
            let deed =
                Deed { action: credential.action(value.is_some()), kind: Kind::Webhook, before, after: after.clone() };
            audit::note(&core, connection, &grant, &stamp.who, deed)?;
            Ok(core.present(Kind::Webhook, after))
        })
        .await
    }

    /// A webhook with what its callers must show, for the one who answers calls.
    pub fn webhook_for_call(&self, name: &str) -> EngineResult<Arc<Value>> {
        Ok(self.core.secrets.webhooks.require(&self.core.readers, &self.core.writer, name)?)
    }
}

/// What is stored of a key.
fn key_fields(before: &Value, key: Option<&str>, old_until: Option<Timestamp>) -> Value {
    let (present, old) = WebhookCredential::Key.fields();
    let old_key = match (&before[present], old_until, key) {
        (Value::String(digest), Some(until), Some(_)) => json!({ "value": digest, "until": until.to_string() }),
        _ => Value::Null,
    };
    json!({ present: key.map(|key| sha256_hex(key.as_bytes())), old: old_key })
}
