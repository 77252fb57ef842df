//! Host calls that ask somebody: opening a question, and waiting for its answer.

use std::time::Duration;

use serde_json::{Value, json};

use super::waits::{Awaited, as_signal};
use super::{CallResult, End, HostError, Session, Turn};
use crate::approvals::{self, Question, approval_id, token_sha256};
use crate::core::Event;
use crate::id;
use crate::journal::{CallKind, Reply, canonical};
use crate::notifications;
use crate::people::Role;
use crate::store::approvals::{self as store_approvals, Approval, ApprovalStatus, FoundBy};
use crate::store::{StoreError, signals};

/// A question as a guest states it.
#[derive(Clone, Debug, Default)]
pub struct Asking {
    /// For people; may be empty.
    pub message: String,
    /// JSON Schema of the answer; none for any answer.
    pub schema: Option<Value>,
    /// Names of roles that may answer.
    pub roles: Vec<String>,
    /// Users that may answer, as the audit log names them.
    pub users: Vec<String>,
    /// After that nobody may answer any more.
    pub timeout: Option<Duration>,
    /// Whether there is to be a token with which somebody without an account answers.
    pub with_token: bool,
}

/// A question that is open.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Its id.
    pub id: String,
    /// Its token, when it has one.
    pub token: Option<String>,
}

impl Session {
    /// Opens a question. It can be answered from then on, whether or not somebody waits for it.
    pub async fn ask(&self, name: &str, asking: Asking) -> CallResult<Asked> {
        let timeout_ms = asking.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let asked = json!({
            "name": name, "message": asking.message, "schema": asking.schema, "roles": asking.roles,
            "users": asking.users, "timeout_ms": timeout_ms, "with_token": asking.with_token,
        });
        let with_token = asking.with_token;
        let reply = match self.turn(CallKind::Ask, &[&canonical(&asked)], || asked.clone())? {
            Turn::Replayed(reply) => reply,
            Turn::Resumed(..) => return Err(self.damaged()),
            Turn::Live(n, call) => {
                let checked = question(asking.message, asking.schema, &asking.roles, asking.users);
                let (execution, name, now) = (self.execution().clone(), name.to_owned(), self.core.now());
                let id = approval_id(&execution.id, n);
                let token = with_token.then(|| self.core.approval_token(&id)).and_then(|token| token_sha256(&token));
                let core = self.core.clone();
                let expires_at = asking.timeout.map(|timeout| now.max(self.now()).after(timeout));
                let open = move |connection: &rusqlite::Connection| {
                    let question = match checked {
                        Ok(question) => question,
                        Err(error) => return Ok((Reply::Error(error), Vec::new())),
                    };
                    let key = execution.key;
                    let status = ApprovalStatus::Open;
                    let approval = Approval { id, key, name, question, status, expires_at, signal: None };
                    let reply = approvals::open(connection, &execution, n, &approval, token.as_deref(), now)?;
                    let told = match reply {
                        Reply::Id(_) => {
                            notifications::of_question(&core, connection, &execution, &approval, token.is_some())?
                        }
                        _ => Vec::new(),
                    };
                    Ok((reply, told))
                };
                let (reply, told) = self.store_call(n, call, open).await?;
                told.into_iter().flatten().for_each(|key| self.core.send(Event::Wake(key)));
                reply
            }
        };
        self.answer(reply, |reply| match reply {
            Reply::Id(place) => {
                let n = id::parse_relative(&place)?;
                let id = approval_id(self.resident.maker(n), n);
                let token = with_token.then(|| self.core.approval_token(&id));
                if with_token {
                    self.resident.learns_token();
                }
                Some(Asked { id, token })
            }
            _ => None,
        })
    }

    /// Waits for the answer to a question of this execution: id of the signal, payload, sender.
    pub async fn wait_answer(&self, id: &str) -> CallResult<(String, Value, String)> {
        let (n, due) = match self.turn(CallKind::WaitAnswer, &[id.as_bytes()], || json!({ "id": id }))? {
            Turn::Replayed(reply) => return self.answer(reply, as_signal),
            Turn::Resumed(n, due) => (n, due),
            Turn::Live(n, call) => {
                let key = self.execution().key;
                let found = self.core.readers.read(|connection| store_approvals::find(connection, FoundBy::Id(id)));
                match found.map_err(|_| End::dropped())?.filter(|found| found.key == key) {
                    Some(approval) => {
                        self.tell_followers(self.record_waiting(n, call, approval.expires_at));
                        (n, approval.expires_at)
                    }
                    None => {
                        let text = format!("this execution has asked nothing with the id `{id}`");
                        let error = Reply::Error(HostError::NotFound(text));
                        let reply = self.store_call(n, call, move |_| Ok((error, ()))).await?.0;
                        return self.answer(reply, as_signal);
                    }
                }
            }
        };
        let reply = self.await_reply(n, due, Awaited::Answer(id.to_owned())).await?;
        self.answer(reply, as_signal)
    }
}

fn question(
    message: String,
    schema: Option<Value>,
    roles: &[String],
    users: Vec<String>,
) -> Result<Question, HostError> {
    let parsed: Result<Vec<Role>, _> = roles.iter().map(|role| role.parse()).collect();
    let roles = parsed.map_err(|error| HostError::InvalidInput(format!("{error}")))?;
    let question = Question { message, schema, roles, users };
    question.check().map(|()| question)
}

/// The answer to a question, for call number `call`, or why there will be none. None while it may still come.
pub(super) fn take_answer(
    connection: &rusqlite::Connection,
    id: &str,
    call: u32,
    timed_out: bool,
) -> Result<Option<Reply>, StoreError> {
    let approval = store_approvals::find(connection, FoundBy::Id(id))?
        .ok_or_else(|| StoreError::Damaged(format!("approval {id} is gone")))?;
    Ok(Some(match (approval.status, &approval.signal) {
        (ApprovalStatus::Answered, Some(signal)) => match signals::take_answer(connection, signal, call)? {
            Some(signal) => Reply::Signal(signal.id, signal.payload, signal.sender.who),
            None => {
                let text = format!("the answer to `{}` was taken by an earlier wait", approval.name);
                Reply::Error(HostError::Conflict(text))
            }
        },
        (ApprovalStatus::Open, _) if !timed_out => return Ok(None),
        _ => {
            store_approvals::set_expired(connection, id)?;
            Reply::Error(HostError::SignalTimeout(approval.name))
        }
    }))
}
