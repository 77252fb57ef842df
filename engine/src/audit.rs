//! The audit log: what somebody changed, when, and what stood there before and after, without secrets.
//!
//! An entry is a record of kind `audit`, written in the transaction of the change that it tells of, and never changed.
//! What flows change is in their journals, and not here.

use rusqlite::Connection;
use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::core::Core;
use crate::grant::Grant;
use crate::query::Kind;
use crate::store::records::{self, Stamp};
use crate::store::{StoreResult, executions};

/// A longer document stands in an entry as its size alone, bytes.
const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// What was done, and to what.
pub(crate) struct Deed<'a> {
    /// One word, such as `create`.
    pub(crate) action: &'a str,
    pub(crate) kind: Kind,
    /// As stored; null where there was nothing.
    pub(crate) before: Value,
    /// As stored; null where there is nothing now.
    pub(crate) after: Value,
}

/// Writes an entry.
///
/// # Errors
/// When the deed reaches beyond the grant: where something was, or where it would come to stand.
pub(crate) fn note(core: &Core, connection: &Connection, grant: &Grant, by: &str, deed: Deed<'_>) -> StoreResult<()> {
    let Deed { action, kind, before, after } = deed;
    let there = |document: &Value| !document.is_null();
    grant.check_change(kind, Some(&before).filter(|it| there(it)), Some(&after).filter(|it| there(it)))?;
    insert(core, connection, by, Deed { action, kind, before, after })
}

fn insert(core: &Core, connection: &Connection, by: &str, deed: Deed<'_>) -> StoreResult<()> {
    let Deed { action, kind, before, after } = deed;
    let known = |field: &str| match &after[field] {
        Value::Null => before[field].clone(),
        value => value.clone(),
    };
    let mut entry = json!({
        "action": action, "record_kind": kind.as_str(), "record_id": known("id"), "record_name": known("name"),
    });
    for (field, document) in [("before", before), ("after", after)] {
        if !document.is_null() {
            entry[field] = short(core.present(kind, document));
        }
    }
    let stamp = core.stamp(by);
    let Stamp { new_id: id, .. } = &stamp;
    records::insert(connection, Kind::Audit, id, id, entry.as_object().unwrap_or(&Map::new()), &stamp)
}

/// Writes an entry of something that was done to an execution, which is named and not copied. None where there is none.
pub(crate) fn note_of_execution(
    core: &Core,
    connection: &Connection,
    grant: &Grant,
    by: &str,
    action: &str,
    id: &str,
) -> StoreResult<()> {
    let Some((_, row)) = executions::get(connection, id)? else {
        return Ok(());
    };
    grant.check_execution(connection, id)?;
    let named = json!({ "id": row["id"], "name": row["name"], "status": row["status"] });
    insert(core, connection, by, Deed { action, kind: Kind::Execution, before: named, after: Value::Null })
}

/// Writes the entry that so many entries go, all that were written from one time to another.
pub(crate) fn note_trim(
    core: &Core,
    connection: &Connection,
    entries: u64,
    oldest: Timestamp,
    until: Timestamp,
) -> StoreResult<()> {
    let (oldest, until) = (oldest.to_string(), until.to_string());
    let gone = json!({ "id": "audit", "name": "audit log", "entries": entries, "oldest": oldest, "until": until });
    let deed = Deed { action: "delete_old", kind: Kind::Audit, before: gone, after: Value::Null };
    insert(core, connection, "retention", deed)
}

fn short(document: Value) -> Value {
    match document.to_string().len() {
        bytes if bytes > DOCUMENT_BYTES_MAX => json!({ "omitted_bytes": bytes }),
        _ => document,
    }
}
