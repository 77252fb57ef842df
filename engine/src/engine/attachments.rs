//! Files that come with the start of an execution: a flow reads them as any others, and they go when the execution
//! goes.
//!
//! The id of such a file is that of its execution with a number, by which the trees of executions find it.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Connection;

use super::{Engine, EngineResult};
use crate::collection::Held;
use crate::core::Core;
use crate::files;
use crate::people::Rights;
use crate::store::StoreResult;
use crate::store::records::Stamp;

/// What an execution that is not started yet brings with it. The contents stay while this is there.
#[derive(Clone, Debug)]
pub struct Attachments {
    pub(super) execution_id: String,
    files: Vec<Attachment>,
}

/// A content that gets its name when the execution starts.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The name that the file will have: `executions/ID/NUMBER/FILE_NAME`.
    pub name: String,
    /// Length, bytes.
    pub size_bytes: u64,
    /// Hexadecimal SHA-256.
    pub sha256: String,
    _held: Arc<Held>,
}

/// Characters of a file name that are kept.
const FILE_NAME_MAX: usize = 128;

impl Engine {
    /// Nothing yet, for an execution that [`start`](Self::start) is to start.
    pub fn attachments(&self) -> Attachments {
        Attachments { execution_id: self.core.new_id(), files: Vec::new() }
    }

    /// Stores a content that is to come with an execution. Of `file_name` the last part of a path is used, without what
    /// a name cannot have. When nothing is started with it the content is collected later.
    pub async fn attach(
        &self,
        attachments: &mut Attachments,
        file_name: &str,
        content: Bytes,
    ) -> EngineResult<Attachment> {
        let (sha256, size_bytes) = (files::sha256_hex(&content), content.len() as u64);
        let stored = self.core.blobs.put(&self.core.new_id(), &sha256, content).await;
        let held = Arc::new(stored.map_err(|error| self.not_stored(&error))?);
        let (id, number) = (&attachments.execution_id, attachments.files.len() + 1);
        let name = format!("executions/{id}/{number}/{}", cleaned(file_name));
        let attachment = Attachment { name, size_bytes, sha256, _held: held };
        attachments.files.push(attachment.clone());
        Ok(attachment)
    }
}

impl Attachments {
    /// Gives the contents their names, in the transaction that starts the execution, where that may read them.
    pub(super) fn save(&self, core: &Core, connection: &Connection, acts_as: &Rights, by: &str) -> StoreResult<()> {
        for (place, file) in self.files.iter().enumerate() {
            let stamp = Stamp { new_id: format!("{}.{}", self.execution_id, place + 1), ..core.stamp(by) };
            files::save_name(connection, &file.name, acts_as.only_project(), file.size_bytes, &file.sha256, &stamp)?;
        }
        Ok(())
    }
}

/// A name without folders, control characters, and what cannot stand in an address.
fn cleaned(file_name: &str) -> String {
    let last = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last.chars().filter(|sign| !sign.is_control()).take(FILE_NAME_MAX).collect();
    match kept.trim() {
        "" | "." | ".." => "file".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::cleaned;

    #[test]
    fn file_names_have_no_folders_and_nothing_that_cannot_be_named() {
        for (given, kept) in [
            ("report.pdf", "report.pdf"),
            ("Bericht März.pdf ", "Bericht März.pdf"),
            ("../../etc/passwd", "passwd"),
            (r"C:\temp\a.txt", "a.txt"),
            ("a\u{0}b\n.txt", "ab.txt"),
            ("", "file"),
            ("..", "file"),
            ("folder/", "file"),
        ] {
            assert_eq!(cleaned(given), kept, "{given:?}");
        }
        assert_eq!(cleaned(&"ä".repeat(300)).chars().count(), super::FILE_NAME_MAX);
    }
}
