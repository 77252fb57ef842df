//! Who calls, what they may do, and the engine that they get.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde_json::Value;
use surefoot_engine::{Engine, KnownSession, Rights, Role, Timestamp};

use crate::access::has_digest;
use crate::app::App;
use crate::cookies;
use crate::problem::{Answer, Problem};

/// Who calls, as far as it is known. Operations that need a role look for it, and let nobody in without.
#[derive(Clone)]
pub(crate) struct Caller {
    /// Recorded as the author of what is changed.
    pub(crate) who: String,
    pub(crate) rights: Rights,
    /// The role that the operation asks for; the highest until that is known.
    pub(crate) needed: Role,
    pub(crate) credential: Credential,
}

/// By what a caller is known.
#[derive(Clone)]
pub(crate) enum Credential {
    /// The owner of the workspace, on the server's machine.
    Owner,
    /// The token in the file of the data folder.
    FileToken,
    /// A token; its id.
    Token(String),
    /// A session of a user.
    Session(Arc<SessionOfCaller>),
}

/// What is known of the session that a request shows.
pub(crate) struct SessionOfCaller {
    pub(crate) id: String,
    pub(crate) user: Arc<Value>,
    pub(crate) csrf_token: String,
    /// Whether it is time to note that it is used.
    pub(crate) is_unseen: bool,
}

impl SessionOfCaller {
    pub(crate) fn user_id(&self) -> &str {
        self.user["id"].as_str().unwrap_or_default()
    }

    pub(crate) fn user_name(&self) -> &str {
        self.user["name"].as_str().unwrap_or_default()
    }
}

impl Caller {
    fn new(who: impl Into<String>, rights: Rights, credential: Credential) -> Self {
        Self { who: who.into(), rights, needed: Role::Admin, credential }
    }

    /// The owner of the workspace.
    pub(crate) fn owner() -> Self {
        Self::new("local", Rights::everywhere(Role::Admin), Credential::Owner)
    }

    /// Who shows the token of the data folder.
    pub(crate) fn of_file() -> Self {
        Self::new("api", Rights::everywhere(Role::Admin), Credential::FileToken)
    }

    /// Who has been given that token.
    pub(crate) fn of_token(app: &App, token: &str) -> Answer<Self> {
        let unknown = || {
            let problem = Problem::unauthorized("the token is not this server's");
            problem.hint("the file `token` in the server's data folder has one, and an admin can make others")
        };
        let record = app.whole_engine().token_for_call(token)?.ok_or_else(unknown)?;
        if !has_digest(token, record["secret_sha256"].as_str().unwrap_or_default()) {
            return Err(unknown());
        }
        Self::of_token_record(app, &record)
    }

    fn of_token_record(app: &App, record: &Value) -> Answer<Self> {
        let text = |field: &str| record[field].as_str().unwrap_or_default();
        if record["expires_at"].as_str().is_some_and(|at| !is_good_until(at, app.whole_engine().now())) {
            let detail = format!("the token `{}` expired at {}", text("name"), text("expires_at"));
            return Err(Problem::unauthorized(detail).hint("ask an admin of this workspace for a new one"));
        }
        let credential = Credential::Token(text("id").to_owned());
        Ok(Self::new(format!("token {}", text("name")), Rights::of_token(record), credential))
    }

    /// Who began the session with that secret.
    pub(crate) fn of_session(app: &App, secret: &str) -> Answer<Self> {
        let known = app.whole_engine().session_of(secret)?.ok_or_else(over)?;
        Ok(Self::of_known(known, cookies::csrf_token(secret)))
    }

    fn of_known(known: KnownSession, csrf_token: String) -> Self {
        let KnownSession { id, user, is_unseen } = known;
        let who = format!("user {}", user["name"].as_str().unwrap_or_default());
        let rights = Rights::of_user(&user);
        let session = SessionOfCaller { id, user, csrf_token, is_unseen };
        Self::new(who, rights, Credential::Session(Arc::new(session)))
    }

    /// The session by which the caller is known.
    pub(crate) fn session(&self) -> Option<&SessionOfCaller> {
        match &self.credential {
            Credential::Session(session) => Some(session),
            _ => None,
        }
    }

    /// The same caller as of now, for the same operation; a problem when they are nobody any more.
    pub(crate) fn renewed(&self, app: &App) -> Answer<Self> {
        let caller = match &self.credential {
            Credential::Owner | Credential::FileToken => self.clone(),
            Credential::Token(id) => {
                let record = app.whole_engine().token(id)?.ok_or_else(Problem::no_token)?;
                Self::of_token_record(app, &record)?
            }
            Credential::Session(session) => {
                let known = app.whole_engine().session(&session.id)?.ok_or_else(over)?;
                Self::of_known(known, session.csrf_token.clone())
            }
        };
        Ok(Self { needed: self.needed, ..caller })
    }
}

/// Whether a time in a record has not come. What cannot be read as a time is over.
pub(crate) fn is_good_until(at: &str, now: Timestamp) -> bool {
    at.parse::<Timestamp>().is_ok_and(|at| at > now)
}

fn over() -> Problem {
    Problem::unauthorized("the session is over").hint("log in again: POST /api/v1/sessions")
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::no_token)
    }
}

/// The engine, for what the caller may reach with the role that the operation asks for. Who asks it cannot forget to
/// check that.
pub(crate) struct InReach(pub(crate) Engine);

impl FromRequestParts<App> for InReach {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        let caller = Caller::from_request_parts(parts, app).await?;
        Ok(Self(app.engine_for(&caller)))
    }
}
