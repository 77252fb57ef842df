//! What users write, and the one copy that a call makes.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use surefoot_connector_api::{CallError, workspace_file_name};

use crate::inputs::invalid;
use crate::schema::Seconds;
use crate::ssh_session::HostInputs;

/// Inputs of the connector type `scp`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ScpInputs {
    #[serde(flatten)]
    pub(super) host: HostInputs,
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
    /// The copy to make. Inputs that do not fit together are `InvalidInput`.
    pub(super) fn plan(&self) -> Result<Plan<'_>, CallError> {
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

fn default_mode() -> String {
    "0644".into()
}

fn default_timeout() -> Seconds {
    Seconds(60.0)
}
