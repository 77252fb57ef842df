//! The format of a database on disk, read without touching it.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{StoreError, StoreResult, migrations};

/// The format that this engine writes: how many migrations there are.
pub(crate) const FORMAT: i64 = migrations::STEPS.len() as i64;

/// Where SQLite keeps `user_version` in a database file: 4 bytes, big-endian.
const USER_VERSION_AT: u64 = 60;

/// The format of a database; none when there is none yet. Neither the database nor its log is changed.
pub(crate) fn format_of(database: &Path) -> StoreResult<Option<i64>> {
    let failed = |error: std::io::Error| StoreError::Failed(format!("reading {}: {error}", database.display()));
    let mut file = match File::open(database) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if file.metadata().map_err(failed)?.len() == 0 {
        return Ok(None);
    }
    let mut bytes = [0; 4];
    file.seek(SeekFrom::Start(USER_VERSION_AT)).and_then(|_| file.read_exact(&mut bytes)).map_err(failed)?;
    let in_file = i64::from(u32::from_be_bytes(bytes));
    // A migration that was committed may still stand in the log alone. Only then SQLite has to look, and it must not
    // take the log into the database when it closes.
    if in_file > FORMAT || !has_log(database) {
        return Ok(Some(in_file));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(Some(connection.pragma_query_value(None, "user_version", |row| row.get(0))?))
}

/// Whether something of the database may stand in its log alone.
pub(crate) fn has_log(database: &Path) -> bool {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    PathBuf::from(log).metadata().is_ok_and(|log| log.len() > 0)
}

#[cfg(test)]
mod tests {
    /// For each format of the database, the newest format of journals in it.
    const FORMATS: &[(i64, u8)] = &[
        (1, 1),
        (2, 2),
        (3, 2),
        (4, 2),
        (5, 2),
        (6, 2),
        (7, 2),
        (8, 2),
        (9, 2),
        (10, 2),
        (11, 2),
        (12, 2),
        (13, 2),
        (14, 2),
        (15, 2),
        (16, 3),
        (17, 3),
        (18, 3),
    ];

    /// An engine refuses a workspace by its database alone. So a new format of journals comes with a migration, if only
    /// an empty one, and a line here.
    #[test]
    fn a_newer_journal_stands_in_a_newer_database() {
        assert_eq!(FORMATS.last(), Some(&(super::FORMAT, crate::journal::FORMAT)));
        assert!(FORMATS.is_sorted_by(|(database, journal), (next, newer)| database < next && journal <= newer));
    }
}
