//! Files at a server, as users see them whatever the protocol: what can be done with them, what a listing shows, and
//! the name under which an upload begins.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use surefoot_connector_api::{CallError, Effect, ErrorClass, workspace_file_name};

use crate::inputs::invalid;

/// The most entries that one call lists.
const ENTRIES_MAX: usize = 100_000;
/// The deepest level of a recursive listing; deeper than any tree that people make, but not than a loop.
const DEPTH_MAX: usize = 64;

/// The inputs that say what to do with which files, to be flattened into those of a connector.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct FileInputs {
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

/// The one thing that a call does, with the inputs that belong to it.
#[derive(Debug)]
pub(crate) enum Plan<'a> {
    Download { remote: &'a str, file: &'a str },
    Upload { file: &'a str, remote: &'a str },
    List { path: &'a str, recursive: bool },
    Stat { path: &'a str },
    Delete { path: &'a str },
    Rename { from: &'a str, to: &'a str },
    Mkdir { path: &'a str },
}

impl FileInputs {
    /// Downloads, `list` and `stat` read; an upload is idempotent; `delete`, `rename` and `mkdir` write.
    pub(crate) fn effect(&self) -> Effect {
        match self.plan() {
            Ok(Plan::Download { .. } | Plan::List { .. } | Plan::Stat { .. }) => Effect::Read,
            Ok(Plan::Upload { .. }) => Effect::Idempotent,
            // What cannot be understood is treated as the worst; the call refuses it anyway.
            Ok(Plan::Delete { .. } | Plan::Rename { .. } | Plan::Mkdir { .. }) | Err(_) => Effect::Write,
        }
    }

    /// What the call does. An input that is missing for it, or has no meaning for it, is
    /// [`ErrorClass::InvalidInput`].
    pub(crate) fn plan(&self) -> Result<Plan<'_>, CallError> {
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

    /// Whether a name that is sent cannot be written in ASCII.
    pub(crate) fn sends_special_characters(&self) -> bool {
        [&self.src, &self.dst, &self.path].into_iter().flatten().any(|text| !text.is_ascii())
    }
}

/// A file or directory at the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// The last part of its path.
    pub(crate) name: String,
    /// Its path, as it can be given to another call.
    pub(crate) path: String,
    /// What it is.
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    /// Its length in bytes; for files, where the server tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size_bytes: Option<u64>,
    /// When it was changed last, in UTC; where the server tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) modified_at: Option<String>,
    /// Its permissions in octal, such as `0644`; where the server tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) permissions: Option<String>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    File,
    Directory,
    Link,
    Other,
}

/// A listing that grows, directory by directory, and stays within bounds.
#[derive(Debug)]
pub(crate) struct Listing {
    recursive: bool,
    entries: Vec<Entry>,
    /// Directories that are not listed yet, and their depths.
    open: Vec<(String, usize)>,
}

impl Listing {
    /// The listing of `path`, with the directories below it where `recursive`.
    pub(crate) fn new(path: &str, recursive: bool) -> Self {
        Self { recursive, entries: Vec::new(), open: vec![(path.to_owned(), 1)] }
    }

    /// A directory to list, with its depth; none when all is listed.
    pub(crate) fn next(&mut self) -> Option<(String, usize)> {
        self.open.pop()
    }

    /// Adds what is in a directory of that depth. More than anybody wants is [`ErrorClass::Protocol`].
    pub(crate) fn add(&mut self, depth: usize, entries: Vec<Entry>) -> Result<(), CallError> {
        let too_much = |message: String| CallError::not_sent(ErrorClass::Protocol, message);
        for entry in entries {
            if self.recursive && entry.kind == Kind::Directory {
                if depth == DEPTH_MAX {
                    return Err(too_much(format!("`{}` lies more than {DEPTH_MAX} levels deep", entry.path)));
                }
                self.open.push((entry.path.clone(), depth + 1));
            }
            self.entries.push(entry);
        }
        if self.entries.len() > ENTRIES_MAX {
            return Err(too_much(format!("the listing has more than {ENTRIES_MAX} entries")));
        }
        Ok(())
    }

    /// All entries, sorted by path.
    pub(crate) fn finish(mut self) -> Vec<Entry> {
        self.entries.sort_by(|a, b| a.path.cmp(&b.path));
        self.entries
    }
}

/// The name under which an upload begins: beside the target, so that the rename stays within one file system. The same
/// for every attempt of one call, so that an attempt after a crash overwrites what the first one left.
pub(crate) fn temporary_name(remote: &str, idempotency_key: &str) -> String {
    // A hash, since the key itself is secret.
    let digest = Sha256::digest(idempotency_key.as_bytes());
    format!("{remote}.surefoot-{}.part", hex::encode(&digest[..6]))
}

/// The last part of a path.
pub(crate) fn last_part(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().filter(|part| !part.is_empty()).unwrap_or("/")
}

/// The path of `name` in `directory`, where an empty one is the login directory.
pub(crate) fn joined(directory: &str, name: &str) -> String {
    match directory {
        "" => name.to_owned(),
        _ if directory.ends_with('/') => format!("{directory}{name}"),
        _ => format!("{directory}/{name}"),
    }
}

/// Seconds since 1970-01-01 UTC as a text.
pub(crate) fn time_text(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(|time| time.to_string())
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
