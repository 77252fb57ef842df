//! Answers to what executions ask: by those who may, or by whoever shows the token. The first one wins.

use rusqlite::Connection;
use serde_json::Value;

use super::{Engine, EngineError, EngineResult};
use crate::approvals::{ANSWER_BYTES_MAX, token_sha256};
use crate::audit;
use crate::clock::Timestamp;
use crate::core::Event;
use crate::grant::Grant;
use crate::people::Sender;
use crate::store::approvals::{self, Approval, ApprovalStatus, FoundBy};
use crate::store::executions::{self, Key};
use crate::store::signals::{self, Signal};
use crate::store::{Refusal, StoreError, StoreResult};

/// What became of an answer.
enum Given {
    /// It is the answer now.
    Taken(Key),
    /// The same sender has given it before; the id of the signal.
    Before(String),
}

impl Engine {
    /// A question, as users see it.
    pub async fn approval(&self, id: &str) -> EngineResult<Value> {
        let (id, grant) = (id.to_owned(), self.grant.clone());
        self.read(move |_, connection| shown(connection, &grant, &id)).await
    }

    /// The question that a token answers, as users see it. Changes nothing.
    pub async fn approval_of_token(&self, token: &str) -> EngineResult<Value> {
        let id = self.of_token(token).await?.id;
        self.read(move |_, connection| shown(connection, &Grant::everything(), &id)).await
    }

    /// Answers a question. Durable when this returns; the same answer of the same sender again changes nothing.
    ///
    /// # Errors
    /// `Forbidden` for who may not answer, `Invalid` for what does not fit, `Conflict` when somebody else was first,
    /// `Gone` when it is too late.
    pub async fn answer(&self, id: &str, payload: Value, sender: &str) -> EngineResult<Value> {
        let (owned, grant) = (id.to_owned(), self.grant.clone());
        let found = self.read(move |_, connection| {
            shown(connection, &grant, &owned)?;
            approvals::find(connection, FoundBy::Id(&owned))?.ok_or_else(|| unknown(&owned))
        });
        self.give(found.await?, payload, sender, None).await?;
        self.approval(id).await
    }

    /// Like [`answer`](Self::answer), by whoever shows the token of the question.
    pub async fn answer_by_token(&self, token: &str, payload: Value) -> EngineResult<Value> {
        let approval = self.of_token(token).await?;
        let id = approval.id.clone();
        let who = format!("token of {}", approval.name);
        self.take(approval, payload, &who, None, None).await?;
        self.read(move |_, connection| shown(connection, &Grant::everything(), &id)).await
    }

    /// Looks a token up by its digest alone, so that how long that takes tells nothing of any token.
    async fn of_token(&self, token: &str) -> EngineResult<Approval> {
        let digest = token_sha256(token).unwrap_or_default();
        self.read(move |_, connection| {
            let found = approvals::find(connection, FoundBy::TokenSha256(&digest))?;
            found.ok_or_else(|| {
                StoreError::Refused(Refusal::NotFound("nothing is asked under this token; is it whole?".into()))
            })
        })
        .await
    }

    /// An answer by somebody who is known, if they may give one. Returns the id of the signal.
    pub(super) async fn give(
        &self,
        approval: Approval,
        payload: Value,
        sender: &str,
        signal_id: Option<String>,
    ) -> EngineResult<String> {
        self.take(approval, payload, sender, Some((*self.grant).clone()), signal_id).await
    }

    /// Who has a token needs no grant.
    async fn take(
        &self,
        approval: Approval,
        payload: Value,
        who: &str,
        grant: Option<Grant>,
        signal_id: Option<String>,
    ) -> EngineResult<String> {
        if approval.status == ApprovalStatus::Open {
            check(&approval, &payload).map_err(EngineError::Refused)?;
        }
        let sender = Sender { who: who.to_owned(), role: None };
        let mut signal = Signal { id: signal_id.unwrap_or_else(|| self.core.new_id()), payload, sender };
        let (core, now, given) = (self.core.clone(), self.core.now(), signal.id.clone());
        let given = move |connection: &Connection| {
            let asker = executions::load_remains(connection, approval.key)?.map(|one| one.id).unwrap_or_default();
            if let Some(grant) = &grant {
                signal.sender.role = grant.role_at(connection, &asker)?;
                approval.question.check_sender(&signal.sender).map_err(StoreError::Refused)?;
            }
            Ok(match decide(connection, &approval.id, &signal, now)? {
                Given::Taken(key) => {
                    let grant = grant.unwrap_or_else(Grant::everything);
                    audit::note_of_execution(&core, connection, &grant, &signal.sender.who, "answer", &asker)?;
                    (given, Some((key, asker)))
                }
                Given::Before(present) => (present, None),
            })
        };
        let wake = |(_, taken): &(String, Option<(Key, String)>)| taken.as_ref().map(|(key, _)| Event::Wake(*key));
        let (signal, taken) = self.write_and_wake(given, wake).await?;
        if let Some((_, execution)) = taken {
            self.core.changed(&execution);
        }
        Ok(signal)
    }
}

/// One that is in reach. Of another nobody learns that it is there.
fn shown(connection: &Connection, grant: &Grant, id: &str) -> StoreResult<Value> {
    let row = approvals::get(connection, id)?.ok_or_else(|| unknown(id))?;
    match grant.check_execution(connection, row["execution_id"].as_str().unwrap_or_default()) {
        Err(StoreError::Refused(Refusal::NotFound(_))) => Err(unknown(id)),
        checked => checked.map(|()| row),
    }
}

fn unknown(id: &str) -> StoreError {
    StoreError::not_found("approval", id)
}

/// Whether the answer fits. Before the transaction, because it may take its time.
fn check(approval: &Approval, payload: &Value) -> Result<(), Refusal> {
    if crate::journal::is_too_deep(payload) {
        return Err(Refusal::Invalid("the answer is nested too deep".into()));
    }
    if payload.to_string().len() > ANSWER_BYTES_MAX {
        return Err(Refusal::Invalid(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes")));
    }
    approval.question.check_answer(payload)
}

/// The transaction: makes it the answer, or says why not.
fn decide(connection: &Connection, id: &str, signal: &Signal, now: Timestamp) -> StoreResult<Given> {
    let approval = approvals::find(connection, FoundBy::Id(id))?.ok_or_else(|| unknown(id))?;
    let name = &approval.name;
    let gone = |why: String| Err(StoreError::Refused(Refusal::Gone(format!("`{name}` takes no answer: {why}"))));
    match approval.status {
        ApprovalStatus::Open => match approval.expires_at {
            Some(end) if end <= now => gone(format!("it was open until {end}")),
            _ => {
                signals::insert(connection, approval.key, name, signal, Some(id), now)?;
                approvals::set_answered(connection, id, &signal.id)?;
                Ok(Given::Taken(approval.key))
            }
        },
        ApprovalStatus::Answered => {
            let Some((winner, at)) = approval.signal.map(|id| signals::get(connection, &id)).transpose()?.flatten()
            else {
                return gone("it was answered".into());
            };
            if winner.id == signal.id || (winner.sender.who == signal.sender.who && winner.payload == signal.payload) {
                return Ok(Given::Before(winner.id));
            }
            let text = format!("`{name}` was answered by {} at {at}; the first answer counts", winner.sender.who);
            Err(StoreError::Refused(Refusal::Conflict(text)))
        }
        ApprovalStatus::Expired => {
            gone(approval.expires_at.map_or_else(String::new, |end| format!("it was open until {end}")))
        }
        ApprovalStatus::Closed => gone("the execution that asked has ended".into()),
    }
}
