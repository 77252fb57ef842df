//! What users write about the server; what is done with its files is said as for every protocol.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::remote_files::FileInputs;
use crate::schema::{Seconds, Secret};

/// Inputs of the connector type `ftp`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct FtpInputs {
    /// Name or address of the server.
    pub(super) hostname: String,
    /// TCP port of the control connection. If not given, 21, or 990 where `tls` is `implicit`.
    #[schemars(range(min = 1))]
    port: Option<u16>,
    /// User name at the server.
    #[serde(default = "default_username")]
    pub(super) username: String,
    /// Password of the user; empty if not given.
    pub(super) password: Option<Secret>,
    /// `none`: everything is readable on the wire, the password too. `explicit`: the server must encrypt the control
    /// connection (AUTH TLS) and the data connections (PROT P), and its certificate must be valid for `hostname`.
    /// `implicit`: the same, with TLS from the first byte.
    #[serde(default)]
    pub(super) tls: Tls,
    /// Certificates (PEM text) of the authorities that may have issued the server's certificate. If not given, those
    /// that the machine trusts.
    pub(super) server_ca: Option<String>,
    #[serde(flatten)]
    pub(super) files: FileInputs,
    /// Seconds that connecting may take, for the control connection and for each data connection.
    #[serde(default = "default_timeout")]
    connect_timeout: Seconds,
    /// Seconds that the server may take for each answer, and each read and write of data.
    #[serde(default = "default_timeout")]
    socket_timeout: Seconds,
    /// How the server writes the names of files.
    #[serde(default)]
    pub(super) encoding: NameEncoding,
}

/// Whether and how the connection is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tls {
    #[default]
    None,
    Explicit,
    Implicit,
}

/// How names of files are written as bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(super) enum NameEncoding {
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "latin-1")]
    Latin1,
}

impl FtpInputs {
    /// The port of the control connection.
    pub(super) fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls == Tls::Implicit { 990 } else { 21 })
    }

    /// How long connecting may take.
    pub(super) fn connect_limit(&self) -> Duration {
        self.connect_timeout.duration()
    }

    /// How long each answer, read and write may take.
    pub(super) fn socket_limit(&self) -> Duration {
        self.socket_timeout.duration()
    }
}

fn default_username() -> String {
    "anonymous".into()
}

fn default_timeout() -> Seconds {
    Seconds(60.0)
}
