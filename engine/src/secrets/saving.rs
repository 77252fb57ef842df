//! What of a record is sealed when it is saved: the value of a secret, the secret inputs of a connector. What stays in
//! the record is what may be shown.

use rusqlite::Connection;
use serde_json::{Map, Value, json};
use surefoot_connector_api::{InputError, InputRules, REDACTED, secret_reference};

use super::VALUE;
use crate::core::Core;
use crate::policy::CallPolicy;
use crate::query::Kind;
use crate::store::records::{self, Saving, Stamp};
use crate::store::{StoreError, StoreResult, sealed};

/// The longest value, bytes.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// What is to be sealed when the record is there.
pub(crate) struct Sealing {
    /// Values that stay as they are, by name; others go.
    kept: Vec<String>,
    /// By name.
    new: Vec<(String, Value)>,
}

impl Core {
    /// Checks what is to be saved, and takes out of it what is to be sealed. None when nothing sealed changes.
    pub(crate) fn take_secrets(
        &self,
        connection: &Connection,
        kind: Kind,
        saving: &Saving,
        fields: &mut Map<String, Value>,
    ) -> StoreResult<Option<Sealing>> {
        match kind {
            Kind::Connector => self.take_secret_inputs(connection, saving.key(), fields),
            Kind::Secret => take_value(connection, saving, fields),
            _ => Ok(None),
        }
    }

    /// Seals what was taken from the fields of the record, in the same transaction. Returns the record as it is then.
    pub(crate) fn seal(
        &self,
        connection: &Connection,
        kind: Kind,
        record: Value,
        sealing: &Sealing,
        stamp: &Stamp,
    ) -> StoreResult<Value> {
        let id = record["id"].as_str().unwrap_or_default();
        for (place, _) in sealed::of(connection, kind, id)? {
            if !sealing.kept.contains(&place.name) && !sealing.new.iter().any(|(name, _)| *name == place.name) {
                sealed::remove(connection, kind, id, &place.name)?;
            }
        }
        let mut version = None;
        for (name, value) in &sealing.new {
            version = Some(sealed::put(connection, kind, id, name, |place| self.secrets.vault.seal(place, value))?);
        }
        match version {
            Some(version) if kind == Kind::Secret => {
                let fields = json!({"version": version, "value_set_at": stamp.now.to_string()});
                records::set_computed(connection, kind, id, &fields, stamp)?;
                records::require(connection, kind, id)
            }
            _ => Ok(record),
        }
    }

    /// A connector's type must exist and its stored inputs must be known ones. A secret that comes back as it was shown
    /// keeps its value.
    fn take_secret_inputs(
        &self,
        connection: &Connection,
        key: &str,
        fields: &mut Map<String, Value>,
    ) -> StoreResult<Option<Sealing>> {
        let present = records::get(connection, Kind::Connector, key)?.unwrap_or_default();
        let ty = fields.get("type").unwrap_or(&present["type"]).as_str().unwrap_or_default().to_owned();
        let Some(connector) = self.connectors.get(ty.as_str()) else {
            let known: Vec<_> = self.connectors.keys().copied().collect();
            let wrong = match ty.is_empty() {
                true => "a connector needs a `type`".to_owned(),
                false => format!("there is no connector type `{ty}`"),
            };
            let text = format!("{wrong}; types are {}", known.join(", "));
            return Err(StoreError::invalid(text));
        };
        CallPolicy::of(fields).map_err(StoreError::invalid)?;
        let mut sealing = Sealing { kept: Vec::new(), new: Vec::new() };
        let config = match fields.get_mut("config") {
            None => return Ok(None),
            Some(config) => config.as_object_mut(),
        };
        let stored = sealed::of(connection, Kind::Connector, present["id"].as_str().unwrap_or_default())?;
        if let Some(config) = &config {
            let checked = connector.rules.validate_stored(config);
            checked.map_err(|error| match error {
                InputError::Extra { name, .. } => {
                    let known = connector.rules.schema()["properties"].as_object();
                    let known: Vec<_> = known.into_iter().flat_map(Map::keys).cloned().collect();
                    let known = known.join(", ");
                    StoreError::invalid(format!("connector type `{ty}` has no input `{name}`; inputs are {known}"))
                }
                error => StoreError::invalid(format!("`config` of the connector: {error}")),
            })?;
        }
        for (name, value) in config.into_iter().flatten() {
            if !is_sealed(&connector.rules, name, value) {
                continue;
            }
            if *value == REDACTED && stored.iter().any(|(place, _)| place.name == *name) {
                sealing.kept.push(name.clone());
                continue;
            }
            if *value == REDACTED {
                let text = format!("input `{name}` is `{REDACTED}`, and no value of it is stored; give the value");
                return Err(StoreError::invalid(text));
            }
            check_length(name, value.to_string().len())?;
            sealing.new.push((name.clone(), std::mem::replace(value, REDACTED.into())));
        }
        Ok(Some(sealing))
    }
}

/// Whether that input of a connector is sealed, and not in its record.
pub(super) fn is_sealed(rules: &InputRules, name: &str, value: &Value) -> bool {
    rules.is_secret(name) && !value.is_null() && value.as_str().and_then(secret_reference).is_none()
}

fn take_value(
    connection: &Connection,
    saving: &Saving,
    fields: &mut Map<String, Value>,
) -> StoreResult<Option<Sealing>> {
    match fields.remove(VALUE) {
        Some(Value::String(text)) if !text.is_empty() => {
            check_length(VALUE, text.len())?;
            Ok(Some(Sealing { kept: Vec::new(), new: vec![(VALUE.to_owned(), text.into())] }))
        }
        Some(_) => Err(StoreError::invalid("the `value` of a secret is a text that is not empty")),
        None => match saving {
            Saving::Either(key) if records::get(connection, Kind::Secret, key)?.is_some() => Ok(None),
            Saving::Present(_) => Ok(None),
            _ => Err(StoreError::invalid("a new secret needs a `value`, a text")),
        },
    }
}

fn check_length(name: &str, bytes: usize) -> StoreResult<()> {
    match bytes {
        0..=VALUE_BYTES_MAX => Ok(()),
        _ => Err(StoreError::invalid(format!("`{name}` has {bytes} bytes; a secret has at most {VALUE_BYTES_MAX}"))),
    }
}
