//! Keeping a workspace: backups, what is restored from them, and what becomes of a workspace of another version.
//!
//! A backup is a folder laid out as a data folder is, with the file `backup.json`, the [`Manifest`], beside. It is
//! whole or not there: it gets its name when everything in it is durable. Nothing here knows what an execution does.

mod backup;
pub(crate) mod lost;
mod manifest;
mod migration;
mod named;
mod place;
mod restore;
mod transfer;
mod unfinished;

pub(crate) use backup::folder_of_backups;
pub use manifest::{BackupFile, Manifest, MissingContent};
pub(crate) use migration::{back_up_older, refuse_newer};
use named::is_digest;
pub(crate) use named::named_contents;
pub use restore::{Restored, restore};
pub(crate) use transfer::file_sha256;
pub(crate) use unfinished::is_abandoned;

/// The database of a data folder.
pub(crate) const DATABASE: &str = "surefoot.db";

/// The workspace's key, in a data folder.
pub(crate) const KEY: &str = "key";

/// Who has a data folder open holds a lock on this file in it, and has written its process id there.
pub(crate) const LOCK: &str = "workspace.lock";

/// The settings of the one who runs the workspace. The engine does not read them; a backup takes them along.
const SETTINGS: &str = "surefoot.toml";

/// Why what was restored stands still. Part of the interface: queries filter by it.
pub(crate) const RESTORED: &str = "restored";
