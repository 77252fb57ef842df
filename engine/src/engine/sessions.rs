//! Logging in, and sessions: who is logged in, from where, until when.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::users::who;
use super::{Engine, EngineResult};
use crate::audit::{self, Deed};
use crate::clock::Timestamp;
use crate::files::sha256_hex;
use crate::query::Kind;
use crate::store::sessions::{self, Over, SessionRow};
use crate::store::{StoreError, records};

/// A session that nobody has used for so long is over.
const IDLE_MAX: Duration = Duration::from_secs(12 * 3600);

/// A session that was begun so long ago is over.
const LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// When a session was seen is noted no more often than that.
const SEEN_EVERY: Duration = Duration::from_secs(60);

/// Sessions in one list.
const LISTED_MAX: u32 = 1000;

/// What is kept of a caller's own words, characters.
const WORDS_MAX: usize = 256;

/// From where somebody logs in, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Of the network.
    pub address: String,
    /// What the caller's program calls itself.
    pub user_agent: String,
}

/// A session, for lists.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Session {
    /// By which it is ended. Nobody can use a session by it.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// The name of that user.
    pub user_name: String,
    /// When it was begun, RFC 3339.
    pub created_at: String,
    /// When it was used last, to the minute.
    pub last_seen_at: String,
    /// When it is over, if it is not used before.
    pub expires_at: String,
    /// From where it was begun.
    pub address: String,
    /// The program that began it.
    pub user_agent: String,
    /// Whether it is the one that asks.
    pub is_current: bool,
}

/// A session that is good, and its user.
#[derive(Clone, Debug)]
pub struct KnownSession {
    /// Its id.
    pub id: String,
    /// The record of the user.
    pub user: Arc<Value>,
    /// Whether it is time for [`Engine::note_seen`].
    pub is_unseen: bool,
}

impl Engine {
    /// Begins a session for who knows the password. Returns it with its secret, which nobody can learn again. None when
    /// there is no such user, or no such password, or the user is disabled: which of these is not told, and takes the
    /// same time.
    pub async fn log_in(&self, name: &str, password: &str, origin: Origin) -> EngineResult<Option<(Session, String)>> {
        let owned = name.to_owned();
        let user = self.read(move |_, connection| records::get(connection, Kind::User, &owned)).await?;
        let user = user.filter(|user| user["name"] == name && user["is_enabled"] == true).unwrap_or_default();
        let digest = user["password_hash"].as_str().map(str::to_owned);
        if !self.core.people.passwords.is_right(password, digest).await? {
            return Ok(None);
        }
        let secret = hex::encode(self.core.config.entropy.bytes32());
        let (now, over, id) = (self.core.now(), self.over(), self.core.new_id());
        let row = SessionRow {
            id,
            user_id: text(&user, "id"),
            created_at: now,
            last_seen_at: now,
            address: cut(&origin.address),
            user_agent: cut(&origin.user_agent),
        };
        let (core, grant, digest) = (self.core.clone(), self.grant.clone(), sha256_hex(secret.as_bytes()));
        let begun = self.write(move |connection| {
            let present = records::by_id(connection, Kind::User, &row.user_id)?.unwrap_or_default();
            if present["is_enabled"] != true || present["password_hash"] != user["password_hash"] {
                return Ok(None);
            }
            sessions::sweep(connection, over, now)?;
            sessions::insert(connection, &row, &digest)?;
            let after = json!({
                "id": row.user_id, "name": present["name"], "session_id": row.id, "address": row.address,
                "user_agent": row.user_agent,
            });
            let deed = Deed { action: "login", kind: Kind::User, before: Value::Null, after };
            audit::note(&core, connection, &grant, &who(&text(&present, "name")), deed)?;
            Ok(Some(shown(row, &present)))
        });
        Ok(begun.await?.map(|session| (session, secret)))
    }

    /// The session that has that secret; none for one that is over.
    pub fn session_of(&self, secret: &str) -> EngineResult<Option<KnownSession>> {
        let digest = sha256_hex(secret.as_bytes());
        let row = self.core.readers.read(|connection| sessions::find(connection, &digest))?;
        self.known(row)
    }

    /// The session with that id; none for one that is over.
    pub fn session(&self, id: &str) -> EngineResult<Option<KnownSession>> {
        let row = self.core.readers.read(|connection| sessions::get(connection, id))?;
        self.known(row)
    }

    fn known(&self, row: Option<SessionRow>) -> EngineResult<Option<KnownSession>> {
        let over = self.over();
        let Some(row) = row.filter(|row| row.created_at >= over.begun && row.last_seen_at >= over.seen) else {
            return Ok(None);
        };
        let user = match self.core.people.users.require(&self.core.readers, &self.core.writer, &row.user_id) {
            // Found by its name, it would be another one's.
            Ok(user) if user["id"] == row.user_id && user["is_enabled"] == true => user,
            Ok(_) | Err(StoreError::Refused(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let is_unseen = row.last_seen_at.after(SEEN_EVERY) <= self.core.now();
        Ok(Some(KnownSession { id: row.id, user, is_unseen }))
    }

    /// Notes that a session is being used.
    pub async fn note_seen(&self, session: &str) -> EngineResult<()> {
        let (id, now) = (session.to_owned(), self.core.now());
        self.write(move |connection| sessions::set_seen(connection, &id, now)).await
    }

    /// The newest 1000 sessions of a user, by id, or of all, the newest first.
    pub async fn sessions(&self, user_id: Option<&str>) -> EngineResult<Vec<Session>> {
        let (user_id, over) = (user_id.map(str::to_owned), self.over());
        self.read(move |_, connection| {
            let rows = sessions::list(connection, user_id.as_deref(), over, LISTED_MAX)?;
            let with_name = |row: SessionRow| {
                let user = records::by_id(connection, Kind::User, &row.user_id)?.unwrap_or_default();
                Ok(shown(row, &user))
            };
            rows.into_iter().map(with_name).collect()
        })
        .await
    }

    /// Ends a session, by id; with a user, only if it is that one's. False when there is none. `action` is what the
    /// audit log calls it.
    pub async fn end_session(
        &self,
        id: &str,
        user_id: Option<&str>,
        action: &'static str,
        by: &str,
    ) -> EngineResult<bool> {
        let (core, grant, by) = (self.core.clone(), self.grant.clone(), by.to_owned());
        let (id, user_id) = (id.to_owned(), user_id.map(str::to_owned));
        let ended = self.write(move |connection| {
            let Some(row) = sessions::get(connection, &id)? else { return Ok(false) };
            if user_id.is_some_and(|user_id| user_id != row.user_id) {
                return Ok(false);
            }
            sessions::delete(connection, &id)?;
            let user = records::by_id(connection, Kind::User, &row.user_id)?.unwrap_or_default();
            let before = json!({ "id": row.user_id, "name": user["name"], "session_id": id });
            audit::note(&core, connection, &grant, &by, Deed { action, kind: Kind::User, before, after: Value::Null })?;
            Ok(true)
        });
        let has_ended = ended.await?;
        self.tell_people(Kind::User);
        Ok(has_ended)
    }

    /// Ends all sessions of a user, by name or id. Returns how many there were.
    pub async fn end_sessions(&self, user: &str, by: &str) -> EngineResult<usize> {
        let (core, grant, by) = (self.core.clone(), self.grant.clone(), by.to_owned());
        let key = user.to_owned();
        let ended = self.write(move |connection| {
            let user = grant.record(connection, Kind::User, &key)?;
            let count = sessions::delete_of_user(connection, user["id"].as_str().unwrap_or_default(), None)?;
            let before = json!({ "id": user["id"], "name": user["name"], "sessions": count });
            let deed = Deed { action: "end_sessions", kind: Kind::User, before, after: Value::Null };
            audit::note(&core, connection, &grant, &by, deed)?;
            Ok(count)
        });
        let count = ended.await?;
        self.tell_people(Kind::User);
        Ok(count)
    }

    /// Notes in the audit log that logins failed: the last one of them with that name, and how many since the last
    /// note. A name that is nobody's is not noted: people type passwords there.
    pub async fn note_failed_logins(&self, name: &str, address: &str, count: u64) -> EngineResult<()> {
        let (core, grant) = (self.core.clone(), self.grant.clone());
        let (name, address) = (name.to_owned(), cut(address));
        self.write(move |connection| {
            let user = records::get(connection, Kind::User, &name)?.filter(|user| user["name"] == name.as_str());
            let user = user.unwrap_or_default();
            let after = json!({ "id": user["id"], "name": user["name"], "address": address, "failures": count });
            let deed = Deed { action: "login_failed", kind: Kind::User, before: Value::Null, after };
            audit::note(&core, connection, &grant, "nobody", deed)
        })
        .await
    }

    /// Told whenever somebody may do more or less than before: users, tokens or sessions changed.
    pub fn people_changes(&self) -> watch::Receiver<()> {
        self.core.people.changes.subscribe()
    }

    fn over(&self) -> Over {
        let now = self.core.now();
        Over { begun: now.before(LIFE), seen: now.before(IDLE_MAX) }
    }
}

fn shown(row: SessionRow, user: &Value) -> Session {
    let expires_at: Timestamp = row.created_at.after(LIFE).min(row.last_seen_at.after(IDLE_MAX));
    Session {
        user_name: text(user, "name"),
        created_at: row.created_at.to_string(),
        last_seen_at: row.last_seen_at.to_string(),
        expires_at: expires_at.to_string(),
        id: row.id,
        user_id: row.user_id,
        address: row.address,
        user_agent: row.user_agent,
        is_current: false,
    }
}

fn text(record: &Value, field: &str) -> String {
    record[field].as_str().unwrap_or_default().to_owned()
}

fn cut(words: &str) -> String {
    words.chars().take(WORDS_MAX).collect()
}
