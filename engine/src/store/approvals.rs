//! What executions ask, and what became of it. The answer is a signal: see [`signals`](super::signals).

use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde_json::{Value, json};
use strum::{EnumString, IntoStaticStr};

use super::executions::Key;
use super::{StoreError, StoreResult, records};
use crate::approvals::Question;
use crate::clock::Timestamp;
use crate::query::{Page, Query, plan};

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum ApprovalStatus {
    Open,
    Answered,
    /// Nobody answered in time, and the execution has seen that.
    Expired,
    /// The execution ended without an answer.
    Closed,
}

/// A question that an execution asked.
#[derive(Clone, Debug)]
pub(crate) struct Approval {
    pub(crate) id: String,
    pub(crate) key: Key,
    pub(crate) name: String,
    pub(crate) question: Question,
    pub(crate) status: ApprovalStatus,
    pub(crate) expires_at: Option<Timestamp>,
    /// Id of the signal that answers it.
    pub(crate) signal: Option<String>,
}

/// By what one is found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FoundBy<'a> {
    Id(&'a str),
    /// The digest of its token: who can look it up has the token.
    TokenSha256(&'a str),
    /// Of an execution, the one of that name that is open, or the last that was.
    Name(Key, &'a str),
}

/// Opens one.
pub(crate) fn insert(
    connection: &Connection,
    approval: &Approval,
    token_sha256: Option<&str>,
    now: Timestamp,
) -> StoreResult<()> {
    let Question { message, schema, roles, users } = &approval.question;
    connection
        .prepare_cached(
            "INSERT INTO approvals (id, execution, name, status, message, schema, roles, users, created_at, expires_at,
                 token_sha256)
             VALUES (?1, ?2, ?3, 'open', ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            approval.id,
            approval.key.0,
            approval.name,
            message,
            schema.as_ref().map(Value::to_string),
            json!(roles).to_string(),
            json!(users).to_string(),
            now.0,
            approval.expires_at.map(|at| at.0),
            token_sha256,
        ])?;
    Ok(())
}

/// Finds one, as the engine needs it.
pub(crate) fn find(connection: &Connection, by: FoundBy<'_>) -> StoreResult<Option<Approval>> {
    const SELECT: &str =
        "SELECT id, execution, name, message, schema, roles, users, status, expires_at, signal FROM approvals";
    let one = |condition: &str, parameters: &[&dyn rusqlite::ToSql]| {
        let mut statement = connection.prepare_cached(&format!("{SELECT} WHERE {condition}"))?;
        statement.query_row(parameters, |row| Ok(read(row))).optional()?.transpose()
    };
    match by {
        FoundBy::Id(id) => one("id = ?1", &[&id]),
        FoundBy::TokenSha256(digest) => one("token_sha256 = ?1", &[&digest]),
        FoundBy::Name(key, name) => {
            one("execution = ?1 AND name = ?2 ORDER BY status = 'open' DESC, rowid DESC LIMIT 1", &[&key.0, &name])
        }
    }
}

fn read(row: &Row<'_>) -> StoreResult<Approval> {
    let id: String = row.get(0)?;
    let damaged = |column: &str| StoreError::Damaged(format!("the {column} of approval {id} cannot be read"));
    let schema: Option<String> = row.get(4)?;
    let schema = schema.map(|text| serde_json::from_str(&text)).transpose().map_err(|_| damaged("schema"))?;
    let question = Question {
        message: row.get(3)?,
        schema,
        roles: serde_json::from_str(&row.get::<_, String>(5)?).map_err(|_| damaged("roles"))?,
        users: serde_json::from_str(&row.get::<_, String>(6)?).map_err(|_| damaged("users"))?,
    };
    let status = row.get::<_, String>(7)?.parse().map_err(|_| damaged("status"))?;
    Ok(Approval {
        key: Key(row.get(1)?),
        name: row.get(2)?,
        question,
        status,
        expires_at: row.get::<_, Option<i64>>(8)?.map(Timestamp),
        signal: row.get(9)?,
        id,
    })
}

/// How many an execution has that are open.
pub(crate) fn count_open(connection: &Connection, key: Key) -> StoreResult<u32> {
    let mut statement =
        connection.prepare_cached("SELECT count(*) FROM approvals WHERE execution = ?1 AND status = 'open'")?;
    Ok(statement.query_row([key.0], |row| row.get(0))?)
}

/// Whether an answer, or anything else that ends the wait for one, is there.
pub(crate) fn is_decided(connection: &Connection, id: &str) -> StoreResult<bool> {
    Ok(connection.prepare_cached("SELECT 1 FROM approvals WHERE id = ?1 AND status <> 'open'")?.exists([id])?)
}

/// Names the signal that answers an open one.
pub(crate) fn set_answered(connection: &Connection, id: &str, signal: &str) -> StoreResult<()> {
    connection
        .prepare_cached("UPDATE approvals SET status = 'answered', signal = ?2 WHERE id = ?1 AND status = 'open'")?
        .execute([id, signal])?;
    Ok(())
}

/// Notes that nobody answered in time.
pub(crate) fn set_expired(connection: &Connection, id: &str) -> StoreResult<()> {
    connection
        .prepare_cached("UPDATE approvals SET status = 'expired' WHERE id = ?1 AND status = 'open'")?
        .execute([id])?;
    Ok(())
}

/// Closes what an execution leaves open at its end.
pub(crate) fn close_all(connection: &Connection, key: Key) -> StoreResult<()> {
    connection
        .prepare_cached("UPDATE approvals SET status = 'closed' WHERE execution = ?1 AND status = 'open'")?
        .execute([key.0])?;
    Ok(())
}

/// They are in the trash when their execution is. No column has the token's digest.
const ROWS: &str = "(SELECT approvals.id, approvals.name, approvals.status, approvals.message, approvals.schema,
         approvals.roles, approvals.users, approvals.created_at, approvals.expires_at,
         executions.id AS execution_id, executions.name AS execution_name, signals.sender AS answered_by,
         signals.sent_at AS answered_at, signals.payload AS answer, executions.deleted_at
     FROM approvals JOIN executions ON executions.rowid = approvals.execution
     LEFT JOIN signals ON signals.id = approvals.signal)";

const COLUMNS: &str = "id, name, status, message, schema, roles, users, created_at, expires_at, execution_id,
     execution_name, answered_by, answered_at, answer, deleted_at";

/// One as users see it.
pub(crate) fn get(connection: &Connection, id: &str) -> StoreResult<Option<Value>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM {ROWS} WHERE id = ?1"))?;
    statement.query_row([id], |row| Ok(to_json(row))).optional()?.transpose()
}

/// A page of them as users see them.
pub(crate) fn list(connection: &Connection, query: &Query) -> StoreResult<Page> {
    let plan = plan(query);
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM {ROWS} {}", plan.sql))?;
    records::read_page(query, statement.query(params_from_iter(plan.parameters))?, to_json)
}

fn to_json(row: &Row<'_>) -> StoreResult<Value> {
    let text = |index| row.get::<_, Option<String>>(index);
    let time = |index| row.get::<_, Option<i64>>(index).map(|at| at.map(|at| Timestamp(at).to_string()));
    let document = |index| -> StoreResult<Value> {
        // A list must not fail because one of its rows cannot be read.
        Ok(text(index)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null))
    };
    let mut approval = json!({
        "id": text(0)?, "name": text(1)?, "status": text(2)?, "message": text(3)?, "schema": document(4)?,
        "roles": document(5)?, "users": document(6)?, "created_at": time(7)?, "expires_at": time(8)?,
        "execution_id": text(9)?, "execution_name": text(10)?, "answered_by": text(11)?, "answered_at": time(12)?,
        "answer": document(13)?,
    });
    if let Some(deleted_at) = time(14)? {
        approval["deleted_at"] = deleted_at.into();
    }
    Ok(approval)
}
