//! The data folder as the binary sees it: its settings file, its token, its socket, and how it is opened.
//!
//! What is in the database and the stores is the engine's alone.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use surefoot_connector_api::{EgressPolicy, EgressRule};
use surefoot_engine::{Config, Engine, Entropy, Retention};

use crate::failure::Failure;

/// The file `surefoot.toml` of the data folder. Unknown keys are errors.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Where connectors may connect to.
    pub(crate) egress: Egress,
    /// The HTTP server.
    pub(crate) server: Server,
    /// What is kept of what has ended.
    pub(crate) retention: crate::retention::Settings,
}

/// The table `[egress]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Egress {
    /// Hosts that connectors may reach, such as `"db.example.com:1433"` or `"10.0.0.0/8"`.
    pub(crate) allow: Vec<EgressRule>,
}

/// The table `[server]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Server {
    /// Address and port to listen on.
    pub(crate) listen: Option<String>,
    /// Names under which callers reach the server, beside those of the loopback.
    pub(crate) hosts: Vec<String>,
}

impl Settings {
    /// The file's settings; the defaults where there is no file.
    pub(crate) fn read(data: &Path) -> Result<Self> {
        let path = data.join("surefoot.toml");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // Where no folder is, opening the workspace says so.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            Err(error) => return Err(Failure::place("read", &path, &error).into()),
        };
        toml::from_str(&text).map_err(|error| {
            let message = format!("{} is wrong: {}", path.display(), error.to_string().trim_end());
            Failure::usage(message)
                .hint(
                    "It may have `[server]` with `listen` and `hosts`, `[egress]` with `allow`, and `[retention]` with \
                       `age_days`, `executions_max`, `bytes_max` and `trash_age_days`.",
                )
                .into()
        })
    }
}

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
pub(crate) fn open(data: &Path, allow: Vec<EgressRule>, retention: Retention) -> Result<Engine> {
    forbid_dumps();
    let mut config = Config::new(data);
    config.egress = EgressPolicy { allow };
    config.retention = retention;
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
fn forbid_dumps() {
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
    fn settings_are_read_and_unknown_keys_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Settings::read(folder.path()).unwrap().egress.allow.is_empty());
        let write = |text: &str| fs::write(folder.path().join("surefoot.toml"), text).unwrap();
        write("[server]\nlisten = \"127.0.0.1:1\"\nhosts = [\"a.example\"]\n[egress]\nallow = [\"10.0.0.0/8\"]\n");
        let settings = Settings::read(folder.path()).unwrap();
        assert_eq!(settings.server.listen.as_deref(), Some("127.0.0.1:1"));
        assert_eq!(settings.egress.allow[0].to_string(), "10.0.0.0/8");
        for wrong in
            ["[retention]\nage_hours = 1\n", "[server]\nport = 1\n", "[egress]\nallow = [\"a b\"]\n", "x = 1\n"]
        {
            write(wrong);
            let error = Settings::read(folder.path()).unwrap_err();
            assert_eq!(crate::failure::report(&error).exit_code, crate::exit_codes::USAGE, "{wrong}");
        }
    }

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
