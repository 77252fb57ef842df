//! How a run begins its program, and what an end does: one transaction for the status, the end actions, the children,
//! the schedule's next
//! iteration.

use std::sync::Arc;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::core::{Core, Departure, Event};
use crate::grant::Grant;
use crate::journal::Status;
use crate::notifications::{self, NOTIFY};
use crate::people::{Rights, Role};
use crate::planted::{Bug, is_planted};
use crate::query::Kind;
use crate::runs;
use crate::schedules;
use crate::session::{End, EndAction, Session, writable_kind};
use crate::store::executions::{self, Execution, ExecutionType, Finish, Key};
use crate::store::logs::{self, LogLine};
use crate::store::places::{self, Admission};
use crate::store::records::Saving;
use crate::store::schedules::{self as store_schedules, ScheduleState};
use crate::store::writer::guarded;
use crate::store::{Concerns, StoreError, StoreResult, Urgency, locks, signals};

/// Runs the program that the execution began with.
pub(crate) async fn run_program(session: &Arc<Session>) -> Result<Value, End> {
    let core = session.core();
    let input = session.execution().input.clone();
    let mut version = session.resident().started.version.clone();
    if is_planted(Bug::NewestVersionRun) {
        version = newest_version(core, session.execution()).unwrap_or(version);
    }
    let result = match version.strip_prefix("native:") {
        Some(name) => match core.natives.get(name) {
            Some(flow) => flow.run(session.clone(), input).await,
            None => Err(End::Error("not_found".into(), format!("this engine has no built-in flow `{name}`"))),
        },
        None => core.host.run(session.clone(), &version, input).await,
    };
    match result {
        // These come from outside of the program, or say more already.
        Err(End::Departed(_) | End::Cancelled | End::Overdue | End::Nondeterminism(_) | End::Limit(..)) => result,
        result => session.unmade_call().map_or(result, Err),
    }
}

/// Makes the end of an execution durable and tells who waits for it.
pub(crate) async fn finish(session: &Arc<Session>, result: Result<Value, End>) -> Departure {
    let core = session.core().clone();
    let execution = session.execution().clone();
    let (mut finish, continued) = classify(&core, session, result);
    // Before anybody sees it.
    let Ok(redactions) = core.redactions(session.resident(), &[]) else { return Departure::Dropped };
    redactions.text(&mut finish.message);
    redactions.value(&mut finish.output);
    finish.response.iter_mut().for_each(|response| redactions.response(response));
    match session.end_actions() {
        Ok(actions) => record(&core, execution, finish, actions, continued).await,
        Err(StoreError::Damaged(reason)) => fail_internally(&core, execution.key, &reason).await,
        Err(error) => {
            tracing::warn!(execution = %execution.id, %error, "the journal cannot be read; the end is tried again");
            Departure::Dropped
        }
    }
}

/// Ends an execution whose instance failed through no fault of the flow.
pub(crate) async fn fail_internally(core: &Arc<Core>, key: Key, message: &str) -> Departure {
    let Ok(Some(execution)) = core.readers.read(|connection| executions::load_remains(connection, key)) else {
        return Departure::Dropped;
    };
    let finish = Finish {
        status: Status::EndedError,
        code: "internal".into(),
        message: format!("the engine could not run this execution: {message}"),
        output: Value::Null,
        response: None,
        at: core.now(),
        cancels_children: false,
    };
    record(core, execution, finish, Vec::new(), None).await
}

fn classify(core: &Core, session: &Session, result: Result<Value, End>) -> (Finish, Option<Value>) {
    let at = core.now().max(session.now());
    let output = session.take_output();
    let make = |status, code: &str, message: String, output: Value, response| Finish {
        status,
        code: code.to_owned(),
        message,
        output,
        response,
        at,
        cancels_children: false,
    };
    let error = |code: &str, message: String| make(Status::EndedError, code, message, output.clone(), None);
    let finish = match result {
        // What was set by name and what was returned are one output; the returned value wins where both are objects.
        Ok(returned) => make(Status::EndedSuccess, "", String::new(), join(output.clone(), returned), None),
        Err(End::Success(message)) => make(Status::EndedSuccess, "", message, output, None),
        Err(End::Response(response)) => {
            let output = if output.is_null() { response.clone() } else { output };
            make(Status::EndedSuccess, "", String::new(), output, Some(response))
        }
        Err(End::ContinueAsNew(input)) => {
            return (make(Status::EndedSuccess, "", "continued as new".into(), output, None), Some(input));
        }
        Err(End::Error(code, message)) => error(&code, message),
        Err(End::Cancelled) => {
            let cancelled = make(Status::EndedCancelled, "cancelled", "cancelled".into(), output, None);
            Finish { cancels_children: true, ..cancelled }
        }
        Err(End::Overdue) => {
            let deadline = session.execution().deadline.unwrap_or(at);
            let overdue = error("deadline", format!("it had not ended by its deadline, {deadline}"));
            Finish { cancels_children: true, ..overdue }
        }
        Err(End::Nondeterminism(message)) => error("nondeterminism", message),
        Err(End::Limit(name, message)) => error("limit_exceeded", format!("{name}: {message}")),
        Err(End::Departed(_)) => unreachable!("the caller keeps departures apart"),
    };
    (finish, None)
}

fn join(set: Value, returned: Value) -> Value {
    match (set, returned) {
        (Value::Object(mut set), Value::Object(returned)) => {
            set.extend(returned);
            Value::Object(set)
        }
        (set, Value::Null) => set,
        (Value::Null, returned) => returned,
        (Value::Object(mut set), returned) => {
            set.insert("result".into(), returned);
            Value::Object(set)
        }
        (_, returned) => returned,
    }
}

async fn record(
    core: &Arc<Core>,
    execution: Execution,
    finish: Finish,
    actions: Vec<EndAction>,
    continued: Option<Value>,
) -> Departure {
    let (id, flow_id, status) = (execution.id.clone(), execution.flow_id.clone(), finish.status);
    let apart = APART.into_iter().find(|bug| is_planted(*bug)).map(|bug| (bug, execution.clone(), finish.clone()));
    let ending = core.clone();
    let ticket = core.writer.submit(Urgency::Now, Concerns::One(execution.key), move |connection| {
        end(&ending, connection, &execution, &finish, &actions, continued)
    });
    match ticket.done().await {
        Ok(woken) => {
            tracing::debug!(execution = %id, status = status.as_str(), "ended");
            core.counters.ended(&flow_id, status);
            if flow_id == NOTIFY && status == Status::EndedError {
                tracing::warn!(execution = %id, "a notification was not delivered");
            }
            core.changed(&id);
            core.ended.ring(&id);
            for key in woken {
                core.send(Event::Wake(key));
            }
            if let Some((bug, execution, finish)) = apart {
                do_apart(core, bug, execution, finish).await;
            }
            Departure::Ended
        }
        Err(error) => {
            tracing::warn!(execution = %id, %error, "the end could not be recorded; it will be tried again");
            Departure::Dropped
        }
    }
}

/// The transaction of an end. Returns the executions that it concerns.
fn end(
    core: &Arc<Core>,
    connection: &Connection,
    execution: &Execution,
    finish: &Finish,
    actions: &[EndAction],
    continued: Option<Value>,
) -> StoreResult<Vec<Key>> {
    let mut woken = Vec::new();
    if let Some(input) = continued {
        match guarded(connection, |connection| continue_as_new(core, connection, execution, finish, actions, input)) {
            Ok(key) => return Ok(vec![key]),
            Err(StoreError::Refused(refusal)) => {
                let message = format!("it could not continue as new: {refusal}");
                let failed =
                    Finish { status: Status::EndedError, code: "not_continued".into(), message, ..finish.clone() };
                return end(core, connection, execution, &failed, actions, None);
            }
            Err(failed) => return Err(failed),
        }
    }
    let Some(left) = executions::finish(connection, execution.key, finish)? else { return Ok(woken) };
    if let Some(flow_id) = left.limited_flow.filter(|_| !is_planted(Bug::PlaceGivenOnApart)) {
        woken.extend(places::give(connection, &flow_id)?);
    }
    for (index, action) in actions.iter().rev().enumerate() {
        let attempt =
            crate::store::writer::guarded(connection, |connection| perform(core, connection, execution, action, index));
        match attempt {
            Ok(keys) => woken.extend(keys),
            Err(StoreError::Refused(refusal)) => {
                let text = format!("an action at the end failed: {refusal}");
                note(connection, execution, finish, index, &text, json!({ "action": action }))?;
            }
            Err(failed) => return Err(failed),
        }
    }
    // After the actions: they may change what it has locked.
    if !is_planted(Bug::LockGivenOnApart) {
        woken.extend(locks::release_all(connection, execution.key, finish.at)?);
    }
    if finish.cancels_children {
        woken.extend(executions::cancel_children(connection, &execution.id)?);
    }
    if let Some(schedule_id) = &execution.schedule_id
        && execution.is_schedule
        && !is_planted(Bug::NextIterationApart)
    {
        match guarded(connection, |connection| {
            schedules::after_iteration(core, connection, schedule_id, execution, finish)
        }) {
            Ok(key) => woken.extend(key),
            Err(StoreError::Refused(refusal)) => {
                let text = format!("the schedule has no next iteration: {refusal}");
                note(connection, execution, finish, actions.len(), &text, Value::Null)?;
                schedules::set_last_error(core, connection, schedule_id, Some(&text))?;
            }
            Err(failed) => return Err(failed),
        }
    }
    if let Some(parent_id) = &execution.parent_id {
        woken.extend(executions::key_of(connection, parent_id)?);
    }
    woken.extend(runs::waiting_iteration(connection, execution)?);
    woken.extend(notifications::of_end(core, connection, execution, finish)?);
    Ok(woken)
}

fn perform(
    core: &Arc<Core>,
    connection: &Connection,
    execution: &Execution,
    action: &EndAction,
    index: usize,
) -> StoreResult<Vec<Key>> {
    let by = format!("execution {}", execution.id);
    let stamp = core.stamp_of(execution);
    let grant = |needed| Grant::of_execution(&execution.acts_as, needed);
    match action {
        EndAction::SaveRecord { kind, key, fields } => {
            let kind = writable_kind(kind)?;
            if grant(Role::Author).find(connection, kind, key)?.is_none() {
                return Ok(Vec::new()); // an undo of what never came to be
            }
            let fields = fields
                .as_object()
                .cloned()
                .ok_or_else(|| StoreError::invalid("the fields to save are not an object"))?;
            let saving = Saving::Either(key.to_owned());
            let record = grant(Role::Author).save(core, connection, kind, &saving, &fields, &stamp)?.after;
            touched(connection, kind, &record)
        }
        EndAction::DeleteRecord { kind, key } => {
            let kind = Kind::parse_for_flow(kind).map_err(|error| StoreError::invalid(error.to_string()))?;
            let record = grant(Role::Author).delete(core, connection, kind, key, true, &stamp)?;
            record.map_or(Ok(Vec::new()), |record| touched(connection, kind, &record))
        }
        EndAction::StartFlow { flow, inputs } => {
            let id = crate::id::child_id(&format!("{}/end", execution.id), u32::try_from(index).unwrap_or(u32::MAX));
            let grant = grant(Role::Operator);
            grant.check_start(connection, flow, inputs)?;
            let mut new = core.new_flow_execution(connection, id, flow, inputs.clone(), &by, grant.rights())?;
            new.parent_id = Some(execution.id.clone());
            new.orphan = true;
            new.started.depth = execution.depth + 1;
            let depth_max = new.started.limits.depth_max;
            if new.started.depth >= depth_max {
                return Err(StoreError::invalid(format!("depth_max: {depth_max} executions stand above one another")));
            }
            Ok(vec![executions::insert(connection, &new, core.now())?])
        }
    }
}

fn touched(connection: &Connection, kind: Kind, record: &Value) -> StoreResult<Vec<Key>> {
    store_schedules::concerned(connection, kind, record["id"].as_str().unwrap_or_default())
}

/// A line of the engine's own at the end of the log.
fn note(
    connection: &Connection,
    execution: &Execution,
    finish: &Finish,
    line: usize,
    text: &str,
    fields: Value,
) -> StoreResult<()> {
    let line = LogLine {
        call: u32::MAX,
        line: u32::try_from(line).unwrap_or(u32::MAX),
        at: finish.at,
        level: "error".into(),
        source: "engine".into(),
        message: text.to_owned(),
        fields,
    };
    Ok(logs::insert(connection, execution.key, &line)?)
}

/// The new execution takes the old one's place: for its parent, its schedule, its webhook's caller, the senders of
/// signals.
fn continue_as_new(
    core: &Arc<Core>,
    connection: &Connection,
    old: &Execution,
    finish: &Finish,
    actions: &[EndAction],
    input: Value,
) -> StoreResult<Key> {
    let id = crate::id::child_id(&format!("{}/continued", old.id), 0);
    let by = format!("execution {}", old.id);
    let mut input = input;
    if old.is_schedule
        && let Value::Object(fields) = &mut input
    {
        for term in schedules::TERMS {
            fields.entry(term).or_insert_with(|| old.input[term].clone());
        }
    }
    let asked = executions::active_one(connection, old.key)?;
    let forgotten = is_planted(Bug::RightsForgotten).then(Rights::of_executions);
    let rights = forgotten.as_ref().unwrap_or(&old.acts_as);
    let mut new = core.new_flow_execution(connection, id.clone(), &old.flow_id, input, &by, rights)?;
    new.started.depth = old.depth;
    new.started.end_actions = actions.iter().map(|action| json!(action)).collect();
    new.started.locks = locks::held(connection, old.key)?;
    new.name.clone_from(&old.name);
    new.parent_id.clone_from(&old.parent_id);
    new.orphan = old.orphan;
    new.schedule_id.clone_from(&old.schedule_id);
    new.webhook_id.clone_from(&old.webhook_id);
    new.deadline = old.deadline;
    new.admission = Admission::Inherited(asked.and_then(|asked| asked.place));
    new.priority = old.priority;
    if old.is_schedule {
        new.ty = ExecutionType::Schedule;
    }
    let key = executions::insert(connection, &new, core.now())?;
    executions::finish(connection, old.key, finish)?;
    executions::set_continued_as(connection, old.key, &id)?;
    executions::move_children(connection, &old.id, &id)?;
    signals::move_unused(connection, old.key, key)?;
    locks::move_all(connection, old.key, key)?;
    if let Some(schedule_id) = &old.schedule_id
        && let Some(state) = store_schedules::state(connection, schedule_id)?
        && state.execution_id == old.id
    {
        store_schedules::set_state(connection, schedule_id, &ScheduleState { execution_id: id, ..state })?;
    }
    // What was asked of the old one is asked of the new one.
    if asked.is_some_and(|asked| asked.cancel) {
        executions::request_cancel(connection, key)?;
    }
    if asked.is_some_and(|asked| asked.state == executions::ActiveState::Paused) {
        executions::set_paused(connection, key, true, "paused")?;
    }
    Ok(key)
}

/// See [`Bug::NewestVersionRun`].
fn newest_version(core: &Core, execution: &Execution) -> Option<String> {
    let read = |connection: &Connection| crate::store::records::get(connection, Kind::Flow, &execution.flow_id);
    let record = core.readers.read(read).ok().flatten()?;
    record["version"].as_str().map(str::to_owned)
}

/// What belongs to the transaction of an end, and is planted in another one.
const APART: [Bug; 3] = [Bug::NextIterationApart, Bug::LockGivenOnApart, Bug::PlaceGivenOnApart];

/// See [`APART`].
async fn do_apart(core: &Arc<Core>, bug: Bug, execution: Execution, finish: Finish) {
    let begin = core.clone();
    let ticket =
        core.writer.submit(Urgency::Now, Concerns::None, move |connection| match (bug, &execution.schedule_id) {
            (Bug::LockGivenOnApart, _) => locks::release_all(connection, execution.key, finish.at),
            (Bug::PlaceGivenOnApart, _) => places::give(connection, &execution.flow_id),
            (_, Some(schedule_id)) if execution.is_schedule => {
                Ok(schedules::after_iteration(&begin, connection, schedule_id, &execution, &finish)?
                    .into_iter()
                    .collect())
            }
            _ => Ok(Vec::new()),
        });
    for key in ticket.done().await.unwrap_or_default() {
        core.send(Event::Wake(key));
    }
}
