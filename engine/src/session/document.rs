//! JSON documents as a guest passes them: text, which a replay compares and need not read.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{HostError, Session};
use crate::journal::{DigestVersion, canonical, is_too_deep};

/// A document as it was passed.
#[derive(Clone, Debug)]
pub struct Document(String);

impl From<String> for Document {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Self(value.to_string())
    }
}

impl From<Map<String, Value>> for Document {
    fn from(object: Map<String, Value>) -> Self {
        Value::Object(object).into()
    }
}

/// Reads a document. `what` names it in the error.
pub(crate) fn read(text: &str, what: &str) -> Result<Value, HostError> {
    let value =
        serde_json::from_str(text).map_err(|error| HostError::InvalidInput(format!("{what} is not JSON: {error}")))?;
    if is_too_deep(&value) {
        return Err(HostError::InvalidInput(format!("{what} is nested too deep")));
    }
    Ok(value)
}

/// Like [`read`], of an object. No document is an object without members.
pub(crate) fn read_object(text: &str, what: &str) -> Result<Map<String, Value>, HostError> {
    match read(text, what)? {
        Value::Object(object) => Ok(object),
        Value::Null => Ok(Map::new()),
        _ => Err(HostError::InvalidInput(format!("{what} must be a JSON object"))),
    }
}

impl Document {
    pub(super) fn read(&self, what: &str) -> Result<Value, HostError> {
        read(&self.0, what)
    }

    pub(super) fn read_object(&self, what: &str) -> Result<Map<String, Value>, HostError> {
        read_object(&self.0, what)
    }
}

impl Session {
    /// What the digest of a call has of a document that `read` reads.
    pub(super) fn digested<'a>(
        &self,
        document: &'a Document,
        read: impl FnOnce(&Document) -> Result<Value, HostError>,
    ) -> Cow<'a, [u8]> {
        match self.resident.started.digests {
            DigestVersion::Text => document.0.as_bytes().into(),
            // What cannot be read is part of no call that the journal has, and no canonical text is empty.
            DigestVersion::Canonical => read(document).map_or_else(|_| (&[]).into(), |value| canonical(&value).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::journal::{Record, decode_row, encode};
    use crate::native::NativeFlow;
    use crate::scenarios::{PATIENCE, ended, flow, open, open_with, reopen, start, until};

    /// Saves these fields, and sleeps long enough to be replayed.
    fn saver(fields: &'static str) -> Vec<(&'static str, Arc<dyn NativeFlow>)> {
        let saver = flow(move |session, _| async move {
            let unreadable = session.start_flow("native:saver", "{".to_owned(), None, false).await?;
            assert!(matches!(&unreadable, Err(HostError::InvalidInput(text)) if text.contains("is not JSON")));
            let saved = session.record_save("setting", "mine", fields.to_owned()).await?.unwrap();
            session.sleep(Duration::from_millis(1500), None).await?;
            Ok(saved["value"].clone())
        });
        vec![("saver", saver)]
    }

    /// Makes the one journal of a workspace begin as an engine began it that made such digests.
    fn set_digests(folder: &Path, digests: DigestVersion) {
        let database = rusqlite::Connection::open(folder.join("surefoot.db")).unwrap();
        let row: Vec<u8> = database.query_row("SELECT records FROM journal", [], |row| row.get(0)).unwrap();
        let mut records = Vec::new();
        decode_row(&row, &mut records).unwrap();
        let [Record::Started(started)] = &mut records[..] else { panic!("it has begun: {records:?}") };
        started.digests = digests;
        database.execute("UPDATE journal SET records = ?1", [encode(&records[0])]).unwrap();
    }

    /// Another text of the same document is another call, but not in journals of before. And what is no document is
    /// part of no call, before and after.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_document_is_compared_as_the_journal_says() {
        for (digests, code) in [(DigestVersion::Canonical, ""), (DigestVersion::Text, "nondeterminism")] {
            for (again, code) in [(r#"{"value": [1]}"#, ""), (r#"{"value":[1]}"#, code)] {
                let folder = tempfile::tempdir().unwrap();
                let before = saver(r#"{"value": [1]}"#);
                let engine = open_with(folder.path(), before.clone(), |config| config.residents_max = 0);
                let id = start(&engine, "saver", Value::Null).await;
                // It waits for its place for ever.
                engine.shutdown(Duration::ZERO).await.unwrap();
                set_digests(folder.path(), digests);
                let engine = open(folder.path(), before);
                until(&engine, &id, "WAITING").await;
                let engine = reopen(engine, folder.path(), saver(again)).await;
                let row = ended(&engine, &id).await;
                assert_eq!(row["error_code"], code, "{digests:?}, {again}: {row:#}");
                assert_eq!(row["output"], if code.is_empty() { json!([1]) } else { Value::Null });
                engine.shutdown(PATIENCE).await.unwrap();
            }
        }
    }
}
