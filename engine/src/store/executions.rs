//! Executions, their journals, and the small table of those that have not ended.

use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde_json::{Value, json};

use super::places::{self, Admission, Place};
use super::{StoreError, StoreResult, approvals, journal, records};
use crate::clock::Timestamp;
use crate::journal::{Record, Started, Status};
use crate::people::Rights;
use crate::planted::{Bug, is_planted};
use crate::query::{Kind, Page, Query, in_projects, plan, projects_of_execution};

/// Number of an execution within its database; journals and logs are keyed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(pub(crate) i64);

/// Type of an execution that has a row of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExecutionType {
    Flow,
    Schedule,
}

impl ExecutionType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Flow => "FLOW",
            Self::Schedule => "SCHEDULE",
        }
    }
}

/// An execution to be.
#[derive(Clone, Debug)]
pub(crate) struct NewExecution {
    pub(crate) id: String,
    pub(crate) ty: ExecutionType,
    pub(crate) name: String,
    pub(crate) flow_id: String,
    pub(crate) parent_id: Option<String>,
    pub(crate) orphan: bool,
    pub(crate) schedule_id: Option<String>,
    pub(crate) webhook_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) created_by: String,
    pub(crate) input: Value,
    /// Not before then.
    pub(crate) not_before: Option<Timestamp>,
    /// Not after then.
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) admission: Admission,
    /// Who waits for a place and has a greater one gets it first.
    pub(crate) priority: i64,
    /// The execution, and the number of its call, that it begins at.
    pub(crate) restarted_from: Option<(String, u32)>,
    /// Whether it has an instance as soon as it is created.
    pub(crate) begins_at_once: bool,
    pub(crate) started: Started,
}

impl NewExecution {
    fn status(&self) -> Status {
        if self.begins_at_once { Status::Running } else { Status::Queued }
    }

    /// Lets it begin at that time and not before. Its own time counts from then.
    pub(crate) fn begin_at(&mut self, not_before: Option<Timestamp>) {
        let created = self.started.at;
        let later = not_before.map(|at| at.since(created)).unwrap_or_default();
        self.deadline = self.deadline.map(|deadline| deadline.after(later));
        self.not_before = not_before;
    }
}

#[cfg(test)]
impl NewExecution {
    /// An execution of a flow with nothing special about it.
    pub(crate) fn sample(id: &str, at: Timestamp) -> Self {
        let started = Started {
            at,
            entropy: vec![0; 32],
            version: "v".into(),
            limits: crate::journal::Limits::default(),
            end_actions: Vec::new(),
            depth: 0,
            origins: Vec::new(),
            inherited: Vec::new(),
            digests: crate::journal::DigestVersion::NEWEST,
            locks: Vec::new(),
            engine: "test".into(),
            acts_as: Rights::of_executions(),
        };
        Self {
            id: id.into(),
            ty: ExecutionType::Flow,
            name: "n".into(),
            flow_id: "f".into(),
            parent_id: None,
            orphan: false,
            schedule_id: None,
            webhook_id: None,
            idempotency_key: None,
            created_by: "test".into(),
            input: Value::Null,
            not_before: None,
            deadline: None,
            admission: Admission::Unlimited,
            priority: 0,
            restarted_from: None,
            begins_at_once: false,
            started,
        }
    }
}

/// An execution as the executor needs it.
#[derive(Clone, Debug)]
pub(crate) struct Execution {
    pub(crate) key: Key,
    pub(crate) id: String,
    pub(crate) is_schedule: bool,
    pub(crate) name: String,
    pub(crate) status: Status,
    pub(crate) flow_id: String,
    pub(crate) parent_id: Option<String>,
    pub(crate) orphan: bool,
    pub(crate) schedule_id: Option<String>,
    pub(crate) webhook_id: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) priority: i64,
    pub(crate) input: Value,
    /// How many executions stand above it. The journal's first record says it; 0 until that was read.
    pub(crate) depth: u32,
    /// What it may reach. The journal's first record says it; nothing until that was read.
    pub(crate) acts_as: Rights,
}

/// How an execution ended.
#[derive(Clone, Debug)]
pub(crate) struct Finish {
    pub(crate) status: Status,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) output: Value,
    pub(crate) response: Option<Value>,
    pub(crate) at: Timestamp,
    /// Whether the children that have not ended are to end, too.
    pub(crate) cancels_children: bool,
}

/// What stands in the table of unended executions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Active {
    pub(crate) key: Key,
    pub(crate) state: ActiveState,
    pub(crate) due: Option<Timestamp>,
    pub(crate) cancel: bool,
    pub(crate) deaths: i64,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) place: Option<Place>,
}

impl Active {
    /// Whether its deadline ends it. What is paused is left alone until it is resumed.
    pub(crate) fn is_overdue(&self, now: Timestamp) -> bool {
        let has_passed = self.deadline.is_some_and(|deadline| deadline <= now);
        has_passed && self.state != ActiveState::Paused && !is_planted(Bug::DeadlineIgnored)
    }
}

/// See the table `active`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ActiveState {
    /// Has or needs an instance.
    Runnable = 0,
    /// Waits for an event, or for its due time if it has one.
    Parked = 1,
    /// Gets nothing until it is resumed.
    Paused = 2,
    /// Waits for its due time and for nothing else.
    Asleep = 3,
}

impl ActiveState {
    pub(super) fn from_number(number: i64) -> Self {
        match number {
            1 => Self::Parked,
            2 => Self::Paused,
            3 => Self::Asleep,
            _ => Self::Runnable,
        }
    }
}

/// Creates an execution with its first journal record.
pub(crate) fn insert(connection: &Connection, new: &NewExecution, now: Timestamp) -> StoreResult<Key> {
    let place = places::of_new(connection, new)?;
    insert_with(connection, new, place, now).map(|(key, _)| key)
}

/// Like [`insert`], returning what the executor needs. It may begin at once if its status says that it runs: there may
/// be no place for it.
pub(crate) fn create(
    connection: &Connection,
    mut new: NewExecution,
    now: Timestamp,
) -> StoreResult<(Execution, Started)> {
    let place = places::of_new(connection, &new)?;
    new.begins_at_once &= place != Some(Place::Awaited) && new.not_before.is_none();
    let ((key, created_at), status) = (insert_with(connection, &new, place, now)?, new.status());
    let execution = Execution {
        key,
        id: new.id,
        is_schedule: new.ty == ExecutionType::Schedule,
        name: new.name,
        status,
        flow_id: new.flow_id,
        parent_id: new.parent_id,
        orphan: new.orphan,
        schedule_id: new.schedule_id,
        webhook_id: new.webhook_id,
        created_at,
        deadline: new.deadline,
        priority: new.priority,
        input: new.input,
        depth: new.started.depth,
        acts_as: new.started.acts_as.clone(),
    };
    Ok((execution, new.started))
}

/// The number of the execution, and when it was created: `now`, or a little later, so that it is unique and grows.
fn insert_with(
    connection: &Connection,
    new: &NewExecution,
    place: Option<Place>,
    now: Timestamp,
) -> StoreResult<(Key, Timestamp)> {
    let newest: Option<i64> =
        connection.prepare_cached("SELECT max(created_at) FROM executions")?.query_row([], |row| row.get(0))?;
    let created_at = newest.map_or(now.0, |newest| now.0.max(newest + 1));
    connection
        .prepare_cached(
            "INSERT INTO executions (id, type, name, status, flow_id, version, parent_id, orphan, schedule_id,
                 webhook_id, idempotency_key, created_at, created_by, scheduled_for, input, deadline, priority,
                 message, restarted_from, restarted_from_call, started_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
        )?
        .execute(params![
            new.id,
            new.ty.as_str(),
            new.name,
            new.status().as_str(),
            new.flow_id,
            new.started.version,
            new.parent_id,
            new.orphan,
            new.schedule_id,
            new.webhook_id,
            new.idempotency_key,
            created_at,
            new.created_by,
            new.not_before.map(|at| at.0),
            new.input.to_string(),
            new.deadline.map(|at| at.0),
            new.priority,
            if place == Some(Place::Awaited) { places::WAITS } else { "" },
            new.restarted_from.as_ref().map(|(id, _)| id),
            new.restarted_from.as_ref().map(|(_, call)| call),
            new.begins_at_once.then_some(created_at),
        ])?;
    let key = Key(connection.last_insert_rowid());
    let state = if new.not_before.is_some() { ActiveState::Asleep } else { ActiveState::Runnable };
    let head = journal::begin(connection, key, &Record::Started(new.started.clone()))?;
    connection
        .prepare_cached(
            "INSERT INTO active (execution, state, due_at, journal_head, journal_tail, deadline, limited_flow, place,
                 priority)
             VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            key.0,
            state as i64,
            new.not_before.map(|at| at.0),
            head,
            new.deadline.map(|at| at.0),
            place.map(|_| &new.flow_id),
            place.map(|place| place as i64),
            new.priority,
        ])?;
    Ok((key, Timestamp(created_at)))
}

/// What the executor needs of an execution.
///
/// # Errors
/// [`StoreError::Damaged`] when something of it cannot be read.
pub(crate) fn load(connection: &Connection, key: Key) -> StoreResult<Option<Execution>> {
    load_with(connection, key, |column, bytes| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(unreadable(column, &error)),
    })
}

/// As much of an execution as can be read, without its input: nothing more is needed to end it.
pub(crate) fn load_remains(connection: &Connection, key: Key) -> StoreResult<Option<Execution>> {
    load_with(connection, key, |column, bytes| match column {
        "input" => Ok("null".into()),
        _ => Ok(String::from_utf8_lossy(bytes).into_owned()),
    })
}

fn load_with(
    connection: &Connection,
    key: Key,
    to_text: impl Fn(&'static str, &[u8]) -> StoreResult<String>,
) -> StoreResult<Option<Execution>> {
    let mut statement = connection.prepare_cached(
        "SELECT rowid, id, type, name, status, flow_id, parent_id, orphan, schedule_id, webhook_id, created_at, input,
             deadline, priority
         FROM executions WHERE rowid = ?1",
    )?;
    let mut rows = statement.query([key.0])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let optional = |index, column| -> StoreResult<Option<String>> {
        let bytes = row.get_ref(index)?.as_bytes_or_null().map_err(|error| unreadable(column, &error))?;
        bytes.map(|bytes| to_text(column, bytes)).transpose()
    };
    let text = |index, column| optional(index, column).map(Option::unwrap_or_default);
    Ok(Some(Execution {
        key: Key(row.get(0)?),
        id: text(1, "id")?,
        is_schedule: text(2, "type")? == ExecutionType::Schedule.as_str(),
        name: text(3, "name")?,
        status: Status::parse(&text(4, "status")?).unwrap_or(Status::Queued),
        flow_id: text(5, "flow_id")?,
        parent_id: optional(6, "parent_id")?,
        orphan: row.get(7)?,
        schedule_id: optional(8, "schedule_id")?,
        webhook_id: optional(9, "webhook_id")?,
        created_at: Timestamp(row.get(10)?),
        deadline: row.get::<_, Option<i64>>(12)?.map(Timestamp),
        priority: row.get(13)?,
        input: serde_json::from_str(&text(11, "input")?).map_err(|error| unreadable("input", &error))?,
        depth: 0,
        acts_as: Rights::default(),
    }))
}

fn unreadable(column: &str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("its {column} cannot be read: {error}"))
}

/// Whether an execution was started by that one, or by what that one took the place of.
pub(crate) fn is_child(connection: &Connection, id: &str, parent_id: &str) -> StoreResult<bool> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM executions WHERE id = ?1 AND parent_id = ?2")?;
    Ok(statement.exists([id, parent_id])?)
}

/// How many executions that this one started have not ended.
pub(crate) fn unended_children(connection: &Connection, parent_id: &str) -> StoreResult<u32> {
    let mut statement =
        connection.prepare_cached("SELECT count(*) FROM executions WHERE parent_id = ?1 AND ended_at IS NULL")?;
    Ok(statement.query_row([parent_id], |row| row.get(0))?)
}

/// The number of the execution with that id.
pub(crate) fn key_of(connection: &Connection, id: &str) -> StoreResult<Option<Key>> {
    let mut statement = connection.prepare_cached("SELECT rowid FROM executions WHERE id = ?1")?;
    Ok(statement.query_row([id], |row| row.get(0).map(Key)).optional()?)
}

/// Whether an execution is in one of the projects with these ids.
pub(crate) fn is_in(connection: &Connection, id: &str, projects: &[String]) -> StoreResult<bool> {
    let condition = in_projects(Kind::Execution, "?2");
    let mut statement =
        connection.prepare_cached(&format!("SELECT 1 FROM executions WHERE id = ?1 AND {condition}"))?;
    Ok(statement.exists(params![id, json!(projects).to_string()])?)
}

/// The id of the execution that has taken this one's place by continuing as new; the id itself when none has.
pub(crate) fn last_of_chain(connection: &Connection, id: &str) -> StoreResult<String> {
    Ok(end_of_chain(connection, id)?.map_or_else(|| id.to_owned(), |(last, _)| last))
}

/// Like [`last_of_chain`], with whether that one has ended. None when there is none with that id.
pub(crate) fn end_of_chain(connection: &Connection, id: &str) -> StoreResult<Option<(String, bool)>> {
    let mut next =
        connection.prepare_cached("SELECT continued_as, ended_at IS NOT NULL FROM executions WHERE id = ?1")?;
    let (mut last, mut candidate) = (None, id.to_owned());
    loop {
        let found = next.query_row([&candidate], |row| Ok((row.get::<_, Option<String>>(0)?, row.get(1)?)));
        match found.optional()? {
            None => return Ok(last),
            Some((None, has_ended)) => return Ok(Some((candidate, has_ended))),
            Some((Some(following), has_ended)) => {
                last = Some((std::mem::replace(&mut candidate, following), has_ended));
            }
        }
    }
}

/// The execution that this webhook call started before, under the same idempotency key.
pub(crate) fn by_idempotency_key(connection: &Connection, webhook_id: &str, key: &str) -> StoreResult<Option<String>> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM executions WHERE webhook_id = ?1 AND idempotency_key = ?2")?;
    Ok(statement.query_row([webhook_id, key], |row| row.get(0)).optional()?)
}

/// Marks an execution as at work. One that was paused meanwhile, or has ended, stays so.
pub(crate) fn set_running(connection: &Connection, key: Key, now: Timestamp) -> rusqlite::Result<()> {
    let changed = connection
        .prepare_cached("UPDATE active SET state = 0, due_at = NULL WHERE execution = ?1 AND state <> 2")?
        .execute([key.0])?;
    if changed == 1 {
        connection
            .prepare_cached(
                "UPDATE executions SET status = 'RUNNING', scheduled_for = NULL, started_at = coalesce(started_at, ?2)
                 WHERE rowid = ?1",
            )?
            .execute(params![key.0, now.0])?;
    }
    Ok(())
}

/// Marks an execution as waiting. `state` tells recovery what it waits for. One that was paused meanwhile, or has
/// ended, stays so.
pub(crate) fn set_waiting(
    connection: &Connection,
    key: Key,
    status: Status,
    due: Option<Timestamp>,
    state: ActiveState,
) -> rusqlite::Result<()> {
    let changed = connection
        .prepare_cached("UPDATE active SET state = ?2, due_at = ?3 WHERE execution = ?1 AND state <> 2")?
        .execute(params![key.0, state as i64, due.map(|due| due.0)])?;
    if changed == 1 {
        let scheduled_for = (status == Status::Scheduled).then_some(due).flatten();
        connection
            .prepare_cached("UPDATE executions SET status = ?2, scheduled_for = ?3 WHERE rowid = ?1")?
            .execute(params![key.0, status.as_str(), scheduled_for.map(|due| due.0)])?;
    }
    Ok(())
}

/// Sets the line that says what the execution does now.
pub(crate) fn set_message(connection: &Connection, key: Key, message: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE executions SET message = ?2 WHERE rowid = ?1")?
        .execute(params![key.0, message])?;
    Ok(())
}

/// Stops the delivery of results to an execution, or starts it again. False when it has ended or is in that state
/// already.
pub(crate) fn set_paused(connection: &Connection, key: Key, paused: bool, reason: &str) -> StoreResult<bool> {
    // What had not begun because of its time goes on waiting for that.
    let (from, to, status) = match paused {
        true => ("state <> 2", "2", Status::Paused),
        false => (
            "state = 2",
            "CASE WHEN due_at IS NOT NULL AND (SELECT started_at FROM executions WHERE rowid = active.execution) IS NULL
                 THEN 3 ELSE 0 END",
            Status::Queued,
        ),
    };
    let changed = connection
        .prepare_cached(&format!("UPDATE active SET state = {to}, deaths = 0 WHERE execution = ?1 AND {from}"))?
        .execute([key.0])?;
    if changed == 1 {
        connection
            .prepare_cached(
                "UPDATE executions SET status = ?2, message = CASE
                     WHEN ?2 = 'QUEUED' AND (SELECT place FROM active WHERE execution = ?1) = 0 THEN ?4 ELSE ?3 END
                 WHERE rowid = ?1",
            )?
            .execute(params![key.0, status.as_str(), reason, places::WAITS])?;
    }
    Ok(changed == 1)
}

/// Asks an execution to end. False when it has ended already.
pub(crate) fn request_cancel(connection: &Connection, key: Key) -> StoreResult<bool> {
    Ok(connection.prepare_cached("UPDATE active SET cancel = 1 WHERE execution = ?1")?.execute([key.0])? == 1)
}

/// Asks the children that have not ended to end, but not the orphans. Returns them.
pub(crate) fn cancel_children(connection: &Connection, parent_id: &str) -> StoreResult<Vec<Key>> {
    let mut statement = connection
        .prepare_cached("SELECT rowid FROM executions WHERE parent_id = ?1 AND orphan = 0 AND ended_at IS NULL")?;
    let keys = statement.query_map([parent_id], |row| row.get(0).map(Key))?.collect::<Result<Vec<_>, _>>()?;
    for key in &keys {
        request_cancel(connection, *key)?;
    }
    Ok(keys)
}

/// What an execution that ended leaves behind.
#[derive(Debug)]
pub(crate) struct Left {
    /// The flow whose places are few, if it had one of them or waited for one.
    pub(crate) limited_flow: Option<String>,
}

/// Ends an execution. None when it had ended before.
pub(crate) fn finish(connection: &Connection, key: Key, finish: &Finish) -> StoreResult<Option<Left>> {
    let changed = connection
        .prepare_cached(
            "UPDATE executions SET status = ?2, error_code = ?3, error_message = ?4, output = ?5, response = ?6,
                 response_status = ?8, ended_at = ?7, scheduled_for = NULL,
                 journal_tail = (SELECT journal_tail FROM active WHERE execution = ?1)
             WHERE rowid = ?1 AND ended_at IS NULL",
        )?
        .execute(params![
            key.0,
            finish.status.as_str(),
            finish.code,
            finish.message,
            finish.output.to_string(),
            finish.response.as_ref().map(Value::to_string),
            finish.at.0,
            finish.response.as_ref().and_then(|response| response["status"].as_i64()),
        ])?;
    let limited_flow = connection
        .prepare_cached("DELETE FROM active WHERE execution = ?1 RETURNING limited_flow")?
        .query_row([key.0], |row| row.get(0))
        .optional()?
        .flatten();
    approvals::close_all(connection, key)?;
    Ok((changed == 1).then_some(Left { limited_flow }))
}

/// Gives the children that have not ended to the execution that takes their parent's place.
pub(crate) fn move_children(connection: &Connection, from: &str, to: &str) -> StoreResult<()> {
    connection
        .prepare_cached("UPDATE executions SET parent_id = ?2 WHERE parent_id = ?1 AND ended_at IS NULL")?
        .execute(params![from, to])?;
    Ok(())
}

/// Notes which execution took an ended one's place.
pub(crate) fn set_continued_as(connection: &Connection, key: Key, id: &str) -> StoreResult<()> {
    connection
        .prepare_cached("UPDATE executions SET continued_as = ?2 WHERE rowid = ?1")?
        .execute(params![key.0, id])?;
    Ok(())
}

/// All that has not ended.
pub(crate) fn active(connection: &Connection) -> StoreResult<Vec<Active>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {ACTIVE_COLUMNS} FROM active ORDER BY execution"))?;
    let rows = statement.query_map([], read_active)?.collect::<Result<Vec<_>, _>>()?;
    Ok(rows)
}

/// What stands in the table about one execution.
pub(crate) fn active_one(connection: &Connection, key: Key) -> StoreResult<Option<Active>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {ACTIVE_COLUMNS} FROM active WHERE execution = ?1"))?;
    Ok(statement.query_row([key.0], read_active).optional()?)
}

const ACTIVE_COLUMNS: &str = "execution, state, due_at, cancel, deaths, deadline, place";

fn read_active(row: &Row<'_>) -> rusqlite::Result<Active> {
    Ok(Active {
        key: Key(row.get(0)?),
        state: ActiveState::from_number(row.get(1)?),
        due: row.get::<_, Option<i64>>(2)?.map(Timestamp),
        cancel: row.get(3)?,
        deaths: row.get(4)?,
        deadline: row.get::<_, Option<i64>>(5)?.map(Timestamp),
        place: Place::from_number(row.get(6)?),
    })
}

/// After a crash: counts the deaths of the process that each runnable execution was resident at without making
/// progress between them.
pub(crate) fn count_deaths(connection: &Connection) -> StoreResult<()> {
    connection.execute_batch(
        "UPDATE active SET
             deaths = CASE WHEN tail_at_death = journal_tail THEN deaths + 1 ELSE 1 END,
             tail_at_death = journal_tail
         WHERE state = 0 AND EXISTS
             (SELECT 1 FROM executions WHERE executions.rowid = active.execution AND started_at IS NOT NULL)",
    )?;
    Ok(())
}

const COLUMNS: &str = "id, type, name, status, message, error_code, error_message, flow_id, version, parent_id, orphan,
    schedule_id, webhook_id, created_at, created_by, started_at, ended_at, scheduled_for, input, output,
    response, continued_as, rowid, deleted_at, deadline, priority, restarted_from, restarted_from_call,
    response_status";

/// The execution with that id as users see it, and its number.
pub(crate) fn get(connection: &Connection, id: &str) -> StoreResult<Option<(Key, Value)>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM executions WHERE id = ?1"))?;
    let found = statement.query_row([id], |row| Ok((Key(row.get(22)?), to_json(row)))).optional()?;
    found.map(|(key, json)| Ok((key, json?))).transpose()
}

/// Like [`get`], by its number, with the projects that it is in.
pub(crate) fn get_with_projects(
    connection: &Connection,
    key: Key,
) -> StoreResult<Option<(Value, Vec<Option<String>>)>> {
    let projects = projects_of_execution();
    let mut statement = connection
        .prepare_cached(&format!("SELECT {COLUMNS}, {projects} AS projects FROM executions WHERE rowid = ?1"))?;
    let found = statement.query_row([key.0], |row| Ok((to_json(row), row.get::<_, String>("projects")?))).optional()?;
    let Some((row, projects)) = found else { return Ok(None) };
    Ok(Some((row?, serde_json::from_str(&projects).unwrap_or_default())))
}

/// One page of executions that have rows of their own.
pub(crate) fn list(connection: &Connection, query: &Query) -> StoreResult<Page> {
    let plan = plan(query);
    let columns = match query.without_documents {
        true => COLUMNS.replacen("input, output,\n    response", "NULL, NULL, NULL", 1),
        false => COLUMNS.to_owned(),
    };
    let mut statement = connection.prepare_cached(&format!("SELECT {columns} FROM executions {}", plan.sql))?;
    records::read_page(query, statement.query(params_from_iter(plan.parameters))?, to_json)
}

fn to_json(row: &Row<'_>) -> StoreResult<Value> {
    let text = |index| row.get::<_, Option<String>>(index);
    let time = |index| row.get::<_, Option<i64>>(index).map(|at| at.map(|at| Timestamp(at).to_string()));
    let document = |index| -> StoreResult<Value> {
        let text = row.get::<_, Option<String>>(index)?;
        // A list must not fail because one of its rows cannot be read.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null))
    };
    let mut execution = json!({
        "id": text(0)?, "type": text(1)?, "name": text(2)?, "status": text(3)?, "message": text(4)?,
        "error_code": text(5)?, "error_message": text(6)?, "flow_id": text(7)?, "version": text(8)?,
        "parent_id": text(9)?, "orphan": row.get::<_, bool>(10)?, "schedule_id": text(11)?, "webhook_id": text(12)?,
        "created_at": time(13)?, "created_by": text(14)?, "started_at": time(15)?, "ended_at": time(16)?,
        "scheduled_for": time(17)?, "input": document(18)?, "output": document(19)?, "response": document(20)?,
        "response_status": row.get::<_, Option<u32>>(28)?,
        "continued_as": text(21)?, "deadline": time(24)?,
        "priority": row.get::<_, i64>(25)?, "restarted_from": text(26)?,
        "restarted_from_call": row.get::<_, Option<u32>>(27)?,
    });
    if let Some(deleted_at) = time(23)? {
        execution["deleted_at"] = deleted_at.into();
    }
    Ok(execution)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is wrong with a row, it can be ended.
    #[test]
    fn a_row_that_cannot_be_read_is_damaged_and_has_remains() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, _) = crate::store::open_for_writing(&folder.path().join("surefoot.db"), 7).unwrap();
        for (number, (column, value)) in
            [("input", "'{bad'"), ("input", "CAST(x'22ff22' AS TEXT)"), ("name", "CAST(x'ff' AS TEXT)")]
                .iter()
                .enumerate()
        {
            let key = Key(i64::try_from(number).unwrap() + 1);
            let insert = "INSERT INTO executions
                 (rowid, id, type, name, status, flow_id, version, created_at, created_by, input)
                 VALUES (?1, ?1, 'FLOW', 'x', 'QUEUED', '', '', ?1, '', '[1]')";
            connection.execute(insert, [key.0]).unwrap();
            assert_eq!(load(&connection, key).unwrap().unwrap().input, json!([1]));
            connection.execute(&format!("UPDATE executions SET {column} = {value} WHERE rowid = ?1"), [key.0]).unwrap();
            let error = load(&connection, key).unwrap_err();
            let says = format!("its {column} cannot be read");
            assert!(matches!(&error, StoreError::Damaged(text) if text.contains(&says)), "{column} = {value}: {error}");
            assert_eq!(load_remains(&connection, key).unwrap().unwrap().id, key.0.to_string());
        }
    }

    /// A pause can be committed before the run that it is for hears of it and says that it runs or waits.
    #[test]
    fn what_was_paused_is_shown_as_paused_until_it_is_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, _) = crate::store::open_for_writing(&folder.path().join("surefoot.db"), 7).unwrap();
        connection
            .execute_batch(
                "INSERT INTO executions (rowid, id, type, name, status, flow_id, version, created_at, created_by, input)
                     VALUES (1, 'x', 'FLOW', 'x', 'QUEUED', '', '', 1, '', 'null');
                 INSERT INTO active (execution, state) VALUES (1, 0);",
            )
            .unwrap();
        let status = || get(&connection, "x").unwrap().unwrap().1["status"].clone();
        assert!(set_paused(&connection, Key(1), true, "paused").unwrap());
        set_running(&connection, Key(1), Timestamp(1)).unwrap();
        assert_eq!(status(), "PAUSED");
        set_waiting(&connection, Key(1), Status::Waiting, None, ActiveState::Parked).unwrap();
        assert_eq!(status(), "PAUSED");
        assert!(set_paused(&connection, Key(1), false, "").unwrap());
        set_running(&connection, Key(1), Timestamp(1)).unwrap();
        assert_eq!(status(), "RUNNING");
    }
}
