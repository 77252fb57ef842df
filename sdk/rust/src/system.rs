//! `system`: the workspace's records and files.

use crate::file::File;
use crate::query::Query;
use crate::record::{Kind, RecordRef};

/// The workspace. A handler gets it as `system`.
///
/// ```no_run
/// # use surefoot::prelude::*;
/// # fn example(system: &System) -> Result<()> {
/// let schedule = system.schedule("my-test-schedule").save(json!({ "is_enabled": false }))?;
/// let newest = system
///     .executions()
///     .filter(field("schedule_id").eq(schedule.id()))
///     .order("-created_at")
///     .first()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct System(());

/// One record, by name or id. Nothing is read or written yet.
impl System {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// A file of the file store.
    pub fn file(&self, name: impl Into<String>) -> File {
        File::new(name.into())
    }

    /// A flow.
    pub fn flow(&self, name_or_id: impl Into<String>) -> RecordRef {
        self.record(Kind::Flow, name_or_id)
    }

    /// A stored connector.
    pub fn connector(&self, name_or_id: impl Into<String>) -> RecordRef {
        self.record(Kind::Connector, name_or_id)
    }

    /// A schedule.
    pub fn schedule(&self, name_or_id: impl Into<String>) -> RecordRef {
        self.record(Kind::Schedule, name_or_id)
    }

    /// A scheduler.
    pub fn scheduler(&self, name_or_id: impl Into<String>) -> RecordRef {
        self.record(Kind::Scheduler, name_or_id)
    }

    /// A setting; its JSON document is the field `value`.
    pub fn setting(&self, name_or_id: impl Into<String>) -> RecordRef {
        self.record(Kind::Setting, name_or_id)
    }

    /// A webhook.
    pub fn webhook(&self, name_or_id: impl Into<String>) -> RecordRef {
        self.record(Kind::Webhook, name_or_id)
    }

    /// A project.
    pub fn project(&self, name_or_id: impl Into<String>) -> RecordRef {
        self.record(Kind::Project, name_or_id)
    }

    /// An execution; for reading only.
    pub fn execution(&self, id: impl Into<String>) -> RecordRef {
        self.record(Kind::Execution, id)
    }

    /// A record of any kind.
    pub fn record(&self, kind: Kind, name_or_id: impl Into<String>) -> RecordRef {
        RecordRef::new(kind, name_or_id.into())
    }
}

/// Records by filter.
impl System {
    /// The executions: flows, connections and schedules.
    pub fn executions(&self) -> Query {
        self.records(Kind::Execution)
    }

    /// The files' records; [`System::file`] reads their content.
    pub fn files(&self) -> Query {
        self.records(Kind::File)
    }

    /// The flows.
    pub fn flows(&self) -> Query {
        self.records(Kind::Flow)
    }

    /// The stored connectors.
    pub fn connectors(&self) -> Query {
        self.records(Kind::Connector)
    }

    /// The schedules.
    pub fn schedules(&self) -> Query {
        self.records(Kind::Schedule)
    }

    /// The settings.
    pub fn settings(&self) -> Query {
        self.records(Kind::Setting)
    }

    /// The webhooks.
    pub fn webhooks(&self) -> Query {
        self.records(Kind::Webhook)
    }

    /// Records of any kind.
    pub fn records(&self, kind: Kind) -> Query {
        Query::new(kind)
    }
}
