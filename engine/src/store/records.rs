//! Records of every kind: get, list, save, delete. One way for all kinds.

use std::ops::RangeInclusive;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, Rows, params, params_from_iter};
use serde_json::{Map, Value, json};
use surefoot_connector_api::is_secret_name;

use super::executions::Key;
use super::locks::LOCKED_BY;
use super::{Refusal, StoreError, StoreResult};
use crate::approvals::SCHEMA_BYTES_MAX;
use crate::clock::Timestamp;
use crate::deadline::MILLIS_MAX;
use crate::people::{ACTS_AS, Rights, Role};
use crate::query::{Cursor, FieldType, Kind, Page, Query, plan};

/// The field of a schedule that says why it has no iteration, or how the last one failed.
pub(crate) const LAST_ERROR: &str = "last_error";

/// Names and ids, characters.
const NAME_MAX: usize = 256;

const COLUMNS: &str = "id, name, revision, created_at, created_by, modified_at, modified_by, deleted_at, data";

/// The columns to read of a kind, and where: of settings also who holds them as a lock.
fn source(kind: Kind) -> (String, String) {
    match kind {
        Kind::Setting => {
            let rows = format!("(SELECT records.*, {LOCKED_BY} AS locked_by FROM records)");
            (format!("{COLUMNS}, locked_by"), rows)
        }
        _ => (COLUMNS.to_owned(), table(kind).to_owned()),
    }
}

/// The table that a kind is in.
fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::Audit => "audit",
        _ => "records",
    }
}

/// Who changes something, and when.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    pub(crate) who: String,
    pub(crate) now: Timestamp,
    /// For a record that is created now.
    pub(crate) new_id: String,
    /// What a record that starts flows acts as from now on. None: as before.
    pub(crate) acts_as: Option<Rights>,
    /// The execution that does it, if one does: it may change what it has locked.
    pub(crate) execution: Option<Key>,
}

/// The record with that id, or else with that name, that is not in the trash. No name is the id of another record: see
/// [`check_unambiguous`].
pub(crate) fn get(connection: &Connection, kind: Kind, key: &str) -> StoreResult<Option<Value>> {
    let (columns, rows) = source(kind);
    let sql = format!(
        "SELECT {columns} FROM {rows} WHERE kind = ?1 AND (name = ?2 OR id = ?2) AND deleted_at IS NULL ORDER \
             BY id = ?2 DESC LIMIT 1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_row(params![kind.as_str(), key], |row| Ok(to_json(row))).optional()?.transpose()
}

/// The record with exactly that id, that is not in the trash: for ids that the engine itself has stored.
pub(crate) fn by_id(connection: &Connection, kind: Kind, id: &str) -> StoreResult<Option<Value>> {
    Ok(get(connection, kind, id)?.filter(|record| record["id"] == id))
}

/// The record with exactly that id that is in the trash.
pub(crate) fn in_trash(connection: &Connection, kind: Kind, id: &str) -> StoreResult<Option<Value>> {
    let (columns, rows) = source(kind);
    let sql = format!("SELECT {columns} FROM {rows} WHERE kind = ?1 AND id = ?2 AND deleted_at IS NOT NULL");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_row(params![kind.as_str(), id], |row| Ok(to_json(row))).optional()?.transpose()
}

/// Like [`get`], refusing when there is none.
pub(crate) fn require(connection: &Connection, kind: Kind, key: &str) -> StoreResult<Value> {
    match get(connection, kind, key)? {
        Some(record) => Ok(record),
        None => {
            let near =
                nearest(connection, kind, key)?.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let key: String = key.chars().take(NAME_MAX).collect();
            Err(StoreError::Refused(Refusal::NotFound(format!("there is no {} `{key}`{near}", kind.as_str()))))
        }
    }
}

fn nearest(connection: &Connection, kind: Kind, key: &str) -> StoreResult<Option<String>> {
    if key.len() > NAME_MAX {
        return Ok(None);
    }
    let mut statement =
        connection.prepare_cached("SELECT name FROM records WHERE kind = ?1 AND deleted_at IS NULL LIMIT 1000")?;
    let names = statement.query_map([kind.as_str()], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    let near = names.into_iter().map(|name| (strsim::damerau_levenshtein(key, &name), name)).min();
    Ok(near.filter(|(distance, name)| *distance <= 2.max(name.len() / 5)).map(|(_, name)| name))
}

/// One page of records.
pub(crate) fn list(connection: &Connection, query: &Query) -> StoreResult<Page> {
    let (plan, (columns, rows)) = (plan(query), source(query.kind));
    let mut statement = connection.prepare_cached(&format!("SELECT {columns} FROM {rows} {}", plan.sql))?;
    read_page(query, statement.query(params_from_iter(plan.parameters))?, to_json)
}

/// What the rows of one page may have together, bytes: a page stands in memory as a whole, and in a journal.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// Reads a page: as many rows as the query asks for, or fewer when they are long, but one at least.
pub(super) fn read_page(
    query: &Query,
    mut rows: Rows<'_>,
    to_json: impl Fn(&Row<'_>) -> StoreResult<Value>,
) -> StoreResult<Page> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let texts = (0..row.as_ref().column_count()).map(|index| match row.get_ref(index) {
            Ok(ValueRef::Text(text) | ValueRef::Blob(text)) => text.len(),
            _ => 0,
        });
        bytes += texts.sum::<usize>();
        if bytes > PAGE_BYTES_MAX && !found.is_empty() {
            return Ok(cut(query, found));
        }
        found.push(to_json(row)?);
    }
    Ok(page(query, found))
}

/// Cuts the row that only told that there are more, and says where they start.
pub(crate) fn page(query: &Query, mut rows: Vec<Value>) -> Page {
    let limit = query.limit as usize;
    if rows.len() <= limit {
        return Page { rows, next: None };
    }
    rows.truncate(limit);
    cut(query, rows)
}

/// A page after which there are more rows.
fn cut(query: &Query, rows: Vec<Value>) -> Page {
    let next = rows.last().map(|row| {
        let value = match (query.order.field.ty, &row[query.order.field.name]) {
            (FieldType::Time, Value::String(text)) => {
                text.parse::<Timestamp>().map_or(Value::Null, |at| Value::from(at.0))
            }
            (_, value) => value.clone(),
        };
        Cursor(value, row["id"].as_str().unwrap_or_default().to_owned(), Some(query.list())).to_text()
    });
    Page { rows, next }
}

/// What is asked for when a record is saved.
#[derive(Clone, Debug)]
pub(crate) enum Saving {
    /// The record with that name or id is updated; where there is none, one with that name is created.
    Either(String),
    /// One with that name is created. It is a conflict when there is one.
    New(String),
    /// The one with that name or id is updated. It must be there.
    Present(String),
}

impl Saving {
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Either(key) | Self::New(key) | Self::Present(key) => key,
        }
    }
}

/// Creates the record, or updates the fields given: see [`Saving::Either`].
pub(crate) fn save(
    connection: &Connection,
    kind: Kind,
    key: &str,
    fields: &Map<String, Value>,
    stamp: &Stamp,
) -> StoreResult<Value> {
    Ok(write(connection, kind, &Saving::Either(key.to_owned()), fields, stamp)?.after)
}

/// A record that was created or updated.
#[derive(Debug)]
pub(crate) struct Saved {
    /// None where it was created.
    pub(crate) before: Option<Value>,
    pub(crate) after: Value,
}

/// Creates a record or updates the fields given. A `revision` among them must be the present one.
pub(crate) fn write(
    connection: &Connection,
    kind: Kind,
    saving: &Saving,
    fields: &Map<String, Value>,
    stamp: &Stamp,
) -> StoreResult<Saved> {
    let key = saving.key();
    let present = match saving {
        Saving::Either(key) => get(connection, kind, key)?,
        Saving::Present(key) => Some(require(connection, kind, key)?),
        Saving::New(name) => match get(connection, kind, name)? {
            Some(_) => return Err(exists(kind, name)),
            None => None,
        },
    };
    let mut document = match &present {
        Some(record) => own_fields(kind, record),
        None => Map::new(),
    };
    let mut name = present.as_ref().map_or(key, |record| record["name"].as_str().unwrap_or(key)).to_owned();
    let mut id = None;
    for (field_name, value) in fields {
        match (field_name.as_str(), value) {
            ("name", Value::String(new)) => name.clone_from(new),
            ("id", Value::String(wanted)) => id = Some(wanted.clone()),
            ("revision", wanted) => check_revision(kind, key, present.as_ref(), wanted)?,
            _ => {
                set_field(kind, &mut document, field_name, value)?;
                if field_name == "is_enabled" {
                    // Who decides it now knows better than what decided it before.
                    document.remove("disabled_reason");
                    document.remove(LAST_ERROR);
                }
            }
        }
    }
    if let Some(rights) = stamp.acts_as.as_ref().filter(|_| kind.fields().any(|field| field.name == ACTS_AS)) {
        document.insert(ACTS_AS.to_owned(), json!(rights));
    }
    check_name(kind, &name)?;
    validate(kind, &document)?;
    let id = match &present {
        Some(record) => {
            let present_id = record["id"].as_str().unwrap_or_default();
            if id.is_some_and(|id| id != present_id) {
                return Err(StoreError::invalid(format!("the id of {} `{key}` cannot change", kind.as_str())));
            }
            if record["name"] != name.as_str() {
                check_unambiguous(connection, kind, present_id, &name)?;
            }
            update(connection, kind, present_id, &name, &document, stamp)?;
            present_id.to_owned()
        }
        None => {
            let id = id.unwrap_or_else(|| stamp.new_id.clone());
            check_name(kind, &id)?;
            insert(connection, kind, &id, &name, &document, stamp)?;
            id
        }
    };
    let after = by_id(connection, kind, &id)?.ok_or_else(|| StoreError::not_found(kind.as_str(), &id))?;
    Ok(Saved { after, before: present })
}

/// Ids of the connectors whose stored inputs name one of these secrets.
pub(crate) fn connectors_with_secret(connection: &Connection, names: &[&str]) -> StoreResult<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT id FROM records WHERE kind = 'connector' AND deleted_at IS NULL AND instr(data, ?1) ORDER BY name",
    )?;
    let mut ids = Vec::new();
    for name in names {
        // As it stands in JSON: a secret's name has nothing that is escaped there.
        let found = statement.query_map([format!("\"secret({name})\"")], |row| row.get(0))?;
        ids.extend(found.collect::<Result<Vec<String>, _>>()?);
    }
    ids.dedup();
    Ok(ids)
}

/// Sets fields that only the engine sets, such as a flow's version.
pub(crate) fn set_computed(
    connection: &Connection,
    kind: Kind,
    id: &str,
    fields: &Value,
    stamp: &Stamp,
) -> StoreResult<()> {
    connection
        .prepare_cached(
            "UPDATE records SET data = json_patch(data, ?1), revision = revision + 1, modified_at = ?2, modified_by \
             = ?3 WHERE kind = ?4 AND id = ?5",
        )?
        .execute(params![fields.to_string(), stamp.now.0, stamp.who, kind.as_str(), id])?;
    Ok(())
}

/// Moves the record with that id to the trash, or deletes it for good.
pub(crate) fn delete(
    connection: &Connection,
    kind: Kind,
    id: &str,
    permanently: bool,
    stamp: &Stamp,
) -> StoreResult<()> {
    if permanently {
        connection
            .prepare_cached("DELETE FROM records WHERE kind = ?1 AND id = ?2")?
            .execute(params![kind.as_str(), id])?;
    } else {
        connection
            .prepare_cached(
                "UPDATE records SET deleted_at = ?3, modified_by = ?4, revision = revision + 1 \
                 WHERE kind = ?1 AND id = ?2",
            )?
            .execute(params![kind.as_str(), id, stamp.now.0, stamp.who])?;
    }
    Ok(())
}

/// Takes a record out of the trash.
pub(crate) fn restore(connection: &Connection, kind: Kind, id: &str) -> StoreResult<Value> {
    let Some(record) = in_trash(connection, kind, id)? else {
        let text = format!("there is no {} with id `{id}` in the trash", kind.as_str());
        return Err(StoreError::Refused(Refusal::NotFound(text)));
    };
    let name = record["name"].as_str().unwrap_or_default().to_owned();
    check_unambiguous(connection, kind, id, &name)?;
    connection
        .prepare_cached("UPDATE records SET deleted_at = NULL, revision = revision + 1 WHERE kind = ?1 AND id = ?2")?
        .execute(params![kind.as_str(), id])
        .map_err(|error| match name_taken(error, kind, &name) {
            StoreError::Refused(_) => {
                let kind = kind.as_str();
                let text = format!("there is another {kind} named `{name}` now; rename or delete that one first");
                StoreError::Refused(Refusal::Conflict(text))
            }
            failed => failed,
        })?;
    require(connection, kind, id)
}

/// Refuses a name that is the id of another record, and an id that is the name of one: whatever names a record, by name
/// or id, must go on to mean the same one. What is in the trash keeps its id.
fn check_unambiguous(connection: &Connection, kind: Kind, id: &str, name: &str) -> StoreResult<()> {
    let conflict = |text: String| Err(StoreError::Refused(Refusal::Conflict(text)));
    let word = kind.as_str();
    let mut has_id = connection.prepare_cached("SELECT 1 FROM records WHERE kind = ?1 AND id = ?2")?;
    if name != id && has_id.exists([word, name])? {
        return conflict(format!("the name `{name}` is the id of another {word}; choose another name"));
    }
    let mut has_name = connection
        .prepare_cached("SELECT 1 FROM records WHERE kind = ?1 AND name = ?2 AND id <> ?2 AND deleted_at IS NULL")?;
    if has_name.exists([word, id])? {
        let text = format!("the id `{id}` is the name of another {word}; choose another id, or rename that one first");
        return conflict(text);
    }
    Ok(())
}

/// Inserts a record as it is.
pub(crate) fn insert(
    connection: &Connection,
    kind: Kind,
    id: &str,
    name: &str,
    document: &Map<String, Value>,
    stamp: &Stamp,
) -> StoreResult<()> {
    check_unambiguous(connection, kind, id, name)?;
    connection
        .prepare_cached(&format!(
            "INSERT INTO {} (kind, id, name, revision, created_at, created_by, modified_at, modified_by, data)
             VALUES (?1, ?2, ?3, 1, ?4, ?5, ?4, ?5, ?6)",
            table(kind)
        ))?
        .execute(params![kind.as_str(), id, name, stamp.now.0, stamp.who, Value::Object(document.clone()).to_string()])
        .map_err(|error| name_taken(error, kind, name))?;
    Ok(())
}

fn update(
    connection: &Connection,
    kind: Kind,
    id: &str,
    name: &str,
    document: &Map<String, Value>,
    stamp: &Stamp,
) -> StoreResult<()> {
    connection
        .prepare_cached(
            "UPDATE records SET name = ?3, data = ?4, revision = revision + 1, modified_at = ?5, modified_by = ?6
             WHERE kind = ?1 AND id = ?2",
        )?
        .execute(params![kind.as_str(), id, name, Value::Object(document.clone()).to_string(), stamp.now.0, stamp.who])
        .map_err(|error| name_taken(error, kind, name))?;
    Ok(())
}

fn name_taken(error: rusqlite::Error, kind: Kind, name: &str) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => exists(kind, name),
        _ => error.into(),
    }
}

pub(crate) fn exists(kind: Kind, name: &str) -> StoreError {
    let text = format!("a {} named `{name}`, or with that id, exists already", kind.as_str());
    StoreError::Refused(Refusal::Conflict(text))
}

fn check_revision(kind: Kind, key: &str, present: Option<&Value>, wanted: &Value) -> StoreResult<()> {
    match present {
        Some(record) if record["revision"] == *wanted => Ok(()),
        Some(record) => Err(StoreError::Refused(Refusal::Conflict(format!(
            "{} `{key}` has revision {}, not {wanted}: it changed meanwhile; read it again",
            kind.as_str(),
            record["revision"]
        )))),
        None => Err(StoreError::not_found(kind.as_str(), key)),
    }
}

/// Whether a record of that kind may have that name.
pub(crate) fn check_name(kind: Kind, name: &str) -> StoreResult<()> {
    let reason = if name.is_empty() {
        "is empty"
    } else if name.chars().count() > NAME_MAX {
        "is longer than 256 characters"
    } else if name.chars().any(char::is_control) {
        "contains control characters"
    } else if name == "." || name == ".." {
        "cannot stand in an address"
    } else if name.trim() != name {
        "begins or ends with a space"
    } else if kind == Kind::Flow && name.starts_with("native:") {
        "begins with `native:`, as built-in flows do"
    } else if kind == Kind::Connector && name.starts_with("type:") {
        "begins with `type:`, as connector types do"
    } else if kind == Kind::Secret && !is_secret_name(name) {
        "has other characters than letters and digits of ASCII, `_`, `-` and `.`"
    } else {
        return Ok(());
    };
    Err(StoreError::invalid(format!("the name of the {} {reason}", kind.as_str())))
}

fn set_field(kind: Kind, document: &mut Map<String, Value>, name: &str, value: &Value) -> StoreResult<()> {
    let field = kind.field(name).map_err(|error| StoreError::invalid(error.to_string()))?;
    if name == "name" {
        return Err(StoreError::invalid(format!("the name of a {} is a text, not {value}", kind.as_str())));
    }
    if !field.writable {
        return Err(StoreError::invalid(format!("`{name}` of a {} is set by the engine", kind.as_str())));
    }
    let fits = match field.ty {
        FieldType::Text => value.is_string(),
        FieldType::Integer => value.is_i64(),
        FieldType::Bool => value.is_boolean(),
        FieldType::Time => value.as_str().is_some_and(|text| text.parse::<Timestamp>().is_ok()),
        FieldType::Json => !crate::journal::is_too_deep(value),
    };
    if value.is_null() {
        document.remove(name);
    } else if fits {
        document.insert(name.to_owned(), value.clone());
    } else {
        return Err(StoreError::invalid(format!("`{name}` of a {} cannot be {value}", kind.as_str())));
    }
    Ok(())
}

/// Whether a record of that kind may have that name and these fields, as far as it can be told without a workspace.
///
/// # Errors
/// Invalid, saying which and why.
pub fn check_fields(kind: Kind, name: &str, fields: &Map<String, Value>) -> StoreResult<()> {
    let mut document = Map::new();
    for (field, value) in fields {
        set_field(kind, &mut document, field, value)?;
    }
    check_name(kind, name)?;
    validate(kind, &document)
}

/// Rules between the fields of a kind.
fn validate(kind: Kind, document: &Map<String, Value>) -> StoreResult<()> {
    let missing = |field: &str| !document.contains_key(field);
    match kind {
        Kind::Connector if missing("type") => Err(StoreError::invalid("a connector needs a `type`, such as \"ftp\"")),
        Kind::Connector if !document.get("config").is_none_or(Value::is_object) => {
            Err(StoreError::invalid("`config` of a connector is an object of inputs"))
        }
        Kind::Flow if !within(document, "deadline_ms", 1..=MILLIS_MAX) => {
            Err(StoreError::invalid(format!("`deadline_ms` of a flow is 1 to {MILLIS_MAX}, or null for none")))
        }
        Kind::Flow if !within(document, "max_concurrent", 1..=CONCURRENT_MAX) => {
            Err(StoreError::invalid(format!("`max_concurrent` of a flow is 1 to {CONCURRENT_MAX}, or null for any")))
        }
        Kind::Flow if !within(document, "priority", PRIORITIES) => {
            Err(StoreError::invalid("`priority` of a flow is -100 to 100"))
        }
        Kind::Flow if !document.get("role").is_none_or(is_role_of_flows) => {
            let text = "`role` of a flow is viewer, operator or author, or null for author: flows need no more";
            Err(StoreError::invalid(text))
        }
        Kind::Flow if document.contains_key("input_schema") => check_schema(&document["input_schema"]),
        Kind::Webhook if !document.get("methods").is_none_or(are_methods) => {
            Err(StoreError::invalid(format!("`methods` of a webhook is a list of {}", METHODS.join(", "))))
        }
        Kind::Token => check_role(document.get("role").unwrap_or(&Value::Null)),
        Kind::User => {
            let in_projects = match document.get("project_roles") {
                None => Vec::new(),
                Some(Value::Object(roles)) => roles.values().collect(),
                Some(_) => {
                    return Err(StoreError::invalid("`project_roles` of a user is an object of roles by project"));
                }
            };
            document.get("role").into_iter().chain(in_projects).try_for_each(check_role)
        }
        Kind::Notification => check_notification(document),
        Kind::Scheduler | Kind::Webhook if missing("flow_id") => {
            Err(StoreError::invalid(format!("a {} needs a `flow_id`", kind.as_str())))
        }
        Kind::Schedule if missing("scheduler_id") || missing("flow_id") => {
            Err(StoreError::invalid("a schedule needs a `scheduler_id` and a `flow_id`"))
        }
        _ => Ok(()),
    }
}

/// What a form is made from, and inputs are held against.
fn check_schema(schema: &Value) -> StoreResult<()> {
    if !schema.is_object() && !schema.is_boolean() {
        return Err(StoreError::invalid("`input_schema` of a flow is a JSON Schema, an object"));
    }
    if schema.to_string().len() > SCHEMA_BYTES_MAX {
        return Err(StoreError::invalid(format!("`input_schema` of a flow has at most {SCHEMA_BYTES_MAX} bytes")));
    }
    let built = jsonschema::options().should_validate_formats(true).build(schema);
    built.map(drop).map_err(|error| StoreError::invalid(format!("`input_schema` of a flow is no JSON Schema: {error}")))
}

fn check_notification(document: &Map<String, Value>) -> StoreResult<()> {
    let is_list = |field: &str, fits: &dyn Fn(&Value) -> bool| {
        document[field].as_array().is_some_and(|items| !items.is_empty() && items.iter().all(fits))
    };
    let is_occasion = |value: &Value| value.as_str().is_some_and(|word| OCCASIONS.contains(&word));
    let is_address = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
    let refused = |text: String| Err(StoreError::invalid(text));
    if !document.contains_key("on") || !is_list("on", &is_occasion) {
        return refused(format!("`on` of a notification is a list of {}", OCCASIONS.join(", ")));
    }
    if !document.contains_key("connector_id") {
        return refused(
            "a notification needs a `connector_id`: who takes it to somebody, such as a mail server".into(),
        );
    }
    if document.get("to").is_some_and(|to| !is_address(to) && !is_list("to", &is_address)) {
        return refused("`to` of a notification is an address or a list of addresses".into());
    }
    if !within(document, "repeat_after_ms", REPEAT_MS_MIN..=MILLIS_MAX) {
        let text = format!("`repeat_after_ms` of a notification is {REPEAT_MS_MIN} to {MILLIS_MAX}, or null for never");
        return refused(text);
    }
    Ok(())
}

/// What a notification may tell of.
pub(crate) const OCCASIONS: [&str; 3] = ["failure", "recovery", "approval"];

/// A failure that lasts is not told more often than that, milliseconds.
const REPEAT_MS_MIN: i64 = 60_000;

fn check_role(value: &Value) -> StoreResult<()> {
    let role: Result<Role, _> = value.as_str().unwrap_or_default().parse();
    role.map(drop).map_err(|error| StoreError::invalid(error.to_string()))
}

fn is_role_of_flows(value: &Value) -> bool {
    value.as_str().and_then(|text| text.parse().ok()).is_some_and(|role: Role| role <= Role::OF_FLOWS)
}

/// Executions of one flow that may run at one time, at most.
const CONCURRENT_MAX: i64 = 100_000;

/// The priorities that executions may have.
pub(crate) const PRIORITIES: RangeInclusive<i64> = -100..=100;

/// Whether a number that is there is one of those.
fn within(document: &Map<String, Value>, field: &str, allowed: RangeInclusive<i64>) -> bool {
    document.get(field).and_then(Value::as_i64).is_none_or(|number| allowed.contains(&number))
}

/// What a webhook may answer.
const METHODS: [&str; 6] = ["GET", "DELETE", "HEAD", "POST", "PUT", "PATCH"];

fn are_methods(value: &Value) -> bool {
    let known = |method: &Value| {
        METHODS.iter().any(|known| method.as_str().is_some_and(|method| method.eq_ignore_ascii_case(known)))
    };
    value.as_array().is_some_and(|methods| !methods.is_empty() && methods.iter().all(known))
}

fn own_fields(kind: Kind, record: &Value) -> Map<String, Value> {
    kind.fields()
        .filter(|field| !field.column)
        .filter_map(|field| Some((field.name.to_owned(), record.get(field.name)?.clone())))
        .collect()
}

fn to_json(row: &Row<'_>) -> StoreResult<Value> {
    let time = |index| row.get::<_, Option<i64>>(index).map(|at| at.map(|at| Timestamp(at).to_string()));
    let mut record = json!({
        "id": row.get::<_, String>(0)?,
        "name": row.get::<_, String>(1)?,
        "revision": row.get::<_, i64>(2)?,
        "created_at": time(3)?,
        "created_by": row.get::<_, String>(4)?,
        "modified_at": time(5)?,
        "modified_by": row.get::<_, String>(6)?,
    });
    if let Some(deleted_at) = time(7)? {
        record["deleted_at"] = deleted_at.into();
    }
    let data: Map<String, Value> = serde_json::from_str(&row.get::<_, String>(8)?)
        .map_err(|error| StoreError::Damaged(format!("a record's data is damaged: {error}")))?;
    record.as_object_mut().expect("made above").extend(data);
    if row.as_ref().column_count() > 9
        && let Some(text) = row.get::<_, Option<String>>(9)?
    {
        let mut locked_by: Value = serde_json::from_str(&text).unwrap_or_default();
        locked_by["since"] = Timestamp(locked_by["since"].as_i64().unwrap_or_default()).to_string().into();
        record["locked_by"] = locked_by;
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open_for_writing;

    /// A workspace of before may have a record whose name is the id of another one.
    #[test]
    fn an_id_is_found_before_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, _) = open_for_writing(&folder.path().join("surefoot.db"), 7).unwrap();
        let stamp =
            Stamp { who: "test".into(), now: Timestamp(1), new_id: String::new(), acts_as: None, execution: None };
        for id in ["one", "two"] {
            insert(&connection, Kind::Connector, id, &format!("named {id}"), &Map::new(), &stamp).unwrap();
        }
        connection.execute("UPDATE records SET name = 'one' WHERE id = 'two'", []).unwrap();
        let id_of = |key: &str| get(&connection, Kind::Connector, key).unwrap().map(|record| record["id"].clone());
        assert_eq!(id_of("one"), Some(json!("one")));
        assert_eq!(id_of("named one"), Some(json!("one")));
        assert!(by_id(&connection, Kind::Connector, "named one").unwrap().is_none());
        delete(&connection, Kind::Connector, "one", false, &stamp).unwrap();
        assert!(by_id(&connection, Kind::Connector, "one").unwrap().is_none());
    }
}
