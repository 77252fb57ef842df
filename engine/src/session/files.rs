//! Host calls on files.

use bytes::Bytes;
use serde_json::json;

use super::{CallResult, End, Session, Turn};
use crate::journal::{CallKind, Reply};
use crate::people::Role;
use crate::query::Kind;
use crate::store::contents;

/// The longest part that one read returns, bytes.
pub(crate) const READ_BYTES_MAX: u32 = 4 << 20;

impl Session {
    /// Length in bytes and digest of a file; none when there is none.
    pub async fn file_stat(&self, name: &str) -> CallResult<Option<(u64, String)>> {
        let reply = match self.turn(CallKind::FileStat, &[name.as_bytes()], || json!({ "name": name }))? {
            Turn::Replayed(reply) => reply,
            Turn::Resumed(..) => return Err(self.damaged()),
            Turn::Live(n, call) => {
                let (name, grant) = (name.to_owned(), self.grant(Role::Viewer));
                self.store_call(n, call, move |connection| {
                    let file = grant.find(connection, Kind::File, &name)?;
                    Ok((Reply::FileStat(file.as_ref().map(crate::files::stat_of)), ()))
                })
                .await?
                .0
            }
        };
        self.answer(reply, |reply| match reply {
            Reply::FileStat(stat) => Some(stat),
            _ => None,
        })
    }

    /// At most `length` bytes of a file from `offset`. The journal names the content by digest.
    pub async fn file_read(&self, name: &str, offset: u64, length: u32) -> CallResult<Bytes> {
        let length = length.min(READ_BYTES_MAX);
        let parts = [name.as_bytes(), &offset.to_le_bytes(), &length.to_le_bytes()];
        let shown = || json!({"name": name, "offset": offset, "length": length});
        let reply = match self.turn(CallKind::FileRead, &parts, shown)? {
            Turn::Replayed(reply) => reply,
            Turn::Resumed(..) => return Err(self.damaged()),
            Turn::Live(n, call) => {
                let (name, key, grant) = (name.to_owned(), self.execution().key, self.grant(Role::Viewer));
                self.store_call(n, call, move |connection| {
                    let file = grant.record(connection, Kind::File, &name)?;
                    let (size, sha256) = crate::files::stat_of(&file);
                    let rest = size.saturating_sub(offset).min(u64::from(length));
                    let rest = u32::try_from(rest).expect("at most READ_BYTES_MAX");
                    contents::note_read(connection, key, &sha256)?;
                    Ok((Reply::FilePart(sha256, offset, rest), ()))
                })
                .await?
                .0
            }
        };
        match reply {
            Reply::Error(error) => Ok(Err(error)),
            Reply::FilePart(sha256, offset, length) => match self.core.blobs.read_part(&sha256, offset, length).await {
                Ok(bytes) => Ok(Ok(bytes)),
                Err(error) => Err(storage_failed(name, &error)),
            },
            _ => Err(self.damaged()),
        }
    }

    /// Replaces the content of a file. Returns its digest.
    pub async fn file_write(&self, name: &str, content: Bytes) -> CallResult<String> {
        let sha256 = crate::files::sha256_hex(&content);
        let size = content.len() as u64;
        let parts = [name.as_bytes(), sha256.as_bytes()];
        let shown = || json!({"name": name, "size_bytes": size, "sha256": sha256});
        let reply = match self.turn(CallKind::FileWrite, &parts, shown)? {
            Turn::Replayed(reply) => reply,
            Turn::Resumed(..) => return Err(self.damaged()),
            Turn::Live(n, call) => {
                // The content is durable before its name is, and stays until then.
                let _held = match self.core.blobs.put(&self.core.new_id(), &sha256, content).await {
                    Ok(held) => held,
                    Err(error) => return Err(storage_failed(name, &error)),
                };
                let (name, sha256, grant) = (name.to_owned(), sha256.clone(), self.grant(Role::Author));
                let stamp = self.core.stamp(&format!("execution {}", self.execution().id));
                self.store_call(n, call, move |connection| {
                    grant.save_file(connection, &name, (size, &sha256), &stamp)?;
                    Ok((Reply::Unit, ()))
                })
                .await?
                .0
            }
        };
        self.answer(reply, |_| Some(sha256))
    }

    /// Deletes a file. False when there was none.
    pub async fn file_delete(&self, name: &str, permanently: bool) -> CallResult<bool> {
        let parts = [name.as_bytes(), &[u8::from(permanently)]];
        let shown = || json!({"name": name, "permanently": permanently});
        let reply = match self.turn(CallKind::FileDelete, &parts, shown)? {
            Turn::Replayed(reply) => reply,
            Turn::Resumed(..) => return Err(self.damaged()),
            Turn::Live(n, call) => {
                let (name, core, grant) = (name.to_owned(), self.core.clone(), self.grant(Role::Author));
                let stamp = self.core.stamp(&format!("execution {}", self.execution().id));
                self.store_call(n, call, move |connection| {
                    let deleted = grant.delete(&core, connection, Kind::File, &name, permanently, &stamp)?;
                    Ok((Reply::Bool(deleted.is_some()), ()))
                })
                .await?
                .0
            }
        };
        self.answer(reply, |reply| match reply {
            Reply::Bool(deleted) => Some(deleted),
            _ => None,
        })
    }
}

/// A content that is gone ends the execution; anything else may pass, and the run is tried again.
fn storage_failed(name: &str, error: &object_store::Error) -> End {
    match error {
        object_store::Error::NotFound { .. } => {
            End::Error("storage".into(), format!("the content of file `{name}` is gone"))
        }
        error => {
            tracing::error!(file = name, %error, "the file store failed; trying again");
            End::dropped()
        }
    }
}
