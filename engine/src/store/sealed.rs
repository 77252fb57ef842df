//! Values that stand encrypted in the database. What is in them, and with which key, is not known here.

use rusqlite::{Connection, params};

use super::StoreResult;
use crate::query::Kind;

/// Where a sealed value stands. It opens there and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Kind of the record that it belongs to.
    pub(crate) kind: String,
    /// That record's id.
    pub(crate) id: String,
    /// Which of the record's values it is.
    pub(crate) name: String,
    /// How often it was set.
    pub(crate) version: i64,
}

/// Sets a value: `seal` gets its place and returns what is stored. Returns the new version.
pub(crate) fn put(
    connection: &Connection,
    kind: Kind,
    id: &str,
    name: &str,
    seal: impl FnOnce(&Place) -> Vec<u8>,
) -> StoreResult<i64> {
    let sql = "SELECT coalesce(max(version), 0) + 1 FROM sealed WHERE kind = ?1 AND id = ?2 AND name = ?3";
    let version = connection.prepare_cached(sql)?.query_row(params![kind.as_str(), id, name], |row| row.get(0))?;
    let place = Place { kind: kind.as_str().to_owned(), id: id.to_owned(), name: name.to_owned(), version };
    let sql = "INSERT INTO sealed (kind, id, name, version, sealed) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (kind, id, name) DO UPDATE SET version = excluded.version, sealed = excluded.sealed";
    connection.prepare_cached(sql)?.execute(params![place.kind, id, name, version, seal(&place)])?;
    Ok(version)
}

/// Stores another form of a value that is there.
pub(crate) fn replace(connection: &Connection, place: &Place, sealed: &[u8]) -> StoreResult<()> {
    let sql = "UPDATE sealed SET sealed = ?4 WHERE kind = ?1 AND id = ?2 AND name = ?3";
    connection.prepare_cached(sql)?.execute(params![place.kind, place.id, place.name, sealed])?;
    Ok(())
}

/// Forgets the value.
pub(crate) fn remove(connection: &Connection, kind: Kind, id: &str, name: &str) -> StoreResult<()> {
    let sql = "DELETE FROM sealed WHERE kind = ?1 AND id = ?2 AND name = ?3";
    connection.prepare_cached(sql)?.execute(params![kind.as_str(), id, name])?;
    Ok(())
}

/// The values of a record.
pub(crate) fn of(connection: &Connection, kind: Kind, id: &str) -> StoreResult<Vec<(Place, Vec<u8>)>> {
    read(connection, "WHERE kind = ?1 AND id = ?2", params![kind.as_str(), id])
}

/// All values, those of records in the trash included.
pub(crate) fn all(connection: &Connection) -> StoreResult<Vec<(Place, Vec<u8>)>> {
    read(connection, "", params![])
}

fn read(
    connection: &Connection,
    which: &str,
    parameters: &[&dyn rusqlite::ToSql],
) -> StoreResult<Vec<(Place, Vec<u8>)>> {
    let sql = format!("SELECT kind, id, name, version, sealed FROM sealed {which} ORDER BY rowid");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(parameters, |row| {
        let place = Place { kind: row.get(0)?, id: row.get(1)?, name: row.get(2)?, version: row.get(3)? };
        Ok((place, row.get(4)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
