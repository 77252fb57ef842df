//! Journal records for people, whichever format they were written in.

use serde_json::{Value, json};

use super::{Attempt, CallKind, ConnectionStart, Ended, Origin, Outcome, Record, Reply};

/// A record: without the seed of the execution's randomness, with the names of the calls.
pub fn shown(seq: usize, record: &Record) -> Value {
    let mut shown = match record {
        Record::Started(started) => {
            json!({"record": "started", "at": started.at.to_string(), "version": started.version,
            "limits": started.limits, "engine": started.engine, "acts_as": started.acts_as,
            "taken_from": started.origins.iter().map(shown_origin).collect::<Vec<_>>()})
        }
        Record::Call { n, kind, args, at, due, connection, reply, .. } => {
            json!({"record": "call", "call": n, "kind": kind,
            "args": shown_args(*kind, args, connection.as_deref(), reply.as_ref()),
            "at": at.to_string(), "due": due.map(|due| due.to_string()),
            "effect": connection.as_ref().map(|start| start.effect), "reply": reply})
        }
        Record::Reply { n, at, reply } => json!({"record": "reply", "call": n, "at": at.to_string(), "reply": reply}),
        Record::Settled { n, began, at, outcome, attempts, cached_at } => {
            json!({"record": "settled", "call": n, "began": began.to_string(), "at": at.to_string(),
            "outcome": outcome, "attempts": attempts.iter().map(shown_attempt).collect::<Vec<_>>(),
            "cached_at": cached_at.map(|at| at.to_string())})
        }
    };
    shown["seq"] = seq.into();
    if let Some((result, error)) = came_to(record) {
        (shown["result"], shown["error"]) = (result, error);
    }
    shown
}

/// What a call came to, or why it did not; nothing of a record that does not say it.
fn came_to(record: &Record) -> Option<(Value, Value)> {
    match record {
        Record::Call { reply: Some(Reply::Error(error)), .. } | Record::Reply { reply: Reply::Error(error), .. } => {
            Some((Value::Null, error.to_string().into()))
        }
        Record::Call { reply: Some(reply), .. } | Record::Reply { reply, .. } => Some((result_of(reply), Value::Null)),
        Record::Settled { outcome, .. } => Some(match &**outcome {
            Outcome::Success(output) => (output.value().into_owned(), Value::Null),
            Outcome::Failed(error) => (Value::Null, format!("{}: {}", error.class.code(), error.message).into()),
            Outcome::Interrupted => (Value::Null, "interrupted: nobody knows whether it was done".into()),
            Outcome::Cancelled => (Value::Null, "cancelled before it was done".into()),
        }),
        Record::Started(_) | Record::Call { .. } => None,
    }
}

fn result_of(reply: &Reply) -> Value {
    match reply {
        Reply::Unit | Reply::Error(_) => Value::Null,
        Reply::Bool(is_so) => (*is_so).into(),
        Reply::Id(id) => id.as_str().into(),
        Reply::Json(document) => document.clone().unwrap_or_default(),
        Reply::Page(rows, next) => json!({"rows": rows, "next": next}),
        Reply::Ended(ended) => ended.iter().map(ended_child).collect(),
        Reply::Signal(id, payload, sender) => json!({"id": id, "payload": payload, "sender": sender}),
        Reply::FilePart(sha256, offset, length) => json!({"sha256": sha256, "offset": offset, "length": length}),
        Reply::FileStat(found) => {
            found.as_ref().map(|(size, sha256)| json!({"size_bytes": size, "sha256": sha256})).into()
        }
    }
}

/// How a connection ended stands in the record of its end.
fn ended_child(ended: &Ended) -> Value {
    match &ended.result {
        None => json!({"id": ended.id}),
        Some(flow) => json!({"id": ended.id, "name": flow.name, "status": flow.status, "code": flow.code,
            "message": flow.message}),
    }
}

/// Another execution that made the first calls, or the next ones, up to a number.
fn shown_origin(Origin { execution, before }: &Origin) -> Value {
    json!({"execution": execution, "before": before})
}

/// An attempt that was followed by another.
pub fn shown_attempt(attempt: &Attempt) -> Value {
    let Attempt { began, at, error } = attempt;
    json!({"began": began.to_string(), "at": at.to_string(), "code": error.class.code(), "message": error.message})
}

/// What the guest passed. A record leaves out what stands elsewhere in it: see [`start_args`] and [`wait_args`].
pub fn shown_args(kind: CallKind, args: &Value, start: Option<&ConnectionStart>, reply: Option<&Reply>) -> Value {
    match (kind, args, start, reply) {
        (CallKind::StartConnection, Value::Array(parts), Some(start), _) => {
            let connector = parts.get(1).cloned().unwrap_or_else(|| connector_of(start).into());
            json!({"connector": connector, "inputs": parts.first()})
        }
        (CallKind::Wait, Value::Number(when), _, Some(Reply::Ended(ended))) => {
            let ids: Vec<_> = ended.iter().map(|ended| &ended.id).collect();
            let when = when.as_u64().and_then(|when| WHEN.get(usize::try_from(when).ok()?));
            json!({"ids": ids, "when": when, "timeout_ms": null})
        }
        _ => args.clone(),
    }
}

/// The arguments of a started connection as a record holds them: the inputs, and the connector where it is not the one
/// that the start names.
pub fn start_args(connector: &str, inputs: Value, start: &ConnectionStart) -> Value {
    match connector == connector_of(start) {
        true => json!([inputs]),
        false => json!([inputs, connector]),
    }
}

fn connector_of(start: &ConnectionStart) -> String {
    match start.connector_id.as_str() {
        "" => format!("type:{}", start.connector_type),
        _ => start.name.clone(),
    }
}

/// The arguments of a wait that returned all it waited for, as a record holds them: the number of how
/// it waited.
pub fn wait_args<'a>(args: Value, ended: impl Iterator<Item = &'a str>) -> Value {
    let all = args["timeout_ms"].is_null() && args["ids"].as_array().is_some_and(|ids| ids.iter().eq(ended));
    match WHEN.iter().position(|when| args["when"] == **when) {
        Some(when) if all => when.into(),
        _ => args,
    }
}

/// How a wait waited, by the number that a record has. Never change one.
const WHEN: [&str; 3] = ["all_ended", "all_succeeded", "first_ended"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::journal::HostError;

    #[test]
    fn what_calls_came_to_is_told_in_words() {
        let told = |reply: Reply| {
            let shown = shown(7, &Record::Reply { n: 1, at: Timestamp(0), reply });
            (shown["result"].clone(), shown["error"].clone())
        };
        assert_eq!(told(Reply::Unit), (Value::Null, Value::Null));
        assert_eq!(told(Reply::Json(Some(json!({"a": 1})))), (json!({"a": 1}), Value::Null));
        assert_eq!(told(Reply::Page(vec![json!(1)], None)).0, json!({"rows": [1], "next": null}));
        assert_eq!(told(Reply::FileStat(Some((3, "x".into())))).0, json!({"size_bytes": 3, "sha256": "x"}));
        let signal = Reply::Signal("s".into(), json!(true), "user root".into());
        assert_eq!(told(signal).0, json!({"id": "s", "payload": true, "sender": "user root"}));
        let missing = HostError::NotFound("there is no file `x`".into());
        assert_eq!(told(Reply::Error(missing)), (Value::Null, json!("there is no file `x`")));
        let settled = |outcome| {
            let (began, at) = (Timestamp(0), Timestamp(1));
            let outcome = std::sync::Arc::new(outcome);
            shown(8, &Record::Settled { n: 1, began, at, outcome, attempts: Vec::new(), cached_at: None })
        };
        assert_eq!(settled(Outcome::Success(json!([1]).into()))["result"], json!([1]));
        assert!(settled(Outcome::Interrupted)["error"].as_str().unwrap().contains("nobody knows"));
    }
}
