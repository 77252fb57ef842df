//! Journal records for people, whichever format they were written in.

use serde_json::{Value, json};

use super::{Attempt, CallKind, ConnectionStart, Origin, Record, Reply};

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
    shown
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
