//! What users write, and the one thing that a call then does.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use surefoot_connector_api::{CallError, ErrorClass, workspace_file_name};

use crate::schema::{Seconds, Secret};

/// Inputs of the connector type `ftp`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FtpInputs {
    /// Name or address of the server.
    pub(super) hostname: String,
    /// TCP port of the control connection.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1))]
    pub(super) port: u16,
    /// User name at the server.
    #[serde(default = "default_username")]
    pub(super) username: String,
    /// Password of the user; empty if not given.
    pub(super) password: Option<Secret>,
    /// `none`: everything is readable on the wire, the password too. `explicit`: the server must encrypt the control
    /// connection (AUTH TLS) and the data connections (PROT P), and its certificate must be valid for `hostname`.
    #[serde(default)]
    pub(super) tls: Tls,
    /// Certificates (PEM text) of the authorities that may have issued the server's certificate. If not given, those
    /// that the machine trusts.
    pub(super) server_ca: Option<String>,
    /// What to do.
    #[serde(default)]
    mode: Mode,
    /// Mode `transfer`: what to read. Either this or `dst` names a file of the workspace as `surefoot:NAME` (or
    /// `cloudomation:NAME`), the other one a path at the server. Mode `rename`: the old path.
    src: Option<String>,
    /// Mode `transfer`: what to write. An existing file is replaced; an upload that is interrupted leaves it as it is,
    /// and may leave a file `DST.surefoot-….part` beside it. Mode `rename`: the new path.
    dst: Option<String>,
    /// Modes `list`, `stat`, `delete`, `mkdir`: the path at the server. `list` takes the login directory if it is not
    /// given; `delete` removes a directory, which must be empty, if the path ends with `/`.
    path: Option<String>,
    /// Mode `list`: whether to list the directories below, too. Links are not followed.
    #[serde(default)]
    recursive: bool,
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
}

/// What to do.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Transfer,
    List,
    Stat,
    Delete,
    Rename,
    Mkdir,
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

/// The one thing that a call does, with the inputs that belong to it.
#[derive(Debug)]
pub(super) enum Plan<'a> {
    Download { remote: &'a str, file: &'a str },
    Upload { file: &'a str, remote: &'a str },
    List { path: &'a str, recursive: bool },
    Stat { path: &'a str },
    Delete { path: &'a str },
    Rename { from: &'a str, to: &'a str },
    Mkdir { path: &'a str },
}

impl FtpInputs {
    /// What the call does. An input that is missing for it, or has no meaning for it, is
    /// [`ErrorClass::InvalidInput`].
    pub(super) fn plan(&self) -> Result<Plan<'_>, CallError> {
        if self.recursive && !matches!(self.mode, Mode::List) {
            return Err(invalid("input `recursive` has a meaning for mode `list` only"));
        }
        match self.mode {
            Mode::Transfer => self.transfer(),
            Mode::List => {
                let path = match self.path.as_deref() {
                    None | Some("") => "",
                    Some(path) => remote_path("path", Some(path))?,
                };
                Ok(Plan::List { path, recursive: self.recursive })
            }
            Mode::Stat => Ok(Plan::Stat { path: remote_path("path", self.path.as_deref())? }),
            Mode::Delete => Ok(Plan::Delete { path: remote_path("path", self.path.as_deref())? }),
            Mode::Mkdir => Ok(Plan::Mkdir { path: remote_path("path", self.path.as_deref())? }),
            Mode::Rename => Ok(Plan::Rename {
                from: remote_path("src", self.src.as_deref())?,
                to: remote_path("dst", self.dst.as_deref())?,
            }),
        }
    }

    fn transfer(&self) -> Result<Plan<'_>, CallError> {
        let (Some(src), Some(dst)) = (self.src.as_deref(), self.dst.as_deref()) else {
            return Err(invalid("mode `transfer` needs the inputs `src` and `dst`"));
        };
        match (workspace_file_name(src), workspace_file_name(dst)) {
            (None, Some(file)) => Ok(Plan::Download { remote: remote_path("src", Some(src))?, file: file_name(file)? }),
            (Some(_), None) if dst.ends_with('/') => {
                Err(invalid("input `dst` is a directory; give the name of the file there, too"))
            }
            (Some(file), None) => Ok(Plan::Upload { file: file_name(file)?, remote: remote_path("dst", Some(dst))? }),
            _ => Err(invalid("exactly one of `src` and `dst` must name a file of the workspace, as `surefoot:NAME`")),
        }
    }

    /// How long connecting may take.
    pub(super) fn connect_limit(&self) -> Duration {
        self.connect_timeout.duration()
    }

    /// How long each answer, read and write may take.
    pub(super) fn socket_limit(&self) -> Duration {
        self.socket_timeout.duration()
    }

    /// Whether a name that is sent cannot be written in ASCII.
    pub(super) fn sends_special_characters(&self) -> bool {
        [&self.src, &self.dst, &self.path].into_iter().flatten().any(|text| !text.is_ascii())
    }
}

fn remote_path<'a>(name: &str, path: Option<&'a str>) -> Result<&'a str, CallError> {
    let path = path.filter(|path| !path.is_empty()).ok_or_else(|| invalid(format!("input `{name}` is missing")))?;
    if workspace_file_name(path).is_some() {
        return Err(invalid(format!("input `{name}` must be a path at the server, not a file of the workspace")));
    }
    if path.contains(['\r', '\n', '\0']) {
        return Err(invalid(format!("input `{name}` contains a line break or a null character")));
    }
    Ok(path)
}

fn file_name(name: &str) -> Result<&str, CallError> {
    if name.is_empty() { Err(invalid("the name behind `surefoot:` is empty")) } else { Ok(name) }
}

fn invalid(message: impl Into<String>) -> CallError {
    CallError::not_sent(ErrorClass::InvalidInput, message)
}

fn default_port() -> u16 {
    21
}

fn default_username() -> String {
    "anonymous".into()
}

fn default_timeout() -> Seconds {
    Seconds(60.0)
}
