//! What an opening makes sure of: that the key is the one of the workspace, and that nothing secret is left in clear by
//! an engine that did not encrypt, or by a connector type that did not call an input secret. And the change of the key.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use serde_json::{Value, json};
use surefoot_connector_api::REDACTED;

use super::saving::is_sealed;
use super::trying::{TRY, open_tried, seal_tried};
use super::{SecretsKey, Vault};
use crate::core::ConnectorTypes;
use crate::query::Kind;
use crate::store::{self, StoreError, StoreResult, sealed};

/// In the table `meta`: which key the sealed values have.
pub(crate) const KEY_CHECK: &str = "secrets_key_check";

/// In the table `meta`: 1 when nothing is left in clear of what older engines wrote.
const SWEPT: &str = "secrets_swept";

/// Makes sure of both, before anything else is done with the workspace.
///
/// # Errors
/// `Damaged` when the key is another one than that of the values.
pub(super) fn settle(
    connection: &Connection,
    key: &SecretsKey,
    vault: &Vault,
    connectors: &ConnectorTypes,
) -> StoreResult<()> {
    let transaction = connection.unchecked_transaction()?;
    check_key(&transaction, key)?;
    let is_swept = store::meta(&transaction, SWEPT)? == Some(1);
    let mut found = seal_connectors(&transaction, vault, connectors)?;
    if !is_swept {
        found += change_tried(&transaction, |connection, input| seal_tried(vault, connectors, connection, input))?;
    }
    if found > 0 {
        set_meta(&transaction, SWEPT, 0)?;
    } else if !is_swept && is_new(&transaction)? {
        set_meta(&transaction, SWEPT, 1)?;
    }
    transaction.commit()?;
    if store::meta(connection, SWEPT)? == Some(1) {
        return Ok(());
    }
    if found > 0 {
        tracing::info!(found, "secrets that stood in clear are encrypted now; backups of before still have them");
    }
    // Where there is no room for it, that is no reason not to work: the next opening tries again.
    match store::forget_deleted(connection) {
        Ok(()) => set_meta(connection, SWEPT, 1),
        Err(error) => {
            tracing::warn!(%error, "the database could not be written anew; bytes of old secrets may be left in it");
            Ok(())
        }
    }
}

/// Encrypts everything with another key, in one transaction. Returns how many values that were.
///
/// # Errors
/// `Damaged` when the old key is not that of the values.
pub(crate) fn reseal(
    connection: &Connection,
    old: (&SecretsKey, &Vault),
    new: (&SecretsKey, &Vault),
) -> StoreResult<usize> {
    let transaction = connection.unchecked_transaction()?;
    check_key(&transaction, old.0)?;
    let values = sealed::all(&transaction)?;
    for (place, bytes) in &values {
        sealed::replace(&transaction, place, &new.1.seal(place, &old.1.open(place, bytes)?))?;
    }
    let no_types = BTreeMap::new();
    change_tried(&transaction, |connection, input| {
        let mut open = input["inputs"].as_object().cloned().unwrap_or_default();
        open_tried(old.1, &mut open);
        open.retain(|name, value| input["inputs"][name] != *value);
        let mut sealed = json!({ "inputs": open });
        let is_changed = seal_tried(new.1, &no_types, connection, &mut sealed)?;
        if let (true, Some(inputs), Some(Value::Object(sealed))) =
            (is_changed, input.get_mut("inputs").and_then(Value::as_object_mut), sealed.get_mut("inputs"))
        {
            inputs.append(sealed);
        }
        Ok(is_changed)
    })?;
    set_meta(&transaction, KEY_CHECK, new.0.check_value())?;
    transaction.commit()?;
    store::forget_deleted(connection)?;
    Ok(values.len())
}

/// The first key is the workspace's, and any when there is nothing to open.
fn check_key(connection: &Connection, key: &SecretsKey) -> StoreResult<()> {
    let check = key.check_value();
    match store::meta(connection, KEY_CHECK)? {
        Some(known) if known == check => Ok(()),
        Some(_) if !sealed::all(connection)?.is_empty() => Err(StoreError::Damaged(
            "the key of the secrets is not the one that they were encrypted with; give that one, see `[secrets]` in \
             surefoot.toml, or change it with `surefoot secret rekey`"
                .to_owned(),
        )),
        _ => set_meta(connection, KEY_CHECK, check),
    }
}

/// Seals secret inputs that stand in the records of connectors, those in the trash included.
fn seal_connectors(connection: &Connection, vault: &Vault, connectors: &ConnectorTypes) -> StoreResult<usize> {
    let mut statement = connection.prepare("SELECT id, data FROM records WHERE kind = 'connector'")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut found = 0;
    for (id, data) in rows.collect::<Result<Vec<_>, _>>()? {
        // What is damaged is shown by `doctor`, and keeps nothing from opening.
        let Ok(mut record) = serde_json::from_str::<Value>(&data) else { continue };
        let Some(ty) = record["type"].as_str().and_then(|ty| connectors.get(ty)) else { continue };
        let before = found;
        for (name, value) in record.get_mut("config").and_then(Value::as_object_mut).into_iter().flatten() {
            if is_sealed(&ty.rules, name, value) && *value != REDACTED {
                sealed::put(connection, Kind::Connector, &id, name, |place| vault.seal(place, value))?;
                *value = REDACTED.into();
                found += 1;
            }
        }
        if found > before {
            let sql = "UPDATE records SET data = ?2 WHERE kind = 'connector' AND id = ?1";
            connection.execute(sql, params![id, record.to_string()])?;
        }
    }
    Ok(found)
}

/// Changes the inputs of executions that try connectors. Returns how many were changed.
fn change_tried(
    connection: &Connection,
    mut change: impl FnMut(&Connection, &mut Value) -> StoreResult<bool>,
) -> StoreResult<usize> {
    let mut statement = connection.prepare("SELECT rowid, input FROM executions WHERE flow_id = ?1")?;
    let rows = statement.query_map([TRY], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
    let mut changed = 0;
    for (rowid, input) in rows.collect::<Result<Vec<_>, _>>()? {
        let Ok(mut input) = serde_json::from_str::<Value>(&input) else { continue };
        if change(connection, &mut input)? {
            connection
                .execute("UPDATE executions SET input = ?2 WHERE rowid = ?1", params![rowid, input.to_string()])?;
            changed += 1;
        }
    }
    Ok(changed)
}

/// Whether nothing was ever stored.
fn is_new(connection: &Connection) -> StoreResult<bool> {
    let sql = "SELECT NOT EXISTS (SELECT 1 FROM records) AND NOT EXISTS (SELECT 1 FROM executions)";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

fn set_meta(connection: &Connection, key: &str, value: i64) -> StoreResult<()> {
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![key, value])?;
    Ok(())
}
