//! What stands in the data folder around the database: the folder itself, the lock, the key; and how each is taken.

use std::fs::{File, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{EngineError, EngineResult};
use crate::core::Config;
use crate::key::check_value;
use crate::store::{self, Epoch};
use crate::upkeep;

/// What an upload left that the process did not live to end.
pub(super) fn remove_unended_uploads(data: &Path) -> EngineResult<()> {
    let staging = data.join("blobs/staging");
    match std::fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("emptying", &staging)(error)),
        _ => Ok(()),
    }
}

/// An error of the file system.
pub(crate) fn io(doing: &'static str, path: &Path) -> impl Fn(std::io::Error) -> EngineError {
    move |source| EngineError::Io { doing, path: path.to_owned(), source }
}

/// Makes a folder for the owner alone, and those above it.
pub(crate) fn create_folder(path: &Path) -> EngineResult<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("creating", path))
}

/// Says so at once, instead of at the first file that SQLite cannot make.
pub(super) fn ensure_writable(path: &Path) -> EngineResult<()> {
    let access = nix::unistd::access(path, nix::unistd::AccessFlags::W_OK);
    access.map_err(|error| io("writing to", path)(error.into()))
}

/// A data folder that this process has, and its database.
pub(super) struct Taken {
    pub(super) lock_file: File,
    pub(super) key: [u8; 32],
    pub(super) database: PathBuf,
    pub(super) connection: rusqlite::Connection,
    pub(super) epoch: Epoch,
}

impl Taken {
    /// Takes it, makes what is missing in it, and opens the database.
    pub(super) fn open(config: &Config) -> EngineResult<Self> {
        let data = &config.data;
        create_folder(data)?;
        ensure_writable(data)?;
        let lock_file = hold(data)?;
        upkeep::refuse_newer(data)?;
        upkeep::lost::begin(data)?;
        for folder in ["blobs", "components"] {
            create_folder(&data.join(folder))?;
        }
        remove_unended_uploads(data)?;
        let key = workspace_key(data, config)?;
        let database = data.join(upkeep::DATABASE);
        let (connection, epoch) = open_database(&database, &key, config)?;
        upkeep::lost::finish(data)?;
        Ok(Self { lock_file, key, database, connection, epoch })
    }
}

/// Takes the workspace's lock, or says who has it.
pub(crate) fn hold(data: &Path) -> EngineResult<File> {
    let path = data.join(upkeep::LOCK);
    let io = io("opening", &path);
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(&io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(held_by(data, file)),
        Err(TryLockError::Error(source)) => return Err(io(source)),
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(&io)?;
    writeln!(file, "{}", std::process::id()).map_err(io)?;
    Ok(file)
}

/// Says who has the workspace's lock, from the lock's file.
pub(crate) fn held_by(data: &Path, mut lock: File) -> EngineError {
    let mut holder = String::new();
    if let Err(error) = lock.read_to_string(&mut holder) {
        return io("reading", &data.join(upkeep::LOCK))(error);
    }
    let holder = match holder.trim() {
        // It has the lock, and did not come to write its number yet.
        "" => "another process".to_owned(),
        number => format!("process {number}"),
    };
    EngineError::Held { path: data.to_owned(), holder }
}

/// Opens the database, with a backup before it is migrated.
pub(super) fn open_database(
    database: &Path,
    key: &[u8; 32],
    config: &Config,
) -> EngineResult<(rusqlite::Connection, Epoch)> {
    upkeep::back_up_older(&config.data, config.clock.now())?;
    make_private(database)?;
    Ok(store::open_for_writing(database, check_value(key))?)
}

/// Makes the file of a database that is not there, for the owner alone, and closes one to others that older engines
/// made. SQLite gives its log the same mode.
fn make_private(database: &Path) -> EngineResult<()> {
    match File::options().write(true).create_new(true).mode(0o600).open(database) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        created => return created.map(drop).map_err(io("creating", database)),
    }
    for end in ["", "-wal", "-shm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(end);
        let path = PathBuf::from(path);
        let is_open = path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0);
        if is_open && let Err(error) = std::fs::set_permissions(&path, Permissions::from_mode(0o600)) {
            tracing::warn!(path = %path.display(), %error, "it cannot be closed to others");
        }
    }
    Ok(())
}

/// The workspace's key: made once, kept outside the database.
pub(super) fn workspace_key(data: &Path, config: &Config) -> EngineResult<[u8; 32]> {
    let path = data.join(upkeep::KEY);
    if path.exists() {
        let bytes = std::fs::read(&path).map_err(io("reading", &path))?;
        return <[u8; 32]>::try_from(bytes).map_err(|_| {
            EngineError::Failed(format!(
                "{} is damaged: it must have 32 bytes; restore it from a backup",
                path.display()
            ))
        });
    }
    if upkeep::lost::has_database(data)? {
        // A new key would make every execution that is under way look as if its flow had changed.
        return Err(EngineError::Failed(format!("{} is missing; restore it from a backup", path.display())));
    }
    let key = config.entropy.bytes32();
    let temporary = data.join("key.part");
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(io("creating", &path))?;
    file.write_all(&key).and_then(|()| file.sync_all()).map_err(io("writing", &path))?;
    std::fs::rename(&temporary, &path).map_err(io("renaming", &path))?;
    // Before there is anything that cannot be read without it.
    File::open(data).and_then(|folder| folder.sync_all()).map_err(io("syncing", data))?;
    Ok(key)
}
