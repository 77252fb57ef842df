//! The channel to a running `scp`: its bytes, what it prints as errors, and how it ends.

use bytes::{Buf, Bytes, BytesMut};
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use surefoot_connector_api::{CallError, ErrorClass};

use crate::ssh_session::{Session, failure};

/// The longest line of the protocol, in bytes.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// How much of what the command prints as errors is kept, in bytes.
const STDERR_BYTES_MAX: usize = 16 * 1024;

/// A channel to a running `scp`.
pub(super) struct Wire {
    read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    inbox: Inbox,
}

/// What has come and was not used yet.
#[derive(Default)]
struct Inbox {
    data: Bytes,
    stderr: Vec<u8>,
    exit_status: Option<u32>,
    /// No more data will come.
    eof: bool,
    /// Nothing at all will come.
    closed: bool,
    /// The host did not want to run the command.
    denied: bool,
}

/// How sending went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Done,
    /// The other side spoke up or hung up; the rest was not sent.
    Interrupted,
}

impl Wire {
    /// Runs a command. Nothing has been sent to it yet.
    pub(super) async fn run(session: &Session, command: String) -> Result<Self, CallError> {
        let channel = session.channel().await?;
        channel.exec(true, command).await.map_err(|error| failure("starting scp at the host", &error))?;
        let (read, write) = channel.split();
        Ok(Self { read, write, inbox: Inbox::default() })
    }

    /// Sends a line or a confirmation.
    pub(super) async fn say(&mut self, bytes: impl Into<Bytes>) {
        // An error means that the connection is gone; reading says more.
        let _ = self.write.data_bytes(bytes).await;
    }

    /// Sends content, and stops as soon as the other side says something: `scp` speaks up in between only to complain.
    pub(super) async fn send(&mut self, bytes: impl Into<Bytes>) -> Sending {
        let sending = self.write.data_bytes(bytes);
        tokio::pin!(sending);
        while self.inbox.data.is_empty() && !self.inbox.eof {
            tokio::select! {
                biased;
                sent = &mut sending => {
                    // An error means that the connection is gone; reading says more.
                    return if sent.is_ok() { Sending::Done } else { Sending::Interrupted };
                }
                message = self.read.wait() => self.inbox.take(message),
            }
        }
        Sending::Interrupted
    }

    /// Says that nothing more will be sent.
    pub(super) async fn send_eof(&mut self) {
        // An error means that the connection is gone; reading says more.
        let _ = self.write.eof().await;
    }

    /// Some of the next bytes, at most `most`; none when no more will come.
    pub(super) async fn some(&mut self, most: usize) -> Option<Bytes> {
        if !self.available().await {
            return None;
        }
        let length = self.inbox.data.len().min(most);
        Some(self.inbox.data.split_to(length))
    }

    /// Waits for data. False when no more will come.
    async fn available(&mut self) -> bool {
        while self.inbox.data.is_empty() && !self.inbox.eof {
            let message = self.read.wait().await;
            self.inbox.take(message);
        }
        !self.inbox.data.is_empty()
    }

    /// The next byte; none when no more will come.
    pub(super) async fn byte(&mut self) -> Option<u8> {
        self.some(1).await.map(|mut bytes| bytes.get_u8())
    }

    /// The bytes up to the end of the line, without it; none when it never ends, or is too long to be one.
    pub(super) async fn line(&mut self) -> Option<String> {
        let mut line = BytesMut::new();
        while self.available().await && line.len() <= LINE_BYTES_MAX {
            let end = self.inbox.data.iter().position(|byte| *byte == b'\n');
            let part = self.inbox.data.split_to(end.unwrap_or(self.inbox.data.len()));
            line.extend_from_slice(&part);
            if end.is_some() {
                self.inbox.data.advance(1);
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
        }
        None
    }

    /// Waits until the command has ended. Its exit status; none if the host did not tell.
    pub(super) async fn ended(&mut self) -> Option<u32> {
        while !self.inbox.closed {
            let message = self.read.wait().await;
            self.inbox.take(message);
        }
        self.inbox.exit_status
    }

    /// Why the command ended before its time, from its exit status and what it printed. `unsaid` is the error for a
    /// connection that just broke.
    pub(super) async fn early_end(&mut self, unsaid: CallError) -> CallError {
        let status = self.ended().await;
        let said = self.said();
        if self.inbox.denied {
            return CallError::rejected(ErrorClass::Refused, "the host does not allow commands");
        }
        match status {
            None => unsaid,
            Some(127) => {
                let message = format!("the host has no command scp: {said}");
                CallError::rejected(ErrorClass::Refused, message).with_peer_code(127)
            }
            Some(status) => {
                let said = if said.is_empty() { "without a word".to_owned() } else { said };
                let message = format!("scp at the host ended with status {status}: {said}");
                CallError { class: ErrorClass::Refused, message, ..unsaid }.with_peer_code(status)
            }
        }
    }

    /// What the command printed as errors.
    pub(super) fn said(&self) -> String {
        String::from_utf8_lossy(&self.inbox.stderr).trim().to_owned()
    }
}

impl Inbox {
    fn take(&mut self, message: Option<ChannelMsg>) {
        match message {
            // Data that comes on top of unread data comes while we wait for the end only, and is of no use then.
            Some(ChannelMsg::Data { data }) if self.data.is_empty() => self.data = data,
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                let room = STDERR_BYTES_MAX.saturating_sub(self.stderr.len()).min(data.len());
                self.stderr.extend_from_slice(&data[..room]);
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => self.exit_status = Some(exit_status),
            Some(ChannelMsg::Eof) => self.eof = true,
            Some(ChannelMsg::Failure) => {
                self.denied = true;
                self.eof = true;
                self.closed = true;
            }
            None | Some(ChannelMsg::Close) => {
                self.eof = true;
                self.closed = true;
            }
            // Window sizes and confirmations are the library's business.
            Some(_) => {}
        }
    }
}
