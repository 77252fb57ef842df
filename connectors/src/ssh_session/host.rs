//! The inputs that say which host is meant, how it is known, and who logs in there.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::schema::{Seconds, Secret};

/// The inputs that every connector over SSH has, to be flattened into its own.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct HostInputs {
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
    /// its fingerprint `SHA256:…`. Several may be given, one a line; each is accepted. Names of hosts in the lines are
    /// not compared. Needed unless `hostkey_check` is false.
    pub(super) hostkey: Option<String>,
    /// False: trust whatever host answers. Whoever can redirect the connection then gets the password and all that is
    /// sent.
    #[serde(default = "default_true")]
    pub(super) hostkey_check: bool,
    /// Seconds until the connection stands and the login is done.
    #[serde(default = "default_timeout")]
    connect_timeout: Seconds,
}

impl HostInputs {
    /// How long connecting and logging in may take.
    pub(super) fn connect_limit(&self) -> Duration {
        self.connect_timeout.duration()
    }
}

fn default_port() -> u16 {
    22
}

fn default_true() -> bool {
    true
}

fn default_timeout() -> Seconds {
    Seconds(60.0)
}
