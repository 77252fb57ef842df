//! The secrets that callers of webhooks sign with: sealed as all others, and opened for the one who checks signatures.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::Vault;
use crate::clock::Timestamp;
use crate::engine::WebhookCredential;
use crate::query::Kind;
use crate::store::{StoreResult, records, sealed};

/// Names of the sealed values, and of the fields of an opened record: the present one, and the one before.
const NAMES: (&str, &str) = WebhookCredential::SigningSecret.fields();

/// Seals the secret of the webhook with that id, or with none forgets it. With `old_until` the present one stays beside
/// it. Returns the fields of the record that tell of it.
pub(crate) fn seal(
    vault: &Vault,
    connection: &Connection,
    id: &str,
    new: Option<&str>,
    old_until: Option<Timestamp>,
) -> StoreResult<Value> {
    let (present_name, old_name) = NAMES;
    let present = sealed::of(connection, Kind::Webhook, id)?.into_iter().find(|(place, _)| place.name == present_name);
    sealed::remove(connection, Kind::Webhook, id, old_name)?;
    let Some(new) = new else {
        sealed::remove(connection, Kind::Webhook, id, present_name)?;
        return Ok(json!({ old_name: null }));
    };
    let old = match (present, old_until) {
        (Some((place, bytes)), Some(until)) => {
            let value = vault.open(&place, &bytes)?;
            sealed::put(connection, Kind::Webhook, id, old_name, |place| vault.seal(place, &value))?;
            json!({ "until": until.to_string() })
        }
        _ => Value::Null,
    };
    sealed::put(connection, Kind::Webhook, id, present_name, |place| vault.seal(place, &new.into()))?;
    Ok(json!({ old_name: old }))
}

/// Reads the webhook with that name or id, with its secrets.
pub(crate) fn open_webhook(vault: &Vault, connection: &Connection, key: &str) -> StoreResult<Value> {
    let mut record = records::require(connection, Kind::Webhook, key)?;
    for (place, bytes) in sealed::of(connection, Kind::Webhook, record["id"].as_str().unwrap_or_default())? {
        let value = vault.open(&place, &bytes)?;
        if place.name == NAMES.0 {
            record[NAMES.0] = value;
        } else if place.name == NAMES.1 && record[NAMES.1].is_object() {
            record[NAMES.1]["value"] = value;
        }
    }
    Ok(record)
}
