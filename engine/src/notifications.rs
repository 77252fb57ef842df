//! Notifications: who is told when a flow goes bad, when it is well again, and when an execution asks somebody.
//!
//! A *rule* is a record of kind `notification`. What it tells is an execution of the built-in flow `native:notify`
//! ([`native`](crate::native)), which begins in the transaction of the end, or of the question, that it tells of. Its
//! id is a function of both, so none is lost or doubled, and it holds nobody up. What is said is written down there and
//! then: the execution's input is the call of a connector to be.
//!
//! Of a *subject* that is bad there is a row for each rule ([`store::notified`](crate::store::notified)), so that a
//! failure is told once and not with each further one. Executions of built-in flows are no subject: a notification that
//! fails is never told by another one.

mod texts;

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Map, Value, json};
use surefoot_connector_api::{Effect, Message, merge};

use crate::approvals::{HIDDEN_TOKEN, hide_tokens};
use crate::clock::Timestamp;
use crate::core::{Core, Event};
use crate::id;
use crate::journal::Status;
use crate::people::Rights;
use crate::planted::{Bug, is_planted};
use crate::query::Kind;
use crate::store::approvals::{Approval, ApprovalStatus, FoundBy};
use crate::store::executions::{self, Execution, Finish, Key, NewExecution};
use crate::store::notified::{self, Bad};
use crate::store::writer::guarded;
use crate::store::{Concerns, Readers, RecordCache, StoreError, StoreResult, Urgency, Writer, approvals, records};

pub use texts::Links;
use texts::{Told, What};

/// The id of the flow that delivers.
pub(crate) const NOTIFY: &str = "native:notify";

/// The rules that are enabled, as of the newest commit that changed one.
pub(crate) struct Rules(RecordCache<Vec<Rule>>);

impl Rules {
    pub(crate) fn new() -> Self {
        Self(RecordCache::of(|connection, _| Rule::all(connection)).watching(Writer::notification_changes))
    }

    fn present(&self, readers: &Readers, writer: &Writer, connection: &Connection) -> StoreResult<Arc<Vec<Rule>>> {
        // Who ends is not held up by a reader that cannot be had.
        self.0.require(readers, writer, "").or_else(|_| Rule::all(connection).map(Arc::new))
    }
}

/// A rule that is enabled.
struct Rule {
    id: String,
    flow_id: Option<String>,
    project_id: Option<String>,
    on: Vec<String>,
    repeat_after: Option<Duration>,
}

impl Rule {
    fn all(connection: &Connection) -> StoreResult<Vec<Self>> {
        let rule = |(id, document): (String, Value)| {
            let text = |field: &str| document[field].as_str().map(str::to_owned);
            let on = document["on"].as_array().into_iter().flatten();
            Self {
                id,
                flow_id: text("flow_id"),
                project_id: text("project_id"),
                on: on.filter_map(|word| word.as_str().map(str::to_owned)).collect(),
                repeat_after: document["repeat_after_ms"].as_u64().map(Duration::from_millis),
            }
        };
        Ok(notified::rules(connection)?.into_iter().map(rule).collect())
    }

    fn tells_of(&self, occasion: &str) -> bool {
        self.on.iter().any(|word| word == occasion)
    }

    /// One in a project tells of what is there and of nothing else.
    fn covers(&self, subject: &Subject) -> bool {
        self.flow_id.as_ref().is_none_or(|flow| Some(flow) == subject.flow_id.as_ref())
            && self.project_id.as_ref().is_none_or(|project| Some(project) == subject.project_id.as_ref())
    }

    /// What an end makes of what the rule knows, and whether it is told.
    fn judge(&self, known: Option<Bad>, is_failure: bool, at: Timestamp) -> (Option<Bad>, bool) {
        match known {
            None if is_failure => (Some(Bad { since: at, told_at: at, failures: 1 }), self.tells_of("failure")),
            None => (None, false),
            Some(bad) if is_failure => {
                let is_due = self.repeat_after.is_some_and(|pause| at.since(bad.told_at) >= pause);
                let told_at = if is_due { at } else { bad.told_at };
                (Some(Bad { told_at, failures: bad.failures + 1, ..bad }), is_due && self.tells_of("failure"))
            }
            Some(_) => (None, self.tells_of("recovery")),
        }
    }
}

/// What is well or bad: a flow; or a schedule whose iterations are to start one.
pub(crate) struct Subject {
    kind: Kind,
    id: String,
    name: String,
    /// The one that the schedule starts.
    flow_id: Option<String>,
    project_id: Option<String>,
}

impl Subject {
    /// What an execution is of; none of built-in flows.
    fn of(connection: &Connection, execution: &Execution) -> StoreResult<Option<Self>> {
        let text = |record: &Value, field: &str| record[field].as_str().map(str::to_owned);
        if let (true, Some(schedule_id)) = (execution.is_schedule, &execution.schedule_id) {
            let Some(schedule) = records::get(connection, Kind::Schedule, schedule_id)? else { return Ok(None) };
            let flow = records::get(connection, Kind::Flow, schedule["flow_id"].as_str().unwrap_or_default())?;
            return Ok(Some(Self {
                kind: Kind::Schedule,
                id: schedule_id.clone(),
                name: text(&schedule, "name").unwrap_or_default(),
                flow_id: flow.and_then(|flow| text(&flow, "id")),
                project_id: text(&schedule, "project_id"),
            }));
        }
        if execution.flow_id.starts_with("native:") {
            return Ok(None);
        }
        let flow = records::get(connection, Kind::Flow, &execution.flow_id)?.unwrap_or_default();
        Ok(Some(Self {
            kind: Kind::Flow,
            id: execution.flow_id.clone(),
            name: text(&flow, "name").unwrap_or_else(|| execution.name.clone()),
            flow_id: Some(execution.flow_id.clone()),
            project_id: text(&flow, "project_id"),
        }))
    }
}

/// Whether nobody waits for it who could make good what failed: it was started by a caller, a schedule or a webhook, or
/// as an orphan.
fn is_at_the_top(connection: &Connection, execution: &Execution) -> StoreResult<bool> {
    match &execution.parent_id {
        Some(parent_id) if !execution.orphan && !execution.is_schedule => {
            let parent = executions::get(connection, parent_id)?;
            Ok(parent.is_some_and(|(_, row)| row["type"] == "SCHEDULE"))
        }
        _ => Ok(true),
    }
}

/// In the transaction of an end: begins what tells of it. A cancel is neither good nor bad.
pub(crate) fn of_end(
    core: &Core,
    connection: &Connection,
    execution: &Execution,
    finish: &Finish,
) -> StoreResult<Vec<Key>> {
    let is_failure = match finish.status {
        Status::EndedError => true,
        Status::EndedSuccess => false,
        _ => return Ok(Vec::new()),
    };
    tell(core, connection, execution, |rules| {
        if !is_at_the_top(connection, execution)? {
            return Ok(Vec::new());
        }
        let Some(subject) = Subject::of(connection, execution)? else { return Ok(Vec::new()) };
        let mut woken = Vec::new();
        for rule in rules.iter().filter(|rule| rule.covers(&subject)) {
            if !rule.tells_of("failure") && !rule.tells_of("recovery") {
                continue;
            }
            let known = notified::get(connection, &subject.id, &rule.id)?;
            let (bad, is_told) = rule.judge(known, is_failure, finish.at);
            if bad != known {
                notified::set(connection, &subject.id, &rule.id, bad)?;
            }
            if let (true, Some(bad)) = (is_told, bad.or(known)) {
                let what = What::End { subject: &subject, execution, finish, bad };
                woken.extend(begin(core, connection, &rule.id, &execution.id, &what)?);
            }
        }
        Ok(woken)
    })
}

/// In the transaction of a question: begins what tells of it, unless it has its answer already.
pub(crate) fn of_question(
    core: &Core,
    connection: &Connection,
    execution: &Execution,
    approval: &Approval,
    has_token: bool,
) -> StoreResult<Vec<Key>> {
    tell(core, connection, execution, |rules| {
        let stored = approvals::find(connection, FoundBy::Id(&approval.id))?;
        if stored.is_none_or(|stored| stored.status != ApprovalStatus::Open) {
            return Ok(Vec::new());
        }
        let Some(subject) = Subject::of(connection, execution)? else { return Ok(Vec::new()) };
        let mut woken = Vec::new();
        for rule in rules.iter().filter(|rule| rule.tells_of("approval") && rule.covers(&subject)) {
            let what = What::Question { subject: &subject, execution, approval, has_token };
            woken.extend(begin(core, connection, &rule.id, &approval.id, &what)?);
        }
        Ok(woken)
    })
}

/// Does nothing where there is no rule. What cannot be told undoes nothing of what it is about.
fn tell(
    core: &Core,
    connection: &Connection,
    execution: &Execution,
    work: impl FnOnce(&[Rule]) -> StoreResult<Vec<Key>>,
) -> StoreResult<Vec<Key>> {
    let rules = core.notifications.present(&core.readers, &core.writer, connection)?;
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    match guarded(connection, |_| work(&rules)) {
        Err(error) if error.is_of_one_member() => {
            tracing::error!(execution = %execution.id, %error, "nobody was told of it");
            Ok(Vec::new())
        }
        told => told,
    }
}

/// Begins the execution that tells of a cause. None where the rule is gone since it was read, or has told already.
fn begin(core: &Core, connection: &Connection, rule: &str, cause: &str, what: &What<'_>) -> StoreResult<Option<Key>> {
    let id = id::notification_id(rule, cause);
    let Some(rule) = records::get(connection, Kind::Notification, rule)? else { return Ok(None) };
    if executions::key_of(connection, &id)?.is_some() {
        return Ok(None);
    }
    let by = format!("notification {}", rule["name"].as_str().unwrap_or_default());
    let new = compose(core, connection, id, &rule, what, &by)?;
    if is_planted(Bug::NotificationApart) {
        begin_apart(core, new);
        return Ok(None);
    }
    executions::insert(connection, &new, core.now()).map(Some)
}

/// See [`Bug::NotificationApart`].
fn begin_apart(core: &Core, new: NewExecution) {
    let (events, now) = (core.events.clone(), core.now());
    drop(core.writer.submit(Urgency::Lazy, Concerns::None, move |connection| {
        let key = executions::insert(connection, &new, now)?;
        let _ = events.send(Event::Wake(key));
        Ok(())
    }));
}

/// An execution that tries a rule, whether or not it is enabled: once, and now.
pub(crate) fn trial(core: &Core, connection: &Connection, rule: &Value, by: &str) -> StoreResult<NewExecution> {
    compose(core, connection, core.new_id(), rule, &What::Trial, by)
}

/// The same message once more: who gets it knows it again.
pub(crate) fn again(
    core: &Core,
    connection: &Connection,
    id: String,
    input: Value,
    by: &str,
) -> StoreResult<NewExecution> {
    let rule = input["notification_id"].as_str().unwrap_or_default();
    let rule = records::get(connection, Kind::Notification, rule)?.unwrap_or_default();
    Ok(of_rule(core, &rule, id, input, by))
}

/// It acts as who saved the rule.
fn of_rule(core: &Core, rule: &Value, id: String, input: Value, by: &str) -> NewExecution {
    let new = core.new_execution(id, NOTIFY.to_owned(), input, by, Rights::of_saved(rule));
    NewExecution { flow_id: NOTIFY.to_owned(), name: "notify".to_owned(), ..new }
}

fn compose(
    core: &Core,
    connection: &Connection,
    id: String,
    rule: &Value,
    what: &What<'_>,
    by: &str,
) -> StoreResult<NewExecution> {
    let told = Told::new(what, rule, &id, core.config.links.as_ref(), core.now());
    let mut input = json!({
        "notification_id": rule["id"], "occasion": what.occasion(), "message_id": id,
        "execution_id": what.execution_id(), "is_trial": matches!(what, What::Trial),
    });
    // Only of a link that is in it: the token takes the place of what stands for it.
    if told.has_link {
        input["token_of"] = what.approval_id().into();
    }
    if let What::Question { approval, .. } = what {
        input["approval_id"] = approval.id.as_str().into();
    }
    let message =
        Message { id: &id, to: rule.get("to"), subject: &told.subject, text: &told.text, document: &told.document };
    match call_of(core, connection, rule, &message)? {
        Ok(call) => input.as_object_mut().into_iter().for_each(|input| input.extend(call.clone())),
        Err(problem) => input["problem"] = problem.into(),
    }
    Ok(NewExecution { name: told.name, ..of_rule(core, rule, id.clone(), input, by) })
}

/// The call of the rule's connector that hands over the message, or why there is none.
fn call_of(
    core: &Core,
    connection: &Connection,
    rule: &Value,
    message: &Message<'_>,
) -> StoreResult<Result<Map<String, Value>, String>> {
    let key = rule["connector_id"].as_str().unwrap_or_default();
    let Some(connector) = records::get(connection, Kind::Connector, key)? else {
        return Ok(Err(format!("there is no connector `{key}`")));
    };
    let ty = connector["type"].as_str().unwrap_or_default();
    let Some(ty) = core.connectors.get(ty) else {
        return Ok(Err(format!("there is no connector type `{ty}`")));
    };
    let stored = connector["config"].as_object().cloned().unwrap_or_default();
    Ok(ty.connector.delivery(&stored, message).map(|inputs| {
        // What is not known to have been done may be done once more, or not.
        let is_repeatable = ty.connector.effect(&merge(&stored, &inputs)) != Effect::Write;
        let call = json!({"connector_id": connector["id"], "inputs": inputs, "is_repeatable": is_repeatable});
        call.as_object().cloned().unwrap_or_default()
    }))
}

/// After a rule was saved: whether it can tell anything, and what it forgets because it is another one now.
pub(crate) fn saved(core: &Core, connection: &Connection, before: Option<&Value>, after: &Value) -> StoreResult<()> {
    let differs = |fields: &[&str]| {
        before.is_none_or(|before| fields.iter().any(|field| before.get(*field) != after.get(*field)))
    };
    if differs(&["flow_id", "project_id"])
        && let (Some(flow), Some(project)) = (after["flow_id"].as_str(), after["project_id"].as_str())
        && records::require(connection, Kind::Flow, flow)?["project_id"] != project
    {
        let text = "a notification in a project tells of flows in it: its flow is in another one, or in none";
        return Err(StoreError::invalid(text));
    }
    if differs(&["connector_id", "to"]) {
        let nothing = Value::Null;
        let message = Message { id: "", to: after.get("to"), subject: "", text: "", document: &nothing };
        call_of(core, connection, after, &message)?.map_err(StoreError::invalid)?;
    }
    match after["id"].as_str() {
        Some(id) if differs(&["on", "flow_id", "project_id", "is_enabled"]) => notified::forget_rule(connection, id),
        _ => Ok(()),
    }
}

/// Puts the token of the question into the inputs of a call, in the place of what stands for it.
pub(crate) fn with_token(core: &Core, approval: &str, inputs: &mut Value) {
    let token = core.approval_token(approval);
    crate::secrets::replace_in(
        inputs,
        &|text| match text.contains(HIDDEN_TOKEN) {
            true => text.replace(HIDDEN_TOKEN, &token).into(),
            false => text.into(),
        },
        &|_| false,
    );
}

/// A text of somebody's own, in which nothing looks like what stands for a token.
fn plain(text: &str) -> String {
    let mut value = Value::from(text);
    hide_tokens(&mut value);
    value.as_str().unwrap_or_default().replace(HIDDEN_TOKEN, "***")
}

#[cfg(test)]
mod tests;
