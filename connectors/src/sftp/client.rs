//! The SFTP side of a session: starting it, and the requests that concern no content.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use russh::ChannelMsg;
use russh_sftp::client::{Config, RawSftpSession};
use russh_sftp::protocol::{FileAttributes, Packet, StatusCode};
use surefoot_connector_api::{CallError, ErrorClass};

use super::codes::KnownCodes;
use super::failure::{Step, failure, within};
use crate::ssh_session::{self, Session};

/// OpenSSH's rename that replaces the target, which others have taken over.
const POSIX_RENAME: &str = "posix-rename@openssh.com";
/// Longer than any limit of ours, which count instead of the library's.
const LIBRARY_TIMEOUT_SECONDS: u64 = 2 * 86_400;

/// An SFTP session that is ready for requests.
pub(super) struct Client {
    pub(super) raw: RawSftpSession,
    /// How long each answer may take.
    pub(super) limit: Duration,
    has_posix_rename: bool,
}

impl Client {
    /// Starts SFTP at the host.
    pub(super) async fn open(session: &Session, limit: Duration) -> Result<Self, CallError> {
        let doing = "starting SFTP at the host";
        let mut channel = session.channel().await?;
        let broken = |error| ssh_session::failure(doing, &error);
        channel.request_subsystem(true, "sftp").await.map_err(broken)?;
        let accepted = async {
            loop {
                match channel.wait().await {
                    Some(ChannelMsg::Success) => return Ok(()),
                    Some(ChannelMsg::Failure) => {
                        return Err(CallError::rejected(ErrorClass::Refused, "the host does not offer SFTP"));
                    }
                    None | Some(ChannelMsg::Close) => return Err(broken(russh::Error::Disconnect)),
                    Some(_) => {}
                }
            }
        };
        tokio::time::timeout(limit, accepted).await.unwrap_or_else(|_| {
            let message = format!("{doing} took longer than {} s; see `socket_timeout`", limit.as_secs_f64());
            Err(CallError::not_sent(ErrorClass::Timeout, message))
        })?;
        let config = Config { request_timeout_secs: LIBRARY_TIMEOUT_SECONDS, ..Config::default() };
        let raw = RawSftpSession::new_with_config(KnownCodes::new(channel.into_stream()), config);
        let version = within(limit, Step::Reading, doing, raw.init()).await?;
        Ok(Self { raw, limit, has_posix_rename: version.extensions.contains_key(POSIX_RENAME) })
    }

    /// What is at a path; links are not followed.
    pub(super) async fn attributes(&self, path: &str) -> Result<FileAttributes, CallError> {
        let answer = self.raw.lstat(at(path));
        Ok(within(self.limit, Step::Reading, "asking what the path is", answer).await?.attrs)
    }

    /// Removes a file, or, where the path ends with `/`, an empty directory.
    pub(super) async fn delete(&self, path: &str) -> Result<(), CallError> {
        let done = match path.strip_suffix('/') {
            Some(directory) if !directory.is_empty() => {
                within(self.limit, Step::Changing, "deleting the directory", self.raw.rmdir(at(directory))).await
            }
            _ => within(self.limit, Step::Changing, "deleting the file", self.raw.remove(at(path))).await,
        };
        done.map(|_| ())
    }

    /// Gives a file or directory another path, at which nothing is yet.
    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<(), CallError> {
        let answer = self.raw.rename(at(from), at(to));
        within(self.limit, Step::Changing, "renaming the file", answer).await.map(|_| ())
    }

    /// Gives a file another path, in place of whatever file is there.
    pub(super) async fn replace(&self, from: &str, to: &str) -> Result<(), CallError> {
        if self.has_posix_rename {
            return self.posix_rename(from, to).await;
        }
        match self.attributes(to).await {
            Err(error) if error.class == ErrorClass::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => self.delete(to).await?,
        }
        self.rename(from, to).await
    }

    async fn posix_rename(&self, from: &str, to: &str) -> Result<(), CallError> {
        let doing = "renaming the file";
        let mut paths = BytesMut::new();
        for path in [at(from), at(to)] {
            paths.put_u32(u32::try_from(path.len()).expect("a path is far shorter than 4 GiB"));
            paths.put_slice(path.as_bytes());
        }
        let answer = self.raw.extended(POSIX_RENAME, paths.to_vec());
        match within(self.limit, Step::Changing, doing, answer).await? {
            Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
            Packet::Status(status) => Err(failure(Step::Changing, doing, &status.into())),
            _ => Err(failure(Step::Changing, doing, &russh_sftp::client::error::Error::UnexpectedPacket)),
        }
    }

    /// Makes a directory.
    pub(super) async fn mkdir(&self, path: &str) -> Result<(), CallError> {
        let answer = self.raw.mkdir(at(path), FileAttributes::empty());
        within(self.limit, Step::Changing, "making the directory", answer).await.map(|_| ())
    }
}

/// A path as the server knows it. Sessions begin in the home directory, so `~/` at its start is dropped.
pub(super) fn at(path: &str) -> &str {
    match path.strip_prefix("~/").unwrap_or(path) {
        "" | "~" => ".",
        path => path,
    }
}
