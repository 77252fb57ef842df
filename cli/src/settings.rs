//! What a server can be told. From one table, [`KEYS`], come the options of `serve`, the variables of the environment,
//! the keys of the settings file, the defaults, `surefoot config` and the reference.
//!
//! An option counts more than a variable, that more than the file, that more than the default. Nothing here acts on a
//! value: it is read, checked, and handed on as [`Settings`].

mod file;
mod flags;
mod keys;
mod limit;
mod reference;
mod variables;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot_connector_api::EgressRule;
use surefoot_web::{ForwardedHeader, ProxyNet, PublicUrl};

use self::keys::{KEYS, Key, Shape};
use crate::failure::Failure;

pub(crate) use self::flags::Flags;
pub(crate) use self::limit::Limit;
pub(crate) use self::reference::markdown;
pub(crate) use self::variables::{of_process, unknown};

/// Every value, as it is used.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) server: Server,
    #[serde(default)]
    pub(crate) tls: Tls,
    pub(crate) limits: Limits,
    pub(crate) log: Log,
    pub(crate) egress: Egress,
    pub(crate) retention: Retention,
    #[serde(default)]
    pub(crate) secrets: crate::secrets_key::Source,
}

impl Settings {
    /// What holds where nobody says anything.
    #[cfg_attr(not(any(test, feature = "demo")), expect(dead_code, reason = "only the demo asks nobody"))]
    pub(crate) fn default_ones() -> Result<Self> {
        let flags = Flags::default();
        let sources = Sources { file: Path::new(""), is_chosen: false, flags: &flags, variable: &|_| None };
        Effective::load(&sources)?.settings()
    }
}

/// The table `[server]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) listen: String,
    pub(crate) hosts: Vec<String>,
    pub(crate) public_url: Option<PublicUrl>,
    pub(crate) insecure_http: bool,
    pub(crate) trusted_proxies: Vec<ProxyNet>,
    pub(crate) forwarded_header: ForwardedHeader,
    pub(crate) drain_seconds: u32,
}

/// The table `[tls]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// The table `[limits]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) body_bytes_max: usize,
    pub(crate) head_bytes_max: usize,
    pub(crate) headers_max: usize,
    pub(crate) idle_seconds_max: u32,
    pub(crate) write_seconds_max: u32,
    pub(crate) connections_max: usize,
    pub(crate) address_connections_max: Limit,
    pub(crate) address_requests_per_second_max: Limit,
    pub(crate) loopback: bool,
    pub(crate) webhook_seconds_max: u32,
}

/// The table `[log]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) level: LogLevel,
    pub(crate) format: LogFormat,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How it is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// The table `[egress]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Egress {
    pub(crate) allow: Vec<EgressRule>,
}

/// The table `[retention]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    age_days: Limit,
    executions_max: Limit,
    bytes_max: Limit,
    trash_age_days: Limit,
    audit_age_days: Limit,
}

impl Retention {
    /// As the engine takes it.
    pub(crate) fn of_engine(&self) -> surefoot_engine::Retention {
        let days = |limit: Limit| limit.0.map(|days| Duration::from_secs(days.saturating_mul(24 * 60 * 60)));
        surefoot_engine::Retention {
            age: days(self.age_days),
            executions_max: self.executions_max.0,
            bytes_max: self.bytes_max.0,
            trash_age: days(self.trash_age_days),
            audit_age: days(self.audit_age_days),
            ..surefoot_engine::Retention::default()
        }
    }
}

/// Where the value of a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Default,
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// A key with its value, and why it has that one.
struct Setting {
    key: &'static Key,
    value: Option<toml::Value>,
    source: Source,
}

/// A key whose value is another one than before.
#[derive(Debug, PartialEq)]
pub(crate) struct Change {
    /// Its name.
    pub(crate) key: &'static str,
    /// As it may be shown.
    pub(crate) before: Value,
    pub(crate) now: Value,
    /// Whether it holds without a restart.
    pub(crate) holds: bool,
}

/// All keys with the values that hold.
pub(crate) struct Effective(Vec<Setting>);

/// Where settings come from, besides the defaults.
pub(crate) struct Sources<'a> {
    /// The settings file; when it was `chosen`, it must be there.
    pub(crate) file: &'a Path,
    pub(crate) is_chosen: bool,
    pub(crate) flags: &'a Flags,
    /// The environment; what is empty there is not set.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Effective {
    /// Reads the file, and puts the other sources above it.
    ///
    /// # Errors
    /// When the file cannot be read or has an unknown key.
    pub(crate) fn load(sources: &Sources<'_>) -> Result<Self> {
        let mut file = file::read(sources.file, sources.is_chosen)?;
        let settings = KEYS.iter().map(|key| {
            let variable = key.variable();
            if let Some(given) = sources.flags.of(key) {
                return Setting { key, value: Some(of_texts(key.shape, given)), source: Source::Flag(key.flag()) };
            }
            if let Some(text) = (sources.variable)(&variable) {
                return Setting { key, value: Some(of_texts(key.shape, &[text])), source: Source::Variable(variable) };
            }
            match file.remove(key.name) {
                Some((value, line)) => {
                    let source = Source::File { path: sources.file.to_owned(), line };
                    Setting { key, value: Some(value), source }
                }
                None => Setting { key, value: key.default.parse().ok(), source: Source::Default },
            }
        });
        Ok(Self(settings.collect()))
    }

    /// The values, checked one by one.
    ///
    /// # Errors
    /// When one cannot be used: the failure names the key, and where the value stands.
    pub(crate) fn settings(&self) -> Result<Settings> {
        let mut tables = toml::Table::new();
        for Setting { key, value, source } in &self.0 {
            let (table, name) = key.parts();
            if table == "limits" && *value == Some(toml::Value::Integer(0)) {
                let text = format!("the setting `{}` ({source}) is wrong: with 0 nothing could be done", key.name);
                return Err(Failure::usage(text).hint(format!("It is a {} above 0. {}", key.shape, key.about)).into());
            }
            let table = tables.entry(table).or_insert_with(|| toml::Table::new().into());
            if let (Some(value), toml::Value::Table(table)) = (value, table) {
                table.insert(name.to_owned(), value.clone());
            }
        }
        serde_path_to_error::deserialize(toml::Value::Table(tables)).map_err(|error| {
            let path = error.path().to_string();
            let name = path.split('[').next().unwrap_or_default();
            let setting = self.0.iter().find(|setting| setting.key.name == name);
            let from = setting.map(|setting| format!(" ({})", setting.source)).unwrap_or_default();
            let why = match setting {
                Some(setting) if setting.key.is_secret => "it cannot be used",
                _ => error.inner().message().trim(),
            };
            let failure = Failure::usage(format!("the setting `{name}`{from} is wrong: {why}"));
            match setting {
                Some(setting) => failure.hint(format!("It is a {}. {}", setting.key.shape, setting.key.about)).into(),
                None => failure.into(),
            }
        })
    }

    /// Takes over what `read` says of keys that hold without a restart; of the tables for which `holds` says so. What
    /// has changed, also of the others.
    pub(crate) fn take_over(&mut self, read: Self, holds: impl Fn(&str) -> bool) -> Vec<Change> {
        let mut changes = Vec::new();
        for (present, read) in self.0.iter_mut().zip(read.0) {
            if present.value != read.value {
                let key = present.key;
                let holds = key.is_live && holds(key.parts().0);
                changes.push(Change { key: key.name, before: present.shown(), now: read.shown(), holds });
                if holds {
                    *present = read;
                }
            }
        }
        changes
    }

    /// One row a key, for people: name, value, source, what it is.
    pub(crate) fn rows(&self) -> Vec<Vec<String>> {
        let row = |setting: &Setting| {
            let value = match setting.shown() {
                Value::Null => "-".to_owned(),
                Value::String(text) => text,
                other => other.to_string(),
            };
            vec![setting.key.name.to_owned(), value, setting.source.to_string(), setting.key.about.to_owned()]
        };
        self.0.iter().map(row).collect()
    }

    /// The same for programs.
    pub(crate) fn document(&self) -> Value {
        let document = |setting: &Setting| {
            let Setting { key, source, .. } = setting;
            let (kind, place, line) = match source {
                Source::Default => ("default", None, None),
                Source::File { path, line } => ("file", Some(path.display().to_string()), Some(*line)),
                Source::Variable(name) => ("environment", Some(name.clone()), None),
                Source::Flag(name) => ("option", Some(format!("--{name}")), None),
            };
            json!({
                "key": key.name,
                "value": setting.shown(),
                "source": kind,
                "place": place,
                "line": line,
                "type": key.shape.to_string(),
                "default": key.default.parse::<toml::Value>().map_or(Value::Null, |value| json!(value)),
                "option": format!("--{}", key.flag()),
                "variable": key.variable(),
                "description": key.about,
            })
        };
        self.0.iter().map(document).collect()
    }
}

impl Setting {
    /// The value as it may be shown: of a secret only whether there is one.
    fn shown(&self) -> Value {
        match &self.value {
            None if self.key.is_secret => "not set".into(),
            Some(_) if self.key.is_secret => "set".into(),
            value => json!(value),
        }
    }
}

/// The value that texts of the command line or the environment mean. What fits no shape stays text, and is refused
/// where it is used.
fn of_texts(shape: Shape, texts: &[String]) -> toml::Value {
    let parts = || texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|part| !part.is_empty());
    let last = texts.last().map(String::as_str).unwrap_or_default();
    match shape {
        Shape::Text => last.into(),
        Shape::List => parts().map(toml::Value::from).collect::<Vec<_>>().into(),
        Shape::Number | Shape::Limit | Shape::Switch => last.parse().unwrap_or_else(|_| last.into()),
    }
}

#[cfg(test)]
mod tests;
