//! The data folder as the binary sees it: its token, its socket, and how it is opened.
//!
//! What is in the database and the stores is the engine's alone.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use surefoot_connector_api::EgressPolicy;
use surefoot_engine::{Config, Engine, Entropy};
use surefoot_web::PublicUrl;

use crate::failure::Failure;
use crate::settings::Settings;

/// The socket of the server on that data folder.
pub(crate) fn socket(data: &Path) -> PathBuf {
    data.join("surefoot.sock")
}

/// Whether there is a workspace, if only a damaged one, or somebody made the folder ready for one.
pub(crate) fn is_there(data: &Path) -> bool {
    ["key", "surefoot.db", "surefoot.db-wal", "blobs", "components", "surefoot.toml"]
        .iter()
        .any(|file| data.join(file).exists())
}

/// Opens the workspace, creating it where there is none, and begins to work.
///
/// # Errors
/// When another process holds it; the failure says which.
pub(crate) fn open(data: &Path, settings: &Settings) -> Result<Engine> {
    forbid_dumps();
    let mut config = Config::new(data);
    config.egress = EgressPolicy { allow: settings.egress.allow.clone() };
    config.retention = settings.retention.of_engine();
    config.secrets_key = settings.secrets.key(data)?;
    config.links = settings.server.public_url.as_ref().map(PublicUrl::links);
    config.redaction = crate::logging::redaction();
    Ok(Engine::open(config, surefoot_connectors::all()).map_err(Failure::from)?)
}

/// The token that the API asks of callers over TCP: made at the first start, kept in the file `token`, mode 0600.
pub(crate) fn token(data: &Path) -> Result<String> {
    let path = data.join("token");
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {
            let message = format!("the token file {} is empty", path.display());
            return Err(Failure::usage(message).hint("Remove it: the next start makes a new one.").into());
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
    let token = new_secret();
    // Complete or not there at all, whatever happens meanwhile.
    let temporary = data.join("token.part");
    create_folder(data)?;
    let write = || -> std::io::Result<()> {
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        writeln!(file, "{token}")?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(token)
}

/// A fresh secret that can be typed and put into an address: 256 bits.
pub(crate) fn new_secret() -> String {
    hex::encode(Entropy::System.bytes32())
}

fn create_folder(data: &Path) -> Result<()> {
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    created.map_err(|error| Failure::place("make the folder", data, &error).into())
}

/// This process will hold keys and passwords: no core dump and no debugger of the same user may show them.
pub(crate) fn forbid_dumps() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!(%error, "the process stays dumpable");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_token_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let first = token(&data).unwrap();
        assert_eq!((first.len(), token(&data).unwrap()), (64, first));
        let mode = fs::metadata(data.join("token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(data.join("token"), "\n").unwrap();
        assert!(token(&data).is_err(), "an empty token must let nobody in");
    }
}
