//! Which contents a database names: the blobs of files and of what journals read, the components of flows.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde::de::IgnoredAny;

use crate::journal::{Record, decode_row};
use crate::store::StoreResult;

/// Digests, each with one of those who name it, in words.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// Contents of files: of all records, trash included, and what journals have read.
    pub(crate) blobs: BTreeMap<String, String>,
    /// Components: every version of every flow, and what any execution runs or ran on.
    pub(crate) components: BTreeMap<String, String>,
}

impl Named {
    /// Paths in a data folder, with digest and namer.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (String, &str, &str)> {
        let blobs = self
            .blobs
            .iter()
            .map(|(sha256, who)| (format!("blobs/sha256/{}/{sha256}", &sha256[..2]), sha256.as_str(), who.as_str()));
        let components =
            self.components.iter().map(|(sha256, who)| (component_path(sha256), sha256.as_str(), who.as_str()));
        blobs.chain(components)
    }
}

fn component_path(sha256: &str) -> String {
    format!("components/{sha256}.wasm")
}

/// Whether this is a hexadecimal SHA-256, as it stands in names of files.
pub(super) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Everything that the database names. Reads all journals in one pass; what cannot be decoded there names nothing, and
/// is for `doctor` to tell.
pub(crate) fn named_contents(connection: &Connection) -> StoreResult<Named> {
    let mut named = Named::default();
    let files = "SELECT json_extract(data, '$.sha256'), 'file `' || name || '`' FROM records
         WHERE kind = 'file' AND json_extract(data, '$.sha256') IS NOT NULL";
    collect(connection, files, &mut named.blobs)?;
    let versions = "SELECT version, 'execution ' || max(id) FROM executions WHERE version NOT LIKE 'native:%'
         GROUP BY version
         UNION ALL SELECT versions.digest, 'flow `' || coalesce(records.name, versions.flow_id) || '`' FROM versions
         LEFT JOIN records ON records.kind = 'flow' AND records.id = versions.flow_id
         UNION ALL SELECT json_extract(data, '$.version'), 'flow `' || name || '`' FROM records
         WHERE kind = 'flow' AND json_extract(data, '$.version') IS NOT NULL";
    collect(connection, versions, &mut named.components)?;
    let mut statement = connection.prepare("SELECT execution, records FROM journal")?;
    let mut rows = statement.query([])?;
    let mut records: Vec<Record<IgnoredAny>> = Vec::new();
    while let Some(row) = rows.next()? {
        records.clear();
        let decoded = row.get_ref(1)?.as_blob().is_ok_and(|bytes| decode_row(bytes, &mut records).is_ok());
        for sha256 in records.iter().filter_map(Record::content_read).filter(|sha256| decoded && is_digest(sha256)) {
            if !named.blobs.contains_key(sha256) {
                named.blobs.insert(sha256.to_owned(), execution_named(connection, row.get(0)?)?);
            }
        }
    }
    Ok(named)
}

fn collect(connection: &Connection, sql: &str, into: &mut BTreeMap<String, String>) -> StoreResult<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let sha256: String = row.get(0)?;
        if is_digest(&sha256) {
            into.insert(sha256, row.get(1)?);
        }
    }
    Ok(())
}

fn execution_named(connection: &Connection, key: i64) -> StoreResult<String> {
    let mut statement = connection.prepare_cached("SELECT id FROM executions WHERE rowid = ?1")?;
    let mut rows = statement.query([key])?;
    let id = rows.next()?.map(|row| row.get::<_, String>(0)).transpose()?;
    Ok(format!("execution {}", id.unwrap_or_else(|| key.to_string())))
}
