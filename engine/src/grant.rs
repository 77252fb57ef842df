//! On whose behalf the engine is asked: the one place that decides what of the workspace is in reach.
//!
//! Who answers callers asks an engine that was made for each of them ([`Engine::on_behalf`](crate::Engine::on_behalf)).
//! Its lists hold what is in reach and nothing else; what is named to it is loaded here; and what it is to change is
//! checked here once more, before and after, where the change is noted in the audit log. What somebody may not even
//! look at is answered as if it were not there; what they may look at and no more is forbidden.
//!
//! Executions ask the same way, with what they were given at their start: the rights of who started them, as far as
//! their flow lets them.

use std::borrow::Cow;
use std::sync::Arc;

use rusqlite::Connection;
use serde_json::{Map, Value, json};

use crate::core::Core;
use crate::files;
use crate::people::{Rights, Role};
use crate::query::Kind;
use crate::secrets::OpenConnector;
use crate::store::records::{self, Saved, Saving, Stamp};
use crate::store::{Refusal, StoreError, StoreResult, executions, trash};

/// What somebody may do, and the role that it takes for what they ask.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    rights: Rights,
    needed: Role,
    asker: Asker,
}

/// Who asks; what is refused is explained to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Caller,
    Execution,
}

impl Grant {
    pub(crate) fn new(rights: Rights, needed: Role) -> Self {
        Self { rights, needed, asker: Asker::Caller }
    }

    /// For an execution that was given these rights.
    pub(crate) fn of_execution(rights: &Rights, needed: Role) -> Self {
        Self { rights: rights.clone(), needed, asker: Asker::Execution }
    }

    pub(crate) fn rights(&self) -> &Rights {
        &self.rights
    }

    /// For the owner of the workspace, and for the engine itself.
    pub(crate) fn everything() -> Self {
        Self::new(Rights::everywhere(Role::Admin), Role::Admin)
    }

    /// Whether everything is in reach, so that nothing has to be looked at.
    pub(crate) fn is_everywhere(&self) -> bool {
        self.rights.in_workspace() >= Some(self.needed)
    }

    /// The ids of the projects that are in reach. None: everything is.
    pub(crate) fn projects(&self) -> Option<Vec<String>> {
        (!self.is_everywhere()).then(|| self.rights.projects_with(self.needed))
    }

    /// The record with that name or id. None where there is none that the caller may look at.
    pub(crate) fn find(&self, connection: &Connection, kind: Kind, key: &str) -> StoreResult<Option<Value>> {
        self.in_sight(connection, kind, records::get(connection, kind, key)?)
    }

    /// What was found, unless it may not even be looked at.
    pub(crate) fn in_sight(
        &self,
        connection: &Connection,
        kind: Kind,
        found: Option<Value>,
    ) -> StoreResult<Option<Value>> {
        let Some(record) = found.as_ref().filter(|_| !self.is_everywhere()) else { return Ok(found) };
        let text = |field: &str| record[field].as_str().unwrap_or_default();
        let checked = match kind {
            Kind::Execution => self.check_execution(connection, text("id")),
            Kind::Approval => self.check_execution(connection, text("execution_id")),
            kind => self.check(kind, record, text("name")),
        };
        match checked {
            Ok(()) => Ok(found),
            Err(error) if is_out_of_sight(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Like [`find`](Self::find), refusing when there is none.
    pub(crate) fn record(&self, connection: &Connection, kind: Kind, key: &str) -> StoreResult<Value> {
        match self.is_everywhere() {
            // Which names are near is told only to who may see them all.
            true => records::require(connection, kind, key),
            false => self.find(connection, kind, key)?.ok_or_else(|| StoreError::not_found(kind.as_str(), key)),
        }
    }

    /// Refuses what is not in reach, as it stands.
    pub(crate) fn check(&self, kind: Kind, record: &Value, key: &str) -> StoreResult<()> {
        match self.rights.in_project(project_of(kind, record)) {
            Some(role) if role >= self.needed => Ok(()),
            Some(role) => Err(self.forbidden(&format!("there it is {role}"))),
            None => Err(StoreError::not_found(kind.as_str(), key)),
        }
    }

    /// Refuses what would come to stand where the caller may not put it.
    pub(crate) fn check_target(&self, kind: Kind, record: &Value) -> StoreResult<()> {
        match self.rights.in_project(project_of(kind, record)) {
            Some(role) if role >= self.needed => Ok(()),
            _ => Err(self.forbidden("name one, as `project_id`, in which you have it")),
        }
    }

    /// Refuses an execution, or a connection of one, that is not in reach. Executions are where their flow is,
    /// iterations of a schedule where the schedule is.
    pub(crate) fn check_execution(&self, connection: &Connection, id: &str) -> StoreResult<()> {
        let id = crate::id::parse_connection_id(id).map_or(id, |(parent, _)| parent);
        if trash::is_being_purged(connection, id)? {
            return Err(StoreError::not_found("execution", id));
        }
        let Some(projects) = self.projects() else { return Ok(()) };
        if executions::is_in(connection, id, &projects)? {
            return Ok(());
        }
        let visible = self.rights.projects_with(Role::Viewer);
        match self.rights.in_workspace().is_some() || executions::is_in(connection, id, &visible)? {
            true => Err(self.forbidden("there it is lower")),
            false => Err(StoreError::not_found("execution", id)),
        }
    }

    /// Whether an execution is in reach that is in these projects.
    pub(crate) fn reaches(&self, projects: &[Option<String>]) -> bool {
        self.is_everywhere()
            || projects.iter().any(|project| self.rights.in_project(project.as_deref()) >= Some(self.needed))
    }

    /// The role that the caller has where an execution is.
    pub(crate) fn role_at(&self, connection: &Connection, id: &str) -> StoreResult<Option<Role>> {
        for role in Role::ALL.into_iter().rev() {
            let projects = self.rights.projects_with(role);
            let has_role = self.rights.in_workspace() >= Some(role)
                || (!projects.is_empty() && executions::is_in(connection, id, &projects)?);
            if has_role {
                return Ok(Some(role));
            }
        }
        Ok(None)
    }

    /// Refuses a flow that is to be started, by name or id. The built-in one that calls a connector is where the
    /// connector is, and takes the role author: with inputs of its own it would send what a connector keeps secret to
    /// any host.
    pub(crate) fn check_start(&self, connection: &Connection, flow: &str, input: &Value) -> StoreResult<()> {
        let Some(native) = flow.strip_prefix("native:") else {
            return if self.is_everywhere() { Ok(()) } else { self.record(connection, Kind::Flow, flow).map(drop) };
        };
        let grant = Self { needed: self.needed.max(Role::Author), ..self.clone() };
        let connector = input["connector"].as_str().filter(|key| native == "connect" && !key.starts_with("type:"));
        match connector {
            _ if grant.is_everywhere() => Ok(()),
            Some(connector) => grant.record(connection, Kind::Connector, connector).map(drop),
            None => Err(grant.forbidden("built-in flows and connectors that are not stored are in no project")),
        }
    }

    /// Refuses what a save names before it is tried, so that its other errors tell nothing about what is not in reach.
    /// A record may name others only where its author may do the same. Where there is no project yet, `saving` decides.
    pub(crate) fn check_save(
        &self,
        connection: &Connection,
        kind: Kind,
        saving: &Saving,
        fields: &Map<String, Value>,
    ) -> StoreResult<()> {
        if self.is_everywhere() {
            return Ok(());
        }
        match saving {
            Saving::Present(key) => drop(self.record(connection, kind, key)?),
            // A name is that of the whole workspace: it is in use, and no more is told.
            Saving::Either(key) if self.find(connection, kind, key)?.is_none() => {
                if records::get(connection, kind, key)?.is_some() {
                    return Err(records::exists(kind, key));
                }
            }
            Saving::Either(_) | Saving::New(_) => {}
        }
        self.check_named(connection, |field| fields.get(field).and_then(Value::as_str))
    }

    /// Refuses what a record names that is not in reach.
    fn check_named<'a>(
        &self,
        connection: &Connection,
        named: impl Fn(&'static str) -> Option<&'a str>,
    ) -> StoreResult<()> {
        if let Some(flow) = named("flow_id") {
            self.check_start(connection, flow, &Value::Null)?;
        }
        if let Some(connector) = named("connector_id") {
            self.record(connection, Kind::Connector, connector)?;
        }
        if let Some(setting) = named("setting_id") {
            self.record(connection, Kind::Setting, setting)?;
        }
        named("scheduler_id").map_or(Ok(()), |key| self.scheduler(connection, key).map(drop))
    }

    /// A scheduler, by name or id. One that is in no project is there for all: it says when, and nothing else.
    pub(crate) fn scheduler(&self, connection: &Connection, key: &str) -> StoreResult<Value> {
        match records::get(connection, Kind::Scheduler, key)? {
            Some(scheduler) if project_of(Kind::Scheduler, &scheduler).is_none() => Ok(scheduler),
            _ => self.record(connection, Kind::Scheduler, key),
        }
    }

    /// Saves a record of any kind but files, in the writer's transaction. What starts flows acts as who saved it from
    /// then on, if that took the role author; so what it names must be in their reach, whoever named it.
    pub(crate) fn save(
        &self,
        core: &Core,
        connection: &Connection,
        kind: Kind,
        saving: &Saving,
        fields: &Map<String, Value>,
        stamp: &Stamp,
    ) -> StoreResult<Saved> {
        self.check_save(connection, kind, saving, fields)?;
        let mut fields = Cow::Borrowed(fields);
        if let Some(project) = self.project_of_new(kind).filter(|_| !fields.contains_key("project_id"))
            && records::get(connection, kind, saving.key())?.is_none()
        {
            fields.to_mut().insert("project_id".to_owned(), project.into());
        }
        let is_author = self.needed >= Role::Author;
        let acts_as = is_author.then(|| self.rights.capped(None, Role::OF_FLOWS));
        let stamp = Stamp { acts_as, ..stamp.clone() };
        let saved = core.save_record(connection, kind, saving, &fields, &stamp)?;
        self.check_change(kind, saved.before.as_ref(), Some(&saved.after))?;
        if is_author && !self.is_everywhere() {
            self.check_named(connection, |field| saved.after[field].as_str())?;
        }
        Ok(saved)
    }

    /// Deletes a record of any kind: for good also one in the trash, by its id. None where there is none in reach.
    pub(crate) fn delete(
        &self,
        core: &Core,
        connection: &Connection,
        kind: Kind,
        key: &str,
        permanently: bool,
        stamp: &Stamp,
    ) -> StoreResult<Option<Value>> {
        let mut found = self.find(connection, kind, key)?;
        if found.is_none() && permanently {
            found = self.in_sight(connection, kind, records::in_trash(connection, kind, key)?)?;
        }
        if let Some(record) = &found {
            core.delete_record(connection, kind, record, permanently, stamp)?;
        }
        Ok(found)
    }

    /// Points the name of a file at a content.
    pub(crate) fn save_file(
        &self,
        connection: &Connection,
        name: &str,
        (size_bytes, sha256): (u64, &str),
        stamp: &Stamp,
    ) -> StoreResult<()> {
        let project = self.check_file(connection, name)?;
        files::save_name(connection, name, project, size_bytes, sha256, stamp).map(drop)
    }

    /// Refuses the name of a file that may not be written. Returns the project to make it in, if it is to be in one.
    pub(crate) fn check_file(&self, connection: &Connection, name: &str) -> StoreResult<Option<&str>> {
        if self.is_everywhere() {
            return Ok(None);
        }
        self.check_save(connection, Kind::File, &Saving::Either(name.to_owned()), &Map::new())?;
        if self.find(connection, Kind::File, name)?.is_some() {
            return Ok(None);
        }
        let project = self.project_of_new(Kind::File);
        self.check_target(Kind::File, &json!({ "project_id": project }))?;
        Ok(project)
    }

    /// Refuses a change that reaches beyond the grant: where something was, or where it has come to stand.
    pub(crate) fn check_change(&self, kind: Kind, before: Option<&Value>, after: Option<&Value>) -> StoreResult<()> {
        if let Some(before) = before {
            self.check(kind, before, before["name"].as_str().unwrap_or_default())?;
        }
        after.map_or(Ok(()), |after| self.check_target(kind, after))
    }

    /// The project that a record is made in which does not say so: that of an execution which reaches one alone. A
    /// caller has to say it.
    pub(crate) fn project_of_new(&self, kind: Kind) -> Option<&str> {
        let is_chosen = self.asker == Asker::Execution && kind.has_project();
        is_chosen.then(|| self.rights.only_project()).flatten()
    }

    /// What was found of a connector that is to be called, if it is in reach. A type without a record is in reach of
    /// who has the role anywhere.
    pub(crate) fn called(&self, key: &str, found: StoreResult<Arc<OpenConnector>>) -> StoreResult<Arc<OpenConnector>> {
        if self.is_everywhere() {
            return found;
        }
        match found {
            Ok(connector) if connector.record["id"] != "" => {
                self.check(Kind::Connector, &connector.record, key).map(|()| connector)
            }
            Ok(connector) if self.rights.highest() >= Some(self.needed) => Ok(connector),
            Ok(_) => Err(self.forbidden("it has that nowhere")),
            Err(error) if is_out_of_sight(&error) => Err(StoreError::not_found(Kind::Connector.as_str(), key)),
            Err(error) => Err(error),
        }
    }

    fn forbidden(&self, why: &str) -> StoreError {
        let needed = self.needed;
        let text = match self.asker {
            Asker::Caller => format!("this needs the role {needed} in the project that it is about; {why}"),
            Asker::Execution => format!(
                "this needs the role {needed} in the project that it is about; {why}: an execution has the role of \
                 who started it, in the project of its flow and no higher than the flow's `role`. Let somebody start \
                 it who has that role, or a webhook or schedule that such a one has saved"
            ),
        };
        StoreError::Refused(Refusal::Forbidden(text))
    }
}

/// Whether that is told to somebody for whom what they ask for is not there.
fn is_out_of_sight(error: &StoreError) -> bool {
    matches!(error, StoreError::Refused(Refusal::NotFound(_)))
}

/// The id of the project that a record is in. A project is in itself.
fn project_of(kind: Kind, record: &Value) -> Option<&str> {
    match kind {
        Kind::Project => record["id"].as_str(),
        kind if kind.has_project() => record["project_id"].as_str(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
