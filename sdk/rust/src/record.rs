//! Records: what a workspace stores under a name.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::call::object;
use crate::error::{Error, Result};
use crate::lock::Lock;
use crate::{host, json_text};

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A named program.
    Flow,
    /// A named, stored configuration of a connector type.
    Connector,
    /// A named blob in the file store.
    File,
    /// Joins scheduler, setting, flow and project.
    Schedule,
    /// Decides when.
    Scheduler,
    /// A JSON document in the field `value`.
    Setting,
    /// A name under which HTTP callers start a flow.
    Webhook,
    /// Says who is told when a flow fails, works again, or asks something.
    Notification,
    /// Groups records.
    Project,
    /// One run of something; for reading only.
    Execution,
}

impl Kind {
    /// As the contract spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Connector => "connector",
            Self::File => "file",
            Self::Schedule => "schedule",
            Self::Scheduler => "scheduler",
            Self::Setting => "setting",
            Self::Webhook => "webhook",
            Self::Notification => "notification",
            Self::Project => "project",
            Self::Execution => "execution",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names a record that may exist or not. Made by [`System`](crate::System).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRef {
    kind: Kind,
    key: String,
}

impl RecordRef {
    pub(crate) fn new(kind: Kind, key: String) -> Self {
        Self { kind, key }
    }

    /// Reads the record; `None` if there is none.
    ///
    /// # Errors
    /// Those of the host.
    pub fn find(&self) -> Result<Option<Record>> {
        host::get_record(self.kind.as_str(), &self.key)?.map(|text| Record::decode(self.kind, &text)).transpose()
    }

    /// Reads the record.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub fn load(&self) -> Result<Record> {
        self.find()?.ok_or_else(|| Error::NotFound(format!("{} `{}`", self.kind, self.key)))
    }

    /// Whether there is such a record.
    ///
    /// # Errors
    /// Those of the host.
    pub fn exists(&self) -> Result<bool> {
        Ok(self.find()?.is_some())
    }

    /// Reads one field. For several fields, [`load`](Self::load) the record once.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such record, [`Error::UnexpectedData`] if the field is of another shape.
    pub fn get<T: DeserializeOwned>(&self, field: &str) -> Result<T> {
        self.load()?.get(field)
    }

    /// Creates the record, or updates the fields given: a `json!` object, a map, or a struct. Returns the whole
    /// record.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if a field is unknown or of the wrong shape, [`Error::Conflict`] if the record changed
    /// meanwhile.
    pub fn save(&self, fields: impl Serialize) -> Result<Record> {
        let fields = Value::Object(object("the fields", fields)?).to_string();
        Record::decode(self.kind, &host::save_record(self.kind.as_str(), &self.key, &fields)?)
    }

    /// Deletes the record: into the trash, or permanently. Returns whether there was one.
    ///
    /// # Errors
    /// Those of the host; a missing record is none.
    pub fn delete(&self, permanently: bool) -> Result<bool> {
        host::delete_record(self.kind.as_str(), &self.key, permanently)
    }
}

/// A setting as a lock.
impl RecordRef {
    /// Returns when this execution holds the setting as a lock: one execution does at a time, and who asked first is
    /// the first. It waits as for a signal, at no cost, and a crash loses neither the lock nor the place in the line.
    /// `None` waits for ever, and a timeout of zero not at all.
    ///
    /// What an execution holds it can lock again, and must unlock as often. Until then others can neither lock nor
    /// change nor delete the setting.
    ///
    /// ```no_run
    /// # use surefoot::prelude::*;
    /// # fn example(system: &System, this: &Execution) -> Result<()> {
    /// let lock = match system.setting("test-system").lock(Duration::from_secs(60)) {
    ///     Ok(lock) => lock,
    ///     Err(Error::LockTimeout(who)) => return this.error("busy", who),
    ///     Err(other) => return Err(other),
    /// };
    /// this.flow("reset the test system").run()?;
    /// lock.unlock()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::LockTimeout`]; [`Error::Deadlock`] where the holder waits, itself or by way of others, for what this
    /// execution holds; [`Error::NotFound`] if there is no such setting: save it first; [`Error::Conflict`] if somebody
    /// took the lock away at once; [`Error::InvalidInput`] for a record of another kind.
    pub fn lock(&self, timeout: impl Into<Option<Duration>>) -> Result<Lock> {
        self.require_lockable()?;
        host::lock(&self.key, timeout.into()).map(Lock::held)
    }

    /// Gives up the lock that this execution holds. A [`Lock`] does it by itself; this is for one that was
    /// [kept](Lock::keep), or came along from the execution that continued as this one.
    ///
    /// # Errors
    /// [`Error::Conflict`] if this execution does not hold it, or somebody took it away.
    pub fn unlock(&self) -> Result<()> {
        self.require_lockable()?;
        host::unlock(&self.key)
    }

    fn require_lockable(&self) -> Result<()> {
        match self.kind {
            Kind::Setting => Ok(()),
            kind => Err(Error::InvalidInput(format!("only a setting is also a lock, not the {kind} `{}`", self.key))),
        }
    }
}

/// A record as it was when it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    kind: Kind,
    fields: Map<String, Value>,
}

impl Record {
    pub(crate) fn decode(kind: Kind, text: &str) -> Result<Self> {
        Ok(Self { kind, fields: json_text::decode(&format!("a {kind}"), text)? })
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its id; empty if the host left it out.
    pub fn id(&self) -> &str {
        self.text("id")
    }

    /// Its name; empty if it has none.
    pub fn name(&self) -> &str {
        self.text("name")
    }

    /// One field.
    ///
    /// # Errors
    /// [`Error::UnexpectedData`] if there is no such field or it is of another shape. A missing field reads as
    /// `None` of an `Option`.
    pub fn get<T: DeserializeOwned>(&self, field: &str) -> Result<T> {
        let value = self.fields.get(field).cloned().unwrap_or(Value::Null);
        json_text::from_value(&format!("field `{field}` of {} `{}`", self.kind, self.label()), value)
    }

    /// All fields.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// Updates the fields given. Returns the whole record as it is then.
    ///
    /// # Errors
    /// Those of [`RecordRef::save`].
    pub fn save(&self, fields: impl Serialize) -> Result<Self> {
        self.reference().save(fields)
    }

    /// Reads the record anew.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub fn reload(&self) -> Result<Self> {
        self.reference().load()
    }

    /// Deletes the record: into the trash, or permanently. Returns whether it was still there.
    ///
    /// # Errors
    /// Those of the host.
    pub fn delete(&self, permanently: bool) -> Result<bool> {
        self.reference().delete(permanently)
    }

    fn reference(&self) -> RecordRef {
        RecordRef::new(self.kind, self.label_id_first().to_owned())
    }

    fn label(&self) -> &str {
        if self.name().is_empty() { self.id() } else { self.name() }
    }

    fn label_id_first(&self) -> &str {
        if self.id().is_empty() { self.name() } else { self.id() }
    }

    fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_name_and_type() {
        let text = r#"{"id": "0197", "name": "nightly", "is_enabled": true}"#;
        let record = Record::decode(Kind::Schedule, text).unwrap();
        assert_eq!((record.id(), record.name()), ("0197", "nightly"));
        assert_eq!(record.get::<bool>("is_enabled"), Ok(true));
        assert_eq!(record.get::<Option<String>>("setting_id"), Ok(None));
        let expected =
            "unexpected data: field `is_enabled` of schedule `nightly`: invalid type: boolean `true`, expected u8";
        assert_eq!(record.get::<u8>("is_enabled").unwrap_err().to_string(), expected);
        assert_eq!(record.reference(), RecordRef::new(Kind::Schedule, "0197".into()));
    }

    #[test]
    fn only_settings_are_locks() {
        let flow = RecordRef::new(Kind::Flow, "nightly".into());
        let expected = "invalid input: only a setting is also a lock, not the flow `nightly`";
        assert_eq!(flow.lock(None).unwrap_err().to_string(), expected);
        assert_eq!(flow.unlock().unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_record_is_an_object() {
        let error = Record::decode(Kind::Setting, "[]").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unexpected data: a setting: invalid type: sequence, expected a map at line 1 column 0"
        );
    }
}
