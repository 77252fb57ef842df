//! What users write about the host and the upload; what is done with its files is said as for every protocol.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::remote_files::FileInputs;
use crate::schema::Seconds;
use crate::ssh_session::HostInputs;

/// Inputs of the connector type `sftp`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct SftpInputs {
    #[serde(flatten)]
    pub(super) host: HostInputs,
    #[serde(flatten)]
    pub(super) files: FileInputs,
    /// Permissions of an uploaded file, in octal.
    #[serde(default = "default_permissions")]
    #[schemars(regex(pattern = "^0?[0-7]{3}$"))]
    permissions: String,
    /// When an uploaded file shall count as changed last, in seconds since 1970-01-01 UTC. If not given, the time of
    /// the upload.
    pub(super) mtime: Option<u32>,
    /// Seconds that the server may take for each answer.
    #[serde(default = "default_timeout")]
    socket_timeout: Seconds,
}

impl SftpInputs {
    /// How long each answer may take.
    pub(super) fn socket_limit(&self) -> Duration {
        self.socket_timeout.duration()
    }

    /// Permissions of an uploaded file as a number.
    pub(super) fn permissions(&self) -> u32 {
        u32::from_str_radix(&self.permissions, 8).expect("the schema allows octal digits only")
    }
}

fn default_permissions() -> String {
    "0644".into()
}

fn default_timeout() -> Seconds {
    Seconds(60.0)
}
