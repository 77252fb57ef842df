//! One command on a channel: its environment, what goes in, what comes out, and how it ended.

use std::pin::pin;

use bytes::Bytes;
use futures::StreamExt;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use surefoot_connector_api::{ByteStream, CallError, ErrorClass, FileAccess, FileSink};

use super::inputs::{Plan, Stdin};
use super::{Fate, SshOutput};
use crate::inputs::invalid;
use crate::ssh_session::{Session, failure};

/// How much is sent at a time, in bytes.
const CHUNK_BYTES: usize = 32 * 1024;
/// How much of what the command says about its failure is kept beside a file, in bytes. An error quotes less.
const QUOTED_BYTES_MAX: usize = 16 * 1024;
/// The number of standard error among the streams of a channel (RFC 4254, 5.2).
const STDERR: u32 = 1;

/// Runs the command and waits for its end.
pub(super) async fn run(
    session: &Session,
    files: &dyn FileAccess,
    plan: &Plan<'_>,
    fate: &Fate,
) -> Result<SshOutput, CallError> {
    let stdin = open_stdin(files, &plan.stdin).await?;
    let mut stdout = Outlet::open(files, plan.stdout_file, plan.output_bytes_max).await?;
    let mut stderr = Outlet::open(files, plan.stderr_file, plan.output_bytes_max).await?;
    let (mut read, write) = session.channel().await?.split();
    for (name, value) in plan.env {
        set_variable(&mut read, &write, name, value).await?;
    }
    fate.start();
    let started = write.exec(true, plan.command).await;
    started.map_err(|error| fate.lost(ErrorClass::Network, format!("the connection broke: {error}")))?;
    let end = converse(&mut read, &write, stdin, &mut stdout, &mut stderr, fate).await?;
    conclude(plan, fate, end, stdout, stderr).await
}

/// How a command ended.
enum End {
    Code(u32),
    Signal(String),
}

async fn set_variable(
    read: &mut ChannelReadHalf,
    write: &ChannelWriteHalf<Msg>,
    name: &str,
    value: &str,
) -> Result<(), CallError> {
    let doing = "setting the environment";
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        return Err(invalid(format!("input `env`: `{name}` cannot be a variable of the environment")));
    }
    write.set_env(true, name, value).await.map_err(|error| failure(doing, &error))?;
    loop {
        match read.wait().await {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::Failure) => {
                let message =
                    format!("the host does not accept the variable `{name}`; see AcceptEnv of its sshd_config");
                return Err(CallError::rejected(ErrorClass::Refused, message));
            }
            None | Some(ChannelMsg::Close) => return Err(failure(doing, &russh::Error::Disconnect)),
            Some(_) => {}
        }
    }
}

/// Sends what goes in and takes what comes out, both at once, until the command has ended.
async fn converse(
    read: &mut ChannelReadHalf,
    write: &ChannelWriteHalf<Msg>,
    stdin: ByteStream,
    stdout: &mut Outlet,
    stderr: &mut Outlet,
    fate: &Fate,
) -> Result<End, CallError> {
    let mut feeding = pin!(feed(write, stdin));
    let mut fed = false;
    let mut end = None;
    loop {
        let message = tokio::select! {
            result = &mut feeding, if !fed => {
                fed = true;
                result.map_err(|error| fate.lost(error.class, error.message))?;
                continue;
            }
            message = read.wait() => message,
        };
        match message {
            Some(ChannelMsg::Data { data }) => stdout.take(data, fate).await?,
            Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => stderr.take(data, fate).await?,
            Some(ChannelMsg::ExitStatus { exit_status }) => end = Some(End::Code(exit_status)),
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => end = Some(End::Signal(signal_text(&signal_name))),
            Some(ChannelMsg::Failure) => {
                return Err(CallError::rejected(ErrorClass::Refused, "the host does not allow commands"));
            }
            None | Some(ChannelMsg::Close) => break,
            // Window sizes and confirmations are the library's business.
            Some(_) => {}
        }
    }
    end.ok_or_else(|| fate.lost(ErrorClass::Network, "the connection ended before the host said how the command ended"))
}

/// Sends what the command reads. A command need not read all of it.
async fn feed(write: &ChannelWriteHalf<Msg>, mut stdin: ByteStream) -> Result<(), CallError> {
    while let Some(chunk) = stdin.next().await {
        let mut chunk: Bytes = chunk?;
        while !chunk.is_empty() {
            let piece = chunk.split_to(chunk.len().min(CHUNK_BYTES));
            if write.data_bytes(piece).await.is_err() {
                // The connection is gone, or the command has ended; reading says more.
                return Ok(());
            }
        }
    }
    let _ = write.eof().await;
    Ok(())
}

async fn open_stdin(files: &dyn FileAccess, stdin: &Stdin<'_>) -> Result<ByteStream, CallError> {
    Ok(match stdin {
        Stdin::Nothing => futures::stream::empty().boxed(),
        Stdin::Text(text) => futures::stream::iter([Ok(Bytes::copy_from_slice(text.as_bytes()))]).boxed(),
        Stdin::File(name) => files.read(name).await?.1,
    })
}

/// The output, or the error that the end is.
async fn conclude(
    plan: &Plan<'_>,
    fate: &Fate,
    end: End,
    stdout: Outlet,
    stderr: Outlet,
) -> Result<SshOutput, CallError> {
    let mut output = SshOutput::default();
    match end {
        End::Code(code) if plan.check && code != 0 => {
            let message = format!("the command ended with exit code {code}{}", stderr.quoted());
            return Err(fate.failed(message, Some(code.to_string())));
        }
        End::Signal(signal) if plan.check => {
            let message = format!("the command was ended by the signal {signal}{}", stderr.quoted());
            return Err(fate.failed(message, Some(signal)));
        }
        End::Code(code) => output.exit_code = Some(code),
        End::Signal(signal) => output.exit_signal = Some(signal),
    }
    output.truncated = (stdout.is_truncated() || stderr.is_truncated()).then_some(true);
    (output.stdout_size_bytes, output.stderr_size_bytes) = (stdout.size_bytes, stderr.size_bytes);
    output.stdout = stdout.finish(fate).await?;
    output.stderr = stderr.finish(fate).await?;
    Ok(output)
}

/// `KILL` for SIGKILL, as RFC 4254 names it.
fn signal_text(signal: &russh::Sig) -> String {
    match signal {
        russh::Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}

/// Where a stream of the command goes: to a file, or into memory up to a limit.
struct Outlet {
    sink: Option<Box<dyn FileSink>>,
    /// The beginning: what the output shows, or, beside a file, what an error quotes.
    held: Vec<u8>,
    held_bytes_max: usize,
    size_bytes: u64,
}

impl Outlet {
    async fn open(files: &dyn FileAccess, file: Option<&str>, bytes_max: usize) -> Result<Self, CallError> {
        let (sink, held_bytes_max) = match file {
            Some(file) => (Some(files.write(file).await?), bytes_max.min(QUOTED_BYTES_MAX)),
            None => (None, bytes_max),
        };
        Ok(Self { sink, held: Vec::new(), held_bytes_max, size_bytes: 0 })
    }

    async fn take(&mut self, data: Bytes, fate: &Fate) -> Result<(), CallError> {
        self.size_bytes += data.len() as u64;
        let room = self.held_bytes_max.saturating_sub(self.held.len()).min(data.len());
        self.held.extend_from_slice(&data[..room]);
        match &mut self.sink {
            Some(sink) => sink.write(data).await.map_err(|error| fate.lost(error.class, error.message)),
            None => Ok(()),
        }
    }

    fn is_truncated(&self) -> bool {
        self.sink.is_none() && self.size_bytes > self.held.len() as u64
    }

    /// The text for the output, if there is no file.
    async fn finish(self, fate: &Fate) -> Result<Option<String>, CallError> {
        match self.sink {
            Some(sink) => {
                sink.finish().await.map_err(|error| fate.lost(error.class, error.message))?;
                Ok(None)
            }
            None => Ok(Some(String::from_utf8_lossy(&self.held).into_owned())),
        }
    }

    /// The beginning, behind a colon.
    fn quoted(&self) -> String {
        let text = String::from_utf8_lossy(&self.held);
        if text.trim().is_empty() { String::new() } else { format!(": {text}") }
    }
}
