//! Questions that executions ask people and programs: what fits as an answer, who may give it, and the token with which
//! somebody without an account does. Here are the rules; rows are in [`store::approvals`](crate::store::approvals),
//! the host calls in [`session`](crate::session).
//!
//! A token is a function of the workspace's key and of the question's id, so that a replay gives the flow the same one;
//! the store has its digest, and what is shown of an execution has `sfa_***` in its place.

use std::borrow::Cow;

use jsonschema::Validator;
use rusqlite::Connection;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::core::Core;
use crate::files::sha256_hex;
use crate::id;
use crate::journal::{HostError, Reply};
use crate::people::{Role, Sender};
use crate::secrets::replace_in;
use crate::store::approvals::{Approval, ApprovalStatus, FoundBy};
use crate::store::executions::Execution;
use crate::store::logs::{self, LogLine};
use crate::store::signals::{self, Signal};
use crate::store::{Refusal, StoreError, StoreResult, approvals, records};

/// Size of an answer, bytes of JSON.
pub const ANSWER_BYTES_MAX: usize = 256 << 10;

/// Size of the schema of an answer, bytes of JSON.
pub(crate) const SCHEMA_BYTES_MAX: usize = 64 << 10;

/// Length of a message, characters.
const MESSAGE_MAX: usize = 10_000;

/// Roles and users that a question may name.
const NAMED_MAX: usize = 100;

/// Questions of one execution that are open at one time.
const OPEN_MAX: u32 = 100;

/// Signals that came before the question and are looked at, the oldest first.
const EARLY_MAX: u32 = 16;

/// What each token begins with, for people and for scanners that look for secrets.
const PREFIX: &str = "sfa_";

/// What stands in the place of a token.
pub(crate) const HIDDEN_TOKEN: &str = "sfa_***";

/// What is asked, and of whom.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    /// For people; may be empty.
    pub(crate) message: String,
    /// JSON Schema of the answer; none for any answer.
    pub(crate) schema: Option<Value>,
    /// Who has one of these roles, or a higher one, may answer.
    pub(crate) roles: Vec<Role>,
    /// So may these, by the names under which the audit log knows them.
    pub(crate) users: Vec<String>,
}

impl Question {
    /// Whether that sender may answer. Where nobody is named, operators may.
    pub(crate) fn check_sender(&self, sender: &Sender) -> Result<(), Refusal> {
        let everybody = [Role::Operator];
        let roles = if self.roles.is_empty() && self.users.is_empty() { &everybody[..] } else { &self.roles };
        if self.users.contains(&sender.who) || roles.iter().any(|role| sender.role >= Some(*role)) {
            return Ok(());
        }
        let named = roles.iter().map(|role| format!("the role {role}"));
        let named: Vec<_> = named.chain(self.users.iter().map(|user| format!("`{user}`"))).collect();
        let text = format!("{} may not answer; this asks for {}", sender.who, named.join(" or "));
        Err(Refusal::Forbidden(text))
    }

    /// Whether that answer fits; the refusal names the field and the reason.
    pub(crate) fn check_answer(&self, answer: &Value) -> Result<(), Refusal> {
        let Some(schema) = &self.schema else { return Ok(()) };
        let rules = rules(schema).map_err(Refusal::Invalid)?;
        let Some(error) = rules.iter_errors(answer).next() else { return Ok(()) };
        let at = error.instance_path().to_string();
        let at = at.trim_start_matches('/');
        // The library quotes the value, which may be long and of other people's concern.
        let text = error.masked_with("the value").to_string();
        Err(Refusal::Invalid(if at.is_empty() { text } else { format!("field `{at}`: {text}") }))
    }

    /// Whether it can be asked at all.
    pub(crate) fn check(&self) -> Result<(), HostError> {
        let refused = |text: String| Err(HostError::InvalidInput(text));
        if self.message.chars().count() > MESSAGE_MAX {
            return refused(format!("the message is longer than {MESSAGE_MAX} characters"));
        }
        if self.roles.len() + self.users.len() > NAMED_MAX {
            return refused(format!("more than {NAMED_MAX} roles and users are named"));
        }
        let Some(schema) = &self.schema else { return Ok(()) };
        if schema.to_string().len() > SCHEMA_BYTES_MAX {
            return refused(format!("the schema is longer than {SCHEMA_BYTES_MAX} bytes"));
        }
        rules(schema).map(drop).map_err(HostError::InvalidInput)
    }
}

fn rules(schema: &Value) -> Result<Validator, String> {
    let options = jsonschema::options().should_validate_formats(true);
    options.build(schema).map_err(|error| format!("the schema of the answer is not valid: {error}"))
}

/// The id of what call number `call` of an execution asks.
pub(crate) fn approval_id(execution: &str, call: u32) -> String {
    id::child_id(&format!("{execution}/approval"), call)
}

impl Core {
    /// The token of a question.
    pub(crate) fn approval_token(&self, id: &str) -> String {
        format!("{PREFIX}{}", self.digester.approval_token(id))
    }
}

/// By what the store knows a token; none for what cannot be one.
pub(crate) fn token_sha256(token: &str) -> Option<String> {
    token.starts_with(PREFIX).then(|| sha256_hex(token.as_bytes()))
}

/// Opens a question in the transaction of its entry, and lets an early signal answer it.
pub(crate) fn open(
    connection: &Connection,
    execution: &Execution,
    call: u32,
    approval: &Approval,
    token_sha256: Option<&str>,
    now: Timestamp,
) -> StoreResult<Reply> {
    let Approval { key, name, .. } = approval;
    records::check_name(crate::query::Kind::Approval, name)?;
    let present = approvals::find(connection, FoundBy::Name(*key, name))?;
    if present.is_some_and(|present| present.status == ApprovalStatus::Open) {
        let text = format!("`{name}` is asked for already; wait for its answer first, or choose another name");
        return Err(StoreError::Refused(Refusal::Conflict(text)));
    }
    if approvals::count_open(connection, *key)? >= OPEN_MAX {
        let text = format!("{OPEN_MAX} questions are open; wait for answers first");
        return Ok(Reply::Error(HostError::LimitExceeded(text)));
    }
    approvals::insert(connection, approval, token_sha256, now)?;
    let early = signals::unused(connection, *key, name, ANSWER_BYTES_MAX, EARLY_MAX)?;
    for (index, signal) in early.into_iter().enumerate() {
        let question = &approval.question;
        match question.check_sender(&signal.sender).and_then(|()| question.check_answer(&signal.payload)) {
            Ok(()) => {
                signals::set_approval(connection, &signal.id, &approval.id)?;
                approvals::set_answered(connection, &approval.id, &signal.id)?;
                break;
            }
            Err(why) => logs::insert(connection, execution.key, &unfit(call, index, now, name, &signal, &why))?,
        }
    }
    Ok(Reply::Id(id::relative(call)))
}

/// What is said of an early signal that does not fit. It stays unused.
fn unfit(call: u32, index: usize, at: Timestamp, name: &str, signal: &Signal, why: &Refusal) -> LogLine {
    LogLine {
        call,
        line: u32::MAX - u32::try_from(index).unwrap_or(u32::MAX),
        at,
        level: "warn".into(),
        source: "engine".into(),
        message: format!("a signal that came before `{name}` was asked for does not answer it: {why}"),
        fields: serde_json::json!({"signal_id": signal.id, "sender": signal.sender.who}),
    }
}

/// Whether a text may have a token in it.
pub(crate) fn may_hold_token(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(PREFIX),
        Value::Array(items) => items.iter().any(may_hold_token),
        Value::Object(members) => members.iter().any(|(name, member)| name.contains(PREFIX) || may_hold_token(member)),
        _ => false,
    }
}

/// Puts `sfa_***` in the place of each token in a document.
pub(crate) fn hide_tokens(value: &mut Value) {
    replace_in(value, &text_without_tokens, &|_| false);
}

/// The text with `sfa_***` in the place of each token.
pub(crate) fn text_without_tokens(text: &str) -> Cow<'_, str> {
    if !text.contains(PREFIX) {
        return Cow::Borrowed(text);
    }
    let mut hidden = String::with_capacity(text.len());
    for (index, part) in text.split(PREFIX).enumerate() {
        if index == 0 {
            hidden.push_str(part);
            continue;
        }
        let end = part.find(|sign: char| !sign.is_ascii_hexdigit()).unwrap_or(part.len());
        hidden.push_str(PREFIX);
        hidden.push_str(if end == 0 { "" } else { "***" });
        hidden.push_str(&part[end..]);
    }
    Cow::Owned(hidden)
}

#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod tests;
