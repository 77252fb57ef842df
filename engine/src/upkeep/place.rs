//! Places that the one who asks for a backup or a restore names: what cannot be done there is theirs to mend. It is
//! said with its cause, and not as something that broke inside.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::manifest::refused;
use crate::engine::{EngineError, EngineResult, create_folder, io};

/// An error of the file system anywhere but in `own`, in words for the one who named the place.
pub(super) fn theirs(error: EngineError, own: Option<&Path>) -> EngineError {
    match error {
        EngineError::Io { doing, path, source } if own.is_none_or(|own| !path.starts_with(own)) => {
            refused(format!("{doing} {}: {source}; {}", path.display(), what_to_do(source.kind())))
        }
        error => error,
    }
}

fn what_to_do(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "the disk of that folder is full: make room there, or name a folder on another disk"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "name a folder where you may write",
        _ => "name another folder",
    }
}

/// Makes the folder that `path` is to lie in, if `check` lets it lie there. Returns that folder, without links.
pub(super) fn parent_of(path: &Path, check: impl Fn(&Path) -> EngineResult<()>) -> EngineResult<PathBuf> {
    let absolute = std::path::absolute(path).map_err(io("finding", path))?;
    let Some(parent) = absolute.parent().filter(|_| path.file_name().is_some()) else {
        return Err(refused(format!("{} is no folder that can be made; name another one", path.display())));
    };
    // Before anything is made, and again when every link on the way is known.
    let known = |folder: &Path| Some((folder.to_owned(), folder.canonicalize().ok()?));
    let (there, real) = parent.ancestors().find_map(known).unwrap_or_default();
    check(&real.join(parent.strip_prefix(there).unwrap_or(parent)))?;
    create_folder(parent)?;
    let made = parent.canonicalize().map_err(io("opening", parent))?;
    check(&made)?;
    Ok(made)
}
