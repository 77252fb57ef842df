//! What users write, and the one copy that a call makes.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use surefoot_connector_api::{CallError, ErrorClass, workspace_file_name};

use crate::schema::{Seconds, Secret};

/// Inputs of the connector type `scp`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScpInputs {
    /// Name or address of the host.
    pub(super) hostname: String,
    /// TCP port of its SSH server.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1))]
    pub(super) port: u16,
    /// User name at the host.
    pub(super) username: String,
    /// Password of the user. Either this or `key` is needed; with both, the key is tried first.
    pub(super) password: Option<Secret>,
    /// Private key of the user, as OpenSSH or PEM text.
    pub(super) key: Option<Secret>,
    /// What `key` is encrypted with.
    pub(super) passphrase: Option<Secret>,
    /// The host's public key: `ssh-ed25519 AAAA…`, its line of a `known_hosts` file (as `ssh-keyscan` prints it), or
    /// its
    /// fingerprint `SHA256:…`. Several may be given, one a line; each is accepted. Names of hosts in the lines are not
    /// compared. Needed unless `hostkey_check` is false.
    pub(super) hostkey: Option<String>,
    /// False: trust whatever host answers. Whoever can redirect the connection then gets the password and the file.
    #[serde(default = "default_true")]
    pub(super) hostkey_check: bool,
    /// What to read. Either this or `dst` names a file of the workspace as `surefoot:NAME` (or `cloudomation:NAME`),
    /// the
    /// other one a path at the host. A path without a leading `/` begins in the user's home directory.
    src: String,
    /// What to write. An existing file is replaced in place. If it is a directory, the file gets its name there.
    dst: String,
    /// Permissions of an uploaded file, in octal.
    #[serde(default = "default_mode")]
    #[schemars(regex(pattern = "^0?[0-7]{3}$"))]
    mode: String,
    /// When an uploaded file shall count as changed last, in seconds since 1970-01-01 UTC. If not given, the time of
    /// the
    /// upload.
    pub(super) mtime: Option<u64>,
    /// Seconds until the connection stands and the login is done.
    #[serde(default = "default_timeout")]
    connect_timeout: Seconds,
    /// Seconds that the copy may take in all.
    #[serde(default = "default_timeout")]
    copy_timeout: Seconds,
}

/// The one copy that a call makes.
#[derive(Debug)]
pub(super) enum Plan<'a> {
    Download { remote: &'a str, file: &'a str },
    Upload { file: &'a str, remote: &'a str },
}

impl ScpInputs {
    /// The copy to make. Inputs that do not fit together are [`ErrorClass::InvalidInput`].
    pub(super) fn plan(&self) -> Result<Plan<'_>, CallError> {
        if self.key.is_none() && self.password.is_none() {
            return Err(invalid("one of the inputs `key` and `password` is needed"));
        }
        let plan = match (workspace_file_name(&self.src), workspace_file_name(&self.dst)) {
            (None, Some(file)) => Plan::Download { remote: remote_path("src", &self.src)?, file },
            (Some(file), None) => Plan::Upload { file, remote: remote_path("dst", &self.dst)? },
            _ => {
                return Err(invalid(
                    "exactly one of `src` and `dst` must name a file of the workspace, as `surefoot:NAME`",
                ));
            }
        };
        match plan {
            Plan::Download { file: "", .. } | Plan::Upload { file: "", .. } => {
                Err(invalid("the name behind `surefoot:` is empty"))
            }
            plan => Ok(plan),
        }
    }

    /// Permissions of an uploaded file as four octal digits.
    pub(super) fn mode(&self) -> String {
        format!("{:0>4}", self.mode)
    }

    /// How long connecting and logging in may take.
    pub(super) fn connect_limit(&self) -> Duration {
        self.connect_timeout.duration()
    }

    /// How long the copy may take in all.
    pub(super) fn copy_limit(&self) -> Duration {
        self.copy_timeout.duration()
    }
}

fn remote_path<'a>(name: &str, path: &'a str) -> Result<&'a str, CallError> {
    if path.is_empty() {
        return Err(invalid(format!("input `{name}` is empty")));
    }
    if path.contains(['\r', '\n', '\0']) {
        return Err(invalid(format!("input `{name}` contains a line break or a null character")));
    }
    Ok(path)
}

pub(super) fn invalid(message: impl Into<String>) -> CallError {
    CallError::not_sent(ErrorClass::InvalidInput, message)
}

fn default_port() -> u16 {
    22
}

fn default_true() -> bool {
    true
}

fn default_mode() -> String {
    "0644".into()
}

fn default_timeout() -> Seconds {
    Seconds(60.0)
}
