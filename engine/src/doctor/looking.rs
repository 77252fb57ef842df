//! How a workspace is opened that is only looked at, where it can be written and where it cannot.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::engine::{self, EngineError, EngineResult, io};
use crate::store::{self, StoreError};
use crate::upkeep::LOCK;

/// Who may change the workspace meanwhile.
pub(super) enum Held {
    /// Nobody but this process, which has the lock.
    Ours(#[expect(dead_code, reason = "it is held, not used")] File),
    /// The folder cannot be written, so that the lock, where there is one, only says that nobody here has it.
    ByNobodyHere(#[expect(dead_code, reason = "it is held, not used")] Option<File>),
}

/// Takes the lock as far as the folder allows it.
///
/// # Errors
/// When another process has it.
pub(super) fn hold(data: &Path) -> EngineResult<Held> {
    match engine::hold(data) {
        Err(EngineError::Io { source, .. }) if source.kind() == ErrorKind::ReadOnlyFilesystem => {}
        held => return held.map(Held::Ours),
    }
    let path = data.join(LOCK);
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Held::ByNobodyHere(None)),
        opened => opened.map_err(io("opening", &path))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Held::ByNobodyHere(Some(file))),
        Err(TryLockError::WouldBlock) => Err(engine::held_by(data, file)),
        Err(TryLockError::Error(source)) => Err(io("locking", &path)(source)),
    }
}

pub(super) fn open(database: &Path, access: OpenFlags) -> EngineResult<Connection> {
    Ok(Connection::open_with_flags(database, access | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(StoreError::from)?)
}

/// In a folder that cannot be written SQLite can make no files to coordinate with others. Without a log it needs none;
/// with a log it reads those that are there.
pub(super) fn open_unchanging(database: &Path) -> EngineResult<Connection> {
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY;
    if store::has_log(database) {
        let connection = open(database, read_only)?;
        let look = connection.query_row("PRAGMA schema_version", [], |_| Ok(()));
        return match look.map_err(|error| error.sqlite_error_code()) {
            Err(Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)) => Err(needs_a_copy(database)),
            // What else is wrong is found by the checks.
            _ => Ok(connection),
        };
    }
    // In an address these characters mean something.
    let path = database.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    open(Path::new(&format!("file:{path}?immutable=1")), read_only | OpenFlags::SQLITE_OPEN_URI)
}

fn needs_a_copy(database: &Path) -> EngineError {
    let text = format!(
        "the log of {} cannot be read without its index, which cannot be made in a folder that cannot be written; copy \
         the folder to where you may write, and look at the copy",
        database.display()
    );
    StoreError::invalid(text).into()
}
