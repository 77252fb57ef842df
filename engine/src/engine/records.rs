//! Records of every kind, and the contents of files.

use std::io::ErrorKind;

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Map, Value, json};

use super::{Engine, EngineError, EngineResult};
use crate::audit::{self, Deed};
use crate::core::Event;
use crate::query::{Kind, Page, Query};
use crate::references;
use crate::schedules;
use crate::session::QueryCall;
use crate::store::locks::{self, Lock};
use crate::store::places;
use crate::store::records::{self, Saved, Saving};
use crate::store::{Refusal, StoreError};

impl Engine {
    /// One page of records or executions.
    pub async fn query(&self, query: QueryCall) -> EngineResult<Page> {
        let projects = self.grant.projects();
        self.read(move |core, connection| core.query(connection, &Query { projects, ..query.parse()? })).await
    }

    /// Like [`query`](Self::query), of executions without their inputs, outputs and responses, which may be
    /// long.
    pub async fn outline(&self, query: QueryCall) -> EngineResult<Page> {
        let projects = self.grant.projects();
        self.read(move |core, connection| {
            core.query(connection, &Query { projects, without_documents: true, ..query.parse()? })
        })
        .await
    }

    /// A record by name or id.
    pub async fn record(&self, kind: Kind, key: &str) -> EngineResult<Value> {
        let (key, grant) = (key.to_owned(), self.grant.clone());
        self.read(move |core, connection| grant.record(connection, kind, &key).map(|record| core.present(kind, record)))
            .await
    }

    /// Creates the record, or updates the fields given of the one with that name or id.
    pub async fn save(&self, kind: Kind, key: &str, fields: Map<String, Value>, by: &str) -> EngineResult<Value> {
        self.save_record(kind, Saving::Either(key.to_owned()), fields, by).await
    }

    /// Creates a record. One of that name is a conflict.
    pub async fn create(&self, kind: Kind, name: &str, fields: Map<String, Value>, by: &str) -> EngineResult<Value> {
        self.save_record(kind, Saving::New(name.to_owned()), fields, by).await
    }

    /// Updates the fields given of a record, by name or id. A `revision` among them must be the present one.
    pub async fn update(&self, kind: Kind, key: &str, fields: Map<String, Value>, by: &str) -> EngineResult<Value> {
        self.save_record(kind, Saving::Present(key.to_owned()), fields, by).await
    }

    async fn save_record(
        &self,
        kind: Kind,
        saving: Saving,
        fields: Map<String, Value>,
        by: &str,
    ) -> EngineResult<Value> {
        let (core, grant, stamp) = (self.core.clone(), self.grant.clone(), self.core.stamp(by));
        let save = move |connection: &rusqlite::Connection| {
            // Users are made by `create_user`, and changed like every record.
            match (kind, &saving) {
                (Kind::Secret, _) | (Kind::User, Saving::Present(_)) => {}
                _ => drop(crate::session::writable_kind(kind.as_str())?),
            }
            let Saved { before, after } = grant.save(&core, connection, kind, &saving, &fields, &stamp)?;
            let action = if before.is_some() { "update" } else { "create" };
            let deed = Deed { action, kind, before: before.unwrap_or_default(), after: after.clone() };
            audit::note(&core, connection, &grant, &stamp.who, deed)?;
            Ok(core.present(kind, after))
        };
        let saved = self.write_and_wake(save, move |record| Event::of_record(kind, record)).await?;
        self.tell_people(kind);
        Ok(saved)
    }

    /// Deletes a record, to the trash or for good, or the tree of an execution that has ended. False when there was
    /// none. A big tree goes by and by.
    pub async fn delete(&self, kind: Kind, key: &str, permanently: bool, by: &str) -> EngineResult<bool> {
        if kind == Kind::Execution {
            return self.delete_execution(key, permanently, by).await;
        }
        if kind == Kind::Audit {
            return Err(StoreError::invalid("entries of the audit log are not deleted").into());
        }
        // Who takes a token back wants it gone.
        let permanently = permanently || kind == Kind::Token;
        let (core, grant) = (self.core.clone(), self.grant.clone());
        let (key, stamp) = (key.to_owned(), self.core.stamp(by));
        let delete = move |connection: &rusqlite::Connection| {
            let deleted = grant.delete(&core, connection, kind, &key, permanently, &stamp)?;
            let Some(record) = deleted else { return Ok((false, None)) };
            let action = if permanently { "delete_permanently" } else { "delete" };
            let deed = Deed { action, kind, before: record.clone(), after: Value::Null };
            audit::note(&core, connection, &grant, &stamp.who, deed)?;
            Ok((true, Some(record)))
        };
        let follows = move |(_, record): &(bool, Option<Value>)| Event::of_record(kind, record.as_ref()?);
        let (deleted, _) = self.write_and_wake(delete, follows).await?;
        self.tell_people(kind);
        Ok(deleted)
    }

    /// Takes the lock of a setting away from the execution that holds it, and gives it on to who has waited longest.
    /// The former holder goes on, and learns of it when it unlocks. Returns the setting as it is then.
    pub async fn unlock(&self, key: &str, by: &str) -> EngineResult<Value> {
        let (core, grant, key, by) = (self.core.clone(), self.grant.clone(), key.to_owned(), by.to_owned());
        let unlock = move |connection: &rusqlite::Connection| {
            let before = grant.record(connection, Kind::Setting, &key)?;
            let Some((_, next)) = locks::take_away(connection, &Lock::of(&before), core.now())? else {
                let text = format!("setting `{key}` is not locked: nothing to do");
                return Err(StoreError::Refused(Refusal::Conflict(text)));
            };
            let after = grant.record(connection, Kind::Setting, &key)?;
            let deed = Deed { action: "unlock", kind: Kind::Setting, before, after: after.clone() };
            audit::note(&core, connection, &grant, &by, deed)?;
            Ok((after, next))
        };
        Ok(self.write_and_wake(unlock, |(_, next)| next.map(Event::Wake)).await?.0)
    }

    /// Takes a record, or the tree of an execution, out of the trash, by id.
    pub async fn restore(&self, kind: Kind, id: &str, by: &str) -> EngineResult<Value> {
        if kind == Kind::Execution {
            return self.restore_execution(id, by).await;
        }
        let (core, grant, id, by) = (self.core.clone(), self.grant.clone(), id.to_owned(), by.to_owned());
        let restore = move |connection: &rusqlite::Connection| {
            let record = records::restore(connection, kind, &id)?;
            references::check_restore(&core, connection, kind, &record)?;
            match kind {
                Kind::Flow => places::flow_saved(connection, None, &record)?,
                Kind::Schedule => drop(schedules::reconcile(&core, connection, None, &record)?),
                _ => {}
            }
            schedules::go_on(&core, connection, kind, &record)?;
            let deed = Deed { action: "restore", kind, before: Value::Null, after: record.clone() };
            audit::note(&core, connection, &grant, &by, deed)?;
            Ok(core.present(kind, record))
        };
        self.write_and_wake(restore, move |record| Event::of_record(kind, record)).await
    }

    /// Stores a file from a stream of chunks.
    pub async fn put_file<E: std::fmt::Display>(
        &self,
        name: &str,
        content: impl futures::Stream<Item = Result<bytes::Bytes, E>> + Send,
        by: &str,
    ) -> EngineResult<Value> {
        self.put_file_in(name, None, content, by).await
    }

    /// Like [`put_file`](Self::put_file); the file is in that project then, by name or id.
    pub async fn put_file_in<E: std::fmt::Display>(
        &self,
        name: &str,
        project: Option<String>,
        content: impl futures::Stream<Item = Result<bytes::Bytes, E>> + Send,
        by: &str,
    ) -> EngineResult<Value> {
        self.check_write(Kind::File, name, project.as_deref()).await?;
        let failed = |error| self.not_stored(&error);
        let mut writer = self.core.blobs.begin(&self.core.new_id()).await.map_err(failed)?;
        let mut content = std::pin::pin!(content);
        while let Some(chunk) = futures::StreamExt::next(&mut content).await {
            let chunk = chunk.map_err(|error| EngineError::Failed(format!("the file could not be stored: {error}")))?;
            writer.write(chunk).await.map_err(failed)?;
        }
        let (size, sha256, _held) = writer.finish().await.map_err(failed)?;
        let (core, name, stamp) = (self.core.clone(), name.to_owned(), self.core.stamp(by));
        let grant = self.grant.clone();
        self.write(move |connection| {
            let before = records::get(connection, Kind::File, &name)?.unwrap_or_default();
            let mut after = crate::files::save_name(connection, &name, None, size, &sha256, &stamp)?;
            if let Some(project) = project {
                let fields = Map::from_iter([("project_id".to_owned(), project.into())]);
                after = core.save_record(connection, Kind::File, &Saving::Present(name), &fields, &stamp)?.after;
            }
            let deed = Deed { action: "write", kind: Kind::File, before, after: after.clone() };
            audit::note(&core, connection, &grant, &stamp.who, deed)?;
            Ok(after)
        })
        .await
    }

    /// Refuses before the work what would be refused after it: a record that is to be made, or made anew.
    pub(super) async fn check_write(&self, kind: Kind, name: &str, project: Option<&str>) -> EngineResult<()> {
        if self.grant.is_everywhere() {
            return Ok(());
        }
        let (grant, name, project) = (self.grant.clone(), name.to_owned(), project.map(str::to_owned));
        self.read(move |_, connection| {
            if let Some(record) = records::get(connection, kind, &name)? {
                grant.check(kind, &record, &name)?;
                if project.is_none() {
                    return Ok(());
                }
            }
            let project = project.map(|key| grant.record(connection, Kind::Project, &key)).transpose()?;
            grant.check_target(kind, &json!({ "project_id": project.unwrap_or_default()["id"] }))
        })
        .await
    }

    /// What a change of people may have taken from somebody is taken at once, also from who is listening.
    pub(super) fn tell_people(&self, kind: Kind) {
        if kind.is_about_people() {
            self.core.people.changes.send_replace(());
        }
    }

    /// A full disk stays one, however deep the file store says it.
    pub(super) fn not_stored(&self, error: &(dyn std::error::Error + 'static)) -> EngineError {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        let kind = causes.find_map(|error| error.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
        match kind {
            Some(kind @ ErrorKind::StorageFull) => EngineError::Io {
                doing: "storing a file in",
                path: self.core.config.data.join("blobs"),
                source: kind.into(),
            },
            _ => EngineError::Failed(format!("the file could not be stored: {error}")),
        }
    }

    /// The record of a file and its content as a stream of chunks.
    pub async fn get_file(
        &self,
        name: &str,
    ) -> EngineResult<(Value, futures::stream::BoxStream<'static, Result<bytes::Bytes, std::io::Error>>)> {
        let record = self.record(Kind::File, name).await?;
        let (_, sha256) = crate::files::stat_of(&record);
        let unreadable = |error: &object_store::Error| {
            let name = record["name"].as_str().unwrap_or_default();
            EngineError::Damaged(format!("the content of file `{name}` cannot be read: {}", innermost(error)))
        };
        let stream = self.core.blobs.read(&sha256).await.map_err(|error| unreadable(&error))?;
        let mut stream = Box::pin(stream.peekable());
        // What is not much is compared as a whole before any of it is given out.
        if let Some(Err(error)) = stream.as_mut().peek().await {
            return Err(unreadable(error));
        }
        Ok((record, stream.map_err(std::io::Error::other).boxed()))
    }
}

/// The cause that says most, without the layers of a library.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}
