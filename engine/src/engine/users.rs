//! Users: made, given a password, and the links that are good once for that. Changed, listed and deleted they are like
//! every record.

use std::fmt;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Map, Value, json};

use super::{Engine, EngineResult};
use crate::audit::{self, Deed};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::files::sha256_hex;
use crate::query::Kind;
use crate::store::records::{self, Saving, Stamp};
use crate::store::{Refusal, StoreError, StoreResult, sessions};

/// For how long a link is good.
const LINK_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A link that is good once. Only a digest of it is stored.
pub struct Link {
    /// What the link ends with. Nobody can learn it again.
    pub token: String,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// What a link is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkFor {
    /// Making the first user, an admin.
    FirstUser,
    /// Setting the password of the user with that name.
    User(String),
}

impl Engine {
    /// Makes a user. Without a password there is a link with which to set it.
    ///
    /// # Errors
    /// When there is one of that name; when the password is too short or too long.
    pub async fn create_user(
        &self,
        name: &str,
        mut fields: Map<String, Value>,
        password: Option<&str>,
        by: &str,
    ) -> EngineResult<(Value, Option<Link>)> {
        if fields.contains_key("id") {
            return Err(StoreError::invalid("the id of a user is chosen by the engine").into());
        }
        fields.entry("is_enabled").or_insert(true.into());
        let digest = match password {
            Some(password) => Some(self.digest_of(password).await?),
            None => None,
        };
        let link = digest.is_none().then(|| self.new_link());
        let noted = link.as_ref().map(Noted::of);
        let (core, grant, name, stamp) = (self.core.clone(), self.grant.clone(), name.to_owned(), self.core.stamp(by));
        let record = self.write(move |connection| {
            let after = make(&core, connection, &name, &fields, digest, &stamp)?;
            if let Some(noted) = noted {
                noted.set(connection, after["id"].as_str())?;
            }
            let deed = Deed { action: "create", kind: Kind::User, before: Value::Null, after: after.clone() };
            audit::note(&core, connection, &grant, &stamp.who, deed)?;
            Ok(core.present(Kind::User, after))
        });
        Ok((record.await?, link))
    }

    /// Takes the password of a user away, and ends their sessions. Returns the record and a link with which to set
    /// another one.
    pub async fn reset_user(&self, key: &str, by: &str) -> EngineResult<(Value, Link)> {
        let link = self.new_link();
        let (noted, stamp) = (Noted::of(&link), self.core.stamp(by));
        let (core, grant, key) = (self.core.clone(), self.grant.clone(), key.to_owned());
        let reset = self.write(move |connection| {
            let before = grant.record(connection, Kind::User, &key)?;
            let after = set_password(connection, &before, None, None, &stamp)?;
            noted.set(connection, after["id"].as_str())?;
            let deed = Deed { action: "reset_password", kind: Kind::User, before, after: after.clone() };
            audit::note(&core, connection, &grant, &stamp.who, deed)?;
            Ok(core.present(Kind::User, after))
        });
        let record = reset.await?;
        self.tell_people(Kind::User);
        Ok((record, link))
    }

    /// A link with which the first user is made; those before are good for nothing then. None when there is a user, or
    /// ever was.
    pub async fn new_setup_link(&self) -> EngineResult<Option<Link>> {
        let link = self.new_link();
        let noted = Noted::of(&link);
        let is_wanted = self.write(move |connection| {
            let is_wanted = !sessions::were_users_made(connection)?;
            if is_wanted {
                noted.set(connection, None)?;
            }
            Ok(is_wanted)
        });
        Ok(is_wanted.await?.then_some(link))
    }

    /// What a link is good for. None when it is good for nothing: it was used, or its time is over. Looking uses
    /// nothing up.
    pub async fn link_for(&self, token: &str) -> EngineResult<Option<LinkFor>> {
        let digest = sha256_hex(token.as_bytes());
        self.read(move |core, connection| {
            let Some(user) = sessions::find_link(connection, &digest, core.now())? else { return Ok(None) };
            let Some(id) = user else { return Ok(Some(LinkFor::FirstUser)) };
            let user = records::get(connection, Kind::User, &id)?;
            Ok(user.and_then(|user| Some(LinkFor::User(user["name"].as_str()?.to_owned()))))
        })
        .await
    }

    /// Uses a link up: makes the first user, with that name, or sets the password of the one that the link is for.
    /// Returns the user.
    ///
    /// # Errors
    /// When the link is good for nothing; when the first user gets no name, or one that is none; when the password is
    /// too short or too long. The link is as good as before then.
    pub async fn use_link(&self, token: &str, name: Option<&str>, password: &str) -> EngineResult<Value> {
        // First, so that who has no link makes no work.
        if self.link_for(token).await?.is_none() {
            return Err(spent().into());
        }
        let secret = self.digest_of(password).await?;
        let (core, grant, stamp) = (self.core.clone(), self.grant.clone(), self.core.stamp(""));
        let (link, name) = (sha256_hex(token.as_bytes()), name.map(str::to_owned));
        let used = self.write(move |connection| {
            let user = sessions::find_link(connection, &link, stamp.now)?.ok_or_else(spent)?;
            let (action, before, after) = match user {
                None => {
                    let name = name.ok_or_else(|| StoreError::invalid("the first user needs a `name`"))?;
                    let stamp = Stamp { who: who(&name), ..stamp };
                    let fields = json!({ "role": "admin", "is_enabled": true });
                    let fields = fields.as_object().cloned().unwrap_or_default();
                    ("setup", Value::Null, make(&core, connection, &name, &fields, Some(secret), &stamp)?)
                }
                Some(id) => {
                    let before = records::require(connection, Kind::User, &id)?;
                    let stamp = Stamp { who: who(before["name"].as_str().unwrap_or_default()), ..stamp };
                    let after = set_password(connection, &before, Some(secret), None, &stamp)?;
                    sessions::delete_links(connection, Some(&id))?;
                    ("set_password", before, after)
                }
            };
            let by = who(after["name"].as_str().unwrap_or_default());
            let deed = Deed { action, kind: Kind::User, before, after: after.clone() };
            audit::note(&core, connection, &grant, &by, deed)?;
            Ok(core.present(Kind::User, after))
        });
        let record = used.await?;
        self.tell_people(Kind::User);
        Ok(record)
    }

    /// Changes the password of a user who knows the present one, and ends their other sessions. False when that is not
    /// the present one.
    ///
    /// # Errors
    /// When the new one is too short or too long.
    pub async fn change_password(
        &self,
        user_id: &str,
        present: &str,
        new: &str,
        session: Option<&str>,
    ) -> EngineResult<bool> {
        let id = user_id.to_owned();
        let user = self.read(move |_, connection| records::require(connection, Kind::User, &id)).await?;
        let known = user["password_hash"].as_str().map(str::to_owned);
        if !self.core.people.passwords.is_right(present, known).await? {
            return Ok(false);
        }
        let secret = self.digest_of(new).await?;
        let stamp = self.core.stamp(&who(user["name"].as_str().unwrap_or_default()));
        let (core, grant, session) = (self.core.clone(), self.grant.clone(), session.map(str::to_owned));
        let changed = self.write(move |connection| {
            let before = records::require(connection, Kind::User, user["id"].as_str().unwrap_or_default())?;
            if before["password_hash"] != user["password_hash"] {
                return Ok(false);
            }
            let after = set_password(connection, &before, Some(secret), session.as_deref(), &stamp)?;
            let deed = Deed { action: "set_password", kind: Kind::User, before, after };
            audit::note(&core, connection, &grant, &stamp.who, deed)?;
            Ok(true)
        });
        let changed = changed.await?;
        self.tell_people(Kind::User);
        Ok(changed)
    }

    async fn digest_of(&self, password: &str) -> EngineResult<String> {
        Ok(self.core.people.passwords.digest(password, self.core.config.entropy.bytes32()).await?)
    }

    fn new_link(&self) -> Link {
        let token = hex::encode(self.core.config.entropy.bytes32());
        Link { token, expires_at: self.core.now().after(LINK_LIFE) }
    }
}

/// How a user is named as the author of a change.
pub(super) fn who(name: &str) -> String {
    format!("user {name}")
}

/// As much of a link as is stored.
struct Noted {
    digest: String,
    expires_at: Timestamp,
}

impl Noted {
    fn of(link: &Link) -> Self {
        Self { digest: sha256_hex(link.token.as_bytes()), expires_at: link.expires_at }
    }

    fn set(self, connection: &Connection, user_id: Option<&str>) -> StoreResult<()> {
        sessions::set_link(connection, &self.digest, user_id, self.expires_at)
    }
}

fn make(
    core: &Core,
    connection: &Connection,
    name: &str,
    fields: &Map<String, Value>,
    digest: Option<String>,
    stamp: &Stamp,
) -> StoreResult<Value> {
    let user = core.save_record(connection, Kind::User, &Saving::New(name.to_owned()), fields, stamp)?.after;
    sessions::note_user_made(connection)?;
    set_password(connection, &user, digest, None, stamp)
}

/// Sets or removes a password, and ends the sessions of the user, but for that one.
fn set_password(
    connection: &Connection,
    user: &Value,
    digest: Option<String>,
    session: Option<&str>,
    stamp: &Stamp,
) -> StoreResult<Value> {
    let id = user["id"].as_str().unwrap_or_default();
    let fields = json!({ "has_password": digest.is_some(), "password_hash": digest });
    records::set_computed(connection, Kind::User, id, &fields, stamp)?;
    sessions::delete_of_user(connection, id, session)?;
    records::require(connection, Kind::User, id)
}

fn spent() -> StoreError {
    let text = "this link is good for nothing: it was used, or its time is over; ask an admin for a new one";
    StoreError::Refused(Refusal::NotFound(text.to_owned()))
}
