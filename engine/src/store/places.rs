//! Places of flows of which only so many executions may run at one time: who has one, who waits for one, who is next.
//!
//! All of it is part of the transaction that creates or ends an execution, or changes its flow: a place that becomes
//! free is given on in the same commit. Nobody looks whether there is one now and then, and none is lost in a crash.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::executions::{ExecutionType, Key, NewExecution};
use super::{StoreResult, records};
use crate::query::Kind;

/// What an execution that waits for a place says of itself.
pub(crate) const WAITS: &str = "waits for a place: as many executions of its flow run as may at one time";

/// Places that are given in one transaction, at most. Whoever gets one gives on at its end.
const GIVEN_MAX: i64 = 1000;

/// Whether an execution has a place among those of its flow. Its number in the table `active`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not yet.
    Awaited = 0,
    /// Until its end, whatever it does.
    Held = 1,
}

impl Place {
    pub(crate) fn from_number(number: Option<i64>) -> Option<Self> {
        number.map(|number| if number == Self::Held as i64 { Self::Held } else { Self::Awaited })
    }
}

/// How a new execution comes to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Its flow has no limit.
    Unlimited,
    /// Only so many of its flow may run.
    Limited(i64),
    /// As the execution that it takes the place of.
    Inherited(Option<Place>),
}

/// How executions of that flow come to a place.
pub(crate) fn admission(flow: &Value) -> Admission {
    flow["max_concurrent"].as_i64().map_or(Admission::Unlimited, Admission::Limited)
}

/// The place of an execution that is to be inserted; none when it needs none.
pub(crate) fn of_new(connection: &Connection, new: &NewExecution) -> StoreResult<Option<Place>> {
    match new.admission {
        Admission::Inherited(place) => Ok(place),
        Admission::Limited(max) if new.ty == ExecutionType::Flow && !is_within_a_holder(connection, new)? => {
            let is_free = held(connection, &new.flow_id)? < max;
            Ok(Some(if is_free { Place::Held } else { Place::Awaited }))
        }
        Admission::Limited(_) | Admission::Unlimited => Ok(None),
    }
}

/// Whether an execution of the same flow stands above it and has a place: that one may wait for it, and would for ever
/// if it had to wait for that place.
fn is_within_a_holder(connection: &Connection, new: &NewExecution) -> StoreResult<bool> {
    let mut above = connection.prepare_cached(
        "SELECT flow_id, parent_id, orphan, (SELECT place FROM active WHERE execution = executions.rowid)
         FROM executions WHERE id = ?1",
    )?;
    let mut next = new.parent_id.clone().filter(|_| !new.orphan);
    while let Some(id) = next {
        let row = above.query_row([id], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, bool>(2)?, row.get(3)?))
        });
        let Some((flow_id, parent_id, orphan, place)) = row.optional()? else { return Ok(false) };
        if flow_id == new.flow_id && Place::from_number(place) == Some(Place::Held) {
            return Ok(true);
        }
        next = parent_id.filter(|_| !orphan);
    }
    Ok(false)
}

fn held(connection: &Connection, flow_id: &str) -> StoreResult<i64> {
    let mut statement =
        connection.prepare_cached("SELECT count(*) FROM active WHERE limited_flow = ?1 AND place = 1")?;
    Ok(statement.query_row([flow_id], |row| row.get(0))?)
}

/// Gives the free places of a flow to those who are first in line: by priority, and then by age. Returns who got one.
pub(crate) fn give(connection: &Connection, flow_id: &str) -> StoreResult<Vec<Key>> {
    let flow = records::get(connection, Kind::Flow, flow_id)?.unwrap_or_default();
    let free = match admission(&flow) {
        Admission::Limited(max) => (max - held(connection, flow_id)?).clamp(0, GIVEN_MAX),
        _ => GIVEN_MAX,
    };
    let mut first = connection.prepare_cached(
        "SELECT execution FROM active WHERE limited_flow = ?1 AND place = 0
         ORDER BY priority DESC, execution LIMIT ?2",
    )?;
    let given = first.query_map(params![flow_id, free], |row| row.get(0).map(Key))?.collect::<Result<Vec<_>, _>>()?;
    for key in &given {
        connection.prepare_cached("UPDATE active SET place = 1 WHERE execution = ?1")?.execute([key.0])?;
        connection
            .prepare_cached("UPDATE executions SET message = '' WHERE rowid = ?1 AND status = 'QUEUED'")?
            .execute([key.0])?;
    }
    Ok(given)
}

/// Those that have a place of a flow.
pub(crate) fn holders(connection: &Connection, flow_id: &str) -> StoreResult<Vec<Key>> {
    let mut statement =
        connection.prepare_cached("SELECT execution FROM active WHERE limited_flow = ?1 AND place = 1")?;
    let keys = statement.query_map([flow_id], |row| row.get(0).map(Key))?;
    Ok(keys.collect::<Result<_, _>>()?)
}

/// After a flow was saved: what runs already counts, and what waits may begin if the limit allows it now.
pub(crate) fn flow_saved(connection: &Connection, before: Option<&Value>, after: &Value) -> StoreResult<()> {
    let was = before.map_or(Admission::Unlimited, admission);
    let id = after["id"].as_str().unwrap_or_default();
    match (was, admission(after)) {
        (was, is) if was == is => return Ok(()),
        (Admission::Unlimited, _) => {
            connection
                .prepare_cached(
                    "UPDATE active SET limited_flow = ?1, place = 1 WHERE limited_flow IS NULL AND EXISTS
                         (SELECT 1 FROM executions
                          WHERE rowid = active.execution AND flow_id = ?1 AND type = 'FLOW')",
                )?
                .execute([id])?;
        }
        _ => {}
    }
    give(connection, id).map(drop)
}
