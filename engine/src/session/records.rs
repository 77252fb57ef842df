//! Host calls on records, and the actions at the end.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{CallResult, Document, HostError, Session, Turn};
use crate::core::{Event, lock};
use crate::journal::{CallKind, Reply, canonical};
use crate::people::Role;
use crate::query::{Kind, Page, Query};
use crate::store::records::{self, Saving};
use crate::store::{StoreError, StoreResult, approvals, executions};

/// What the fields of a record are called in errors.
const FIELDS: &str = "the fields to save";

/// What the engine does at an execution's end, whatever the end was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndAction {
    /// Saves fields of a record.
    SaveRecord {
        /// Kind of the record.
        kind: String,
        /// Its name or id.
        key: String,
        /// The fields.
        fields: Value,
    },
    /// Deletes a record permanently.
    DeleteRecord {
        /// Kind of the record.
        kind: String,
        /// Its name or id.
        key: String,
    },
    /// Starts a flow.
    StartFlow {
        /// Its name or id.
        flow: String,
        /// Its inputs.
        inputs: Value,
    },
}

/// The kind with that name, for writing.
pub(crate) fn writable_kind(name: &str) -> StoreResult<Kind> {
    let kind = Kind::parse(name).map_err(|error| StoreError::invalid(error.to_string()))?;
    match kind {
        kind if kind.is_about_people() => Err(StoreError::invalid(format!("a record of kind `{name}` is not saved"))),
        Kind::Approval => Err(StoreError::invalid("approvals are not saved; they are answered")),
        Kind::Execution => Err(StoreError::invalid("executions are not saved or deleted; start, cancel or pause them")),
        Kind::File => Err(StoreError::invalid("files are written and deleted through the file store")),
        kind => Ok(kind),
    }
}

impl Session {
    /// A record by name or id; none when there is none.
    pub async fn record_get(&self, kind: &str, key: &str) -> CallResult<Option<Value>> {
        let parts = [kind.as_bytes(), key.as_bytes()];
        let reply = match self.turn(CallKind::RecordGet, &parts, || json!({"kind": kind, "key": key}))? {
            Turn::Replayed(reply) => reply,
            Turn::Resumed(..) => return Err(self.damaged()),
            Turn::Live(n, call) => {
                let (kind, key, core) = (kind.to_owned(), key.to_owned(), self.core.clone());
                let grant = self.grant(Role::Viewer);
                self.store_call(n, call, move |connection| {
                    let kind = Kind::parse_for_flow(&kind).map_err(|error| StoreError::invalid(error.to_string()))?;
                    let record = match kind {
                        Kind::Execution => core.execution_json(connection, &key)?,
                        Kind::Approval => approvals::get(connection, &key)?,
                        kind => records::get(connection, kind, &key)?,
                    };
                    let record = grant.in_sight(connection, kind, record)?;
                    Ok((Reply::Json(record.map(|record| core.present(kind, record))), ()))
                })
                .await?
                .0
            }
        };
        self.answer(reply, |reply| match reply {
            Reply::Json(record) => Some(record),
            _ => None,
        })
    }

    /// Creates a record or updates the fields given.
    pub async fn record_save(&self, kind: &str, key: &str, fields: impl Into<Document>) -> CallResult<Value> {
        let document = fields.into();
        let fields_text = self.digested(&document, |fields| fields.read_object(FIELDS).map(Value::Object));
        let digest = self.digest(CallKind::RecordSave, [kind.as_bytes(), key.as_bytes(), &fields_text])?;
        let reply = match self.recorded(CallKind::RecordSave, digest)? {
            Some(Turn::Replayed(reply)) => reply,
            Some(_) => return Err(self.damaged()),
            None => {
                let fields = match document.read_object(FIELDS) {
                    Ok(fields) => fields,
                    Err(error) => return Ok(Err(error)),
                };
                let shown = json!({"kind": kind, "key": key, "fields": self.core.redact_fields(kind, &fields)});
                let (n, call) = self.unrecorded(CallKind::RecordSave, digest, shown)?;
                let (kind, key, core) = (kind.to_owned(), key.to_owned(), self.core.clone());
                let (grant, stamp) = (self.grant(Role::Author), self.core.stamp_of(self.execution()));
                let (reply, _) = self
                    .store_call(n, call, move |connection| {
                        let kind = writable_kind(&kind)?;
                        let saving = Saving::Either(key);
                        let record = grant.save(&core, connection, kind, &saving, &fields, &stamp)?.after;
                        Ok((Reply::Json(Some(core.present(kind, record))), ()))
                    })
                    .await?;
                reply
            }
        };
        self.after_record_change(kind, &reply);
        self.answer(reply, |reply| match reply {
            Reply::Json(record) => record,
            _ => None,
        })
    }

    /// Deletes a record. False when there was none.
    pub async fn record_delete(&self, kind: &str, key: &str, permanently: bool) -> CallResult<bool> {
        let parts = [kind.as_bytes(), key.as_bytes(), &[u8::from(permanently)]];
        let shown = || json!({"kind": kind, "key": key, "permanently": permanently});
        let reply = match self.turn(CallKind::RecordDelete, &parts, shown)? {
            Turn::Replayed(reply) => reply,
            Turn::Resumed(..) => return Err(self.damaged()),
            Turn::Live(n, call) => {
                let (kind, key, core) = (kind.to_owned(), key.to_owned(), self.core.clone());
                let (grant, stamp) = (self.grant(Role::Author), self.core.stamp_of(self.execution()));
                let (reply, deleted) = self
                    .store_call(n, call, move |connection| {
                        let kind = writable_kind(&kind)?;
                        let deleted = grant.delete(&core, connection, kind, &key, permanently, &stamp)?;
                        let follows = deleted.as_ref().and_then(|record| Event::of_record(kind, record));
                        Ok((Reply::Bool(deleted.is_some()), follows))
                    })
                    .await?;
                if let Some(event) = deleted.flatten() {
                    self.core.send(event);
                }
                reply
            }
        };
        self.answer(reply, |reply| match reply {
            Reply::Bool(deleted) => Some(deleted),
            _ => None,
        })
    }

    /// One page of records or executions.
    pub async fn record_query(&self, query: &QueryCall) -> CallResult<Page> {
        let text = canonical(&serde_json::to_value(query).expect("a query is plain JSON"));
        let shown = || serde_json::to_value(query).unwrap_or_default();
        let reply = match self.turn(CallKind::RecordQuery, &[&text], shown)? {
            Turn::Replayed(reply) => reply,
            Turn::Resumed(..) => return Err(self.damaged()),
            Turn::Live(n, call) => {
                let (query, core, grant) = (query.clone(), self.core.clone(), self.grant(Role::Viewer));
                self.store_call(n, call, move |connection| {
                    Kind::parse_for_flow(&query.kind).map_err(|error| StoreError::invalid(error.to_string()))?;
                    let page = core.query(connection, &Query { projects: grant.projects(), ..query.parse()? })?;
                    Ok((Reply::Page(page.rows, page.next), ()))
                })
                .await?
                .0
            }
        };
        self.answer(reply, |reply| match reply {
            Reply::Page(rows, next) => Some(Page { rows, next }),
            _ => None,
        })
    }

    /// Registers what to do at the end, whatever it is.
    pub async fn on_end(&self, action: EndAction) -> CallResult<()> {
        let args = serde_json::to_value(&action).expect("an action is plain JSON");
        let text = canonical(&args);
        if let EndAction::SaveRecord { kind, .. } | EndAction::DeleteRecord { kind, .. } = &action
            && let Err(error) = Kind::parse_for_flow(kind)
        {
            return Ok(Err(HostError::InvalidInput(error.to_string())));
        }
        if let Turn::Live(n, call) = self.turn(CallKind::OnEnd, &[&text], || args)? {
            self.store_call(n, call, |_| Ok((Reply::Unit, ()))).await?;
        }
        lock(&self.state).end_actions.push(action);
        Ok(Ok(()))
    }

    /// A flow or schedule that was saved, or the setting of a schedule, has to be looked at. At replay too: the engine
    /// may have crashed before it looked.
    fn after_record_change(&self, kind: &str, reply: &Reply) {
        let Reply::Json(Some(record)) = reply else { return };
        if let Some(event) = Kind::parse(kind).ok().and_then(|kind| Event::of_record(kind, record)) {
            self.core.send(event);
        }
    }

    /// Asks another execution to end.
    pub async fn cancel(&self, id: &str) -> CallResult<()> {
        let reply = match self.turn(CallKind::Cancel, &[id.as_bytes()], || json!({ "id": id }))? {
            Turn::Replayed(reply) => reply,
            Turn::Resumed(..) => return Err(self.damaged()),
            Turn::Live(n, call) => {
                let (id, grant) = (id.to_owned(), self.grant(Role::Operator));
                let (reply, key) = self
                    .store_call(n, call, move |connection| {
                        let id = executions::last_of_chain(connection, &id)?;
                        grant.check_execution(connection, &id)?;
                        let key = executions::key_of(connection, &id)?
                            .ok_or_else(|| StoreError::not_found("execution", &id))?;
                        executions::request_cancel(connection, key)?;
                        Ok((Reply::Unit, key))
                    })
                    .await?;
                if let Some(key) = key {
                    self.core.send(Event::Wake(key));
                }
                reply
            }
        };
        self.answer(reply, |_| Some(()))
    }
}

/// A query as a guest or an API caller states it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryCall {
    /// Kind of record.
    pub kind: String,
    /// The filter, see [`crate::query`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    /// A field, descending with a leading `-`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Rows a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Rows in the trash instead of the others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

impl QueryCall {
    /// Checks it.
    pub(crate) fn parse(&self) -> StoreResult<Query> {
        let invalid = |error: crate::query::QueryError| StoreError::invalid(error.to_string());
        let kind = Kind::parse(&self.kind).map_err(invalid)?;
        let query = Query::parse(kind, self.filter.as_ref(), self.order.as_deref(), self.limit, self.cursor.as_deref());
        let mut query = query.map_err(invalid)?;
        query.deleted = self.deleted;
        Ok(query)
    }
}
