//! On whose behalf the engine is asked: the one place that decides what of the workspace is in reach.
//!
//! Who answers callers asks an engine that was made for each of them ([`Engine::on_behalf`](crate::Engine::on_behalf)).
//! Its lists hold what is in reach and nothing else; what is named to it is loaded here; and what it is to change is
//! checked here once more, before and after, where the change is noted in the audit log. What somebody may not even
//! look at is answered as if it were not there; what they may look at and no more is forbidden.

use rusqlite::Connection;
use serde_json::{Map, Value};

use crate::people::{Rights, Role};
use crate::query::Kind;
use crate::store::records::{self, Saving};
use crate::store::{Refusal, StoreError, StoreResult, executions};

/// What somebody may do, and the role that it takes for what they ask.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    rights: Rights,
    needed: Role,
}

impl Grant {
    pub(crate) fn new(rights: Rights, needed: Role) -> Self {
        Self { rights, needed }
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
        let found = records::get(connection, kind, key)?;
        match found.map(|record| self.check(kind, &record, key).map(|()| record)).transpose() {
            Err(StoreError::Refused(Refusal::NotFound(_))) => Ok(None),
            found => found,
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
        let Some(projects) = self.projects() else { return Ok(()) };
        let id = crate::id::parse_connection_id(id).map_or(id, |(parent, _)| parent);
        if executions::is_in(connection, id, &projects)? {
            return Ok(());
        }
        let visible = self.rights.projects_with(Role::Viewer);
        match self.rights.in_workspace().is_some() || executions::is_in(connection, id, &visible)? {
            true => Err(self.forbidden("there it is lower")),
            false => Err(StoreError::not_found("execution", id)),
        }
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
        let grant = Self::new(self.rights.clone(), self.needed.max(Role::Author));
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
        if let Saving::Present(key) = saving {
            self.record(connection, kind, key)?;
        }
        let named = |field: &str| fields.get(field).and_then(Value::as_str);
        if let Some(flow) = named("flow_id") {
            self.check_start(connection, flow, &Value::Null)?;
        }
        if let Some(setting) = named("setting_id") {
            self.record(connection, Kind::Setting, setting)?;
        }
        if let Some(key) = named("scheduler_id") {
            // One that is in no project is there for all: it says when, and nothing else.
            let is_shared = records::get(connection, Kind::Scheduler, key)?
                .is_some_and(|scheduler| project_of(Kind::Scheduler, &scheduler).is_none());
            if !is_shared {
                self.record(connection, Kind::Scheduler, key)?;
            }
        }
        Ok(())
    }

    fn forbidden(&self, why: &str) -> StoreError {
        let text = format!("this needs the role {} in the project that it is about; {why}", self.needed);
        StoreError::Refused(Refusal::Forbidden(text))
    }
}

/// The id of the project that a record is in. A project is in itself.
fn project_of(kind: Kind, record: &Value) -> Option<&str> {
    match kind {
        Kind::Project => record["id"].as_str(),
        kind if kind.has_project() => record["project_id"].as_str(),
        _ => None,
    }
}
