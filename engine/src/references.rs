//! Which records name which others. What is named must be there when it is named; and while something at work names it,
//! it stays: it is neither deleted, nor given another name than the one that it is called by, nor taken out of reach.

use rusqlite::Connection;
use serde_json::{Map, Value, json};

use crate::core::Core;
use crate::grant::Grant;
use crate::people::{ACTS_AS, Rights, Role};
use crate::query::{Kind, LIMIT_MAX, Query};
use crate::store::{Refusal, StoreError, StoreResult, records};

/// A kind, its field that names another record by id or name, and the kind of that one.
const REFERENCES: [(Kind, &str, Kind); 7] = [
    (Kind::Scheduler, "flow_id", Kind::Flow),
    (Kind::Schedule, "scheduler_id", Kind::Scheduler),
    (Kind::Schedule, "setting_id", Kind::Setting),
    (Kind::Schedule, "flow_id", Kind::Flow),
    (Kind::Webhook, "flow_id", Kind::Flow),
    (Kind::Notification, "flow_id", Kind::Flow),
    (Kind::Notification, "connector_id", Kind::Connector),
];

/// Users that a refusal names.
const NAMED_MAX: usize = 5;

/// The built-in scheduler: every workspace has it.
pub(crate) const CRON: &str = "cron";

/// A record that names another one.
struct User {
    kind: Kind,
    record: Value,
}

/// Refuses a record that names what is not there: with what it names since this change, or, when that enabled it, with
/// anything that it names.
pub(crate) fn check_named(
    core: &Core,
    connection: &Connection,
    kind: Kind,
    before: Option<&Value>,
    after: &Value,
) -> StoreResult<()> {
    let is_on = |record: &Value| record["is_enabled"] == true;
    let looks_at_all = is_on(after) && !before.is_some_and(is_on);
    for (_, field, to) in REFERENCES.into_iter().filter(|(of, ..)| *of == kind) {
        let Some(key) = after[field].as_str() else { continue };
        let is_new = before.is_none_or(|before| before[field] != after[field]);
        let is_native = || key.strip_prefix("native:").is_some_and(|native| core.natives.contains_key(native));
        if !(is_new || looks_at_all) || to == Kind::Flow && is_native() {
            continue;
        }
        find(connection, kind, field, to, key)?;
    }
    Ok(())
}

/// The record that a field of another one names.
fn find(connection: &Connection, kind: Kind, field: &str, to: Kind, key: &str) -> StoreResult<Value> {
    records::require(connection, to, key).map_err(|error| match error {
        StoreError::Refused(Refusal::NotFound(text)) => {
            StoreError::invalid(format!("`{field}` of the {}: {text}", kind.as_str()))
        }
        error => error,
    })
}

/// The records that a rule names, by their ids, so that they may get other names.
pub(crate) fn name_by_id(connection: &Connection, kind: Kind, fields: &mut Map<String, Value>) -> StoreResult<()> {
    for (_, field, to) in REFERENCES.into_iter().filter(|(of, ..)| *of == kind) {
        if let Some(Value::String(key)) = fields.get_mut(field) {
            *key = text(&find(connection, kind, field, to, key)?, "id").to_owned();
        }
    }
    Ok(())
}

/// Refuses to take a record out of the trash that would be at work, or in a project, without what it names.
pub(crate) fn check_restore(core: &Core, connection: &Connection, kind: Kind, record: &Value) -> StoreResult<()> {
    if let Some(project) = record["project_id"].as_str()
        && records::by_id(connection, Kind::Project, project)?.is_none()
    {
        return Err(conflict(format!("its project, {project}, is not there: restore that one first")));
    }
    match record["is_enabled"] == true {
        true => check_named(core, connection, kind, None, record),
        false => Ok(()),
    }
}

/// Refuses that a record goes which something at work names.
pub(crate) fn check_delete(connection: &Connection, kind: Kind, record: &Value) -> StoreResult<()> {
    if is_built_in(kind, record) {
        return Err(conflict(format!("the scheduler `{CRON}` is built in, and stays")));
    }
    let users = users(connection, kind, &[text(record, "id"), text(record, "name")])?;
    refuse(kind, record, "is", &users)
}

/// Refuses a change of a record after which something at work would name it in vain.
pub(crate) fn check_change(connection: &Connection, kind: Kind, before: &Value, after: &Value) -> StoreResult<()> {
    let changes = |field: &str| before[field] != after[field];
    if is_built_in(kind, before) && ["name", "flow_id", "project_id"].into_iter().any(changes) {
        return Err(conflict(format!("the scheduler `{CRON}` is built in, and stays as it is; make one of your own")));
    }
    if changes("name") && text(before, "name") != text(before, "id") {
        let users = users(connection, kind, &[text(before, "name")])?;
        refuse(kind, before, "is by this name", &users)?;
    }
    if changes("project_id") {
        let mut lost = users(connection, kind, &[text(before, "id"), text(before, "name")])?;
        lost.retain(|user| user.reaches(kind, before) && !user.reaches(kind, after));
        refuse(kind, before, "would be out of reach there, and is", &lost)?;
    }
    Ok(())
}

impl User {
    /// Whether what acts as somebody may reach the record.
    fn reaches(&self, kind: Kind, record: &Value) -> bool {
        if self.record.get(ACTS_AS).is_none() {
            return true;
        }
        let grant = Grant::of_execution(&Rights::of_saved(&self.record), Role::Operator);
        let is_for_all = kind == Kind::Scheduler && record["project_id"].is_null();
        is_for_all || grant.is_everywhere() || grant.check(kind, record, "").is_ok()
    }
}

/// What is at work and names a record by one of these: what can be enabled, only while it is.
fn users(connection: &Connection, kind: Kind, keys: &[&str]) -> StoreResult<Vec<User>> {
    let mut users = Vec::new();
    let mut look = |of: Kind, filter: Value| {
        let query = Query::parse(of, Some(&filter), None, Some(LIMIT_MAX), None);
        let query = query.map_err(|error| StoreError::invalid(error.to_string()))?;
        let rows = records::list(connection, &query)?.rows;
        users.extend(rows.into_iter().map(|record| User { kind: of, record }));
        StoreResult::Ok(())
    };
    let is_one = |field: &str| json!({"field": field, "op": "in", "value": keys});
    match kind {
        Kind::Project => {
            for (of, ..) in Kind::ALL.into_iter().filter(|(of, ..)| of.has_project()) {
                look(of, is_one("project_id"))?;
            }
        }
        Kind::Secret => {
            for name in records::connectors_with_secret(connection, keys)? {
                look(Kind::Connector, json!({"field": "id", "op": "eq", "value": name}))?;
            }
        }
        _ => {
            for (of, field, _) in REFERENCES.into_iter().filter(|(.., to)| *to == kind) {
                let is_on = json!({"field": "is_enabled", "op": "eq", "value": true});
                match of.field("is_enabled") {
                    Ok(_) => look(of, json!({"and": [is_one(field), is_on]}))?,
                    Err(_) => look(of, is_one(field))?,
                }
            }
        }
    }
    Ok(users)
}

fn refuse(kind: Kind, record: &Value, is: &str, users: &[User]) -> StoreResult<()> {
    if users.is_empty() {
        return Ok(());
    }
    let name = |user: &User| format!("{} `{}`", user.kind.as_str(), text(&user.record, "name"));
    let mut named: Vec<String> = users.iter().take(NAMED_MAX).map(name).collect();
    if let Some(more) = users.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        named.push(format!("{more} more"));
    }
    let todo = match kind {
        Kind::Project => "move them to another project, or delete them, first",
        _ if users.iter().all(|user| user.kind.field("is_enabled").is_ok()) => "disable them first, or change them",
        _ => "change or delete them first",
    };
    let (kind, record) = (kind.as_str(), text(record, "name"));
    Err(conflict(format!("the {kind} `{record}` {is} used by {}: {todo}", named.join(", "))))
}

fn is_built_in(kind: Kind, record: &Value) -> bool {
    kind == Kind::Scheduler && record["id"] == CRON
}

fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or_default()
}

fn conflict(text: String) -> StoreError {
    StoreError::Refused(Refusal::Conflict(text))
}
