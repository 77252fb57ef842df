//! Tokens of the API: made, shown once, looked up. Only a digest is stored.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Engine, EngineResult};
use crate::audit::{self, Deed};
use crate::query::Kind;
use crate::store::StoreError;
use crate::store::records::{self, Saving};

/// What each token begins with, for people and for scanners that look for secrets.
const PREFIX: &str = "sft_";

impl Engine {
    /// Makes a token with a `role` and perhaps an `expires_at` and a `description`. Returns its record, and the token,
    /// which nobody can learn again.
    pub async fn create_token(
        &self,
        name: &str,
        fields: Map<String, Value>,
        by: &str,
    ) -> EngineResult<(Value, String)> {
        if fields.contains_key("id") {
            return Err(StoreError::invalid("the id of a token is chosen by the engine").into());
        }
        let (core, name, stamp, by) = (self.core.clone(), name.to_owned(), self.core.stamp(by), by.to_owned());
        let grant = self.grant.clone();
        // The id tells which record to compare with, so that none but that one is looked at.
        let token = format!("{PREFIX}{}_{}", stamp.new_id, hex::encode(core.config.entropy.bytes32()));
        let digest = crate::files::sha256_hex(token.as_bytes());
        let record = self
            .write(move |connection| {
                let record = core.save_record(connection, Kind::Token, &Saving::New(name), &fields, &stamp)?.after;
                let id = record["id"].as_str().unwrap_or_default();
                records::set_computed(connection, Kind::Token, id, &json!({ "secret_sha256": digest }), &stamp)?;
                let record = records::require(connection, Kind::Token, id)?;
                let deed = Deed { action: "create", kind: Kind::Token, before: Value::Null, after: record.clone() };
                audit::note(&core, connection, &grant, &by, deed)?;
                Ok(core.present(Kind::Token, record))
            })
            .await?;
        Ok((record, token))
    }

    /// The record that a token names, with the digest of the token that it belongs to, for the one who compares them.
    /// None for what is no token, or one that was deleted.
    pub fn token_for_call(&self, token: &str) -> EngineResult<Option<Arc<Value>>> {
        match token.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')) {
            Some((id, _)) => self.token(id),
            None => Ok(None),
        }
    }

    /// The record of the token with that id. None for one that was deleted.
    pub fn token(&self, id: &str) -> EngineResult<Option<Arc<Value>>> {
        match self.core.people.tokens.require(&self.core.readers, &self.core.writer, id) {
            // Found by its name, it would be another one's.
            Ok(record) => Ok((record["id"] == id).then_some(record)),
            Err(StoreError::Refused(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
