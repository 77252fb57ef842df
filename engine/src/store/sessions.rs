//! Logins, and links that are good once.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::StoreResult;
use crate::clock::Timestamp;

/// A login, as it stands in its table.
#[derive(Clone, Debug)]
pub(crate) struct SessionRow {
    pub(crate) id: String,
    pub(crate) user_id: String,
    pub(crate) created_at: Timestamp,
    pub(crate) last_seen_at: Timestamp,
    pub(crate) address: String,
    pub(crate) user_agent: String,
}

const COLUMNS: &str = "id, user_id, created_at, last_seen_at, address, user_agent";

/// Sessions of one user at one time; the oldest makes room.
const OF_USER_MAX: u32 = 100;

/// The times before which a session is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over {
    /// Begun before then.
    pub(crate) begun: Timestamp,
    /// Seen last before then.
    pub(crate) seen: Timestamp,
}

pub(crate) fn insert(connection: &Connection, row: &SessionRow, secret_sha256: &str) -> StoreResult<()> {
    connection
        .prepare_cached(
            "INSERT INTO sessions (id, secret_sha256, user_id, created_at, last_seen_at, address, user_agent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            row.id,
            secret_sha256,
            row.user_id,
            row.created_at.0,
            row.last_seen_at.0,
            row.address,
            row.user_agent,
        ])?;
    connection
        .prepare_cached(
            "DELETE FROM sessions WHERE user_id = ?1 AND id NOT IN
             (SELECT id FROM sessions WHERE user_id = ?1 ORDER BY created_at DESC LIMIT ?2)",
        )?
        .execute(params![row.user_id, OF_USER_MAX])?;
    Ok(())
}

/// The session of that secret, over or not.
pub(crate) fn find(connection: &Connection, secret_sha256: &str) -> StoreResult<Option<SessionRow>> {
    let sql = format!("SELECT {COLUMNS} FROM sessions WHERE secret_sha256 = ?1");
    Ok(connection.prepare_cached(&sql)?.query_row([secret_sha256], read).optional()?)
}

/// Those of a user, or of all, that are not over; the newest first, at most so many.
pub(crate) fn list(
    connection: &Connection,
    user_id: Option<&str>,
    over: Over,
    limit: u32,
) -> StoreResult<Vec<SessionRow>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM sessions WHERE (?1 IS NULL OR user_id = ?1) AND created_at >= ?2 AND last_seen_at >= ?3
         ORDER BY created_at DESC, id LIMIT ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![user_id, over.begun.0, over.seen.0, limit], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The session with that id, over or not.
pub(crate) fn get(connection: &Connection, id: &str) -> StoreResult<Option<SessionRow>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1"))?;
    Ok(statement.query_row([id], read).optional()?)
}

pub(crate) fn set_seen(connection: &Connection, id: &str, now: Timestamp) -> StoreResult<()> {
    connection.prepare_cached("UPDATE sessions SET last_seen_at = ?2 WHERE id = ?1")?.execute(params![id, now.0])?;
    Ok(())
}

/// Ends the sessions of a user, but for that one. Returns how many.
pub(crate) fn delete_of_user(connection: &Connection, user_id: &str, but: Option<&str>) -> StoreResult<usize> {
    let mut statement = connection.prepare_cached("DELETE FROM sessions WHERE user_id = ?1 AND id IS NOT ?2")?;
    Ok(statement.execute(params![user_id, but])?)
}

pub(crate) fn delete(connection: &Connection, id: &str) -> StoreResult<()> {
    connection.prepare_cached("DELETE FROM sessions WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Forgets what is over: sessions, and links.
pub(crate) fn sweep(connection: &Connection, over: Over, now: Timestamp) -> StoreResult<()> {
    connection
        .prepare_cached("DELETE FROM sessions WHERE created_at < ?1 OR last_seen_at < ?2")?
        .execute([over.begun.0, over.seen.0])?;
    connection.prepare_cached("DELETE FROM one_time_links WHERE expires_at <= ?1")?.execute([now.0])?;
    Ok(())
}

/// Makes a link the only one that is good for that user, or for making the first one.
pub(crate) fn set_link(
    connection: &Connection,
    secret_sha256: &str,
    user_id: Option<&str>,
    expires_at: Timestamp,
) -> StoreResult<()> {
    delete_links(connection, user_id)?;
    connection
        .prepare_cached("INSERT INTO one_time_links (secret_sha256, user_id, expires_at) VALUES (?1, ?2, ?3)")?
        .execute(params![secret_sha256, user_id, expires_at.0])?;
    Ok(())
}

/// Whom a link is for, inner none for the first user; outer none when there is no such link, or its time is over.
pub(crate) fn find_link(
    connection: &Connection,
    secret_sha256: &str,
    now: Timestamp,
) -> StoreResult<Option<Option<String>>> {
    let mut statement =
        connection.prepare_cached("SELECT user_id FROM one_time_links WHERE secret_sha256 = ?1 AND expires_at > ?2")?;
    Ok(statement.query_row(params![secret_sha256, now.0], |row| row.get(0)).optional()?)
}

pub(crate) fn delete_links(connection: &Connection, user_id: Option<&str>) -> StoreResult<()> {
    connection.prepare_cached("DELETE FROM one_time_links WHERE user_id IS ?1")?.execute([user_id])?;
    Ok(())
}

/// Whether there ever was a user.
pub(crate) fn were_users_made(connection: &Connection) -> StoreResult<bool> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM meta WHERE key = 'users_made' AND value = 1")?;
    Ok(statement.exists([])?)
}

/// Notes that there is one; no link is good for making the first one any more.
pub(crate) fn note_user_made(connection: &Connection) -> StoreResult<()> {
    connection.prepare_cached("UPDATE meta SET value = 1 WHERE key = 'users_made' AND value = 0")?.execute([])?;
    delete_links(connection, None)
}

fn read(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    Ok(SessionRow {
        id: row.get(0)?,
        user_id: row.get(1)?,
        created_at: Timestamp(row.get(2)?),
        last_seen_at: Timestamp(row.get(3)?),
        address: row.get(4)?,
        user_agent: row.get(5)?,
    })
}
