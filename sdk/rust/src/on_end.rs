//! Undo actions: what the engine does at an execution's end, whatever the end was.

use serde::Serialize;
use serde_json::{Value, json};

use crate::call::object;
use crate::error::Result;
use crate::host::{self, EndAction};
use crate::record::Kind;

/// Registers undo actions. Made by [`Execution::on_end`](crate::Execution::on_end).
///
/// The engine performs them after success, error, cancel and crash alike, in reverse order of registration. Cancel
/// cannot be caught, so this is how a flow cleans up; register an action before what it undoes.
///
/// ```no_run
/// # use surefoot::prelude::*;
/// # fn example(system: &System, this: &Execution) -> Result<()> {
/// this.on_end().delete_file("my-test-file.txt")?;
/// this.on_end().disable_schedule("my-test-schedule")?;
/// this.on_end().start_flow("tell-the-team", json!({ "about": this.get::<String>("id")? }))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is registered until one of its methods is called"]
pub struct OnEnd(());

/// Every method fails with the host's errors: a limit, or a missing permission.
impl OnEnd {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// Disables a schedule, by name or id.
    pub fn disable_schedule(&self, schedule: impl Into<String>) -> Result<()> {
        self.save(Kind::Schedule, schedule, json!({ "is_enabled": false }))
    }

    /// Deletes a file permanently. A missing file is fine.
    pub fn delete_file(&self, name: impl Into<String>) -> Result<()> {
        self.delete(Kind::File, name)
    }

    /// Starts a flow, by name or id.
    pub fn start_flow(&self, flow: impl Into<String>, inputs: impl Serialize) -> Result<()> {
        let inputs = Value::Object(object("the inputs", inputs)?).to_string();
        host::on_end(&EndAction::StartFlow((flow.into(), inputs)))
    }

    /// Saves fields of a record, by name or id.
    pub fn save(&self, kind: Kind, name_or_id: impl Into<String>, fields: impl Serialize) -> Result<()> {
        let fields = Value::Object(object("the fields", fields)?).to_string();
        host::on_end(&EndAction::SaveRecord((kind.as_str().to_owned(), name_or_id.into(), fields)))
    }

    /// Deletes a record permanently, by name or id. A missing one is fine.
    pub fn delete(&self, kind: Kind, name_or_id: impl Into<String>) -> Result<()> {
        host::on_end(&EndAction::DeleteRecord((kind.as_str().to_owned(), name_or_id.into())))
    }
}
