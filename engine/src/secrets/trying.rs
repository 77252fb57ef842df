//! The inputs that a connector is tried with are the input of an execution, which is stored: those that are secret are
//! sealed in it.

use rusqlite::Connection;
use serde_json::{Value, json};
use surefoot_connector_api::Inputs;

use super::Vault;
use super::saving::is_sealed;
use crate::core::ConnectorTypes;
use crate::query::Kind;
use crate::store::sealed::Place;
use crate::store::{StoreResult, records};

/// The id of the flow that tries a connector.
pub(crate) const TRY: &str = "native:connect";

/// The only member of an object that stands for a sealed input, in hexadecimal.
const SEALED: &str = "sealed";

/// The type of the connector that such an execution tries; none when that is not known any more.
pub(crate) fn type_tried(connection: &Connection, input: &Value) -> StoreResult<Option<String>> {
    let connector = input["connector"].as_str().unwrap_or_default();
    if let Some(ty) = connector.strip_prefix("type:") {
        return Ok(Some(ty.to_owned()));
    }
    let record = records::get(connection, Kind::Connector, connector)?;
    Ok(record.and_then(|record| Some(record["type"].as_str()?.to_owned())))
}

/// Seals the secret inputs in the input of such an execution; of an unknown type, all. What is sealed stays as it is.
/// Returns whether there were any.
pub(crate) fn seal_tried(
    vault: &Vault,
    connectors: &ConnectorTypes,
    connection: &Connection,
    input: &mut Value,
) -> StoreResult<bool> {
    let ty = type_tried(connection, input)?;
    let rules = ty.and_then(|ty| connectors.get(ty.as_str())).map(|connector| &connector.rules);
    let mut is_changed = false;
    for (name, value) in input.get_mut("inputs").and_then(Value::as_object_mut).into_iter().flatten() {
        if rules.is_none_or(|rules| is_sealed(rules, name, value)) && opened(vault, name, value).is_none() {
            *value = json!({ SEALED: hex::encode(vault.seal(&place(name), value)) });
            is_changed = true;
        }
    }
    Ok(is_changed)
}

/// Opens what [`seal_tried`] sealed.
pub(crate) fn open_tried(vault: &Vault, inputs: &mut Inputs) {
    for (name, value) in inputs {
        if let Some(open) = opened(vault, name, value) {
            *value = open;
        }
    }
}

/// None of what was not sealed with this key.
fn opened(vault: &Vault, name: &str, value: &Value) -> Option<Value> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let sealed = hex::decode(members.get(SEALED)?.as_str()?).ok()?;
    vault.open(&place(name), &sealed).ok()
}

/// Not bound to one execution: another one may be run with the same input.
fn place(name: &str) -> Place {
    Place { kind: "execution".to_owned(), id: String::new(), name: name.to_owned(), version: 0 }
}
