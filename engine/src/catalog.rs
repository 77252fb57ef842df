//! Records as the rest of the engine uses them: rules that span kinds, redaction, executions and their connections as
//! one kind.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Map, Value, json};

use crate::approvals::hide_tokens;
use crate::calls;
use crate::core::Core;
use crate::id;
use crate::journal::{DigestVersion, Outcome, Record, Started, Status, shown_args, shown_attempt};
use crate::notifications::{self, NOTIFY};
use crate::people::{Rights, Role};
use crate::query::{Cursor, FieldType, Filter, Kind, Page, Query};
use crate::references;
use crate::schedules;
use crate::secrets;
use crate::store::executions::{self, ExecutionType, Key, NewExecution};
use crate::store::locks::{self, Lock};
use crate::store::places::{self, Admission};
use crate::store::records::{self, Saved, Saving, Stamp};
use crate::store::{Refusal, StoreError, StoreResult, approvals, journal, notified, sessions};

/// How many parents' journals one query over connections reads at most.
const PARENTS_MAX: u32 = 1000;

impl Core {
    /// Saves a record of any kind but files, with what follows from it, in the writer's transaction.
    pub(crate) fn save_record(
        &self,
        connection: &Connection,
        kind: Kind,
        saving: &Saving,
        fields: &Map<String, Value>,
        stamp: &Stamp,
    ) -> StoreResult<Saved> {
        let mut fields = fields.clone();
        name_projects_by_id(connection, &mut fields)?;
        if kind == Kind::Notification {
            references::name_by_id(connection, kind, &mut fields)?;
        }
        let sealing = self.take_secrets(connection, kind, saving, &mut fields)?;
        let mut saved = records::write(connection, kind, saving, &fields, stamp)?;
        if let Some(sealing) = sealing {
            saved.after = self.seal(connection, kind, saved.after, &sealing, stamp)?;
        }
        references::check_named(self, connection, kind, saved.before.as_ref(), &saved.after)?;
        if let Some(before) = &saved.before {
            references::check_change(connection, kind, before, &saved.after)?;
        }
        match kind {
            Kind::User => {
                saved.before.as_ref().map_or(Ok(()), |before| keep_an_admin(connection, before))?;
                if saved.after["is_enabled"] == false {
                    sessions::delete_of_user(connection, id_of(&saved.after), None)?;
                }
            }
            Kind::Flow => places::flow_saved(connection, saved.before.as_ref(), &saved.after)?,
            Kind::Notification => notifications::saved(self, connection, saved.before.as_ref(), &saved.after)?,
            Kind::Schedule => drop(schedules::reconcile(self, connection, saved.before.as_ref(), &saved.after)?),
            Kind::Setting => {
                if let Some(before) = &saved.before {
                    locks::check_change(connection, &Lock::of(before), stamp.execution)?;
                }
                schedules::setting_saved(self, connection, saved.before.as_ref(), &saved.after)?;
            }
            _ => {}
        }
        if let Some(before) = &saved.before
            && before["project_id"] != saved.after["project_id"]
        {
            // What other rules tell of from now on.
            notified::forget_subject(connection, id_of(before))?;
        }
        if saved.before.as_ref().is_none_or(|before| before["project_id"] != saved.after["project_id"]) {
            schedules::go_on(self, connection, kind, &saved.after)?;
        }
        Ok(saved)
    }

    /// Deletes a record of any kind, or one that is in the trash for good.
    pub(crate) fn delete_record(
        &self,
        connection: &Connection,
        kind: Kind,
        record: &Value,
        permanently: bool,
        stamp: &Stamp,
    ) -> StoreResult<()> {
        if kind == Kind::Approval {
            return Err(StoreError::invalid("approvals are not deleted; they go with their execution"));
        }
        if record["deleted_at"].is_string() {
            // What follows from its end followed when it went to the trash.
            return records::delete(connection, kind, id_of(record), permanently, stamp);
        }
        references::check_delete(connection, kind, record)?;
        if kind == Kind::Schedule {
            let mut disabled = record.clone();
            disabled["is_enabled"] = false.into();
            schedules::reconcile(self, connection, None, &disabled)?;
        }
        if kind == Kind::Setting {
            locks::check_delete(connection, &Lock::of(record), stamp.execution)?;
        }
        records::delete(connection, kind, id_of(record), permanently, stamp)?;
        match kind {
            Kind::User => {
                keep_an_admin(connection, record)?;
                sessions::delete_of_user(connection, id_of(record), None)?;
                sessions::delete_links(connection, Some(id_of(record)))
            }
            Kind::Flow => {
                places::give(connection, id_of(record))?;
                notified::forget_subject(connection, id_of(record))
            }
            Kind::Schedule => notified::forget_subject(connection, id_of(record)),
            Kind::Notification => notified::forget_rule(connection, id_of(record)),
            _ => Ok(()),
        }
    }

    /// A record as users see it: without secrets.
    pub(crate) fn present(&self, kind: Kind, mut record: Value) -> Value {
        if kind == Kind::Connector
            && let Some(config) = record["config"].as_object()
        {
            let ty = record["type"].as_str().unwrap_or_default();
            record["config"] = Value::Object(self.redact(ty, config));
        }
        if let Some(record) = record.as_object_mut() {
            for field in kind.fields().filter(|field| field.hidden) {
                record.remove(field.name);
            }
        }
        record
    }

    /// Inputs of a connector of that type without secrets. Of an unknown type nothing is shown.
    fn redact(&self, ty: &str, inputs: &Map<String, Value>) -> Map<String, Value> {
        match self.connectors.get(ty) {
            Some(connector) => connector.rules.redact(inputs),
            None => inputs.keys().map(|name| (name.clone(), "***".into())).collect(),
        }
    }

    /// Fields to be saved, as the journal may show them.
    pub(crate) fn redact_fields(&self, kind: &str, fields: &Map<String, Value>) -> Value {
        if Kind::parse(kind) != Ok(Kind::Connector) {
            return Value::Object(fields.clone());
        }
        let mut fields = fields.clone();
        if let Some(config) = fields.get_mut("config") {
            // Without the type of the stored record a schema is not known; no value is shown then.
            let names: Map<String, Value> =
                config.as_object().into_iter().flat_map(Map::keys).map(|name| (name.clone(), "***".into())).collect();
            *config = Value::Object(names);
        }
        Value::Object(fields)
    }

    /// An execution of a flow's present version, by name or id, that acts with the rights of its starter as far as the
    /// flow lets it. The caller sets what is special about it.
    pub(crate) fn new_flow_execution(
        &self,
        connection: &Connection,
        id: String,
        flow: &str,
        input: Value,
        by: &str,
        starter: &Rights,
    ) -> StoreResult<NewExecution> {
        if flow == NOTIFY {
            let text = "notifications are sent by the engine; `surefoot notification test NAME` tries one";
            return Err(StoreError::invalid(text));
        }
        let mut acts_as = starter.capped(None, Role::OF_FLOWS);
        let (mut deadline, mut admission, mut priority) = (None, Admission::Unlimited, 0);
        let (flow_id, name, version) = match flow.strip_prefix("native:") {
            Some(native) if self.natives.contains_key(native) => (flow.to_owned(), native.to_owned(), flow.to_owned()),
            _ => {
                let record = self.flows.require_within(connection, &self.writer, flow)?;
                let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
                if text("version").is_empty() {
                    return Err(StoreError::invalid(format!("flow `{}` has no version yet; deploy it", text("name"))));
                }
                let allowed = record["deadline_ms"].as_u64().map(Duration::from_millis);
                deadline = allowed.map(|allowed| self.now().after(allowed));
                admission = places::admission(&record);
                priority = record["priority"].as_i64().unwrap_or_default();
                acts_as = acts_as.capped(record["project_id"].as_str(), Role::of_flow(&record));
                (text("id"), text("name"), text("version"))
            }
        };
        let mut input = input;
        if flow_id == secrets::TRY {
            secrets::seal_tried(&self.secrets.vault, &self.connectors, connection, &mut input)?;
        }
        let new = self.new_execution(id, version, input, by, acts_as);
        Ok(NewExecution { flow_id, name, deadline, admission, priority, ..new })
    }

    /// An execution with nothing special about it, without its flow and its name.
    pub(crate) fn new_execution(
        &self,
        id: String,
        version: String,
        input: Value,
        by: &str,
        acts_as: Rights,
    ) -> NewExecution {
        let started = Started {
            at: self.now(),
            entropy: self.config.entropy.bytes32().to_vec(),
            version,
            limits: self.config.limits,
            end_actions: Vec::new(),
            depth: 0,
            origins: Vec::new(),
            inherited: Vec::new(),
            digests: DigestVersion::NEWEST,
            locks: Vec::new(),
            engine: env!("CARGO_PKG_VERSION").to_owned(),
            acts_as,
        };
        NewExecution {
            id,
            ty: ExecutionType::Flow,
            name: String::new(),
            flow_id: String::new(),
            parent_id: None,
            orphan: false,
            schedule_id: None,
            webhook_id: None,
            idempotency_key: None,
            created_by: by.to_owned(),
            input,
            not_before: None,
            deadline: None,
            admission: Admission::Unlimited,
            priority: 0,
            restarted_from: None,
            begins_at_once: false,
            started,
        }
    }

    /// An execution or connection by id, as users see it.
    pub(crate) fn execution_json(&self, connection: &Connection, id: &str) -> StoreResult<Option<Value>> {
        match id::parse_connection_id(id) {
            None => Ok(executions::get(connection, id)?.map(|(_, row)| self.present_execution(row))),
            Some((parent, n)) => {
                Ok(self.connections_of(connection, parent)?.into_iter().find(|row| row["id"] == id && n < u32::MAX))
            }
        }
    }

    /// An execution as users see it: what a connector was tried with may hold secrets.
    pub(crate) fn present_execution(&self, mut row: Value) -> Value {
        // A child gets what its parent gives it, tokens of questions included.
        hide_tokens(&mut row["input"]);
        if row["flow_id"] != secrets::TRY {
            return row;
        }
        let ty = self.readers.read(|connection| secrets::type_tried(connection, &row["input"])).ok().flatten();
        if let Some(inputs) = row["input"]["inputs"].as_object() {
            row["input"]["inputs"] = Value::Object(self.redact(ty.as_deref().unwrap_or_default(), inputs));
        }
        row
    }

    /// The execution with that id, or the one that has taken its place by continuing as new.
    pub(crate) fn last_of_chain(&self, connection: &Connection, id: &str) -> StoreResult<Option<Value>> {
        let last = executions::last_of_chain(connection, id)?;
        let found = executions::get(connection, &last)?.map(|(_, row)| row);
        Ok(found.map(|row| self.present_execution(row)))
    }

    /// The connections of an execution, from its journal, in the order of their starts.
    pub(crate) fn connections_of(&self, connection: &Connection, parent_id: &str) -> StoreResult<Vec<Value>> {
        match executions::get(connection, parent_id)? {
            Some((key, parent)) => self.connections(connection, key, &parent),
            None => Ok(Vec::new()),
        }
    }

    fn connections(&self, connection: &Connection, key: Key, parent: &Value) -> StoreResult<Vec<Value>> {
        let parent_id = parent["id"].as_str().unwrap_or_default();
        let mut rows: Vec<Value> = Vec::new();
        let mut starts = HashMap::new();
        for record in journal::read(connection, key)? {
            match record {
                Record::Call { n, kind, args, at, connection: Some(start), .. } => {
                    let input = shown_args(kind, &args, Some(&start), None)["inputs"].take();
                    rows.push(json!({
                        "id": id::connection_id(parent_id, n), "type": "CONNECTION", "name": start.name,
                        "status": Status::Running,
                        "message": "", "error_code": "", "error_message": "", "flow_id": "", "version": "",
                        "connector_id": start.connector_id, "connector_type": start.connector_type,
                        "effect": start.effect,
                        "parent_id": parent_id, "orphan": false, "schedule_id": null, "webhook_id": null,
                        "created_at": at.to_string(),
                        "created_by": format!("execution {parent_id}"), "started_at": at.to_string(), "ended_at": null,
                        "scheduled_for": null, "deadline": null, "priority": 0,
                        "input": input, "output": null, "response": null,
                        "response_status": null,
                        "continued_as": null, "restarted_from": null, "restarted_from_call": null,
                        "attempts": [], "cached_at": null,
                    }));
                    starts.insert(n, (rows.len() - 1, start));
                }
                Record::Settled { n, began, at, outcome, attempts, cached_at } => {
                    if let Some((index, start)) = starts.get(&n) {
                        let row = &mut rows[*index];
                        let first = attempts.first().map_or(began, |attempt| attempt.began);
                        settle(row, start, &outcome, first.to_string(), at.to_string());
                        row["attempts"] = attempts.iter().map(shown_attempt).collect();
                        row["cached_at"] = json!(cached_at.map(|at| at.to_string()));
                    }
                }
                _ => {}
            }
        }
        // They are in the trash when their parent is.
        if let Some(deleted_at) = parent.get("deleted_at") {
            rows.iter_mut().for_each(|row| row["deleted_at"] = deleted_at.clone());
        }
        Ok(rows)
    }

    /// One page of any kind.
    pub(crate) fn query(&self, connection: &Connection, query: &Query) -> StoreResult<Page> {
        match query.kind {
            Kind::Execution => match wanted_connections(query.filter.as_ref()) {
                Wanted::No => {
                    let page = executions::list(connection, query)?;
                    let rows = page.rows.into_iter().map(|row| self.present_execution(row)).collect();
                    Ok(Page { rows, next: page.next })
                }
                Wanted::OfParent(parent) => self.list_of_parent(connection, query, &parent),
                Wanted::OfAnyParent => self.list_connections(connection, query),
            },
            Kind::Approval => approvals::list(connection, query),
            kind => {
                let page = records::list(connection, query)?;
                let rows = page.rows.into_iter().map(|row| self.present(kind, row)).collect();
                Ok(Page { rows, next: page.next })
            }
        }
    }

    /// Children and connections of one execution, in one list.
    fn list_of_parent(&self, connection: &Connection, query: &Query, parent: &str) -> StoreResult<Page> {
        let mut children = query.clone();
        children.cursor = None;
        children.limit = crate::query::LIMIT_MAX;
        let mut rows = Vec::new();
        loop {
            let page = executions::list(connection, &children)?;
            rows.extend(page.rows.into_iter().map(|row| self.present_execution(row)));
            match page.next {
                Some(next) => {
                    children.cursor =
                        Some(Cursor::parse(&next).map_err(|error| StoreError::invalid(error.to_string()))?)
                }
                None => break,
            }
        }
        let matches = |row: &Value| is_wanted(query, row);
        let is_in_reach = match &query.projects {
            Some(projects) => executions::is_in(connection, parent, projects)?,
            None => true,
        };
        if is_in_reach {
            rows.extend(self.connections_of(connection, parent)?.into_iter().filter(matches));
        }
        Ok(sorted_page(query, rows))
    }

    /// Connections of any parent: reads the journals of the newest executions, a bounded number of them.
    fn list_connections(&self, connection: &Connection, query: &Query) -> StoreResult<Page> {
        let mut parents = Query::parse(Kind::Execution, None, Some("-created_at"), Some(PARENTS_MAX), None)
            .map_err(|error| StoreError::invalid(error.to_string()))?;
        parents.deleted = query.deleted;
        parents.projects.clone_from(&query.projects);
        let mut rows = Vec::new();
        for parent in executions::list(connection, &parents)?.rows {
            let found = self.connections_of(connection, parent["id"].as_str().unwrap_or_default())?;
            rows.extend(found.into_iter().filter(|row| is_wanted(query, row)));
        }
        Ok(sorted_page(query, rows))
    }
}

/// Projects may be given by name, and are named by id from then on: roles are given by it.
fn name_projects_by_id(connection: &Connection, fields: &mut Map<String, Value>) -> StoreResult<()> {
    let id = |key: &str| match records::get(connection, Kind::Project, key)? {
        Some(project) => Ok(id_of(&project).to_owned()),
        None => Err(StoreError::not_found("project", key)),
    };
    if let Some(Value::String(key)) = fields.get_mut("project_id") {
        *key = id(key)?;
    }
    if let Some(Value::Object(roles)) = fields.get_mut("project_roles") {
        let by_id = std::mem::take(roles).into_iter().map(|(key, role)| Ok((id(&key)?, role)));
        *roles = by_id.collect::<StoreResult<_>>()?;
    }
    Ok(())
}

/// Refuses a change after which nobody who logs in is an admin of the workspace any more, although somebody was.
fn keep_an_admin(connection: &Connection, before: &Value) -> StoreResult<()> {
    if before["role"] != Role::Admin.as_str() || before["is_enabled"] != true {
        return Ok(());
    }
    let is = |field: &str, value: Value| json!({"field": field, "op": "eq", "value": value});
    let mut filter = vec![is("role", Role::Admin.as_str().into()), is("is_enabled", true.into())];
    if before["has_password"] == true {
        // Who has none cannot take this one's place yet.
        filter.push(is("has_password", true.into()));
    }
    let filter = json!({ "and": filter });
    let admins = Query::parse(Kind::User, Some(&filter), None, Some(1), None);
    let admins = admins.map_err(|error| StoreError::invalid(error.to_string()))?;
    if !records::list(connection, &admins)?.rows.is_empty() {
        return Ok(());
    }
    let name = before["name"].as_str().unwrap_or_default();
    let text = format!(
        "`{name}` is the last enabled admin of the workspace who can log in: make another one first, who has set a \
         password. `surefoot user reset {name}` takes the password away and logs them out"
    );
    Err(StoreError::Refused(Refusal::Conflict(text)))
}

fn id_of(record: &Value) -> &str {
    record["id"].as_str().unwrap_or_default()
}

fn settle(row: &mut Value, start: &crate::journal::ConnectionStart, outcome: &Outcome, began: String, at: String) {
    let id = row["id"].as_str().unwrap_or_default().to_owned();
    row["started_at"] = began.into();
    row["ended_at"] = at.into();
    match calls::failure(&id, start, outcome) {
        None => row["status"] = json!(Status::EndedSuccess),
        Some(failure) => {
            row["status"] = json!(failure.status);
            row["error_code"] = failure.code.into();
            row["error_message"] = failure.message.into();
        }
    }
    if let Outcome::Success(output) = outcome {
        row["output"] = output.value().into_owned();
    }
}

/// What SQL says of rows that have a row of their own.
fn is_wanted(query: &Query, row: &Value) -> bool {
    query.deleted == row["deleted_at"].is_string() && query.filter.as_ref().is_none_or(|filter| filter.matches(row))
}

enum Wanted {
    No,
    OfParent(String),
    OfAnyParent,
}

/// Connections are listed when the filter asks for them by type, or for the children of one execution.
fn wanted_connections(filter: Option<&Filter>) -> Wanted {
    let Some(filter) = filter else {
        return Wanted::No;
    };
    let ty = filter.required_value("type").and_then(Value::as_str);
    match (filter.required_value("parent_id").and_then(Value::as_str), ty) {
        (_, Some(ty)) if ty != "CONNECTION" => Wanted::No,
        (Some(parent), _) => Wanted::OfParent(parent.to_owned()),
        (None, Some(_)) => Wanted::OfAnyParent,
        (None, None) => Wanted::No,
    }
}

/// Connections of one execution in the order of their calls, everything else by id.
fn tie_break(row: &Value) -> (&str, u32) {
    let id = row["id"].as_str().unwrap_or_default();
    id::parse_connection_id(id).unwrap_or((id, 0))
}

/// Orders and cuts rows in memory, as SQL does for the others.
fn sorted_page(query: &Query, mut rows: Vec<Value>) -> Page {
    rows.sort_by(|left, right| compare(query, left, right));
    if let Some(Cursor(value, id, _)) = &query.cursor {
        // By value, not by position: the row itself may be gone from the list since.
        let mut last = serde_json::json!({ "id": id });
        last[query.order.field.name] = match (query.order.field.ty, value.as_i64()) {
            (FieldType::Time, Some(micros)) => crate::clock::Timestamp(micros).to_string().into(),
            _ => value.clone(),
        };
        rows.retain(|row| compare(query, row, &last).is_gt());
    }
    records::page(query, rows)
}

fn compare(query: &Query, left: &Value, right: &Value) -> std::cmp::Ordering {
    let field = query.order.field.name;
    let key = |row: &Value| match &row[field] {
        Value::Null => (true, String::new()),
        Value::String(text) => (false, text.clone()),
        Value::Bool(value) => (false, u8::from(*value).to_string()),
        other => (false, format!("{:020}", other.as_i64().unwrap_or(0))),
    };
    let ((left_null, left_key), (right_null, right_key)) = (key(left), key(right));
    let by_key = if query.order.descending { right_key.cmp(&left_key) } else { left_key.cmp(&right_key) };
    left_null.cmp(&right_null).then(by_key).then_with(|| tie_break(left).cmp(&tie_break(right)))
}
